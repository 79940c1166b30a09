//! Arrow files are read a piece at a time.
//!
//! DataFusion's reader takes all that it is to read of an Arrow file into memory at once: the part of a
//! partition, or from an object store the whole file. So no part may be large.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::listing::{FileRange, PartitionedFile};
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result as DfResult;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;

use crate::walk::Walk;

/// Bytes of a piece. A batch that is longer is read whole, by the piece in which it begins.
const PIECE_BYTES: u64 = 16 << 20;

/// The rule. It runs after files are dealt out to partitions.
#[derive(Debug)]
pub struct ArrowPieces;

impl PhysicalOptimizerRule for ArrowPieces {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        plan.change_up(&mut |node| {
            let scan = node.downcast_ref::<DataSourceExec>();
            let files = scan.and_then(|scan| scan.data_source().downcast_ref::<FileScanConfig>());
            Ok(match files.filter(|files| has_long_parts(files)) {
                Some(files) => Transformed::yes(cut(files)),
                None => Transformed::no(node),
            })
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "ArrowPieces"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn has_long_parts(files: &FileScanConfig) -> bool {
    // streams, which have no footer, are "arrow_stream", and are read as they come
    files.file_source().file_type() == "arrow"
        && files.file_compression_type == FileCompressionType::UNCOMPRESSED
        && files
            .file_groups
            .iter()
            .flat_map(FileGroup::iter)
            .any(|f| f.effective_size() > PIECE_BYTES)
}

fn cut(files: &FileScanConfig) -> Arc<dyn ExecutionPlan> {
    let groups = files.file_groups.iter().map(|group| group.iter().flat_map(pieces).collect());
    let groups = groups.map(FileGroup::new).collect();
    let files = FileScanConfigBuilder::from(files.clone()).with_file_groups(groups);
    DataSourceExec::from_data_source(files.build())
}

fn pieces(file: &PartitionedFile) -> Vec<PartitionedFile> {
    let (start, end) = file.range();
    if end - start <= PIECE_BYTES {
        return vec![file.clone()];
    }
    let starts = (start..end).step_by(PIECE_BYTES as usize);
    let ranges = starts.map(|start| (start, end.min(start + PIECE_BYTES)));
    let ranges = ranges.map(|(start, end)| FileRange { start: start as i64, end: end as i64 });
    ranges.map(|range| PartitionedFile { range: Some(range), ..file.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;
    use crate::{Session, SessionOptions};

    #[tokio::test]
    async fn a_long_file_is_read_in_pieces_each_row_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("long.arrow");
        let options = SessionOptions { threads: Some(2), ..SessionOptions::default() };
        let session = Session::try_new(&Registry::default(), &options).unwrap();
        let rows = 6_000_000_u64;
        let copy = format!(
            "COPY (SELECT value AS a, value * 2 AS b FROM generate_series(1, {rows})) TO '{}'",
            path.display()
        );
        session.sql(&copy).await.unwrap().collect().await.unwrap();
        assert!(std::fs::metadata(&path).unwrap().len() > 2 * PIECE_BYTES);

        let frame = session.sql(&format!("SELECT a, b FROM '{}'", path.display())).await.unwrap();
        let plan = frame.clone().create_physical_plan().await.unwrap();
        let mut parts = vec![];
        let _ = plan.walk(&mut |node| {
            let scan = node.downcast_ref::<DataSourceExec>();
            let files = scan.and_then(|scan| scan.data_source().downcast_ref::<FileScanConfig>());
            let files = files.into_iter().flat_map(|files| &files.file_groups);
            parts.extend(files.flat_map(FileGroup::iter).map(PartitionedFile::effective_size));
            Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
        });
        assert!(parts.len() > 2 && parts.iter().all(|part| *part <= PIECE_BYTES), "{parts:?}");

        let sums = format!("SELECT count(*), sum(a), sum(b) FROM '{}'", path.display());
        let sums = session.sql(&sums).await.unwrap().collect().await.unwrap();
        let sum = |column: usize| {
            let values = sums[0].column(column).as_any();
            values.downcast_ref::<arrow::array::Int64Array>().unwrap().value(0) as u64
        };
        assert_eq!((sum(0), sum(1), sum(2)), (rows, rows * (rows + 1) / 2, rows * (rows + 1)));
    }
}
