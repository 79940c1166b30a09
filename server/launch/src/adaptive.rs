//! How many workers the work at hand is worth.
//!
//! In: tasks that wait and run, and the time. Out: a number of workers. Up at once, down only after
//! a quiet period, to the most that was worth having in it. Not here: which jobs go (`choice.rs`).

use std::time::{Duration, Instant};

/// The fewest and the most workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The fewest.
    pub min: usize,
    /// The most.
    pub max: usize,
}

/// What there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Tasks that wait for a place.
    pub pending_tasks: usize,
    /// Tasks that run.
    pub running_tasks: usize,
    /// Tasks that one worker runs at once.
    pub cores: usize,
}

/// Remembers a quiet period.
#[derive(Clone, Debug)]
pub struct Adaptive {
    limits: Limits,
    quiet: Duration,
    low: Option<Low>,
}

/// Since when less was enough, and how many workers would have been at most.
#[derive(Clone, Copy, Debug)]
struct Low {
    since: Instant,
    most: usize,
}

impl Load {
    /// Workers for all tasks at once.
    pub fn workers(self, limits: Limits) -> usize {
        let tasks = self.pending_tasks.saturating_add(self.running_tasks);
        tasks.div_ceil(self.cores.max(1)).max(limits.min).min(limits.max)
    }
}

impl Adaptive {
    /// Stays within `limits`; goes down after as long a time as `quiet`.
    pub fn new(limits: Limits, quiet: Duration) -> Self {
        Self { limits, quiet, low: None }
    }

    /// How many workers there should be, where `current` were wanted until now.
    pub fn decide(&mut self, now: Instant, load: Load, current: usize) -> usize {
        let worth = load.workers(self.limits);
        let within = current.max(self.limits.min).min(self.limits.max);
        if worth >= within {
            self.low = None;
            return worth;
        }
        let low = self.low.get_or_insert(Low { since: now, most: worth });
        low.most = low.most.max(worth);
        if now.saturating_duration_since(low.since) < self.quiet {
            return within;
        }
        let most = low.most;
        self.low = None;
        most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { min: 1, max: 8 };
    const QUIET: Duration = Duration::from_secs(60);

    fn load(pending_tasks: usize, running_tasks: usize) -> Load {
        Load { pending_tasks, running_tasks, cores: 4 }
    }

    #[test]
    fn work_is_worth_workers_within_limits() {
        assert_eq!(load(0, 0).workers(LIMITS), 1);
        assert_eq!(load(1, 4).workers(LIMITS), 2);
        assert_eq!(load(1000, 4).workers(LIMITS), 8);
        assert_eq!(load(usize::MAX, 4).workers(LIMITS), 8);
        let idle = Limits { min: 0, max: 8 };
        assert_eq!(load(0, 0).workers(idle), 0);
        assert_eq!(Load { cores: 0, ..load(2, 0) }.workers(LIMITS), 2);
    }

    #[test]
    fn it_goes_up_at_once_and_down_after_a_quiet_period() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut adaptive = Adaptive::new(LIMITS, QUIET);
        assert_eq!(adaptive.decide(at(0), load(20, 0), 1), 5);
        assert_eq!(adaptive.decide(at(10), load(0, 0), 5), 5);
        assert_eq!(adaptive.decide(at(69), load(0, 0), 5), 5);
        assert_eq!(adaptive.decide(at(70), load(0, 0), 5), 1);
    }

    #[test]
    fn work_ends_a_quiet_period() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut adaptive = Adaptive::new(LIMITS, QUIET);
        assert_eq!(adaptive.decide(at(0), load(0, 0), 4), 4);
        assert_eq!(adaptive.decide(at(50), load(12, 4), 4), 4);
        assert_eq!(adaptive.decide(at(60), load(0, 0), 4), 4);
        assert_eq!(adaptive.decide(at(110), load(0, 9), 4), 4);
        assert_eq!(adaptive.decide(at(120), load(0, 0), 4), 3);
    }

    #[test]
    fn a_number_outside_the_limits_comes_back() {
        let mut adaptive = Adaptive::new(LIMITS, QUIET);
        assert_eq!(adaptive.decide(Instant::now(), load(0, 0), 0), 1);
        assert_eq!(adaptive.decide(Instant::now(), load(0, 0), 20), 8);
    }
}
