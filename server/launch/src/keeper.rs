//! Keeps the number of workers of one cluster.
//!
//! In: what the queue and the scheduler say at each look, and what the user asks for. Out: jobs
//! submitted and cancelled. At each look: see what became of the jobs, decide how many there should
//! be, submit or cancel the difference. A queue that does not answer changes nothing.
//! Invariant: a job is in the state file before anything else is done. Not here: how many are worth
//! having (`adaptive.rs`), which go (`choice.rs`), how fast (`pacing.rs`).

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Receiver;
use tokio::sync::oneshot::Sender;

use super::adaptive::{Adaptive, Load};
use super::control::{Asked, Request};
use super::jobs::{Changes, Ended, Jobs};
use super::members::{Member, Members};
use super::pacing::{Failures, Pace};
use super::queue::Queue;
use super::state::{Folder, State};
use super::status::table;
use almagest_engine::{Error, Result};

/// How often to try at the end, when nobody comes after.
const CANCEL_TRIES: usize = 3;
/// Jobs submitted between two looks at requests.
const BATCH: usize = 8;

/// Where a keeper says what happens.
pub type Say = Arc<dyn Fn(&str) + Send + Sync>;

/// What a keeper needs.
pub struct Kept {
    /// Where jobs run.
    pub queue: Arc<dyn Queue>,
    /// The scheduler that their executors join.
    pub members: Arc<dyn Members>,
    /// The cluster's folder, with the files of a job in it.
    pub folder: Folder,
    /// What is written there.
    pub state: State,
    /// Cores of a worker.
    pub cores: usize,
    /// How many workers there should be.
    pub wanted: usize,
    /// Changes that number by the work at hand.
    pub adaptive: Option<Adaptive>,
    /// Times and limits.
    pub pace: Pace,
    /// Where it says what happens.
    pub say: Say,
}

/// Keeps the number of workers.
pub struct Keeper {
    kept: Kept,
    jobs: Jobs,
    failures: Failures,
    last_failure: String,
    ever_submitted: bool,
    queue_is_silent: bool,
    has_given_up: bool,
}

/// What follows a wait.
enum Next {
    Look,
    /// The end, by a signal or by a user who waits for an answer.
    End(Option<Sender<Result<String>>>),
}

impl Keeper {
    /// Nothing is submitted before [`Self::run`].
    pub fn new(kept: Kept) -> Self {
        let jobs = Jobs::new(kept.queue.kind());
        Self {
            kept,
            jobs,
            failures: Failures::default(),
            last_failure: String::new(),
            ever_submitted: false,
            queue_is_silent: false,
            has_given_up: false,
        }
    }

    /// Keeps the number of workers until `end` or a request to stop; then cancels all jobs.
    ///
    /// # Errors
    /// `Unreachable` if jobs cannot be submitted, or end at once again and again.
    pub async fn run(
        mut self,
        mut requests: Receiver<Asked>,
        end: impl Future<Output = ()>,
    ) -> Result<()> {
        let mut end = pin!(end);
        let ended = loop {
            let more = match self.look().await {
                Ok(more) => more,
                Err(error) => break Err(error),
            };
            let wait = if more { Duration::ZERO } else { self.kept.pace.poll };
            match self.wait(wait, &mut requests, end.as_mut()).await {
                Next::Look => {}
                Next::End(reply) => break Ok(reply),
            }
        };
        let cancelled = self.cancel_all().await;
        if let Some(reply) = ended? {
            let text = cancelled.as_ref().map(|count| format!("cancelled {count} jobs\n"));
            let _ = reply.send(text.map_err(Error::copy));
        }
        cancelled.map(|_| ())
    }

