//! Runs statements one after the other and writes their answers.
//!
//! In: statements, from `-c`, `-f`, a pipe or the shell. Out: answers through an [`Output`], and on
//! stderr how long each took. Each statement is planned only after the one before it has run.

use std::io::{BufRead, Read, Write};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use almagest::{Error, ErrorKind, Result};
use arrow::array::RecordBatch;

use crate::arguments::MessageArguments;
use crate::database::Database;
use crate::diagnostics;
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::progress::Meter;
use crate::statements::{Splitter, Statement};

/// A statement longer than this is refused, so that a pipe without semicolons cannot fill memory.
const STATEMENT_BYTES_MAX: usize = 256 << 20;

/// What became of a statement.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Rows written, if the statement answers with rows.
    pub rows: Option<u64>,
    /// Whether there were more rows than the output wanted.
    pub cut: bool,
    /// Whether the reader of stdout has closed it.
    pub reader_left: bool,
    /// From the statement's text to the last byte of its answer.
    pub elapsed: Duration,
}

impl Outcome {
    /// One line for people.
    pub fn summary(&self, timing: bool) -> String {
        let time = match timing {
            true => format!(" in {:.3} s", self.elapsed.as_secs_f64()),
            false => String::new(),
        };
        match self.rows {
            None => format!("done{time}"),
            Some(1) if !self.cut => format!("1 row{time}"),
            Some(rows) if !self.cut => format!("{rows} rows{time}"),
            Some(rows) => format!(
                "the first {rows} rows{time}; there are more (\\rows all shows them, \\o FILE \
                 writes them)"
            ),
        }
    }
}

/// Runs statements, and writes what they answer.
pub struct Runner {
    /// Where they run.
    pub database: Database,
    /// Where answers go.
    pub output: Output,
    /// What goes to stderr.
    pub messages: MessageArguments,
    /// Whether messages say how long a statement took.
    pub timing: bool,
    /// Tells of Ctrl-C.
    pub interrupt: Interrupt,
    /// Whether what follows a failed statement runs too.
    pub keep_going: bool,
    /// The first failure that something ran after.
    pub failed: Option<Error>,
}

impl Runner {
    /// Runs one statement and writes its answer.
    ///
    /// # Errors
    /// Those of the statement and of writing; `Cancelled` after Ctrl-C.
    pub async fn run(&mut self, statement: &str) -> Result<Outcome> {
        let running = self.interrupt.begin();
        let meter = Meter::start(self.messages);
        tokio::select! {
            biased;
            () = running.interrupted() => Err(Error::cancelled("stopped by Ctrl-C")),
            outcome = self.answer(statement, &meter) => outcome,
        }
    }

    async fn answer(&mut self, statement: &str, meter: &Meter) -> Result<Outcome> {
        let started = Instant::now();
        if statement.trim_start().starts_with('\\') {
            return Err(Error::syntax(
                "commands that begin with \\ are the interactive shell's; in SQL there are SHOW TABLES, \
                 SHOW FUNCTIONS and DESCRIBE",
            ));
        }
        let Some(mut rows) = self.database.begin(statement, meter).await? else {
            let elapsed = started.elapsed();
            return Ok(Outcome { rows: None, cut: false, reader_left: false, elapsed });
        };
        let schema = Arc::clone(&rows.schema);
        let mut answer = None;
        let mut enough = false;
        while let Some(batch) = rows.batches.recv().await {
            if batch.num_rows() == 0 {
                continue;
            }
            let answer = match &mut answer {
                Some(answer) => answer,
                none => none.insert(self.output.begin(&schema, meter.stopper())?),
            };
            if answer.write(&batch)? == ControlFlow::Break(()) {
                enough = true;
                break;
            }
        }
        if !enough {
            rows.end().await?;
        }
        let mut answer = match answer {
            Some(answer) => answer,
            None => self.output.begin(&schema, meter.stopper())?,
        };
        answer.finish()?;
        Ok(Outcome {
            rows: Some(answer.rows()),
            cut: answer.is_cut(),
            reader_left: answer.reader_left(),
            elapsed: started.elapsed(),
        })
    }

