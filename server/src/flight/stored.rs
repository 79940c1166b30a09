//! Tables that clients make, kept as Parquet files in the folder that a server may write.
//!
//! A table is a folder with its name; in it each version of its content is a folder with a number,
//! and each append a file. A file is written under another name and renamed when it is whole, and a
//! version is seen when its first file is; so what a client that goes away left behind is never read,
//! and is removed when the server starts. A version that was replaced or dropped is removed when the
//! last query that reads it ends.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use almagest_engine::{Error, Result, Session};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::error::Result as DfResult;
use futures::{Stream, StreamExt};
use parking_lot::RwLock;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use tokio::sync::mpsc;
use uuid::Uuid;

/// Bytes of a row group in memory, after which it is written.
const GROUP_BYTES_MAX: usize = 32 << 20;
/// Batches that wait to be written.
const BATCHES_WAITING: usize = 2;
/// How the names of what is not whole begin.
const UNFINISHED: &str = ".unfinished-";
const EXTENSION: &str = "parquet";

/// What to do about a table that is there already, or is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Make it; it must not be there.
    Create,
    /// Make it, or put a new one into its place.
    Replace,
    /// Add rows; it must be there.
    Append,
    /// Make it if it is not there, and add rows.
    CreateOrAppend,
}

/// The tables.
pub struct StoredTables {
    folder: Option<PathBuf>,
    session: Session,
    tables: RwLock<BTreeMap<String, Stored>>,
    /// One change at a time.
    changes: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug)]
struct Stored {
    table: Arc<dyn TableProvider>,
    version: Arc<Version>,
}

/// A folder with the files of a version of a table.
#[derive(Debug)]
pub struct Version {
    folder: PathBuf,
    number: u64,
    /// Whether nothing reads it but the queries that already do.
    is_over: AtomicBool,
}

impl Drop for Version {
    fn drop(&mut self) {
        if self.is_over.load(Ordering::Relaxed) {
            let _ = fs::remove_dir_all(&self.folder);
            if let Some(table) = self.folder.parent() {
                // only if no other version is in it
                let _ = fs::remove_dir(table);
            }
        }
    }
}

impl StoredTables {
    /// The tables in `folder`, which are read by `session`.
    ///
    /// # Errors
    /// Those of opening a table.
    pub async fn open(folder: Option<&Path>, session: Session) -> Result<Self> {
        let this = Self {
            folder: folder.map(Path::to_path_buf),
            session,
            tables: RwLock::default(),
            changes: tokio::sync::Mutex::default(),
        };
        for entry in folder.map(entries).transpose()?.unwrap_or_default() {
            let Some(name) = decoded(&file_name(&entry)) else { continue };
            if !entry.is_dir() {
                continue;
            }
            if let Some(stored) = this.newest(&entry).await? {
                this.tables.write().insert(name, stored);
            }
        }
        Ok(this)
    }

    /// The last whole version of a table; what else is there is removed.
    async fn newest(&self, table: &Path) -> Result<Option<Stored>> {
        let mut numbers: Vec<u64> = vec![];
        for entry in entries(table)? {
            match file_name(&entry).parse() {
                Ok(number) => numbers.push(number),
                Err(_) if file_name(&entry).starts_with(UNFINISHED) => {
                    let _ = fs::remove_dir_all(&entry);
                }
                Err(_) => {}
            }
        }
        numbers.sort_unstable();
        let Some(newest) = numbers.pop() else { return Ok(None) };
        for number in numbers {
            let _ = fs::remove_dir_all(table.join(number.to_string()));
        }
        let folder = table.join(newest.to_string());
        for entry in entries(&folder)? {
            if file_name(&entry).starts_with(UNFINISHED) {
                let _ = fs::remove_file(&entry);
            }
        }
        self.opened(folder, newest).await.map(Some)
    }

    async fn opened(&self, folder: PathBuf, number: u64) -> Result<Stored> {
        let state = self.session.context().state();
        let place = format!("{}/", folder.display());
        let options = almagest_engine::registry::TableOptions::new();
        let table = almagest_engine::files::open(&state, &place, Some("PARQUET"), options).await?;
        let version = Version { folder, number, is_over: AtomicBool::new(false) };
        Ok(Stored { table, version: Arc::new(version) })
    }

