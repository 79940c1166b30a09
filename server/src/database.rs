//! Where statements run: in a session of this process, or on a server.
//!
//! In: a statement. Out: [`Rows`] as they are made. Not here: writing them (`run.rs`), nor the
//! protocol (`remote.rs`).

use std::sync::Arc;

use almagest::{Result, Session};
use almagest_engine::exec::progress::Progress;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::runtime::SpawnedTask;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::StreamExt;
use tokio::sync::mpsc;

use crate::names::Names;
use crate::progress::Meter;
#[cfg(feature = "flight")]
use crate::remote::Remote;
use crate::rows::{BATCHES_WAITING, Rows, joined};

/// Where statements run.
pub enum Database {
    /// In this process, or on executors that it directs.
    Here(Session),
    /// On a server.
    #[cfg(feature = "flight")]
    There(Remote),
}

impl Database {
    /// Begins a statement that gives rows; runs any other. The meter shows how far it is.
    ///
    /// # Errors
    /// Those of the statement.
    pub async fn begin(&self, statement: &str, meter: &Meter) -> Result<Option<Rows>> {
        let session = match self {
            Self::Here(session) => session,
            #[cfg(feature = "flight")]
            Self::There(remote) => return remote.begin(statement, meter).await,
        };
        let planning = SpawnedTask::spawn(plan(session.clone(), statement.to_string()));
        let Some((plan, context)) = joined(planning.join().await)? else { return Ok(None) };
        if meter.is_shown() {
            let progress = Progress::of(&plan);
            meter.watch(move || progress.now());
        }
        let schema = plan.schema();
        let (sender, batches) = mpsc::channel(BATCHES_WAITING);
        let producer = SpawnedTask::spawn(produce(plan, context, sender));
        Ok(Some(Rows { schema, batches, producer }))
    }

    /// The names that can stand in a statement now.
    pub async fn names(&self) -> Names {
        match self {
            Self::Here(session) => Names::of(session).await,
            #[cfg(feature = "flight")]
            Self::There(remote) => remote.names().await,
        }
    }

    /// The schema of what a query would give.
    ///
    /// # Errors
    /// Those of planning it.
    pub async fn schema(&self, sql: &str) -> Result<SchemaRef> {
        match self {
            Self::Here(session) => Ok(Arc::clone(session.sql(sql).await?.schema().inner())),
            #[cfg(feature = "flight")]
            Self::There(remote) => remote.schema(sql).await,
        }
    }

    /// What explains functions.
    pub fn explaining(&self) -> &Session {
        match self {
            Self::Here(session) => session,
            #[cfg(feature = "flight")]
            Self::There(remote) => remote.own(),
        }
    }

    /// Whether names of files are those of this machine.
    pub fn is_here(&self) -> bool {
        matches!(self, Self::Here(_))
    }

    /// Says that no statement follows.
    pub async fn close(&self) {
        match self {
            Self::Here(_) => {}
            #[cfg(feature = "flight")]
            Self::There(remote) => remote.close().await,
        }
    }
}

/// The physical plan of a statement that answers with rows; runs any other.
async fn plan(
    session: Session,
    statement: String,
) -> Result<Option<(Arc<dyn ExecutionPlan>, Arc<TaskContext>)>> {
    let frame = session.sql(&statement).await?;
    if frame.schema().fields().is_empty() {
        frame.collect().await?;
        return Ok(None);
    }
    let context = Arc::new(frame.task_ctx());
    Ok(Some((session.physical_plan(frame).await?, context)))
}

async fn produce(
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    sender: mpsc::Sender<RecordBatch>,
) -> Result<()> {
    let mut stream = execute_stream(plan, context)?;
    while let Some(batch) = stream.next().await {
        if sender.send(batch?).await.is_err() {
            break;
        }
    }
    Ok(())
}
