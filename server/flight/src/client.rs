//! A client's session: its settings and views, what it prepared, and its queries.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use almagest_engine::exec::{PackedSpills, SpillQuota};
use almagest_engine::session::fit_memory;
use almagest_engine::{Error, Result, Session};
use arrow::array::UInt64Array;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::TableReference;
use datafusion::common::runtime::SpawnedTask;
use datafusion::execution::TaskContext;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{DdlStatement, LogicalPlan, WriteOp};
use datafusion::physical_plan::{collect, execute_stream};
use datafusion::prelude::SessionContext;
use futures::future::BoxFuture;
use futures::{FutureExt, Stream, TryStreamExt};
use parking_lot::Mutex;

use super::descriptions::with_hidden_descriptions;
use super::kept::{Change, Kept, Naming, resolved};
use super::known_versions::settled;
use super::layered::Layered;
use super::ledger::{Held, Ledger, weight_of};
use super::places::{tells_of_places, with_names_of_files};
use super::policy::{Effect, Policy};
use super::prepared::Prepared;
use super::query::{Planned, Query, bytes_of, wire_schema};
use super::query_pool::QueryPool;
use super::seats::Seat;
use super::shared::Shared;
use super::stored::{Mode, Version};

/// Queries that a session may have and not fetch.
const QUERIES_MAX: usize = 1000;
/// Queries that a session may have, fetched ones too.
const QUERIES_KEPT: usize = 100;
/// Statements that a session may have prepared.
const PREPARED_MAX: usize = 1000;
/// Where the tables of all are.
const CATALOG: &str = "datafusion";
const SCHEMA: &str = "public";

/// Who a client is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The name by which it is told.
    pub name: String,
    /// Whose share of the server it takes: that of a user, or of an address.
    pub share: String,
    /// Whether it may write.
    pub writes: bool,
}

/// The session.
pub struct Client {
    identity: Identity,
    session: Session,
    tables: Arc<Layered>,
    shared: Arc<Shared>,
    prepared: Mutex<HashMap<String, Arc<Prepared>>>,
    queries: Mutex<HashMap<String, Arc<Query>>>,
    ledger: Arc<Ledger>,
    /// What views and the like keep.
    kept: Arc<Kept>,
    /// Held for each statement that runs.
    running: Arc<()>,
    _seat: Seat,
}

/// A statement that is planned as far as it can be before it runs.
pub enum Ready {
    /// It reads: what gives its rows.
    Reads(Box<Query>),
    /// It changes something; and what it reads, which must stay until then.
    Changes(Vec<LogicalPlan>, Vec<Arc<Version>>),
}

impl Client {
    /// A new session, which sees the tables of all.
    ///
    /// # Errors
    /// Those of making a session.
    pub fn try_new(shared: Arc<Shared>, identity: Identity, seat: Seat) -> Result<Self> {
        let session = shared.session()?;
        let layers = vec![Arc::clone(&shared.tables), Arc::clone(&shared.stored) as _];
        let catalog = session.context().catalog(CATALOG);
        let catalog = catalog.ok_or_else(|| Error::bug("a session without a catalog"))?;
        let tables = Arc::new(Layered::new(layers));
        catalog.register_schema(SCHEMA, Arc::clone(&tables) as _)?;
        shared.metrics.sessions.inc();
        let ledger = shared.ledgers.session(&identity.share);
        Ok(Self {
            identity,
            session,
            tables,
            shared,
            prepared: Mutex::default(),
            queries: Mutex::default(),
            ledger,
            kept: Arc::default(),
            running: Arc::default(),
            _seat: seat,
        })
    }

    /// What all clients share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The session of SQL.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Who it is.
    pub fn user_name(&self) -> &str {
        &self.identity.name
    }

    /// Whose share it takes.
    pub fn share(&self) -> &str {
        &self.identity.share
    }

