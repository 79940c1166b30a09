//! A COPY or INSERT whose rows fail writes nothing.
//!
//! DataFusion's writers of files take an error in their rows for the end of the rows: they finish the
//! file, which then has its name and a part of its rows, where there may have been another before. So
//! they write through stores that finish no file once rows failed. A file that was whole before that, as
//! the first of several in a folder can be, stays.

use std::fmt;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::datasource::sink::{DataSink, DataSinkExec};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::object_store::ObjectStoreRegistry;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan};
use futures::TryStreamExt;
use futures::stream::BoxStream;
use object_store::path::Path as StorePath;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as StoreResult, UploadPart,
};
use url::Url;

use super::partition_columns;
use crate::Error;
use crate::exec::with_settings;
use crate::walk::Walk;

/// The physical plan of `statement`, whose writers write nothing if their rows fail.
///
/// # Errors
/// `Bug` if an operator does not take its own children back.
pub fn guarding_sinks(
    plan: Arc<dyn ExecutionPlan>,
    statement: &LogicalPlan,
) -> DfResult<Arc<dyn ExecutionPlan>> {
    let target = match statement {
        LogicalPlan::Copy(copy) => local(&copy.output_url),
        _ => None,
    };
    let partition_by = partition_columns::of_statement(statement);
    let guarded = plan.change_up(&mut |plan| {
        let Some(writer) = plan.downcast_ref::<DataSinkExec>() else {
            return Ok(Transformed::no(plan));
        };
        let (target, partition_by) = (target.clone(), partition_by.clone());
        let sink = GuardedSink { writer: writer.clone(), target, partition_by };
        let (rows, order) = (Arc::clone(writer.input()), writer.sort_order().clone());
        Ok(Transformed::yes(Arc::new(DataSinkExec::new(rows, Arc::new(sink), order)) as _))
    });
    guarded.data()
}

/// The path of a file or folder of this machine.
pub(super) fn local(target: &str) -> Option<PathBuf> {
    match target.split_once("://") {
        None => Some(target.into()),
        Some(("file", path)) => Some(path.into()),
        Some(_) => None,
    }
}

/// Writes as another sink does, until its rows fail.
#[derive(Debug)]
struct GuardedSink {
    writer: DataSinkExec,
    target: Option<PathBuf>,
    /// The columns that name folders.
    partition_by: Vec<String>,
}

impl DisplayAs for GuardedSink {
    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        self.writer.sink().fmt_as(kind, f)
    }
}

#[async_trait]
impl DataSink for GuardedSink {
    fn metrics(&self) -> Option<MetricsSet> {
        self.writer.sink().metrics()
    }

    fn schema(&self) -> &SchemaRef {
        self.writer.sink().schema()
    }

    async fn write_all(
        &self,
        rows: SendableRecordBatchStream,
        context: &Arc<TaskContext>,
    ) -> DfResult<u64> {
        if let Some(target) = &self.target {
            check_writable(target)?;
        }
        let failure = Failure::default();
        let (schema, told) = (rows.schema(), failure.clone());
        let rows = partition_columns::without_null(rows, &self.partition_by);
        let rows = rows.map_err(move |error| told.tell(error));
        let rows = Box::pin(RecordBatchStreamAdapter::new(schema, rows));
        let mut runtime = context.runtime_env().as_ref().clone();
        let inner = Arc::clone(&runtime.object_store_registry);
        runtime.object_store_registry = Arc::new(GuardedStores { inner, failure: failure.clone() });
        let context = with_settings(context, context.session_config().clone());
        let context = context.with_runtime(Arc::new(runtime));
        let written = self.writer.sink().write_all(rows, &Arc::new(context)).await;
        match failure.first() {
            Some(error) => Err(error),
            None => written.map_err(|error| self.explained(error)),
        }
    }
}

/// The first error of the rows, once there is one.
#[derive(Clone, Debug, Default)]
struct Failure(Arc<OnceLock<Arc<DataFusionError>>>);

impl Failure {
    /// Notes an error, and gives it back.
    fn tell(&self, error: DataFusionError) -> DataFusionError {
        DataFusionError::Shared(Arc::clone(self.0.get_or_init(|| Arc::new(error))))
    }

