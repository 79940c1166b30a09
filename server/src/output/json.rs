//! Answers as JSON: every object has every column, `null` where a value is missing or is no number
//! that JSON has (NaN, infinities).

use std::io::{BufWriter, Write};
use std::sync::Arc;

use almagest::Result;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::json::writer::{JsonArray, LineDelimited};
use arrow::json::{Writer as ArrowJsonWriter, WriterBuilder};

use super::columnar::with_distinct_names;
use super::{Writer, cannot_write};

/// One array of objects.
pub struct JsonWriter<W: Write> {
    json: ArrowJsonWriter<BufWriter<W>, JsonArray>,
    schema: SchemaRef,
}

/// One object a line.
pub struct NdjsonWriter<W: Write> {
    json: ArrowJsonWriter<BufWriter<W>, LineDelimited>,
    schema: SchemaRef,
}

impl<W: Write> JsonWriter<W> {
    /// An answer of these columns; the second of two equal names gets a number.
    pub fn new(out: W, schema: &SchemaRef) -> Self {
        let json = WriterBuilder::new().with_explicit_nulls(true).build(BufWriter::new(out));
        Self { json, schema: with_distinct_names(schema) }
    }
}

impl<W: Write> NdjsonWriter<W> {
    /// An answer of these columns; the second of two equal names gets a number.
    pub fn new(out: W, schema: &SchemaRef) -> Self {
        let json = WriterBuilder::new().with_explicit_nulls(true).build(BufWriter::new(out));
        Self { json, schema: with_distinct_names(schema) }
    }
}

impl<W: Write> Writer for JsonWriter<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), batch.columns().to_vec());
        batch.and_then(|batch| self.json.write(&batch)).map_err(cannot_write)
    }

    fn finish(&mut self) -> Result<()> {
        let finish = |json: &mut ArrowJsonWriter<BufWriter<W>, JsonArray>| {
            json.finish()?;
            let out = json.get_mut();
            out.write_all(b"\n")?;
            out.flush()?;
            Ok(())
        };
        finish(&mut self.json).map_err(|cause: arrow::error::ArrowError| cannot_write(cause))
    }
}

impl<W: Write> Writer for NdjsonWriter<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), batch.columns().to_vec());
        batch.and_then(|batch| self.json.write(&batch)).map_err(cannot_write)
    }

    fn finish(&mut self) -> Result<()> {
        let finish = |json: &mut ArrowJsonWriter<BufWriter<W>, LineDelimited>| {
            json.finish()?;
            json.get_mut().flush()?;
            Ok(())
        };
        finish(&mut self.json).map_err(|cause: arrow::error::ArrowError| cannot_write(cause))
    }
}
