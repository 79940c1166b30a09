//! The one SQL entry, used by shell, server and embedding alike.
//!
//! In: SQL text. Out: a DataFusion `DataFrame`. Tables of every registered [`Format`] come from
//! `CREATE EXTERNAL TABLE … STORED AS` and from `FROM 'path'`.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::ArrowPrimitiveType;
use async_trait::async_trait;
use datafusion::catalog::{
    DynamicFileCatalog, Session as DfSession, TableProvider, TableProviderFactory, UrlTableFactory,
};
use datafusion::datasource::dynamic_file::DynamicListTableFactory;
use datafusion::error::Result as DfResult;
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::CreateExternalTable;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use ndarray::ArrayD;

use crate::array::MemoryArray;
use crate::catalog::ArrayTable;
use crate::exec::ComputeThreads;
use crate::exec::reduce::merge_functions;
use crate::registry::{Format, Registry, TableOptions, check_options};
use crate::{Error, Result};

/// What a session may use.
#[derive(Clone, Debug, Default)]
pub struct SessionOptions {
    /// Threads for computing; all cores if absent.
    pub threads: Option<usize>,
    /// Bytes that queries may hold before they spill; unbounded if absent.
    pub memory_bytes_max: Option<usize>,
    /// Where queries spill to; the system's directory for temporary files if absent.
    pub spill_dir: Option<PathBuf>,
}

/// A set of tables and settings, and the way to query them.
#[derive(Clone)]
pub struct Session {
    context: SessionContext,
}

impl Session {
    /// A session with these formats.
    ///
    /// # Errors
    /// `Plan` if an option cannot be met.
    pub fn try_new(registry: &Registry, options: &SessionOptions) -> Result<Self> {
        let mut config = SessionConfig::new().with_information_schema(true);
        config.options_mut().sql_parser.collect_spans = true;
        if let Some(threads) = options.threads {
            config = config.with_target_partitions(threads);
        }
        let threads = config.target_partitions();
        config = config.with_extension(Arc::new(ComputeThreads::new(threads)));
        let mut runtime = RuntimeEnvBuilder::new();
        if let Some(bytes) = options.memory_bytes_max {
            runtime = runtime.with_memory_limit(bytes, 1.0);
        }
        if let Some(spill_dir) = &options.spill_dir {
            runtime = runtime.with_temp_file_path(spill_dir);
        }
        let mut builder = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime.build_arc()?)
            .with_default_features();
        for rule in crate::rewrite::optimizer_rules() {
            builder = builder.with_optimizer_rule(rule);
        }
        let mut aggregates = SessionStateDefaults::default_aggregate_functions();
        aggregates.extend(merge_functions().into_iter().map(Arc::new));
        builder = builder.with_aggregate_functions(aggregates);
        for format in registry.formats() {
            let factory = FormatTableFactory { format: Arc::clone(format) };
            builder = builder.with_table_factory(format.name().into(), Arc::new(factory));
        }
        let context = SessionContext::new_with_state(builder.build());
        Ok(Self { context: with_files_as_tables(context, registry.clone()) })
    }

    /// Plans one statement; DDL and `SET` run at once.
    ///
    /// # Errors
    /// `Syntax`, `Plan`, `NotFound`, and those of opening the files that the statement names.
    pub async fn sql(&self, statement: &str) -> Result<DataFrame> {
        Ok(self.context.sql(statement).await?)
    }

    /// The DataFusion context underneath.
    pub fn context(&self) -> &SessionContext {
        &self.context
    }

    /// Puts an array in memory behind the table `name`, with columns `dims` and `value`.
    ///
    /// # Errors
    /// `Plan` if the names do not fit the axes.
    pub fn register_array<T: ArrowPrimitiveType>(
        &self,
        name: &str,
        dims: &[&str],
        array: ArrayD<T::Native>,
    ) -> Result<()> {
        let dims = dims.iter().map(|dim| (*dim).to_string()).collect();
        let source = Arc::new(MemoryArray::from_ndarray::<T>(dims, array)?);
        let table = ArrayTable::try_new(name, vec![("value".into(), source)])?;
        self.context.register_table(name, Arc::new(table))?;
        Ok(())
    }
}

/// `CREATE EXTERNAL TABLE … STORED AS <format>`.
#[derive(Debug)]
struct FormatTableFactory {
    format: Arc<dyn Format>,
}

#[async_trait]
impl TableProviderFactory for FormatTableFactory {
    async fn create(
        &self,
        session: &dyn DfSession,
        command: &CreateExternalTable,
    ) -> DfResult<Arc<dyn TableProvider>> {
        let options: TableOptions = command
            .options
            .iter()
            .map(|(key, value)| (key.trim_start_matches("format.").to_lowercase(), value.clone()))
            .collect();
        check_options(self.format.as_ref(), &options)?;
        let [location] = command.locations.as_slice() else {
            return Err(Error::unsupported(format!(
                "{} tables take one LOCATION, not {}",
                self.format.name(),
                command.locations.len()
            ))
            .into());
        };
        Ok(self.format.open(session, location, &options).await?)
    }
}

/// `FROM 'path'`: our formats by extension, the rest by DataFusion.
#[derive(Debug)]
struct FileTables {
    registry: Registry,
    listing: DynamicListTableFactory,
}

#[async_trait]
impl UrlTableFactory for FileTables {
    async fn try_new(&self, path: &str) -> DfResult<Option<Arc<dyn TableProvider>>> {
        let Some(format) = self.registry.by_path(path) else {
            return self.listing.try_new(path).await;
        };
        let state =
            self.listing.session_store().get_session().upgrade().and_then(|session| {
                session.read().as_any().downcast_ref::<SessionState>().cloned()
            });
        let state = state.ok_or_else(|| Error::bug("the session has ended"))?;
        Ok(Some(format.open(&state, path, &TableOptions::new()).await?))
    }
}

fn with_files_as_tables(context: SessionContext, registry: Registry) -> SessionContext {
    let catalogs = Arc::clone(context.state().catalog_list());
    let tables = Arc::new(FileTables { registry, listing: DynamicListTableFactory::default() });
    let factory = Arc::clone(&tables) as Arc<dyn UrlTableFactory>;
    let session_id = context.session_id();
    let context: SessionContext = context
        .into_state_builder()
        .with_session_id(session_id)
        .with_catalog_list(Arc::new(DynamicFileCatalog::new(catalogs, factory)))
        .build()
        .into();
    tables.listing.session_store().with_state(context.state_weak_ref());
    context
}
