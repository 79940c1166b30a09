//! Answers as Parquet and Arrow IPC files, written row group by row group.

use std::collections::HashSet;
use std::sync::Arc;

use almagest::Result;
use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::FileWriter;
use parquet::arrow::ArrowWriter as ParquetArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::{Sink, Writer, cannot_write};

/// A row group is closed when it takes this much memory.
const ROW_GROUP_BYTES_MAX: usize = 128 << 20;

/// A Parquet file, compressed with Zstandard.
pub struct ParquetWriter {
    parquet: ParquetArrowWriter<Sink>,
    schema: SchemaRef,
}

impl ParquetWriter {
    /// An answer of these columns.
    ///
    /// # Errors
    /// `Unsupported` if Parquet cannot hold a column's type.
    pub fn new(out: Sink, schema: &SchemaRef) -> Result<Self> {
        let schema = with_distinct_names(schema);
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .build();
        let parquet = ParquetArrowWriter::try_new(out, Arc::clone(&schema), Some(properties));
        Ok(Self { parquet: parquet.map_err(cannot_write)?, schema })
    }
}

impl Writer for ParquetWriter {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), batch.columns().to_vec());
        self.parquet.write(&batch.map_err(cannot_write)?).map_err(cannot_write)?;
        if self.parquet.in_progress_size() > ROW_GROUP_BYTES_MAX {
            self.parquet.flush().map_err(cannot_write)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.parquet.finish().map(drop).map_err(cannot_write)
    }
}

/// An Arrow IPC file. Dictionaries are written as plain values: they differ from batch to batch,
/// which the file format does not allow.
pub struct ArrowWriter {
    arrow: FileWriter<Sink>,
    schema: SchemaRef,
}

impl ArrowWriter {
    /// An answer of these columns.
    ///
    /// # Errors
    /// `Unsupported` if the schema cannot be written.
    pub fn new(out: Sink, schema: &SchemaRef) -> Result<Self> {
        let plain = |field: &Arc<Field>| match field.data_type() {
            DataType::Dictionary(_, values) => {
                Arc::new(field.as_ref().clone().with_data_type(values.as_ref().clone()))
            }
            _ => Arc::clone(field),
        };
        let schema = with_distinct_names(schema);
        let fields: Vec<_> = schema.fields().iter().map(plain).collect();
        let schema = Arc::new(Schema::new(fields).with_metadata(schema.metadata().clone()));
        let arrow = FileWriter::try_new(out, &schema).map_err(cannot_write)?;
        Ok(Self { arrow, schema })
    }
}

impl Writer for ArrowWriter {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = batch.columns().iter().zip(self.schema.fields());
        let columns = columns.map(|(column, field)| cast(column, field.data_type()));
        let columns: Result<Vec<ArrayRef>, ArrowError> = columns.collect();
        columns
            .and_then(|columns| RecordBatch::try_new(Arc::clone(&self.schema), columns))
            .and_then(|batch| self.arrow.write(&batch))
            .map_err(cannot_write)
    }

    fn finish(&mut self) -> Result<()> {
        self.arrow.finish().map_err(cannot_write)
    }
}

/// The schema with a number after each name that stood before, as `id`, `id_2`: readers of keyed
/// formats would lose one of two equal names.
pub fn with_distinct_names(schema: &SchemaRef) -> SchemaRef {
    let all: HashSet<&String> = schema.fields().iter().map(|field| field.name()).collect();
    if all.len() == schema.fields().len() {
        return Arc::clone(schema);
    }
    let mut seen: HashSet<String> = HashSet::new();
    let distinct = |field: &Arc<Field>| {
        let mut name = field.name().clone();
        let mut number = 2;
        while seen.contains(&name) || (name != *field.name() && all.contains(&name)) {
            name = format!("{}_{number}", field.name());
            number += 1;
        }
        seen.insert(name.clone());
        Arc::new(field.as_ref().clone().with_name(name))
    };
    let fields: Vec<_> = schema.fields().iter().map(distinct).collect();
    Arc::new(Schema::new(fields).with_metadata(schema.metadata().clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_get_numbers() {
        let fields = ["id", "id_2", "id", "x", "id"]
            .map(|name| Field::new(name, DataType::Int64, true))
            .to_vec();
        let schema = with_distinct_names(&Arc::new(Schema::new(fields)));
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["id", "id_2", "id_3", "x", "id_4"]);
    }
}
