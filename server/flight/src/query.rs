//! A query of a client, from its plan to the last batch that goes out.
//!
//! A statement that reads is planned when it is sent and runs when its rows are fetched; so one that
//! nobody fetches costs nothing. Rows are made as fast as the client takes them: a few batches wait,
//! and then the query does. Whoever stops fetching, cancels or goes away ends it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use almagest_engine::admission::Pass;
use almagest_engine::exec::progress::Progress;
use almagest_engine::{Error, ErrorKind, Opaque, Result};
use arrow::array::{Array, ArrayRef, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::runtime::SpawnedTask;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use super::access::Access;
use super::client::Client;
use super::ledger::Held;
use super::metrics::Outcome;
use super::places::hidden_rows;
use super::stored::Version;

/// Batches that may wait for the client.
const BATCHES_WAITING: usize = 2;
/// About how many bytes are made into messages at once, by those who answer others too.
const PIECE_BYTES: usize = 4 << 20;
/// A client that takes no rows for so long lets others have its turn.
const STALLED: Duration = Duration::from_secs(1);
/// How long a client that asks how far a query is waits at most.
const POLL_WAIT: Duration = Duration::from_millis(200);
/// Characters of a statement in the log.
const LOGGED: usize = 200;

/// The rows of a query, as they are made.
pub type Rows = BoxStream<'static, Result<RecordBatch>>;
/// A plan that can run, and what it may use.
pub type Planned = (Arc<dyn ExecutionPlan>, Arc<TaskContext>);

/// A query that may be fetched.
pub struct Query {
    id: String,
    text: String,
    schema: SchemaRef,
    source: Source,
    /// Made when the statement was sent; used up by the first who fetches.
    planned: Mutex<Option<Vec<Planned>>>,
    progress: Mutex<Option<Progress>>,
    begun: tokio::sync::Mutex<Begun>,
    expires: Mutex<Instant>,
    ended: AtomicBool,
    cancelled: watch::Sender<bool>,
    /// Whether its rows tell of files that clients know by other names.
    hides: bool,
    /// Versions of tables, which stay as long as it does, and what it takes of what its session may keep.
    _held: (Vec<Arc<Version>>, Held),
}

enum Source {
    Plans(Opaque<Vec<LogicalPlan>>),
    /// What a statement gave that has run.
    Done(Vec<RecordBatch>),
}

/// The beginning of rows that were asked for by asking how far they are.
#[derive(Default)]
enum Begun {
    #[default]
    Not,
    Runs(SpawnedTask<Result<Rows>>),
    Ready(Result<Rows>),
    Fetched,
}

/// How far a query is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HowFar {
    /// Whether rows can be fetched without waiting.
    pub ready: bool,
    /// The part that is done, if that is known.
    pub fraction: Option<f64>,
}

impl Query {
    /// A query that runs when it is fetched: the rows of each plan, one after the other.
    pub fn new(
        text: &str,
        plans: Vec<LogicalPlan>,
        planned: Vec<Planned>,
        held: (Vec<Arc<Version>>, Held),
        life: Duration,
    ) -> Self {
        let logical =
            plans.first().map_or_else(Schema::empty, |plan| plan.schema().as_arrow().clone());
        let physical = planned.iter().map(|(plan, _)| plan.schema());
        let schema = physical.fold(wire_schema(&logical, None), |told, physical| {
            wire_schema(&told, Some(&physical))
        });
        let source = Source::Plans(Opaque::new(plans));
        Self { planned: Mutex::new(Some(planned)), ..Self::with(text, schema, source, held, life) }
    }

    /// One that has run.
    pub fn done(
        text: &str,
        schema: &Schema,
        rows: Vec<RecordBatch>,
        kept: Held,
        life: Duration,
    ) -> Self {
        Self::with(text, wire_schema(schema, None), Source::Done(rows), (vec![], kept), life)
    }

