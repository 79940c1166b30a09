//! Where statements are parsed and planned: threads of their own, with stacks that hold what the
//! limits let through ([`crate::sql`]'s on the text, [`size`]'s on plans).
//!
//! In: work that plans. Out: its result, awaited. A thread that serves others or runs queries never
//! plans; whoever no longer waits for a plan ends it, and so does the time that planning may take.
//! DataFusion's planner and rules never yield, so they are asked to look up between two steps:
//! [`watched`] puts [`check`] before each. Not here: what is planned.

mod kept_threads;
#[cfg(test)]
mod shapes;
mod size;
pub(crate) mod watched;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, Either, select};
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

pub(crate) use size::check_size;

use crate::{Error, Result};
use kept_threads::{Job, KeptThreads};

/// The stack of a planning thread. Only what is touched takes memory.
const STACK_BYTES: usize = 256 << 20;

/// Plans that are made at once. Most wait for files, so there may be more than cores.
pub const TURNS: usize = 16;
/// How long making one plan may compute; waiting for files does not count.
const TIME_MAX: Duration = Duration::from_secs(120);

/// How a session plans. Kept in its configuration; sessions of a server share one.
pub struct PlanningThreads {
    turns: Arc<Semaphore>,
    on_start: Option<fn()>,
    time_max: Duration,
    threads: KeptThreads,
}

impl Default for PlanningThreads {
    fn default() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(TURNS)),
            on_start: None,
            time_max: TIME_MAX,
            threads: KeptThreads::default(),
        }
    }
}

impl fmt::Debug for PlanningThreads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlanningThreads").field("time_max", &self.time_max).finish_non_exhaustive()
    }
}

impl PlanningThreads {
    /// Threads that call this first, such as to lower their priority.
    #[must_use]
    pub fn started_by(self, on_start: fn()) -> Self {
        Self { on_start: Some(on_start), ..self }
    }

    /// The time that a plan may take to compute.
    #[must_use]
    pub fn within(self, time_max: Duration) -> Self {
        Self { time_max, ..self }
    }

    /// Does work that plans, on a thread of its own; on a planning thread, there and then.
    ///
    /// # Errors
    /// Those of the work; `Exhausted` if no thread can be started; `Bug` if it panics.
    pub async fn run<T: Send + 'static>(&self, work: BoxFuture<'static, Result<T>>) -> Result<T> {
        if is_here() {
            return work.await;
        }
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let turn = turn.map_err(|_| Error::bug("planning has ended"))?;
        self.begun(work, Some(turn)).await
    }

    /// The same for work that runs what it has planned, and so takes no turn from others.
    ///
    /// # Errors
    /// As [`PlanningThreads::run`].
    pub async fn run_long<T: Send + 'static>(
        &self,
        work: BoxFuture<'static, Result<T>>,
    ) -> Result<T> {
        match is_here() {
            true => work.await,
            false => self.begun(work, None).await,
        }
    }

    async fn begun<T: Send + 'static>(
        &self,
        work: BoxFuture<'static, Result<T>>,
        turn: Option<OwnedSemaphorePermit>,
    ) -> Result<T> {
        let budget = Arc::new(Budget::new(self.time_max));
        let _stop_when_dropped = Stopper(Arc::clone(&budget));
        let (tell, told) = oneshot::channel();
        let runtime = Handle::try_current().ok();
        let job: Job = Box::new(move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| done(work, &budget, runtime)));
            BUDGET.set(None);
            Box::new(move || {
                // dropped here, on a deep stack, if nobody waits for it any more
                let _ = tell.send(outcome);
                drop(turn);
            })
        });
        let started = self.threads.run(job, STACK_BYTES, self.on_start);
        started.map_err(|cause| {
            Error::exhausted(format!("cannot start a thread to plan the statement: {cause}"))
        })?;
        let outcome = told.await.map_err(|_| Error::bug("planning was lost"))?;
        outcome.map_err(|_| Error::bug("planning the statement panicked"))?
    }
}

/// The outcome of work, on a thread that does nothing else meanwhile.
fn done<T>(
    work: BoxFuture<'static, Result<T>>,
    budget: &Arc<Budget>,
    runtime: Option<Handle>,
) -> Result<T> {
    BUDGET.set(Some(Arc::clone(budget)));
    SPENT.set(Duration::ZERO);
    SINCE.set(None);
    let stopped = Box::pin(budget.stop.notified());
    let work = select(Timed(work), stopped);
    let outcome = match runtime {
        Some(runtime) => runtime.block_on(work),
        None => futures::executor::block_on(work),
    };
    match outcome {
        Either::Left((outcome, _)) => outcome,
        Either::Right(((), _)) => Err(stopped_error()),
    }
}

