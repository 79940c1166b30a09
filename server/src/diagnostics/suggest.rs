//! What an error means for the writer of a statement: message, place, and what was perhaps meant.

use std::error::Error as _;

use almagest::{Error, ErrorKind};
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;

use super::place::Place;
use crate::names::{COMMON_KEYWORDS, Names, keywords, nearest, quoted};

const STARTED_IN: &str = "paths are taken from the directory in which almagest was started";

/// Columns that a message lists at most.
const LISTED_MAX: usize = 12;

/// An error, told in the user's terms.
#[derive(Debug, Default)]
pub struct Finding {
    /// One line, without a final full stop.
    pub message: String,
    /// Where, if it is known.
    pub place: Option<Place>,
    /// What to do.
    pub helps: Vec<String>,
}

/// Tells an error in terms of the statement that caused it.
pub fn explain(error: &Error, sql: &str, names: &Names) -> Finding {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<DataFusionError>());
    let place = cause.and_then(|cause| spanned(cause, sql));
    let root = cause.map(DataFusionError::find_root);
    if let Some(DataFusionError::SchemaError(schema_error, _)) = root
        && let SchemaError::FieldNotFound { field, valid_fields } = schema_error.as_ref()
    {
        let known: Vec<&str> = valid_fields.iter().map(|column| column.name.as_str()).collect();
        let place = place.or_else(|| Place::of_text(sql, &field.name));
        return missing_column(&field.name, &known, place);
    }
    // Our parser's errors keep the text, not the type.
    let mut finding = match error.kind() {
        ErrorKind::Syntax => syntax(error.message(), sql),
        _ => by_words(error, sql, names),
    };
    if finding.message.is_empty()
        && let Some(diagnostic) = cause.and_then(DataFusionError::diagnostic)
    {
        finding.message = format!("{}: {}", error.kind().label(), diagnostic.message);
        finding.helps.extend(diagnostic.notes.iter().map(|note| note.message.clone()));
        finding.helps.extend(diagnostic.helps.iter().map(|help| help.message.clone()));
    }
    if finding.message.is_empty() {
        let (first, helps) = without_hint(&error.to_string());
        finding.message = first;
        finding.helps.extend(helps);
    }
    finding.place = place.or(finding.place).or_else(|| blamed_text(error.message(), sql));
    finding
}

fn spanned(cause: &DataFusionError, sql: &str) -> Option<Place> {
    let span = cause.diagnostic()?.span?;
    let (start, end) = (span.start, span.end);
    if start.line == 0 || start.column == 0 {
        return None;
    }
    if start.line == end.line && end.column > start.column {
        return Some(Place { line: start.line, start: start.column, end: end.column });
    }
    Some(Place::of_word_at(sql, start.line, start.column))
}

fn missing_column(name: &str, known: &[&str], place: Option<Place>) -> Finding {
    let mut finding =
        Finding { message: format!("not found: column '{name}'"), place, helps: vec![] };
    let same_but_for_case: Vec<&str> =
        known.iter().copied().filter(|other| other.eq_ignore_ascii_case(name)).collect();
    let near = nearest(name, known.iter().copied());
    if let [only] = same_but_for_case[..] {
        finding
            .helps
            .push(format!("write {}: names without quotes are read in lower case", quoted(only)));
    } else if !near.is_empty() {
        finding.helps.push(did_you_mean(near.iter().map(|name| quoted(name))));
    } else if known.is_empty() {
        finding.helps.push(
            "there is no table here that could have a column; is FROM missing? \
                            Texts stand in single quotes"
                .into(),
        );
    } else {
        finding.helps.push(listed("columns", known));
    }
    finding
}

