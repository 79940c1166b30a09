//! What becomes of a query when a process of the cluster is lost: the right answer, or an error that
//! says what happened; never a wrong one, and never no end.

use std::time::Duration;

use almagest::cluster::LocalCluster;
use futures::StreamExt;
use tokio::time::{sleep, timeout};

use crate::shuffled_join::{
    JOIN, LONGEST, answer, file_count, in_process, on_cluster, running, signal, until, write_tables,
};
use almagest_tests::processes::{local_cluster, local_options};

const PAUSE: Duration = Duration::from_millis(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_join_survives_the_loss_of_an_executor_in_each_stage() {
    let folder = tempfile::tempdir().unwrap();
    write_tables(folder.path(), 40_000).await;
    let expected = answer(&in_process(folder.path()).await, JOIN).await;
    // Ballista numbers stages from 1, those that read files first.
    for stage_id in 1.. {
        let cluster = local_cluster(2, 1).await;
        let session = on_cluster(&cluster, folder.path()).await;
        let asked = tokio::spawn(async move { answer(&session, JOIN).await });
        let lost = tokio::select! {
            stage = running(&cluster, |stage| stage.stage_id == stage_id) => Some(stage),
            () = until(|| asked.is_finished()) => None,
        };
        if lost.is_some() {
            signal(&cluster, 0, "KILL");
        }
        assert_eq!(asked.await.unwrap(), expected, "an executor was lost in stage {stage_id}");
        if lost.is_none() {
            // two that read, one that joins, and at least two that group and count
            assert!(stage_id > 5, "there was no stage {stage_id}");
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_to_a_folder_has_each_row_once_though_an_executor_is_lost() {
    const ROWS: &str = "SELECT count(*), count(DISTINCT k), sum(v + w) FROM";
    const COPIED: &str = "SELECT a.k, a.v, b.w FROM a JOIN b ON a.k = b.k";
    let folder = tempfile::tempdir().unwrap();
    write_tables(folder.path(), 40_000).await;
    let here = in_process(folder.path()).await;
    let expected = answer(&here, &format!("{ROWS} ({COPIED})")).await;
    let cluster = local_cluster(2, 1).await;
    let session = on_cluster(&cluster, folder.path()).await;
    let target = folder.path().join("copied");
    let copy = format!("COPY ({COPIED}) TO '{}/' STORED AS PARQUET", target.display());
    let asked = tokio::spawn(async move { answer(&session, &copy).await });
    // the stage that joins and writes, of whose tasks some are done and some are not
    let lost = running(&cluster, |stage| {
        stage.stage_id == 3 && !stage.done_on.is_empty() && !stage.running_on.is_empty()
    })
    .await;
    let writer = lost.done_on[0].strip_prefix("local-").unwrap().parse().unwrap();
    signal(&cluster, writer, "KILL");
    asked.await.unwrap();
    let copied = format!("{ROWS} '{}/'", target.display());
    let rows = |answer: &str| -> Vec<_> {
        answer.lines().nth(3).unwrap().split_whitespace().map(str::to_string).collect()
    };
    assert_eq!(rows(&answer(&here, &copied).await), rows(&expected));
    // what was not finished goes, with what a lost task had written
    until(|| file_count(&target) == std::fs::read_dir(&target).unwrap().count()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_survives_an_executor_that_stands_still() {
    let folder = tempfile::tempdir().unwrap();
    write_tables(folder.path(), 40_000).await;
    let expected = answer(&in_process(folder.path()).await, JOIN).await;
    let cluster = local_cluster(2, 1).await;
    let session = on_cluster(&cluster, folder.path()).await;
    let asked = tokio::spawn(async move { answer(&session, JOIN).await });
    running(&cluster, |stage| stage.running_on.contains(&"local-0".to_string())).await;
    signal(&cluster, 0, "STOP");
    assert_eq!(asked.await.unwrap(), expected);
    // its tasks went to the other one because it was silent for too long
    assert_eq!(cluster.watcher().executors().await, ["local-1"]);
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
    let both = async {
        while cluster.watcher().executors().await.len() < 2 {
            sleep(PAUSE).await
        }
    };
    timeout(LONGEST, both).await.unwrap();
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
    until(|| cluster.watcher().query_count() == 0 && file_count(&work_dir) == 0).await;
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
    until(|| file_count(&work_dir) == 0).await;
    drop(cluster);
    until(|| std::fs::read_dir(&work_dir).unwrap().next().is_none()).await;
}
