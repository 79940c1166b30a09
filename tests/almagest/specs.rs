//! Runs every `spec/**/*.slt` in process, once with one thread and once with four.

use std::path::{Path, PathBuf};

use almagest::{Session, SessionOptions};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};

struct InProcess(Session);

#[async_trait::async_trait]
impl AsyncDB for InProcess {
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

async fn run_all(threads: usize) {
    let mut files = vec![];
    spec_files(Path::new("spec"), &mut files);
    files.sort();
    assert!(!files.is_empty(), "no specifications found");
    let mut failures = vec![];
    for file in files {
        let options = SessionOptions { threads: Some(threads), ..Default::default() };
        let mut runner =
            Runner::new(|| async { Ok(InProcess(almagest::session(&options).unwrap())) });
        if let Err(failure) = runner.run_file_async(&file).await {
            failures.push(format!("{} with {threads} threads: {failure}", file.display()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn specs_hold_with_one_thread() {
    run_all(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn specs_hold_with_four_threads() {
    run_all(4).await;
}
