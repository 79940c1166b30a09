//! Keeps what a query's task does at a time short, so that others are served and whoever stops it is
//! heard.
//!
//! Stage: after physical planning, where the plan will run. In: a plan. Out: the same plan, in which
//! every operator whose work for one batch of its input has no bound stands between two of ours: above
//! it [`TurnExec`] gives up the thread after a while, below it [`SliceExec`] hands it as many rows as it
//! can do in that while. DataFusion's operators give up the thread after some batches, however long
//! each takes: a join of all pairs does a batch of one side with all of the other, a condition or a
//! function a batch of long texts, without looking up.
//!
//! Not here: work that no slice of the input makes shorter, such as building a hash table or a window
//! over all rows; on a server such a query has threads of its own.

use std::collections::HashMap;
use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNodeRecursion};
use datafusion::error::Result as DfResult;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{HigherOrderFunctionExpr, PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec,
};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::{Future, Stream, StreamExt};
use parking_lot::Mutex;

use super::around::stands_around_its_input;
use super::ended::Ended;
use super::slices::{Sliced, Slices};
use crate::Error;
use crate::floats_by_value::canonical;
use crate::walk::Walk;

/// How long a task works before it lets others.
pub(super) const TURN: Duration = Duration::from_millis(20);

/// Rows of the first slice: one may meet all of the other side of a join, or hold texts that a function
/// takes a second for.
const FIRST: usize = 1;

/// The plan, ready to run by turns.
///
/// # Errors
/// `Bug` if an operator does not take its own children back.
pub fn by_turns(plan: Arc<dyn ExecutionPlan>) -> DfResult<Arc<dyn ExecutionPlan>> {
    let changed = plan.change_up(&mut |plan| {
        let Some(greed) = greed_of(plan.as_ref())? else { return Ok(Transformed::no(plan)) };
        if plan.children().iter().any(|child| child.is::<SliceExec>()) {
            return Ok(Transformed::no(plan));
        }
        let meters = Arc::new(Meters::default());
        let mut children: Vec<_> = plan.children().into_iter().cloned().collect();
        if let Some(input) = greed.input.and_then(|input| children.get_mut(input)) {
            *input = Arc::new(SliceExec {
                input: Arc::clone(input),
                meters: Arc::clone(&meters),
                slices: greed.slices,
            });
        }
        let input = match greed.input {
            // what ours say of themselves is what their input does
            Some(_) => plan.replace_children(
                children,
                ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep),
            )?,
            None => plan,
        };
        Ok(Transformed::yes(Arc::new(TurnExec { input, meters }) as _))
    });
    changed.data()
}

/// How an operator is fed.
struct Greed {
    /// The child whose rows it works for; none if it gives what it does piece by piece.
    input: Option<usize>,
    slices: Slices,
}

fn greed_of(plan: &dyn ExecutionPlan) -> DfResult<Option<Greed>> {
    // joins copy what they take, and others may keep it, with the whole batch of which it is a slice
    let join =
        |input| Greed { input: Some(input), slices: Slices { first: FIRST, are_copied: false } };
    let other = Greed { input: Some(0), slices: Slices { first: FIRST, are_copied: true } };
    if plan.is::<NestedLoopJoinExec>() || plan.is::<HashJoinExec>() {
        return Ok(Some(join(1)));
    }
    if let Some(merge) = plan.downcast_ref::<SortMergeJoinExec>() {
        use datafusion::common::JoinType::{Right, RightAnti, RightMark, RightSemi};
        let is_right = matches!(merge.join_type(), Right | RightAnti | RightMark | RightSemi);
        return Ok(Some(join(usize::from(is_right))));
    }
    if plan.is::<CrossJoinExec>() {
        return Ok(Some(Greed { input: None, ..other }));
    }
    let is_greedy = plan.is::<UnnestExec>()
        || plan.is::<WindowAggExec>()
        || plan.is::<BoundedWindowAggExec>()
        || (plan.is::<ProjectionExec>() || plan.is::<FilterExec>() || plan.is::<AggregateExec>())
            && calls_functions(plan)?;
    Ok(is_greedy.then_some(other))
}

