//! Least and greatest values of float columns in files' statistics are forgotten.
//!
//! Stage: physical planning, before all rules. In: scans of files. Out: the same, whose statistics say nothing
//! that a NaN makes untrue: Parquet files leave NaN out of them. DataFusion 55 reads a column whose least value is
//! its greatest as that constant, takes `min` and `max` from there and finds out by them what is sorted; a NaN
//! would be lost, or become a number (<https://github.com/apache/datafusion/issues/15812>). Statistics of single
//! files stay otherwise: conditions that may prune by them are chosen by [`crate::rewrite`].

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{ColumnStatistics, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result as DfResult;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;

use crate::walk::Walk;

/// The rule.
#[derive(Debug)]
pub struct FloatStatistics;

impl PhysicalOptimizerRule for FloatStatistics {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let changed = plan.change_up(&mut |plan| {
            let scan = plan.downcast_ref::<DataSourceExec>();
            let files = scan.and_then(|scan| scan.data_source().downcast_ref::<FileScanConfig>());
            Ok(match files.and_then(without) {
                Some(files) => Transformed::yes(DataSourceExec::from_data_source(files) as _),
                None => Transformed::no(plan),
            })
        });
        changed.data()
    }

    fn name(&self) -> &'static str {
        "FloatStatistics"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The scan without them, if it has any.
fn without(scan: &FileScanConfig) -> Option<FileScanConfig> {
    let of_all = scan.statistics();
    let of_groups = scan.file_groups.iter().filter_map(|group| group.file_statistics(None));
    let mut of_files = scan.file_groups.iter().flat_map(FileGroup::iter);
    let any = of_groups.chain([&of_all]).any(|known| known.column_statistics.iter().any(of_floats))
        || of_files.any(has_constant);
    if !any {
        return None;
    }
    let groups = scan.file_groups.iter().map(|group| {
        let statistics = group.file_statistics(None).cloned();
        let files = group.iter().cloned().map(without_constant);
        let changed = FileGroup::new(files.collect());
        match statistics {
            Some(statistics) => {
                changed.with_statistics(Arc::new(forgetting(statistics, of_floats)))
            }
            None => changed,
        }
    });
    let groups = groups.collect();
    // of a scan with conditions they are not exact, and say so again after they were set
    let builder = FileScanConfigBuilder::from(scan.clone()).with_file_groups(groups);
    Some(builder.with_statistics(forgetting(of_all, of_floats)).build())
}

fn bounds(column: &ColumnStatistics) -> (Option<&ScalarValue>, Option<&ScalarValue>) {
    (column.min_value.get_value(), column.max_value.get_value())
}

fn of_floats(column: &ColumnStatistics) -> bool {
    let (least, greatest) = bounds(column);
    least.or(greatest).is_some_and(|value| value.data_type().is_floating())
}

/// Whether statistics say that a float column holds one value.
fn of_constant(column: &ColumnStatistics) -> bool {
    let (least, greatest) = bounds(column);
    of_floats(column) && least == greatest
}

fn has_constant(file: &PartitionedFile) -> bool {
    let columns = file.statistics.iter().flat_map(|known| &known.column_statistics);
    columns.into_iter().any(of_constant)
}

fn without_constant(mut file: PartitionedFile) -> PartitionedFile {
    if has_constant(&file) {
        let changed =
            |known: Arc<Statistics>| Arc::new(forgetting(Arc::unwrap_or_clone(known), of_constant));
        file.statistics = file.statistics.map(changed);
    }
    file
}

/// The statistics without least and greatest values of some columns.
fn forgetting(mut known: Statistics, of: fn(&ColumnStatistics) -> bool) -> Statistics {
    for column in known.column_statistics.iter_mut().filter(|column| of(column)) {
        column.min_value = Precision::Absent;
        column.max_value = Precision::Absent;
    }
    known
}
