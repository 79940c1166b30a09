//! The columns of a table over several files whose schemas may differ.
//!
//! In: every file's schema. Out: one schema with every column; where it is absent the rows hold
//! NULL, where numbers have different widths they take the wider type. What cannot be merged is
//! refused with the names of two files.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::datasource::file_format::DEFAULT_SCHEMA_INFER_MAX_RECORD;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::arrow::ArrowFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::execution::session_state::SessionState;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use object_store::{ObjectMeta, ObjectStore};

use super::arrow_claims::Looked;
use super::careful::{Named, awaited_carefully, in_a_file};
use super::exact_numbers;
use super::long_lines::Lines;
use super::parquet_footer;
use super::partitions::Found;
use crate::bounds::ValueLimit;
use crate::{Error, Result};

/// The merged schema of all files.
///
/// # Errors
/// `DataInvalid` with the file that cannot be read or does not fit the ones before it.
pub async fn infer(
    state: &SessionState,
    format: &Arc<dyn FileFormat>,
    found: &[Found<'_>],
) -> Result<SchemaRef> {
    let rule = if format.is::<CsvFormat>() {
        Rule::ByPlace
    } else if format.is::<ArrowFormat>() {
        Rule::Same
    } else {
        Rule::ByName
    };
    let mut merged = Merged { fields: vec![], rule, files: 0, rounded: BTreeSet::new() };
    let concurrency = state.config_options().execution.meta_fetch_concurrency.get();
    for (location, files) in found {
        let store = state.runtime_env().object_store(&location.url)?;
        let mut reads = vec![];
        for file in *files {
            if file.size == 0 {
                // DataFusion passes over files without bytes: right for lines, of which there are none
                if format.is::<ParquetFormat>() || format.is::<ArrowFormat>() {
                    let kind = format.get_ext();
                    let error = Error::data_invalid(format!(
                        "the file has no bytes, and a {kind} file has some even if it has no rows; \
                         write it anew, or move it away"
                    ));
                    return Err(error.with("file", location.name_of(file)));
                }
                continue;
            }
            let is_local = location.url.scheme() == "file";
            let name = location.name_of(file);
            reads.push(read_schema(state, format, &store, file, name, is_local).boxed());
        }
        let mut schemas = stream::iter(reads).buffered(concurrency);
        while let Some((file, schema)) = schemas.try_next().await? {
            merged.add(&file, &schema)?;
        }
    }
    if format.is::<ParquetFormat>() && !merged.rounded.is_empty() {
        exact_numbers::check(state, format, found, &merged.rounded).await?;
    }
    Ok(Arc::new(Schema::new(
        merged.fields.into_iter().map(|(field, _)| field).collect::<Vec<Field>>(),
    )))
}

pub(super) async fn read_schema(
    state: &SessionState,
    format: &Arc<dyn FileFormat>,
    store: &Arc<dyn ObjectStore>,
    file: &ObjectMeta,
    name: String,
    is_local: bool,
) -> Result<(String, SchemaRef)> {
    let named: Named = {
        let name = name.clone();
        Arc::new(move |cause| in_a_file(cause).with("file", &name).into())
    };
    let schema = awaited_carefully(&named, async {
        if format.is::<ArrowFormat>()
            && let Some(schema) = Looked::new(store, file, is_local).schema().await?
        {
            return Ok(schema);
        }
        if format.is::<ParquetFormat>() {
            parquet_footer::check(store, file).await?;
        }
        if let Some((lines, lines_max)) = lines_of(format, ValueLimit::of(state.config_options())) {
            lines.check_beginning(store, file, lines_max).await?;
        }
        format.infer_schema(state, store, std::slice::from_ref(file)).await
    });
    Ok((name, schema.await?))
}

/// How a format of lines tells them, and how many are read for a schema.
fn lines_of(format: &Arc<dyn FileFormat>, bytes_max: u64) -> Option<(Lines, usize)> {
    let (compression, quote, lines_max) = if let Some(csv) = format.downcast_ref::<CsvFormat>() {
        let quote = csv.escape().is_none().then(|| (csv.quote(), csv.delimiter()));
        (csv.options().compression, quote, csv.options().schema_infer_max_rec)
    } else {
        let json = format.downcast_ref::<JsonFormat>()?;
        (json.options().compression, None, json.options().schema_infer_max_rec)
    };
    let lines = Lines { compression: compression.into(), quote, bytes_max };
    Some((lines, lines_max.unwrap_or(DEFAULT_SCHEMA_INFER_MAX_RECORD)))
}

/// How the reader of a format finds the columns of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// By name, with conversion.
    ByName,
    /// By place, as text: a CSV file with other columns would be misread.
    ByPlace,
    /// As they are: DataFusion's reader of Arrow files converts nothing.
    Same,
}

/// Columns so far, each with the file that it was first seen in.
struct Merged {
    fields: Vec<(Field, String)>,
    rule: Rule,
    files: usize,
    /// The columns of 64-bit whole numbers in some files and of floats in others.
    rounded: BTreeSet<String>,
}

