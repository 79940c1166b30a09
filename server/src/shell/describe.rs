//! What `\d`, `\df` and `\h` answer, taken from the session's own descriptions.

use std::sync::Arc;

use almagest::{Error, Result, Session};
use almagest_engine::bounds::is_operator;
use almagest_engine::formats::options_of;
use almagest_engine::sql::telling;
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::logical_expr::{DocSection, Documentation};

use crate::database::Database;
use crate::names::nearest;

/// The statement behind `\dt`.
pub fn tables_sql() -> &'static str {
    "SELECT table_catalog AS catalog, table_schema AS schema, table_name AS name, \
     table_type AS type FROM information_schema.tables \
     WHERE table_schema <> 'information_schema' ORDER BY 1, 2, 3"
}

/// The columns of a table, a view, or a file in quotes.
///
/// # Errors
/// Those of planning a query of it.
pub async fn columns(database: &Database, name: &str) -> Result<RecordBatch> {
    let name = name.trim_end_matches(';').trim();
    let is_file =
        database.is_here() && !name.starts_with(['\'', '"']) && std::path::Path::new(name).exists();
    let name = if is_file { format!("'{}'", name.replace('\'', "''")) } else { name.to_string() };
    let schema = database.schema(&format!("SELECT * FROM {name}")).await?;
    let fields = schema.fields();
    let nullable = |nullable: bool| if nullable { "yes" } else { "no" };
    table(vec![
        ("column", fields.iter().map(|field| field.name().clone()).collect()),
        ("type", fields.iter().map(|field| field.data_type().to_string()).collect()),
        ("nullable", fields.iter().map(|field| nullable(field.is_nullable()).into()).collect()),
    ])
}

/// Functions whose names contain a text.
///
/// # Errors
/// `Bug` only.
pub fn functions(session: &Session, text: &str) -> Result<RecordBatch> {
    let text = text.trim_end_matches(';').to_lowercase();
    let found: Vec<(String, Described)> =
        described(session).into_iter().filter(|(name, _)| name.contains(&text)).collect();
    let summary = |described: &Described| match &described.documentation {
        Some(documentation) => first_sentence(&documentation.description),
        None => String::new(),
    };
    table(vec![
        ("function", found.iter().map(|(name, _)| name.clone()).collect()),
        ("kind", found.iter().map(|(_, described)| described.kind.to_string()).collect()),
        ("summary", found.iter().map(|(_, described)| summary(described)).collect()),
    ])
}

/// How to use a function.
///
/// # Errors
/// A line for people if there is no such function.
pub fn function(session: &Session, name: &str) -> Result<String, String> {
    let name = name.trim_end_matches([';', '(', ')']).to_lowercase();
    if name.is_empty() {
        return Err("name a function: \\h FUNCTION (\\df lists them)".into());
    }
    let all = described(session);
    let texts: Vec<String> = all
        .iter()
        .filter(|(known, _)| *known == name)
        .map(|(_, described)| match &described.documentation {
            Some(documentation) => text_of(described.kind, documentation),
            None => format!("{name}: {} function without a description", described.kind),
        })
        .collect();
    if !texts.is_empty() {
        return Ok(texts.join("\n"));
    }
    let near = nearest(&name, all.iter().map(|(known, _)| known.as_str()));
    Err(match near.is_empty() {
        true => format!("there is no function {name}; \\df lists them"),
        false => format!("there is no function {name}; did you mean {}?", near.join(" or ")),
    })
}

fn text_of(kind: &str, documentation: &Documentation) -> String {
    let mut text = format!("{}    ({kind})\n", documentation.syntax_example);
    for syntax in documentation.alternative_syntax.iter().flatten() {
        text.push_str(&format!("{syntax}\n"));
    }
    text.push_str(&format!("\n{}\n", documentation.description.trim()));
    let arguments = documentation.arguments.as_deref().unwrap_or_default();
    if !arguments.is_empty() {
        text.push_str("\nArguments:\n");
        for (name, meaning) in arguments {
            text.push_str(&format!("  {name}: {}\n", meaning.trim()));
        }
    }
    if let Some(example) = &documentation.sql_example {
        let example: Vec<&str> =
            example.trim().lines().filter(|line| !line.trim_start().starts_with("```")).collect();
        text.push_str(&format!("\nExample:\n{}\n", example.join("\n")));
    }
    if let Some(related) = &documentation.related_udfs {
        text.push_str(&format!("\nSee also: {}\n", related.join(", ")));
    }
    text
}