    /// Says that a statement runs, until what is given back is dropped.
    pub fn runs(&self) -> Arc<()> {
        Arc::clone(&self.running)
    }

    /// Whether a statement of it runs: then it is used, though nothing more is asked.
    pub fn is_running(&self) -> bool {
        Arc::strong_count(&self.running) > 1
    }

    /// What its statements may do.
    pub fn policy(&self) -> Policy<'_> {
        Policy {
            access: &self.shared.access,
            writes: self.identity.writes,
            threads: self.shared.threads(),
        }
    }

    /// Refuses a statement that is too long.
    ///
    /// # Errors
    /// `Exhausted`.
    pub fn check_length(&self, sql: &str) -> Result<()> {
        let most = self.shared.limits.statement_bytes_max;
        if sql.len() > most {
            return Err(Error::exhausted(format!(
                "the statement has {} bytes, more than the {most} that this server takes",
                sql.len()
            )));
        }
        Ok(())
    }

    /// Does the work of planning in its turn, on threads that answer nobody, and in the time that a query
    /// has. It is a task of its own: a panic of the planner is no end of the server.
    ///
    /// # Errors
    /// Those of the work, and `Exhausted` if it takes too long or too much waits.
    pub async fn apart<T: Send + 'static>(&self, work: BoxFuture<'static, Result<T>>) -> Result<T> {
        let turn = self.shared.planning.enter(self.share()).await?;
        let session = self.session.clone();
        let planning = joined(self.shared.plan(async move {
            let _turn = turn;
            session.apart(work).await
        }));
        self.in_time(planning).await
    }

    /// The same, unless it takes longer than a query may.
    async fn in_time<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let limits = &self.shared.limits;
        match limits.time_max {
            None => work.await,
            Some(time) => {
                tokio::time::timeout(time, work).await.unwrap_or_else(|_| Err(limits.overdue()))
            }
        }
    }

    /// The plan of a statement, which is judged, but not what it takes to run it. Computes at once: see
    /// [`Client::apart`].
    ///
    /// # Errors
    /// `Syntax`, `Plan`, `NotFound`, and those of what the client must not do.
    pub async fn judged(&self, sql: &str) -> Result<(LogicalPlan, Effect)> {
        let plan = self.session.plan_text(sql).await?;
        let effect = self.policy().judge(&plan)?;
        let plan = with_hidden_descriptions(plan, &self.shared.access)?;
        Ok((with_names_of_files(plan, &self.shared.access)?, effect))
    }

    /// The schema of the rows of a statement, which does not run.
    ///
    /// # Errors
    /// As [`Client::judged`].
    pub fn schema<'a>(self: &'a Arc<Self>, sql: &'a str) -> BoxFuture<'a, Result<SchemaRef>> {
        Box::pin(async move {
            self.check_length(sql)?;
            let (client, text) = (Arc::clone(self), sql.to_string());
            let work = async move {
                let (plan, _) = client.judged(&text).await?;
                Ok(wire_schema(plan.schema().as_arrow(), None))
            };
            self.apart(work.boxed()).await
        })
    }

    /// Takes a statement: one that reads is planned, and any other runs.
    ///
    /// # Errors
    /// Those of the statement.
    pub fn begin<'a>(self: &'a Arc<Self>, sql: &'a str) -> BoxFuture<'a, Result<Arc<Query>>> {
        Box::pin(async move {
            self.check_length(sql)?;
            let (client, text) = (Arc::clone(self), sql.to_string());
            let work = async move {
                // before the plan is made, so that all which it finds stays until it runs
                let held = client.shared.stored.held();
                let (plan, effect) = client.judged(&text).await?;
                client.ready_over(&text, vec![plan], effect, held).await
            };
            let ready = self.apart(work.boxed()).await?;
            self.take(sql, ready).await
        })
    }

    /// What a statement becomes that is planned and judged, for each set of the values of its parameters.
    /// Computes at once: see [`Client::apart`].
    ///
    /// # Errors
    /// Those of the statement, and `Exhausted` if the session keeps too much.
    pub async fn ready(
        &self,
        text: &str,
        plans: Vec<LogicalPlan>,
        effect: Effect,
    ) -> Result<Ready> {
        self.ready_over(text, plans, effect, vec![]).await
    }

    /// The same for plans over tables that may be of these versions.
    async fn ready_over(
        &self,
        text: &str,
        plans: Vec<LogicalPlan>,
        effect: Effect,
        held: Vec<Arc<Version>>,
    ) -> Result<Ready> {
        let (plans, held) = settled(&self.shared.stored, plans, held)?;
        if effect == Effect::Changes {
            return Ok(Ready::Changes(plans, held));
        }
        let (mut weight, mut hides) = (0, false);
        for plan in &plans {
            weight += weight_of(plan)?;
            hides |= tells_of_places(plan)?;
        }
        // both kinds of plan
        let kept = self.keeps(2 * weight)?;
        let mut planned = vec![];
        for plan in &plans {
            planned.push(self.planned_here(plan).await?);
        }
        let life = self.shared.limits.query_life;
        let query = Query::new(text, plans, planned, (held, kept), life);
        Ok(Ready::Reads(Box::new(if hides { query.hiding() } else { query })))
    }

    /// Holds so many bytes for as long as the session keeps something. Queries that have ended, and are
    /// kept for whoever asks once more, make room.
    ///
    /// # Errors
    /// `Exhausted`.
    pub fn keeps(&self, bytes: usize) -> Result<Held> {
        self.ledger.hold(bytes).or_else(|_| {
            self.queries.lock().retain(|_, query| !query.has_ended());
            self.ledger.hold(bytes)
        })
    }

    /// Takes a statement that is ready: one that changes something runs.
    ///
    /// # Errors
    /// Those of the statement, and `Exhausted` if the session has too many queries.
    pub async fn take(&self, text: &str, ready: Ready) -> Result<Arc<Query>> {
        let query = match ready {
            Ready::Reads(query) => *query,
            Ready::Changes(plans, held) => {
                let _runs = self.runs();
                let pass = self.shared.admission.enter(self.share()).await?;
                let schema = match plans.first() {
                    // the schema of their plans is that of what they are made of
                    None | Some(LogicalPlan::Ddl(_) | LogicalPlan::Statement(_)) => Schema::empty(),
                    Some(plan) => plan.schema().as_arrow().clone(),
                };
                let rows = self.change_all(plans).await?;
                drop((pass, held));
                let bytes: u64 = rows.iter().map(bytes_of).sum();
                let kept = self.keeps(bytes as usize)?;
                Query::done(text, &schema, rows, kept, self.shared.limits.query_life)
            }
        };
        let query = Arc::new(query);
        self.sweep();
        let mut queries = self.queries.lock();
        if queries.len() >= QUERIES_KEPT {
            // kept for whoever fetches once more or asks how far they are, while there is room
            queries.retain(|_, query| !query.has_ended());
        }
        if queries.len() >= QUERIES_MAX {
            return Err(Error::exhausted(format!(
                "{QUERIES_MAX} queries of this session wait to be fetched; fetch or cancel some"
            )));
        }
        queries.insert(query.id().into(), Arc::clone(&query));
        Ok(query)
    }

    /// Forgets the queries that nobody fetched in time.
    pub fn sweep(&self) {
        let now = Instant::now();
        let over: Vec<_> = self.queries.lock().extract_if(|_, query| query.is_over(now)).collect();
        over.iter().for_each(|(_, query)| query.abandon_soon());
    }

    /// Ends what nobody fetches, as the session is closed: what was begun holds it.
    pub fn close(&self) {
        self.queries.lock().values().for_each(|query| query.abandon_soon());
    }

    /// The physical plans of a query.
    ///
    /// # Errors
    /// Those of planning.
    pub async fn planned_all(self: &Arc<Self>, plans: &[LogicalPlan]) -> Result<Vec<Planned>> {
        let (client, plans) = (Arc::clone(self), plans.to_vec());
        let work = async move {
            let mut planned = vec![];
            for plan in &plans {
                planned.push(client.planned_here(plan).await?);
            }
            Ok(planned)
        };
        self.apart(work.boxed()).await
    }

    /// The physical plan of one. Computes at once: see [`Client::apart`].
    async fn planned_here(&self, plan: &LogicalPlan) -> Result<Planned> {
        let (state, runtime) = self.limited()?;
        let task = TaskContext::from(&state).with_runtime(runtime);
        let physical = state.create_physical_plan(plan).await?;
        Ok((physical, Arc::new(task)))
    }

    /// The physical plan of a part of a statement that changes something.
    async fn planned(&self, plan: &LogicalPlan) -> Result<Planned> {
        let (state, runtime) = self.limited()?;
        let task = TaskContext::from(&state).with_runtime(runtime);
        let plan = plan.clone();
        let work = async move { Ok(state.create_physical_plan(&plan).await?) };
        Ok((self.apart(work.boxed()).await?, Arc::new(task)))
    }

    /// The state of the session with the settings of a query that has its limits, and what it may use.
    fn limited(&self) -> Result<(SessionState, Arc<RuntimeEnv>)> {
        let mut state = self.session.context().state();
        let limits = &self.shared.limits;
        let mut runtime = state.runtime_env().as_ref().clone();
        if let Some(bytes) = limits.query_bytes_max {
            runtime.memory_pool = Arc::new(QueryPool::new(runtime.memory_pool, bytes));
            *state.config_mut() = fit_memory(state.config().clone(), bytes);
        }
        if let Some(bytes) = limits.query_spill_max {
            let files = SpillQuota::over(runtime.disk_manager, "one query on this server", bytes)?;
            runtime.disk_manager = Arc::new(PackedSpills::over(Arc::new(files))?);
        }
        Ok((state, Arc::new(runtime)))
    }

    /// Does what statements say that change something, in the time that a query has.
    async fn change_all(&self, plans: Vec<LogicalPlan>) -> Result<Vec<RecordBatch>> {
        let changes: Vec<_> = plans.into_iter().map(|plan| self.change(plan)).collect();
        self.in_time(async {
            let mut rows = vec![];
            for change in changes {
                rows.extend(change.await?);
            }
            Ok(rows)
        })
        .await
    }

    /// Does what a statement says that changes something. Boxed, as the compiler takes very long to
    /// see that a future around plans may go to another thread.
    fn change(&self, plan: LogicalPlan) -> BoxFuture<'_, Result<Vec<RecordBatch>>> {
        self.changed(plan).boxed()
    }

    async fn changed(&self, plan: LogicalPlan) -> Result<Vec<RecordBatch>> {
        let stored = &self.shared.stored;
        match plan {
            LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(table))
                if self.is_shared(&table.name) =>
            {
                let name = table.name.table();
                if table.if_not_exists && (stored.has(name) || self.tables.has_own(name)) {
                    return Ok(vec![]);
                }
                let mode = if table.or_replace { Mode::Replace } else { Mode::Create };
                self.check_free(name, mode)?;
                self.write(name, mode, &table.input).await?;
                Ok(vec![])
            }
            LogicalPlan::Dml(dml) if self.is_stored(&dml.table_name) => {
                let mode = match dml.op {
                    WriteOp::Insert(InsertOp::Append) => Mode::Append,
                    _ => Mode::Replace,
                };
                let count = self.write(dml.table_name.table(), mode, &dml.input).await?;
                counted(count)
            }
            LogicalPlan::Ddl(DdlStatement::DropTable(ref table)) if self.is_stored(&table.name) => {
                self.policy().check_writes()?;
                stored.remove(table.name.table()).await?;
                Ok(vec![])
            }
            LogicalPlan::Ddl(DdlStatement::DropTable(ref table))
                if self.is_shared(&table.name)
                    && self.shared.tables.table_exist(table.name.table())
                    && !self.tables.has_own(table.name.table()) =>
            {
                Err(Error::denied(format!(
                    "table '{}' is the server's, and no session drops it",
                    table.name.table()
                )))
            }
            // a table in a schema of the session's own
            plan @ LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(_)) => {
                let (state, runtime) = self.limited()?;
                let state = SessionStateBuilder::new_from_existing(state);
                let state = state.with_runtime_env(runtime).build();
                self.run(SessionContext::new_with_state(state), plan).await
            }
            plan @ (LogicalPlan::Ddl(_) | LogicalPlan::Statement(_)) => {
                let context = self.session.context().clone();
                let naming = Naming::of(&plan, &context.state())?;
                let change = match naming {
                    None => None,
                    Some(naming) => {
                        let held = naming.bytes().map(|bytes| self.keeps(bytes)).transpose()?;
                        Some(self.kept.begin(naming, held, &context).await)
                    }
                };
                self.run_telling(context, plan, change).await
            }
            // COPY, and INSERT into what is no table of all
            plan => {
                let (plan, task) = self.planned(&plan).await?;
                let ran = self.shared.start(async move { Ok(collect(plan, task).await?) });
                joined(ran).await
            }
        }
    }

    /// Runs a statement as DataFusion does.
    async fn run(&self, context: SessionContext, plan: LogicalPlan) -> Result<Vec<RecordBatch>> {
        self.run_telling(context, plan, None).await
    }

    /// The same, and tells what was changed once it is.
    async fn run_telling(
        &self,
        context: SessionContext,
        plan: LogicalPlan,
        change: Option<Change>,
    ) -> Result<Vec<RecordBatch>> {
        let running = async move {
            let frame = context.execute_logical_plan(plan).await;
            // before it can be stopped: what took effect is told
            if let Some(change) = change {
                change.done(&context, frame.is_ok());
            }
            Ok(frame?.collect().await?)
        };
        let planning = Arc::clone(self.session.planning());
        let running = async move { planning.run_long(running.boxed()).await };
        joined(self.shared.start(running)).await
    }

    /// Whether a name is one of the schema that all see. Where a bare name is, the session's settings say.
    fn is_shared(&self, name: &TableReference) -> bool {
        let name = resolved(name, &self.session.context().state());
        *name.catalog == *CATALOG && *name.schema == *SCHEMA
    }

    /// Whether a name is, for this session, that of a table that clients made.
    fn is_stored(&self, name: &TableReference) -> bool {
        let table = name.table();
        self.is_shared(name) && self.shared.stored.has(table) && !self.tables.has_own(table)
    }

    /// Refuses to make a table whose name is one of the server's, which nobody would see, or of the
    /// session's own, which it would not.
    ///
    /// # Errors
    /// `Denied`, `Exists`.
    pub fn check_free(&self, name: &str, mode: Mode) -> Result<()> {
        if mode != Mode::Append && self.shared.tables.table_exist(name) {
            return Err(Error::denied(format!(
                "table '{name}' is the server's, and cannot be replaced; choose another name"
            )));
        }
        if self.tables.has_own(name) {
            return Err(Error::exists(format!(
                "this session already has a table or view '{name}' of its own, which would hide the \
                 one for all; drop it, or choose another name"
            )));
        }
        Ok(())
    }

    /// Writes the rows of a plan into a table that all see.
    async fn write(&self, name: &str, mode: Mode, input: &LogicalPlan) -> Result<u64> {
        let (plan, task) = self.planned(input).await?;
        let schema = Arc::new(Schema::clone(input.schema().as_arrow()));
        let (stored, name) = (Arc::clone(&self.shared.stored), name.to_string());
        let writing = self.shared.start(async move {
            // here, as some operators start their inputs at once, on the threads of who asks for rows
            let rows = execute_stream(plan, task)?.map_err(Error::from);
            stored.write(&name, mode, schema, rows).await
        });
        joined(writing).await
    }

    /// Writes rows that the client sends into a table that all see.
    ///
    /// # Errors
    /// As [`StoredTables::write`](super::stored::StoredTables::write), and `Plan` if the client may
    /// not write.
    pub fn ingest<'a>(
        &'a self,
        name: &'a str,
        mode: Mode,
        schema: Arc<Schema>,
        rows: impl Stream<Item = Result<RecordBatch>> + Send + Unpin + 'a,
    ) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            self.policy().check_writes()?;
            self.check_free(name, mode)?;
            let _runs = self.runs();
            let pass = self.shared.admission.enter(self.share()).await?;
            let count = self.shared.stored.write(name, mode, schema, rows).await;
            drop(pass);
            count
        })
    }

    /// A query of the session.
    ///
    /// # Errors
    /// `NotFound` for one that is not there (any more).
    pub fn query(&self, id: &str) -> Result<Arc<Query>> {
        let mut queries = self.queries.lock();
        let found = queries.get(id).filter(|query| !query.is_over(Instant::now())).cloned();
        if found.is_none()
            && let Some(over) = queries.remove(id)
        {
            over.abandon_soon();
        }
        found.ok_or_else(|| {
            Error::not_found("no such query in this session; it was closed, or fetched too late")
        })
    }

    /// Forgets a query whose outcome was told without a ticket: nobody will fetch it.
    pub fn told(&self, query: &Query) {
        self.queries.lock().remove(query.id());
    }

    /// Ends a query; `false` if it is not there (any more).
    pub fn cancel(&self, id: &str) -> bool {
        // it stays for a while: whoever comes for its rows is told what became of them
        let query = self.queries.lock().get(id).cloned();
        let cancelled = query.inspect(|query| {
            query.cancel();
            query.abandon_soon();
        });
        cancelled.is_some()
    }

    /// Keeps a prepared statement.
    ///
    /// # Errors
    /// `Exhausted` for too many.
    pub fn keep(&self, prepared: Prepared) -> Result<String> {
        let mut all = self.prepared.lock();
        if all.len() >= PREPARED_MAX {
            return Err(Error::exhausted(format!(
                "this session has {PREPARED_MAX} prepared statements; close some"
            )));
        }
        let id = uuid::Uuid::new_v4().to_string();
        all.insert(id.clone(), Arc::new(prepared));
        Ok(id)
    }

    /// A prepared statement.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn prepared(&self, id: &str) -> Result<Arc<Prepared>> {
        let found = self.prepared.lock().get(id).cloned();
        found.ok_or_else(|| Error::not_found("no such prepared statement in this session"))
    }

    /// Forgets a prepared statement.
    pub fn forget(&self, id: &str) {
        self.prepared.lock().remove(id);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.queries.lock().values().for_each(|query| query.cancel());
        self.shared.metrics.sessions.dec();
    }
}

/// The answer of a statement that wrote rows.
fn counted(count: u64) -> Result<Vec<RecordBatch>> {
    let schema = Schema::new(vec![Field::new("count", DataType::UInt64, false)]);
    let batch =
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(UInt64Array::from(vec![count]))]);
    Ok(vec![batch.map_err(|cause| Error::bug("a count is no row").caused_by(cause))?])
}

/// The outcome of a task of its own.
async fn joined<T: 'static>(task: SpawnedTask<Result<T>>) -> Result<T> {
    task.join().await.map_err(|cause| match cause.is_cancelled() {
        true => Error::cancelled("the statement was stopped"),
        false => Error::bug("running the statement panicked").caused_by(cause),
    })?
}