    fn with(
        text: &str,
        schema: SchemaRef,
        source: Source,
        held: (Vec<Arc<Version>>, Held),
        life: Duration,
    ) -> Self {
        Self {
            id: uuid::Uuid::new_v4().to_string(),
            text: text.chars().take(LOGGED).collect(),
            schema,
            source,
            planned: Mutex::default(),
            progress: Mutex::default(),
            begun: tokio::sync::Mutex::default(),
            expires: Mutex::new(Instant::now() + life),
            ended: AtomicBool::new(false),
            cancelled: watch::Sender::new(false),
            hides: false,
            _held: held,
        }
    }

    /// The same, whose rows tell of files that clients know by other names.
    pub fn hiding(self) -> Self {
        Self { hides: true, ..self }
    }

    /// What it is called.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The schema of its rows, exactly.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Rows that its statement wrote, if it has run.
    pub fn rows_written(&self) -> Option<i64> {
        let Source::Done(batches) = &self.source else { return None };
        let counts = batches.iter().filter(|batch| batch.num_columns() == 1).flat_map(|batch| {
            let column = batch.column(0).as_any();
            let counts = column.downcast_ref::<arrow::array::UInt64Array>();
            counts.into_iter().flatten().flatten().map(|count| count as i64).collect::<Vec<_>>()
        });
        Some(counts.sum())
    }

    /// Whether it can be fetched no more.
    pub fn is_over(&self, now: Instant) -> bool {
        *self.expires.lock() < now
    }

    /// Lets it be fetched for so long from now on.
    pub fn renew(&self, life: Duration) {
        *self.expires.lock() = Instant::now() + life;
    }

