//! Ends a task of a cluster, all that it started included.
//!
//! Stage: on an executor, around the plan of a task. In: a plan. Out: the same plan, whose leaves give
//! an error instead of rows once the task has [`Ended`]; operators that work by turns look too.
//!
//! Ballista runs a task's plan as Tokio tasks of their own, which go on when the task is dropped: a
//! query that was cancelled would compute to its end.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use datafusion::prelude::SessionConfig;
use futures::{Stream, StreamExt};

use super::around::stands_around_its_input;
use crate::Error;
use crate::walk::Walk;

/// Whether a task has ended. It stands in the settings of its context.
#[derive(Debug, Default)]
pub struct Ended(AtomicBool);

impl Ended {
    /// The settings of a task that ends when what is returned beside them is dropped.
    pub fn with_dropped(settings: SessionConfig) -> (SessionConfig, EndsTask) {
        let ended = Arc::new(Self::default());
        (settings.with_extension(Arc::clone(&ended)), EndsTask(ended))
    }

    /// Of a task; one that never ends if the context knows none.
    pub(super) fn of(context: &TaskContext) -> Arc<Self> {
        context.session_config().get_extension::<Self>().unwrap_or_default()
    }

    /// An error if the task has ended.
    pub(super) fn check(&self) -> DfResult<()> {
        if self.0.load(Ordering::Relaxed) {
            return Err(DataFusionError::Execution("the task has ended".into()));
        }
        Ok(())
    }
}

/// Dropped, it ends the task to which it belongs.
#[derive(Debug)]
pub struct EndsTask(Arc<Ended>);

impl Drop for EndsTask {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// The plan, whose leaves heed the end of its task.
///
/// # Errors
/// `Bug` if an operator does not take its own children back.
pub fn heeding_its_end(plan: Arc<dyn ExecutionPlan>) -> DfResult<Arc<dyn ExecutionPlan>> {
    let changed = plan.change_up(&mut |plan| {
        Ok(match plan.children().is_empty() {
            true => Transformed::yes(Arc::new(HeedExec { input: plan }) as _),
            false => Transformed::no(plan),
        })
    });
    changed.data()
}

/// A leaf.
#[derive(Debug)]
struct HeedExec {
    input: Arc<dyn ExecutionPlan>,
}

stands_around_its_input!(HeedExec, |_this, input| HeedExec { input });

impl HeedExec {
    fn run(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DfResult<SendableRecordBatchStream> {
        let ended = Ended::of(&context);
        let input = self.input.execute(partition, context)?;
        Ok(Box::pin(Heeding { input, ended }))
    }
}

struct Heeding {
    input: SendableRecordBatchStream,
    ended: Arc<Ended>,
}

impl Stream for Heeding {
    type Item = DfResult<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.ended.check()?;
        self.input.poll_next_unpin(context)
    }
}

impl RecordBatchStream for Heeding {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::{by_turns, with_settings};
    use crate::registry::Registry;
    use crate::{Session, SessionOptions};

    #[tokio::test]
    async fn a_task_that_has_ended_gives_no_more_rows() {
        let session = Session::try_new(&Registry::default(), &SessionOptions::default()).unwrap();
        for sql in [
            "SELECT value FROM generate_series(1, 100000000000)",
            // all pairs of some rows, which are asked for no more once they are there
            "SELECT count(*) FROM generate_series(1, 100000) a JOIN generate_series(1, 100000) b \
             ON a.value > b.value + 9999999",
        ] {
            let frame = session.sql(sql).await.unwrap();
            let context = frame.task_ctx();
            let (settings, ends) = Ended::with_dropped(context.session_config().clone());
            let context = Arc::new(with_settings(&context, settings));
            let plan = frame.create_physical_plan().await.unwrap();
            let plan = heeding_its_end(by_turns(plan).unwrap()).unwrap();
            let mut rows = datafusion::physical_plan::execute_stream(plan, context).unwrap();
            if sql.starts_with("SELECT value") {
                assert!(rows.next().await.unwrap().is_ok());
            } else {
                assert!(futures::poll!(rows.next()).is_pending());
            }
            drop(ends);
            let error = loop {
                match rows.next().await.unwrap() {
                    Ok(_) => {}
                    Err(error) => break error,
                }
            };
            assert!(error.to_string().contains("has ended"), "{error}");
        }
    }
}
