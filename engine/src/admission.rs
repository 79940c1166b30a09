//! Which queries run, which wait, and which are sent away.
//!
//! Queries run in the order in which they came, but one of a session that has its share already lets
//! those behind it pass. A scheduler and a server that others reach let queries in by it. Not here: running
//! them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{Error, Result};

/// One in so many of the places of those that wait are those of one session.
const WAITING_OF_ONE: usize = 2;

/// What all queries together, and one, may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Queries that run at once.
    pub running_max: usize,
    /// Queries that wait; more are refused.
    pub waiting_max: usize,
    /// Queries of one session that run at once.
    pub session_max: usize,
    /// The time that a query may run.
    pub time_max: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { running_max: 16, waiting_max: 1000, session_max: 16, time_max: None }
    }
}

/// Lets queries in.
#[derive(Debug)]
pub struct Admission {
    limits: Limits,
    queries: Mutex<Queries>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Queries {
    /// How many run, by session.
    running: HashMap<String, usize>,
    /// Those that wait, with a number each.
    waiting: VecDeque<(u64, String)>,
    last: u64,
}

impl Queries {
    fn may_run(&self, session: &str, limits: &Limits) -> bool {
        let all: usize = self.running.values().sum();
        let own = self.running.get(session).copied().unwrap_or(0);
        all < limits.running_max && own < limits.session_max
    }

    /// The query that is next.
    fn next(&self, limits: &Limits) -> Option<u64> {
        let found = self.waiting.iter().find(|(_, session)| self.may_run(session, limits));
        found.map(|(number, _)| *number)
    }
}

/// A query that runs. Dropped, the next may.
#[derive(Debug)]
pub struct Pass {
    admission: Arc<Admission>,
    session: String,
}

impl Admission {
    /// Nothing runs yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, queries: Mutex::default(), changed: Notify::new() }
    }

    /// The limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Waits until a query of `session` may run. Whoever no longer waits leaves the queue.
    ///
    /// # Errors
    /// `Exhausted` if too many wait already.
    pub async fn enter(self: &Arc<Self>, session: &str) -> Result<Pass> {
        let waiting = self.wait(session)?;
        loop {
            let changed = self.changed.notified();
            if let Some(pass) = waiting.pass() {
                return Ok(pass);
            }
            changed.await;
        }
    }

    fn wait(self: &Arc<Self>, session: &str) -> Result<Waiting> {
        let mut queries = self.queries.lock();
        let waits = queries.waiting.len();
        let own = queries.waiting.iter().filter(|(_, waiting)| waiting == session).count();
        let own_max = (self.limits.waiting_max / WAITING_OF_ONE).max(1);
        if waits >= self.limits.waiting_max && !queries.may_run(session, &self.limits) {
            let running: usize = queries.running.values().sum();
            return Err(Error::exhausted(format!(
                "{running} queries run and {waits} wait, and more are not taken; try again later, or \
                 let --max-queries and --max-queued be larger"
            )));
        }
        if own >= own_max && !queries.may_run(session, &self.limits) {
            return Err(Error::exhausted(format!(
                "{own} queries of this session, user or address wait already, and more of one are not \
                 taken; try again later"
            )));
        }
        queries.last += 1;
        let number = queries.last;
        queries.waiting.push_back((number, session.into()));
        Ok(Waiting { admission: Arc::clone(self), session: session.into(), number })
    }
}

/// A place in the queue. Dropped, it is given up.
struct Waiting {
    admission: Arc<Admission>,
    session: String,
    number: u64,
}

impl Waiting {
    fn pass(&self) -> Option<Pass> {
        let mut queries = self.admission.queries.lock();
        if queries.next(&self.admission.limits) != Some(self.number) {
            return None;
        }
        *queries.running.entry(self.session.clone()).or_default() += 1;
        Some(Pass { admission: Arc::clone(&self.admission), session: self.session.clone() })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let number = self.number;
        self.admission.queries.lock().waiting.retain(|(waiting, _)| *waiting != number);
        self.admission.changed.notify_waiters();
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut queries = self.admission.queries.lock();
        if let Some(running) = queries.running.get_mut(&self.session) {
            *running -= 1;
            if *running == 0 {
                queries.running.remove(&self.session);
            }
        }
        drop(queries);
        self.admission.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn admission(running_max: usize, waiting_max: usize, session_max: usize) -> Arc<Admission> {
        let limits = Limits { running_max, waiting_max, session_max, time_max: None };
        Arc::new(Admission::new(limits))
    }

    #[tokio::test]
    async fn queries_run_in_the_order_in_which_they_came() {
        let admission = admission(1, 10, 10);
        let first = admission.enter("a").await.unwrap();
        let (mut second, mut third) =
            (Box::pin(admission.enter("a")), Box::pin(admission.enter("b")));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        drop(first);
        assert!(third.as_mut().now_or_never().is_none());
        let second = second.await.unwrap();
        assert!(third.as_mut().now_or_never().is_none());
        drop(second);
        third.await.unwrap();
    }

    #[tokio::test]
    async fn a_session_with_its_share_lets_others_pass() {
        let admission = admission(2, 10, 1);
        let first = admission.enter("a").await.unwrap();
        let mut second = Box::pin(admission.enter("a"));
        assert!(second.as_mut().now_or_never().is_none());
        let other = admission.enter("b").await.unwrap();
        drop(first);
        second.await.unwrap();
        drop(other);
    }

    #[tokio::test]
    async fn one_session_does_not_fill_the_queue() {
        let admission = admission(1, 4, 1);
        let _first = admission.enter("a").await.unwrap();
        let mut waiting: Vec<_> = (0..2).map(|_| Box::pin(admission.enter("a"))).collect();
        for one in &mut waiting {
            assert!(one.as_mut().now_or_never().is_none());
        }
        let refused = admission.enter("a").await.unwrap_err();
        assert!(refused.message().contains("wait already"), "{refused}");
        assert!(Box::pin(admission.enter("b")).as_mut().now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_who_leaves_makes_room() {
        let admission = admission(1, 1, 1);
        let first = admission.enter("a").await.unwrap();
        let mut second = Box::pin(admission.enter("b"));
        assert!(second.as_mut().now_or_never().is_none());
        let refused = admission.enter("c").await.unwrap_err();
        assert!(refused.message().contains("1 queries run and 1 wait"), "{refused}");
        drop(second);
        let mut third = Box::pin(admission.enter("c"));
        assert!(third.as_mut().now_or_never().is_none());
        drop(first);
        third.await.unwrap();
        assert!(admission.queries.lock().running.is_empty());
    }
}
