//! The shell's own commands: `\d`, `\timing` and so on, and their twins that begin with a dot.
//!
//! Each entry describes itself: parsing, `\?` and completion all come from the list below.

use crate::names::nearest;

/// What a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Lists tables, or the columns of one.
    Describe,
    /// Lists tables.
    Tables,
    /// Lists functions.
    Functions,
    /// Explains a function.
    FunctionHelp,
    /// Switches timing.
    Timing,
    /// Redirects answers.
    Output,
    /// Switches vertical answers.
    Expanded,
    /// Sets the format.
    Format,
    /// Sets how many rows are shown.
    Rows,
    /// Runs a file.
    Include,
    /// Lists commands.
    Help,
    /// Ends the shell.
    Quit,
}

/// A command as users know it.
pub struct Command {
    /// With its backslash.
    pub name: &'static str,
    /// Other names.
    pub twins: &'static [&'static str],
    /// What follows it, for people.
    pub argument: &'static str,
    /// One line for people.
    pub summary: &'static str,
    /// What it does.
    pub action: Action,
}

macro_rules! commands {
    ($($name:literal $argument:literal [$($twin:literal),*] $action:ident $summary:literal;)*) => {
        /// Every command.
        pub const COMMANDS: &[Command] = &[$(Command {
            name: $name,
            twins: &[$($twin),*],
            argument: $argument,
            summary: $summary,
            action: Action::$action,
        }),*];
    };
}

commands! {
    "\\d" "[NAME]" [".schema"] Describe "tables, or the columns of a table, view or 'file'";
    "\\dt" "" [".tables"] Tables "tables and views";
    "\\df" "[TEXT]" [".functions"] Functions "functions, or those whose name contains TEXT";
    "\\h" "FUNCTION" [".function"] FunctionHelp "how to use a function";
    "\\timing" "[on|off]" [".timing"] Timing "say how long each statement took";
    "\\o" "[FILE]" [".output"] Output "write answers to a file; without FILE, to the terminal again";
    "\\x" "[on|off]" [".vertical"] Expanded "one line a value instead of a table";
    "\\format" "NAME" [".format", ".mode"] Format "table, csv, tsv, json, ndjson, markdown, vertical";
    "\\rows" "N|all" [".rows", ".maxrows"] Rows "how many rows of an answer are shown";
    "\\i" "FILE" [".read"] Include "run the statements in a file";
    "\\?" "" [".help", "help"] Help "this list";
    "\\q" "" [".quit", ".exit", "quit", "exit"] Quit "end the shell, as Ctrl-D does";
}

/// The command that an input is, with its argument; nothing if the input is SQL.
pub fn parse(input: &str) -> Option<Result<(Action, &str), String>> {
    let input = input.trim();
    let (word, argument) = input.split_once(char::is_whitespace).unwrap_or((input, ""));
    let argument = argument.trim();
    let is_marked = word.starts_with('\\')
        || word.strip_prefix('.').is_some_and(|rest| rest.starts_with(char::is_alphabetic));
    let bare = word.trim_end_matches(';').to_ascii_lowercase();
    let found = COMMANDS.iter().find(|command| {
        let (matches_case, folded) = (word.trim_end_matches(';'), bare.as_str());
        command.name == matches_case || command.twins.contains(&folded)
    });
    match found {
        Some(command) if is_marked => Some(Ok((command.action, argument))),
        // `help` and `quit` are commands only when they stand alone.
        Some(command) if argument.is_empty() => Some(Ok((command.action, ""))),
        None if is_marked => {
            let near = nearest(word, all_names());
            let hint = match near.first() {
                Some(name) => format!("did you mean {name}?"),
                None => "\\? lists the commands".to_string(),
            };
            Some(Err(format!("there is no command {word}; {hint}")))
        }
        _ => None,
    }
}

/// Every name of every command.
pub fn all_names() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().flat_map(|command| std::iter::once(&command.name).chain(command.twins)).copied()
}

/// The list for `\?`.
pub fn help() -> String {
    let mut text = String::from("Statements end with ; and may take several lines. Commands:\n");
    for command in COMMANDS {
        let usage = format!("{} {}", command.name, command.argument);
        let twins = command.twins.join(" ");
        text.push_str(&format!("  {usage:<18}{:<66}{twins}\n", command.summary));
    }
    text.push_str(
        "Keys: Tab completes, Ctrl-R searches the history, Ctrl-C clears the line or stops the \
         statement, Ctrl-D ends.\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_have_twins_and_arguments() {
        assert_eq!(parse("\\d sky"), Some(Ok((Action::Describe, "sky"))));
        assert_eq!(parse(".schema sky"), Some(Ok((Action::Describe, "sky"))));
        assert_eq!(parse("\\dt"), Some(Ok((Action::Tables, ""))));
        assert_eq!(parse(" \\o 'a b.csv' "), Some(Ok((Action::Output, "'a b.csv'"))));
        assert_eq!(parse("quit"), Some(Ok((Action::Quit, ""))));
        assert_eq!(parse("EXIT;"), Some(Ok((Action::Quit, ""))));
        assert_eq!(parse(".quit"), Some(Ok((Action::Quit, ""))));
    }

    #[test]
    fn sql_is_no_command() {
        for sql in ["SELECT 1;", ".5 + 1", "help me", "", "-- \\q", "SELECT\n\\d"] {
            assert_eq!(parse(sql), None, "{sql}");
        }
    }

    #[test]
    fn an_unknown_command_names_the_nearest() {
        let message = parse("\\timinf").and_then(Result::err).unwrap();
        assert_eq!(message, "there is no command \\timinf; did you mean \\timing?");
        assert!(parse(".frobnicate").is_some_and(|parsed| parsed.is_err()));
    }

    #[test]
    fn help_names_every_command() {
        let help = help();
        assert!(all_names().all(|name| help.contains(name)));
    }
}
