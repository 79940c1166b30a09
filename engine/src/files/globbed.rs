//! Tables over a glob, on the way to another process.
//!
//! DataFusion writes a table of files with the folders it lists, but without the pattern that its
//! files must match: read back, it would hold other files too. [`keep_globs`] puts such tables into
//! a wrapper that [`crate::codec`] writes whole.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::Transformed;
use datafusion::datasource::listing::{ListingTable, ListingTableConfig};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Expr, LogicalPlan, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use futures::future::BoxFuture;

use crate::walk::WalkPlan;
use crate::{Error, Result};

/// A table of files, some of whose paths end in a glob.
#[derive(Debug)]
pub struct GlobbedTable {
    table: Arc<dyn TableProvider>,
}

impl GlobbedTable {
    /// The table inside, which is a `ListingTable`.
    pub fn table(&self) -> &Arc<dyn TableProvider> {
        &self.table
    }

    /// The glob of each path, empty for none.
    pub fn globs(&self) -> Vec<String> {
        let table = self.table.downcast_ref::<ListingTable>();
        let paths = table.map_or(&[][..], |table| table.table_paths().as_slice());
        let glob = |path: &datafusion::datasource::listing::ListingTableUrl| {
            path.get_glob().as_ref().map_or_else(String::new, |glob| glob.as_str().to_string())
        };
        paths.iter().map(glob).collect()
    }

    /// The table that `table` is once its paths have these globs again.
    ///
    /// # Errors
    /// `DataInvalid` if `table` is no table of files, or has another number of paths.
    pub fn restored(table: &dyn TableProvider, globs: &[String]) -> DfResult<ListingTable> {
        let wrong = || Error::data_invalid("a table of files came damaged");
        let table = table.downcast_ref::<ListingTable>().ok_or_else(wrong)?;
        if table.table_paths().len() != globs.len() {
            return Err(wrong().into());
        }
        let paths = table.table_paths().iter().zip(globs).map(|(path, glob)| match glob.as_str() {
            "" => Ok(path.clone()),
            glob => path.clone().with_glob(glob),
        });
        let partitions = &table.options().table_partition_cols;
        let schema = table.schema();
        let of_files =
            |index: &usize| partitions.iter().all(|(name, _)| name != schema.field(*index).name());
        let of_files: Vec<usize> = (0..schema.fields().len()).filter(of_files).collect();
        let config = ListingTableConfig::new_with_multi_paths(paths.collect::<DfResult<_>>()?)
            .with_listing_options(table.options().clone())
            .with_schema(Arc::new(schema.project(&of_files)?));
        ListingTable::try_new(config)
    }
}

/// The plan with wrappers around tables that have globs.
///
/// # Errors
/// `Bug` if a table is no table.
pub fn keep_globs(plan: LogicalPlan) -> Result<LogicalPlan> {
    let kept = plan.change_up_with_subqueries(&mut |node| {
        let LogicalPlan::TableScan(mut scan) = node else { return Ok(Transformed::no(node)) };
        let table = source_as_provider(&scan.source)?;
        let has_globs = table
            .downcast_ref::<ListingTable>()
            .is_some_and(|table| table.table_paths().iter().any(|path| path.get_glob().is_some()));
        if has_globs {
            scan.source = provider_as_source(Arc::new(GlobbedTable { table }));
        }
        Ok(Transformed::new_transformed(LogicalPlan::TableScan(scan), has_globs))
    })?;
    Ok(kept.data)
}

impl TableProvider for GlobbedTable {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn table_type(&self) -> TableType {
        self.table.table_type()
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> DfResult<Vec<TableProviderFilterPushDown>> {
        self.table.supports_filters_pushdown(filters)
    }

    fn scan<'a, 'b, 'c, 'd, 'r>(
        &'a self,
        session: &'b dyn Session,
        projection: Option<&'c Vec<usize>>,
        filters: &'d [Expr],
        limit: Option<usize>,
    ) -> BoxFuture<'r, DfResult<Arc<dyn ExecutionPlan>>>
    where
        'a: 'r,
        'b: 'r,
        'c: 'r,
        'd: 'r,
    {
        self.table.scan(session, projection, filters, limit)
    }
}
