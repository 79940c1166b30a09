//! Whole clusters on stand-ins for the commands of queues that are not to be had here: each flag
//! and answer is as the queue's manual has it, and the rest is a script of ours.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::amounts::Bytes;
use super::commands::Commands;
use super::control::Request;
use super::foreground::run_until;
use super::options::Options;
use super::pacing::Pace;
use super::queue::{ExecutorCommand, JobState, Queue};
use super::state::{Folder, State};
use super::{Member, Members, Place, QueueKind, Settings};
use super::{local, remote, request};
use almagest_engine::{Error, Result};

const PATIENCE: Duration = Duration::from_secs(20);
const NAMES: [&str; 9] =
    ["qsub", "qstat", "qdel", "bsub", "bjobs", "bkill", "condor_submit", "condor_q", "condor_rm"];

struct Nobody;

#[async_trait]
impl Members for Nobody {
    async fn executors(&self) -> Vec<Member> {
        vec![]
    }

    async fn pending_tasks(&self) -> usize {
        0
    }
}

/// The stand-ins in a folder of their own, with room for some jobs.
fn stand_ins(folder: &Path, room: usize) -> PathBuf {
    let source = format!("{}/tests/data/commands/queue", env!("CARGO_MANIFEST_DIR"));
    let commands = folder.join("commands");
    std::fs::create_dir(&commands).unwrap();
    std::fs::write(commands.join("room"), room.to_string()).unwrap();
    for name in NAMES {
        std::os::unix::fs::symlink(&source, commands.join(name)).unwrap();
    }
    commands
}

fn place(folder: &Path, commands: Option<PathBuf>) -> (Place, Arc<Mutex<Vec<String>>>) {
    let said = Arc::new(Mutex::new(vec![]));
    let heard = Arc::clone(&said);
    let poll = Duration::from_millis(20);
    let place = Place {
        base: folder.join("s"),
        commands: Commands { folder: commands, ..Commands::default() },
        pace: Pace { poll, grace: poll * 3, wait_first: poll, ..Pace::default() },
        say: Arc::new(move |text: &str| heard.lock().unwrap().push(text.to_string())),
    };
    (place, said)
}

fn settings(kind: QueueKind, workers: usize) -> Settings {
    let options = Options {
        insecure: true,
        workers: Some(workers),
        cores: Some(2),
        memory: Some(Bytes(1 << 30)),
        ..Options::default()
    };
    Settings::new(kind, options).unwrap()
}

