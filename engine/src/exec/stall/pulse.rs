//! Whether anything moves in a query.
//!
//! Every task that a query begins is polled in the query's scope, also those that DataFusion's operators
//! begin (its tracer of tasks is the way in). So a query is at work while a thread is in one of its
//! polls or blocking calls, however long that takes and whatever else the process does; and it moves
//! when such a poll ends, as nobody polls a task again that was not woken.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Once};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use datafusion::common::runtime::{JoinSetTracer, set_join_set_tracer};
use futures::future::BoxFuture;

/// What moments are counted from.
static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);

tokio::task_local! {
    static PULSE: Arc<Pulse>;
}

/// What moves in a query.
#[derive(Debug, Default)]
pub struct Pulse {
    /// Polls and blocking calls that have begun and not ended.
    at_work: AtomicUsize,
    /// Scans that wait for their storage.
    waiting: AtomicUsize,
    /// Streams that have something for a client who does not ask.
    unasked: AtomicUsize,
    /// When something moved last.
    moved_ms: AtomicU64,
}

impl Pulse {
    /// The one of a new query, which moves now.
    pub fn new() -> Arc<Self> {
        static TRACER: Once = Once::new();
        // A program around this one may have a tracer of its own. Then tasks are not seen.
        TRACER.call_once(|| {
            let _ = set_join_set_tracer(&Tasks);
        });
        let pulse = Arc::new(Self::default());
        pulse.moved();
        pulse
    }

    /// The query in whose scope this is called.
    pub fn current() -> Option<Arc<Self>> {
        PULSE.try_with(Arc::clone).ok()
    }

    /// Does work that belongs to the query, with all tasks that it begins.
    pub fn scope<T>(self: &Arc<Self>, work: impl FnOnce() -> T) -> T {
        PULSE.sync_scope(Arc::clone(self), || {
            let _turn = self.turn();
            work()
        })
    }

    /// Something moved.
    pub fn moved(&self) {
        let now = BEGUN.elapsed().as_millis();
        self.moved_ms.store(u64::try_from(now).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The query is at work until what this returns is dropped.
    pub fn turn(self: &Arc<Self>) -> Turn {
        self.at_work.fetch_add(1, Ordering::Relaxed);
        Turn(Arc::clone(self))
    }

    /// A scan waits, or does no more.
    pub fn set_waiting(&self, waits: bool) {
        count(&self.waiting, waits);
    }

    /// A stream has something for a client who does not ask, or has no more.
    pub fn set_unasked(&self, has: bool) {
        count(&self.unasked, has);
    }

    /// Whether a stream has something for a client who does not ask.
    pub fn is_unasked(&self) -> bool {
        self.unasked.load(Ordering::Relaxed) > 0
    }

    /// Whether a scan waits for its storage.
    pub fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// For how long nothing has moved.
    pub fn still_for(&self) -> Duration {
        if self.at_work.load(Ordering::Relaxed) > 0 {
            return Duration::ZERO;
        }
        let moved = Duration::from_millis(self.moved_ms.load(Ordering::Relaxed));
        BEGUN.elapsed().saturating_sub(moved)
    }
}

fn count(number: &AtomicUsize, one_more: bool) {
    match one_more {
        true => number.fetch_add(1, Ordering::Relaxed),
        false => number.fetch_sub(1, Ordering::Relaxed),
    };
}

/// A poll or a call.
#[derive(Debug)]
pub struct Turn(Arc<Pulse>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.moved();
        self.0.at_work.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Puts tasks into the scope of the query that begins them.
struct Tasks;

impl JoinSetTracer for Tasks {
    fn trace_future(
        &self,
        task: BoxFuture<'static, Box<dyn Any + Send>>,
    ) -> BoxFuture<'static, Box<dyn Any + Send>> {
        match Pulse::current() {
            Some(pulse) => Box::pin(Task { task, pulse }),
            None => task,
        }
    }

    fn trace_block(
        &self,
        call: Box<dyn FnOnce() -> Box<dyn Any + Send> + Send>,
    ) -> Box<dyn FnOnce() -> Box<dyn Any + Send> + Send> {
        match Pulse::current() {
            Some(pulse) => Box::new(move || pulse.scope(call)),
            None => call,
        }
    }
}

struct Task {
    task: BoxFuture<'static, Box<dyn Any + Send>>,
    pulse: Arc<Pulse>,
}

impl Future for Task {
    type Output = Box<dyn Any + Send>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let pulse = Arc::clone(&self.pulse);
        pulse.scope(|| self.task.as_mut().poll(cx))
    }
}