    /// Answers users until it is time for the next look.
    async fn wait(
        &mut self,
        time: Duration,
        requests: &mut Receiver<Asked>,
        mut end: Pin<&mut impl Future<Output = ()>>,
    ) -> Next {
        let mut sleep = pin!(tokio::time::sleep(time));
        loop {
            let Asked { request, reply } = tokio::select! {
                biased;
                () = &mut end => return Next::End(None),
                Some(asked) = requests.recv() => asked,
                () = &mut sleep => return Next::Look,
            };
            // a user who did not wait gets no answer
            match request {
                Request::Stop => return Next::End(Some(reply)),
                Request::Status => drop(reply.send(self.status().await)),
                Request::Scale(wanted) => {
                    let _ = reply.send(Ok(self.scale(wanted)));
                    return Next::Look;
                }
            }
        }
    }

    /// One look; gives back whether to look again at once.
    async fn look(&mut self) -> Result<bool> {
        let listed = match self.kept.queue.list(&self.jobs.ids()).await {
            Ok(listed) => listed,
            Err(error) => {
                if !std::mem::replace(&mut self.queue_is_silent, true) {
                    self.say(&format!("the queue does not tell its jobs, trying again: {error}"));
                }
                return Ok(false);
            }
        };
        self.queue_is_silent = false;
        let members = self.kept.members.executors().await;
        let changes = self.jobs.take_in(&listed, &members, Instant::now(), &self.kept.pace);
        self.tell(&changes)?;
        self.adapt(&members).await;
        if self.jobs.count() > self.kept.wanted {
            self.shrink(&members).await?;
        }
        self.grow().await
    }

    /// Says what became of the jobs, and draws the consequences.
    fn tell(&mut self, changes: &Changes) -> Result<()> {
        if changes.proven {
            self.failures.clear();
            self.has_given_up = false;
        }
        let first = (self.jobs.joined() + 1).saturating_sub(changes.joined.len());
        for (position, name) in changes.joined.iter().enumerate() {
            let wanted = self.kept.wanted;
            self.say(&format!("worker {name} joined ({} of {wanted})", first + position));
        }
        for Ended { id, word, .. } in &changes.ended {
            self.say(&format!("job {id} ended ({word})"));
        }
        if let Some(Ended { id, word, .. }) = changes.ended.iter().rfind(|ended| ended.failed) {
            self.last_failure = format!("job {id} ({word}): {}", self.kept.folder.log_tail(id));
            self.count_failure();
        }
        match changes.ended.is_empty() {
            true => Ok(()),
            false => self.write(),
        }
    }

    fn count_failure(&mut self) {
        let wait = self.failures.count(Instant::now(), &self.kept.pace);
        if !self.failures.are_too_many(&self.kept.pace) {
            self.say(&format!(
                "{}\nnext try in {:.0?} (round {} of {})",
                self.last_failure,
                wait,
                self.failures.rounds() + 1,
                self.kept.pace.rounds_max
            ));
        }
    }

    /// Changes the number of workers by the work at hand.
    async fn adapt(&mut self, members: &[Member]) {
        let Some(adaptive) = &mut self.kept.adaptive else { return };
        let load = Load {
            pending_tasks: self.kept.members.pending_tasks().await,
            running_tasks: members.iter().map(|member| member.running_tasks).sum(),
            cores: self.kept.cores,
        };
        let before = self.kept.wanted;
        self.kept.wanted = adaptive.decide(Instant::now(), load, before);
        if self.kept.wanted != before {
            self.say(&format!(
                "{} tasks wait and {} run: {before} workers become {}",
                load.pending_tasks, load.running_tasks, self.kept.wanted
            ));
        }
    }

    /// Cancels jobs of which there are too many.
    async fn shrink(&mut self, members: &[Member]) -> Result<()> {
        let surplus = self.jobs.count().saturating_sub(self.kept.wanted);
        let ids = self.jobs.to_cancel(surplus, self.kept.adaptive.is_some(), members);
        if ids.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.kept.queue.cancel(&ids).await {
            self.say(&format!("cannot cancel {}, trying again: {error}", ids.join(", ")));
            return Ok(());
        }
        self.jobs.remove(&ids);
        self.say(&format!("cancelled {}", count_of(&ids)));
        self.write()
    }