struct Described {
    kind: &'static str,
    documentation: Option<Documentation>,
}

/// Every function by its name; one name may stand for functions of several kinds, such as `concat`.
fn described(session: &Session) -> Vec<(String, Described)> {
    let state = session.context().state();
    let mut all = vec![];
    let mut add = |name: &String, kind, documentation: Option<&Documentation>| {
        all.push((name.clone(), Described { kind, documentation: documentation.cloned() }));
    };
    let named = |(name, _): &(&String, _)| !is_operator(name);
    for (name, function) in state.scalar_functions().iter().filter(named) {
        add(name, "scalar", function.documentation());
    }
    for (name, function) in state.aggregate_functions() {
        add(name, "aggregate", function.documentation());
    }
    for (name, function) in state.window_functions() {
        add(name, "window", function.documentation());
    }
    for (name, function) in state.higher_order_functions() {
        add(name, "lambda", function.documentation());
    }
    for name in state.table_functions().keys() {
        add(name, "table", table_function(session, name).as_ref());
    }
    all.sort_by(|one, other| (&one.0, one.1.kind).cmp(&(&other.0, other.1.kind)));
    all
}

/// The description of one of our table functions.
fn table_function(session: &Session, name: &str) -> Option<Documentation> {
    let registry = session.registry();
    if let Some(relation) = registry.relation(name) {
        return Some(relation.documentation().clone());
    }
    let (summary, options) = match telling(name) {
        Some(telling) => (telling.summary, telling.options.to_vec()),
        None => {
            let format = registry.by_name(name.strip_prefix("read_")?)?;
            (format.summary(), options_of(format.as_ref()))
        }
    };
    let names: Vec<&str> = options.iter().map(|(option, _)| *option).collect();
    let section = DocSection { include: true, label: "Table Functions", description: None };
    let syntax = match names.as_slice() {
        [] => format!("{name}(location)"),
        names => format!("{name}(location [, {}])", names.join(", ")),
    };
    let mut documentation = Documentation::builder(section, summary, syntax)
        .with_argument("location", "path, glob or URL of the file");
    for (option, meaning) in options {
        documentation = documentation.with_argument(option, meaning);
    }
    Some(documentation.build())
}

fn first_sentence(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or("");
    line.split_once(". ").map_or(line, |(sentence, _)| sentence).trim_end_matches('.').to_string()
}

fn table(columns: Vec<(&str, Vec<String>)>) -> Result<RecordBatch> {
    let columns = columns
        .into_iter()
        .map(|(name, values)| (name, Arc::new(StringArray::from(values)) as ArrayRef));
    RecordBatch::try_from_iter(columns)
        .map_err(|cause| Error::bug("a description is no table").caused_by(cause))
}

#[cfg(test)]
mod tests {
    use almagest::SessionOptions;

    use super::*;

    #[test]
    fn table_functions_are_explained_beside_others_of_their_name() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _inside = runtime.enter();
        let session = almagest::session(&SessionOptions::default()).unwrap();
        let concat = function(&session, "concat").unwrap();
        assert!(concat.contains("(scalar)") && concat.contains("(table)"), "{concat}");
        assert!(concat.contains("numpy.concatenate"), "{concat}");
        let reader = function(&session, "read_hdf5").unwrap();
        assert!(reader.starts_with("read_hdf5(location [, dataset, dims, stack])"), "{reader}");
        let header = function(&session, "headers").unwrap();
        assert!(header.starts_with("headers(location [, array])"), "{header}");
        assert!(function(&session, "array_info").unwrap().starts_with("array_info(location)"));
        assert!(function(&session, "crpo").unwrap_err().contains("did you mean crop"));
        let random = functions(&session, "random_").unwrap();
        assert_eq!(random.num_rows(), 2);
        assert!(functions(&session, "concat").unwrap().num_rows() >= 2);
    }
}
