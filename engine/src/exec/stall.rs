//! A query in which nothing moves fails by itself.
//!
//! Stage: the last step of planning, and running. In: a plan. Out: one that gives the same rows, or an
//! error when for `almagest.stall_timeout` no task of it was woken and none was at work ([`Pulse`]). Such
//! a query would never end, and hold its memory and files.
//!
//! What is not taken for it: a client that fetches nothing, as only a stream that is asked for rows looks
//! at the clock; long computing, which is work; other queries, whatever they do; a slow store. Clients of
//! stores give up a request after 30 s and wake the query; but a file of a tape archive may take minutes.
//! So a query of which a scan waits, or which writes, has [`STORAGE_PATIENCE`] times as long, and one over a
//! source without an end has no limit. On an executor the
//! input of a task's writer is watched: what it waits for from other executors is storage too.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::sink::DataSinkExec;
use datafusion::error::Result as DfResult;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::analyze::AnalyzeExec;
use datafusion::physical_plan::explain::ExplainExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
};
use futures::stream::{Stream, StreamExt};
use futures::task::AtomicWaker;
use parking_lot::Mutex;

pub use self::pulse::Pulse;
use self::waiting_scan::with_waiting_scans;
use crate::Error;
use crate::walk::Walk;

mod clock;
mod operators;
mod pulse;
mod waiting_scan;

/// How many times longer a query may rest while a scan waits for its storage.
const STORAGE_PATIENCE: u32 = 10;

/// A plan that fails when nothing has moved in it for `timeout`; the plan itself if that is absent.
///
/// # Errors
/// `Bug` if an operator does not take its own children back.
pub fn watched(
    plan: Arc<dyn ExecutionPlan>,
    timeout: Option<Duration>,
) -> DfResult<Arc<dyn ExecutionPlan>> {
    let Some(timeout) = timeout.filter(|_| !plan.is::<ExplainExec>()) else { return Ok(plan) };
    if plan.boundedness().is_unbounded() {
        return Ok(plan);
    }
    // What is written to a store is sent by tasks that are not seen here.
    let writes = plan.any(&mut |plan| Ok(plan.is::<DataSinkExec>()))?;
    // What EXPLAIN ANALYZE shows stays as it is.
    let is_shown = plan.is::<AnalyzeExec>();
    let plan = if is_shown { plan } else { with_waiting_scans(plan)? };
    Ok(Arc::new(WatchedExec::new(plan, timeout, writes || is_shown)))
}

/// The root of a plan.
#[derive(Debug)]
struct WatchedExec {
    plan: Arc<dyn ExecutionPlan>,
    timeout: Duration,
    /// Whether storage may be waited for unseen.
    is_patient: bool,
    pulse: Arc<Pulse>,
}

impl WatchedExec {
    fn new(plan: Arc<dyn ExecutionPlan>, timeout: Duration, is_patient: bool) -> Self {
        let pulse = Pulse::new();
        if is_patient {
            pulse.set_waiting(true);
        }
        Self { plan, timeout, is_patient, pulse }
    }
}

impl DisplayAs for WatchedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("WatchedExec")
    }
}

impl ExecutionPlan for WatchedExec {
    fn name(&self) -> &'static str {
        "WatchedExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.plan.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.plan]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(plan), true) => Ok(Arc::new(Self::new(plan, self.timeout, self.is_patient))),
            _ => Err(Error::bug("WatchedExec takes exactly one child").into()),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DfResult<SendableRecordBatchStream> {
        let memory = Arc::clone(context.memory_pool());
        // operators begin tasks here too
        let rows = self.pulse.scope(|| self.plan.execute(partition, context))?;
        let (plan, pulse) = (Arc::clone(&self.plan), Arc::clone(&self.pulse));
        let watch = Arc::new(Watch::new(pulse, self.timeout));
        clock::look_at(&watch);
        Ok(Box::pin(WatchedStream { schema: rows.schema(), rows: Some(rows), plan, memory, watch }))
    }
}