    /// Submits jobs of which there are too few; gives back whether there are more to submit.
    async fn grow(&mut self) -> Result<bool> {
        self.check_given_up()?;
        let missing = self.kept.wanted.saturating_sub(self.jobs.count());
        if missing == 0 || !self.failures.allow(Instant::now(), &self.kept.pace) {
            return Ok(false);
        }
        let mut ids = vec![];
        for _ in 0..missing.min(BATCH) {
            match self.kept.queue.submit(self.kept.folder.path()).await {
                Ok(id) => {
                    self.ever_submitted = true;
                    self.jobs.add(&id, Instant::now());
                    ids.push(id);
                    self.write()?;
                }
                // the user's flags, most likely
                Err(error) if !self.ever_submitted => return Err(error),
                Err(error) => {
                    self.last_failure = error.to_string();
                    self.count_failure();
                    return Ok(false);
                }
            }
        }
        self.say(&format!("submitted {}", count_of(&ids)));
        Ok(missing > BATCH)
    }

    /// Ends if no job is left and none shall be submitted; goes on with those that run.
    fn check_given_up(&mut self) -> Result<()> {
        if !self.failures.are_too_many(&self.kept.pace) {
            return Ok(());
        }
        let text = format!(
            "jobs failed {} times in a row, the last of them {}",
            self.failures.rounds(),
            self.last_failure
        );
        if self.jobs.count() == 0 {
            return Err(Error::unreachable(format!("{text}\nmend the cause, and start again")));
        }
        if !std::mem::replace(&mut self.has_given_up, true) {
            self.say(&format!(
                "{text}\nno more are submitted, and the others go on; mend the cause, then \
                 `almagest cluster scale N` tries again"
            ));
        }
        Ok(())
    }

    fn scale(&mut self, wanted: usize) -> String {
        let before = std::mem::replace(&mut self.kept.wanted, wanted);
        self.failures.clear();
        self.has_given_up = false;
        let fixed = match self.kept.adaptive.take() {
            Some(_) => "; --min and --max no longer count",
            None => "",
        };
        self.say(&format!("asked for {wanted} workers instead of {before}{fixed}"));
        format!("{wanted} workers instead of {before}{fixed}\n")
    }

    async fn status(&self) -> Result<String> {
        let ids = self.jobs.ids();
        let listed = self.kept.queue.list(&ids).await?;
        let members = self.kept.members.executors().await;
        let kind = self.kept.queue.kind();
        let joined = ids.iter().map(|id| kind.executor_name(id));
        let joined = joined.filter(|name| members.iter().any(|member| member.name == *name));
        let mut text = format!(
            "{}: {} of {} workers joined {}\n",
            kind.name(),
            joined.count(),
            self.kept.wanted,
            self.kept.state.url
        );
        if self.failures.rounds() > 0 {
            text.push_str(&format!("the last failure was {}\n", self.last_failure));
        }
        text.push_str(&table(kind, &ids, &listed, Some(&members)));
        Ok(text)
    }

    /// Cancels all jobs; gives back how many.
    async fn cancel_all(&mut self) -> Result<usize> {
        let ids = self.jobs.ids();
        if ids.is_empty() {
            return Ok(0);
        }
        let mut tries = 1;
        while let Err(error) = self.kept.queue.cancel(&ids).await {
            if tries == CANCEL_TRIES {
                return Err(error);
            }
            tries += 1;
            self.say(&format!("cannot cancel {}, trying again: {error}", count_of(&ids)));
            tokio::time::sleep(self.kept.pace.wait_first).await;
        }
        self.say(&format!("cancelled {}", count_of(&ids)));
        self.jobs.remove(&ids);
        self.write()?;
        Ok(ids.len())
    }

    fn write(&mut self) -> Result<()> {
        self.kept.state.jobs = self.jobs.ids();
        self.kept.folder.keep(&self.kept.state)
    }

    fn say(&self, text: &str) {
        (self.kept.say)(text);
    }
}

/// `job 7`, `3 jobs: 7, 8, 9`.
pub fn count_of(ids: &[String]) -> String {
    match ids {
        [id] => format!("job {id}"),
        _ => format!("{} jobs: {}", ids.len(), ids.join(", ")),
    }
}

#[cfg(test)]
mod tests;
