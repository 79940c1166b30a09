//! `array_info('table or file')`: what arrays there are and how they are stored, one row each.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int64Builder, ListBuilder, RecordBatch, StringBuilder, UInt64Builder,
};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::datasource::MemTable;
use datafusion::execution::session_state::SessionState;

use super::table_call::Telling;
use crate::array::ArraySource;
use crate::catalog::{ArrayTable, RecordTable};
use crate::registry::Registry;
use crate::{Error, Result};

/// The function's name.
pub const NAME: &str = "array_info";

/// What it says of itself.
pub const TELLING: Telling = Telling {
    name: NAME,
    summary: "the arrays of a table or file: shapes, types, chunks, compression and bytes; one row each",
    options: &[],
};

/// An array, its column in a table if it has one, and the reason if it cannot be read.
struct Found {
    array: String,
    variable: Option<String>,
    source: Result<Arc<dyn ArraySource>>,
}

/// The rows for a registered table or a file.
///
/// # Errors
/// `NotFound` if `name` is neither, `Unsupported` for a table that is no array.
pub async fn table(
    name: &str,
    state: &SessionState,
    registry: &Registry,
) -> Result<Arc<dyn TableProvider>> {
    let found = match registered(name, state).await? {
        Some(table) => arrays_of_table(name, table.as_ref())?,
        None => match registry.by_path(name) {
            Some(format) => format
                .arrays(state.runtime_env(), name)
                .await?
                .into_iter()
                .map(|(array, source)| Found { array, variable: None, source })
                .collect(),
            None => return Err(neither(name, registry)),
        },
    };
    let batch = rows(found)?;
    let table = MemTable::try_new(batch.schema(), vec![vec![batch]])?;
    Ok(Arc::new(table))
}

async fn registered(name: &str, state: &SessionState) -> Result<Option<Arc<dyn TableProvider>>> {
    let reference = TableReference::parse_str(name);
    let Ok(schema) = state.schema_for_ref(reference.clone()) else { return Ok(None) };
    if !schema.table_exist(reference.table()) {
        return Ok(None);
    }
    Ok(schema.table(reference.table()).await?)
}

fn arrays_of_table(name: &str, table: &dyn TableProvider) -> Result<Vec<Found>> {
    if let Some(table) = table.downcast_ref::<RecordTable>() {
        let source = Arc::clone(table.source());
        return Ok(vec![Found { array: source.location(), variable: None, source: Ok(source) }]);
    }
    let Some(table) = table.downcast_ref::<ArrayTable>() else {
        return Err(Error::unsupported(format!(
            "'{name}' is a table of rows, not of an array; use DESCRIBE {name}"
        )));
    };
    let found = table.variables().map(|(variable, source)| Found {
        array: source.location(),
        variable: Some(variable.to_string()),
        source: Ok(Arc::clone(source)),
    });
    Ok(found.collect())
}

fn neither(name: &str, registry: &Registry) -> Error {
    Error::not_found(format!(
        "'{name}' is neither a table nor a file of a format with arrays ({})",
        registry.extensions()
    ))
}

fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

fn rows(found: Vec<Found>) -> Result<RecordBatch> {
    let mut texts: [StringBuilder; 7] = Default::default();
    let mut dims = ListBuilder::new(StringBuilder::new());
    let mut shape = ListBuilder::new(Int64Builder::new());
    let mut chunk_shape = ListBuilder::new(Int64Builder::new());
    let mut bytes_stored = UInt64Builder::new();
    let mut bytes_raw = UInt64Builder::new();
    for Found { array, variable, source } in found {
        let [names, variables, types, stored_types, layouts, compressions, reasons] = &mut texts;
        names.append_value(array);
        variables.append_option(variable);
        let source = match source {
            Ok(source) => source,
            Err(reason) => {
                reasons.append_value(reason.to_string());
                for text in [types, stored_types, layouts, compressions] {
                    text.append_null();
                }
                dims.append_null();
                shape.append_null();
                chunk_shape.append_null();
                bytes_stored.append_null();
                bytes_raw.append_null();
                continue;
            }
        };
        let (meta, storage) = (source.meta(), source.storage());
        reasons.append_null();
        types.append_value(meta.data_type.to_string());
        stored_types.append_value(&storage.stored_type);
        layouts.append_value(&storage.layout);
        compressions.append_value(&storage.compression);
        dims.append_value(meta.dims.iter().map(Some));
        shape.append_value(meta.shape.iter().map(|length| Some(*length as i64)));
        chunk_shape.append_value(meta.chunk_shape.iter().map(|length| Some(*length as i64)));
        bytes_stored.append_option(storage.stored_bytes);
        bytes_raw.append_value(storage.raw_bytes);
    }
    let [names, variables, types, stored_types, layouts, compressions, reasons] = &mut texts;
    let columns: Vec<(&str, DataType, ArrayRef)> = vec![
        ("array", DataType::Utf8, Arc::new(names.finish())),
        ("variable", DataType::Utf8, Arc::new(variables.finish())),
        ("dims", list(DataType::Utf8), Arc::new(dims.finish())),
        ("shape", list(DataType::Int64), Arc::new(shape.finish())),
        ("data_type", DataType::Utf8, Arc::new(types.finish())),
        ("stored_type", DataType::Utf8, Arc::new(stored_types.finish())),
        ("layout", DataType::Utf8, Arc::new(layouts.finish())),
        ("chunk_shape", list(DataType::Int64), Arc::new(chunk_shape.finish())),
        ("compression", DataType::Utf8, Arc::new(compressions.finish())),
        ("bytes_stored", DataType::UInt64, Arc::new(bytes_stored.finish())),
        ("bytes_raw", DataType::UInt64, Arc::new(bytes_raw.finish())),
        ("unreadable", DataType::Utf8, Arc::new(reasons.finish())),
    ];
    let fields: Vec<Field> =
        columns.iter().map(|(name, kind, _)| Field::new(*name, kind.clone(), true)).collect();
    let columns = columns.into_iter().map(|(_, _, column)| column).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        .map_err(|cause| Error::bug("array_info built rows that do not fit").caused_by(cause))
}
