//! The scheduler's service, with limits: Ballista's, which takes every query at once and lets it run
//! for ever, behind one that does not.
//!
//! Requests pass through, but for those of clients about queries. What Ballista tells of the stages
//! of a query that ended is joined by who worked on them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use almagest_engine::ErrorKind;
use almagest_engine::admission::{Admission, Limits, Pass};
use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpc;
use ballista_core::serde::protobuf::task_status::Status as TaskStatus;
use ballista_core::serde::protobuf::{
    CancelJobParams, CancelJobResult, CleanJobDataParams, CleanJobDataResult,
    CreateUpdateSessionParams, CreateUpdateSessionResult, ExecuteQueryParams, ExecuteQueryResult,
    ExecutorStoppedParams, ExecutorStoppedResult, GetJobMetricsParams, GetJobMetricsResult,
    GetJobStatusParams, GetJobStatusResult, HeartBeatParams, HeartBeatResult, OperatorWithMetrics,
    PollWorkParams, PollWorkResult, RegisterExecutorParams, RegisterExecutorResult,
    RemoveSessionParams, RemoveSessionResult, UpdateTaskStatusParams, UpdateTaskStatusResult,
    execute_query_result, job_status,
};
use ballista_scheduler::cluster::JobState;
use ballista_scheduler::state::execution_graph::ExecutionGraphBox;
use ballista_scheduler::state::execution_stage::ExecutionStage;
use parking_lot::Mutex;
use tonic::{Request, Response, Status};

use super::ballista_server::{BallistaServer, PushStream, Server};
use super::work::TasksDone;

/// How often a query that runs is looked at.
const PAUSE: Duration = Duration::from_millis(20);
/// How often one that must end is cancelled, until it ends: Ballista ignores it while it plans.
const CANCEL_PAUSE: Duration = Duration::from_millis(200);
/// How long a query may be unknown: Ballista takes it in after it has answered, and does not know it
/// for a moment as it ends.
const UNKNOWN_LONGEST: Duration = Duration::from_secs(5);
/// The operator under whose name a stage's executors are told, each with its tasks.
pub const EXECUTORS: &str = "executors";

/// The service.
#[derive(Clone)]
pub struct Gatekeeper {
    server: Arc<dyn BallistaServer>,
    jobs: Arc<dyn JobState>,
    admission: Arc<Admission>,
    /// Queries that ran for too long.
    overdue: Arc<Mutex<HashSet<JobId>>>,
    /// Queries that go on, and whether somebody still waits for them.
    wanted: Arc<Mutex<HashMap<JobId, bool>>>,
}

impl Gatekeeper {
    /// The service of `server`, whose queries `jobs` knows, within `limits`.
    pub fn new(server: Server, jobs: Arc<dyn JobState>, limits: Limits) -> Self {
        let admission = Arc::new(Admission::new(limits));
        let server = Arc::new(server);
        Self { server, jobs, admission, overdue: Arc::default(), wanted: Arc::default() }
    }

