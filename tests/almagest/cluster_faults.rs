//! What becomes of a query when a process of the cluster is lost: the right answer, or an error that
//! says what happened; never a wrong one, and never no end.

use std::path::Path;
use std::time::Duration;

use almagest::cluster::{LocalCluster, RunningStage};
use almagest::{Session, SessionOptions};
use arrow::util::pretty::pretty_format_batches;
use futures::StreamExt;

use crate::processes::{local_cluster, local_options};

/// A join of two tables that are shuffled, grouped by many keys: three stages of shuffled data.
const JOIN: &str = "SELECT count(*) AS groups, sum(n) AS n, sum(v) AS v FROM (\
    SELECT a.k % 5000 AS g, count(*) AS n, sum(a.v + b.w) AS v FROM a JOIN b ON a.k = b.k \
    GROUP BY a.k % 5000)";

/// Writes the tables `a` and `b` in eight files each.
async fn write_tables(folder: &Path, rows: usize) {
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

async fn with_tables(session: Session, folder: &Path) -> Session {
    // a join that shuffles, not one that sends the small side everywhere
    for setting in [
        "datafusion.optimizer.hash_join_single_partition_threshold = 0",
        "datafusion.optimizer.hash_join_single_partition_threshold_rows = 0",
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

async fn on_cluster(cluster: &LocalCluster, folder: &Path) -> Session {
    let options = SessionOptions { threads: Some(8), ..Default::default() };
    let session = almagest::cluster::session(&options, cluster.address()).unwrap();
    with_tables(session, folder).await
}

async fn in_process(folder: &Path) -> Session {
    with_tables(almagest::session(&SessionOptions::default()).unwrap(), folder).await
}

async fn answer(session: &Session, sql: &str) -> String {
    let batches = session.sql(sql).await.unwrap().collect().await.unwrap();
    pretty_format_batches(&batches).unwrap().to_string()
}

/// Waits for a stage that runs and fits.
async fn running(cluster: &LocalCluster, fits: impl Fn(&RunningStage) -> bool) -> RunningStage {
    loop {
        let stages = cluster.watcher().running_stages().await;
        if let Some(stage) = stages.into_iter().find(|stage| fits(stage)) {
            return stage;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn signal(cluster: &LocalCluster, executor: usize, signal: &str) {
    let process = cluster.process_ids()[executor].unwrap().to_string();
    let sent = std::process::Command::new("kill").args(["-s", signal, &process]).status();
    assert!(sent.unwrap().success());
}

/// The files that executors have in their work folders.
fn file_count(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let counts = entries.map(|entry| match entry.path() {
        path if path.is_dir() => file_count(&path),
        _ => 1,
    });
    counts.sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_survives_the_loss_of_an_executor_in_each_stage() {
    let folder = tempfile::tempdir().unwrap();
    write_tables(folder.path(), 40_000).await;
    let expected = answer(&in_process(folder.path()).await, JOIN).await;
    // Ballista numbers stages from 1, those that read files first.
    for stage_id in 1..=6 {
        let cluster = local_cluster(2, 1).await;
        let session = on_cluster(&cluster, folder.path()).await;
        let asked = tokio::spawn(async move { answer(&session, JOIN).await });
        let lost = tokio::select! {
            stage = running(&cluster, |stage| stage.stage_id == stage_id) => Some(stage),
            () = async { while !asked.is_finished() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            } } => None,
        };
        if lost.is_some() {
            signal(&cluster, 0, "KILL");
        }
        assert_eq!(asked.await.unwrap(), expected, "an executor was lost in stage {stage_id}");
        // The query has five stages; a sixth would be one that this test does not know.
        assert_eq!(lost.is_some(), stage_id <= 5, "stage {stage_id}: {lost:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_survives_an_executor_that_stands_still() {
    let folder = tempfile::tempdir().unwrap();
    write_tables(folder.path(), 40_000).await;
    let expected = answer(&in_process(folder.path()).await, JOIN).await;
    let cluster = local_cluster(2, 1).await;
    let session = on_cluster(&cluster, folder.path()).await;
    let asked = tokio::spawn(async move { answer(&session, JOIN).await });
    running(&cluster, |stage| !stage.running_on.is_empty()).await;
    signal(&cluster, 0, "STOP");
    assert_eq!(asked.await.unwrap(), expected);
    signal(&cluster, 0, "CONT");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_executor_takes_work() {
    let folder = tempfile::tempdir().unwrap();
    write_tables(folder.path(), 40_000).await;
    let expected = answer(&in_process(folder.path()).await, JOIN).await;
    let options = local_options(1, 1);
    let mut cluster = LocalCluster::start(&options).await.unwrap();
    let session = on_cluster(&cluster, folder.path()).await;
    assert_eq!(answer(&session, JOIN).await, expected);
    let first = cluster.watcher().executors().await;
    cluster.add_executor(&options).unwrap();
    while cluster.watcher().executors().await.len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let asked = tokio::spawn(async move { answer(&session, JOIN).await });
    running(&cluster, |stage| {
        stage.running_on.iter().chain(&stage.done_on).any(|executor| !first.contains(executor))
    })
    .await;
    assert_eq!(asked.await.unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_query_of_a_client_that_leaves_is_cancelled_and_its_data_removed() {
    let folder = tempfile::tempdir().unwrap();
    write_tables(folder.path(), 40_000).await;
    let work_dir = folder.path().join("work");
    let mut options = local_options(2, 1);
    options.work_dir = Some(work_dir.clone());
    let cluster = LocalCluster::start(&options).await.unwrap();
    let session = on_cluster(&cluster, folder.path()).await;
    let asked = tokio::spawn(async move {
        let mut rows = session.sql(JOIN).await.unwrap().execute_stream().await.unwrap();
        rows.next().await
    });
    running(&cluster, |stage| stage.stage_id > 1 && !stage.done_on.is_empty()).await;
    assert!(file_count(&work_dir) > 0);
    asked.abort();
    while cluster.watcher().query_count() > 0 || file_count(&work_dir) > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_query_that_was_answered() {
    let folder = tempfile::tempdir().unwrap();
    write_tables(folder.path(), 10_000).await;
    let work_dir = folder.path().join("work");
    let mut options = local_options(2, 1);
    options.work_dir = Some(work_dir.clone());
    let cluster = LocalCluster::start(&options).await.unwrap();
    let session = on_cluster(&cluster, folder.path()).await;
    answer(&session, JOIN).await;
    while file_count(&work_dir) > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(cluster);
    while std::fs::read_dir(&work_dir).unwrap().next().is_some() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
