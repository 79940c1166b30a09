//! The interactive shell: reads lines, runs statements and commands, keeps going after errors.
//!
//! In: keys. Out: what the statements answer. Not here: running a statement (`run.rs`), writing
//! answers (`output.rs`), explaining errors (`diagnostics.rs`).

mod commands;
mod complete;
mod describe;
mod highlight;
mod history;

use std::fs::File;
use std::io::{BufReader, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

use almagest::{Error, ErrorKind, Result};
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{ColorMode, CompletionType, Config, Context, Editor, Helper, Hinter};

use crate::diagnostics::may_colour;
use crate::names::Names;
use crate::output::{Format, Output};
use crate::run::{Runner, told};
use crate::statements::{Splitter, Statement, is_complete};
use commands::Action;
use highlight::Painter;

const PROMPT: &str = "almagest> ";
/// Rows of an answer that the shell shows unless told otherwise.
const ROWS_SHOWN: u64 = 40;

/// Whether the shell goes on after an input.
type Flow = ControlFlow<()>;

/// The shell with its state.
pub struct Shell<'a> {
    runner: &'a mut Runner,
    editor: Editor<Assistant, FileHistory>,
    history: Option<PathBuf>,
    /// The format before `\x`.
    format: Format,
    rows_max: Option<u64>,
}

impl<'a> Shell<'a> {
    /// A shell over a runner whose output is the terminal.
    ///
    /// # Errors
    /// `Unreachable` if the terminal cannot be set up.
    pub fn try_new(runner: &'a mut Runner) -> Result<Self> {
        let colours = may_colour(std::io::stdout().is_terminal());
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .history_ignore_space(true)
            .color_mode(if colours { ColorMode::Enabled } else { ColorMode::Disabled })
            .bracketed_paste(true)
            .build();
        let mut editor = Editor::<Assistant, FileHistory>::with_config(config).map_err(lost)?;
        editor
            .set_helper(Some(Assistant { names: Names::default(), painter: Painter { colours } }));
        let history = history::open(&mut editor, runner.messages.quiet);
        let format = runner.output.format;
        runner.interrupt.keep_process();
        let rows_max = runner.output.path().is_none().then_some(ROWS_SHOWN);
        Ok(Self { runner, editor, history, format, rows_max })
    }

    /// Reads and runs until the user has enough.
    ///
    /// # Errors
    /// `Unreachable` if the terminal is lost. Errors of statements are told, not given back.
    pub async fn run(&mut self, init: bool) -> Result<()> {
        if !self.runner.messages.quiet {
            say(&format!(
                "almagest {}: SQL over catalogs and arrays. Statements end with ;  \\? helps, \\q \
                 ends.",
                env!("CARGO_PKG_VERSION")
            ));
        }
        if init {
            self.run_init_file().await;
        }
        loop {
            self.look_around().await;
            match self.editor.readline(PROMPT) {
                Ok(input) if input.trim().is_empty() => {}
                Ok(input) => {
                    self.remember(&input);
                    if self.take(&input).await.is_break() {
                        return Ok(());
                    }
                }
                Err(ReadlineError::Interrupted) => {}
                Err(ReadlineError::Eof) => return Ok(()),
                Err(cause) => return Err(told(lost(cause))),
            }
        }
    }

    /// Takes the names and the terminal's width as they are now.
    async fn look_around(&mut self) {
        let names = self.runner.database.names().await;
        if let Some(assistant) = self.editor.helper_mut() {
            assistant.names = names;
        }
        self.fit_output();
    }

    fn fit_output(&mut self) {
        let to_terminal = self.runner.output.path().is_none();
        let width = self.editor.dimensions().map(|(columns, _)| usize::from(columns));
        self.runner.output.width_max = width.filter(|_| to_terminal);
        self.runner.output.rows_max = self.rows_max.filter(|_| to_terminal);
    }

    fn remember(&mut self, input: &str) {
        let added = self.editor.add_history_entry(input.trim_end());
        if let (Ok(true), Some(path)) = (added, &self.history)
            && let Err(cause) = self.editor.append_history(path)
        {
            say(&format!("note: the history cannot be kept in {}: {cause}", path.display()));
            self.history = None;
        }
    }

    /// Runs one input: a command, or statements up to the first that fails.
    async fn take(&mut self, input: &str) -> Flow {
        if let Some(command) = commands::parse(input) {
            return match command {
                Ok((action, argument)) => self.obey(action, argument).await,
                Err(message) => {
                    say(&format!("error: {message}"));
                    Flow::Continue(())
                }
            };
        }
        let mut splitter = Splitter::default();
        splitter.push(input);
        let mut statements: Vec<_> = std::iter::from_fn(|| splitter.next_complete()).collect();
        statements.extend(splitter.rest());
        for statement in statements {
            if self.runner.run_and_tell(&statement, "").await.is_err() {
                break;
            }
            self.finish_file_of_one_answer();
        }
        Flow::Continue(())
    }

    /// A Parquet or Arrow file is complete after one answer; what follows goes to the terminal.
    fn finish_file_of_one_answer(&mut self) {
        let output = &self.runner.output;
        if output.format.is_binary() && output.answers() > 0 && output.path().is_some() {
            self.redirect("");
        }
    }