    /// Whether it has run, and its rows are fetched or given up.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Ends it.
    pub fn cancel(&self) {
        self.cancelled.send_replace(true);
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Ends what was begun by asking how far it is, if nobody has come for the rows.
    pub async fn abandon(&self) {
        let begun = std::mem::replace(&mut *self.begun.lock().await, Begun::Fetched);
        if !matches!(begun, Begun::Fetched) {
            self.cancel();
        }
    }

    /// The same, without waiting for it. Whoever forgets a query does so, as rows that were begun hold
    /// the query and its client, and it holds the rows: dropped alone, none of them would ever go.
    pub fn abandon_soon(self: &Arc<Self>) {
        // at the end of the process there is nothing to wait for
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let query = Arc::clone(self);
        runtime.spawn(async move { query.abandon().await });
    }

    /// Its rows, conformed to its schema.
    ///
    /// # Errors
    /// `Exhausted` if too many queries wait, and those of planning.
    pub async fn rows(self: &Arc<Self>, client: &Arc<Client>) -> Result<Rows> {
        let begun = std::mem::replace(&mut *self.begun.lock().await, Begun::Fetched);
        match begun {
            Begun::Ready(rows) => rows,
            Begun::Runs(task) => joined(task.join().await),
            Begun::Not | Begun::Fetched => Arc::clone(self).begin(Arc::clone(client)).await,
        }
    }

    /// Begins to make rows, and tells how far it is after a short while at most.
    ///
    /// # Errors
    /// Those of the query.
    pub async fn how_far(self: &Arc<Self>, client: &Arc<Client>) -> Result<HowFar> {
        let mut begun = self.begun.lock().await;
        let is_given_up = matches!(*begun, Begun::Fetched) && *self.cancelled.borrow();
        if is_given_up && matches!(self.source, Source::Plans(_)) {
            return Err(stopped());
        }
        if matches!(*begun, Begun::Not) {
            let (query, client) = (Arc::clone(self), Arc::clone(client));
            *begun = Begun::Runs(SpawnedTask::spawn(async move {
                let mut rows = query.begin(client).await?;
                // with the first batch what must be done before any is done
                let first = rows.next().await.transpose()?;
                let first = stream::iter(first.map(Ok));
                Ok(first.chain(rows).boxed())
            }));
        }
        let ready = match &mut *begun {
            Begun::Runs(task) => match tokio::time::timeout(POLL_WAIT, task).await {
                Ok(outcome) => {
                    *begun = Begun::Ready(joined(outcome));
                    true
                }
                Err(_) => false,
            },
            _ => true,
        };
        if let Begun::Ready(Err(error)) = &*begun {
            return Err(error.copy());
        }
        let fraction = match self.source {
            Source::Done(_) => Some(1.0),
            Source::Plans(_) => self.progress.lock().as_ref().and_then(|p| p.now().fraction),
        };
        Ok(HowFar { ready, fraction })
    }

    async fn begin(self: Arc<Self>, client: Arc<Client>) -> Result<Rows> {
        let plans = match &self.source {
            Source::Done(rows) => {
                self.ended.store(true, Ordering::Relaxed);
                let schema = Arc::clone(&self.schema);
                let rows: Vec<Result<RecordBatch>> =
                    rows.iter().map(|batch| conformed(batch, &schema)).collect();
                return Ok(stream::iter(rows).boxed());
            }
            Source::Plans(plans) => plans,
        };
        let record = Record::begin(Arc::clone(&self), Arc::clone(&client));
        let record = Arc::new(Mutex::new(Some(record)));
        let mut cancelled = self.cancelled.subscribe();
        let began = async {
            let pass = client.shared().admission.enter(client.share()).await?;
            let planned = self.planned.lock().take();
            let planned = match planned {
                Some(planned) => planned,
                None => client.planned_all(plans).await?,
            };
            Ok::<_, Error>((pass, planned))
        };
        let began = tokio::select! {
            began = began => began,
            _ = cancelled.wait_for(|cancelled| *cancelled) => Err(stopped()),
        };
        let (pass, planned) = began.inspect_err(|error| failed(&record, error))?;
        // of several, the first is told of
        *self.progress.lock() = planned.first().map(|(plan, _)| Progress::of(plan));
        let (sender, receiver) = mpsc::channel(BATCHES_WAITING);
        let turn = Turn {
            pass: Some(pass),
            client: Arc::clone(&client),
            query: Arc::clone(&self),
            record: Arc::downgrade(&record),
        };
        let (schema, access) = (Arc::clone(&self.schema), Arc::clone(&client.shared().access));
        let told = Told { schema, hidden_by: self.hides.then_some(access) };
        let producer = client.shared().start(produce(planned, told, sender, turn));
        let limits = &client.shared().limits;
        let making = Making {
            deadline: limits.time_max.map(|time| tokio::time::Instant::now() + time),
            overdue: limits.overdue(),
            cancelled,
            receiver,
            producer: Some(producer),
            record,
        };
        Ok(stream::unfold(making, Making::next).fuse().boxed())
    }
}

/// The outcome of a task that was neither aborted nor panicked.
fn joined<T>(outcome: Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    outcome.map_err(|cause| match cause.is_cancelled() {
        true => stopped(),
        false => Error::bug("running the query panicked").caused_by(cause),
    })?
}

fn stopped() -> Error {
    Error::cancelled("the query was cancelled")
}

/// How rows are told to clients.
struct Told {
    schema: SchemaRef,
    hidden_by: Option<Arc<Access>>,
}

impl Told {
    fn of(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let batch = conformed(batch, &self.schema)?;
        match &self.hidden_by {
            None => Ok(batch),
            Some(access) => hidden_rows(&batch, access),
        }
    }
}

async fn produce(
    planned: Vec<Planned>,
    told: Told,
    sender: mpsc::Sender<RecordBatch>,
    mut turn: Turn,
) -> Result<()> {
    for (plan, context) in planned {
        let mut stream = execute_stream(plan, context)?;
        while let Some(batch) = stream.next().await {
            // here, as those who answer have no time for it
            let batch = told.of(&batch?)?;
            let bytes = bytes_of(&batch) as usize;
            let pieces = bytes.div_ceil(PIECE_BYTES).clamp(1, batch.num_rows().max(1));
            let rows = batch.num_rows().div_ceil(pieces).max(1);
            for begin in (0..batch.num_rows().max(1)).step_by(rows) {
                let piece = batch.slice(begin, rows.min(batch.num_rows() - begin));
                match turn.place(&sender).await? {
                    Some(place) => place.send(piece),
                    None => return Ok(()),
                }
            }
        }
    }
    Ok(())
}

/// A turn among the queries that run. It is given up while the client takes no rows: whoever leaves a
/// cursor open must not keep others waiting.
struct Turn {
    pass: Option<Pass>,
    client: Arc<Client>,
    query: Arc<Query>,
    record: Weak<Mutex<Option<Record>>>,
}

impl Turn {
    /// Room for a batch; none if nobody takes it any more.
    async fn place<'a>(
        &mut self,
        sender: &'a mpsc::Sender<RecordBatch>,
    ) -> Result<Option<mpsc::Permit<'a, RecordBatch>>> {
        if let Ok(place) = tokio::time::timeout(STALLED, sender.reserve()).await {
            return Ok(place.ok());
        }
        self.pass = None;
        let stalled = Instant::now();
        let place = loop {
            // rows that nobody takes hold memory and files: as long as others that wait to be fetched
            let life = self.client.shared().limits.query_life;
            let over = (stalled + life).max(*self.query.expires.lock());
            if over <= Instant::now() {
                return Err(self.given_up());
            }
            match tokio::time::timeout_at(over.into(), sender.reserve()).await {
                Ok(Ok(place)) => break place,
                Ok(Err(_)) => return Ok(None),
                // perhaps it was renewed
                Err(_) => {}
            }
        };
        let admission = &self.client.shared().admission;
        self.pass = Some(admission.enter(self.client.share()).await?);
        Ok(Some(place))
    }

    /// Ends the query of a client that takes no rows. It is told so if it ever goes on.
    fn given_up(&self) -> Error {
        let error = Error::exhausted(
            "no rows of the query were taken for too long, and it was ended; send it anew",
        );
        if let Some(record) = self.record.upgrade() {
            failed(&record, &error);
            // here, as whoever has the rows is not asked for them
            record.lock().take();
        }
        error
    }
}

