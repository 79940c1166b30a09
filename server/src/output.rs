//! Writes answers to stdout in the format asked for.

use std::io::{ErrorKind as IoErrorKind, Write};

use almagest::{Error, Result};
use arrow::array::RecordBatch;
use arrow::csv::WriterBuilder;
use arrow::datatypes::SchemaRef;
use arrow::json::{ArrayWriter, LineDelimitedWriter};
use arrow::util::pretty::pretty_format_batches;
use clap::ValueEnum;

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
    Ndjson,
}

/// Writes an answer. `false` if the reader has closed the pipe.
///
/// # Errors
/// `Unsupported` if the format cannot hold a value, `Unreachable` if stdout cannot be written.
pub fn write(schema: &SchemaRef, batches: &[RecordBatch], format: Format) -> Result<bool> {
    let bytes = render(schema, batches, format)
        .map_err(|cause| Error::unsupported(format!("cannot write the answer: {cause}")))?;
    let mut out = std::io::stdout().lock();
    match out.write_all(&bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(cause) if cause.kind() == IoErrorKind::BrokenPipe => Ok(false),
        Err(cause) => Err(Error::unreachable(format!("cannot write to stdout: {cause}"))),
    }
}

fn render(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    format: Format,
) -> Result<Vec<u8>, arrow::error::ArrowError> {
    let mut bytes = vec![];
    let empty = [RecordBatch::new_empty(schema.clone())];
    let batches = if batches.is_empty() { &empty } else { batches };
    match format {
        Format::Table => bytes = format!("{}\n", pretty_format_batches(batches)?).into_bytes(),
        Format::Csv | Format::Tsv => {
            let delimiter = if format == Format::Csv { b',' } else { b'\t' };
            let mut writer =
                WriterBuilder::new().with_delimiter(delimiter).with_header(true).build(&mut bytes);
            for batch in batches {
                writer.write(batch)?;
            }
        }
        Format::Json => {
            let mut writer = ArrayWriter::new(&mut bytes);
            writer.write_batches(&batches.iter().collect::<Vec<_>>())?;
            writer.finish()?;
            bytes.push(b'\n');
        }
        Format::Ndjson => {
            let mut writer = LineDelimitedWriter::new(&mut bytes);
            writer.write_batches(&batches.iter().collect::<Vec<_>>())?;
            writer.finish()?;
        }
    }
    Ok(bytes)
}
