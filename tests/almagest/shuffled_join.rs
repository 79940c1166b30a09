//! A query that shuffles, for tests of what becomes of it, and ways to look and interfere.

use std::path::Path;
use std::time::Duration;

use almagest::cluster::{LocalCluster, Place, RunningStage, session_at};
use almagest::{Session, SessionOptions};
use arrow::util::pretty::pretty_format_batches;

/// How long a test waits for what must come.
pub const LONGEST: Duration = Duration::from_secs(120);

/// A join of two tables that are shuffled, grouped by many keys: three stages of shuffled data.
pub const JOIN: &str = "SELECT count(*) AS groups, sum(n) AS n, sum(v) AS v FROM (\
    SELECT a.k % 5000 AS g, count(*) AS n, sum(a.v + b.w) AS v FROM a JOIN b ON a.k = b.k \
    GROUP BY a.k % 5000)";

/// Writes the tables `a` and `b` in eight files each.
pub async fn write_tables(folder: &Path, rows: usize) {
    let session = almagest::session(&SessionOptions::default()).unwrap();
    for (table, column, factor) in [("a", "v", 7), ("b", "w", 11)] {
        for part in 0..8 {
            let sql = format!(
                "COPY (SELECT i * {factor} % {rows} AS k, i % 1000 AS {column} \
                 FROM generate_series({part}, {rows} - 1, 8) t(i)) \
                 TO '{}/{table}/{part}.parquet' STORED AS PARQUET",
                folder.display()
            );
            session.sql(&sql).await.unwrap().collect().await.unwrap();
        }
    }
}

pub async fn with_tables(session: Session, folder: &Path) -> Session {
    // a join that shuffles, not one that sends the small side everywhere
    for setting in [
        "datafusion.optimizer.hash_join_single_partition_threshold = 0",
        "datafusion.optimizer.hash_join_single_partition_threshold_rows = 0",
        "ballista.optimizer.broadcast_join_threshold_bytes = 0",
        "ballista.optimizer.broadcast_join_threshold_rows = 0",
    ] {
        session.sql(&format!("SET {setting}")).await.unwrap();
    }
    for table in ["a", "b"] {
        let sql = format!(
            "CREATE EXTERNAL TABLE {table} STORED AS PARQUET LOCATION '{}/{table}/'",
            folder.display()
        );
        session.sql(&sql).await.unwrap();
    }
    session
}

pub async fn on_cluster(cluster: &LocalCluster, folder: &Path) -> Session {
    let options = SessionOptions { threads: Some(8), ..Default::default() };
    let session = session_at(&options, &Place::At(cluster.address().clone())).unwrap();
    with_tables(session, folder).await
}

pub async fn in_process(folder: &Path) -> Session {
    with_tables(almagest::session(&SessionOptions::default()).unwrap(), folder).await
}

pub async fn answer(session: &Session, sql: &str) -> String {
    outcome(session, sql).await.unwrap()
}

/// The answer, or the error.
pub async fn outcome(session: &Session, sql: &str) -> almagest::Result<String> {
    let batches = session.sql(sql).await?.collect().await?;
    Ok(pretty_format_batches(&batches).unwrap().to_string())
}

/// Waits, but not for ever, for a stage that runs and fits.
pub async fn running(cluster: &LocalCluster, fits: impl Fn(&RunningStage) -> bool) -> RunningStage {
    let found = async {
        loop {
            let stages = cluster.watcher().running_stages().await;
            if let Some(stage) = stages.into_iter().find(|stage| fits(stage)) {
                return stage;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LONGEST, found).await.expect("no stage ran that fits")
}

/// Waits, but not for ever, until something is so.
pub async fn until(is_so: impl Fn() -> bool) {
    let waited = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONGEST, waited).await.expect("it does not come to be so");
}

pub fn signal(cluster: &LocalCluster, executor: usize, signal: &str) {
    let process = cluster.process_ids()[executor].unwrap().to_string();
    let sent = std::process::Command::new("kill").args(["-s", signal, &process]).status();
    assert!(sent.unwrap().success());
}

/// The files that executors have in their work folders.
pub fn file_count(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let counts = entries.map(|entry| match entry.path() {
        path if path.is_dir() => file_count(&path),
        _ => 1,
    });
    counts.sum()
}
