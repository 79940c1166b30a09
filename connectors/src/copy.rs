//! `COPY … TO 'file'` for formats that hold arrays.
//!
//! In: a plan of rows, a path, options. Out: a plan that writes one array file and gives the count of
//! its rows. DataFusion finds a format by the name in `STORED AS` or the extension of the file; each
//! is a [`FileFormatFactory`] here over one of our [`ArrayFormat`]s. Not here: collecting cells
//! ([`crate::cells`]), the formats themselves.

mod columns;
mod options;
mod sink;
mod write_only;

use std::collections::HashMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use almagest_engine::exec::ArrayExec;
use almagest_engine::{Error, Result};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::stats::Precision;
use datafusion::common::{GetExt, ScalarValue, Statistics, not_impl_err};
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::file_format::{FileFormat, FileFormatFactory};
use datafusion::datasource::physical_plan::{
    FileOutputMode, FileScanConfig, FileSinkConfig, FileSource,
};
use datafusion::datasource::sink::DataSinkExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result as DfResult;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::LexRequirement;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use object_store::{ObjectMeta, ObjectStore};
use url::Url;

pub use options::Options;

use crate::cells::{ChunkTarget, Layout};
use columns::Columns;
use sink::ArraySink;

/// The options that every format has, each with one line for people.
const SHARED_OPTIONS: [(&str, &str); 3] = [
    (
        "dims",
        "columns that are dimensions, slowest first, such as y,x; else the BIGINT columns in front",
    ),
    ("shape", "lengths of the dimensions, such as 8192,8192; else the largest indices say it"),
    ("fill_value", "the value of cells that do not come or are NULL; else NaN, 0 for integers"),
];

/// A file format that holds arrays.
pub trait ArrayFormat: Debug + Send + Sync {
    /// The name in `STORED AS`, in capitals.
    fn name(&self) -> &'static str;

    /// File extensions without the dot, in lower case.
    fn extensions(&self) -> &'static [&'static str];

    /// The options it has beside those of all formats, each with one line for people.
    fn options(&self) -> &'static [(&'static str, &'static str)];

    /// Completes `layout`, which has no chunk shape yet, and says what begins the file.
    ///
    /// # Errors
    /// `Plan` for options or columns that do not fit, `Unsupported`.
    fn prepare(&self, options: &Options, layout: &mut Layout) -> Result<Arc<dyn Begin>>;
}

/// Begins a file, once the statement runs.
pub trait Begin: Debug + Send + Sync {
    /// Begins the file at `path`.
    ///
    /// # Errors
    /// `Plan`, `Unsupported`, `Unreachable`.
    fn begin(
        &self,
        path: &Path,
        layout: &Layout,
        context: &TaskContext,
    ) -> Result<Box<dyn ChunkTarget>>;
}

/// What DataFusion looks up for these formats: an entry for each name and each extension.
pub fn factories(formats: Vec<Arc<dyn ArrayFormat>>) -> Vec<Arc<dyn FileFormatFactory>> {
    let mut found: Vec<Arc<dyn FileFormatFactory>> = vec![];
    for format in formats {
        for extension in format.extensions() {
            found.push(Arc::new(Factory { format: Arc::clone(&format), extension }));
        }
    }
    found
}

#[derive(Debug)]
struct Factory {
    format: Arc<dyn ArrayFormat>,
    extension: &'static str,
}

impl GetExt for Factory {
    fn get_ext(&self) -> String {
        self.extension.into()
    }
}

impl FileFormatFactory for Factory {
    fn create(
        &self,
        _: &dyn Session,
        options: &HashMap<String, String>,
    ) -> DfResult<Arc<dyn FileFormat>> {
        let known = [&SHARED_OPTIONS, self.format.options()].concat();
        let options = Options::try_new(self.format.name(), &known, options)?;
        Ok(Arc::new(CopyFormat { format: Arc::clone(&self.format), options }))
    }

    fn default(&self) -> Arc<dyn FileFormat> {
        let options = Options::none(self.format.name());
        Arc::new(CopyFormat { format: Arc::clone(&self.format), options })
    }
}

/// A format with the options of a statement.
#[derive(Debug)]
struct CopyFormat {
    format: Arc<dyn ArrayFormat>,
    options: Options,
}