/// What one plan may take.
#[derive(Debug)]
struct Budget {
    stop: Notify,
    is_stopped: AtomicBool,
    time_max: Duration,
}

impl Budget {
    fn new(time_max: Duration) -> Self {
        Self { stop: Notify::new(), is_stopped: AtomicBool::new(false), time_max }
    }
}

/// Ends the work of a budget when nobody waits for it any more.
struct Stopper(Arc<Budget>);

impl Drop for Stopper {
    fn drop(&mut self) {
        self.0.is_stopped.store(true, Ordering::Relaxed);
        self.0.stop.notify_one();
    }
}

thread_local! {
    /// The budget of the plan that this thread makes.
    static BUDGET: RefCell<Option<Arc<Budget>>> = const { RefCell::new(None) };
    /// What it has computed before it waited last, and since when it computes.
    static SPENT: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    static SINCE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Counts the time in which work computes.
struct Timed<T>(BoxFuture<'static, Result<T>>);

impl<T> Future for Timed<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let since = Instant::now();
        SINCE.set(Some(since));
        let outcome = self.0.as_mut().poll(context);
        SINCE.set(None);
        SPENT.set(SPENT.get() + since.elapsed());
        outcome
    }
}

/// Whether to go on: the plan that this thread makes is still waited for, and within its time.
/// Elsewhere than on a planning thread, always.
///
/// # Errors
/// `Cancelled`, `Exhausted`.
pub fn check() -> Result<()> {
    BUDGET.with_borrow(|budget| {
        let Some(budget) = budget else { return Ok(()) };
        if budget.is_stopped.load(Ordering::Relaxed) {
            return Err(stopped_error());
        }
        let computing = SINCE.get().map_or(Duration::ZERO, |since| since.elapsed());
        if SPENT.get() + computing > budget.time_max {
            return Err(Error::exhausted(format!(
                "planning the statement took more than {} s; make it smaller: fewer tables, columns \
                 or operators, or parts of it as tables of their own (CREATE TABLE … AS)",
                budget.time_max.as_secs()
            )));
        }
        Ok(())
    })
}

/// Whether this is a planning thread.
pub(crate) fn is_here() -> bool {
    BUDGET.with_borrow(Option::is_some)
}

fn stopped_error() -> Error {
    Error::cancelled("planning was stopped")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn threads(time_max: Duration) -> PlanningThreads {
        PlanningThreads::default().within(time_max)
    }

    /// Computes until it is told to end.
    fn computing() -> BoxFuture<'static, Result<()>> {
        Box::pin(async {
            loop {
                check()?;
                std::thread::yield_now();
            }
        })
    }

    #[tokio::test]
    async fn planning_ends_when_its_time_is_over() {
        let error = threads(Duration::ZERO).run(computing()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
    }

    #[tokio::test]
    async fn waiting_is_not_computing() {
        let threads = threads(Duration::from_millis(200));
        let waiting = async {
            tokio::time::sleep(Duration::from_millis(400)).await;
            check()
        };
        threads.run(Box::pin(waiting)).await.unwrap();
    }

    #[tokio::test]
    async fn planning_ends_when_nobody_waits_for_it() {
        let threads = threads(TIME_MAX);
        let ended = tokio::time::timeout(Duration::from_millis(50), threads.run(computing())).await;
        assert!(ended.is_err());
        // its turn comes back only when it has ended
        let turns = threads.turns.acquire_many(TURNS as u32).await.unwrap();
        drop(turns);
        let waiting = threads.run(Box::pin(std::future::pending::<Result<()>>()));
        assert!(tokio::time::timeout(Duration::from_millis(50), waiting).await.is_err());
        drop(threads.turns.acquire_many(TURNS as u32).await.unwrap());
    }

    #[tokio::test]
    async fn a_panic_is_an_error() {
        let work: BoxFuture<'static, Result<()>> = Box::pin(async { panic!("a test's own panic") });
        let error = threads(TIME_MAX).run(work).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Bug);
    }

    #[tokio::test]
    async fn work_of_work_is_done_there_and_then() {
        let outer = async {
            let here = std::thread::current().id();
            let inner = async move { Ok(std::thread::current().id() == here) };
            threads(TIME_MAX).run(Box::pin(inner)).await
        };
        assert!(threads(TIME_MAX).run(Box::pin(outer)).await.unwrap());
    }

    #[test]
    fn no_runtime_is_needed() {
        let threads = threads(TIME_MAX);
        let work: BoxFuture<'static, Result<i32>> = Box::pin(async { Ok(7) });
        assert_eq!(futures::executor::block_on(threads.run(work)).unwrap(), 7);
    }
}
