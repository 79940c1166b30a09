//! A keeper with a queue and a scheduler that do as they are told.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::*;
use crate::adaptive::Limits;
use crate::commands::Line;
use crate::queue::{Job, JobFile, JobState, Plan, QueueKind};
use almagest_engine::ErrorKind;

const PATIENCE: Duration = Duration::from_secs(10);

/// What the queue is told to do, and what it did.
#[derive(Default)]
struct Fake {
    jobs: Vec<(String, JobState)>,
    submitted: usize,
    cancelled: Vec<String>,
    submit_fails: bool,
    list_fails: bool,
    /// How many times it refuses to cancel.
    cancel_fails: usize,
    /// Jobs end before they run.
    ends_at_once: bool,
    /// Jobs beyond this number wait.
    room: usize,
    holds_data: HashSet<String>,
    pending_tasks: usize,
    running_tasks: usize,
}

#[derive(Clone, Default)]
struct World(Arc<Mutex<Fake>>);

impl World {
    fn now(&self) -> MutexGuard<'_, Fake> {
        self.0.lock().unwrap()
    }
}

fn refusal() -> Error {
    Error::unreachable("the queue refuses")
}

#[async_trait]
impl Queue for World {
    fn kind(&self) -> QueueKind {
        QueueKind::Slurm
    }

    fn files(&self, _: &Plan) -> Result<Vec<JobFile>> {
        Ok(vec![])
    }

    fn submit_line(&self, _: &Path) -> Line {
        Line::new("true", Vec::<String>::new())
    }

    async fn submit(&self, _: &Path) -> Result<String> {
        let mut fake = self.now();
        if fake.submit_fails {
            return Err(refusal());
        }
        fake.submitted += 1;
        let id = fake.submitted.to_string();
        let running = fake.jobs.iter().filter(|(_, state)| *state == JobState::Running).count();
        let state = match fake.ends_at_once {
            true => JobState::Ended,
            false if running < fake.room => JobState::Running,
            false => JobState::Queued,
        };
        fake.jobs.push((id.clone(), state));
        Ok(id)
    }

    async fn list(&self, ids: &[String]) -> Result<Vec<Job>> {
        let fake = self.now();
        if fake.list_fails {
            return Err(refusal());
        }
        let job = |(id, state): &(String, JobState)| Job {
            id: id.clone(),
            state: *state,
            word: format!("{state:?}"),
            reason: None,
            node: None,
        };
        Ok(fake.jobs.iter().filter(|(id, _)| ids.contains(id)).map(job).collect())
    }

    async fn cancel(&self, ids: &[String]) -> Result<()> {
        let mut fake = self.now();
        if fake.cancel_fails > 0 {
            fake.cancel_fails -= 1;
            return Err(refusal());
        }
        fake.cancelled.extend(ids.iter().cloned());
        fake.jobs.retain(|(id, _)| !ids.contains(id));
        Ok(())
    }
}

#[async_trait]
impl Members for World {
    async fn executors(&self) -> Vec<Member> {
        let fake = self.now();
        let running = fake.jobs.iter().filter(|(_, state)| *state == JobState::Running);
        let member = |(id, _): &(String, JobState)| Member {
            name: format!("slurm-{id}"),
            cores: 4,
            running_tasks: fake.running_tasks,
            holds_needed_data: fake.holds_data.contains(id),
        };
        running.map(member).collect()
    }

    async fn pending_tasks(&self) -> usize {
        self.now().pending_tasks
    }
}

/// A keeper that runs.
struct Scene {
    world: World,
    said: Arc<Mutex<Vec<String>>>,
    folder: Folder,
    requests: mpsc::Sender<Asked>,
    end: oneshot::Sender<()>,
    running: JoinHandle<Result<()>>,
    _base: TempDir,
}

fn pace() -> Pace {
    Pace {
        poll: Duration::from_millis(5),
        grace: Duration::from_millis(50),
        short_life: Duration::ZERO,
        wait_first: Duration::from_millis(1),
        wait_longest: Duration::from_millis(4),
        rounds_max: 5,
        quiet: Duration::from_millis(50),
    }
}