    /// Writes rows that no statement gave.
    ///
    /// # Errors
    /// As writing an answer.
    pub fn write_rows(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut answer = self.output.begin(&batch.schema(), || ())?;
        let _ = answer.write(batch)?;
        answer.finish()
    }

    /// Runs what a splitter has ready. `Break`: the reader of stdout has left.
    ///
    /// # Errors
    /// The first statement's that failed, already told on stderr.
    async fn run_ready(&mut self, splitter: &mut Splitter, name: &str) -> Result<ControlFlow<()>> {
        while let Some(statement) = splitter.next_complete() {
            if self.run_of_many(&statement, name).await?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Runs one statement of a source. With `keep_going`, its failure is kept for the end of the run.
    async fn run_of_many(&mut self, statement: &Statement, name: &str) -> Result<ControlFlow<()>> {
        let started = Instant::now();
        let outcome = self.run_and_tell(statement, name).await;
        match outcome {
            Err(error) if self.keep_going && error.kind() != ErrorKind::Cancelled => {
                if !self.messages.quiet {
                    // a line that ends each statement's messages, for programs that read them
                    let elapsed = started.elapsed().as_secs_f64();
                    let _ = writeln!(std::io::stderr(), "failed in {elapsed:.3} s");
                }
                self.failed.get_or_insert(error);
                Ok(ControlFlow::Continue(()))
            }
            outcome => outcome,
        }
    }

    /// Runs one statement and says on stderr how it went. `Break`: the reader of stdout has left.
    ///
    /// # Errors
    /// Those of [`Runner::run`], already told on stderr.
    pub async fn run_and_tell(
        &mut self,
        statement: &Statement,
        name: &str,
    ) -> Result<ControlFlow<()>> {
        match self.run(&statement.text).await {
            Ok(outcome) if outcome.reader_left => Ok(ControlFlow::Break(())),
            Ok(outcome) => {
                if !self.messages.quiet {
                    let _ = writeln!(std::io::stderr(), "{}", outcome.summary(self.timing));
                }
                Ok(ControlFlow::Continue(()))
            }
            Err(error) => {
                let report = diagnostics::report(&error, statement, name, &self.database).await;
                let _ = write!(std::io::stderr(), "{report}");
                Err(error)
            }
        }
    }

    /// Runs every statement of a text, which may have no end. `name` is what messages call it.
    ///
    /// # Errors
    /// The first that occurred, already told on stderr; nothing after it was run.
    pub async fn run_all(
        &mut self,
        source: &mut (dyn BufRead + Send),
        name: &str,
    ) -> Result<ControlFlow<()>> {
        let mut splitter = Splitter::default();
        let mut line = vec![];
        let mut line_number = 0_u64;
        loop {
            line.clear();
            let room = (STATEMENT_BYTES_MAX - splitter.pending_bytes()) as u64;
            let read = source.take(room).read_until(b'\n', &mut line);
            let text = read.map_err(|cause| format!("cannot read the statements: {cause}"));
            let text = text.and_then(|_| {
                line_number += 1;
                std::str::from_utf8(&line)
                    .map_err(|_| format!("line {line_number} is not UTF-8 text; is this SQL?"))
            });
            match text {
                Ok("") if room > 0 => break,
                Ok(text) => splitter.push(text),
                Err(message) => return Err(told(Error::plan(message).with("source", name))),
            }
            if self.run_ready(&mut splitter, name).await?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            if splitter.pending_bytes() >= STATEMENT_BYTES_MAX {
                let message = "a statement is longer than 256 MiB; is a semicolon or a closing \
                               quote missing?";
                return Err(told(Error::syntax(message).with("source", name)));
            }
        }
        match splitter.rest() {
            Some(statement) => self.run_of_many(&statement, name).await,
            None => Ok(ControlFlow::Continue(())),
        }
    }
}

/// Says an error on stderr and gives it back.
pub fn told(error: Error) -> Error {
    let _ = writeln!(std::io::stderr(), "{}", diagnostics::plain(&error));
    error
}
