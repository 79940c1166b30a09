//! The one SQL entry, used by shell, server and embedding alike.
//!
//! In: SQL text. Out: a DataFusion `DataFrame`. Tables of every registered [`Format`] come from
//! `CREATE EXTERNAL TABLE … STORED AS`, from `FROM 'path'` and from `FROM read_…('path')`. What is
//! done to a statement before it is planned: [`crate::sql`].

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::ArrowPrimitiveType;
use datafusion::catalog::{Session as DfSession, TableProvider, TableProviderFactory};
use datafusion::common::config::ConfigNonZeroUsize;
use datafusion::error::Result as DfResult;
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::memory_pool::TrackConsumersPool;
use datafusion::execution::object_store::ObjectStoreRegistry;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{CreateExternalTable, LogicalPlan};
use datafusion::optimizer::OptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use datafusion::sql::parser::Statement;
use futures::future::BoxFuture;
use ndarray::ArrayD;

use crate::array::MemoryArray;
use crate::bounds::{scalar_functions, small_constants_alone, with_value_limit};
use crate::catalog::ArrayTable;
use crate::config::AlmagestOptions;
use crate::exec::reduce::{extreme_function, merge_functions};
use crate::exec::{
    BoundedDepth, ComputeThreads, ConstantConditions, HeadroomPool, PackedSpills, SpillQuota,
    YieldingJoins, physical_rules,
};
use crate::formats::{Format, TableOptions};
use crate::local_planner::LocalPlanner;
use crate::planning::watched::watched;
use crate::planning::{self, PlanningThreads};
use crate::registry::Registry;
use crate::{Error, Opaque, Result, files, sql};

/// The consumers that an error about exhausted memory names.
const CONSUMERS_SHOWN: NonZeroUsize = NonZeroUsize::new(3).unwrap();
/// A sort keeps, for merging what it spilled, at most this part of a thread's share of the memory.
const SORT_RESERVATION_SHARE: usize = 8;
/// A batch has at most a row for so many bytes of a thread's share: merging holds batches of every
/// spilled run, for which it takes four times their size.
const BYTES_PER_BATCH_ROW: usize = 8 << 10;
/// A sort of texts wants about so much before it can spill, and cannot do with less.
const PARTITION_BYTES_MIN: usize = 10_000_000;
/// Batches are not made smaller than so many rows.
const BATCH_ROWS_MIN: usize = 256;

/// Spilled runs merged at once: a merge holds batches of each and cannot spill them again, so
/// without a bound the first thread that merges leaves no memory to those that still sort.
const SPILL_MERGE_FAN_IN_MAX: usize = 8;

/// What a session may use.
#[derive(Clone, Debug, Default)]
pub struct SessionOptions {
    /// Threads for computing; all cores if absent.
    pub threads: Option<usize>,
    /// Bytes that queries may hold before they spill; unbounded if absent.
    pub memory_bytes_max: Option<usize>,
    /// The folder for what is spilled; the system's for temporary files if absent.
    pub spill_dir: Option<PathBuf>,
    /// Bytes that queries may hold there; what DataFusion's setting says if absent.
    pub spill_bytes_max: Option<u64>,
    /// What the settings are before the ones above; DataFusion's if absent.
    pub settings: Option<SessionConfig>,
    /// Logical rules to run before all others.
    pub first_rules: Vec<Arc<dyn OptimizerRule + Send + Sync>>,
    /// What makes physical plans; one for this process if absent.
    pub planner: Option<Arc<dyn QueryPlanner + Send + Sync>>,
    /// The settings of ours at the beginning.
    pub own: AlmagestOptions,
    /// Memory, files to spill to and stores that it shares with others; its own if absent.
    pub runtime: Option<Arc<RuntimeEnv>>,
}

/// Settings under which a query does with `bytes`: no more partitions than have enough of them.
pub fn fit_memory(settings: SessionConfig, bytes: usize) -> SessionConfig {
    let partitions = settings.target_partitions().min(bytes / PARTITION_BYTES_MIN).max(1);
    fit_sorts(settings.with_target_partitions(partitions), bytes / partitions)
}

