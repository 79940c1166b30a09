//! Which jobs go when there are too many.
//!
//! Queued ones first, the newest of them; then those that did not join; then idle ones. One that
//! holds shuffled data which a query still needs, or runs tasks, goes only if a user said how many
//! there should be, and last.

use super::members::Member;
use super::queue::JobState;

/// What is known of a job that could go.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its state, as far as the queue told.
    pub state: JobState,
    /// Its executor, if it joined.
    pub member: Option<&'a Member>,
}

/// The ids of at most `count` jobs, out of those in the order of their submission. `spare` leaves
/// out those whose end would cost a query work.
pub fn to_cancel(jobs: &[Candidate<'_>], count: usize, spare: bool) -> Vec<String> {
    let cost = |job: &Candidate<'_>| match (job.state, job.member) {
        (JobState::Queued, _) => 0,
        (_, None) => 1,
        (_, Some(member)) if member.holds_needed_data => 4,
        (_, Some(member)) if member.running_tasks > 0 => 3,
        (_, Some(_)) => 2,
    };
    let mut ranked: Vec<_> = jobs.iter().rev().map(|job| (cost(job), job.id)).collect();
    ranked.retain(|(cost, _)| !spare || *cost < 3);
    // stable: the newest of equals stays in front
    ranked.sort_by_key(|(cost, _)| *cost);
    ranked.into_iter().take(count).map(|(_, id)| id.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(running_tasks: usize, holds_needed_data: bool) -> Member {
        Member { name: "x".into(), cores: 4, running_tasks, holds_needed_data }
    }

    #[test]
    fn queued_jobs_go_first_and_needed_ones_last() {
        let (idle, busy, holds) = (member(0, false), member(2, false), member(0, true));
        let job = |id, state, member| Candidate { id, state, member };
        let jobs = [
            job("holds", JobState::Running, Some(&holds)),
            job("busy", JobState::Running, Some(&busy)),
            job("idle", JobState::Running, Some(&idle)),
            job("starting", JobState::Running, None),
            job("queued", JobState::Queued, None),
            job("queued later", JobState::Queued, None),
        ];
        let order = ["queued later", "queued", "starting", "idle", "busy", "holds"];
        assert_eq!(to_cancel(&jobs, 9, false), order);
        assert_eq!(to_cancel(&jobs, 9, true), order[..4]);
        assert_eq!(to_cancel(&jobs, 1, true), order[..1]);
        assert!(to_cancel(&[], 3, false).is_empty());
    }
}
