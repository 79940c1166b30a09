//! What becomes of queries when the scheduler is lost, and comes back; and when they are too many or
//! take too long.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use almagest::cluster::{Address, Limits, LocalCluster, Place, session_at};
use almagest::{ErrorKind, Session, SessionOptions};
use almagest_engine::exec::progress::Progress;

use crate::shuffled_join::{
    JOIN, LONGEST, on_cluster, outcome, running, signal, until, write_tables,
};
use almagest_tests::processes::{command, local_options};

/// A process that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn scheduler(port: u16) -> (Running, Address) {
    let mut child = Command::new(command())
        .args(["scheduler", "--quiet", "--port", &port.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
    (Running(child), url.trim().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_told_at_once_that_its_scheduler_is_gone_and_can_ask_its_next() {
    let (lost, address) = scheduler(0);
    let executor = Command::new(command())
        .args(["executor", "--quiet", "--heartbeat", "1", "--cores", "1"])
        .args(["--scheduler", &address.url()])
        .spawn();
    let _executor = Running(executor.unwrap());
    let session = session_at(&SessionOptions::default(), &Place::At(address.clone())).unwrap();
    let small = "SELECT count(*), sum(i) FROM generate_series(1, 1000) t(i)";
    let before = outcome(&session, small).await.unwrap();

    let asking = session.clone();
    let asked = tokio::spawn(async move { outcome(&asking, LONG).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    drop(lost);
    let told = tokio::time::timeout(LONGEST, asked).await.unwrap().unwrap().unwrap_err();
    assert_eq!(told.kind(), ErrorKind::Unreachable, "{told}");
    assert!(told.message().contains("run the statement again"), "{told}");

    let (_next, _) = scheduler(address.port);
    // what the executor still computed for the lost one is in nobody's way
    let again = tokio::time::timeout(LONGEST, outcome(&session, small)).await;
    assert_eq!(again.unwrap().unwrap(), before);
}

#[test]
fn an_executor_does_not_wait_for_ever_for_its_scheduler() {
    let ended = Command::new(command())
        .args(["executor", "--connect-timeout", "1", "--scheduler", "http://127.0.0.1:9"])
        .output()
        .unwrap();
    assert!(!ended.status.success());
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(told.contains("no scheduler answers at 127.0.0.1:9"), "{told}");
}

#[test]
fn a_session_can_start_processes_for_its_queries() {
    let settings = "SET almagest.scheduler = 'processes'; SET almagest.processes = 2";
    let query = "EXPLAIN ANALYZE SELECT count(*) FROM generate_series(1, 10)";
    let asked = Command::new(command()).args(["-q", "-c", settings, "-c", query]).output().unwrap();
    let told = String::from_utf8_lossy(&asked.stdout).into_owned();
    assert!(told.contains("stage 1 on local-"), "{told}");
}

/// A query that takes long enough not to be done.
const LONG: &str = "SELECT sum(sin(i)) FROM generate_series(1, 100000000000) t(i)";

async fn limited(limits: Limits) -> (LocalCluster, Session) {
    let mut options = local_options(1, 1);
    options.scheduler.limits = limits;
    let cluster = LocalCluster::start(&options).await.unwrap();
    let place = Place::At(cluster.address().clone());
    let session = session_at(&SessionOptions::default(), &place).unwrap();
    (cluster, session)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_runs_for_too_long_is_ended_and_its_place_is_free() {
    let time_max = Some(Duration::from_secs(3));
    let (_cluster, session) = limited(Limits { time_max, ..Limits::default() }).await;
    let error = outcome(&session, LONG).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
    assert!(error.message().contains("longer than the 3 s"), "{error}");
    outcome(&session, "SELECT count(*) FROM generate_series(1, 10)").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_is_cancelled_before_its_task_begins_keeps_no_place() {
    let (cluster, session) = limited(Limits::default()).await;
    // what the executor is told from now on it hears all at once, in no order
    signal(&cluster, 0, "STOP");
    let asking = session.clone();
    let asked = tokio::spawn(async move { outcome(&asking, LONG).await });
    running(&cluster, |stage| !stage.running_on.is_empty()).await;
    asked.abort();
    until(|| cluster.watcher().query_count() == 0).await;
    signal(&cluster, 0, "CONT");
    let small = outcome(&session, "SELECT count(*) FROM generate_series(1, 10)");
    tokio::time::timeout(LONGEST, small).await.expect("the place is taken").unwrap();
    // and what was cancelled is not computed beside it
    let pid = cluster.process_ids()[0].unwrap();
    let is_idle = async {
        loop {
            let before = processor_time(pid);
            tokio::time::sleep(Duration::from_secs(1)).await;
            if processor_time(pid) < before + 50 {
                return;
            }
        }
    };
    tokio::time::timeout(LONGEST, is_idle).await.expect("the executor computes on");
}

/// The hundredths of a second that a process has computed.
fn processor_time(pid: u32) -> u64 {
    let told = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = told.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2);
    fields.map(|field| field.parse::<u64>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_wait_their_turn_and_too_many_are_refused() {
    let limits = Limits { running_max: 1, waiting_max: 1, ..Limits::default() };
    let (cluster, session) = limited(limits).await;
    let ask = |sql: &'static str| {
        let session = session.clone();
        tokio::spawn(async move { outcome(&session, sql).await })
    };
    let first = ask(LONG);
    until(|| cluster.watcher().query_count() == 1).await;
    // one of these waits, and the other is one too many, whichever comes first
    let mut second = ask("SELECT count(*) FROM generate_series(1, 20)");
    let mut third = ask("SELECT count(*) FROM generate_series(1, 20)");
    let (refused, waiting) = tokio::select! {
        ended = &mut second => (ended, third),
        ended = &mut third => (ended, second),
    };
    let refused = refused.unwrap().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Exhausted, "{refused}");
    assert!(refused.message().contains("1 queries run and 1 wait"), "{refused}");
    assert_eq!(cluster.watcher().query_count(), 1);
    first.abort();
    let answer = tokio::time::timeout(LONGEST, waiting).await.unwrap().unwrap().unwrap();
    assert!(answer.contains("20"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_sees_how_far_its_query_is() {
    let folder = tempfile::tempdir().unwrap();
    write_tables(folder.path(), 200_000).await;
    let cluster = LocalCluster::start(&local_options(1, 1)).await.unwrap();
    let session = on_cluster(&cluster, folder.path()).await;
    let frame = session.sql(JOIN).await.unwrap();
    let task = Arc::new(frame.task_ctx());
    let plan = frame.create_physical_plan().await.unwrap();
    let progress = Progress::of(&plan);
    assert_eq!(progress.now().fraction, Some(0.0));
    let answered = tokio::spawn(datafusion::physical_plan::collect(plan, task));
    let mut seen = vec![];
    while !answered.is_finished() {
        seen.extend(progress.now().fraction);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    answered.await.unwrap().unwrap();
    assert!(seen.is_sorted(), "{seen:?}");
    assert!(seen.iter().any(|part| *part > 0.0 && *part < 1.0), "{seen:?}");
}
