//! Whether anybody waits for the query of a task.
//!
//! Ballista cancels the tasks of a query once. A task that has not begun when the message comes, or
//! whose message is lost, would keep its place for as long as it computes. So each task asks the
//! scheduler now and then, and ends when its query has ended.

use std::sync::Arc;
use std::time::Duration;

use ballista_core::JobId;
use ballista_core::serde::protobuf::{GetJobStatusParams, job_status};
use datafusion::error::DataFusionError;
use tokio::sync::Mutex;

use super::contact::{Client, Contact};

/// How often a task asks.
const PAUSE: Duration = Duration::from_secs(2);
/// How often in a row its query must be unknown: it is for a moment, as it ends.
const UNKNOWN: u32 = 2;

/// Asks a scheduler about queries.
#[derive(Clone, Debug)]
pub struct Wanted {
    scheduler: Contact,
    /// The connection, once there is one.
    client: Arc<Mutex<Option<Client>>>,
}

impl Wanted {
    /// Asks this scheduler.
    pub fn new(scheduler: Contact) -> Self {
        Self { scheduler, client: Arc::default() }
    }

    /// Waits until a query has ended.
    pub async fn no_longer(&self, job_id: &JobId) -> DataFusionError {
        let mut unknown = 0;
        loop {
            tokio::time::sleep(PAUSE).await;
            // whoever notices that the scheduler is gone ends all tasks
            let Some(status) = self.status(job_id).await else { continue };
            match status {
                Some(job_status::Status::Queued(_) | job_status::Status::Running(_)) => unknown = 0,
                Some(job_status::Status::Successful(_) | job_status::Status::Failed(_)) => break,
                None => unknown += 1,
            }
            if unknown == UNKNOWN {
                break;
            }
        }
        DataFusionError::Execution("the query of this task has ended".into())
    }

    /// What the scheduler says of a query; nothing if it does not answer.
    async fn status(&self, job_id: &JobId) -> Option<Option<job_status::Status>> {
        let mut kept = self.client.lock().await;
        let mut client = match kept.take() {
            Some(client) => client,
            None => self.scheduler.connect().await.ok()?,
        };
        *kept = Some(client.clone());
        drop(kept);
        let question = GetJobStatusParams { job_id: job_id.as_str().into() };
        let told = client.get_job_status(question).await.ok()?;
        Some(told.into_inner().status.and_then(|status| status.status))
    }
}
