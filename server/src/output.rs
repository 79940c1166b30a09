//! Writes answers, batch by batch, in the format asked for.
//!
//! In: a schema and record batches. Out: bytes on stdout or in a file. Memory is bounded for every
//! format: a table is drawn in sections, everything else streams.

mod cells;
mod columnar;
mod delimited;
mod json;
mod sink;
mod table;
mod vertical;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use almagest::{Error, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use clap::ValueEnum;

pub use sink::Sink;

/// A way to write an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A box for people.
    Table,
    /// Comma-separated values with a header.
    Csv,
    /// Tab-separated values with a header.
    Tsv,
    /// One JSON array of objects.
    Json,
    /// One JSON object a line.
    #[value(alias = "jsonl")]
    Ndjson,
    /// A Markdown table.
    #[value(alias = "md")]
    Markdown,
    /// One line a value.
    Vertical,
    /// A Parquet file.
    Parquet,
    /// An Arrow IPC file.
    Arrow,
}

impl Format {
    /// The format that a file's extension names.
    pub fn by_extension(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        Some(match extension.as_str() {
            "txt" => Self::Table,
            "csv" => Self::Csv,
            "tsv" | "tab" => Self::Tsv,
            "json" => Self::Json,
            "ndjson" | "jsonl" => Self::Ndjson,
            "md" => Self::Markdown,
            "parquet" | "pq" => Self::Parquet,
            "arrow" | "feather" | "ipc" => Self::Arrow,
            _ => return None,
        })
    }

    /// The format with this name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::from_str(name.trim_end_matches(';'), true).ok()
    }

    /// Its name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_string()).unwrap_or_default()
    }

    /// Every name, for messages.
    pub fn names() -> String {
        let names: Vec<String> =
            Self::value_variants().iter().map(|format| format.name()).collect();
        names.join(", ")
    }

    /// Whether it is for programs only, and holds one answer a file.
    pub fn is_binary(self) -> bool {
        matches!(self, Self::Parquet | Self::Arrow)
    }
}

/// A writer of one answer.
trait Writer {
    /// Writes the rows of a batch.
    fn write(&mut self, batch: &RecordBatch) -> Result<()>;

    /// Writes what is left, after the last batch.
    fn finish(&mut self) -> Result<()>;
}

/// Where answers go, and how.
#[derive(Debug)]
pub struct Output {
    /// How the next answer is written.
    pub format: Format,
    /// Rows of an answer that are written at most; all if absent.
    pub rows_max: Option<u64>,
    /// Columns of the terminal, into which a table should fit.
    pub width_max: Option<usize>,
    sink: Sink,
    answers: u64,
}

impl Output {
    /// Answers go to stdout.
    pub fn to_stdout(format: Format) -> Self {
        Self { format, rows_max: None, width_max: None, sink: Sink::stdout(), answers: 0 }
    }

    /// Answers go to a file, which appears under its name when [`Output::close`] is called, so a
    /// run that fails leaves what was there before.
    ///
    /// # Errors
    /// `NotFound` or `Unreachable` if the file cannot be created.
    pub fn to_file(format: Format, path: &Path) -> Result<Self> {
        Ok(Self { format, rows_max: None, width_max: None, sink: Sink::file(path)?, answers: 0 })
    }

    /// The file that answers go to, if it is not stdout.
    pub fn path(&self) -> Option<PathBuf> {
        self.sink.path()
    }

    /// How many answers were begun.
    pub fn answers(&self) -> u64 {
        self.answers
    }

    /// Begins an answer. `before_bytes` is called when its first bytes are about to be written.
    ///
    /// # Errors
    /// `Unsupported` if the format cannot hold the schema, or not a second answer.
    pub fn begin(
        &mut self,
        schema: &SchemaRef,
        before_bytes: impl FnOnce() + Send + 'static,
    ) -> Result<Answer> {
        if self.format.is_binary() && self.answers > 0 {
            return Err(Error::unsupported(format!(
                "a {} file holds one answer, and this would be the second; write each to a file \
                 of its own",
                self.format.name()
            )));
        }
        self.answers += 1;
        let sink = self.sink.announcing(before_bytes);
        let writer: Box<dyn Writer> = match self.format {
            Format::Table => {
                Box::new(table::TableWriter::new(sink.clone(), schema, self.width_max))
            }
            Format::Csv => Box::new(delimited::DelimitedWriter::new(sink.clone(), schema, b',')),
            Format::Tsv => Box::new(delimited::DelimitedWriter::new(sink.clone(), schema, b'\t')),
            Format::Json => Box::new(json::JsonWriter::new(sink.clone(), schema)),
            Format::Ndjson => Box::new(json::NdjsonWriter::new(sink.clone(), schema)),
            Format::Markdown => Box::new(vertical::MarkdownWriter::new(sink.clone(), schema)),
            Format::Vertical => Box::new(vertical::VerticalWriter::new(sink.clone(), schema)),
            Format::Parquet => Box::new(columnar::ParquetWriter::new(sink.clone(), schema)?),
            Format::Arrow => Box::new(columnar::ArrowWriter::new(sink.clone(), schema)?),
        };
        Ok(Answer { writer, sink, rows: 0, rows_max: self.rows_max, cut: false })
    }

    /// Ends the output: a file gets its name.
    ///
    /// # Errors
    /// `Unreachable` if the file cannot be completed.
    pub fn close(self) -> Result<()> {
        self.sink.commit()
    }
}

/// One answer on its way out.
pub struct Answer {
    writer: Box<dyn Writer>,
    sink: Sink,
    rows: u64,
    rows_max: Option<u64>,
    cut: bool,
}

impl Answer {
    /// Writes rows. `Break`: no more are wanted, as enough are shown or the reader has left.
    ///
    /// # Errors
    /// `Unsupported` if the format cannot hold a value, `Unreachable` if bytes cannot be written.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<ControlFlow<()>> {
        let room = self.rows_max.map_or(u64::MAX, |rows_max| rows_max - self.rows);
        let rows = batch.num_rows() as u64;
        self.cut = rows > room;
        let shown = if self.cut { batch.slice(0, room as usize) } else { batch.clone() };
        self.rows += shown.num_rows() as u64;
        let outcome = self.writer.write(&shown);
        if self.reader_left() {
            return Ok(ControlFlow::Break(()));
        }
        outcome?;
        Ok(if self.cut { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// As [`Answer::write`].
    pub fn finish(&mut self) -> Result<()> {
        let outcome = self.writer.finish();
        if self.reader_left() { Ok(()) } else { outcome }
    }

    /// Rows written so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether there were more rows than wanted.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// Whether the reader of stdout has closed it.
    pub fn reader_left(&self) -> bool {
        self.sink.reader_left()
    }
}

/// A failure to write a value in a format.
fn cannot_write(cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::unsupported(format!("cannot write the answer: {cause}")).caused_by(cause)
}

/// The failure of the sink itself.
fn cannot_reach(cause: std::io::Error) -> Error {
    Error::unreachable(format!("cannot write the answer: {cause}")).caused_by(cause)
}
