//! A query on the cluster, from its plan to the last batch of its answer.
//!
//! The scheduler is asked for the state of the query until it is done; then its partitions are
//! fetched from the executors that hold them, one after another, in order. However it ends, the
//! query is not left behind: an unfinished one is cancelled, and what a finished one keeps on the
//! executors' disks is removed.

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use almagest_engine::{Error, Result};
use arrow::datatypes::SchemaRef;
use ballista_core::client::BallistaClient;
use ballista_core::extension::BallistaConfigGrpcEndpoint;
use ballista_core::serde::protobuf::{
    CancelJobParams, CleanJobDataParams, ExecuteQueryParams, GetJobMetricsParams,
    GetJobStatusParams, JobStageMetrics, PartitionLocation, SuccessfulJob, execute_query_result,
    job_status,
};
use ballista_core::version;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result as DfResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};
use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::oneshot;

use super::ClusterKey;
use super::contact::{Client, Contact, MESSAGE_BYTES_MAX};
use super::failure::error_of;
use super::hash_joins;
use super::typed_rows::typed;
use super::work::{TasksDone, WorkMeter};

/// The shortest wait before the scheduler is asked again.
const POLL_SHORTEST: Duration = Duration::from_millis(1);
/// The longest.
const POLL_LONGEST: Duration = Duration::from_millis(100);
/// A query is asked for so often that its answer waits for this part of its time at most.
const POLL_SHARE: u32 = 20;
/// How often it is asked how far a query is.
const WORK_PAUSE: Duration = Duration::from_millis(200);
/// How long a scheduler may not know a query that it accepted.
const UNKNOWN_LONGEST: Duration = Duration::from_secs(5);

/// How often a query is begun if executors are lost.
const ATTEMPTS: usize = 4;
/// What Ballista says of a query that was cancelled. No session waits for one that it cancels itself.
const CANCELLED: &str = "Cancelled";
/// How long tasks of a cancelled query may still write.
const STRAGGLERS: Duration = Duration::from_secs(1);

/// The operator that gives the answer of a query on the cluster.
#[derive(Debug)]
pub struct ClusterQuery {
    scheduler: Contact,
    query: ExecuteQueryParams,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
    work: WorkMeter,
}

impl ClusterQuery {
    /// The query, whose answer has `schema`.
    pub fn new(scheduler: Contact, query: ExecuteQueryParams, schema: SchemaRef) -> Self {
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        let metrics = ExecutionPlanMetricsSet::new();
        let work = WorkMeter::new(&metrics);
        Self { scheduler, query, schema, properties, metrics, work }
    }

    /// Runs the query without fetching its answer, and tells of its stages.
    ///
    /// # Errors
    /// Those of the query.
    pub async fn stages_when_done(&self) -> Result<Vec<JobStageMetrics>> {
        let (mut running, _) = done(self.scheduler.clone(), self.query.clone(), &self.work).await?;
        let asked = GetJobMetricsParams { job_id: running.job_id.clone() };
        let metrics = running.client.get_job_metrics(asked).await;
        let metrics = metrics.map_err(|status| {
            Error::bug("the scheduler does not tell of a query's stages")
                .caused_by(status.message().to_string())
        })?;
        Ok(metrics.into_inner().stages)
    }
}

impl DisplayAs for ClusterQuery {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "ClusterQuery: scheduler={}", self.scheduler)
    }
}

impl ExecutionPlan for ClusterQuery {
    fn name(&self) -> &'static str {
        "ClusterQuery"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let answer = answer(self.scheduler.clone(), self.query.clone(), self.work.clone());
        let schema = Arc::clone(&self.schema);
        let answer = stream::once(answer).try_flatten();
        let answer = answer.map(move |rows| typed(rows?, &schema));
        let answer = answer.map_err(Into::into);
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), answer)))
    }
}

async fn answer(
    scheduler: Contact,
    query: ExecuteQueryParams,
    work: WorkMeter,
) -> Result<impl stream::Stream<Item = Result<arrow::array::RecordBatch>>> {
    let (running, done) = done(scheduler, query, &work).await?;
    let key = running.scheduler.key.clone();
    let partitions = stream::iter(done.partition_location);
    let partitions = partitions.then(move |place| fetched(place, key.clone())).try_flatten();
    Ok(partitions.inspect(move |_| {
        // held until the last partition was read, or nobody reads any more
        let _ = &running;
    }))
}

/// Runs a query, and anew if executors are lost meanwhile, or if its joins did not fit into memory
/// and can sort instead: nothing was given to anybody before.
async fn done(
    scheduler: Contact,
    mut query: ExecuteQueryParams,
    work: &WorkMeter,
) -> Result<(Running, SuccessfulJob)> {
    let mut attempts = 0;
    while attempts < ATTEMPTS {
        let mut running = Running::submit(scheduler.clone(), query.clone()).await?;
        match running.wait(work).await {
            Ok(Some(done)) => return Ok((running, done)),
            Ok(None) => {
                attempts += 1;
                log::warn!("executors were lost; the query is begun anew");
            }
            Err(error) if hash_joins::are_too_large(&error) && !hash_joins::are_off(&query) => {
                log::warn!("a join's hash table does not fit into memory; it is sorted instead");
                hash_joins::turn_off(&mut query);
            }
            Err(error) => return Err(error),
        }
    }
    Err(Error::unreachable(format!(
        "executors were lost each of {ATTEMPTS} times that the query ran; run it again when the \
         cluster is steady, or on fewer executors"
    )))
}