/// Settings under which a sort spills in a thread that may hold `bytes`.
pub fn fit_sorts(settings: SessionConfig, bytes: usize) -> SessionConfig {
    let mut settings = with_whole_spills(settings);
    let execution = &mut settings.options_mut().execution;
    execution.sort_spill_reservation_bytes =
        execution.sort_spill_reservation_bytes.min(bytes / SORT_RESERVATION_SHARE);
    let rows = (bytes / BYTES_PER_BATCH_ROW).max(BATCH_ROWS_MIN).min(settings.batch_size());
    with_value_limit(settings.with_batch_size(rows), bytes)
}

/// Settings under which a repartitioning spills each batch to a file of its own. With two open files one
/// of DataFusion 55 stands still (apache/datafusion#24883); see [`PackedSpills`].
fn with_whole_spills(mut settings: SessionConfig) -> SessionConfig {
    if let Ok(one_batch) = ConfigNonZeroUsize::try_new(1) {
        settings.options_mut().execution.max_spill_file_size_bytes = one_batch;
    }
    settings
}

/// A set of tables and settings, and the way to query them.
#[derive(Clone)]
pub struct Session {
    context: Opaque<SessionContext>,
    registry: Registry,
    planning: Arc<PlanningThreads>,
}

impl Session {
    /// A session with all that is in the registry.
    ///
    /// # Errors
    /// `Plan` if an option cannot be met.
    pub fn try_new(registry: &Registry, options: &SessionOptions) -> Result<Self> {
        let config = options.settings.clone().unwrap_or_default();
        let mut config = with_whole_spills(config).with_information_schema(true);
        config.options_mut().sql_parser.collect_spans = true;
        // its planner knows of columns that are never NULL, say by CASE WHEN a > b THEN a ELSE 0 END, and its
        // operators do not; the check took that for a bug
        config.options_mut().execution.skip_physical_aggregate_schema_check = true;
        config.options_mut().extensions.insert(options.own.clone());
        if let Some(threads) = options.threads {
            config = config.with_target_partitions(threads);
        }
        let threads = config.target_partitions();
        if config.get_extension::<ComputeThreads>().is_none() {
            config = config.with_extension(Arc::new(ComputeThreads::new(threads)));
        }
        if let Some(bytes) = options.memory_bytes_max {
            config = fit_memory(config, bytes);
        }
        let planning = config.get_extension::<PlanningThreads>().unwrap_or_default();
        let config = config.with_extension(Arc::clone(&planning));
        let runtime = match &options.runtime {
            Some(runtime) => Arc::clone(runtime),
            None => runtime(registry, options)?,
        };
        let mut builder = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_default_features();
        let others = small_constants_alone(crate::rewrite::first_optimizer_rules());
        builder = builder
            .with_optimizer_rules(options.first_rules.iter().cloned().chain(others).collect())
            .with_scalar_functions(scalar_functions());
        crate::rewrite::keep_filters_above_totals(&mut builder);
        let planner = options.planner.clone().unwrap_or_else(|| Arc::new(LocalPlanner));
        builder = builder
            .with_query_planner(planner)
            .with_physical_optimizer_rules(physical_rules())
            .with_physical_optimizer_rule(Arc::new(ConstantConditions))
            .with_physical_optimizer_rule(Arc::new(YieldingJoins))
            .with_physical_optimizer_rule(Arc::new(files::ArrowPieces))
            .with_physical_optimizer_rule(Arc::new(BoundedDepth));
        crate::exec::keep_all_groups_of_floats(&mut builder);
        builder = builder.with_analyzer_rules(crate::rewrite::first_analyzer_rules());
        for rule in crate::rewrite::analyzer_rules() {
            builder = builder.with_analyzer_rule(rule);
        }
        for rule in crate::rewrite::optimizer_rules() {
            builder = builder.with_optimizer_rule(rule);
        }
        let mut aggregates = SessionStateDefaults::default_aggregate_functions();
        aggregates.extend(merge_functions().into_iter().map(Arc::new));
        aggregates.extend([false, true].map(extreme_function).map(Arc::new));
        builder = builder.with_aggregate_functions(aggregates);
        for (name, factory) in files::table_factories(registry) {
            builder = builder.with_table_factory(name, factory);
        }
        for format in registry.formats() {
            let factory =
                FormatTableFactory { format: Arc::clone(format), registry: registry.clone() };
            builder = builder.with_table_factory(format.name().into(), Arc::new(factory));
        }
        let mut state = watched(builder.build());
        files::register_aliases(&mut state)?;
        let context = SessionContext::new_with_state(state);
        let context = sql::FileTables::install(context, registry.clone());
        sql::register_table_functions(&context, registry);
        for function in crate::rewrite::functions() {
            context.register_udf(function);
        }
        for function in registry.functions() {
            crate::rewrite::register_array_function(&context, Arc::clone(function))?;
        }
        registry.register(&context)?;
        Ok(Self { context: Opaque::new(context), registry: registry.clone(), planning })
    }

