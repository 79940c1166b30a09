//! `almagest demo`: writes a sample, an image and a catalog, then runs a tour of statements over it.
//!
//! In: size and folder. Out: the sample's files, and on stdout each statement with its answer and
//! its time. Not here: what the sample looks like ([`sky`], [`candidates`]), which files are already
//! there ([`sample`]), the statements (`examples/quickstart.sql`).

mod candidates;
mod random;
mod sample;
mod sky;
mod tour;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use almagest::{Error, Result};

use crate::arguments::{DemoArguments, MessageArguments, SessionArguments};
use crate::database::Database;
use crate::interrupt::Interrupt;
use crate::output::{Format, Output};
use crate::run::{Runner, told};

/// What writes a part of the sample needs to know.
struct Task {
    threads: usize,
    quiet: bool,
    cancelled: AtomicBool,
}

impl Task {
    /// # Errors
    /// `Cancelled` after Ctrl-C.
    fn check(&self) -> Result<()> {
        match self.cancelled.load(Ordering::Relaxed) {
            true => Err(Error::cancelled("stopped by Ctrl-C")),
            false => Ok(()),
        }
    }
}

/// Runs the demo. Errors are told on stderr before they are given back.
///
/// # Errors
/// Those of writing files and of statements; `Plan` if a file of others is in the way.
pub async fn run(
    arguments: DemoArguments,
    session: &SessionArguments,
    messages: MessageArguments,
) -> Result<()> {
    let interrupt = Interrupt::watch();
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let task = Arc::new(Task {
        threads: session.threads.map_or_else(cores, std::num::NonZeroUsize::get),
        quiet: messages.quiet,
        cancelled: AtomicBool::new(false),
    });
    let dir = arguments.dir.clone();
    write_sample(arguments, task, &interrupt).await.map_err(told)?;
    let mut runner = Runner {
        database: Database::Here(almagest::session(&session.options()).map_err(told)?),
        output: Output::to_stdout(Format::Table),
        messages,
        timing: true,
        interrupt,
        keep_going: false,
        failed: None,
    };
    tour::run(&mut runner, &dir).await
}

/// Writes what is missing, off the async threads. After Ctrl-C, waits until half files are removed.
async fn write_sample(
    arguments: DemoArguments,
    task: Arc<Task>,
    interrupt: &Interrupt,
) -> Result<()> {
    let running = interrupt.begin();
    let writing = Arc::clone(&task);
    let mut work = tokio::task::spawn_blocking(move || sample::ensure(&arguments, &writing));
    let outcome = tokio::select! {
        outcome = &mut work => outcome,
        () = running.interrupted() => {
            task.cancelled.store(true, Ordering::Relaxed);
            work.await
        }
    };
    outcome.map_err(|cause| Error::bug("writing the sample panicked").caused_by(cause))?
}