/// A query that the scheduler has accepted. Dropped, it is cancelled or cleaned up.
struct Running {
    client: Client,
    scheduler: Contact,
    job_id: String,
    is_done: bool,
}

impl Running {
    async fn submit(scheduler: Contact, query: ExecuteQueryParams) -> Result<Self> {
        // A task of its own: if nobody waits any more, the id must still come to be cancelled.
        let (tell, told) = oneshot::channel();
        tokio::spawn(async move {
            let _ = tell.send(Self::submitted(scheduler, query).await);
        });
        told.await.map_err(|_| Error::bug("a query was lost before it was sent"))?
    }

    async fn submitted(scheduler: Contact, query: ExecuteQueryParams) -> Result<Self> {
        let mut client = scheduler.connect().await?;
        let mut request = tonic::Request::new(query);
        version::insert_version_header(request.metadata_mut());
        let response = client.execute_query(request).await;
        let response = response.map_err(|status| refused(&scheduler, &status))?.into_inner();
        match response.result {
            Some(execute_query_result::Result::Success(accepted)) => {
                Ok(Self { client, scheduler, job_id: accepted.job_id, is_done: false })
            }
            Some(execute_query_result::Result::Failure(failure)) => {
                Err(error_of(&format!("{failure:?}")))
            }
            None => Err(Error::bug("the scheduler answered a query with nothing")),
        }
    }

    /// The end of the query; `None` if the scheduler cancelled it to be begun anew.
    async fn wait(&mut self, work: &WorkMeter) -> Result<Option<SuccessfulJob>> {
        let begun = Instant::now();
        let (mut known, mut asked_at) = (begun, begun);
        loop {
            let question = GetJobStatusParams { job_id: self.job_id.clone() };
            let mut question = tonic::Request::new(question);
            if asked_at.elapsed() >= WORK_PAUSE {
                asked_at = Instant::now();
                TasksDone::ask(question.metadata_mut());
            }
            let status = self.client.get_job_status(question).await;
            let status = status.map_err(|status| {
                lost(&self.scheduler).caused_by(Error::unreachable(status.message()))
            })?;
            if let Some(told) = TasksDone::told(status.metadata()) {
                work.set(told);
            }
            match status.into_inner().status.and_then(|status| status.status) {
                Some(job_status::Status::Successful(done)) => {
                    self.is_done = true;
                    return Ok(Some(done));
                }
                Some(job_status::Status::Failed(failed)) => {
                    self.is_done = true;
                    if failed.error == CANCELLED {
                        return Ok(None);
                    }
                    return Err(error_of(&failed.error));
                }
                Some(job_status::Status::Queued(_) | job_status::Status::Running(_)) => {
                    known = Instant::now();
                }
                None if known.elapsed() > UNKNOWN_LONGEST => return Err(lost(&self.scheduler)),
                None => {}
            }
            let pause = begun.elapsed() / POLL_SHARE;
            tokio::time::sleep(pause.clamp(POLL_SHORTEST, POLL_LONGEST)).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (mut client, job_id) = (self.client.clone(), std::mem::take(&mut self.job_id));
        let is_done = self.is_done;
        // Nobody waits for the outcome: the scheduler also cleans up after a while.
        runtime.spawn(async move {
            if !is_done {
                let cancelled = CancelJobParams { job_id: job_id.clone() };
                let _ = client.cancel_job(cancelled).await;
                // a task that was just ending may still have written something
                tokio::time::sleep(STRAGGLERS).await;
            }
            let _ = client
                .clean_job_data(CleanJobDataParams { job_id, remove_stage_ids: vec![] })
                .await;
        });
    }
}

fn refused(scheduler: &Contact, status: &tonic::Status) -> Error {
    match status.code() {
        _ if status.source().is_some() => scheduler.broken(status),
        tonic::Code::Unavailable => lost(scheduler),
        _ => error_of(status.message()),
    }
}

fn lost(scheduler: &Contact) -> Error {
    Error::unreachable(format!(
        "the scheduler at {scheduler} no longer knows the query; if it was started anew, run the \
         statement again"
    ))
}

/// The rows of one partition.
async fn fetched(
    location: PartitionLocation,
    key: Option<ClusterKey>,
) -> Result<impl stream::Stream<Item = Result<arrow::array::RecordBatch>>> {
    let layout = location.layout();
    let damaged = || Error::bug("the scheduler names no place for a result");
    let executor = location.executor_meta.ok_or_else(damaged)?;
    let partition = location.partition_id.ok_or_else(damaged)?;
    let (host, port) = (executor.host.clone(), executor.port as u16);
    let gone = move |cause: String| {
        Error::unreachable(format!(
            "the executor at {host}:{port} no longer gives a part of the answer: {cause}; run the \
             statement again"
        ))
    };
    const RETRIES: u8 = 3;
    const RETRY_WAIT_MS: u64 = 200;
    let limit = MESSAGE_BYTES_MAX as usize;
    let client = BallistaClient::try_new(
        &executor.host,
        port,
        limit,
        key.is_some(),
        key.map(|key| Arc::new(BallistaConfigGrpcEndpoint::new(key.for_all()))),
        RETRIES,
        RETRY_WAIT_MS,
        0,
        0,
    );
    let mut client = client.await.map_err(|cause| gone(cause.to_string()))?;
    let partition = partition.into();
    let rows = client.fetch_partition(&executor.id, &partition, location.file_id, layout, true);
    let rows = rows.await.map_err(|cause| gone(cause.to_string()))?;
    Ok(rows.map_err(move |cause| gone(cause.to_string())))
}
