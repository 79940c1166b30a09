//! What Tab offers: keywords, tables, columns, functions, settings, commands and file names.
//!
//! In: the names of the session, the text and the cursor. Out: candidates for the word before it.

use std::path::Path;

use datafusion::sql::sqlparser::tokenizer::Token;
use rustyline::completion::Pair;

use super::commands;
use crate::names::{COMMON_KEYWORDS, Names, quoted};
use crate::output::Format;
use crate::statements::{Cursor, tokens_of};

/// Entries of a directory that are looked at.
const ENTRIES_MAX: usize = 10_000;

/// Candidates for the word that ends at `position`, and where it starts.
pub fn complete(names: &Names, line: &str, position: usize) -> (usize, Vec<Pair>) {
    let before = &line[..position];
    if before.starts_with(['\\', '.']) {
        return complete_command(names, before);
    }
    let (tokens, whole) = tokens_of(before);
    let done = tokens.last().map_or(0, |last| Cursor::new(before).go(last.span.end));
    if !whole {
        let open = &before[done..];
        return match open.chars().next() {
            Some('\'') => files(before, done + 1),
            Some('"') => (done, quoted_names(names, &open[1..])),
            _ => (position, vec![]),
        };
    }
    let start = before
        .rfind(|c: char| !is_word(c))
        .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
    let words: Vec<String> = tokens
        .iter()
        .filter_map(|token| match &token.token {
            Token::Word(word) => Some(word.value.to_ascii_uppercase()),
            Token::SemiColon => Some(";".into()),
            Token::Whitespace(_) => None,
            _ => Some(String::new()),
        })
        .collect();
    let word = &before[start..];
    let finished = if word.is_empty() {
        words.len()
    } else {
        words.len().saturating_sub(word.split('.').count() * 2 - 1)
    };
    (start, sql_candidates(names, word, &words[..finished]))
}

fn sql_candidates(names: &Names, word: &str, words: &[String]) -> Vec<Pair> {
    let statement = words.rsplit(|word| word == ";").next().unwrap_or(&[]);
    let first = statement.first().map_or("", String::as_str);
    let last = statement.last().map_or("", String::as_str);
    if matches!(first, "SET" | "SHOW" | "RESET") && !words.iter().any(String::is_empty) {
        let settings = matching(word, names.settings.iter().map(String::as_str));
        if !settings.is_empty() {
            return settings;
        }
    }
    if last == "AS" && statement.iter().rev().nth(1).is_some_and(|word| word == "STORED") {
        return matching(word, names.formats.iter().map(String::as_str));
    }
    if let Some((table, column)) = word.rsplit_once('.') {
        let columns = names.columns.iter().map(|name| quoted(name));
        let full: Vec<String> = columns.map(|name| format!("{table}.{name}")).collect();
        let tables = names.tables.iter().map(String::as_str);
        let mut found = matching(word, tables.chain(full.iter().map(String::as_str)));
        found.truncate(if column.is_empty() { 200 } else { usize::MAX });
        return found;
    }
    let tables: Vec<String> = names.tables.iter().map(|name| quoted(name)).collect();
    if matches!(last, "FROM" | "JOIN" | "INTO" | "TABLE" | "VIEW" | "DESCRIBE" | "UPDATE") {
        let mut found = matching(word, tables.iter().map(String::as_str));
        if matches!(last, "FROM" | "JOIN") && !word.is_empty() {
            let calls = names.table_functions.iter().map(|name| format!("{name}("));
            let calls: Vec<String> = calls.collect();
            found.extend(matching(word, calls.iter().map(String::as_str)));
        }
        return found;
    }
    if word.is_empty() {
        return vec![];
    }
    let columns: Vec<String> = names.columns.iter().map(|name| quoted(name)).collect();
    let mut found = matching(word, columns.iter().chain(&tables).map(String::as_str));
    let functions: Vec<String> = names.functions.iter().map(|name| format!("{name}(")).collect();
    found.extend(matching(word, functions.iter().map(String::as_str)));
    let lower = word.chars().all(|c| !c.is_uppercase());
    for mut keyword in matching(word, COMMON_KEYWORDS.iter().copied()) {
        if lower {
            keyword = pair(keyword.replacement.to_lowercase());
        }
        found.push(keyword);
    }
    found
}

fn complete_command(names: &Names, before: &str) -> (usize, Vec<Pair>) {
    let Some((command, argument)) = before.split_once(char::is_whitespace) else {
        return (0, matching(before, commands::all_names()));
    };
    let start = before.len() - argument.trim_start().len();
    let argument = argument.trim_start();
    let found = match commands::parse(command) {
        Some(Ok((commands::Action::Describe, _))) if !argument.starts_with('\'') => {
            matching(argument, names.tables.iter().map(String::as_str))
        }
        Some(Ok((commands::Action::FunctionHelp | commands::Action::Functions, _))) => {
            matching(argument, names.functions.iter().map(String::as_str))
        }
        Some(Ok((commands::Action::Format, _))) => {
            let formats = Format::names();
            matching(argument, formats.split(", "))
        }
        Some(Ok((commands::Action::Timing | commands::Action::Expanded, _))) => {
            matching(argument, ["on", "off"])
        }
        Some(Ok((
            commands::Action::Describe | commands::Action::Output | commands::Action::Include,
            _,
        ))) => {
            let quote = usize::from(argument.starts_with('\''));
            return files(before, start + quote);
        }
        _ => vec![],
    };
    (start, found)
}