fn start(wanted: usize, limits: Option<Limits>, change: impl FnOnce(&mut Fake)) -> Scene {
    let base = tempfile::tempdir().unwrap();
    let folder = Folder::of(base.path(), "survey").unwrap();
    folder.create().unwrap();
    let world = World::default();
    world.now().room = usize::MAX;
    change(&mut world.now());
    let said = Arc::new(Mutex::new(vec![]));
    let heard = Arc::clone(&said);
    let keeper = Keeper::new(Kept {
        queue: Arc::new(world.clone()),
        members: Arc::new(world.clone()),
        folder: folder.clone(),
        state: State::of_this_process("slurm", "http://head:50050"),
        cores: 4,
        wanted,
        adaptive: limits.map(|limits| Adaptive::new(limits, pace().quiet)),
        pace: pace(),
        say: Arc::new(move |text: &str| heard.lock().unwrap().push(text.to_string())),
    });
    let (requests, receiver) = mpsc::channel(4);
    let (end, ended) = oneshot::channel();
    let running = tokio::spawn(keeper.run(receiver, async {
        let _ = ended.await;
    }));
    Scene { world, said, folder, requests, end, running, _base: base }
}

impl Scene {
    async fn until(&self, what: &str, holds: impl Fn(&Fake) -> bool) {
        let started = Instant::now();
        while !holds(&self.world.now()) {
            let said = self.said.lock().unwrap().clone();
            assert!(started.elapsed() < PATIENCE, "never: {what}; said {said:#?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn until_said(&self, text: &str) {
        let said = || self.said.lock().unwrap().iter().any(|line| line.contains(text));
        self.until(text, |_| said()).await;
    }

    async fn ask(&self, request: Request) -> Result<String> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Asked { request, reply }).await.unwrap();
        answer.await.unwrap()
    }

    async fn end(self) -> (Result<()>, World, Folder, TempDir) {
        let _ = self.end.send(());
        let ended = tokio::time::timeout(PATIENCE, self.running).await.unwrap().unwrap();
        (ended, self.world, self.folder, self._base)
    }
}

#[tokio::test]
async fn workers_join_and_a_job_that_ended_is_replaced() {
    let scene = start(3, None, |_| {});
    scene.until_said("worker slurm-3 joined (3 of 3)").await;
    assert_eq!(scene.folder.state().unwrap().unwrap().jobs, ["1", "2", "3"]);
    scene.world.now().jobs[1].1 = JobState::Ended;
    scene.until_said("job 2 ended (Ended)").await;
    scene.until_said("worker slurm-4 joined (3 of 3)").await;
    assert_eq!(scene.folder.state().unwrap().unwrap().jobs, ["1", "3", "4"]);
    // one that the queue has forgotten
    scene.world.now().jobs.retain(|(id, _)| id != "1");
    scene.until_said("job 1 ended (no longer listed)").await;
    scene.until("a fifth", |fake| fake.submitted == 5).await;
    let (ended, world, folder, _base) = scene.end().await;
    ended.unwrap();
    assert_eq!(world.now().cancelled, ["3", "4", "5"]);
    assert_eq!(folder.state().unwrap().unwrap().jobs, Vec::<String>::new());
}

#[tokio::test]
async fn jobs_that_end_at_once_are_given_up_with_their_log() {
    let scene = start(2, None, |fake| fake.ends_at_once = true);
    std::fs::write(scene.folder.log_file("10"), "no such module\n").unwrap();
    let error = tokio::time::timeout(PATIENCE, scene.running).await.unwrap().unwrap();
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.message().contains("failed 5 times in a row"), "{error}");
    assert!(error.message().contains("no such module"), "{error}");
    assert_eq!(scene.world.now().submitted, 10);
    assert_eq!(scene.said.lock().unwrap().iter().filter(|l| l.contains("next try in")).count(), 4);
}

#[tokio::test]
async fn giving_up_leaves_the_others_alone_and_scale_tries_again() {
    let scene = start(2, None, |_| {});
    scene.until_said("(2 of 2)").await;
    scene.world.now().ends_at_once = true;
    scene.ask(Request::Scale(3)).await.unwrap();
    scene.until_said("no more are submitted").await;
    let before = scene.world.now().submitted;
    assert_eq!(before, 2 + 5);
    tokio::time::sleep(pace().poll * 5).await;
    assert_eq!(scene.world.now().submitted, before);
    assert!(scene.ask(Request::Status).await.unwrap().contains("the last failure was job"));
    scene.world.now().ends_at_once = false;
    scene.ask(Request::Scale(3)).await.unwrap();
    scene.until_said("(3 of 3)").await;
    scene.end().await.0.unwrap();
}

#[tokio::test]
async fn a_first_submission_that_is_refused_is_an_error() {
    let scene = start(2, None, |fake| fake.submit_fails = true);
    let ended = tokio::time::timeout(PATIENCE, scene.running).await.unwrap().unwrap();
    assert_eq!(ended.unwrap_err().message(), "the queue refuses");
}

