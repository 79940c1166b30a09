//! Runs every `spec/**/*.slt` in four modes, each as a test of its own: in process with one thread and
//! with four, on a cluster of two executors, and over Flight SQL. `cargo test -p almagest-tests --test
//! specs -- one_thread::sql/joins` runs one. A file that cannot run on a cluster says so in its first
//! line: `# in process: why`, one that no server allows `# not on a server: why`, and is told as ignored
//! there; a statement that gives another answer there has `skipif cluster` or `skipif flight` and the
//! reason above it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::LazyLock;

use almagest::cluster::{LocalCluster, LocalOptions, Place, SchedulerOptions, session_at};
use almagest::flight::{FlightLimits, Served};
use almagest::{Session, SessionOptions};
use almagest_engine::stacks::STACK_BYTES_RUNNING;
use almagest_tests::processes::local_options;
use almagest_tests::served::{Running, asked, client, open_to_all, start};
use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow_flight::sql::client::FlightSqlServiceClient;
use libtest_mimic::{Arguments, Failed, Trial};
use sqllogictest::{AsyncDB, ColumnType, DBOutput, Runner};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tonic::transport::Channel;

/// The type of a column, by its letter in `query IRT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    /// `I`.
    Integer,
    /// `R`: a float or a decimal.
    Real,
    /// `T`: text or bytes.
    Text,
    /// `B`.
    Boolean,
    /// `D`: a date, time, timestamp, interval or duration.
    Time,
    /// `?`: any type; lists, structs and NULLs have no letter of their own.
    Any,
}

impl Column {
    fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Boolean => Self::Boolean,
            DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_) => Self::Text,
            DataType::Dictionary(_, values) => Self::of(values),
            of_time if of_time.is_temporal() => Self::Time,
            integer if integer.is_integer() => Self::Integer,
            number if number.is_numeric() => Self::Real,
            _ => Self::Any,
        }
    }
}

impl ColumnType for Column {
    fn from_char(letter: char) -> Option<Self> {
        Some(match letter {
            'I' => Self::Integer,
            'R' => Self::Real,
            'T' => Self::Text,
            'B' => Self::Boolean,
            'D' => Self::Time,
            '?' => Self::Any,
            _ => return None,
        })
    }

    fn to_char(&self) -> char {
        match self {
            Self::Integer => 'I',
            Self::Real => 'R',
            Self::Text => 'T',
            Self::Boolean => 'B',
            Self::Time => 'D',
            Self::Any => '?',
        }
    }
}

/// Whether columns have the types that the specification says.
#[allow(clippy::ptr_arg)] // as the runner wants it
fn are_as_said(actual: &Vec<Column>, said: &Vec<Column>) -> bool {
    let fits = |(actual, said): (&Column, &Column)| *said == Column::Any || actual == said;
    actual.len() == said.len() && actual.iter().zip(said).all(fits)
}

struct Specified(Session);

#[async_trait::async_trait]
impl AsyncDB for Specified {
    type Error = almagest::Error;
    type ColumnType = Column;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<Column>, almagest::Error> {
        Ok(output(&self.0.sql(sql).await?.collect().await?))
    }

    async fn shutdown(&mut self) {}
}

/// A server of its own for each file, as tables are for all, and one client.
struct Asked {
    client: FlightSqlServiceClient<Channel>,
    /// Where the server may write, in place of the folder for all temporary files.
    writable: TempDir,
    _server: Running,
}

impl Asked {
    async fn new() -> Self {
        let writable = tempfile::tempdir().unwrap();
        // the folder above the files, which are then no tables by themselves
        let data = vec![PathBuf::from(".")];
        let folder = Some(writable.path().to_path_buf());
        let served = Served { data, writable: folder, ..Served::default() };
        let server = start(served, FlightLimits::default(), open_to_all()).await;
        Self { client: client(&server).await, writable, _server: server }
    }
}

#[async_trait::async_trait]
impl AsyncDB for Asked {
    type Error = std::io::Error;
    type ColumnType = Column;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<Column>, std::io::Error> {
        let from = std::env::temp_dir().display().to_string();
        let sql = sql.replace(&from, &self.writable.path().display().to_string());
        let batches = asked(&mut self.client, &sql).await;
        // arrow-flight shows the server's sentence as a literal
        let batches = batches.map_err(|text| std::io::Error::other(text.replace("\\\"", "\"")))?;
        Ok(output(&batches))
    }

    async fn shutdown(&mut self) {}
}

fn output(batches: &[RecordBatch]) -> DBOutput<Column> {
    let mut rows = vec![];
    let options = FormatOptions::default().with_null("NULL");
    for batch in batches {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap())
            .collect();
        rows.extend((0..batch.num_rows()).map(|row| {
            columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>()
        }));
    }
    match batches.first() {
        None => DBOutput::StatementComplete(0),
        Some(batch) => {
            let types =
                batch.columns().iter().map(|column| Column::of(column.data_type())).collect();
            DBOutput::Rows { types, rows }
        }
    }
}