fn listed(what: &str, known: &[&str]) -> String {
    let mut shown: Vec<String> = known.iter().take(LISTED_MAX).map(|name| quoted(name)).collect();
    shown.dedup();
    let more = match known.len().saturating_sub(LISTED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{what} here: {}{more}", shown.join(", "))
}

fn did_you_mean(names: impl Iterator<Item = String>) -> String {
    format!("did you mean {}?", names.collect::<Vec<_>>().join(" or "))
}

/// An error of the parser: its text ends with the place.
fn syntax(message: &str, sql: &str) -> Finding {
    let message = strip(message, &["SQL error: ", "sql parser error: "]);
    let message = strip(message, &["ParserError(\"", "TokenizerError(\""]);
    let message = message.strip_suffix("\")").unwrap_or(message);
    let (text, place) = match message.rsplit_once(" at Line: ") {
        Some((text, numbers)) => {
            let mut numbers = numbers.split(", Column: ").map(|n| n.trim().parse::<u64>());
            match (numbers.next(), numbers.next()) {
                (Some(Ok(line)), Some(Ok(column))) if line > 0 && column > 0 => {
                    (text, Some(Place::of_word_at(sql, line, column)))
                }
                _ => (text, None),
            }
        }
        None => (message, None),
    };
    let at_end = text.contains("found: EOF");
    let place = if at_end { Some(Place::at_end_of(sql)) } else { place };
    let text = text.replace("Expected: ", "expected ").replace("found: EOF", "found the end");
    let text = text.replace("found: ", "found ");
    let mut finding = Finding { message: format!("syntax error: {text}"), place, helps: vec![] };
    if let Some((_, found)) = text.rsplit_once("found ")
        && !at_end
        && found.chars().all(|c| c.is_ascii_alphabetic())
        && !keywords().contains(&found.to_uppercase().as_str())
    {
        let near = nearest(found, COMMON_KEYWORDS.iter().copied());
        if !near.is_empty() {
            finding.helps.push(did_you_mean(near.into_iter().map(str::to_string)));
        }
    }
    finding
}

/// Errors that are told in words only.
fn by_words(error: &Error, sql: &str, names: &Names) -> Finding {
    let message = error.message();
    let table = between(message, "table '", "' not found")
        .or_else(|| between(message, "no table '", "'"))
        .or_else(|| between(message, "Table '", "' doesn't exist"));
    if let Some(name) = table {
        return missing_table(name, sql, names);
    }
    if let Some(name) = between(message, "Invalid function '", "'") {
        return missing_function(name, sql, names);
    }
    if let Some(call) = between(message, "given name and argument types '", "'") {
        return wrong_arguments(call, message, sql);
    }
    let format = between(message, "Unable to find factory for ", "")
        .or_else(|| between(message, "no registered file format with ext ", ""));
    if let Some(name) = format {
        return missing_format(name, sql, names);
    }
    let setting = between(message, "Config value \"", "\" not found")
        .or_else(|| between(message, "Could not find config namespace \"", "\""));
    if let Some(name) = setting {
        return missing_setting(name, sql, names);
    }
    let file = error.context("file").or_else(|| error.context("url"));
    let file = file.or_else(|| between(message, "No files found at file://", ". Cannot"));
    if let Some(file) = file
        && let Some(literal) = literal_of_file(sql, file)
    {
        let mut finding = Finding { place: Place::of_text(sql, literal), ..Finding::default() };
        if !std::path::Path::new(literal).exists() && !literal.contains("://") {
            finding.message = format!("not found: there is no file '{literal}'");
            finding.helps = file_helps(literal);
            if finding.helps.is_empty() {
                finding.helps.push(STARTED_IN.into());
            }
        }
        return finding;
    }
    Finding::default()
}

/// The text in quotes that the message repeats in quotes.
fn blamed_text(message: &str, sql: &str) -> Option<Place> {
    let mut texts = sql.split('\'').skip(1).step_by(2).filter(|text| !text.is_empty());
    texts
        .find(|text| message.contains(&format!("'{text}'")))
        .and_then(|text| Place::of_text(sql, text))
}

/// The text in quotes that names this file, or the directory it is in.
fn literal_of_file<'a>(sql: &'a str, file: &str) -> Option<&'a str> {
    let texts = sql.split('\'').skip(1).step_by(2);
    texts.filter(|text| !text.is_empty() && file.contains(text.trim_end_matches('/'))).last()
}

fn missing_format(name: &str, sql: &str, names: &Names) -> Finding {
    let near = nearest(name, names.formats.iter().map(String::as_str));
    let helps = match near.is_empty() {
        true => {
            let known: Vec<&str> = names.formats.iter().map(String::as_str).collect();
            vec![format!("use STORED AS {}", known.join(", "))]
        }
        false => vec![did_you_mean(near.into_iter().map(str::to_string))],
    };
    let message = format!("not found: format '{name}'");
    Finding { message, place: Place::of_text(sql, name), helps }
}

/// A function that exists, called with what it does not take.
fn wrong_arguments(call: &str, message: &str, sql: &str) -> Finding {
    let (name, arguments) = call.split_once('(').unwrap_or((call, ""));
    let arguments = arguments.strip_suffix(')').unwrap_or(arguments);
    let arguments = if arguments.is_empty() { "no arguments" } else { arguments };
    let mut helps = vec![];
    if let Some((_, candidates)) = message.split_once("Candidate functions:") {
        let candidates: Vec<&str> =
            candidates.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        helps.push(format!("it takes {}", candidates.join(", or ")));
    }
    helps.push("CAST(value AS type) makes another type of a value".into());
    let message = format!("invalid query: {name} does not take {arguments}");
    Finding { message, place: Place::of_text(sql, name), helps }
}