fn command(program: &str) -> ExecutorCommand {
    let scheduler_url = "http://127.0.0.1:50050".into();
    ExecutorCommand { program: program.into(), scheduler_url, extra: vec![] }
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn jobs(commands: &Path) -> usize {
    std::fs::read_dir(commands.join("jobs")).map_or(0, Iterator::count)
}

/// Three jobs, room for two: submit, status, a lost job, fewer, stop.
async fn whole_life(kind: QueueKind, waits: &'static str, runs: &'static str) {
    let folder = tempfile::tempdir().unwrap();
    let commands = stand_ins(folder.path(), 2);
    let (place, said) = place(folder.path(), Some(commands.clone()));
    let (_end, ended) = oneshot::channel::<()>();
    let kept = place.clone();
    let running = tokio::spawn(async move {
        let end = async { drop(ended.await) };
        let settings = settings(kind, 3);
        run_until(&settings, command("/opt/almagest"), Arc::new(Nobody), &kept, end).await
    });
    let status = async || request("main", Request::Status, &place).await.unwrap_or_default();
    until("three jobs", async || jobs(&commands) == 3 && status().await.contains("103")).await;
    let table = status().await;
    assert!(table.starts_with(&format!("{}: 0 of 3 workers joined", kind.name())), "{table}");
    assert!(table.lines().any(|line| line.starts_with("103") && line.ends_with(waits)), "{table}");
    assert!(table.lines().any(|line| line.starts_with("101") && line.contains(runs)), "{table}");

    std::fs::remove_file(commands.join("jobs/101")).unwrap();
    until("a fourth", async || commands.join("jobs/104").exists()).await;
    let heard = said.lock().unwrap().join("\n");
    assert!(heard.contains("ended (no longer listed)"), "{heard}");

    request("main", Request::Scale(1), &place).await.unwrap();
    until("one job", async || jobs(&commands) == 1).await;
    assert!(commands.join("jobs/102").exists(), "the one that runs stays");
    // one that is gone by the time it is cancelled
    assert_eq!(request("main", Request::Stop, &place).await.unwrap(), "cancelled 1 jobs\n");
    running.await.unwrap().unwrap();
    assert_eq!(jobs(&commands), 0);
    assert!(request("main", Request::Status, &place).await.is_err());

    let queue = kind.open(place.commands.clone()).unwrap();
    let gone = ["101.head".to_string(), "102.head".to_string()];
    assert!(queue.list(&gone).await.unwrap().is_empty());
    queue.cancel(&gone).await.unwrap();
}

/// A submission that the queue refuses, and a queue without commands.
async fn refusals(kind: QueueKind, submit: &str) {
    let folder = tempfile::tempdir().unwrap();
    let commands = stand_ins(folder.path(), 2);
    std::fs::write(commands.join("refuse"), "no such account\n").unwrap();
    let (mut place, _) = place(folder.path(), Some(commands));
    let run = async |place: &Place| {
        let end = std::future::pending();
        let members = Arc::new(Nobody);
        run_until(&settings(kind, 1), command("/opt/a"), members, place, end).await.unwrap_err()
    };
    let error = run(&place).await;
    for part in [submit, "failed (exit status: 15) and said: no such account; ", "--dry-run"] {
        assert!(error.message().contains(part), "{error}");
    }
    place.commands.folder = Some(folder.path().join("nowhere"));
    let error = run(&place).await;
    assert!(error.message().contains("login nodes"), "{error}");
}

#[tokio::test]
async fn a_cluster_lives_on_pbs() {
    let waits = "Not Running: Insufficient amount of resource: ncpus (R: 2 A: 0 T: 4)";
    whole_life(QueueKind::Pbs, waits, "node07").await;
    refusals(QueueKind::Pbs, "`qsub /").await;
}

#[tokio::test]
async fn a_cluster_lives_on_lsf() {
    whole_life(QueueKind::Lsf, "Not enough job slot(s): 3 hosts;", "RUN    node07").await;
    refusals(QueueKind::Lsf, "`bsub < /").await;
}

#[tokio::test]
async fn a_cluster_lives_on_htcondor() {
    let waits = "Error from slot1@node07: no such folder";
    whole_life(QueueKind::Htcondor, waits, "Running  node07").await;
    refusals(QueueKind::Htcondor, "`condor_submit -terse /").await;
}

/// A local job, and a state whose process was killed.
async fn left_over(place: &Place) -> Result<(Folder, String)> {
    let folder = Folder::of(&place.base, "main")?;
    folder.create()?;
    let queue = QueueKind::Local.open(Commands::default())?;
    // a stand-in for an executor that ignores its words, and goes on until SIGTERM
    let program = place.base.join("almagest");
    std::fs::write(&program, "#!/bin/bash\nwhile :; do sleep 0.05; done\n")
        .and_then(|()| std::fs::set_permissions(&program, Permissions::from_mode(0o700)))
        .map_err(|cause| Error::bug(cause.to_string()))?;
    let mut options = Options { cores: Some(1), ..Options::default() };
    options.scratch = Some(place.base.join("scratch"));
    let plan = Settings::new(QueueKind::Local, options)?
        .plan(command(&program.display().to_string()), folder.logs());
    folder.write_files(&local::Local(Commands::default()).files(&plan)?)?;
    let id = queue.submit(folder.path()).await?;
    let own = State::of_this_process("local", "http://127.0.0.1:1");
    let killed = State { pid_started: own.pid_started + 1, jobs: vec![id.clone()], ..own };
    folder.keep(&killed)?;
    Ok((folder, id))
}

#[tokio::test]
async fn what_a_killed_process_left_over_is_told_and_cancelled() {
    let base = tempfile::tempdir().unwrap();
    let (place, said) = place(base.path(), None);
    let (folder, id) = left_over(&place).await.unwrap();
    let table = request("main", Request::Status, &place).await.unwrap();
    assert!(table.contains("was killed, and left over 1 jobs"), "{table}");
    assert!(table.contains(&id) && table.contains("no scheduler"), "{table}");
    let error = request("main", Request::Scale(2), &place).await.unwrap_err();
    assert!(error.message().contains("start the cluster again"), "{error}");
    assert!(remote::list(&place).unwrap().contains("main: local, 1 jobs, was killed"));

    request("main", Request::Stop, &place).await.unwrap();
    assert!(said.lock().unwrap()[0].starts_with(&format!("cancelled job {id}, left over")));
    let local = local::Local(Commands::default());
    let ids = [id];
    until("its end", async || local.list(&ids).await.unwrap()[0].state == JobState::Ended).await;
    assert_eq!(folder.state().unwrap(), None);
    let error = request("main", Request::Status, &place).await.unwrap_err();
    assert!(error.message().starts_with("no cluster main; none runs"), "{error}");
}

#[tokio::test]
async fn a_cluster_of_another_machine_is_left_alone() {
    let base = tempfile::tempdir().unwrap();
    let (place, _) = place(base.path(), None);
    let folder = Folder::of(&place.base, "main").unwrap();
    folder.create().unwrap();
    let own = State::of_this_process("local", "http://head:1");
    folder.keep(&State { host: "login7".into(), ..own }).unwrap();
    for asked in [Request::Status, Request::Stop] {
        let error = request("main", asked, &place).await.unwrap_err();
        assert!(error.message().contains("is on login7; ask there"), "{error}");
    }
    let end = std::future::pending();
    let local = settings(QueueKind::Local, 1);
    let started = run_until(&local, command("/opt/a"), Arc::new(Nobody), &place, end).await;
    assert!(started.unwrap_err().message().contains("on login7 keeps a cluster"));
}
