//! Runs every `spec/**/*.slt`: in process with one thread and with four, on a cluster of two executors,
//! and over Flight SQL. A file that cannot run on a cluster says so in its first line:
//! `# in process: why`, one that no server allows `# not on a server: why`; a statement that gives
//! another answer there has `skipif cluster` or `skipif flight` and the reason above it.

use std::path::{Path, PathBuf};

use crate::flight::{Running, asked, client, open_to_all, start};
use crate::processes::local_options;
use almagest::cluster::{LocalCluster, LocalOptions, Place, SchedulerOptions, session_at};
use almagest::flight::{FlightLimits, Served};
use almagest::{Session, SessionOptions};
use almagest_engine::planning::STACK_BYTES_RUNNING;
use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow_flight::sql::client::FlightSqlServiceClient;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};
use tempfile::TempDir;
use tonic::transport::Channel;

struct Specified(Session);

#[async_trait::async_trait]
impl AsyncDB for Specified {
    type Error = almagest::Error;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, almagest::Error> {
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
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, std::io::Error> {
        let from = std::env::temp_dir().display().to_string();
        let sql = sql.replace(&from, &self.writable.path().display().to_string());
        let batches = asked(&mut self.client, &sql).await;
        // arrow-flight shows the server's sentence as a literal
        let batches = batches.map_err(|text| std::io::Error::other(text.replace("\\\"", "\"")))?;
        Ok(output(&batches))
    }

    async fn shutdown(&mut self) {}
}

fn output(batches: &[RecordBatch]) -> DBOutput<DefaultColumnType> {
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
            let types = vec![DefaultColumnType::Any; batch.num_columns()];
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

fn all_files() -> Vec<PathBuf> {
    let mut files = vec![];
    spec_files(Path::new("spec"), &mut files);
    files.sort();
    // ALMAGEST_SPEC=copy/ runs those whose path holds that text, while one is being written
    if let Ok(part) = std::env::var("ALMAGEST_SPEC") {
        files.retain(|file| file.display().to_string().contains(&part));
    }
    assert!(!files.is_empty(), "no specifications found");
    files
}

async fn run_all<D: AsyncDB<ColumnType = DefaultColumnType>>(
    files: Vec<PathBuf>,
    mode: &str,
    labels: &[&str],
    database: impl AsyncFn() -> D,
) {
    let mut failures = vec![];
    for file in files {
        eprintln!("{} {mode}", file.display());
        let mut runner = Runner::new(|| async { Ok(database().await) });
        labels.iter().for_each(|label| runner.add_label(label));
        if let Err(failure) = runner.run_file_async(&file).await {
            failures.push(format!("{} {mode}: {failure}", file.display()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

async fn run_in_process(threads: usize) {
    let options = SessionOptions { threads: Some(threads), ..Default::default() };
    let session = async || Specified(almagest::session(&options).unwrap());
    run_all(all_files(), &format!("with {threads} threads"), &[], session).await;
}

fn runs_on_a_cluster(file: &PathBuf) -> bool {
    !std::fs::read_to_string(file).unwrap().starts_with("# in process: ")
}

fn runs_on_a_server(file: &PathBuf) -> bool {
    !std::fs::read_to_string(file).unwrap().starts_with("# not on a server: ")
}

/// Runs a test on threads with the stacks that the command's have: `DataFrame::collect` plans on the
/// stack of who asks.
fn on_deep_stacks<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_stack_size(STACK_BYTES_RUNNING)
        .enable_all()
        .build()
        .unwrap();
    let thread = std::thread::Builder::new().stack_size(8 * STACK_BYTES_RUNNING);
    let done = thread.spawn(move || runtime.block_on(test())).unwrap().join();
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

#[test]
fn specs_hold_with_one_thread() {
    on_deep_stacks(|| run_in_process(1));
}

#[test]
fn specs_hold_with_four_threads() {
    on_deep_stacks(|| run_in_process(4));
}

#[test]
fn specs_hold_on_two_executors() {
    on_deep_stacks(on_two_executors);
}

async fn on_two_executors() {
    // nobody is lost here, however busy the machine is
    let patient = SchedulerOptions { port: 0, ..SchedulerOptions::default() };
    let options = LocalOptions { scheduler: patient, ..local_options(2, 1) };
    let cluster = LocalCluster::start(&options).await.unwrap();
    let options = SessionOptions { threads: Some(4), ..Default::default() };
    let place = Place::At(cluster.address().clone());
    // ALMAGEST_SPEC_SETTING=ballista.planner.adaptive.enabled tries what is off otherwise
    let setting = std::env::var("ALMAGEST_SPEC_SETTING").ok();
    let session = async || {
        let session = session_at(&options, &place).unwrap();
        if let Some(setting) = &setting {
            session.sql(&format!("SET {setting} = true")).await.unwrap();
        }
        Specified(session)
    };
    let files = all_files().into_iter().filter(runs_on_a_cluster).collect();
    run_all(files, "on two executors", &["cluster"], session).await;
}

#[test]
fn specs_hold_over_flight_sql() {
    on_deep_stacks(over_flight_sql);
}

async fn over_flight_sql() {
    let files = all_files().into_iter().filter(runs_on_a_server).collect();
    run_all(files, "over Flight SQL", &["flight"], Asked::new).await;
}