/// Says why a query ended, if it has not yet.
fn failed(record: &Mutex<Option<Record>>, error: &Error) {
    if let Some(record) = &mut *record.lock() {
        record.failed(error);
    }
}

/// Rows that are being made.
struct Making {
    deadline: Option<tokio::time::Instant>,
    /// What is told then.
    overdue: Error,
    cancelled: watch::Receiver<bool>,
    receiver: mpsc::Receiver<RecordBatch>,
    /// Absent after the end.
    producer: Option<SpawnedTask<Result<()>>>,
    /// Gone when the query was ended because nobody took its rows.
    record: Arc<Mutex<Option<Record>>>,
}

impl Making {
    async fn next(mut self) -> Option<(Result<RecordBatch>, Self)> {
        let next = self.batch().await?;
        if let Err(error) = &next {
            failed(&self.record, error);
            self.producer = None;
        }
        Some((next, self))
    }

    async fn batch(&mut self) -> Option<Result<RecordBatch>> {
        let producer = self.producer.as_mut()?;
        let overdue = async {
            match self.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let batch = tokio::select! {
            biased;
            _ = self.cancelled.wait_for(|cancelled| *cancelled) => return Some(Err(stopped())),
            () = overdue => return Some(Err(self.overdue.copy())),
            batch = self.receiver.recv() => batch,
        };
        let Some(batch) = batch else {
            let ended = joined(producer.await);
            if let (Ok(()), Some(record)) = (&ended, &mut *self.record.lock()) {
                record.outcome = Outcome::Done;
            }
            self.producer = None;
            return ended.err().map(Err);
        };
        let counted = self.record.lock().as_mut().map_or(Ok(()), |record| record.count(&batch));
        Some(counted.map(|()| batch))
    }
}

/// What is known of a query that runs; told to the log and the metrics when it is dropped.
struct Record {
    query: Arc<Query>,
    client: Arc<Client>,
    began: Instant,
    rows: u64,
    bytes: u64,
    outcome: Outcome,
    /// Its session is used as long as it runs.
    _runs: Arc<()>,
}

impl Record {
    fn begin(query: Arc<Query>, client: Arc<Client>) -> Self {
        client.shared().metrics.running.inc();
        // until it is otherwise: whoever drops it before its end has left
        let outcome = Outcome::Cancelled;
        let _runs = client.runs();
        Self { query, client, began: Instant::now(), rows: 0, bytes: 0, outcome, _runs }
    }

