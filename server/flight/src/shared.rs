//! What the sessions of a server share: memory, threads, tables, limits and counts.

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use almagest_engine::admission::{Admission, Limits};
use almagest_engine::exec::ComputeThreads;
use almagest_engine::planning::{PlanningThreads, TURNS};
use almagest_engine::registry::Registry;
use almagest_engine::{AlmagestOptions, Error, Result, Scheduler, Session, SessionOptions};
use datafusion::catalog::SchemaProvider;
use datafusion::common::runtime::SpawnedTask;
use datafusion::prelude::SessionConfig;
use futures::future::BoxFuture;

use super::access::{Access, GuardedStores};
use super::data::{register_folder, run_init};
use super::layered::Layered;
use super::ledger::Ledgers;
use super::metrics::Metrics;
use super::named_files::named_files;
use super::query_threads::{QueryThreads, planning_yields};
use super::sessions::Sessions;
use super::stored::StoredTables;

/// Statements that are planned at once for each thread; and how many of them those of one user or address
/// may be, one in so many.
const PLANS_PER_THREAD: usize = 2;
const PLANS_OF_ONE: usize = 2;

/// What one client, and all together, may take.
#[derive(Clone, Debug)]
pub struct FlightLimits {
    /// Queries that run and wait.
    pub queries: Limits,
    /// The time that a query may run, its client's fetching included.
    pub time_max: Option<Duration>,
    /// Memory that a query may hold.
    pub query_bytes_max: Option<usize>,
    /// Bytes that a query may spill to disk.
    pub query_spill_max: Option<u64>,
    /// Rows of an answer.
    pub rows_max: Option<u64>,
    /// Bytes of an answer.
    pub bytes_max: Option<u64>,
    /// Bytes of a statement.
    pub statement_bytes_max: usize,
    /// How long a query may wait to be fetched.
    pub query_life: Duration,
    /// How long a session may do nothing.
    pub idle_max: Duration,
    /// Sessions at once.
    pub sessions_max: usize,
    /// Sessions of one user, or of one address from which somebody comes without a name.
    pub client_sessions_max: usize,
    /// How long a connection may wait with its first request.
    pub first_request: Duration,
    /// Bytes of statements, views and values of parameters that a session keeps.
    pub kept_session_max: usize,
    /// The same of all sessions.
    pub kept_max: usize,
}

impl FlightLimits {
    /// What whoever ran longer than is allowed is told.
    pub(super) fn overdue(&self) -> Error {
        Error::exhausted(format!(
            "the query ran longer than the {} s that this server allows; ask for less",
            self.time_max.unwrap_or_default().as_secs()
        ))
    }
}

impl Default for FlightLimits {
    fn default() -> Self {
        Self {
            queries: Limits::default(),
            time_max: None,
            query_bytes_max: None,
            query_spill_max: None,
            rows_max: None,
            bytes_max: None,
            statement_bytes_max: 1 << 20,
            query_life: Duration::from_secs(600),
            idle_max: Duration::from_secs(3600),
            sessions_max: 1000,
            client_sessions_max: 100,
            first_request: Duration::from_secs(30),
            kept_session_max: 64 << 20,
            kept_max: 512 << 20,
        }
    }
}

/// What a server serves.
#[derive(Clone, Debug, Default)]
pub struct Served {
    /// Folders whose files become tables, and may be read.
    pub data: Vec<PathBuf>,
    /// The folder in which clients make tables and write files.
    pub writable: Option<PathBuf>,
    /// Beginnings of URLs that may be read.
    pub urls: Vec<String>,
    /// Statements that make tables for all.
    pub init: Option<String>,
}

/// The shared parts.
pub struct Shared {
    /// What may be read and written.
    pub(super) access: Arc<Access>,
    /// Tables that clients made.
    pub(super) stored: Arc<StoredTables>,
    /// The server's own tables.
    pub(super) tables: Arc<dyn SchemaProvider>,
    /// What may be taken.
    pub(super) limits: FlightLimits,
    /// Who runs and who waits.
    pub(super) admission: Arc<Admission>,
    /// The same for planning.
    pub(super) planning: Arc<Admission>,
    /// What sessions keep.
    pub(super) ledgers: Ledgers,
    /// Counts.
    pub(super) metrics: Metrics,
    sessions: Arc<dyn Sessions>,
    registry: Registry,
    options: SessionOptions,
    threads: usize,
    /// Held, as they end with it.
    _executors: Option<Box<dyn Any + Send + Sync>>,
    queries: QueryThreads,
}