    /// Plans one statement; DDL and `SET` run at once.
    ///
    /// # Errors
    /// `Syntax` (also for none or several statements), `Plan`, `NotFound`, `Exhausted` for statements
    /// that are too deep, too long or too large, and those of opening the files that the statement
    /// names.
    pub fn sql(&self, text: &str) -> BoxFuture<'_, Result<DataFrame>> {
        let planned = self.plan_text(text);
        Box::pin(async move { self.begin(planned.await?).await })
    }

    /// The statements in a text, for [`Session::execute`] one after the other.
    ///
    /// # Errors
    /// `Syntax`, `Exhausted`.
    pub fn statements(&self, text: &str) -> BoxFuture<'_, Result<VecDeque<Statement>>> {
        let text = text.to_string();
        self.apart(async move { sql::parse(&text) })
    }

    /// Plans one parsed statement; DDL and `SET` run at once.
    ///
    /// # Errors
    /// As [`Session::sql`].
    pub fn execute(&self, statement: Statement) -> BoxFuture<'_, Result<DataFrame>> {
        let planned = self.plan(statement);
        Box::pin(async move { self.begin(planned.await?).await })
    }

    /// Plans one parsed statement, of whatever kind, and runs nothing.
    ///
    /// # Errors
    /// As [`Session::sql`].
    pub fn plan(&self, statement: Statement) -> BoxFuture<'_, Result<LogicalPlan>> {
        let session = self.clone();
        self.apart(async move { session.plan_here(statement).await })
    }

    /// Plans the one statement in a text, of whatever kind, and runs nothing.
    ///
    /// # Errors
    /// As [`Session::sql`].
    pub fn plan_text(&self, text: &str) -> BoxFuture<'_, Result<LogicalPlan>> {
        let (session, text) = (self.clone(), text.to_string());
        self.apart(async move { session.plan_here(sql::parse_one(&text)?).await })
    }

    /// The physical plan of what [`Session::sql`] gave. `DataFrame::create_physical_plan` makes it on
    /// the thread that asks, whose stack may not hold the largest plans.
    ///
    /// # Errors
    /// `Plan`, `Exhausted`.
    pub fn physical_plan(&self, frame: DataFrame) -> BoxFuture<'_, Result<Arc<dyn ExecutionPlan>>> {
        self.apart(async move { Ok(frame.create_physical_plan().await?) })
    }

    /// Does work that plans where planning belongs: [`crate::planning`].
    ///
    /// # Errors
    /// Those of the work.
    pub fn apart<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> BoxFuture<'_, Result<T>> {
        Box::pin(self.planning.run(Box::pin(work)))
    }

    async fn plan_here(&self, statement: Statement) -> Result<LogicalPlan> {
        let state = self.context.state();
        let statement = sql::prepare(statement, &state, &self.registry)?;
        if let Some(plan) = sql::columns_of_file(&statement, &state).await? {
            return Ok(plan);
        }
        let plan = state.statement_to_plan(statement).await;
        let plan = plan.map_err(|cause| sql::explain_missing(cause, &state))?;
        planning::check_size(&plan)?;
        sql::refuse_duplicate_names(&plan)?;
        crate::write::check_copy(&plan)?;
        Ok(plan)
    }

    /// Runs what runs at once.
    async fn begin(&self, plan: LogicalPlan) -> Result<DataFrame> {
        if !matches!(plan, LogicalPlan::Ddl(_) | LogicalPlan::Statement(_)) {
            return Ok(DataFrame::new(self.context.state(), plan));
        }
        let context = self.context.clone();
        let work = async move { Ok(context.execute_logical_plan(plan).await?) };
        self.planning.run_long(Box::pin(work)).await
    }

    /// Where the session plans.
    pub fn planning(&self) -> &Arc<PlanningThreads> {
        &self.planning
    }

    /// The DataFusion context underneath. Its `sql` takes our SQL without named arguments: our
    /// dialect and the pass over the statement belong to [`Session::sql`].
    pub fn context(&self) -> &SessionContext {
        &self.context
    }

    /// The formats and stores of the session.
    pub fn registry(&self) -> &Registry {
        &self.registry
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
    registry: Registry,
}