impl CopyFormat {
    /// The local file that a statement names.
    fn path(&self, state: &dyn Session, config: &FileSinkConfig) -> Result<PathBuf> {
        let (name, target) = (self.format.name(), &config.original_url);
        if !config.table_partition_cols.is_empty()
            || config.file_output_mode == FileOutputMode::Directory
            || target.ends_with('/')
        {
            return Err(Error::unsupported(format!(
                "COPY writes one {name} file; leave PARTITIONED BY out and name a file, not a folder"
            )));
        }
        // What the session's stores do not reach, is not written either.
        state.runtime_env().object_store(&config.object_store_url)?;
        match Url::parse(target) {
            Err(_) => Ok(PathBuf::from(target)),
            Ok(url) if url.scheme() == "file" => url
                .to_file_path()
                .map_err(|()| Error::plan(format!("'{target}' is no path of a local file"))),
            Ok(_) => Err(Error::unsupported(format!(
                "{name} files are written in pieces, and an object store takes files only whole; \
                 COPY to a local file and upload that"
            ))),
        }
    }
}

#[async_trait]
impl FileFormat for CopyFormat {
    fn get_ext(&self) -> String {
        self.format.extensions()[0].into()
    }

    fn get_ext_with_compression(&self, _: &FileCompressionType) -> DfResult<String> {
        Ok(self.get_ext())
    }

    fn compression_type(&self) -> Option<FileCompressionType> {
        None
    }

    async fn infer_schema(
        &self,
        _: &dyn Session,
        _: &Arc<dyn ObjectStore>,
        _: &[ObjectMeta],
    ) -> DfResult<SchemaRef> {
        not_impl_err!("{} is not read as a table of rows", self.format.name())
    }

    async fn infer_stats(
        &self,
        _: &dyn Session,
        _: &Arc<dyn ObjectStore>,
        schema: SchemaRef,
        _: &ObjectMeta,
    ) -> DfResult<Statistics> {
        Ok(Statistics::new_unknown(&schema))
    }

    async fn create_physical_plan(
        &self,
        _: &dyn Session,
        _: FileScanConfig,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        not_impl_err!("{} is not read as a table of rows", self.format.name())
    }

    async fn create_writer_physical_plan(
        &self,
        input: Arc<dyn ExecutionPlan>,
        state: &dyn Session,
        config: FileSinkConfig,
        order: Option<LexRequirement>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let at = |error: Error| error.with("target", &config.original_url);
        let path = self.path(state, &config).map_err(at)?;
        let schema = input.schema();
        let columns = Columns::of(&schema, &self.options).map_err(at)?;
        let mut layout = columns.layout(&self.options).map_err(at)?;
        if layout.shape.is_none() {
            layout.shape = shape_of_statistics(&input, &columns);
        }
        let begin = self.format.prepare(&self.options, &mut layout).map_err(at)?;
        let sink = ArraySink::new(self.format.name(), path, begin, layout, schema);
        Ok(Arc::new(DataSinkExec::new(input, Arc::new(sink), order)))
    }

    fn file_source(&self, schema: TableSchema) -> Arc<dyn FileSource> {
        Arc::new(write_only::WriteOnly::new(self.format.name(), schema))
    }
}

/// The lengths of the dimensions, where the plan knows their largest indices, as it does for a whole
/// array or a box of one: then chunks at the far edges are whole as early as others.
fn shape_of_statistics(input: &Arc<dyn ExecutionPlan>, columns: &Columns) -> Option<Vec<u64>> {
    if !is_array(input) {
        return None;
    }
    let statistics = StatisticsContext::new().compute(input.as_ref(), &StatisticsArgs::new());
    let statistics = statistics.ok()?;
    let lengths = columns.dims.iter().map(|dim| {
        match statistics.column_statistics.get(dim.column)?.max_value {
            Precision::Exact(ScalarValue::Int64(Some(max))) => {
                u64::try_from(max).ok()?.checked_add(1)
            }
            _ => None,
        }
    });
    lengths.collect()
}

/// Whether a plan gives all rows of one array: of others, statistics that call themselves exact are
/// not (those of a join, for one, are those of its inputs).
fn is_array(plan: &Arc<dyn ExecutionPlan>) -> bool {
    if plan.is::<ArrayExec>() {
        return true;
    }
    let keeps_rows = plan.is::<ProjectionExec>()
        || plan.is::<CoalescePartitionsExec>()
        || plan.is::<RepartitionExec>()
        || plan.is::<SortExec>()
        || plan.is::<SortPreservingMergeExec>();
    keeps_rows && plan.fetch().is_none() && plan.children().into_iter().all(is_array)
}