    /// What the queries that begin now may read: held, it stays.
    pub fn held(&self) -> Vec<Arc<Version>> {
        self.tables.read().values().map(|stored| Arc::clone(&stored.version)).collect()
    }

    /// Whether there is a table of this name.
    pub fn has(&self, name: &str) -> bool {
        self.tables.read().contains_key(name)
    }

    /// Writes rows, which come one batch after the other, into a table. Gives their number.
    ///
    /// # Errors
    /// `Plan` if the table is there or not against the mode or its columns are others, those of
    /// `rows`, and those of writing. Then the table is as it was.
    pub async fn write(
        &self,
        name: &str,
        mode: Mode,
        schema: SchemaRef,
        rows: impl Stream<Item = Result<RecordBatch>> + Send + Unpin,
    ) -> Result<u64> {
        let folder = self.folder.as_ref().ok_or_else(read_only)?.join(encoded(name)?);
        let unfinished = Unfinished::new(&folder)?;
        let existing = self.tables.read().get(name).cloned();
        let appended_to = match (mode, &existing) {
            (Mode::Create, Some(_)) => return Err(exists(name)),
            (Mode::Append, None) => {
                return Err(Error::not_found(format!("no table '{name}' to append to; create it")));
            }
            (Mode::Append | Mode::CreateOrAppend, Some(existing)) => Some(existing),
            (Mode::Create | Mode::Replace | Mode::CreateOrAppend, _) => None,
        };
        let target = match appended_to {
            Some(stored) => fitted(name, &schema, &stored.table.schema())?,
            None => plain(&schema),
        };
        let file = unfinished.0.join(format!("{}.{EXTENSION}", Uuid::new_v4()));
        let count = written(&file, target, rows).await?;
        let _change = self.changes.lock().await;
        // somebody else may have been faster
        let now = self.tables.read().get(name).cloned();
        match (appended_to, now) {
            (Some(before), Some(now)) if before.version.number == now.version.number => {
                let into = now.version.folder.join(file.file_name().unwrap_or_default());
                fs::rename(&file, into).map_err(|cause| unwritable(&cause))?;
            }
            (Some(_), _) => {
                return Err(Error::plan(format!(
                    "table '{name}' was replaced or dropped while rows were written; write again"
                )));
            }
            (None, Some(_)) if mode == Mode::Create => return Err(exists(name)),
            (None, now) => {
                let number = now.as_ref().map_or(1, |stored| stored.version.number + 1);
                let into = folder.join(number.to_string());
                fs::rename(&unfinished.0, &into).map_err(|cause| unwritable(&cause))?;
                let stored = self.opened(into, number).await?;
                self.tables.write().insert(name.into(), stored);
                if let Some(before) = now {
                    before.version.is_over.store(true, Ordering::Relaxed);
                }
            }
        }
        Ok(count)
    }

    /// Removes a table; `false` if there is none.
    pub async fn remove(&self, name: &str) -> bool {
        let _change = self.changes.lock().await;
        let removed = self.tables.write().remove(name);
        if let Some(stored) = &removed {
            stored.version.is_over.store(true, Ordering::Relaxed);
        }
        removed.is_some()
    }
}

impl fmt::Debug for StoredTables {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("StoredTables").field("folder", &self.folder).finish_non_exhaustive()
    }
}

#[async_trait]
impl SchemaProvider for StoredTables {
    fn table_names(&self) -> Vec<String> {
        self.tables.read().keys().cloned().collect()
    }

    async fn table(&self, name: &str) -> DfResult<Option<Arc<dyn TableProvider>>> {
        Ok(self.tables.read().get(name).map(|stored| Arc::clone(&stored.table)))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.has(name)
    }
}

/// A folder that is removed unless it gets another name.
struct Unfinished(PathBuf);

impl Unfinished {
    fn new(table: &Path) -> Result<Self> {
        let folder = table.join(format!("{UNFINISHED}{}", Uuid::new_v4()));
        fs::create_dir_all(&folder).map_err(|cause| unwritable(&cause))?;
        Ok(Self(folder))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
        if let Some(table) = self.0.parent() {
            let _ = fs::remove_dir(table);
        }
    }
}