impl TableProviderFactory for FormatTableFactory {
    fn create<'a, 'b, 'c, 'r>(
        &'a self,
        session: &'b dyn DfSession,
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

impl FormatTableFactory {
    fn created<'a>(
        &'a self,
        session: &'a dyn DfSession,
        command: &'a CreateExternalTable,
    ) -> BoxFuture<'a, DfResult<Arc<dyn TableProvider>>> {
        Box::pin(async move {
            let command = self.registry.with_stores_configured(command)?;
            let options: TableOptions = command
                .options
                .iter()
                .map(|(key, value)| {
                    (key.trim_start_matches("format.").to_lowercase(), value.clone())
                })
                .collect();
            let [location] = command.locations.as_slice() else {
                return Err(Error::unsupported(format!(
                    "{} tables take one LOCATION, not {}",
                    self.format.name(),
                    command.locations.len()
                ))
                .into());
            };
            let state = session.as_any().downcast_ref::<SessionState>();
            let state = state.ok_or_else(|| Error::bug("a session without a state"))?;
            Ok(files::open_arrays(state, self.format.as_ref(), location, &options).await?)
        })
    }
}

/// Memory, spill files and object stores.
fn runtime(registry: &Registry, options: &SessionOptions) -> Result<Arc<RuntimeEnv>> {
    // DataFusion keeps the lists of files for ever, so new files in a folder would not be seen
    let mut runtime = RuntimeEnvBuilder::new()
        .with_object_list_cache_limit(0)
        .with_max_spill_merge_fan_in(SPILL_MERGE_FAN_IN_MAX);
    if let Some(bytes) = options.memory_bytes_max {
        // a fair share for each: with one big pool the first sort leaves nothing for the others
        let pool = TrackConsumersPool::new(HeadroomPool::new(bytes), CONSUMERS_SHOWN);
        runtime = runtime.with_memory_pool(Arc::new(pool));
    }
    if let Some(folder) = &options.spill_dir {
        std::fs::create_dir_all(folder).map_err(|cause| {
            Error::unreachable(format!("cannot make the folder for spilling: {cause}"))
                .with("folder", folder.display())
        })?;
        runtime = runtime.with_temp_file_path(folder);
    }
    if let Some(stores) = registry.stores() {
        let stores = Arc::clone(stores) as Arc<dyn ObjectStoreRegistry>;
        runtime = runtime.with_object_store_registry(stores);
    }
    let mut runtime = runtime.build()?;
    if let Some(bytes) = options.spill_bytes_max {
        let files = runtime.disk_manager;
        files.set_max_temp_directory_size(u64::MAX)?;
        runtime.disk_manager = Arc::new(SpillQuota::over(files, "all queries together", bytes)?);
    }
    runtime.disk_manager = Arc::new(PackedSpills::over(runtime.disk_manager)?);
    Ok(Arc::new(runtime))
}