fn spec_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            spec_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "slt") {
            found.push(path);
        }
    }
}

/// Where specifications run.
#[derive(Clone, Copy)]
enum Mode {
    OneThread,
    FourThreads,
    TwoExecutors,
    Flight,
}

impl Mode {
    const ALL: [Self; 4] = [Self::OneThread, Self::FourThreads, Self::TwoExecutors, Self::Flight];

    fn name(self) -> &'static str {
        match self {
            Self::OneThread => "one_thread",
            Self::FourThreads => "four_threads",
            Self::TwoExecutors => "two_executors",
            Self::Flight => "flight",
        }
    }

    /// Whether a file says that it cannot run so.
    fn is_refused_by(self, file: &Path) -> bool {
        let refusal = match self {
            Self::OneThread | Self::FourThreads => return false,
            Self::TwoExecutors => "# in process: ",
            Self::Flight => "# not on a server: ",
        };
        std::fs::read_to_string(file).unwrap().starts_with(refusal)
    }

    async fn run(self, file: &Path) -> Result<(), Failed> {
        match self {
            Self::OneThread => in_process(1, file).await,
            Self::FourThreads => in_process(4, file).await,
            Self::TwoExecutors => on_two_executors(file).await,
            Self::Flight => over(Asked::new, &["flight"], file).await,
        }
    }

    fn trial(self, file: PathBuf) -> Trial {
        let name = file.strip_prefix("spec").unwrap().with_extension("");
        let name = format!("{}::{}", self.name(), name.display());
        let is_refused = self.is_refused_by(&file);
        let run = move || on_deep_stacks(async move || self.run(&file).await);
        Trial::test(name, run).with_ignored_flag(is_refused)
    }
}

async fn over<D: AsyncDB<ColumnType = Column>>(
    database: impl AsyncFn() -> D,
    labels: &[&str],
    file: &Path,
) -> Result<(), Failed> {
    let mut runner = Runner::new(|| async { Ok(database().await) });
    runner.with_column_validator(are_as_said);
    labels.iter().for_each(|label| runner.add_label(label));
    runner.run_file_async(file).await.map_err(Failed::from)
}

async fn in_process(threads: usize, file: &Path) -> Result<(), Failed> {
    let options = SessionOptions { threads: Some(threads), ..Default::default() };
    over(async || Specified(almagest::session(&options).unwrap()), &[], file).await
}

/// Two executors for all files. They end with this process.
static EXECUTORS: LazyLock<(Runtime, LocalCluster)> = LazyLock::new(|| {
    let runtime = runtime();
    // nobody is lost here, however busy the machine is
    let patient = SchedulerOptions { port: 0, ..SchedulerOptions::default() };
    let options = LocalOptions { scheduler: patient, ..local_options(2, 1) };
    let cluster = runtime.block_on(LocalCluster::start(&options)).unwrap();
    (runtime, cluster)
});

async fn on_two_executors(file: &Path) -> Result<(), Failed> {
    let place = tokio::task::spawn_blocking(|| Place::At(EXECUTORS.1.address().clone())).await?;
    let options = SessionOptions { threads: Some(4), ..Default::default() };
    // ALMAGEST_SPEC_SETTING=ballista.planner.adaptive.enabled tries what is off otherwise
    let setting = std::env::var("ALMAGEST_SPEC_SETTING").ok();
    let session = async || {
        let session = session_at(&options, &place).unwrap();
        if let Some(setting) = &setting {
            session.sql(&format!("SET {setting} = true")).await.unwrap();
        }
        Specified(session)
    };
    over(session, &["cluster"], file).await
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.thread_stack_size(STACK_BYTES_RUNNING).enable_all().build().unwrap()
}

/// Runs a test on threads with the stacks that the command's have: `DataFrame::collect` plans on the
/// stack of who asks.
fn on_deep_stacks(
    test: impl AsyncFnOnce() -> Result<(), Failed> + Send + 'static,
) -> Result<(), Failed> {
    let thread = std::thread::Builder::new().stack_size(8 * STACK_BYTES_RUNNING);
    let done = thread.spawn(move || runtime().block_on(test())).unwrap().join();
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn main() -> ExitCode {
    let mut files = vec![];
    spec_files(Path::new("spec"), &mut files);
    files.sort();
    assert!(!files.is_empty(), "no specifications found");
    let trials = Mode::ALL.into_iter();
    let trials = trials.flat_map(|mode| files.iter().map(move |file| mode.trial(file.clone())));
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}
