//! Tables over files of the formats that DataFusion brings: Parquet, CSV, JSON, Arrow.
//!
//! In: a location (file, folder, glob, URL), a file type or the extension's, options. Out:
//! DataFusion's `ListingTable`, for `CREATE EXTERNAL TABLE`, `FROM 'path'` and `read_…` alike. Why not
//! DataFusion's own factory: it takes the first file's type for all, reports schemas that do not
//! fit without naming a file, and says "table not found" for a path that is not there.
//!
//! Errors in files, and decoders that panic: [`errors_in_files`]. Files of arrays, several of which are one array: [`arrays`]. Which files: [`location`]. Which format: [`kind`]. Which columns: [`schema`].

mod arrays;
mod arrow_claims;
mod arrow_pieces;
mod careful;
mod errors_in_files;
mod exact_numbers;
mod globbed;
mod kind;
mod location;
mod long_lines;
mod parquet_claims;
mod parquet_footer;
mod partitions;
mod refused_options;
mod schema;
mod spelled_partitions;
mod thrift;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider, TableProviderFactory};
use datafusion::common::{DFSchema, TableReference};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig};
use datafusion::error::Result as DfResult;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::CreateExternalTable;
use futures::future::BoxFuture;

pub use arrays::{files_at, open_arrays};
pub use arrow_pieces::ArrowPieces;
pub use careful::quiet_in_files;
pub use errors_in_files::naming_files;
pub use globbed::{GlobbedTable, keep_globs};
pub use kind::{FILE_TYPES, of_compressed_target, register_aliases};
pub use location::looks_like_path;
pub(crate) use refused_options::{refuse_arrow, refuse_encryption};
pub(crate) use spelled_partitions::SpelledPartitions;

use crate::formats::TableOptions;
use crate::registry::Registry;
use crate::{Error, Result};
use kind::FileKind;
use location::Location;

/// Whether `name` (as in `read_csv`) is a type of files that this module reads.
pub fn is_file_type(state: &SessionState, name: &str) -> bool {
    FileKind::by_name(name).is_some_and(|kind| kind.factory(state).is_ok())
}

/// The table over `location`, of `file_type` or else of the type that its extension names.
///
/// # Errors
/// `NotFound` if nothing is there, `DataInvalid` for a file that cannot be read or does not fit the
/// others, `Plan` for options that the type does not have.
pub async fn open(
    state: &SessionState,
    location: &str,
    file_type: Option<&str>,
    options: TableOptions,
) -> Result<Arc<dyn TableProvider>> {
    let options = options.into_iter().map(|(key, value)| (format!("format.{key}"), value));
    let command = CreateExternalTable::builder(
        TableReference::bare(location),
        location,
        file_type.unwrap_or_default(),
        Arc::new(DFSchema::empty()),
    )
    .with_options(options.collect())
    .build();
    Ok(Arc::new(create(state, &command).await?) as _)
}

/// `CREATE EXTERNAL TABLE … STORED AS PARQUET` and the like.
#[derive(Debug)]
pub struct FileTableFactory {
    /// Knows the object stores.
    pub registry: Registry,
}

impl TableProviderFactory for FileTableFactory {
    fn create<'a, 'b, 'c, 'r>(
        &'a self,
        session: &'b dyn Session,
        command: &'c CreateExternalTable,
    ) -> BoxFuture<'r, DfResult<Arc<dyn TableProvider>>>
    where
        'a: 'r,
        'b: 'r,
        'c: 'r,
    {
        self.created(session, command)
    }
}