/// Writes one file, on a thread of its own.
async fn written(
    path: &Path,
    schema: SchemaRef,
    mut rows: impl Stream<Item = Result<RecordBatch>> + Send + Unpin,
) -> Result<u64> {
    let (sender, mut batches) = mpsc::channel::<RecordBatch>(BATCHES_WAITING);
    let (path, target) = (path.to_path_buf(), Arc::clone(&schema));
    let writing = tokio::task::spawn_blocking(move || -> Result<u64> {
        let file = File::create(&path).map_err(|cause| unwritable(&cause))?;
        let level = ZstdLevel::try_new(1).unwrap_or_default();
        let properties =
            WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
        let writer = ArrowWriter::try_new(file, target, Some(properties));
        let mut writer = writer.map_err(|cause| unfit(&cause))?;
        let mut count = 0;
        while let Some(batch) = batches.blocking_recv() {
            count += batch.num_rows() as u64;
            writer.write(&batch).map_err(|cause| unfit(&cause))?;
            if writer.in_progress_size() > GROUP_BYTES_MAX {
                writer.flush().map_err(|cause| unfit(&cause))?;
            }
        }
        writer.close().map_err(|cause| unfit(&cause))?;
        Ok(count)
    });
    while let Some(batch) = rows.next().await {
        let batch = cast(&batch?, &schema)?;
        if sender.send(batch).await.is_err() {
            break; // the writer has an error to tell
        }
    }
    drop(sender);
    writing.await.map_err(|cause| Error::bug("writing a table panicked").caused_by(cause))?
}

/// The columns under the names and types of the table.
fn cast(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        if column.data_type() == field.data_type() {
            return Ok(Arc::clone(column));
        }
        let exact = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(column, field.data_type(), &exact)
            .map_err(|cause| Error::plan(format!("column '{}': {cause}", field.name())))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(Arc::clone(schema), columns)
        .map_err(|cause| Error::plan(format!("the rows do not fit the table: {cause}")))
}

/// The table's own columns, if rows with these fit: as many, of the same names and order, of types
/// that differ only in how they are kept.
fn fitted(name: &str, given: &Schema, table: &SchemaRef) -> Result<SchemaRef> {
    let told = |schema: &Schema| {
        let columns = schema.fields().iter();
        let columns = columns.map(|field| format!("{} {}", field.name(), field.data_type()));
        columns.collect::<Vec<_>>().join(", ")
    };
    let fits = given.fields().len() == table.fields().len()
        && given.fields().iter().zip(table.fields()).all(|(given, field)| {
            given.name() == field.name() && fits_into(given.data_type(), field.data_type())
        });
    if fits {
        return Ok(Arc::clone(table));
    }
    Err(Error::plan(format!(
        "rows with the columns {} do not fit table '{name}', which has {}",
        told(given),
        told(table)
    )))
}

/// Whether every value of one type is one of the other; integers are checked one by one.
fn fits_into(given: &DataType, table: &DataType) -> bool {
    use DataType::{
        Binary, BinaryView, Date32, Date64, Dictionary, FixedSizeBinary, FixedSizeList,
        LargeBinary, LargeList, LargeUtf8, List, Null, Timestamp, Utf8, Utf8View,
    };
    match (given, table) {
        (given, table) if given == table => true,
        (Null, _)
        | (Date32, Date64)
        | (Utf8 | LargeUtf8 | Utf8View, Utf8 | LargeUtf8 | Utf8View)
        | (
            Binary | LargeBinary | BinaryView | FixedSizeBinary(_),
            Binary | LargeBinary | BinaryView,
        ) => true,
        (Dictionary(_, values), table) => fits_into(values, table),
        (
            List(given) | LargeList(given) | FixedSizeList(given, _),
            List(table) | LargeList(table),
        ) => fits_into(given.data_type(), table.data_type()),
        (Timestamp(given, zone), Timestamp(table, table_zone)) => {
            zone.is_some() == table_zone.is_some() && given <= table
        }
        (given, table) if given.is_integer() => table.is_integer(),
        (given, table) if given.is_floating() && table.is_floating() => {
            given.primitive_width() <= table.primitive_width()
        }
        _ => false,
    }
}

