//! The jobs of a cluster, and what was seen of each.
//!
//! In: what the queue lists and who joined. Out: what changed since the last look. A job that the
//! queue no longer lists counts as gone after some time, as listings may lag behind submissions.

use std::time::Instant;

use super::choice::{Candidate, to_cancel};
use super::members::Member;
use super::pacing::Pace;
use super::queue::{Job, JobState, QueueKind};

/// The jobs that are there, in the order of their submission.
#[derive(Debug)]
pub struct Jobs {
    kind: QueueKind,
    tracked: Vec<Tracked>,
}

/// A job, and what was seen of it.
#[derive(Debug)]
struct Tracked {
    id: String,
    /// When the queue last listed it.
    seen: Instant,
    state: JobState,
    /// When it was first seen to run.
    started: Option<Instant>,
    joined: bool,
    /// Whether it ran for long enough to count as well.
    proven: bool,
}

/// What changed between two looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The executors that joined.
    pub joined: Vec<String>,
    /// The jobs that ended.
    pub ended: Vec<Ended>,
    /// Whether a job ran for long enough to count as well.
    pub proven: bool,
}

/// A job that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its id.
    pub id: String,
    /// The queue's word for how it ended.
    pub word: String,
    /// Whether it ended too soon.
    pub failed: bool,
}

impl Jobs {
    /// No jobs of a queue.
    pub fn new(kind: QueueKind) -> Self {
        Self { kind, tracked: vec![] }
    }

    /// A job was submitted.
    pub fn add(&mut self, id: &str, now: Instant) {
        self.tracked.push(Tracked {
            id: id.into(),
            seen: now,
            state: JobState::Queued,
            started: None,
            joined: false,
            proven: false,
        });
    }

    /// These jobs are no longer ours.
    pub fn remove(&mut self, ids: &[String]) {
        self.tracked.retain(|tracked| !ids.contains(&tracked.id));
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.tracked.len()
    }

    /// How many executors joined.
    pub fn joined(&self) -> usize {
        self.tracked.iter().filter(|tracked| tracked.joined).count()
    }

    /// Their ids.
    pub fn ids(&self) -> Vec<String> {
        self.tracked.iter().map(|tracked| tracked.id.clone()).collect()
    }

    /// Takes in what the queue and the scheduler say; gives back what changed.
    pub fn take_in(
        &mut self,
        listed: &[Job],
        members: &[Member],
        now: Instant,
        pace: &Pace,
    ) -> Changes {
        let mut changes = Changes::default();
        for tracked in &mut self.tracked {
            let job = listed.iter().find(|job| job.id == tracked.id);
            tracked.take_in(job, now, pace, &mut changes);
            let name = self.kind.executor_name(&tracked.id);
            if !tracked.joined && members.iter().any(|member| member.name == name) {
                tracked.joined = true;
                changes.joined.push(name);
            }
        }
        self.tracked.retain(|tracked| tracked.state != JobState::Ended);
        changes
    }

    /// The ids of at most `count` jobs that may go ([`to_cancel`]).
    pub fn to_cancel(&self, count: usize, spare: bool, members: &[Member]) -> Vec<String> {
        let candidate = |tracked: &'_ Tracked| {
            let name = self.kind.executor_name(&tracked.id);
            members.iter().find(|member| member.name == name)
        };
        let candidates: Vec<Candidate<'_>> = self
            .tracked
            .iter()
            .map(|tracked| Candidate {
                id: &tracked.id,
                state: tracked.state,
                member: candidate(tracked),
            })
            .collect();
        to_cancel(&candidates, count, spare)
    }
}

impl Tracked {
    fn take_in(&mut self, job: Option<&Job>, now: Instant, pace: &Pace, changes: &mut Changes) {
        if let Some(job) = job {
            (self.seen, self.state) = (now, job.state);
        } else if now.saturating_duration_since(self.seen) > pace.grace {
            self.state = JobState::Ended;
        }
        if self.state == JobState::Running {
            self.started.get_or_insert(now);
        }
        // seen alive: a job that ended may have done so right after the last look
        let life = self.started.map(|started| self.seen.saturating_duration_since(started));
        if !self.proven && life.is_some_and(|life| life >= pace.short_life) {
            self.proven = true;
            changes.proven = true;
        }
        if self.state == JobState::Ended {
            let word = job.map_or("no longer listed", |job| job.word.as_str());
            let (id, word) = (self.id.clone(), word.to_string());
            changes.ended.push(Ended { id, word, failed: !self.proven });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn job(id: &str, state: JobState) -> Job {
        Job { id: id.into(), state, word: format!("{state:?}"), reason: None, node: None }
    }

    #[test]
    fn a_job_that_is_not_listed_is_gone_after_a_while() {
        let (pace, start) = (Pace::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut jobs = Jobs::new(QueueKind::Slurm);
        jobs.add("7", start);
        assert_eq!(jobs.take_in(&[], &[], at(20), &pace), Changes::default());
        let listed = [job("7", JobState::Queued), job("99", JobState::Running)];
        jobs.take_in(&listed, &[], at(25), &pace);
        assert_eq!(jobs.take_in(&[], &[], at(50), &pace).ended, []);
        let ended = jobs.take_in(&[], &[], at(56), &pace).ended;
        let word = "no longer listed".into();
        assert_eq!(ended, [Ended { id: "7".into(), word, failed: true }]);
        assert_eq!(jobs.count(), 0);
    }

    #[test]
    fn a_job_that_ran_for_long_did_not_fail() {
        let (pace, start) = (Pace::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut jobs = Jobs::new(QueueKind::Slurm);
        jobs.add("7", start);
        jobs.add("8", start);
        let runs = [job("7", JobState::Running), job("8", JobState::Queued)];
        jobs.take_in(&runs, &[], at(1), &pace);
        assert!(!jobs.take_in(&runs, &[], at(60), &pace).proven);
        assert!(jobs.take_in(&runs, &[], at(61), &pace).proven);
        assert!(!jobs.take_in(&runs, &[], at(62), &pace).proven);
        let ends = [job("7", JobState::Ended), job("8", JobState::Ended)];
        let changes = jobs.take_in(&ends, &[], at(70), &pace);
        let failed: Vec<bool> = changes.ended.iter().map(|ended| ended.failed).collect();
        assert_eq!(failed, [false, true]);
    }

    #[test]
    fn an_executor_joins_once() {
        let member =
            Member { name: "slurm-7".into(), cores: 1, running_tasks: 0, holds_needed_data: false };
        let mut jobs = Jobs::new(QueueKind::Slurm);
        jobs.add("7", Instant::now());
        let mut look = || {
            jobs.take_in(&[], std::slice::from_ref(&member), Instant::now(), &Pace::default())
                .joined
        };
        assert_eq!((look(), look()), (vec!["slurm-7".to_string()], vec![]));
        assert_eq!(jobs.joined(), 1);
    }
}
