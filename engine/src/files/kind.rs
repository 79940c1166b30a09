//! Which format files have: by `STORED AS`, by the name of a `read_…` function or by extension.
//!
//! The formats themselves are DataFusion's. Here are only their names, and the extensions that name
//! a format with other options (`.tsv`) or under compression (`.csv.gz`).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use datafusion::catalog::Session;
use datafusion::common::GetExt;
use datafusion::datasource::file_format::{FileFormat, FileFormatFactory};
use datafusion::error::Result as DfResult;
use datafusion::execution::session_state::SessionState;
use object_store::{ObjectMeta, ObjectStoreExt};

use super::location::{Location, file_name};
use super::refused_options::{refuse_arrow, refuse_encryption};
use crate::{Error, Result};

/// The names of file types, in lower case, as in `read_csv`, `STORED AS CSV` and `.csv`.
pub const FILE_TYPES: &[&str] = &["parquet", "csv", "tsv", "json", "ndjson", "jsonl", "arrow"];

/// Names of compressed files end so; the names are those that DataFusion's option takes.
const COMPRESSIONS: &[&str] = &["gz", "bz2", "xz", "zst"];

const COMPRESSION: &str = "format.compression";
const DELIMITER: &str = "format.delimiter";
const NEWLINE_DELIMITED: &str = "format.newline_delimited";
const NULL_VALUE: &str = "format.null_value";
const NULL_REGEX: &str = "format.null_regex";
const INFER_ROWS: &str = "format.schema_infer_max_rec";
/// Rows from which the columns' types of text files are inferred, unless an option says otherwise.
const INFER_ROWS_DEFAULT: &str = "20480";
/// Bytes at the start of a JSON file that tell whether it holds one array.
const SNIFFED_BYTES: u64 = 64;

/// How some programs begin texts in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A type of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileKind {
    name: &'static str,
}

impl FileKind {
    /// The type with this name, in any case.
    pub fn by_name(name: &str) -> Option<Self> {
        let mut names = FILE_TYPES.iter();
        names.find(|known| known.eq_ignore_ascii_case(name)).map(|name| Self { name })
    }

    /// DataFusion's name for the type.
    fn base(self) -> &'static str {
        match self.name {
            "tsv" => "csv",
            "ndjson" | "jsonl" => "json",
            other => other,
        }
    }

    /// DataFusion's factory for the type.
    ///
    /// # Errors
    /// `Unsupported` if this build lacks it.
    pub fn factory(self, state: &SessionState) -> Result<Arc<dyn FileFormatFactory>> {
        state.get_file_format_factory(self.base()).ok_or_else(|| {
            Error::unsupported(format!("this build cannot read {} files", self.name))
        })
    }
}

/// The type and the compression that a file's name ends with.
pub fn of_path(path: &str) -> Option<(FileKind, Option<&'static str>)> {
    let (rest, extension) = file_name(path).rsplit_once('.')?;
    let lower = extension.to_lowercase();
    if let Some(compression) = COMPRESSIONS.iter().find(|known| **known == lower) {
        let kind = rest.rsplit_once('.').and_then(|(_, inner)| FileKind::by_name(inner))?;
        return Some((kind, Some(compression)));
    }
    FileKind::by_name(extension).map(|kind| (kind, None))
}

/// The format of a table, and the ending of the names of its files.
pub struct Chosen {
    kind: FileKind,
    compression: Option<&'static str>,
    /// What file names end with; empty if any file that the location names is meant.
    pub extension: String,
}