#[tokio::test]
async fn a_later_submission_that_is_refused_is_tried_again() {
    let scene = start(1, None, |_| {});
    scene.until_said("(1 of 1)").await;
    scene.world.now().submit_fails = true;
    scene.ask(Request::Scale(2)).await.unwrap();
    scene.until_said("the queue refuses").await;
    scene.world.now().submit_fails = false;
    scene.ask(Request::Scale(2)).await.unwrap();
    scene.until_said("(2 of 2)").await;
    scene.end().await.0.unwrap();
}

#[tokio::test]
async fn a_silent_queue_changes_nothing() {
    let scene = start(2, None, |_| {});
    scene.until_said("(2 of 2)").await;
    scene.world.now().list_fails = true;
    scene.until_said("does not tell its jobs").await;
    scene.world.now().jobs[0].1 = JobState::Ended;
    tokio::time::sleep(pace().grace * 3).await;
    {
        let fake = scene.world.now();
        assert_eq!((fake.submitted, fake.cancelled.len()), (2, 0));
    }
    scene.world.now().list_fails = false;
    scene.until("a third", |fake| fake.submitted == 3).await;
    let said = scene.said.lock().unwrap().clone();
    assert_eq!(said.iter().filter(|line| line.contains("does not tell")).count(), 1);
    scene.end().await.0.unwrap();
}

#[tokio::test]
async fn fewer_workers_cost_queued_jobs_first() {
    let scene = start(4, None, |fake| fake.room = 2);
    scene.until_said("worker slurm-2 joined (2 of 4)").await;
    let status = scene.ask(Request::Status).await.unwrap();
    assert!(status.starts_with("slurm: 2 of 4 workers joined http://head:50050\nJOB"), "{status}");
    assert!(status.contains("\n4    Queued"), "{status}");
    assert_eq!(scene.ask(Request::Scale(1)).await.unwrap(), "1 workers instead of 4\n");
    scene.until_said("cancelled 3 jobs: 4, 3, 2").await;
    let (reply, answer) = oneshot::channel();
    scene.requests.send(Asked { request: Request::Stop, reply }).await.unwrap();
    assert_eq!(answer.await.unwrap().unwrap(), "cancelled 1 jobs\n");
    scene.running.await.unwrap().unwrap();
}

#[tokio::test]
async fn jobs_that_cannot_be_cancelled_stay_known() {
    let scene = start(2, None, |_| {});
    scene.until_said("(2 of 2)").await;
    scene.world.now().cancel_fails = usize::MAX;
    let (ended, _, folder, _base) = scene.end().await;
    assert_eq!(ended.unwrap_err().message(), "the queue refuses");
    assert_eq!(folder.state().unwrap().unwrap().jobs, ["1", "2"]);
}

#[tokio::test]
async fn cancelling_is_tried_again_at_the_end() {
    let scene = start(2, None, |_| {});
    scene.until_said("(2 of 2)").await;
    scene.world.now().cancel_fails = 2;
    let (ended, world, ..) = scene.end().await;
    ended.unwrap();
    assert_eq!(world.now().cancelled, ["1", "2"]);
}

#[tokio::test]
async fn many_workers_are_submitted_in_batches_that_requests_pass() {
    let scene = start(30, None, |_| {});
    assert!(scene.ask(Request::Status).await.is_ok());
    scene.until_said("(30 of 30)").await;
    assert_eq!(scene.world.now().submitted, 30);
    scene.end().await.0.unwrap();
}

#[tokio::test]
async fn the_number_follows_the_work_but_spares_data() {
    let scene = start(0, Some(Limits { min: 0, max: 5 }), |fake| fake.pending_tasks = 100);
    scene.until_said("(5 of 5)").await;
    {
        let mut fake = scene.world.now();
        fake.pending_tasks = 0;
        fake.running_tasks = 1;
        fake.holds_data = ["2".to_string()].into();
    }
    // five tasks run at once on five workers of four cores: two would do, but all are busy
    scene.until_said("become 2").await;
    tokio::time::sleep(pace().poll * 5).await;
    assert_eq!(scene.world.now().cancelled.len(), 0);
    scene.world.now().running_tasks = 0;
    scene.until_said("become 0").await;
    scene.until("four are gone", |fake| fake.cancelled.len() == 4).await;
    tokio::time::sleep(pace().poll * 5).await;
    assert_eq!(scene.world.now().jobs, [("2".to_string(), JobState::Running)]);
    scene.world.now().holds_data.clear();
    scene.until("all are gone", |fake| fake.jobs.is_empty()).await;
    assert_eq!(scene.world.now().submitted, 5);
    scene.end().await.0.unwrap();
}
