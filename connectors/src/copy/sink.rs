//! The end of a COPY's plan: rows in, their count out, a file on the way.
//!
//! Batches are worked on by the session's threads for computing, as many at once; which of them is
//! first does not matter. After an error, or when nobody waits any more, nothing is left of the file.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use almagest_engine::exec::ComputeThreads;
use almagest_engine::{Error, Result};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::datasource::sink::DataSink;
use datafusion::error::Result as DfResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType};
use futures::stream::{self, FuturesUnordered, Stream, StreamExt};

use super::Begin;
use crate::cells::{Cells, Layout};

/// Writes one array file.
#[derive(Debug)]
pub struct ArraySink {
    format: &'static str,
    path: PathBuf,
    begin: Arc<dyn Begin>,
    layout: Arc<Layout>,
    schema: SchemaRef,
    metrics: ExecutionPlanMetricsSet,
}

impl ArraySink {
    /// Writes rows of `schema` to `path`.
    pub fn new(
        format: &'static str,
        path: PathBuf,
        begin: Arc<dyn Begin>,
        layout: Layout,
        schema: SchemaRef,
    ) -> Self {
        Self {
            format,
            path,
            begin,
            layout: Arc::new(layout),
            schema,
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    async fn write(
        &self,
        rows: SendableRecordBatchStream,
        context: &Arc<TaskContext>,
    ) -> DfResult<u64> {
        let config = context.session_config();
        let threads = config.get_extension::<ComputeThreads>();
        let threads =
            threads.unwrap_or_else(|| Arc::new(ComputeThreads::new(config.target_partitions())));
        let at_once = config.target_partitions().max(1) * 2;

        let (begin, layout, path) =
            (Arc::clone(&self.begin), Arc::clone(&self.layout), self.path.clone());
        let runtime = Arc::clone(context);
        let spilled_bytes = MetricBuilder::new(&self.metrics).spilled_bytes(0);
        let beginning = move || {
            let target = begin.begin(&path, &layout, &runtime)?;
            Ok(Cells::begin(layout, target, &runtime, spilled_bytes)?)
        };
        let cells = Arc::new(threads.run(beginning).await?);
        // Threads go on for a moment when nobody waits any more, and may be cut off by the end of the
        // process: so the file is removed here.
        let _remover = cells.remover();

        let adding = Arc::clone(&cells);
        let work = rows.map(move |batch| {
            let cells = Arc::clone(&adding);
            batch.map(|batch| move || cells.add(&batch).map(|()| batch.num_rows() as u64))
        });
        let count = run_all(&threads, at_once, work).await?;

        let mut cells = sole(cells)?;
        let rest = threads.run(move || Ok((cells.rest()?, cells)));
        let (rest, cells) = rest.await?;
        let cells = Arc::new(cells);
        let writing = Arc::clone(&cells);
        let work = rest.into_iter().map(move |chunk| {
            let cells = Arc::clone(&writing);
            Ok(move || cells.write_rest(&chunk).map(|()| 0))
        });
        run_all(&threads, at_once, stream::iter(work)).await?;
        let cells = sole(cells)?;
        threads.run(move || Ok(cells.end()?)).await?;
        Ok(count)
    }
}

impl DisplayAs for ArraySink {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let dims = self.layout.dims.iter().map(|dim| dim.name.as_str());
        let dims = dims.collect::<Vec<_>>().join(", ");
        write!(f, "{}(file={}, dims=[{dims}])", self.format, self.path.display())
    }
}

#[async_trait]
impl DataSink for ArraySink {
    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    async fn write_all(
        &self,
        rows: SendableRecordBatchStream,
        context: &Arc<TaskContext>,
    ) -> DfResult<u64> {
        let written = self.write(rows, context).await;
        written.map_err(|cause| Error::from(cause).with("target", self.path.display()).into())
    }
}

/// Runs pieces of work on threads, some at once, and gives the sum of their results. After an error
/// nothing more is begun, and what has begun is waited for.
async fn run_all<W>(
    threads: &ComputeThreads,
    at_once: usize,
    work: impl Stream<Item = DfResult<W>>,
) -> DfResult<u64>
where
    W: FnOnce() -> Result<u64> + Send + 'static,
{
    let mut work = std::pin::pin!(work);
    let mut running = FuturesUnordered::new();
    let mut sum = 0;
    let mut failed = None;
    let mut more = true;
    loop {
        while more && failed.is_none() && running.len() < at_once {
            match work.next().await {
                None => more = false,
                Some(Ok(piece)) => running.push(threads.run(move || Ok(piece()?))),
                Some(Err(cause)) => failed = Some(cause),
            }
        }
        match running.next().await {
            None => break,
            Some(Ok(count)) => sum += count,
            Some(Err(cause)) => failed = failed.or(Some(cause)),
        }
    }
    failed.map_or(Ok(sum), Err)
}

/// What nobody else works on any more.
fn sole(cells: Arc<Cells>) -> Result<Cells> {
    Arc::into_inner(cells).ok_or_else(|| Error::bug("cells are still being added"))
}
