//! Plans queries for this process: on its threads, or in one.
//!
//! In: an optimised plan. Out: DataFusion's physical plan of it, whose operators are put into ours that bound
//! them. Not here: these operators ([`crate::exec`], [`crate::bounds`], [`crate::files`], [`crate::write`]).

use std::sync::Arc;

use datafusion::catalog::Session;
use datafusion::error::Result as DfResult;
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use futures::future::BoxFuture;

use crate::Error;
use crate::bounds::{ValueLimit, limiting_unnest};
use crate::config::{AlmagestOptions, Scheduler};
use crate::exec::{OneThreadExec, by_turns, spilling_joins, watched};
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
                watched(Arc::new(OneThreadExec::new(plan)), own.stall_timeout.0)
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
