//! Tables that clients make, kept as Parquet files in the folder that a server may write.
//!
//! A table is a folder with its name; in it each version of its content is a folder with a number,
//! and each append a file. A file is written under another name and renamed when it is whole and on the disk, and a
//! version is seen when its first file is; so what a client that goes away left behind is never read,
//! and is removed when the server starts. A version that was replaced or dropped is removed when the
//! last query that reads it ends.
//!
//! Others write into the same folder, `COPY` for one. So each version has an empty file beside it whose
//! name says that it is one ([`LIVE`]), or that it is to be removed ([`DROPPED`]); and what has none is
//! somebody else's, neither read as a table nor removed.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use almagest_engine::write::{create_folders, rename_for_good, sync_folder};
use almagest_engine::{Error, Result, Session};
use arrow::array::{Array, ArrayRef};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
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

use super::known_versions::KnownVersions;
use super::received::width_of;

/// Bytes of a row group in memory, after which it is written.
const GROUP_BYTES_MAX: usize = 32 << 20;
/// Batches that wait to be written.
const BATCHES_WAITING: usize = 2;
/// How the names of what is not whole begin.
const UNFINISHED: &str = ".unfinished-";
/// How the name of a file begins that stands for a version with the number behind it.
const LIVE: &str = ".almagest-table-";
/// The same for a version that was replaced or dropped, and has not been removed yet.
const DROPPED: &str = ".almagest-dropped-";
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
    known: KnownVersions,
    /// Those that could not be opened, with the reason.
    unopened: BTreeMap<String, Error>,
    /// One change at a time, with the last number that each table had: none is used again, as queries
    /// may still read what it stood for.
    changes: tokio::sync::Mutex<BTreeMap<String, u64>>,
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

impl Version {
    /// Gives what is whole its number in the folder of its table. It is removed with the last who holds
    /// it, until it is a table's.
    fn placed(whole: &Path, table: &Path, number: u64) -> Result<Self> {
        let mark = marker(table, LIVE, number);
        let folder = table.join(number.to_string());
        // the mark first, so that nothing is left which nobody would remove
        let placed = sync_folder(whole)
            .and_then(|()| File::create_new(&mark))
            .and_then(|_| sync_folder(table))
            .and_then(|()| rename_for_good(whole, &folder));
        if let Err(cause) = placed {
            let _ = fs::remove_file(&mark);
            return Err(unwritable(&cause));
        }
        Ok(Self { folder, number, is_over: AtomicBool::new(true) })
    }
}

impl Drop for Version {
    fn drop(&mut self) {
        if self.is_over.load(Ordering::Relaxed)
            && let Some(table) = self.folder.parent()
        {
            discard(table, self.number);
            // only if no other version is in it
            let _ = fs::remove_dir(table);
        }
    }
}

impl StoredTables {
    /// The tables in `folder`, which are read by `session`. One that cannot be opened is left as it is
    /// ([`StoredTables::unopened`]).
    ///
    /// # Errors
    /// `Unreachable` if the folder cannot be read.
    pub async fn open(folder: Option<&Path>, session: Session) -> Result<Self> {
        let mut this = Self {
            folder: folder.map(Path::to_path_buf),
            session,
            tables: RwLock::default(),
            known: KnownVersions::default(),
            unopened: BTreeMap::new(),
            changes: tokio::sync::Mutex::default(),
        };
        for entry in folder.map(entries).transpose()?.unwrap_or_default() {
            let Some(name) = decoded(&file_name(&entry)) else { continue };
            if !entry.is_dir() {
                continue;
            }
            match this.newest(&entry).await {
                Ok(Some(stored)) => {
                    this.tables.write().insert(name, stored);
                }
                Ok(None) => {}
                Err(error) => {
                    this.unopened.insert(name, error);
                }
            }
        }
        Ok(this)
    }

    /// The tables that could not be opened, each with the reason.
    pub fn unopened(&self) -> &BTreeMap<String, Error> {
        &self.unopened
    }

