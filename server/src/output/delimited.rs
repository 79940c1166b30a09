//! Answers as comma- or tab-separated values. A missing value is an empty field, an empty text is
//! `""`; lists and structs are written as text.

use std::io::{BufWriter, Write};
use std::sync::Arc;

use almagest::Result;
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::csv::{Writer as CsvWriter, WriterBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::{Writer, cannot_write};

/// A header, then a line a row.
pub struct DelimitedWriter<W: Write> {
    csv: CsvWriter<BufWriter<W>>,
    schema: SchemaRef,
    begun: bool,
}

impl<W: Write> DelimitedWriter<W> {
    /// Fields are parted by `delimiter`.
    pub fn new(out: W, schema: &SchemaRef, delimiter: u8) -> Self {
        let csv = WriterBuilder::new()
            .with_delimiter(delimiter)
            .with_header(true)
            .build(BufWriter::new(out));
        let fields = schema.fields().iter().map(|field| match field.data_type().is_nested() {
            true => Arc::new(Field::new(field.name(), DataType::Utf8, true)),
            false => Arc::clone(field),
        });
        Self { csv, schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())), begun: false }
    }
}

impl<W: Write> Writer for DelimitedWriter<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.begun = true;
        let columns = batch.columns().iter().map(flat).collect::<Result<Vec<_>>>()?;
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns);
        batch.and_then(|batch| self.csv.write(&batch)).map_err(cannot_write)
    }

    fn finish(&mut self) -> Result<()> {
        if !self.begun {
            let empty = RecordBatch::new_empty(Arc::clone(&self.schema));
            self.csv.write(&empty).map_err(cannot_write)?;
        }
        Ok(()) // each write has flushed
    }
}

fn flat(column: &ArrayRef) -> Result<ArrayRef> {
    if !column.data_type().is_nested() {
        return Ok(Arc::clone(column));
    }
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options).map_err(cannot_write)?;
    let texts = (0..column.len())
        .map(|row| match column.is_null(row) {
            true => Ok(None),
            false => formatter.value(row).try_to_string().map(Some).map_err(cannot_write),
        })
        .collect::<Result<StringArray>>()?;
    Ok(Arc::new(texts))
}
