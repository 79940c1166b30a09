//! The operator above a plan that computes on one thread: `almagest.scheduler = 'sync'`.

use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result as DfResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};

use super::{ComputeThreads, with_settings};
use crate::Error;

/// Runs a plan with one thread for computing.
#[derive(Debug)]
pub struct OneThreadExec {
    plan: Arc<dyn ExecutionPlan>,
}

impl OneThreadExec {
    /// Runs `plan`.
    pub fn new(plan: Arc<dyn ExecutionPlan>) -> Self {
        Self { plan }
    }
}

impl DisplayAs for OneThreadExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("OneThreadExec")
    }
}

impl ExecutionPlan for OneThreadExec {
    fn name(&self) -> &'static str {
        "OneThreadExec"
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
            _ => Err(Error::bug("OneThreadExec takes exactly one child").into()),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DfResult<SendableRecordBatchStream> {
        let config = context.session_config().clone();
        let config = config.with_extension(Arc::new(ComputeThreads::new(1)));
        self.plan.execute(partition, Arc::new(with_settings(&context, config)))
    }
}