    /// Holds the place of a query until it ends, and ends it when its time is over or nobody wants it.
    async fn accompany(self, job_id: JobId, pass: Pass) {
        let begun = Instant::now();
        let time_max = self.admission.limits().time_max;
        let mut life = Life { known_at: begun };
        let mut cancelled_at: Option<Instant> = None;
        while life.goes_on(self.server.status(&job_id).await.as_ref(), Instant::now()) {
            if time_max.is_some_and(|time| begun.elapsed() > time) {
                self.overdue.lock().insert(job_id.clone());
                self.no_longer_wanted(&job_id);
            }
            if self.wanted.lock().get(&job_id) == Some(&false)
                && cancelled_at.is_none_or(|at| at.elapsed() > CANCEL_PAUSE)
            {
                cancelled_at = Some(Instant::now());
                self.server.end(&job_id).await;
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.wanted.lock().remove(&job_id);
        drop(pass);
    }

    /// Nobody waits for a query any more.
    fn no_longer_wanted(&self, job_id: &JobId) {
        if let Some(is_wanted) = self.wanted.lock().get_mut(job_id) {
            *is_wanted = false;
        }
    }

    async fn graph(&self, job_id: &JobId) -> Option<ExecutionGraphBox> {
        self.jobs.get_execution_graph(job_id).await.ok().flatten()
    }
}

/// Whether a query still goes on, from what is told of it again and again.
struct Life {
    /// When it was known last.
    known_at: Instant,
}

impl Life {
    fn goes_on(&mut self, status: Option<&job_status::Status>, now: Instant) -> bool {
        use job_status::Status::{Failed, Queued, Running, Successful};
        match status {
            Some(Queued(_) | Running(_)) => {
                self.known_at = now;
                true
            }
            Some(Successful(_) | Failed(_)) => false,
            None => now.duration_since(self.known_at) <= UNKNOWN_LONGEST,
        }
    }
}

/// Who worked on a stage, as an operator without metrics.
fn workers(stage: &ExecutionStage) -> Option<OperatorWithMetrics> {
    let mut counts = BTreeMap::new();
    for task in stage.task_infos()? {
        if let TaskStatus::Successful(task) = &task.task_status {
            *counts.entry(&task.executor_id).or_insert(0) += 1;
        }
    }
    let told = counts.into_iter().map(|(executor, tasks)| match tasks {
        1 => format!("{executor} (1 task)"),
        tasks => format!("{executor} ({tasks} tasks)"),
    });
    Some(OperatorWithMetrics {
        operator_type: EXECUTORS.into(),
        operator_desc: told.collect::<Vec<_>>().join(", "),
        ..OperatorWithMetrics::default()
    })
}

#[async_trait]
impl SchedulerGrpc for Gatekeeper {
    type ExecuteQueryPushStream = PushStream;

    async fn execute_query(
        &self,
        request: Request<ExecuteQueryParams>,
    ) -> Result<Response<ExecuteQueryResult>, Status> {
        let pass = self.admission.enter(&request.get_ref().session_id).await;
        let pass = pass.map_err(|error| Status::resource_exhausted(error.to_string()))?;
        let response = self.server.execute_query(request).await?;
        if let Some(execute_query_result::Result::Success(accepted)) = &response.get_ref().result {
            let job_id: JobId = accepted.job_id.as_str().into();
            self.wanted.lock().insert(job_id.clone(), true);
            tokio::spawn(self.clone().accompany(job_id, pass));
        }
        Ok(response)
    }

    async fn execute_query_push(
        &self,
        _: Request<ExecuteQueryParams>,
    ) -> Result<Response<Self::ExecuteQueryPushStream>, Status> {
        Err(Status::unimplemented("queries are taken by execute_query"))
    }

    async fn get_job_status(
        &self,
        request: Request<GetJobStatusParams>,
    ) -> Result<Response<GetJobStatusResult>, Status> {
        let job_id: JobId = request.get_ref().job_id.as_str().into();
        let is_asked = TasksDone::is_asked(request.metadata());
        let mut response = self.server.get_job_status(request).await?;
        if is_asked && let Some(tasks) = self.server.tasks_done(&job_id).await {
            tasks.tell(response.metadata_mut());
        }
        let status = response.get_mut().status.as_mut().and_then(|status| status.status.as_mut());
        if let Some(job_status::Status::Failed(failed)) = status
            && let Some(time) = self.admission.limits().time_max
            && self.overdue.lock().contains(&job_id)
        {
            failed.error = format!(
                "{}: the query ran longer than the {} s that its scheduler allows; ask for less, or \
                 start the scheduler with a longer --time-limit",
                ErrorKind::Exhausted.label(),
                time.as_secs()
            );
        }
        Ok(response)
    }

    async fn get_job_metrics(
        &self,
        request: Request<GetJobMetricsParams>,
    ) -> Result<Response<GetJobMetricsResult>, Status> {
        let job_id: JobId = request.get_ref().job_id.as_str().into();
        let graph = self.graph(&job_id).await;
        let mut response = self.server.get_job_metrics(request).await?;
        for stage in &mut response.get_mut().stages {
            let found =
                graph.as_ref().and_then(|graph| graph.stages().get(&(stage.stage_id as usize)));
            stage.operators.extend(found.and_then(workers));
        }
        Ok(response)
    }

    async fn clean_job_data(
        &self,
        request: Request<CleanJobDataParams>,
    ) -> Result<Response<CleanJobDataResult>, Status> {
        let job_id: JobId = request.get_ref().job_id.as_str().into();
        self.overdue.lock().remove(&job_id);
        self.server.clean_job_data(request).await
    }

    async fn cancel_job(
        &self,
        request: Request<CancelJobParams>,
    ) -> Result<Response<CancelJobResult>, Status> {
        self.no_longer_wanted(&request.get_ref().job_id.as_str().into());
        self.server.cancel_job(request).await
    }

    async fn poll_work(
        &self,
        request: Request<PollWorkParams>,
    ) -> Result<Response<PollWorkResult>, Status> {
        self.server.poll_work(request).await
    }

    async fn register_executor(
        &self,
        request: Request<RegisterExecutorParams>,
    ) -> Result<Response<RegisterExecutorResult>, Status> {
        self.server.register_executor(request).await
    }

    async fn heart_beat_from_executor(
        &self,
        request: Request<HeartBeatParams>,
    ) -> Result<Response<HeartBeatResult>, Status> {
        self.server.heart_beat_from_executor(request).await
    }

    async fn update_task_status(
        &self,
        request: Request<UpdateTaskStatusParams>,
    ) -> Result<Response<UpdateTaskStatusResult>, Status> {
        self.server.update_task_status(request).await
    }

    async fn create_update_session(
        &self,
        request: Request<CreateUpdateSessionParams>,
    ) -> Result<Response<CreateUpdateSessionResult>, Status> {
        self.server.create_update_session(request).await
    }

    async fn remove_session(
        &self,
        request: Request<RemoveSessionParams>,
    ) -> Result<Response<RemoveSessionResult>, Status> {
        self.server.remove_session(request).await
    }

    async fn executor_stopped(
        &self,
        request: Request<ExecutorStoppedParams>,
    ) -> Result<Response<ExecutorStoppedResult>, Status> {
        self.server.executor_stopped(request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_that_is_not_known_yet_goes_on_until_it_has_ended() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut life = Life { known_at: begun };
        assert!(life.goes_on(None, at(1)));
        assert!(life.goes_on(Some(&job_status::Status::Queued(Default::default())), at(60)));
        assert!(life.goes_on(None, at(64)));
        assert!(!life.goes_on(Some(&job_status::Status::Failed(Default::default())), at(65)));
        assert!(!life.goes_on(None, at(66)));
    }
}
