//! What `\d`, `\df` and `\h` answer, taken from the session's own descriptions.

use std::collections::BTreeMap;
use std::sync::Arc;

use almagest::{Error, Result, Session};
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::logical_expr::Documentation;

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
pub async fn columns(session: &Session, name: &str) -> Result<RecordBatch> {
    let name = name.trim_end_matches(';').trim();
    let is_file = !name.starts_with(['\'', '"']) && std::path::Path::new(name).exists();
    let name = if is_file { format!("'{}'", name.replace('\'', "''")) } else { name.to_string() };
    let frame = session.sql(&format!("SELECT * FROM {name}")).await?;
    let fields = frame.schema().fields();
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
    let Some(described) = all.get(&name) else {
        let near = nearest(&name, all.keys().map(String::as_str));
        return Err(match near.is_empty() {
            true => format!("there is no function {name}; \\df lists them"),
            false => format!("there is no function {name}; did you mean {}?", near.join(" or ")),
        });
    };
    let Some(documentation) = &described.documentation else {
        return Ok(format!("{name}: {} function without a description", described.kind));
    };
    Ok(text_of(described.kind, documentation))
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

fn described(session: &Session) -> BTreeMap<String, Described> {
    let state = session.context().state();
    let mut all = BTreeMap::new();
    for (name, function) in state.window_functions() {
        let documentation = function.documentation().cloned();
        all.insert(name.clone(), Described { kind: "window", documentation });
    }
    for (name, function) in state.aggregate_functions() {
        let documentation = function.documentation().cloned();
        all.insert(name.clone(), Described { kind: "aggregate", documentation });
    }
    for (name, function) in state.higher_order_functions() {
        let documentation = function.documentation().cloned();
        all.insert(name.clone(), Described { kind: "lambda", documentation });
    }
    for (name, function) in state.scalar_functions() {
        let documentation = function.documentation().cloned();
        all.insert(name.clone(), Described { kind: "scalar", documentation });
    }
    for name in state.table_functions().keys() {
        all.entry(name.clone()).or_insert(Described { kind: "table", documentation: None });
    }
    all
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