impl Shared {
    /// Opens what is served, to sessions that `sessions` makes.
    ///
    /// # Errors
    /// Those of opening tables and of the statements at the start.
    pub fn open<'a>(
        sessions: Arc<dyn Sessions>,
        options: &'a SessionOptions,
        place: Option<AlmagestOptions>,
        served: &'a Served,
        limits: FlightLimits,
    ) -> BoxFuture<'a, Result<Arc<Self>>> {
        Box::pin(async move {
            let access = Access::try_new(&served.data, served.writable.as_deref(), &served.urls)?;
            let access = Arc::new(access);
            let registry = sessions.registry().clone();
            let stores = registry.stores().cloned();
            let stores = stores.ok_or_else(|| Error::bug("a registry without stores"))?;
            let stores = Arc::new(GuardedStores::new(stores, Arc::clone(&access)));
            let registry = registry.with_stores(stores);
            if let Some(key) =
                place.as_ref().map(|own| &own.cluster_key).filter(|key| !key.is_empty())
            {
                access.keep_secret(key.as_ref());
            }
            let threads = options.threads.unwrap_or_else(almagest_engine::cores);
            let mut settings = SessionConfig::new()
                .with_target_partitions(threads)
                .with_extension(Arc::new(ComputeThreads::new(threads)))
                .with_extension(Arc::new(PlanningThreads::default().started_by(planning_yields)));
            // kinds of text that all clients know, rather than made so at the end
            settings.options_mut().execution.parquet.schema_force_view_types = false;
            settings.options_mut().sql_parser.map_string_types_to_utf8view = false;
            let options = SessionOptions { settings: Some(settings), ..options.clone() };
            let (own, executors) = match place {
                None => (AlmagestOptions::default(), None),
                // one set of processes for all sessions, rather than one for each
                Some(own) if own.scheduler == Scheduler::Processes => {
                    let started = sessions.start_processes(&options, own.processes).await?;
                    (started.settings, Some(started.held))
                }
                Some(own) => (own, None),
            };
            // the first session makes the memory and the stores that all others share
            let first = sessions.session(&registry, &options)?;
            let options =
                SessionOptions { runtime: Some(first.context().runtime_env()), ..options };
            for folder in &served.data {
                register_folder(&first, folder).await?;
            }
            access.learn(true);
            if let Some(statements) = &served.init {
                run_init(&first, statements).await?;
            }
            access.learn(false);
            let reader = sessions.session(&registry, &options)?;
            let stored = StoredTables::open(access.writable(), reader).await?;
            let tables = first.context().catalog("datafusion").and_then(|all| all.schema("public"));
            let tables = tables.ok_or_else(|| Error::bug("a session without a schema"))?;
            let state = first.context().state();
            let ignores = state.config_options().execution.listing_table_ignore_subdirectory;
            for files in named_files(tables.as_ref(), ignores).await? {
                access.allow(files);
            }
            let admission = Arc::new(Admission::new(limits.queries));
            let planning = Arc::new(Admission::new(planning_limits(threads, limits.queries)));
            let queries = QueryThreads::try_new(threads, limits.queries.running_max)?;
            let ledgers = Ledgers::new(limits.kept_session_max, limits.kept_max);
            Ok(Arc::new(Self {
                access,
                stored: Arc::new(stored),
                // what is no table is looked up by the session that asks
                tables: Arc::new(named(tables.as_ref()).await?),
                limits,
                admission,
                planning,
                ledgers,
                metrics: Metrics::default(),
                sessions,
                registry,
                options: SessionOptions { own, ..options },
                threads,
                _executors: executors,
                queries,
            }))
        })
    }

    /// A session with the shared memory, threads and stores.
    ///
    /// # Errors
    /// Those of making a session.
    pub fn session(&self) -> Result<Session> {
        self.sessions.session(&self.registry, &self.options)
    }

    /// What was counted, as Prometheus reads it.
    pub fn metrics_text(&self) -> String {
        self.metrics.text()
    }

    /// Runs a query on threads of its own; it ends with who waits for it.
    pub fn start<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> SpawnedTask<T> {
        self.queries.run(task)
    }

    /// Plans a statement on threads that answer nobody; it ends with who waits for it.
    pub fn plan<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> SpawnedTask<T> {
        self.queries.plan(task)
    }

    /// What is wrong with the tables in the folder to write in that could not be opened.
    pub fn unopened_tables(&self) -> Vec<String> {
        let unopened = self.stored.unopened().iter();
        let told = unopened.map(|(name, error)| {
            format!("table '{name}' cannot be opened, and is left as it is: {error}")
        });
        told.collect()
    }

    /// Threads that compute.
    pub fn threads(&self) -> usize {
        self.threads
    }
}

/// What planning may take. No more are let in than there are turns behind it, which are given to whoever
/// comes first: one user or address could take all of them.
fn planning_limits(threads: usize, queries: Limits) -> Limits {
    let plans = threads.saturating_mul(PLANS_PER_THREAD).min(TURNS);
    Limits { running_max: plans, session_max: (plans / PLANS_OF_ONE).max(1), ..queries }
}

/// The registered tables of a schema that also opens files by their paths.
async fn named(tables: &dyn SchemaProvider) -> Result<Layered> {
    let named = Layered::new(vec![]);
    for name in tables.table_names() {
        if let Some(table) = tables.table(&name).await? {
            named.register_table(name, table)?;
        }
    }
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_never_has_all_turns_of_planning() {
        for threads in [1, 2, 8, 32, 1000] {
            let limits = planning_limits(threads, Limits::default());
            assert!(limits.running_max <= TURNS, "{threads}");
            assert!((1..limits.running_max).contains(&limits.session_max), "{threads}");
        }
    }
}
