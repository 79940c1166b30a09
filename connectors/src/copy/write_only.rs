//! A source of files that reads none.
//!
//! DataFusion asks every file format for one, also a format that only COPY uses; whoever would read
//! from it is told how these files are read.

use std::sync::Arc;

use almagest_engine::Error;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::physical_plan::{FileOpener, FileScanConfig, FileSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result as DfResult;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use object_store::ObjectStore;

/// Reads nothing.
pub struct WriteOnly {
    format: &'static str,
    schema: TableSchema,
    metrics: ExecutionPlanMetricsSet,
}

impl WriteOnly {
    /// For this format.
    pub fn new(format: &'static str, schema: TableSchema) -> Self {
        Self { format, schema, metrics: ExecutionPlanMetricsSet::new() }
    }
}

impl FileSource for WriteOnly {
    fn create_file_opener(
        &self,
        _: Arc<dyn ObjectStore>,
        _: &FileScanConfig,
        _: usize,
    ) -> DfResult<Arc<dyn FileOpener>> {
        Err(Error::unsupported(format!(
            "{} files are not read as rows; use FROM 'path' where the format is read at all",
            self.format
        ))
        .into())
    }

    fn table_schema(&self) -> &TableSchema {
        &self.schema
    }

    fn with_batch_size(&self, _: usize) -> Arc<dyn FileSource> {
        Arc::new(Self::new(self.format, self.schema.clone()))
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        &self.metrics
    }

    fn file_type(&self) -> &str {
        self.format
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }
}
