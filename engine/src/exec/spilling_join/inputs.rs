//! The inputs of one partition of a join, lent to a hash join that may not come to its end.
//!
//! The hash join reads them through [`HandedExec`]. What it has read of the side for its table is kept
//! until it reads of the other side, which it does when the table is complete: until then all can be
//! taken back.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::resources_datafusion_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result as DfResult;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, SpillMetrics};
use datafusion::physical_plan::spill::SpillManager;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::stream::{Stream, StreamExt};
use parking_lot::Mutex;

use crate::Error;

/// A side of a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The left one, of which the table is made.
    Build,
    /// The right one.
    Probe,
}

/// Both sides of one partition.
pub struct Inputs {
    build: Mutex<Build>,
    probe: Mutex<Option<SendableRecordBatchStream>>,
    /// Whether another partition does without a table.
    turned: Arc<AtomicBool>,
}

struct Build {
    rows: Option<SendableRecordBatchStream>,
    kept: Vec<RecordBatch>,
    /// Whether nothing can be taken back: its rows ended in an error, or the table is complete.
    is_over: bool,
}

impl Inputs {
    /// The inputs; `turned` says whether another partition does without a table.
    pub fn new(
        build: SendableRecordBatchStream,
        probe: SendableRecordBatchStream,
        turned: Arc<AtomicBool>,
    ) -> Self {
        let build = Build { rows: Some(build), kept: vec![], is_over: false };
        Self { build: Mutex::new(build), probe: Mutex::new(Some(probe)), turned }
    }

    /// Whether all can be taken back.
    pub fn may_turn(&self) -> bool {
        !self.build.lock().is_over
    }

    /// Takes all back: what was read is on disk afterwards, not in memory.
    pub async fn taken(
        &self,
        context: &TaskContext,
    ) -> DfResult<(SendableRecordBatchStream, SendableRecordBatchStream)> {
        let (rows, kept) = {
            let mut build = self.build.lock();
            build.is_over = true;
            (build.rows.take(), std::mem::take(&mut build.kept))
        };
        let lost = || Error::bug("the inputs of a join were taken twice");
        let (rows, probe) = (rows.ok_or_else(lost)?, self.probe.lock().take().ok_or_else(lost)?);
        let schema = rows.schema();
        let build = match spilled(kept, &schema, context).await? {
            Some(read) => Box::pin(RecordBatchStreamAdapter::new(schema, read.chain(rows))),
            None => rows,
        };
        Ok((build, probe))
    }

    fn poll_build(&self, cx: &mut Context<'_>) -> Poll<Option<DfResult<RecordBatch>>> {
        let mut build = self.build.lock();
        if self.turned.load(Ordering::Relaxed) && !build.is_over {
            let other = "another part of the join does not fit into memory";
            return Poll::Ready(Some(Err(resources_datafusion_err!("{other}"))));
        }
        let Some(rows) = &mut build.rows else { return Poll::Ready(None) };
        let polled = rows.poll_next_unpin(cx);
        match &polled {
            Poll::Ready(Some(Ok(batch))) => build.kept.push(batch.clone()),
            Poll::Ready(Some(Err(_))) => build.is_over = true,
            Poll::Ready(None) | Poll::Pending => {}
        }
        polled
    }

    fn poll_probe(&self, cx: &mut Context<'_>) -> Poll<Option<DfResult<RecordBatch>>> {
        let mut probe = self.probe.lock();
        let mut build = self.build.lock();
        if !build.is_over {
            build.is_over = true;
            build.kept = vec![];
        }
        drop(build);
        match probe.as_mut() {
            Some(rows) => rows.poll_next_unpin(cx),
            None => Poll::Ready(None),
        }
    }
}

/// Writes batches to disk, and reads them again; `None` if there are none.
async fn spilled(
    batches: Vec<RecordBatch>,
    schema: &SchemaRef,
    context: &TaskContext,
) -> DfResult<Option<SendableRecordBatchStream>> {
    let metrics = SpillMetrics::new(&ExecutionPlanMetricsSet::new(), 0);
    let spills = SpillManager::new(context.runtime_env(), metrics, Arc::clone(schema))
        .with_compression_type(context.session_config().spill_compression());
    let mut file = spills.create_in_progress_file("a side of a join")?;
    for batch in batches.into_iter().filter(|batch| batch.num_rows() > 0) {
        file.append_batch(&batch)?;
        drop(batch);
        tokio::task::yield_now().await;
    }
    match file.finish()? {
        Some(file) => Ok(Some(spills.read_spill_as_stream_unbuffered(file, None)?)),
        None => Ok(None),
    }
}

/// An input as an operator: gives what it is handed for a partition.
pub struct HandedExec {
    /// What the rows come from; it is not run here.
    plan: Arc<dyn ExecutionPlan>,
    side: Side,
    handed: Mutex<HashMap<usize, Arc<Inputs>>>,
}

impl HandedExec {
    /// A side of a join, which comes from `plan`.
    pub fn new(plan: Arc<dyn ExecutionPlan>, side: Side) -> Self {
        Self { plan, side, handed: Mutex::default() }
    }

    /// Hands over the inputs of a partition.
    pub fn hand(&self, partition: usize, inputs: Arc<Inputs>) {
        self.handed.lock().insert(partition, inputs);
    }
}

impl fmt::Debug for HandedExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandedExec").field("side", &self.side).finish_non_exhaustive()
    }
}

impl DisplayAs for HandedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("HandedExec")
    }
}

impl ExecutionPlan for HandedExec {
    fn name(&self) -> &'static str {
        "HandedExec"
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
            (Some(plan), true) => Ok(Arc::new(Self::new(plan, self.side))),
            _ => Err(Error::bug("HandedExec takes exactly one child").into()),
        }
    }

    fn execute(
        &self,
        partition: usize,
        _: Arc<TaskContext>,
    ) -> DfResult<SendableRecordBatchStream> {
        let inputs = self.handed.lock().remove(&partition);
        let inputs = inputs.ok_or_else(|| Error::bug("a join was not handed its inputs"))?;
        Ok(Box::pin(Lent { inputs, side: self.side, schema: self.plan.schema() }))
    }
}

/// The rows of one side, which stay where they are.
struct Lent {
    inputs: Arc<Inputs>,
    side: Side,
    schema: SchemaRef,
}

impl Stream for Lent {
    type Item = DfResult<RecordBatch>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.side {
            Side::Build => self.inputs.poll_build(cx),
            Side::Probe => self.inputs.poll_probe(cx),
        }
    }
}

impl RecordBatchStream for Lent {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}