/// Tables and columns after an opening double quote.
fn quoted_names(names: &Names, prefix: &str) -> Vec<Pair> {
    let all = names.tables.iter().chain(&names.columns);
    let found = all.filter(|name| name.starts_with(prefix));
    found.map(|name| pair(format!("\"{}\"", name.replace('"', "\"\"")))).collect()
}

/// Files and directories whose path begins with the text from `start`.
fn files(before: &str, start: usize) -> (usize, Vec<Pair>) {
    let typed = &before[start..];
    let (directory, prefix) = match typed.rfind('/') {
        Some(slash) => typed.split_at(slash + 1),
        None => ("", typed),
    };
    let looked_in = if directory.is_empty() { Path::new(".") } else { Path::new(directory) };
    let Ok(entries) = std::fs::read_dir(looked_in) else { return (start, vec![]) };
    let mut found: Vec<Pair> = entries
        .take(ENTRIES_MAX)
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            let hidden = name.starts_with('.') && !prefix.starts_with('.');
            if hidden || !name.starts_with(prefix) {
                return None;
            }
            let is_directory = entry.path().is_dir();
            let shown = if is_directory { format!("{name}/") } else { name };
            Some(Pair { replacement: format!("{directory}{shown}"), display: shown })
        })
        .collect();
    found.sort_by(|a, b| a.display.cmp(&b.display));
    (start, found)
}

/// The candidates that begin with a word in any case, each once.
fn matching<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<Pair> {
    let mut found: Vec<&str> = candidates
        .into_iter()
        .filter(|name| name.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word)))
        .collect();
    found.sort_unstable();
    found.dedup();
    found.into_iter().map(|name| pair(name.to_string())).collect()
}

fn pair(text: String) -> Pair {
    Pair { display: text.clone(), replacement: text }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '.'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let set = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
        Names {
            tables: set(&["sky", "toi", "TIC"]),
            columns: set(&["value", "stellar_teff", "Teff", "x", "y"]),
            functions: set(&["stddev", "stddev_pop", "avg", "cut"]),
            table_functions: set(&["stack", "crop"]),
            settings: set(&["datafusion.execution.batch_size", "datafusion.execution.time_zone"]),
            formats: set(&["PARQUET", "HDF5"]),
        }
    }

    fn offered(line: &str) -> Vec<String> {
        let (start, found) = complete(&names(), line, line.len());
        found.into_iter().map(|pair| format!("{}{}", &line[..start], pair.replacement)).collect()
    }

    #[test]
    fn words_become_columns_functions_and_keywords() {
        assert_eq!(offered("SELECT val"), ["SELECT value", "SELECT values"]);
        assert_eq!(offered("sel"), ["select"]);
        assert_eq!(offered("SEL"), ["SELECT"]);
        assert_eq!(offered("SELECT stdd"), ["SELECT stddev(", "SELECT stddev_pop("]);
        assert_eq!(offered("SELECT 1 wher"), ["SELECT 1 where"]);
    }

    #[test]
    fn tables_follow_from() {
        assert_eq!(offered("SELECT x FROM s"), ["SELECT x FROM sky", "SELECT x FROM stack("]);
        assert_eq!(offered("SELECT x FROM sky JOIN c"), ["SELECT x FROM sky JOIN crop("]);
        assert_eq!(
            offered("SELECT x FROM "),
            ["SELECT x FROM \"TIC\"", "SELECT x FROM sky", "SELECT x FROM toi"]
        );
        assert_eq!(offered("SELECT 1; DESCRIBE t"), ["SELECT 1; DESCRIBE toi"]);
        assert_eq!(offered("SELECT sky.v"), ["SELECT sky.value"]);
        assert_eq!(offered("SELECT \"T"), ["SELECT \"TIC\"", "SELECT \"Teff\""]);
    }

    #[test]
    fn settings_follow_set_and_formats_stored_as() {
        assert_eq!(offered("SET datafusion.execution.b"), ["SET datafusion.execution.batch_size"]);
        assert_eq!(offered("SHOW datafusion.execution.t").len(), 1);
        assert_eq!(
            offered("CREATE EXTERNAL TABLE a STORED AS h"),
            ["CREATE EXTERNAL TABLE a STORED AS HDF5"]
        );
    }

    #[test]
    fn file_names_stand_in_quotes() {
        assert_eq!(
            offered("SELECT * FROM 'src/out"),
            ["SELECT * FROM 'src/output.rs", "SELECT * FROM 'src/output/"].map(String::from)
        );
        assert_eq!(offered("SELECT * FROM 'Cargo.t"), ["SELECT * FROM 'Cargo.toml"]);
        assert!(offered("SELECT * FROM 'no-such-directory/a").is_empty());
    }

    #[test]
    fn commands_and_their_arguments() {
        assert_eq!(offered("\\tim"), ["\\timing"]);
        assert_eq!(offered(".ta"), [".tables"]);
        assert_eq!(offered("\\d s"), ["\\d sky"]);
        assert_eq!(offered("\\h med").len(), 0);
        assert_eq!(offered("\\h stddev_"), ["\\h stddev_pop"]);
        assert_eq!(offered("\\o Cargo.t"), ["\\o Cargo.toml"]);
        assert_eq!(offered("\\format js"), ["\\format json"]);
    }

    #[test]
    fn comments_offer_nothing() {
        assert!(offered("SELECT 1 /* sel").is_empty());
    }
}
