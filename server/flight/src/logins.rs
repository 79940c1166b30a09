//! Tokens that the server gives to clients that log in.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::users::{digest, random_token};

/// What each token that is good stands for. Tokens themselves are not kept.
#[derive(Debug)]
pub struct Logins<T> {
    idle_max: Duration,
    life_max: Duration,
    count_max: usize,
    /// Whether something is used though nobody asks for it.
    is_used: fn(&T) -> bool,
    known: Mutex<HashMap<[u8; 32], Login<T>>>,
}

#[derive(Debug)]
struct Login<T> {
    value: Arc<T>,
    begun: Instant,
    used: Instant,
}

impl<T> Logins<T> {
    /// At most `count_max`, good for `life_max` and as long as they are used every `idle_max`.
    pub fn new(
        idle_max: Duration,
        life_max: Duration,
        count_max: usize,
        is_used: fn(&T) -> bool,
    ) -> Self {
        Self { idle_max, life_max, count_max, is_used, known: Mutex::default() }
    }

    fn is_good(&self, login: &Login<T>, now: Instant) -> bool {
        now.duration_since(login.begun) < self.life_max
            && (now.duration_since(login.used) < self.idle_max || (self.is_used)(&login.value))
    }

    /// A new token.
    ///
    /// # Errors
    /// Why there is none.
    pub fn issue(&self, value: Arc<T>, now: Instant) -> Result<String, String> {
        let token = random_token()?;
        let mut known = self.known.lock();
        if known.len() >= self.count_max {
            return Err(format!(
                "{} sessions are open, and more this server does not take; try again later",
                self.count_max
            ));
        }
        known.insert(digest(&token), Login { value, begun: now, used: now });
        Ok(token)
    }

    /// What a token stands for, if it is good.
    pub fn find(&self, token: &str, now: Instant) -> Option<Arc<T>> {
        // looked up by its digest, from whose place in memory nothing of the token is learnt
        let mut known = self.known.lock();
        let login = known.get_mut(&digest(token))?;
        if !self.is_good(login, now) {
            return None;
        }
        login.used = now;
        Some(Arc::clone(&login.value))
    }

    /// Ends a token; `false` if there is none.
    pub fn close(&self, token: &str) -> bool {
        self.known.lock().remove(&digest(token)).is_some()
    }

    /// What all tokens stand for.
    pub fn all(&self) -> Vec<Arc<T>> {
        self.known.lock().values().map(|login| Arc::clone(&login.value)).collect()
    }

    /// Takes out those that are good no more.
    pub fn sweep(&self, now: Instant) -> Vec<Arc<T>> {
        let mut known = self.known.lock();
        // when that ends, it has been used until now
        let used = known.values_mut().filter(|login| (self.is_used)(&login.value));
        used.for_each(|login| login.used = now);
        let over = known.extract_if(|_, login| !self.is_good(login, now));
        over.map(|(_, login)| login.value).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_token_is_good_while_it_is_used_but_not_for_ever() {
        let (logins, start) = (Logins::new(10 * MINUTE, 30 * MINUTE, 2, |_| false), Instant::now());
        let token = logins.issue(Arc::new(7), start).unwrap();
        let other = logins.issue(Arc::new(8), start).unwrap();
        assert!(logins.issue(Arc::new(9), start).is_err());
        assert_ne!(token, other);
        assert_eq!(logins.find("nothing", start), None);
        for minute in [9, 18, 27] {
            assert_eq!(logins.find(&token, start + minute * MINUTE).as_deref(), Some(&7));
        }
        assert_eq!(logins.find(&other, start + 11 * MINUTE), None);
        assert_eq!(logins.find(&token, start + 31 * MINUTE), None);
        assert_eq!(logins.sweep(start + 12 * MINUTE), [Arc::new(8)]);
        assert!(logins.close(&token));
        assert!(!logins.close(&token));
        assert_eq!(logins.find(&token, start), None);
    }
    #[test]
    fn what_is_used_is_not_idle() {
        let is_used = |value: &AtomicBool| value.load(Ordering::Relaxed);
        let logins = Logins::new(10 * MINUTE, 60 * MINUTE, 2, is_used);
        let (start, value) = (Instant::now(), Arc::new(AtomicBool::new(true)));
        let token = logins.issue(Arc::clone(&value), start).unwrap();
        assert!(logins.sweep(start + 20 * MINUTE).is_empty());
        value.store(false, Ordering::Relaxed);
        // it has been used until the last look
        assert!(logins.sweep(start + 29 * MINUTE).is_empty());
        assert_eq!(logins.sweep(start + 31 * MINUTE).len(), 1);
        assert!(logins.find(&token, start + 31 * MINUTE).is_none());
        let token = logins.issue(value, start).unwrap();
        logins.find(&token, start).unwrap().store(true, Ordering::Relaxed);
        assert!(logins.find(&token, start + 20 * MINUTE).is_some());
        assert_eq!(logins.sweep(start + 60 * MINUTE).len(), 1);
    }
}
