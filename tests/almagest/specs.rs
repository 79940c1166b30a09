//! Runs every `spec/**/*.slt`: in process with one thread and with four, and on a cluster of two
//! executors. A file that cannot run on a cluster says so in its first line: `# in process: why`; a
//! statement that gives another answer there has `skipif cluster` and the reason above it.

use std::path::{Path, PathBuf};

use crate::processes::local_options;
use almagest::cluster::{LocalCluster, LocalOptions, Place, SchedulerOptions, session_at};
use almagest::{Session, SessionOptions};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};

struct Specified(Session);

#[async_trait::async_trait]
impl AsyncDB for Specified {
    type Error = almagest::Error;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, almagest::Error> {
        let batches = self.0.sql(sql).await?.collect().await?;
        let mut rows = vec![];
        let options = FormatOptions::default().with_null("NULL");
        for batch in &batches {
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
            None => Ok(DBOutput::StatementComplete(0)),
            Some(batch) => {
                let types = vec![DefaultColumnType::Any; batch.num_columns()];
                Ok(DBOutput::Rows { types, rows })
            }
        }
    }

    async fn shutdown(&mut self) {}
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

async fn run_all(files: Vec<PathBuf>, mode: &str, labels: &[&str], session: impl Fn() -> Session) {
    let mut failures = vec![];
    for file in files {
        eprintln!("{} {mode}", file.display());
        let mut runner = Runner::new(|| async { Ok(Specified(session())) });
        labels.iter().for_each(|label| runner.add_label(label));
        if let Err(failure) = runner.run_file_async(&file).await {
            failures.push(format!("{} {mode}: {failure}", file.display()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

async fn run_in_process(threads: usize) {
    let options = SessionOptions { threads: Some(threads), ..Default::default() };
    let session = || almagest::session(&options).unwrap();
    run_all(all_files(), &format!("with {threads} threads"), &[], session).await;
}

fn runs_on_a_cluster(file: &PathBuf) -> bool {
    !std::fs::read_to_string(file).unwrap().starts_with("# in process: ")
}

#[tokio::test(flavor = "multi_thread")]
async fn specs_hold_with_one_thread() {
    run_in_process(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn specs_hold_with_four_threads() {
    run_in_process(4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn specs_hold_on_two_executors() {
    // nobody is lost here, however busy the machine is
    let patient = SchedulerOptions { port: 0, ..SchedulerOptions::default() };
    let options = LocalOptions { scheduler: patient, ..local_options(2, 1) };
    let cluster = LocalCluster::start(&options).await.unwrap();
    let options = SessionOptions { threads: Some(4), ..Default::default() };
    let session = || session_at(&options, &Place::At(cluster.address().clone())).unwrap();
    let files = all_files().into_iter().filter(runs_on_a_cluster).collect();
    run_all(files, "on two executors", &["cluster"], session).await;
}