    /// The last version of a table; what else of it is there is removed. `None` for a folder of others.
    async fn newest(&self, table: &Path) -> Result<Option<Stored>> {
        let names: Vec<String> = entries(table)?.iter().map(|path| file_name(path)).collect();
        let marked = |kind: &str| -> Vec<u64> {
            names.iter().filter_map(|name| number_of(name, kind)).collect()
        };
        let (mut live, dropped) = (marked(LIVE), marked(DROPPED));
        let is_ours = !live.is_empty() || !dropped.is_empty();
        let left = remove_unfinished(table, &names, is_ours);
        dropped.into_iter().for_each(|number| discard(table, number));
        // a mark alone is that of a version which was not put in place any more
        let alone = live.extract_if(.., |number| !table.join(number.to_string()).is_dir());
        alone.for_each(|number| discard(table, number));
        live.sort_unstable();
        let Some(newest) = live.pop() else {
            if is_ours || left {
                let _ = fs::remove_dir(table);
            }
            return Ok(None);
        };
        let folder = table.join(newest.to_string());
        let version = Version { folder, number: newest, is_over: AtomicBool::new(false) };
        let stored = self.opened(version).await?;
        live.into_iter().for_each(|number| discard(table, number));
        Ok(Some(stored))
    }

    async fn opened(&self, version: Version) -> Result<Stored> {
        let state = self.session.context().state();
        let place = format!("{}/", version.folder.display());
        let options = almagest_engine::formats::TableOptions::new();
        let table = almagest_engine::files::open(&state, &place, Some("PARQUET"), options).await?;
        let name = version.folder.parent().and_then(|folder| decoded(&file_name(folder)));
        let stored = Stored { table, version: Arc::new(version) };
        self.known.add(&name.unwrap_or_default(), &stored.table, &stored.version);
        Ok(stored)
    }

    /// What plans have of the tables.
    pub fn known(&self) -> &KnownVersions {
        &self.known
    }

    /// A table as it is now, with the version that it reads.
    pub fn current(&self, name: &str) -> Option<(Arc<dyn TableProvider>, Arc<Version>)> {
        let tables = self.tables.read();
        tables.get(name).map(|now| (Arc::clone(&now.table), Arc::clone(&now.version)))
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
        self.check_opened(name)?;
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
        let mut numbers = self.changes.lock().await;
        // somebody else may have been faster
        let now = self.tables.read().get(name).cloned();
        match (appended_to, now) {
            (Some(before), Some(now)) if Arc::ptr_eq(&before.version, &now.version) => {
                let into = now.version.folder.join(file.file_name().unwrap_or_default());
                rename_for_good(&file, &into).map_err(|cause| unwritable(&cause))?;
            }
            (Some(_), _) => {
                return Err(Error::plan(format!(
                    "table '{name}' was replaced or dropped while rows were written; write again"
                )));
            }
            (None, Some(_)) if mode == Mode::Create => return Err(exists(name)),
            (None, now) => {
                let used = numbers.get(name).copied().unwrap_or(0);
                let number = next_number(&folder, used)?;
                numbers.insert(name.into(), number);
                let version = Version::placed(&unfinished.0, &folder, number)?;
                let stored = self.opened(version).await?;
                stored.version.is_over.store(false, Ordering::Relaxed);
                self.tables.write().insert(name.into(), stored);
                if let Some(before) = now {
                    before.version.is_over.store(true, Ordering::Relaxed);
                    // if that fails, the one with the higher number is the table all the same
                    let _ = retire(&folder, before.version.number);
                }
            }
        }
        Ok(count)
    }

    /// Removes a table; `false` if there is none.
    ///
    /// # Errors
    /// `Unreachable` if the folder of tables cannot be changed. Then the table is still there.
    pub async fn remove(&self, name: &str) -> Result<bool> {
        let _change = self.changes.lock().await;
        let Some(stored) = self.tables.read().get(name).cloned() else { return Ok(false) };
        if let Some(table) = stored.version.folder.parent() {
            // before it is gone, so that no start of the server brings it back
            retire(table, stored.version.number)?;
        }
        self.tables.write().remove(name);
        stored.version.is_over.store(true, Ordering::Relaxed);
        Ok(true)
    }

