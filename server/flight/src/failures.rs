//! Log-ins that failed: whoever fails often must wait.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long a failure counts that is followed by no other.
const WINDOW: Duration = Duration::from_secs(60);
/// The first wait, which doubles with each failure, and the longest.
const WAIT: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));
/// Keys that are remembered.
const KEYS_MAX: usize = 10_000;

/// Counts failures by key: an address, a user's name at it.
#[derive(Debug)]
pub struct Failures {
    /// Failures of a key without a wait.
    free: u32,
    known: Mutex<HashMap<String, Failed>>,
}

#[derive(Clone, Copy, Debug)]
struct Failed {
    count: u32,
    last: Instant,
}

impl Failed {
    /// How long to wait after the last failure.
    fn wait(&self, free: u32) -> Duration {
        match self.count.checked_sub(free) {
            None => Duration::ZERO,
            Some(more) => WAIT.0.saturating_mul(1 << more.min(16)).min(WAIT.1),
        }
    }

    fn is_over(&self, free: u32, now: Instant) -> bool {
        now.duration_since(self.last) > self.wait(free).max(WINDOW)
    }
}

impl Failures {
    /// From the failure with this number on, a key must wait.
    pub fn new(free: u32) -> Self {
        Self { free, known: Mutex::default() }
    }

    /// Whether a key may try now.
    ///
    /// # Errors
    /// How long it must wait.
    pub fn check(&self, key: &str, now: Instant) -> Result<(), Duration> {
        let known = self.known.lock();
        let Some(failed) = known.get(key) else { return Ok(()) };
        let waited = now.duration_since(failed.last);
        match failed.wait(self.free).checked_sub(waited) {
            Some(rest) if rest > Duration::ZERO => Err(rest),
            _ => Ok(()),
        }
    }

    /// Counts a failure.
    pub fn failed(&self, key: &str, now: Instant) {
        let mut known = self.known.lock();
        if known.len() >= KEYS_MAX && !known.contains_key(key) {
            known.retain(|_, failed| !failed.is_over(self.free, now));
            if known.len() >= KEYS_MAX {
                let oldest = known.iter().min_by_key(|(_, failed)| failed.last);
                let oldest = oldest.map(|(key, _)| key.clone());
                oldest.and_then(|key| known.remove(&key));
            }
        }
        let failed = known.entry(key.into()).or_insert(Failed { count: 0, last: now });
        if failed.is_over(self.free, now) {
            failed.count = 0;
        }
        failed.count += 1;
        failed.last = now;
    }

    /// Forgets the failures of a key.
    pub fn succeeded(&self, key: &str) {
        self.known.lock().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn whoever_fails_often_must_wait_and_then_may_try_again() {
        let (failures, start) = (Failures::new(5), Instant::now());
        for _ in 0..4 {
            failures.failed("a", start);
            assert_eq!(failures.check("a", start), Ok(()));
        }
        failures.failed("a", start);
        assert_eq!(failures.check("a", start), Err(2 * SECOND));
        assert_eq!(failures.check("a", start + SECOND), Err(SECOND));
        assert_eq!(failures.check("a", start + 2 * SECOND), Ok(()));
        assert_eq!(failures.check("b", start), Ok(()));
        failures.failed("a", start + 2 * SECOND);
        assert_eq!(failures.check("a", start + 2 * SECOND), Err(4 * SECOND));
        for _ in 0..50 {
            failures.failed("a", start);
        }
        assert_eq!(failures.check("a", start), Err(300 * SECOND));
        failures.succeeded("a");
        assert_eq!(failures.check("a", start), Ok(()));
    }

    #[test]
    fn old_failures_are_forgotten() {
        let (failures, start) = (Failures::new(5), Instant::now());
        for minute in 0..20 {
            failures.failed("a", start + minute * 61 * SECOND);
        }
        assert_eq!(failures.check("a", start + 19 * 61 * SECOND), Ok(()));
    }

    #[test]
    fn memory_is_bounded() {
        let (failures, start) = (Failures::new(5), Instant::now());
        for key in 0..KEYS_MAX as u32 + 5 {
            failures.failed(&key.to_string(), start + key * Duration::from_millis(1));
        }
        let known = failures.known.lock();
        assert_eq!(known.len(), KEYS_MAX);
        assert!(!known.contains_key("0") && known.contains_key("10004"));
    }
}