/// Finds the one format of all the files that the locations name.
///
/// # Errors
/// `Plan` if the files have several types or none that is known.
pub fn choose(
    named: Option<&str>,
    locations: &[Location],
    found: &[Vec<ObjectMeta>],
) -> Result<Chosen> {
    let named = match named {
        None => None,
        Some(name) => Some(FileKind::by_name(name).ok_or_else(|| {
            Error::plan(format!("no file type '{name}'; use {}", FILE_TYPES.join(", ")))
        })?),
    };
    let mut endings: BTreeMap<String, (FileKind, Option<&'static str>)> = BTreeMap::new();
    let mut example: BTreeMap<String, String> = BTreeMap::new();
    for file in found.iter().flatten() {
        let Some((kind, compression)) = of_path(file.location.as_ref()) else { continue };
        if named.is_none_or(|named| named.base() == kind.base()) {
            let ending = ending(kind, compression);
            example.entry(ending.clone()).or_insert_with(|| file.location.to_string());
            endings.insert(ending, (kind, compression));
        }
    }
    let in_folder = locations.iter().any(Location::is_folder);
    if endings.len() > 1 {
        let seen: Vec<String> = example
            .iter()
            .map(|(ending, file)| format!("{ending} ({})", file_name(file)))
            .collect();
        return Err(Error::plan(format!(
            "the files have several types, {}; name those of one table by a glob such as '{}*{}'",
            seen.join(" and "),
            locations.first().map_or("", |location| location.text.as_str()).trim_end_matches('*'),
            example.keys().next().map_or("", String::as_str)
        ))
        .with("location", locations.first().map_or("", |location| location.text.as_str())));
    }
    match (endings.pop_first(), named) {
        (Some((ending, (kind, compression))), _) => Ok(Chosen {
            kind: named.filter(|named| named.name != named.base()).unwrap_or(kind),
            compression,
            extension: if in_folder { ending } else { String::new() },
        }),
        (None, Some(kind)) => Ok(Chosen {
            kind,
            compression: None,
            extension: if in_folder { ending(kind, None) } else { String::new() },
        }),
        (None, None) => Err(unknown_type(locations, found)),
    }
}

fn ending(kind: FileKind, compression: Option<&str>) -> String {
    match compression {
        None => format!(".{}", kind.name),
        Some(compression) => format!(".{}.{compression}", kind.name),
    }
}

fn unknown_type(locations: &[Location], found: &[Vec<ObjectMeta>]) -> Error {
    let location = locations.first().map_or("", |location| location.text.as_str());
    match found.iter().flatten().next() {
        None => Error::not_found("no file there").with("location", location),
        Some(file) => Error::unsupported(format!(
            "the name of '{}' tells no format; use CREATE EXTERNAL TABLE … STORED AS, or one of the \
             endings .{}",
            file_name(file.location.as_ref()),
            FILE_TYPES.join(", .")
        ))
        .with("location", location),
    }
}

impl Chosen {
    /// Whether `file` belongs to the table: it has the right ending, or was named itself.
    pub fn takes(&self, file: &ObjectMeta, location: &Location) -> bool {
        !location.is_folder() || file.location.as_ref().ends_with(&self.extension)
    }

    /// DataFusion's format with these options.
    ///
    /// # Errors
    /// `Plan` for options that the format does not have or that have no meaning.
    pub async fn format(
        &self,
        state: &SessionState,
        options: &HashMap<String, String>,
        declared: bool,
        locations: &[Location],
        found: &[Vec<ObjectMeta>],
    ) -> Result<Arc<dyn FileFormat>> {
        for option in options.keys().filter(|option| option.starts_with("format.")) {
            refuse_encryption(option)?;
            refuse_arrow(self.kind.name, option)?;
        }
        let mut options = options.clone();
        let mut default = |key: &str, value: &str| {
            options.entry(key.to_string()).or_insert_with(|| value.to_string());
        };
        if let Some(compression) = self.compression {
            default(COMPRESSION, compression);
        }
        if self.kind.name == "tsv" {
            default(DELIMITER, "\t");
        }
        if matches!(self.kind.base(), "csv" | "json") && !declared {
            default(INFER_ROWS, INFER_ROWS_DEFAULT);
        }
        if self.kind.base() == "json"
            && self.compression.is_none()
            && let (Some(location), Some(file)) = (locations.first(), first_file(found))
            && file.size > 0
            && holds_one_array(state, location, file).await?
            && self.kind.name == "json"
        {
            default(NEWLINE_DELIMITED, "false");
        }
        if let Some(pattern) = options.get(NULL_REGEX) {
            regex::Regex::new(pattern).map_err(|cause| {
                Error::plan(format!("the null_regex '{pattern}' is no regular expression: {cause}"))
            })?;
        }
        if let Some(option) =
            [NULL_REGEX, NULL_VALUE].into_iter().find(|option| options.contains_key(*option))
        {
            // DataFusion heeds the first when it guesses types, and both not when it reads
            return Err(Error::unsupported(format!(
                "{} of a table of CSV files: what it names would be read as a text; an empty field is \
                 NULL, and nullif(column, 'NA') makes others so",
                option.trim_start_matches("format.")
            )));
        }
        let format = self.kind.factory(state)?.create(state, &options);
        format.map_err(|cause| self.wrong_option(state, &options, cause))
    }

    fn wrong_option(
        &self,
        state: &SessionState,
        options: &HashMap<String, String>,
        cause: datafusion::error::DataFusionError,
    ) -> Error {
        let Ok(default) = self.kind.factory(state).map(|factory| factory.default()) else {
            return cause.into();
        };
        let known = known_options(state, default.as_ref());
        let short = |key: &str| key.trim_start_matches("format.").to_string();
        let mut unknown: Vec<&String> =
            options.keys().filter(|key| !known.contains(&short(key))).collect();
        unknown.sort();
        match unknown.first() {
            Some(key) if !known.is_empty() && !short(key).contains("::") => Error::plan(format!(
                "{} tables have no option '{}'; use {}",
                self.kind.name.to_uppercase(),
                short(key),
                known.join(", ")
            ))
            .caused_by(cause),
            _ => cause.into(),
        }
    }
}

/// The names of the options of a format, without those that need a column's name.
fn known_options(state: &SessionState, format: &dyn FileFormat) -> Vec<String> {
    use datafusion::config::ConfigFileType;
    let mut options = state.default_table_options();
    options.set_config_format(match format.get_ext().as_str() {
        "csv" => ConfigFileType::CSV,
        "json" => ConfigFileType::JSON,
        "parquet" => ConfigFileType::PARQUET,
        _ => return vec![],
    });
    let entries = options.entries().into_iter();
    let names = entries.filter_map(|entry| entry.key.strip_prefix("format.").map(str::to_string));
    names.filter(|name| !name.contains("::")).collect()
}

fn first_file(found: &[Vec<ObjectMeta>]) -> Option<&ObjectMeta> {
    found.iter().flatten().next()
}

/// Whether a JSON file begins with `[`.
///
/// # Errors
/// `DataInvalid` for one that begins with a byte order mark, which no JSON reader takes.
async fn holds_one_array(
    state: &SessionState,
    location: &Location,
    file: &ObjectMeta,
) -> Result<bool> {
    let store = state.runtime_env().object_store(&location.url)?;
    let start = store.get_range(&file.location, 0..file.size.min(SNIFFED_BYTES)).await?;
    if start.starts_with(BYTE_ORDER_MARK) {
        return Err(Error::data_invalid(
            "the file begins with a byte order mark, which JSON does not have; write it anew without \
             its first three bytes",
        )
        .with("file", location.name_of(file)));
    }
    Ok(start.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'['))
}

