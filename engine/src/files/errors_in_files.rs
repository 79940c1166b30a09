//! Names the file in errors of files that are read line by line.
//!
//! Stage: after physical planning. In: a plan. Out: the same plan, whose scans of CSV and JSON say of an
//! error which file it is in. DataFusion's say the line alone, which of many files is anyone's guess.

use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{
    CsvSource, FileOpenFuture, FileOpener, FileScanConfig, FileScanConfigBuilder, FileSource,
    JsonSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{DisplayFormatType, ExecutionPlan};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;

use crate::Error;

/// The plan, ready to run.
///
/// # Errors
/// `Bug` if an operator does not take its own children back.
pub fn naming_files(plan: Arc<dyn ExecutionPlan>) -> DfResult<Arc<dyn ExecutionPlan>> {
    let named = plan.transform_up(|plan| {
        let scan = plan.downcast_ref::<DataSourceExec>();
        let scan = scan.and_then(|scan| scan.data_source().downcast_ref::<FileScanConfig>());
        let Some(scan) = scan.filter(|scan| is_read_by_line(scan.file_source.as_ref())) else {
            return Ok(Transformed::no(plan));
        };
        let source = Arc::new(Naming(Arc::clone(&scan.file_source)));
        let scan = FileScanConfigBuilder::from(scan.clone()).with_source(source).build();
        Ok(Transformed::yes(DataSourceExec::from_data_source(scan) as _))
    });
    named.data()
}

fn is_read_by_line(source: &dyn FileSource) -> bool {
    source.is::<CsvSource>() || source.is::<JsonSource>()
}

/// A kind of file whose errors name the file.
struct Naming(Arc<dyn FileSource>);

impl FileSource for Naming {
    fn create_file_opener(
        &self,
        store: Arc<dyn ObjectStore>,
        scan: &FileScanConfig,
        partition: usize,
    ) -> DfResult<Arc<dyn FileOpener>> {
        let opener = self.0.create_file_opener(store, scan, partition)?;
        let tells_lines = self.0.is::<CsvSource>();
        Ok(Arc::new(NamingOpener { opener, store: scan.object_store_url.clone(), tells_lines }))
    }

    fn table_schema(&self) -> &TableSchema {
        self.0.table_schema()
    }

    fn with_batch_size(&self, rows: usize) -> Arc<dyn FileSource> {
        Arc::new(Self(self.0.with_batch_size(rows)))
    }

    fn filter(&self) -> Option<Arc<dyn PhysicalExpr>> {
        self.0.filter()
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        self.0.projection()
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.0.metrics()
    }

    fn file_type(&self) -> &str {
        self.0.file_type()
    }

    fn fmt_extra(&self, kind: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        self.0.fmt_extra(kind, f)
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        self.0.apply_expressions(visit)
    }
}

/// Whether DataFusion refuses to read a part of a file.
fn is_read_whole(error: &DataFusionError) -> bool {
    matches!(
        error.find_root(),
        DataFusionError::NotImplemented(message) if message.contains("range-based file scanning")
    )
}

struct NamingOpener {
    opener: Arc<dyn FileOpener>,
    store: ObjectStoreUrl,
    tells_lines: bool,
}

impl FileOpener for NamingOpener {
    fn open(&self, file: PartitionedFile) -> DfResult<FileOpenFuture> {
        let place = match self.store == ObjectStoreUrl::local_filesystem() {
            true => format!("/{}", file.object_meta.location),
            false => format!("{}{}", self.store.as_str(), file.object_meta.location),
        };
        // Arrow counts from 0, and in a long file that several threads read each from where it begins
        let counted =
            self.tells_lines.then(|| match file.range.as_ref().map(|range| range.start) {
                None | Some(0) => "0".to_string(),
                Some(begin) => format!("0 at byte {begin}"),
            });
        let named = move |error: DataFusionError| {
            let error = Error::from(error).with("file", &place);
            DataFusionError::from(match &counted {
                Some(counted) => error.with("lines counted from", counted),
                None => error,
            })
        };
        let opened = match (self.opener.open(file.clone()), &file.range) {
            // A file that holds one JSON array is read whole, though DataFusion shares it out: by who
            // has its beginning.
            (Err(error), Some(range)) if is_read_whole(&error) => match range.start {
                0 => self.opener.open(PartitionedFile { range: None, ..file }),
                _ => Ok(async { Ok(stream::empty().boxed()) }.boxed()),
            },
            (opened, _) => opened,
        };
        let opened = opened.map_err(&named)?;
        Ok(async move {
            let rows = opened.await.map_err(&named)?;
            Ok(rows.map_err(named).boxed())
        }
        .boxed())
    }
}
