//! Decoders that panic over a damaged file give an error.
//!
//! In: the futures, streams and morsels by which DataFusion reads a file. Out: the same, whose panics are `DataInvalid`
//! and whose errors are given a place. Decoders of Arrow, Parquet and what compresses them trust what a file says of
//! itself in many places; a file's content is nobody's bug here. Not here: what is asked for before it is decoded
//! ([`super::arrow_claims`], [`super::parquet_claims`]).

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::FileOpenFuture;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion_datasource::morsel::{Morsel, MorselPlan, MorselPlanner, Morselizer};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};

use crate::{Error, ErrorKind};

/// Adds to an error where it happened.
pub type Named = Arc<dyn Fn(DataFusionError) -> DataFusionError + Send + Sync>;

/// The letters of a panic's message that are told.
const SHOWN_MAX: usize = 200;

thread_local! {
    static READS: Cell<bool> = const { Cell::new(false) };
}

/// Says that this thread reads a file, until it is dropped.
struct Reading {
    before: bool,
}

impl Reading {
    fn begin() -> Self {
        Self { before: READS.replace(true) }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        READS.set(self.before);
    }
}

/// Lets no panic be told on the process' standard error that becomes an error in a file. For a command, whose output
/// is its own; once.
pub fn quiet_in_files() {
    let told = take_hook();
    set_hook(Box::new(move |panic| {
        if !READS.get() {
            told(panic);
        }
    }));
}

fn damaged(panic: &(dyn Any + Send)) -> DataFusionError {
    let said = panic.downcast_ref::<String>().map(String::as_str);
    let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
    contradiction(said).into()
}

fn contradiction(said: &str) -> Error {
    let said: String = said.lines().next().unwrap_or_default().chars().take(SHOWN_MAX).collect();
    Error::data_invalid(format!(
        "the file cannot be decoded, as it contradicts itself ({said}); write it anew, or move it away"
    ))
}

/// An error of reading a file. What DataFusion takes for its own fault is the file's.
pub fn in_a_file(cause: DataFusionError) -> Error {
    let error = Error::from(cause);
    if error.kind() == ErrorKind::Bug { contradiction(error.message()) } else { error }
}

/// What `work` gives; its panic is an error.
///
/// # Errors
/// Those of the work, and `DataInvalid` if it panics.
pub fn carefully<T>(named: &Named, work: impl FnOnce() -> DfResult<T>) -> DfResult<T> {
    let _reading = Reading::begin();
    let done = catch_unwind(AssertUnwindSafe(work));
    done.unwrap_or_else(|panic| Err(damaged(panic.as_ref()))).map_err(|error| named(error))
}

/// The same of what is waited for.
///
/// # Errors
/// Those of the work, and `DataInvalid` if it panics.
pub async fn awaited_carefully<T>(
    named: &Named,
    work: impl Future<Output = DfResult<T>> + Send,
) -> DfResult<T> {
    let mut work = Box::pin(work);
    let work = poll_fn(move |context| {
        let _reading = Reading::begin();
        work.as_mut().poll(context)
    });
    let done = AssertUnwindSafe(work).catch_unwind().await;
    done.unwrap_or_else(|panic| Err(damaged(panic.as_ref()))).map_err(|error| named(error))
}

/// The same rows.
pub fn rows_carefully(
    named: Named,
    rows: BoxStream<'static, DfResult<RecordBatch>>,
) -> BoxStream<'static, DfResult<RecordBatch>> {
    let mut rows = rows;
    let rows = futures::stream::poll_fn(move |context| {
        let _reading = Reading::begin();
        rows.poll_next_unpin(context)
    });
    let rows = AssertUnwindSafe(rows).catch_unwind();
    let rows = rows.map(move |batch| {
        batch.unwrap_or_else(|panic| Err(damaged(panic.as_ref()))).map_err(|error| named(error))
    });
    rows.boxed()
}

/// The same opening.
pub fn opened_carefully(named: Named, opened: FileOpenFuture) -> FileOpenFuture {
    let opened = async move {
        let rows = awaited_carefully(&named, opened).await?;
        Ok(rows_carefully(named, rows))
    };
    opened.boxed()
}

/// A format's own way to cut files into morsels.
pub struct CarefulMorselizer<N> {
    inner: Box<dyn Morselizer>,
    name: N,
}

impl<N: Fn(&PartitionedFile) -> Named + Send + Sync> CarefulMorselizer<N> {
    /// The same, whose errors are named by what `name` says of a file.
    pub fn new(inner: Box<dyn Morselizer>, name: N) -> Self {
        Self { inner, name }
    }
}

impl<N> fmt::Debug for CarefulMorselizer<N> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<N: Fn(&PartitionedFile) -> Named + Send + Sync> Morselizer for CarefulMorselizer<N> {
    fn plan_file(&self, file: PartitionedFile) -> DfResult<Box<dyn MorselPlanner>> {
        let named = (self.name)(&file);
        let inner = carefully(&named, || self.inner.plan_file(file))?;
        Ok(Box::new(CarefulPlanner { inner, named }))
    }
}

struct CarefulPlanner {
    inner: Box<dyn MorselPlanner>,
    named: Named,
}

impl fmt::Debug for CarefulPlanner {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl MorselPlanner for CarefulPlanner {
    fn plan(self: Box<Self>) -> DfResult<Option<MorselPlan>> {
        let Self { inner, named } = *self;
        let Some(mut plan) = carefully(&named, || inner.plan())? else { return Ok(None) };
        let planner = |inner: Box<dyn MorselPlanner>| -> Box<dyn MorselPlanner> {
            Box::new(Self { inner, named: Arc::clone(&named) })
        };
        let morsels = plan.take_morsels().into_iter().map(|inner| -> Box<dyn Morsel> {
            Box::new(CarefulMorsel { inner, named: Arc::clone(&named) })
        });
        let morsels = morsels.collect();
        let ready = plan.take_ready_planners().into_iter().map(planner).collect();
        let pending = plan.take_pending_planner();
        let mut plan = MorselPlan::new().with_morsels(morsels).with_planners(ready);
        if let Some(pending) = pending {
            let named = Arc::clone(&named);
            plan.set_pending_planner(async move {
                let inner = awaited_carefully(&named, pending).await?;
                Ok(Box::new(Self { inner, named }) as Box<dyn MorselPlanner>)
            });
        }
        Ok(Some(plan))
    }
}

struct CarefulMorsel {
    inner: Box<dyn Morsel>,
    named: Named,
}

impl fmt::Debug for CarefulMorsel {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl Morsel for CarefulMorsel {
    fn into_stream(self: Box<Self>) -> BoxStream<'static, DfResult<RecordBatch>> {
        let Self { inner, named } = *self;
        let _reading = Reading::begin();
        match catch_unwind(AssertUnwindSafe(|| inner.into_stream())) {
            Ok(rows) => rows_carefully(named, rows),
            Err(panic) => {
                let error = named(damaged(panic.as_ref()));
                futures::stream::iter([Err(error)]).boxed()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_damaged_data_with_its_place() {
        let named: Named = Arc::new(|error| Error::from(error).with("file", "a.parquet").into());
        let rows = futures::stream::poll_fn(|_| panic!("index {} out of range", 7)).boxed();
        let mut rows = rows_carefully(named, rows);
        let error = Error::from(rows.next().await.unwrap().unwrap_err());
        assert_eq!(error.kind(), ErrorKind::DataInvalid);
        assert!(error.to_string().contains("index 7 out of range"), "{error}");
        assert!(error.to_string().contains("(file a.parquet)"), "{error}");
        assert!(rows.next().await.is_none());
    }
}
