//! The `almagest` command: runs SQL statements and prints their answers.
//!
//! Answers go to stdout, everything else to stderr. Exit status: 0, 1 after a failed statement
//! (nothing after it runs), 2 for wrong usage.

mod output;

use std::io::{IsTerminal, Read, Write};
use std::process::ExitCode;

use almagest::{Error, Result, Session, SessionOptions};
use clap::Parser;
use datafusion::sql::parser::DFParser;
use output::Format;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// SQL over catalogs and chunked arrays.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Run these statements and end.
    #[arg(short = 'c', long = "command", value_name = "SQL", conflicts_with = "file")]
    command: Option<String>,
    /// Run the statements in this file and end.
    #[arg(short = 'f', long, value_name = "FILE")]
    file: Option<std::path::PathBuf>,
    /// How answers are written.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Bytes that queries may hold before they spill to disk, such as 4GB.
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    memory_limit: Option<usize>,
    /// Threads for computing; all cores if absent.
    #[arg(long, value_name = "N")]
    threads: Option<std::num::NonZeroUsize>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::from(1)
        }
    }
}

async fn run(arguments: &Arguments) -> Result<()> {
    let text = match (&arguments.command, &arguments.file) {
        (Some(command), _) => command.clone(),
        (None, Some(path)) => std::fs::read_to_string(path).map_err(|cause| {
            Error::not_found(format!("cannot read the statements: {cause}"))
                .with("file", path.display())
        })?,
        (None, None) => {
            let mut text = String::new();
            if std::io::stdin().is_terminal() {
                eprintln!("type statements, then Ctrl-D");
            }
            std::io::stdin().read_to_string(&mut text).map_err(|cause| {
                Error::unreachable(format!("cannot read the statements: {cause}"))
            })?;
            text
        }
    };
    let session = almagest::session(&SessionOptions {
        threads: arguments.threads.map(std::num::NonZeroUsize::get),
        memory_bytes_max: arguments.memory_limit,
        spill_dir: None,
    })?;
    run_statements(&session, &text, arguments.format).await
}

async fn run_statements(session: &Session, text: &str, format: Format) -> Result<()> {
    let statements = DFParser::parse_sql(text)?;
    for statement in statements {
        let plan = session.context().state().statement_to_plan(statement).await?;
        let frame = session.context().execute_logical_plan(plan).await?;
        let answers = !frame.schema().fields().is_empty();
        let schema = std::sync::Arc::new(frame.schema().as_arrow().clone());
        let batches = frame.collect().await?;
        if answers && !output::write(&schema, &batches, format)? {
            return Ok(()); // the reader has left
        }
    }
    Ok(())
}

/// `512`, `64KB`, `4GB`, `1.5GiB`: bytes; the units are powers of 1024.
fn parse_bytes(text: &str) -> Result<usize, String> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit.trim().to_ascii_uppercase().as_str() {
        "" | "B" => 1_u64,
        "K" | "KB" | "KIB" => 1 << 10,
        "M" | "MB" | "MIB" => 1 << 20,
        "G" | "GB" | "GIB" => 1 << 30,
        "T" | "TB" | "TIB" => 1 << 40,
        _ => return Err(format!("unknown unit '{unit}'; use B, KB, MB, GB or TB")),
    };
    let number: f64 = number.parse().map_err(|_| format!("'{text}' is no size; try 4GB"))?;
    Ok((number * factor as f64) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_bytes("512"), Ok(512));
        assert_eq!(parse_bytes("1.5GiB"), Ok(3 << 29));
        assert_eq!(parse_bytes("4gb"), Ok(4 << 30));
        assert!(parse_bytes("4 parsecs").is_err());
    }
}