/// Whether an operator computes more than arithmetic and comparisons.
fn calls_functions(plan: &dyn ExecutionPlan) -> DfResult<bool> {
    let mut calls = false;
    plan.apply_expressions(&mut |expression: &Arc<dyn PhysicalExpr>| {
        calls |= expression.any(&mut |inner| {
            let call = inner.downcast_ref::<ScalarFunctionExpr>();
            // what makes floats comparable is as quick as arithmetic
            Ok(call.is_some_and(|call| call.fun().name() != canonical().name())
                || inner.is::<HigherOrderFunctionExpr>())
        })?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(calls)
}

/// What is known of the turns of an operator, of each of its partitions that runs.
#[derive(Debug, Default)]
struct Meters(Mutex<HashMap<usize, Arc<Meter>>>);

impl Meters {
    fn begin(&self, partition: usize) -> Arc<Meter> {
        let meter = Arc::new(Meter::default());
        self.0.lock().insert(partition, Arc::clone(&meter));
        meter
    }

    fn of(&self, partition: usize) -> Arc<Meter> {
        Arc::clone(self.0.lock().entry(partition).or_default())
    }
}

/// The turns of one partition of an operator.
#[derive(Debug, Default)]
pub(super) struct Meter(Mutex<Turn>);

#[derive(Debug, Default)]
struct Turn {
    /// When it began; none before it is asked for anything again.
    began: Option<Instant>,
    /// When it was asked for what it now works at.
    asked: Option<Instant>,
    /// How long it worked at what it was asked before.
    worked: Duration,
}

impl Meter {
    /// It is asked for rows. Whether its turn is over.
    fn asked(&self) -> bool {
        let mut turn = self.0.lock();
        let now = Instant::now();
        turn.asked = Some(now);
        now.duration_since(*turn.began.get_or_insert(now)) >= TURN
    }

    /// It has given rows, or waits.
    fn answered(&self, waits: bool) {
        let mut turn = self.0.lock();
        if let Some(asked) = turn.asked.take() {
            turn.worked += asked.elapsed();
        }
        if waits {
            turn.began = None;
        }
    }

    /// Whether its turn is over while it works.
    pub(super) fn is_over(&self) -> bool {
        let turn = self.0.lock();
        turn.asked.is_some() && turn.began.is_some_and(|began| began.elapsed() >= TURN)
    }

    /// How long it has worked, in all its turns.
    pub(super) fn worked(&self) -> Duration {
        let turn = self.0.lock();
        turn.worked + turn.asked.map_or(Duration::ZERO, |asked| asked.elapsed())
    }
}

/// Gives up the thread where an operator has worked for a turn.
#[derive(Debug)]
struct TurnExec {
    input: Arc<dyn ExecutionPlan>,
    meters: Arc<Meters>,
}

/// Hands an operator slices of its input.
#[derive(Debug)]
struct SliceExec {
    input: Arc<dyn ExecutionPlan>,
    meters: Arc<Meters>,
    slices: Slices,
}

stands_around_its_input!(TurnExec, |this, input| TurnExec {
    input,
    meters: Arc::clone(&this.meters)
});
stands_around_its_input!(SliceExec, |this, input| SliceExec {
    input,
    meters: Arc::clone(&this.meters),
    slices: this.slices
});

impl TurnExec {
    fn run(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DfResult<SendableRecordBatchStream> {
        // before the operator runs, whose input looks for it
        let meter = self.meters.begin(partition);
        let ended = Ended::of(&context);
        let input = self.input.execute(partition, context)?;
        Ok(Box::pin(Turns { input, meter, ended }))
    }
}

impl SliceExec {
    fn run(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DfResult<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        Ok(Box::pin(Sliced::new(input, self.meters.of(partition), self.slices)))
    }
}

/// Gives up the thread until all others that are ready, files and timers among them, had their turn.
/// Whoever merely wakes itself is asked again and again before the runtime looks at its timers: on
/// threads that are all busy with turns, one of two seconds would ring after five.
pub(super) fn rest<T>(context: &mut Context<'_>) -> Poll<T> {
    match pin!(tokio::task::yield_now()).poll(context) {
        Poll::Pending => {}
        Poll::Ready(()) => context.waker().wake_by_ref(),
    }
    Poll::Pending
}

/// The rows of an operator, by turns.
struct Turns {
    input: SendableRecordBatchStream,
    meter: Arc<Meter>,
    ended: Arc<Ended>,
}

impl Stream for Turns {
    type Item = DfResult<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.ended.check()?;
        if self.meter.asked() {
            self.meter.answered(true);
            return rest(context);
        }
        let rows = self.input.poll_next_unpin(context);
        self.meter.answered(rows.is_pending());
        rows
    }
}

impl RecordBatchStream for Turns {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;
    use crate::{Session, SessionOptions};

    /// Lets others have a turn. Tokio's own `yield_now` comes back up to 61 polls of others later.
    async fn yielded() {
        let mut asked = false;
        std::future::poll_fn(|context| match std::mem::replace(&mut asked, true) {
            true => Poll::Ready(()),
            false => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
        })
        .await;
    }

    /// The longest time for which a query keeps its one thread, run for at most `time`; and its rows, if
    /// it ended.
    async fn longest(sql: &str, time: Duration) -> (Duration, Option<String>) {
        let options = SessionOptions { threads: Some(1), ..SessionOptions::default() };
        let session = Session::try_new(&Registry::default(), &options).unwrap();
        for setting in sql.split(';').rev().skip(1) {
            session.sql(setting).await.unwrap();
        }
        let sql = sql.rsplit(';').next().unwrap();
        let frame = session.sql(sql).await.unwrap();
        let longest = Arc::new(Mutex::new(Duration::ZERO));
        let seen = Arc::clone(&longest);
        // a task, as the test itself is asked only after many polls of tasks
        let ticks = tokio::spawn(async move {
            let mut last = Instant::now();
            loop {
                yielded().await;
                let kept = last.elapsed();
                let mut seen = seen.lock();
                *seen = kept.max(*seen);
                last = Instant::now();
            }
        });
        // a task of its own, as both would share what Tokio lets a task do at once
        let mut query = tokio::spawn(async move { frame.to_string().await.unwrap() });
        let rows = tokio::select! {
            rows = &mut query => Some(rows.unwrap()),
            () = tokio::time::sleep(time) => None,
        };
        query.abort();
        ticks.abort();
        let longest = *longest.lock();
        (longest, rows)
    }

    /// Far above a turn, as machines that test are busy; below what each took before.
    const LONGEST: Duration = Duration::from_millis(2500);

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn timers_ring_while_an_operator_works() {
        let options = SessionOptions { threads: Some(1), ..SessionOptions::default() };
        let session = Session::try_new(&Registry::default(), &options).unwrap();
        let endless = "SELECT sum(sin(value)) FROM generate_series(1, 100000000000)";
        let frame = session.sql(endless).await.unwrap();
        let query = tokio::spawn(async move { frame.collect().await });
        let rung = tokio::spawn(async {
            let begun = Instant::now();
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            begun.elapsed()
        });
        let rung = rung.await.unwrap();
        assert!(!query.is_finished());
        query.abort();
        assert!(rung < LONGEST, "{rung:?}");
    }

    #[tokio::test]
    async fn no_operator_keeps_its_thread() {
        let pairs = "generate_series(1, 20000) a, generate_series(1, 1000000) b";
        let costly = "levenshtein(repeat(value::VARCHAR, 50), repeat('ab', 150))";
        let queries = [
            format!("SELECT count(*) FROM {pairs} WHERE a.value * 3 < b.value - 5000000"),
            format!(
                "SELECT count(*) FROM {pairs} WHERE a.value % 2 = b.value % 2 \
                 AND a.value > b.value + 9999999"
            ),
            format!("SELECT count(*) FROM {pairs}"),
            "SELECT count(*) FROM generate_series(1, 20000) a LEFT JOIN generate_series(1, 1000000) b \
             ON a.value > b.value + 9999999"
                .into(),
            "SELECT count(*) FROM generate_series(1, 20000) a FULL JOIN generate_series(1, 1000000) b \
             ON a.value % 2 = b.value % 2 AND a.value > b.value + 9999999"
                .into(),
            "SET datafusion.optimizer.prefer_hash_join = false; \
             SELECT count(*) FROM generate_series(1, 20000) a JOIN generate_series(1, 20000) b \
             ON a.value % 2 = b.value % 2 AND a.value > b.value + 9999999"
                .into(),
            "SELECT count(*) FROM (SELECT value FROM generate_series(1, 20000)) a WHERE EXISTS \
             (SELECT 1 FROM generate_series(1, 1000000) b WHERE b.value = -a.value \
             OR b.value > a.value + 9999999)"
                .into(),
            format!("SELECT sum({costly}) FROM generate_series(1, 1000000)"),
            format!("SELECT count(*) FROM generate_series(1, 1000000) WHERE {costly} = 3"),
            format!("SELECT count(*), {costly} AS d FROM generate_series(1, 1000000) GROUP BY d"),
            "SELECT sum(m) FROM (SELECT median(value) OVER (ORDER BY value ROWS BETWEEN 1000 \
             PRECEDING AND CURRENT ROW) AS m FROM generate_series(1, 1000000))"
                .into(),
            "SELECT count(*) FROM (SELECT unnest(range(value)) AS u \
             FROM generate_series(10000, 200000))"
                .into(),
            "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r \
             WHERE n < 1000000000) SELECT max(n) FROM r"
                .into(),
        ];
        let mut kept = vec![];
        for sql in &queries {
            let (longest, _) = longest(sql, Duration::from_secs(3)).await;
            println!("{longest:?}: {sql}");
            if longest > LONGEST {
                kept.push((longest, sql));
            }
        }
        assert!(kept.is_empty(), "{kept:?}");
    }

    #[tokio::test]
    async fn slices_change_no_answer() {
        for (sql, expected) in [
            // pairs with a < b, of 1 to 3000: the sum of a (3000 - a)
            (
                "SELECT count(*), sum(a.value) FROM generate_series(1, 3000) a, generate_series(1, 3000) b \
              WHERE a.value < b.value",
                "| 4498500  | 4499999500   |",
            ),
            // each row of the left meets the 1500 of its parity
            (
                "SELECT count(*) FROM generate_series(1, 3000) a JOIN generate_series(1, 3000) b \
              ON a.value % 2 = b.value % 2",
                "| 4500000  |",
            ),
            (
                "SELECT count(*), count(b.value) FROM generate_series(1, 20000) a LEFT JOIN \
              generate_series(1, 100) b ON a.value < b.value",
                "| 24851    | 4950           |",
            ),
            (
                "SELECT sum(length(repeat('x', value % 10))) FROM generate_series(0, 99999)",
                "| 450000",
            ),
            (
                "SELECT sum(s) FROM (SELECT sum(value) OVER (ORDER BY value ROWS BETWEEN 1 PRECEDING AND \
              CURRENT ROW) AS s FROM generate_series(1, 20000))",
                "| 400000000 |",
            ),
            (
                "SELECT count(*) FROM (SELECT DISTINCT repeat('x', value % 3) FROM generate_series(1, 30000))",
                "| 3        |",
            ),
        ] {
            let (_, rows) = longest(sql, Duration::from_secs(600)).await;
            assert!(rows.as_ref().is_some_and(|rows| rows.contains(expected)), "{sql}: {rows:?}");
        }
    }
}