    async fn obey(&mut self, action: Action, argument: &str) -> Flow {
        match action {
            Action::Quit => return Flow::Break(()),
            Action::Help => say_answer(&commands::help()),
            Action::Describe if argument.is_empty() => self.show_tables().await,
            Action::Tables => self.show_tables().await,
            Action::Describe => {
                let described = describe::columns(&self.runner.database, argument).await;
                self.answer(described);
            }
            Action::Functions => {
                let described = describe::functions(self.runner.database.explaining(), argument);
                self.answer(described);
            }
            Action::FunctionHelp => {
                match describe::function(self.runner.database.explaining(), argument) {
                    Ok(text) => say_answer(&text),
                    Err(message) => say(&format!("error: {message}")),
                }
            }
            Action::Timing => {
                if let Some(on) = switched(argument, self.runner.timing) {
                    self.runner.timing = on;
                    say(if on { "timing is on" } else { "timing is off" });
                }
            }
            Action::Expanded => {
                let vertical = self.runner.output.format == Format::Vertical;
                if let Some(on) = switched(argument, vertical) {
                    self.set_format(if on { Format::Vertical } else { self.format });
                }
            }
            Action::Format => match Format::by_name(argument) {
                Some(format) if !format.is_binary() => {
                    self.format = format;
                    self.set_format(format);
                }
                _ => say("error: use \\format table, csv, tsv, json, ndjson, markdown or vertical"),
            },
            Action::Rows => self.set_rows(argument),
            Action::Output => self.redirect(argument),
            Action::Include => self.include(argument).await,
        }
        Flow::Continue(())
    }

    async fn show_tables(&mut self) {
        if self.runner.database.names().await.tables.is_empty() {
            say("there are no tables yet; CREATE EXTERNAL TABLE makes one, FROM 'file' needs none");
            return;
        }
        let statement = Statement::alone(describe::tables_sql());
        let _ = self.runner.run_and_tell(&statement, "").await;
    }

    fn answer(&mut self, described: Result<arrow::array::RecordBatch>) {
        if let Err(error) = described.and_then(|batch| self.runner.write_rows(&batch)) {
            told(error);
        }
    }

    fn set_format(&mut self, format: Format) {
        if self.runner.output.format.is_binary() {
            say("error: the output file decides the format; \\o alone ends it");
            return;
        }
        self.runner.output.format = format;
        say(&format!("answers are written as {}", format.name()));
    }

    fn set_rows(&mut self, argument: &str) {
        self.rows_max = match (argument, argument.parse::<u64>()) {
            ("all", _) => None,
            (_, Ok(rows)) if rows > 0 => Some(rows),
            ("", _) => self.rows_max,
            _ => {
                say("error: use \\rows 100, or \\rows all");
                return;
            }
        };
        match self.rows_max {
            Some(rows) => say(&format!("at most {rows} rows of an answer are shown")),
            None => say("all rows of an answer are shown"),
        }
        self.fit_output();
    }

    /// `\o FILE` sends answers to a file, `\o` back to the terminal.
    fn redirect(&mut self, argument: &str) {
        let next = if argument.is_empty() {
            Ok(Output::to_stdout(self.format))
        } else {
            let path = PathBuf::from(unquoted(argument));
            let format = Format::by_extension(&path).unwrap_or(self.format);
            Output::to_file(format, &path)
        };
        match next {
            Ok(next) => {
                let before = std::mem::replace(&mut self.runner.output, next);
                let written = before.path();
                match before.close() {
                    Ok(()) if self.runner.messages.quiet => {}
                    Ok(()) => {
                        written.iter().for_each(|path| say(&format!("wrote {}", path.display())))
                    }
                    Err(error) => drop(told(error)),
                }
                if let Some(path) = self.runner.output.path() {
                    let kind = self.runner.output.format;
                    let until =
                        if kind.is_binary() { "the next answer goes" } else { "answers go" };
                    say(&format!("{until} to {} as {}", path.display(), kind.name()));
                }
            }
            Err(error) => drop(told(error)),
        }
        self.fit_output();
    }

    async fn include(&mut self, argument: &str) {
        let path = PathBuf::from(unquoted(argument));
        match File::open(&path) {
            Ok(file) => {
                let name = path.display().to_string();
                let _ = self.runner.run_all(&mut BufReader::new(file), &name).await;
            }
            Err(cause) if argument.is_empty() => drop(cause),
            Err(cause) => say(&format!("error: cannot read {}: {cause}", path.display())),
        }
        if argument.is_empty() {
            say("error: name a file: \\i FILE");
        }
    }

    /// Runs init.sql; an error there is told and does not keep the shell from starting.
    async fn run_init_file(&mut self) {
        let Some(path) = history::init_file() else { return };
        let Ok(file) = File::open(&path) else { return };
        let quiet = std::mem::replace(&mut self.runner.messages.quiet, true);
        let _ = self.runner.run_all(&mut BufReader::new(file), &path.display().to_string()).await;
        self.runner.messages.quiet = quiet;
    }
}

/// A message, on stderr.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// What a command answers, on stdout.
fn say_answer(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
}

/// `on`, `off`, or the opposite of what is; nothing, and a message, for anything else.
fn switched(argument: &str, now: bool) -> Option<bool> {
    match argument.to_ascii_lowercase().as_str() {
        "" => Some(!now),
        "on" => Some(true),
        "off" => Some(false),
        _ => {
            say("error: use on or off");
            None
        }
    }
}

/// A file name with or without its quotes.
fn unquoted(argument: &str) -> &str {
    let argument = argument.trim().trim_end_matches(';').trim();
    let inner = argument.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    inner.unwrap_or(argument)
}

fn lost(cause: ReadlineError) -> Error {
    Error::new(ErrorKind::Unreachable, format!("the terminal cannot be used: {cause}"))
}

/// What the editor asks while a line is typed.
#[derive(Helper, Hinter)]
struct Assistant {
    names: Names,
    painter: Painter,
}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        Ok(complete::complete(&self.names, line, position))
    }
}

impl Validator for Assistant {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let input = context.input();
        let complete = commands::parse(input).is_some() || is_complete(input);
        Ok(if complete { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}
