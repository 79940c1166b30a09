//! Plans queries for this process: on its threads, or in one.

use std::fmt;
use std::sync::Arc;

use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result as DfResult;
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::session_state::SessionState;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion::prelude::SessionConfig;
use futures::future::BoxFuture;

use super::{ComputeThreads, by_turns, spilling_joins, watched};
use crate::Error;
use crate::bounds::{ValueLimit, limiting_unnest};
use crate::config::{AlmagestOptions, Scheduler};
use crate::files::naming_files;
use crate::rewrite::compare_by_value;
use crate::write::guarding_sinks;

/// DataFusion's planner, which obeys `almagest.scheduler` as far as one process can.
#[derive(Debug)]
pub struct LocalPlanner;

impl QueryPlanner for LocalPlanner {
    fn create_physical_plan<'a, 'b, 'c, 'r>(
        &'a self,
        plan: &'b LogicalPlan,
        session: &'c dyn Session,
    ) -> BoxFuture<'r, DfResult<Arc<dyn ExecutionPlan>>>
    where
        'a: 'r,
        'b: 'r,
        'c: 'r,
    {
        physical_plan(plan, session)
    }
}

fn physical_plan<'a>(
    plan: &'a LogicalPlan,
    session: &'a dyn Session,
) -> BoxFuture<'a, DfResult<Arc<dyn ExecutionPlan>>> {
    Box::pin(async move {
        let own = AlmagestOptions::of(session.config_options());
        match own.scheduler {
            Scheduler::Threads => plan_here(plan, session).await,
            Scheduler::Sync => {
                let state = session.as_any().downcast_ref::<SessionState>();
                let mut state = state.ok_or_else(|| Error::bug("an unknown session"))?.clone();
                state.config_mut().options_mut().execution.target_partitions = 1;
                let plan = unwatched(plan, &state).await?;
                watched(Arc::new(OneThreadExec { plan }), own.stall_timeout.0)
            }
            elsewhere @ (Scheduler::Processes | Scheduler::Cluster) => {
                Err(Error::unsupported(format!(
                    "almagest.scheduler = '{elsewhere}' needs a session that knows of clusters; \
                     this one is for one process: choose 'threads' or 'sync'"
                ))
                .into())
            }
        }
    })
}

/// The physical plan of a statement that runs in this process, whatever `almagest.scheduler` says.
///
/// # Errors
/// Those of DataFusion's planner.
pub async fn plan_here(
    plan: &LogicalPlan,
    session: &dyn Session,
) -> DfResult<Arc<dyn ExecutionPlan>> {
    let stall_timeout = AlmagestOptions::of(session.config_options()).stall_timeout.0;
    watched(unwatched(plan, session).await?, stall_timeout)
}

async fn unwatched(plan: &LogicalPlan, session: &dyn Session) -> DfResult<Arc<dyn ExecutionPlan>> {
    let planner = DefaultPhysicalPlanner::default();
    let by_value = compare_by_value(plan.clone())?;
    let physical = planner.create_physical_plan(&by_value, session).await?;
    let physical = limiting_unnest(physical)?;
    let physical = naming_files(physical, ValueLimit::of(session.config_options()))?;
    // joins are found by their type: those that can spill are another
    spilling_joins(by_turns(guarding_sinks(physical, plan)?)?)
}

/// Runs a plan with one thread for computing.
#[derive(Debug)]
struct OneThreadExec {
    plan: Arc<dyn ExecutionPlan>,
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

/// The same context with other settings.
pub fn with_settings(context: &TaskContext, settings: SessionConfig) -> TaskContext {
    TaskContext::new(
        context.task_id(),
        context.session_id(),
        settings,
        context.scalar_functions().clone(),
        context.higher_order_functions().clone(),
        context.aggregate_functions().clone(),
        context.window_functions().clone(),
        context.runtime_env(),
    )
}
