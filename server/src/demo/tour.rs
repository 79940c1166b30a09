//! The tour: each statement of `examples/quickstart.sql`, its answer and its time, on stdout.

use std::io::Write;
use std::path::Path;

use almagest::{Error, Result};

use crate::diagnostics;
use crate::run::{Runner, told};
use crate::statements::{Splitter, Statement};

/// The statements, as they stand in the repository; the sample is in `demo/`.
const QUICKSTART: &str = include_str!("../../../examples/quickstart.sql");

/// Runs the tour over the sample in `dir`. Errors are told on stderr before they are given back.
///
/// # Errors
/// The first statement's that failed.
pub async fn run(runner: &mut Runner, dir: &Path) -> Result<()> {
    let text = for_folder(QUICKSTART, dir).map_err(told)?;
    let mut splitter = Splitter::default();
    splitter.push(&text);
    while let Some(statement) = splitter.next_complete() {
        let shown = format!("\n{}{};\n", comment_above(&text, &statement), statement.text);
        if !print(&shown).map_err(told)? {
            return Ok(());
        }
        match runner.run(&statement.text).await {
            Ok(outcome) if outcome.reader_left => return Ok(()),
            Ok(outcome) => {
                if !print(&format!("{}\n", outcome.summary(true))).map_err(told)? {
                    return Ok(());
                }
            }
            Err(error) => {
                let report =
                    diagnostics::report(&error, &statement, "quickstart.sql", &runner.database);
                let _ = write!(std::io::stderr(), "{}", report.await);
                return Err(error);
            }
        }
    }
    Ok(())
}

/// The text with the sample's folder in place of `demo`.
fn for_folder(text: &str, dir: &Path) -> Result<String> {
    let dir = dir.to_str().ok_or_else(|| {
        Error::unsupported("statements are UTF-8 text, and this folder's name is not")
            .with("folder", dir.display())
    })?;
    let quoted = dir.trim_end_matches('/').replace('\'', "''");
    Ok(text.replace("'demo/", &format!("'{quoted}/")))
}

/// The comment lines directly above a statement.
fn comment_above(text: &str, statement: &Statement) -> String {
    let lines: Vec<&str> = text.lines().take(statement.line as usize - 1).collect();
    let count = lines.iter().rev().take_while(|line| line.starts_with("--")).count();
    lines[lines.len() - count..].iter().map(|line| format!("{line}\n")).collect()
}

/// Prints; `false` if the reader of stdout has left.
fn print(text: &str) -> Result<bool> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(cause) if cause.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(cause) => Err(Error::unreachable(format!("cannot write to stdout: {cause}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_name_the_folder_of_the_sample() {
        let named = for_folder("FROM 'demo/sky.h5'", Path::new("/a/it's/")).unwrap();
        assert_eq!(named, "FROM '/a/it''s/sky.h5'");
    }

    #[test]
    fn each_statement_of_the_tour_says_what_it_is_for() {
        let mut splitter = Splitter::default();
        splitter.push(QUICKSTART);
        let statements: Vec<Statement> = std::iter::from_fn(|| splitter.next_complete()).collect();
        assert!(statements.len() >= 10);
        for statement in &statements {
            assert!(!comment_above(QUICKSTART, statement).is_empty(), "{}", statement.text);
        }
        assert_eq!(splitter.rest(), None);
    }
}