    /// Refuses to make a table in place of one that only could not be opened.
    fn check_opened(&self, name: &str) -> Result<()> {
        match self.unopened.get(name) {
            None => Ok(()),
            Some(_) => Err(Error::exists(format!(
                "there is a table '{name}' that this server could not open when it started; choose \
                 another name, or ask its operator to mend or remove the table's folder"
            ))),
        }
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
        let made = create_folders(table).and_then(|()| fs::create_dir_all(&folder));
        made.map_err(|cause| unwritable(&cause))?;
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

/// The file that says what a version is.
fn marker(table: &Path, kind: &str, number: u64) -> PathBuf {
    table.join(format!("{kind}{number}"))
}

/// The number in the name of such a file of this kind.
fn number_of(name: &str, kind: &str) -> Option<u64> {
    let text = name.strip_prefix(kind)?;
    // as it is written, and not with a sign or zeros in front
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

/// A number above all that are in the folder of a table, whoever's they are, and above those used.
fn next_number(table: &Path, used: u64) -> Result<u64> {
    let number = |path: PathBuf| {
        let name = file_name(&path);
        ["", LIVE, DROPPED].into_iter().find_map(|kind| number_of(&name, kind))
    };
    let last = entries(table)?.into_iter().filter_map(number).max().unwrap_or(0).max(used);
    last.checked_add(1).ok_or_else(|| {
        Error::exists(format!(
            "a folder in the table's folder has the last number there is, {last}"
        ))
    })
}

/// Says of all versions up to this one that they are to be removed.
fn retire(table: &Path, last: u64) -> Result<()> {
    for path in entries(table)? {
        let Some(number) = number_of(&file_name(&path), LIVE).filter(|number| *number <= last)
        else {
            continue;
        };
        match rename_for_good(&path, &marker(table, DROPPED, number)) {
            Ok(()) => {}
            // the last query that read it has just ended
            Err(cause) if cause.kind() == ErrorKind::NotFound => {}
            Err(cause) => return Err(unwritable(&cause)),
        }
    }
    Ok(())
}

/// Removes a version, and what stands for it unless something of it is left.
fn discard(table: &Path, number: u64) {
    let folder = table.join(number.to_string());
    if fs::remove_dir_all(&folder).is_ok() || !folder.exists() {
        for kind in [LIVE, DROPPED] {
            let _ = fs::remove_file(marker(table, kind, number));
        }
    }
}

/// Removes what is not whole from the folder of a table. From a folder that has no version only what
/// nobody else would name so. Whether there was any.
fn remove_unfinished(table: &Path, names: &[String], is_ours: bool) -> bool {
    let mut any = false;
    for name in names {
        let Some(rest) = name.strip_prefix(UNFINISHED) else { continue };
        if is_ours || Uuid::parse_str(rest).is_ok() {
            any |= fs::remove_dir_all(table.join(name)).is_ok();
        }
    }
    any
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
        let file = writer.into_inner().map_err(|cause| unfit(&cause))?;
        file.sync_all().map_err(|cause| unwritable(&cause))?;
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
        check_absent(column, field)?;
        let exact = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(column, field.data_type(), &exact)
            .map_err(|cause| Error::plan(format!("column '{}': {cause}", field.name())))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(Arc::clone(schema), columns)
        .map_err(|cause| Error::plan(format!("the rows do not fit the table: {cause}")))
}

/// Refuses values without a type that would take more memory as absent ones of the table's type.
fn check_absent(column: &ArrayRef, field: &Field) -> Result<()> {
    const BYTES_MAX: u64 = 256 << 20;
    let bytes = (column.len() as u64).saturating_mul(width_of(field.data_type()));
    if *column.data_type() != DataType::Null || bytes <= BYTES_MAX {
        return Ok(());
    }
    Err(Error::exhausted(format!(
        "column '{}' would have {bytes} bytes of absent values in one batch; send smaller batches",
        field.name()
    )))
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

    #[test]
    fn numbers_are_above_all_that_were_used() {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path();
        assert_eq!(next_number(table, 0).unwrap(), 1);
        assert_eq!(next_number(table, 6).unwrap(), 7);
        fs::create_dir(table.join("2023")).unwrap();
        File::create(marker(table, DROPPED, 2030)).unwrap();
        fs::create_dir(table.join("02040")).unwrap();
        assert_eq!(next_number(table, 6).unwrap(), 2031);
    }

    #[test]
    fn what_is_retired_is_removed_and_what_has_no_mark_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path();
        for number in [1, 2, 3] {
            fs::create_dir(table.join(number.to_string())).unwrap();
        }
        File::create(marker(table, LIVE, 1)).unwrap();
        File::create(marker(table, LIVE, 3)).unwrap();
        retire(table, 2).unwrap();
        assert!(marker(table, DROPPED, 1).exists() && marker(table, LIVE, 3).exists());
        discard(table, 1);
        assert!(!table.join("1").exists() && !marker(table, DROPPED, 1).exists());
        assert!(table.join("2").exists() && table.join("3").exists());
        let unfinished = format!("{UNFINISHED}{}", Uuid::new_v4());
        let names = [unfinished.clone(), format!("{UNFINISHED}mine")];
        names.iter().for_each(|name| fs::create_dir(table.join(name)).unwrap());
        assert!(remove_unfinished(table, &names, false));
        assert!(!table.join(unfinished).exists() && table.join(&names[1]).exists());
    }
}
