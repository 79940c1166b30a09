//! Says which tables there are when a name is not one of them.

use datafusion::error::DataFusionError;
use datafusion::execution::session_state::SessionState;

use crate::Error;

/// Names listed at the most.
const SHOWN_MAX: usize = 5;

/// The same error; "table not found" with the tables whose names are most alike.
pub fn explain_missing(cause: DataFusionError, state: &SessionState) -> Error {
    let DataFusionError::Plan(message) = cause.find_root() else { return cause.into() };
    let missing = message.strip_prefix("table '").and_then(|rest| rest.strip_suffix("' not found"));
    let Some(missing) = missing else { return cause.into() };
    let options = &state.config_options().catalog;
    let default = format!("{}.{}.", options.default_catalog, options.default_schema);
    let missing = missing.strip_prefix(&default).unwrap_or(missing).to_string();
    let mut names = state.schema_for_ref("x").map_or(vec![], |schema| schema.table_names());
    names.retain(|name| !name.is_empty());
    let distance =
        |name: &String| datafusion::common::utils::datafusion_strsim::levenshtein(name, &missing);
    names.sort_by_key(|name| (distance(name), name.clone()));
    let hint = match names.as_slice() {
        [] => {
            "there are no tables yet: CREATE EXTERNAL TABLE makes one, and a file needs none: FROM \
               'path'"
                .to_string()
        }
        [name, ..] if distance(name) <= 2 => format!("did you mean {name}?"),
        names => {
            let more = if names.len() > SHOWN_MAX { ", …" } else { "" };
            let shown: Vec<&str> = names.iter().take(SHOWN_MAX).map(String::as_str).collect();
            format!("there are {}{more}; for a file write FROM 'path'", shown.join(", "))
        }
    };
    Error::not_found(format!("no table '{missing}'; {hint}")).caused_by(cause)
}