/// The format's name and the option that `COPY … TO 'x.csv.gz'` means, where DataFusion would look
/// for a format named `gz`.
pub fn of_compressed_target(path: &str) -> Option<(&'static str, (&'static str, &'static str))> {
    let (kind, compression) = of_path(path)?;
    compression.map(|compression| (kind.name, (COMPRESSION, compression)))
}

/// A format of DataFusion under a second name, so that `COPY … TO 'x.ndjson'` finds it.
#[derive(Debug)]
struct Alias {
    name: &'static str,
    base: Arc<dyn FileFormatFactory>,
}

impl GetExt for Alias {
    fn get_ext(&self) -> String {
        self.name.to_string()
    }
}

impl FileFormatFactory for Alias {
    fn create(
        &self,
        state: &dyn Session,
        options: &HashMap<String, String>,
    ) -> DfResult<Arc<dyn FileFormat>> {
        let mut options = options.clone();
        if self.name == "tsv" {
            options.entry(DELIMITER.to_string()).or_insert_with(|| "\t".to_string());
        }
        self.base.create(state, &options)
    }

    fn default(&self) -> Arc<dyn FileFormat> {
        self.base.default()
    }
}

/// Registers the names in [`FILE_TYPES`] that DataFusion does not know.
///
/// # Errors
/// `Bug` if DataFusion refuses one.
pub fn register_aliases(state: &mut SessionState) -> Result<()> {
    for name in FILE_TYPES {
        let kind = FileKind { name };
        if kind.base() != *name && state.get_file_format_factory(name).is_none() {
            let base = kind.factory(state)?;
            state.register_file_format(Arc::new(Alias { name, base }), false)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_tells_type_and_compression() {
        let of = |path| of_path(path).map(|(kind, compression)| (kind.name, compression));
        assert_eq!(of("a/b.CSV"), Some(("csv", None)));
        assert_eq!(of("s3://b/x.csv.gz"), Some(("csv", Some("gz"))));
        assert_eq!(of("x.jsonl.zst"), Some(("jsonl", Some("zst"))));
        assert_eq!(of("x.gz"), None);
        assert_eq!(of("dir.csv/part-0"), None);
    }
}