impl FileTableFactory {
    fn created<'a>(
        &'a self,
        session: &'a dyn Session,
        command: &'a CreateExternalTable,
    ) -> BoxFuture<'a, DfResult<Arc<dyn TableProvider>>> {
        Box::pin(async move {
            let command = self.registry.with_stores_configured(command)?;
            let state = session.as_any().downcast_ref::<SessionState>();
            let state = state.ok_or_else(|| Error::bug("a session without a state"))?;
            let unbounded = command.options.iter().any(|(key, value)| {
                key.eq_ignore_ascii_case("unbounded") && value.eq_ignore_ascii_case("true")
            });
            if command.unbounded || unbounded {
                // DataFusion's table reads and writes past the session's stores, whatever they refuse
                return Err(Error::unsupported(
                "an UNBOUNDED table, which would wait for what a pipe gives; write that into a file, \
                 and leave out UNBOUNDED",
            )
            .into());
            }
            Ok(Arc::new(create(state, &command).await?) as _)
        })
    }
}

async fn create(state: &SessionState, command: &CreateExternalTable) -> Result<ListingTable> {
    let declared = !command.schema.fields().is_empty();
    let (mut locations, mut found) = (vec![], vec![]);
    for location in Location::all(&command.locations, &command.name)? {
        for (location, files) in location.spread(state).await? {
            locations.push(location);
            found.push(files);
        }
    }
    let named = (!command.file_type.is_empty()).then_some(command.file_type.as_str());
    if let (false, Some(location), true) =
        (declared, locations.first(), found.iter().all(Vec::is_empty))
    {
        return Err(location.nothing_found(named));
    }
    let chosen = kind::choose(named, &locations, &found)?;
    for (location, files) in locations.iter().zip(&mut found) {
        files.retain(|file| chosen.takes(file, location));
        if files.is_empty() && !declared {
            return Err(location.nothing_found(named));
        }
    }
    let format = chosen.format(state, &command.options, declared, &locations, &found).await?;
    let all: Vec<_> = locations.iter().zip(&found).collect();
    let partitions = partitions::columns(state, command, &all)?;
    let schema = match declared {
        true => declared_schema(command)?,
        false => schema::infer(state, &format, &all).await?,
    };
    partitions::check(&partitions, &schema)?;
    build(state, command, locations, &chosen.extension, format, partitions, schema).await
}

async fn build(
    state: &SessionState,
    command: &CreateExternalTable,
    locations: Vec<Location>,
    extension: &str,
    format: Arc<dyn FileFormat>,
    partitions: Vec<(String, DataType)>,
    schema: SchemaRef,
) -> Result<ListingTable> {
    let order = command.order_exprs.clone();
    for column in order.iter().flatten().flat_map(|sort| sort.expr.column_refs()) {
        if schema.field_with_name(&column.name).is_err() {
            return Err(Error::plan(format!("WITH ORDER names '{}', which is no column", column)));
        }
    }
    let options = ListingOptions::new(format)
        .with_file_extension(extension)
        .with_table_partition_cols(partitions)
        .with_file_sort_order(order);
    let urls = locations.into_iter().map(|location| location.url).collect();
    let config = ListingTableConfig::new_with_multi_paths(urls)
        .with_listing_options(options)
        .with_schema(schema);
    let cache = state.runtime_env().cache_manager.get_file_statistic_cache();
    Ok(ListingTable::try_new(config)?
        .with_cache(cache)
        .with_definition(command.definition.clone())
        .with_constraints(command.constraints.clone())
        .with_column_defaults(command.column_defaults.clone()))
}

/// The columns that the statement declares, without those of the partitions.
fn declared_schema(command: &CreateExternalTable) -> Result<SchemaRef> {
    let fields = command.schema.inner().fields().iter();
    let fields: Vec<_> = fields
        .filter(|field| !command.table_partition_cols.contains(field.name()))
        .cloned()
        .collect();
    Ok(Arc::new(Schema::new(fields)))
}

/// The factories for `STORED AS`, by name.
pub fn table_factories(registry: &Registry) -> HashMap<String, Arc<dyn TableProviderFactory>> {
    let factory: Arc<dyn TableProviderFactory> =
        Arc::new(FileTableFactory { registry: registry.clone() });
    FILE_TYPES.iter().map(|name| (name.to_uppercase(), Arc::clone(&factory))).collect()
}