/// The schema under which rows are kept: everything may be absent, so that later rows fit.
fn plain(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The name of a table's folder.
fn encoded(name: &str) -> Result<String> {
    const NAME_BYTES_MAX: usize = 80;
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(Error::plan(format!(
            "'{name}' is no name for a table; use 1 to {NAME_BYTES_MAX} letters"
        )));
    }
    let mut folder = String::new();
    for (position, byte) in name.bytes().enumerate() {
        match byte {
            b'.' if position > 0 => folder.push('.'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => folder.push(byte as char),
            byte => folder.push_str(&format!("%{byte:02X}")),
        }
    }
    Ok(folder)
}

/// The table whose folder has this name; `None` for folders of others.
fn decoded(folder: &str) -> Option<String> {
    let mut bytes = vec![];
    let mut rest = folder;
    while let Some(at) = rest.find('%') {
        bytes.extend(rest[..at].bytes());
        bytes.push(u8::from_str_radix(rest.get(at + 1..at + 3)?, 16).ok()?);
        rest = &rest[at + 3..];
    }
    bytes.extend(rest.bytes());
    let name = String::from_utf8(bytes).ok()?;
    (encoded(&name).ok()? == folder).then_some(name)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = fs::read_dir(folder).and_then(|entries| {
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<_>>>()
    });
    let mut paths = read.map_err(|cause| {
        Error::unreachable(format!("cannot read the folder of tables: {cause}"))
            .with("folder", folder.display())
    })?;
    paths.sort();
    Ok(paths)
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn exists(name: &str) -> Error {
    Error::exists(format!("table '{name}' is there already; append to it, replace it or drop it"))
}

/// The error for all that would make a table where none may be made.
pub fn read_only() -> Error {
    Error::denied(
        "this server makes no tables; its operator can name a folder for them: --writable",
    )
}

fn unwritable(cause: &std::io::Error) -> Error {
    Error::unreachable(format!("the table cannot be written: {cause}"))
}

fn unfit(cause: &parquet::errors::ParquetError) -> Error {
    Error::unsupported(format!("the rows cannot be kept as Parquet: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_not_cut_to_fit() {
        use DataType::{Float32, Float64, Int32, Int64, LargeUtf8, Timestamp, Utf8};
        use arrow::datatypes::TimeUnit::{Microsecond, Second};
        for (given, table) in [(Utf8, LargeUtf8), (Float32, Float64), (Int64, Int32)] {
            assert!(fits_into(&given, &table), "{given} {table}");
        }
        assert!(fits_into(&Timestamp(Second, None), &Timestamp(Microsecond, None)));
        for (given, table) in [
            (Float64, Float32),
            (Utf8, Int64),
            (Int64, Float64),
            (Timestamp(Microsecond, None), Timestamp(Second, None)),
            (Timestamp(Second, None), Timestamp(Second, Some("UTC".into()))),
        ] {
            assert!(!fits_into(&given, &table), "{given} {table}");
        }
        let wide = Schema::new(vec![arrow::datatypes::Field::new("a", Int64, true)]);
        let narrow = Arc::new(Schema::new(vec![arrow::datatypes::Field::new("a", Int32, true)]));
        let column = Arc::new(arrow::array::Int64Array::from(vec![1, 1 << 40]));
        let batch = RecordBatch::try_new(Arc::new(wide), vec![column]).unwrap();
        assert!(cast(&batch, &narrow).is_err());
    }

    #[test]
    fn folders_tell_their_tables() {
        for (name, folder) in
            [("stars", "stars"), ("Stars 2", "Stars%202"), ("../x", "%2E.%2Fx"), ("é", "%C3%A9")]
        {
            assert_eq!(encoded(name).unwrap(), folder);
            assert_eq!(decoded(folder).as_deref(), Some(name));
        }
        for folder in [".unfinished-1", "%2", "%zz", "a b", "%41"] {
            assert_eq!(decoded(folder), None, "{folder}");
        }
        assert!(encoded("").is_err());
    }
}