impl Merged {
    fn add(&mut self, file: &str, schema: &Schema) -> Result<()> {
        let first = self.files == 0;
        self.files += 1;
        if first {
            self.fields =
                schema.fields().iter().map(|f| (f.as_ref().clone(), file.to_string())).collect();
            return Ok(());
        }
        self.check_order(file, schema)?;
        for (field, _) in &mut self.fields {
            if schema.field_with_name(field.name()).is_err() {
                field.set_nullable(true);
            }
        }
        for incoming in schema.fields() {
            match self.fields.iter_mut().find(|(field, _)| field.name() == incoming.name()) {
                Some((field, seen_in)) => {
                    let wider =
                        wider(field.data_type(), incoming.data_type(), self.rule == Rule::ByPlace);
                    let Some(wider) = wider else {
                        return Err(Error::data_invalid(format!(
                            "column '{}' is {} here, but {} in {seen_in}; make two tables and \
                             UNION ALL them with a CAST",
                            field.name(),
                            incoming.data_type(),
                            field.data_type()
                        ))
                        .with("file", file));
                    };
                    let types = [field.data_type(), incoming.data_type()];
                    if types.iter().any(|of| exact_numbers::is_wide(of)) && wider.is_floating() {
                        self.rounded.insert(field.name().clone());
                    }
                    field.set_nullable(field.is_nullable() || incoming.is_nullable());
                    field.set_data_type(wider);
                }
                None => {
                    let field = incoming.as_ref().clone().with_nullable(true);
                    self.fields.push((field, file.to_string()));
                }
            }
        }
        Ok(())
    }

    /// Refuses a file whose columns the format's reader would not find.
    fn check_order(&self, file: &str, schema: &Schema) -> Result<()> {
        let typed = self.rule == Rule::Same;
        let shown = |field: &Field| match typed {
            true => format!("{} {}", field.name(), field.data_type()),
            false => field.name().clone(),
        };
        let expected: Vec<String> = self.fields.iter().map(|(field, _)| shown(field)).collect();
        let found: Vec<String> = schema.fields().iter().map(|field| shown(field)).collect();
        let need = match self.rule {
            Rule::ByName => return Ok(()),
            Rule::ByPlace => "CSV files of one table have the same columns in the same order",
            Rule::Same => "Arrow files of one table have the same columns and types",
        };
        if expected == found {
            return Ok(());
        }
        let seen_in = self.fields.first().map_or("", |(_, file)| file.as_str());
        Err(Error::data_invalid(format!(
            "the columns are {} here, but {} in {seen_in}; {need}",
            found.join(", "),
            expected.join(", ")
        ))
        .with("file", file))
    }
}

/// The type that holds the values of both, if there is one. `text` says that any value may stay
/// text, as in CSV.
fn wider(left: &DataType, right: &DataType, text: bool) -> Option<DataType> {
    use DataType::{Float16, Float32, Float64, LargeUtf8, Null, Utf8, Utf8View};
    if left == right {
        return Some(left.clone());
    }
    match (left, right) {
        (Null, other) | (other, Null) => Some(other.clone()),
        (Utf8 | LargeUtf8 | Utf8View, Utf8 | LargeUtf8 | Utf8View) => Some(Utf8View),
        _ if left.is_integer() && right.is_integer() => wider_integer(left, right),
        (Float16 | Float32, Float16 | Float32) => Some(Float32),
        _ if left.is_numeric() && right.is_numeric() => {
            match (left.is_floating(), right.is_floating()) {
                (true, true) => Some(Float64),
                (true, false) if right.is_integer() => Some(Float64),
                (false, true) if left.is_integer() => Some(Float64),
                _ => None,
            }
        }
        _ if text => Some(Utf8),
        _ => None,
    }
}

fn wider_integer(left: &DataType, right: &DataType) -> Option<DataType> {
    use DataType::{Decimal128, Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64};
    let rank = |kind: &DataType| match kind {
        Int8 | UInt8 => 0,
        Int16 | UInt16 => 1,
        Int32 | UInt32 => 2,
        _ => 3,
    };
    let (signed, unsigned) = ([Int8, Int16, Int32, Int64], [UInt8, UInt16, UInt32, UInt64]);
    let larger = rank(left).max(rank(right));
    match (left.is_signed_integer(), right.is_signed_integer()) {
        (true, true) => signed.get(larger).cloned(),
        (false, false) => unsigned.get(larger).cloned(),
        (mixed, _) => {
            let (signed_rank, unsigned_rank) =
                if mixed { (rank(left), rank(right)) } else { (rank(right), rank(left)) };
            // an unsigned type needs the next wider signed one; there is none beyond 64 bits
            let needed = signed_rank.max(unsigned_rank + 1);
            Some(signed.get(needed).cloned().unwrap_or(Decimal128(20, 0)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_the_wider_type() {
        use DataType::{Decimal128, Float32, Float64, Int16, Int32, Int64, UInt8, UInt64, Utf8};
        let cases = [
            (Int16, Int32, Some(Int32)),
            (UInt8, Int16, Some(Int16)),
            (Int64, UInt64, Some(Decimal128(20, 0))),
            (Int32, Float32, Some(Float64)),
            (Float32, Float64, Some(Float64)),
            (Int64, Utf8, None),
        ];
        for (left, right, expected) in cases {
            assert_eq!(wider(&left, &right, false), expected, "{left} and {right}");
            assert_eq!(wider(&right, &left, false), expected, "{right} and {left}");
        }
        assert_eq!(wider(&Int64, &Utf8, true), Some(Utf8));
    }

    #[test]
    fn a_column_that_some_file_lacks_is_nullable() {
        let schema = |names: &[&str]| {
            let field = |name: &&str| Field::new(*name, DataType::Int64, false);
            Schema::new(names.iter().map(field).collect::<Vec<_>>())
        };
        let mut merged =
            Merged { fields: vec![], rule: Rule::ByName, files: 0, rounded: BTreeSet::new() };
        merged.add("1", &schema(&["a", "b"])).unwrap();
        merged.add("2", &schema(&["b", "c"])).unwrap();
        let nullable: Vec<(String, bool)> =
            merged.fields.iter().map(|(f, _)| (f.name().clone(), f.is_nullable())).collect();
        let expected = [("a", true), ("b", false), ("c", true)];
        assert_eq!(nullable, expected.map(|(name, nullable)| (name.to_string(), nullable)));
    }
}