    fn failed(&mut self, error: &Error) {
        self.outcome = match error.kind() {
            ErrorKind::Cancelled => Outcome::Cancelled,
            _ => Outcome::Failed,
        };
    }

    fn count(&mut self, batch: &RecordBatch) -> Result<()> {
        let limits = &self.client.shared().limits;
        self.rows += batch.num_rows() as u64;
        self.bytes += bytes_of(batch);
        let passed = |what: &str, most: u64| {
            Err(Error::exhausted(format!(
                "the answer has more than the {most} {what} that this server sends for one query; \
                 ask for less, or in parts"
            )))
        };
        match (limits.rows_max, limits.bytes_max) {
            (Some(most), _) if self.rows > most => passed("rows", most),
            (_, Some(most)) if self.bytes > most => passed("bytes", most),
            _ => Ok(()),
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.query.ended.store(true, Ordering::Relaxed);
        let metrics = &self.client.shared().metrics;
        metrics.running.dec();
        metrics.ended(self.outcome, self.rows, self.bytes, self.began.elapsed());
        log::info!(
            target: "almagest::queries",
            "query={} user={} outcome={} rows={} bytes={} ms={} sql={:?}",
            self.query.id,
            self.client.user_name(),
            self.outcome,
            self.rows,
            self.bytes,
            self.began.elapsed().as_millis(),
            self.query.text,
        );
    }
}

/// Bytes of the rows of a batch, which may be a piece of another.
pub fn bytes_of(batch: &RecordBatch) -> u64 {
    let bytes = batch.columns().iter().map(|column| {
        let piece = column.to_data().get_slice_memory_size();
        piece.unwrap_or_else(|_| column.get_array_memory_size()) as u64
    });
    bytes.sum()
}

/// The schema that clients are told: kinds of text and bytes that all of them know, and nothing said
/// to be never absent that might be.
pub fn wire_schema(logical: &Schema, physical: Option<&Schema>) -> SchemaRef {
    let fields = logical.fields().iter().enumerate().map(|(position, field)| {
        let may_be_absent = physical.is_some_and(|schema| schema.field(position).is_nullable());
        let nullable = field.is_nullable() || may_be_absent;
        wire_field(field).as_ref().clone().with_nullable(nullable)
    });
    Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), logical.metadata().clone()))
}

fn wire_field(field: &FieldRef) -> FieldRef {
    let data_type = wire_type(field.data_type());
    if data_type == *field.data_type() {
        return Arc::clone(field);
    }
    Arc::new(Field::clone(field).with_data_type(data_type))
}

fn wire_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(item) => DataType::List(wire_field(item)),
        DataType::LargeList(item) => DataType::LargeList(wire_field(item)),
        DataType::ListView(item) => DataType::List(wire_field(item)),
        DataType::LargeListView(item) => DataType::LargeList(wire_field(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(wire_field(item), *size),
        DataType::Map(entries, sorted) => DataType::Map(wire_field(entries), *sorted),
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(wire_field).collect::<Fields>())
        }
        DataType::Dictionary(key, value) => {
            DataType::Dictionary(key.clone(), Box::new(wire_type(value)))
        }
        other => other.clone(),
    }
}

/// The batch under the schema that was told.
pub fn conformed(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| match column.data_type() == field.data_type() {
        true => Ok(Arc::clone(column)),
        false => cast(column, field.data_type()),
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let conformed = columns.collect::<Result<Vec<ArrayRef>, _>>().and_then(|columns| {
        RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
    });
    conformed.map_err(|cause| Error::bug("rows differ from their plan").caused_by(cause))
}
