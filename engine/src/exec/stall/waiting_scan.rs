//! Scans that tell their query when they wait for their storage.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNodeRecursion};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result as DfResult;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::stream::{Stream, StreamExt};

use super::Pulse;
use crate::Error;
use crate::exec::ArrayExec;
use crate::walk::Walk;

/// A plan whose scans tell when they wait.
pub fn with_waiting_scans(plan: Arc<dyn ExecutionPlan>) -> DfResult<Arc<dyn ExecutionPlan>> {
    plan.change_down(&mut |plan| {
        // below an ArrayExec are only the descriptors of what it reads
        if plan.is::<ArrayExec>() || plan.is::<DataSourceExec>() {
            let told: Arc<dyn ExecutionPlan> = Arc::new(WaitingScan { plan });
            return Ok(Transformed::new(told, true, TreeNodeRecursion::Jump));
        }
        Ok(Transformed::no(plan))
    })
    .data()
}

/// A scan.
#[derive(Debug)]
struct WaitingScan {
    plan: Arc<dyn ExecutionPlan>,
}

impl DisplayAs for WaitingScan {
    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        self.plan.fmt_as(kind, f)
    }
}

impl ExecutionPlan for WaitingScan {
    fn name(&self) -> &'static str {
        "WaitingScan"
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
            (Some(plan), true) => Ok(Arc::new(Self { plan })),
            _ => Err(Error::bug("WaitingScan takes exactly one child").into()),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DfResult<SendableRecordBatchStream> {
        let rows = self.plan.execute(partition, context)?;
        Ok(match Pulse::current() {
            Some(pulse) => Box::pin(Telling { rows, pulse, waits: false }),
            None => rows,
        })
    }
}

struct Telling {
    rows: SendableRecordBatchStream,
    pulse: Arc<Pulse>,
    waits: bool,
}

impl Telling {
    fn tell(&mut self, waits: bool) {
        if self.waits != waits {
            self.waits = waits;
            self.pulse.set_waiting(waits);
        }
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.tell(false);
    }
}

impl Stream for Telling {
    type Item = DfResult<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.rows.poll_next_unpin(cx);
        self.tell(polled.is_pending());
        polled
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.rows.size_hint()
    }
}

impl RecordBatchStream for Telling {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }
}