    fn first(&self) -> Option<DataFusionError> {
        self.0.get().map(|error| DataFusionError::Shared(Arc::clone(error)))
    }

    /// Whether a file may be finished.
    fn check(&self) -> StoreResult<()> {
        match self.first() {
            None => Ok(()),
            Some(source) => Err(object_store::Error::Generic {
                store: "rows that failed",
                source: source.into(),
            }),
        }
    }
}

/// Stores that finish no file once rows failed.
#[derive(Debug)]
struct GuardedStores {
    inner: Arc<dyn ObjectStoreRegistry>,
    failure: Failure,
}

impl ObjectStoreRegistry for GuardedStores {
    fn register_store(
        &self,
        url: &Url,
        store: Arc<dyn ObjectStore>,
    ) -> Option<Arc<dyn ObjectStore>> {
        self.inner.register_store(url, store)
    }

    fn deregister_store(&self, url: &Url) -> DfResult<Arc<dyn ObjectStore>> {
        self.inner.deregister_store(url)
    }

    fn get_store(&self, url: &Url) -> DfResult<Arc<dyn ObjectStore>> {
        let inner = self.inner.get_store(url)?;
        Ok(Arc::new(GuardedStore { inner, failure: self.failure.clone() }))
    }
}

#[derive(Debug)]
struct GuardedStore {
    inner: Arc<dyn ObjectStore>,
    failure: Failure,
}

impl fmt::Display for GuardedStore {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for GuardedStore {
    async fn put_opts(
        &self,
        location: &StorePath,
        payload: PutPayload,
        options: PutOptions,
    ) -> StoreResult<PutResult> {
        self.failure.check()?;
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &StorePath,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        let inner = self.inner.put_multipart_opts(location, options).await?;
        Ok(Box::new(GuardedUpload { inner, failure: self.failure.clone() }))
    }

    async fn get_opts(&self, location: &StorePath, options: GetOptions) -> StoreResult<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, StoreResult<StorePath>>,
    ) -> BoxStream<'static, StoreResult<StorePath>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&StorePath>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&StorePath>) -> StoreResult<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &StorePath,
        to: &StorePath,
        options: CopyOptions,
    ) -> StoreResult<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// A file in parts.
#[derive(Debug)]
struct GuardedUpload {
    inner: Box<dyn MultipartUpload>,
    failure: Failure,
}

#[async_trait]
impl MultipartUpload for GuardedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> StoreResult<PutResult> {
        if let Err(error) = self.failure.check() {
            self.inner.abort().await?;
            return Err(error);
        }
        self.inner.complete().await
    }

    async fn abort(&mut self) -> StoreResult<()> {
        self.inner.abort().await
    }
}

impl GuardedSink {
    /// An error of the writer. DataFusion keeps back the cause of one that could not finish.
    fn explained(&self, error: DataFusionError) -> DataFusionError {
        let unfinished = matches!(
            error.find_root(),
            DataFusionError::Internal(message) if message.contains("finalizing writes")
        );
        if !unfinished {
            return error;
        }
        let error =
            Error::unreachable("the file could not be written to its end; is the disk full?")
                .caused_by(error);
        DataFusionError::from(match &self.target {
            Some(target) => error.with("target", target.display()),
            None => error,
        })
    }
}

/// Whether something can be written there: an object store tells it late, or never.
fn check_writable(target: &Path) -> Result<(), Error> {
    let target = std::path::absolute(target).unwrap_or_else(|_| target.into());
    if std::fs::metadata(&target).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        let error = Error::unsupported(
            "a pipe, socket or device stands where a file would be written; name a file",
        );
        return Err(error.with("target", target.display()));
    }
    let Some(folder) = target.ancestors().skip(1).find(|folder| folder.exists()) else {
        return Ok(());
    };
    let probe = folder.join(format!(".almagest-{}-may-write", std::process::id()));
    // not through a link that somebody left there
    match OpenOptions::new().write(true).create_new(true).open(&probe) {
        Ok(_) => drop(std::fs::remove_file(&probe)),
        // another COPY of this process asks the same
        Err(cause) if cause.kind() == ErrorKind::AlreadyExists => {}
        Err(cause) => {
            let error = Error::denied(format!("cannot write: {cause}"));
            return Err(error.with("target", target.display()));
        }
    }
    Ok(())
}
