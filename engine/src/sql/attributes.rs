//! `attributes('file' [, array => '/path'])`: what a file says of itself, its groups and its arrays, one row for each
//! attribute.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringBuilder};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::execution::session_state::SessionState;

use super::table_call::Telling;
use crate::array::Attribute;
use crate::formats::NamedAttributes;
use crate::registry::Registry;
use crate::{Error, Result};

/// The function's name.
pub const NAME: &str = "attributes";

/// What it says of itself.
pub const TELLING: Telling = Telling {
    name: NAME,
    summary: "the attributes of a file, its groups and its arrays: path, name, value and type; one row each",
    options: &[("array", "the path of one array or group in the file")],
};

/// The rows for a file.
///
/// # Errors
/// `NotFound` if there is no such file or array, `Plan` for a file of another format, `DataInvalid`.
pub async fn table(
    location: &str,
    array: Option<&str>,
    state: &SessionState,
    registry: &Registry,
) -> Result<Arc<dyn TableProvider>> {
    let Some(format) = registry.by_path(location) else {
        return Err(Error::plan(format!(
            "'{location}' is no file of a format with attributes ({})",
            registry.extensions()
        )));
    };
    let found = format.attributes(state.runtime_env(), location, array).await?;
    let batch = rows(&found)?;
    let table = MemTable::try_new(batch.schema(), vec![vec![batch]])?;
    Ok(Arc::new(table))
}

fn rows(found: &NamedAttributes) -> Result<RecordBatch> {
    let mut texts: [StringBuilder; 5] = Default::default();
    let [arrays, names, values, types, reasons] = &mut texts;
    for (array, attributes) in found {
        let attributes = match attributes {
            Ok(attributes) => attributes,
            Err(reason) => {
                arrays.append_value(array);
                for text in [&mut *names, values, types] {
                    text.append_null();
                }
                reasons.append_value(reason.to_string());
                continue;
            }
        };
        for Attribute { name, value } in attributes {
            arrays.append_value(array);
            names.append_value(name);
            let told = value.as_ref().map(|value| (value.text(), value.type_name()));
            match told {
                Ok((Ok(text), kind)) => {
                    values.append_value(text);
                    types.append_value(kind);
                    reasons.append_null();
                }
                Ok((Err(reason), kind)) => {
                    values.append_null();
                    types.append_value(kind);
                    reasons.append_value(reason.to_string());
                }
                Err(reason) => {
                    values.append_null();
                    types.append_null();
                    reasons.append_value(reason.to_string());
                }
            }
        }
    }
    let columns = ["array", "name", "value", "type", "unreadable"].into_iter().zip(&mut texts);
    let columns = columns.map(|(name, texts)| (name, Arc::new(texts.finish()) as ArrayRef, true));
    RecordBatch::try_from_iter_with_nullable(columns)
        .map_err(|cause| Error::bug("attributes make no table").caused_by(cause))
}
