//! How often to look and to submit, and when to give up.
//!
//! Jobs that end as they start are replaced ever more slowly, and after some rounds no more. All
//! that fail between two looks count as one round, as they often have one cause.

use std::time::{Duration, Instant};

/// Times and limits of a keeper.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between two looks at the queue.
    pub poll: Duration,
    /// After which a job that the queue does not list is gone.
    pub grace: Duration,
    /// A job that ran for less has failed.
    pub short_life: Duration,
    /// Before the first replacement of a failed job; twice as long before each further one.
    pub wait_first: Duration,
    /// At most so long before a replacement.
    pub wait_longest: Duration,
    /// Rounds of failures after which no job is submitted.
    pub rounds_max: u32,
    /// How long less work must last before there are fewer workers.
    pub quiet: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(10),
            grace: Duration::from_secs(30),
            short_life: Duration::from_secs(60),
            wait_first: Duration::from_secs(5),
            wait_longest: Duration::from_secs(300),
            rounds_max: 5,
            quiet: Duration::from_secs(120),
        }
    }
}

/// Counts rounds of failures.
#[derive(Clone, Copy, Debug, Default)]
pub struct Failures {
    rounds: u32,
    not_before: Option<Instant>,
}

impl Failures {
    /// Jobs failed once more; gives back how long to wait.
    pub fn count(&mut self, now: Instant, pace: &Pace) -> Duration {
        let factor = 2_u32.saturating_pow(self.rounds.min(20));
        self.rounds = self.rounds.saturating_add(1);
        let wait = pace.wait_first.saturating_mul(factor).min(pace.wait_longest);
        self.not_before = Some(now + wait);
        wait
    }

    /// A job did well, or the user tries again.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Rounds without a job that did well.
    pub fn rounds(&self) -> u32 {
        self.rounds
    }

    /// Whether to submit no more.
    pub fn are_too_many(&self, pace: &Pace) -> bool {
        self.rounds >= pace.rounds_max
    }

    /// Whether jobs may be submitted.
    pub fn allow(&self, now: Instant, pace: &Pace) -> bool {
        !self.are_too_many(pace) && self.not_before.is_none_or(|time| time <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit() {
        let pace = Pace { rounds_max: 100, ..Pace::default() };
        let (now, mut failures) = (Instant::now(), Failures::default());
        let waits: Vec<u64> = (0..8).map(|_| failures.count(now, &pace).as_secs()).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300]);
        for _ in 0..80 {
            failures.count(now, &pace);
        }
        assert!(!failures.allow(now, &pace));
        assert!(failures.allow(now + pace.wait_longest, &pace));
    }

    #[test]
    fn after_some_rounds_it_gives_up() {
        let (now, pace, mut failures) = (Instant::now(), Pace::default(), Failures::default());
        for _ in 0..5 {
            assert!(!failures.are_too_many(&pace));
            failures.count(now, &pace);
        }
        assert!(failures.are_too_many(&pace));
        assert!(!failures.allow(now + Duration::from_secs(3600), &pace));
        failures.clear();
        assert!(failures.allow(now, &pace));
    }
}
