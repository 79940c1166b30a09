//! Errors for people: what failed, a caret under the place in the SQL, and what was perhaps meant.
//!
//! In: an error and the statement that caused it. Out: lines for stderr. Not here: finding out who
//! must act (`almagest_engine::Error`).

mod place;
mod suggest;

use std::io::IsTerminal;

use almagest::{Error, ErrorKind};

use crate::database::Database;
use crate::statements::Statement;

/// The whole report of a failed statement. `source` names where the statement stood, such as a
/// file; it may be empty.
pub async fn report(
    error: &Error,
    statement: &Statement,
    source: &str,
    database: &Database,
) -> String {
    if error.kind() == ErrorKind::Cancelled {
        return format!("{error}\n");
    }
    let names = database.names().await;
    let finding = suggest::explain(error, &statement.text, &names);
    let paint = Paint::for_stderr();
    let mut report = format!("{} {}\n", paint.red("error:"), finding.message);
    if let Some(place) = finding.place {
        report.push_str(&place.drawn(statement, source, &paint));
    } else if !source.is_empty() {
        report.push_str(&format!("  --> {source}:{}:{}\n", statement.line, statement.column));
    }
    for help in finding.helps {
        report.push_str(&format!("{} {help}\n", paint.green("help:")));
    }
    report
}

/// One line for an error that no statement caused.
pub fn plain(error: &Error) -> String {
    format!("{} {error}", Paint::for_stderr().red("error:"))
}

/// Whether colours may be used on this stream: it is a terminal that has them, and neither
/// `NO_COLOR` nor a dumb terminal forbids.
pub fn may_colour(stream_is_terminal: bool) -> bool {
    let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    stream_is_terminal && !forbidden && !dumb
}

/// Colours, or none.
pub struct Paint {
    enabled: bool,
}

impl Paint {
    fn for_stderr() -> Self {
        Self { enabled: may_colour(std::io::stderr().is_terminal()) }
    }

    fn red(&self, text: &str) -> String {
        self.with("1;31", text)
    }

    fn green(&self, text: &str) -> String {
        self.with("1;32", text)
    }

    fn with(&self, code: &str, text: &str) -> String {
        if self.enabled { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }
}
