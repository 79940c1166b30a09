//! Names the file in errors of files, and has them read with care.
//!
//! Stage: after physical planning, before a plan runs. In: a plan. Out: the same plan, whose scans of files say of an
//! error which file it is in (DataFusion's say the line alone, or nothing), give an error where a decoder panics
//! ([`super::careful`]), and look at the sizes that Arrow and Parquet files claim before memory is taken for them
//! ([`super::arrow_claims`], [`super::parquet_claims`]).

use std::fmt;
use std::sync::Arc;

use arrow::error::ArrowError;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNodeRecursion};
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::DefaultParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{
    ArrowSource, CsvSource, FileOpenFuture, FileOpener, FileScanConfig, FileScanConfigBuilder,
    FileSource, JsonSource, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{DisplayFormatType, ExecutionPlan};
use datafusion_datasource::morsel::Morselizer;
use futures::{FutureExt, StreamExt, stream};
use object_store::ObjectStore;

use super::arrow_claims::Looked;
use super::careful::{CarefulMorselizer, Named, carefully, in_a_file, opened_carefully};
use super::long_lines::{Lines, WithoutLongLines};
use super::parquet_claims::CheckedPages;
use crate::Error;
use crate::exec::PiecesExec;
use crate::walk::Walk;

/// A batch of a file, or its pages that are decoded at once, may take so many times what a function may make.
const CLAIMED_SHARE: u64 = 4;

/// The plan, ready to run where functions may make `bytes_max` bytes at once.
///
/// # Errors
/// `Bug` if an operator does not take its own children back.
pub fn naming_files(
    plan: Arc<dyn ExecutionPlan>,
    bytes_max: u64,
) -> DfResult<Arc<dyn ExecutionPlan>> {
    let named = plan.change_up(&mut |plan| {
        if let Some(pieces) = plan.downcast_ref::<PiecesExec>() {
            let leaf = naming_files(Arc::clone(pieces.leaf()), bytes_max)?;
            let input = plan.children().first().map(|input| Arc::clone(*input));
            let input = input.ok_or_else(|| Error::bug("PiecesExec takes exactly one child"))?;
            return Ok(Transformed::yes(Arc::new(PiecesExec::new(leaf, input)) as _));
        }
        let scan = plan.downcast_ref::<DataSourceExec>();
        let scan = scan.and_then(|scan| scan.data_source().downcast_ref::<FileScanConfig>());
        let Some(scan) = scan.filter(|scan| is_read_with_care(scan.file_source.as_ref())) else {
            return Ok(Transformed::no(plan));
        };
        let claimed_max = bytes_max.saturating_mul(CLAIMED_SHARE);
        let source = Arc::clone(&scan.file_source);
        let source: Arc<dyn FileSource> = match source.is::<ParquetSource>() {
            true => Arc::new(NamingPages { source, claimed_max }),
            false => Arc::new(Naming { source, claimed_max }),
        };
        let scan = FileScanConfigBuilder::from(scan.clone()).with_source(source).build();
        Ok(Transformed::yes(DataSourceExec::from_data_source(scan) as _))
    });
    named.data()
}

fn is_read_with_care(source: &dyn FileSource) -> bool {
    source.is::<CsvSource>()
        || source.is::<JsonSource>()
        || source.is::<ArrowSource>()
        || source.is::<ParquetSource>()
}

/// A kind of file that is opened, whose errors name the file.
struct Naming {
    source: Arc<dyn FileSource>,
    claimed_max: u64,
}

/// The same of Parquet, which is not opened but cut into morsels.
struct NamingPages {
    source: Arc<dyn FileSource>,
    claimed_max: u64,
}

impl Naming {
    /// How lines of these files are told.
    fn lines(&self, compression: FileCompressionType) -> Lines {
        let quote = self.source.downcast_ref::<CsvSource>();
        let quote = quote.filter(|csv| csv.escape().is_none());
        let quote = quote.map(|csv| (csv.quote(), csv.delimiter()));
        Lines { compression, quote, bytes_max: self.claimed_max / CLAIMED_SHARE }
    }
}

/// What errors in a file are given: its name, and of lines from where they are counted.
fn naming(store: &ObjectStoreUrl, file: &PartitionedFile, tells_lines: bool) -> Named {
    let place = match *store == ObjectStoreUrl::local_filesystem() {
        true => format!("/{}", file.object_meta.location),
        false => format!("{}{}", store.as_str(), file.object_meta.location),
    };
    // Arrow counts from 0, and in a long file that several threads read each from where it begins
    let counted = tells_lines.then(|| match file.range.as_ref().map(|range| range.start) {
        None | Some(0) => "0".to_string(),
        Some(begin) => format!("0 at byte {begin}"),
    });
    Arc::new(move |error: DataFusionError| {
        if is_of_the_statement(&error) {
            return error;
        }
        let error = in_a_file(error).with("file", &place);
        DataFusionError::from(match &counted {
            Some(counted) => error.with("lines counted from", counted),
            None => error,
        })
    })
}

/// Whether an error is of what a statement computes of a file's values: a scan evaluates conditions and columns.
fn is_of_the_statement(error: &DataFusionError) -> bool {
    let DataFusionError::ArrowError(cause, _) = error.find_root() else { return false };
    matches!(
        cause.as_ref(),
        ArrowError::CastError(_)
            | ArrowError::ComputeError(_)
            | ArrowError::DivideByZero
            | ArrowError::ArithmeticOverflow(_)
    )
}

/// What a source says of itself, the one inside says.
macro_rules! as_inside {
    ($own:ident) => {
        fn table_schema(&self) -> &TableSchema {
            self.source.table_schema()
        }

        fn with_batch_size(&self, rows: usize) -> Arc<dyn FileSource> {
            let source = self.source.with_batch_size(rows);
            Arc::new($own { source, claimed_max: self.claimed_max })
        }

        fn filter(&self) -> Option<Arc<dyn PhysicalExpr>> {
            self.source.filter()
        }

        fn projection(&self) -> Option<&ProjectionExprs> {
            self.source.projection()
        }

        fn metrics(&self) -> &ExecutionPlanMetricsSet {
            self.source.metrics()
        }

        fn file_type(&self) -> &str {
            self.source.file_type()
        }

        fn reorder_files(&self, files: Vec<PartitionedFile>) -> Vec<PartitionedFile> {
            self.source.reorder_files(files)
        }

        fn fmt_extra(&self, kind: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
            self.source.fmt_extra(kind, f)
        }

        fn apply_expressions(
            &self,
            visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
        ) -> DfResult<TreeNodeRecursion> {
            self.source.apply_expressions(visit)
        }
    };
}

impl FileSource for Naming {
    fn create_file_opener(
        &self,
        store: Arc<dyn ObjectStore>,
        scan: &FileScanConfig,
        partition: usize,
    ) -> DfResult<Arc<dyn FileOpener>> {
        let looks = self.source.is::<ArrowSource>();
        let looks = looks.then(|| (Arc::clone(&store), self.claimed_max));
        let opener = match &looks {
            Some(_) => self.source.create_file_opener(store, scan, partition)?,
            None => {
                let lines = self.lines(scan.file_compression_type);
                let store = Arc::new(WithoutLongLines::new(store, lines));
                // what it gives is expanded
                let scan = FileScanConfigBuilder::from(scan.clone())
                    .with_file_compression_type(FileCompressionType::UNCOMPRESSED)
                    .build();
                self.source.create_file_opener(store, &scan, partition)?
            }
        };
        let url = scan.object_store_url.clone();
        let tells_lines = self.source.is::<CsvSource>();
        Ok(Arc::new(NamingOpener { opener, url, tells_lines, looks }))
    }

    as_inside!(Naming);
}

impl FileSource for NamingPages {
    fn create_file_opener(
        &self,
        store: Arc<dyn ObjectStore>,
        scan: &FileScanConfig,
        partition: usize,
    ) -> DfResult<Arc<dyn FileOpener>> {
        self.source.create_file_opener(store, scan, partition)
    }

    fn create_morselizer(
        &self,
        store: Arc<dyn ObjectStore>,
        scan: &FileScanConfig,
        partition: usize,
    ) -> DfResult<Box<dyn Morselizer>> {
        let parquet = self.source.downcast_ref::<ParquetSource>();
        let parquet = parquet.ok_or_else(|| Error::bug("pages of no Parquet file"))?;
        let reader = parquet
            .parquet_file_reader_factory()
            .cloned()
            .unwrap_or_else(|| Arc::new(DefaultParquetFileReaderFactory::new(Arc::clone(&store))));
        let reader = Arc::new(CheckedPages::new(reader, self.claimed_max));
        let parquet = parquet.clone().with_parquet_file_reader_factory(reader);
        let inner = parquet.create_morselizer(store, scan, partition)?;
        let url = scan.object_store_url.clone();
        let name = move |file: &PartitionedFile| naming(&url, file, false);
        Ok(Box::new(CarefulMorselizer::new(inner, name)))
    }

    as_inside!(NamingPages);
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
    url: ObjectStoreUrl,
    tells_lines: bool,
    /// The store, and the bytes of a batch, if the file is looked at first.
    looks: Option<(Arc<dyn ObjectStore>, u64)>,
}

impl FileOpener for NamingOpener {
    fn open(&self, file: PartitionedFile) -> DfResult<FileOpenFuture> {
        let named = naming(&self.url, &file, self.tells_lines);
        if let Some((store, bytes_max)) = self.looks.clone() {
            let is_local = self.url == ObjectStoreUrl::local_filesystem();
            let opener = Arc::clone(&self.opener);
            let opened = async move {
                let mut looked = Looked::new(&store, &file.object_meta, is_local);
                looked.check(file.range.as_ref(), bytes_max).await?;
                opener.open(file)?.await
            };
            return Ok(opened_carefully(named, opened.boxed()));
        }
        let opened = carefully(&named, || {
            match (self.opener.open(file.clone()), &file.range) {
                // A file that holds one JSON array is read whole, though DataFusion shares it out: by who
                // has its beginning.
                (Err(error), Some(range)) if is_read_whole(&error) => match range.start {
                    0 => self.opener.open(PartitionedFile { range: None, ..file }),
                    _ => Ok(async { Ok(stream::empty().boxed()) }.boxed()),
                },
                (opened, _) => opened,
            }
        })?;
        Ok(opened_carefully(named, opened))
    }
}
