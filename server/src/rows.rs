//! The rows of a statement, as they are made here or come from a server.

use almagest::{Error, ErrorKind, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::runtime::SpawnedTask;
use tokio::sync::mpsc;

/// Batches that may wait for their writer.
pub const BATCHES_WAITING: usize = 4;

/// The rows of a statement, as they are made. Dropping them ends the statement.
pub struct Rows {
    /// Their schema.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: mpsc::Receiver<RecordBatch>,
    /// Makes them.
    pub producer: SpawnedTask<Result<()>>,
}

impl Rows {
    /// How it ended, after the last row.
    ///
    /// # Errors
    /// Those of the statement.
    pub async fn end(self) -> Result<()> {
        joined(self.producer.join().await)
    }
}

/// The outcome of a task that was neither aborted nor panicked.
///
/// # Errors
/// Those of the task; `Cancelled` if it was aborted, `Bug` if it panicked.
pub fn joined<T>(outcome: Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    outcome.map_err(|cause| match cause.is_cancelled() {
        true => Error::new(ErrorKind::Cancelled, "the statement was stopped"),
        false => Error::bug("running the statement panicked").caused_by(cause),
    })?
}
