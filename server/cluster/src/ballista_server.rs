//! Ballista's scheduler, as the gatekeeper sees it: its service, and what it knows of queries.
//!
//! A trait, so that the compiler proves once, and not for each method of the service, that the
//! scheduler with all that is inside may be shared between threads.

use ballista_core::JobId;
use ballista_core::serde::protobuf::job_status::Status;
use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpc;
use ballista_scheduler::scheduler_server::SchedulerServer;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use futures::future::BoxFuture;

use super::work::TasksDone;

/// Ballista's scheduler for the plans that it is sent.
pub type Server = SchedulerServer<LogicalPlanNode, PhysicalPlanNode>;
/// What Ballista pushes to clients that ask for it.
pub type PushStream = <Server as SchedulerGrpc>::ExecuteQueryPushStream;

/// What the gatekeeper asks of a scheduler.
pub trait BallistaServer: SchedulerGrpc<ExecuteQueryPushStream = PushStream> {
    /// Cancels a query. One that has ended, or is not known, needs nothing.
    fn end<'a>(&'a self, job_id: &'a JobId) -> BoxFuture<'a, ()>;

    /// Where a query stands, if it is known.
    fn status<'a>(&'a self, job_id: &'a JobId) -> BoxFuture<'a, Option<Status>>;

    /// How far a query is that runs.
    fn tasks_done<'a>(&'a self, job_id: &'a JobId) -> BoxFuture<'a, Option<TasksDone>>;
}

impl BallistaServer for Server {
    fn end<'a>(&'a self, job_id: &'a JobId) -> BoxFuture<'a, ()> {
        Box::pin(async {
            let _ = Self::cancel_job(self, job_id.clone()).await;
        })
    }

    fn status<'a>(&'a self, job_id: &'a JobId) -> BoxFuture<'a, Option<Status>> {
        Box::pin(async {
            let status = self.state.task_manager.get_job_status(job_id).await;
            status.ok().flatten().and_then(|status| status.status)
        })
    }

    fn tasks_done<'a>(&'a self, job_id: &'a JobId) -> BoxFuture<'a, Option<TasksDone>> {
        Box::pin(async {
            let running = self.state.task_manager.get_running_job_cache();
            let graph = running.get(job_id)?.execution_graph.read().await;
            Some(TasksDone::of(graph.as_ref()))
        })
    }
}