fn missing_table(name: &str, sql: &str, names: &Names) -> Finding {
    let short = name.strip_prefix("datafusion.public.").unwrap_or(name);
    let place = Place::of_text(sql, short);
    if looks_like_file(short) {
        return missing_file(short, place, names);
    }
    let near = nearest(short, names.tables.iter().map(String::as_str));
    let helps = match (near.is_empty(), names.tables.is_empty()) {
        (false, _) => vec![did_you_mean(near.into_iter().map(quoted))],
        (true, true) => vec![
            "there are no tables yet; CREATE EXTERNAL TABLE makes one, or name a file: \
             FROM 'path/to/file.parquet'"
                .into(),
        ],
        (true, false) => {
            vec![listed("tables", &names.tables.iter().map(String::as_str).collect::<Vec<_>>())]
        }
    };
    Finding { message: format!("not found: table '{short}'"), place, helps }
}

fn missing_file(name: &str, place: Option<Place>, names: &Names) -> Finding {
    if std::path::Path::new(name).exists() {
        let known: Vec<&str> = names.formats.iter().map(String::as_str).collect();
        return Finding {
            message: format!("not supported: the name of '{name}' does not tell its format"),
            place,
            helps: vec![format!(
                "CREATE EXTERNAL TABLE name STORED AS {} LOCATION '{name}'",
                known.join("|")
            )],
        };
    }
    let unqualified = name.strip_prefix("datafusion.").unwrap_or(name);
    if std::path::Path::new(unqualified).exists() {
        return Finding {
            message: format!("not found: table '{unqualified}'"),
            place,
            helps: vec![format!("a file's name stands in single quotes: FROM '{unqualified}'")],
        };
    }
    let mut helps = file_helps(name);
    if helps.is_empty() {
        helps.push(STARTED_IN.into());
    }
    Finding { message: format!("not found: there is no table or file '{name}'"), place, helps }
}

fn looks_like_file(name: &str) -> bool {
    name.contains('/') || name.contains('\\') || std::path::Path::new(name).extension().is_some()
}

/// Files of nearly this name beside where it should be.
fn file_helps(name: &str) -> Vec<String> {
    let path = std::path::Path::new(name);
    let Some(wanted) = path.file_name().and_then(|name| name.to_str()) else { return vec![] };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = parent.unwrap_or(std::path::Path::new("."));
    let Ok(entries) = std::fs::read_dir(directory) else {
        return vec![format!("there is no directory '{}'", directory.display())];
    };
    let seen: Vec<String> = entries
        .take(10_000)
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    let near = nearest(wanted, seen.iter().map(String::as_str));
    if near.is_empty() || near.contains(&wanted) {
        return vec![];
    }
    let full = |name: &str| match parent {
        Some(parent) => format!("'{}'", parent.join(name).display()),
        None => format!("'{name}'"),
    };
    vec![did_you_mean(near.into_iter().map(full))]
}

fn missing_function(name: &str, sql: &str, names: &Names) -> Finding {
    let near = nearest(name, names.functions.iter().map(String::as_str));
    let helps = match near.is_empty() {
        true => vec!["\\df in the shell, or SHOW FUNCTIONS, lists every function".into()],
        false => vec![did_you_mean(near.into_iter().map(str::to_string))],
    };
    let place = Place::of_text(sql, name);
    Finding { message: format!("not found: function '{name}'"), place, helps }
}

fn missing_setting(name: &str, sql: &str, names: &Names) -> Finding {
    // The error names one part of it: the statement has it whole.
    let words = sql.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.'));
    let whole = words.filter(|word| word.contains('.')).find(|word| word.contains(name));
    let name = whole.unwrap_or(name);
    let last = name.rsplit('.').next().unwrap_or(name);
    let mut near: Vec<&str> = names
        .settings
        .iter()
        .map(String::as_str)
        .filter(|setting| {
            setting.rsplit('.').next().is_some_and(|s| !nearest(last, [s]).is_empty())
        })
        .take(3)
        .collect();
    if near.is_empty() {
        near = nearest(name, names.settings.iter().map(String::as_str));
    }
    let helps = match near.is_empty() {
        true => vec!["SHOW ALL lists every setting".into()],
        false => vec![did_you_mean(near.into_iter().map(str::to_string))],
    };
    let place = Place::of_text(sql, name);
    Finding { message: format!("not found: setting '{name}'"), place, helps }
}

/// DataFusion's own hint, taken out of its message.
fn without_hint(message: &str) -> (String, Vec<String>) {
    let mut lines = message.lines();
    let first = lines.next().unwrap_or("").trim_end_matches('.');
    let first = first.replace("Arrow error: ", "").replace("Error during planning: ", "");
    let first = first.replace("Cast error: ", "").replace("Parser error: ", "");
    let helps = lines.map(|line| line.trim().to_string()).filter(|line| !line.is_empty());
    (first, helps.collect())
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    if after.is_empty() {
        return rest.split_whitespace().next();
    }
    rest.split_once(after).map(|(found, _)| found)
}

fn strip<'a>(mut text: &'a str, prefixes: &[&str]) -> &'a str {
    for prefix in prefixes {
        text = text.strip_prefix(prefix).unwrap_or(text);
    }
    text
}