/// Who waits for rows of a query, and for how long nothing may move. As a waker it is given to the query,
/// so that a wake tells that something moved.
struct Watch {
    pulse: Arc<Pulse>,
    timeout: Duration,
    news: Mutex<News>,
    asker: AtomicWaker,
}

/// Whether a stream has anything new for who asks it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum News {
    /// It was not asked yet.
    Unknown,
    /// It was asked, and waits.
    None,
    /// It was woken, or gave a row, and was not asked since: the client takes its time.
    Unasked,
}

impl Watch {
    fn new(pulse: Arc<Pulse>, timeout: Duration) -> Self {
        Self { pulse, timeout, news: Mutex::new(News::Unknown), asker: AtomicWaker::new() }
    }

    /// Sets what there is, and gives what there was.
    fn set(&self, now: News) -> News {
        let mut news = self.news.lock();
        let before = std::mem::replace(&mut *news, now);
        match (before == News::Unasked, now == News::Unasked) {
            (false, true) => self.pulse.set_unasked(true),
            (true, false) => self.pulse.set_unasked(false),
            _ => {}
        }
        before
    }

    /// How long the query may rest now.
    fn patience(&self) -> Duration {
        match self.pulse.is_waiting() {
            true => self.timeout.saturating_mul(STORAGE_PATIENCE),
            false => self.timeout,
        }
    }

    fn has_stalled(&self) -> bool {
        !self.pulse.is_unasked() && self.pulse.still_for() >= self.patience()
    }

    /// Lets who waits look whether the query rests for too long.
    fn look(&self) {
        if self.has_stalled() {
            self.asker.wake();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.set(News::None);
    }
}

impl Wake for Watch {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.pulse.moved();
        self.set(News::Unasked);
        self.asker.wake();
    }
}

struct WatchedStream {
    schema: SchemaRef,
    rows: Option<SendableRecordBatchStream>,
    plan: Arc<dyn ExecutionPlan>,
    memory: Arc<dyn MemoryPool>,
    watch: Arc<Watch>,
}

impl WatchedStream {
    fn stalled(&self) -> Error {
        let (still, held) = (self.watch.pulse.still_for().as_secs_f64(), self.memory.reserved());
        let at = operators::unfinished(self.plan.as_ref());
        let message = format!(
            "nothing has moved in the query for {still:.1} s, so it was ended; {held} bytes of memory \
             were held; unfinished were {at}"
        );
        match self.watch.pulse.is_waiting() {
            true => Error::unreachable(format!(
                "{message}; a scan or a COPY waits for its storage: look whether that answers, or SET \
                 almagest.stall_timeout to more seconds"
            )),
            false => Error::bug(format!(
                "{message}; run it again with more memory or fewer threads (SET \
                 datafusion.execution.target_partitions = 1)"
            )),
        }
    }
}

impl Stream for WatchedStream {
    type Item = DfResult<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let watch = Arc::clone(&self.watch);
        let Some(rows) = self.rows.as_mut() else { return Poll::Ready(None) };
        watch.asker.register(cx.waker());
        // whoever looks at the clock also asks; the query itself has then nothing new
        if watch.set(News::None) != News::None {
            let waker = Waker::from(Arc::clone(&watch));
            let polled =
                watch.pulse.scope(|| rows.poll_next_unpin(&mut Context::from_waker(&waker)));
            if let Poll::Ready(row) = polled {
                match row {
                    Some(_) => watch.set(News::Unasked),
                    None => watch.set(News::None),
                };
                if row.is_none() {
                    self.rows = None;
                }
                return Poll::Ready(row);
            }
        }
        if !watch.has_stalled() {
            return Poll::Pending;
        }
        let error = self.stalled();
        self.rows = None;
        Poll::Ready(Some(Err(error.into())))
    }
}

impl RecordBatchStream for WatchedStream {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

#[cfg(test)]
mod tests;
