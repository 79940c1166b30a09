//! The threads of a session that decode and compute, apart from those that wait.
//!
//! In: work. Out: its result, awaited. A session has as many as it may use cores; whoever asks while
//! all are busy waits in a queue. They are threads of their own, not a number of turns on a runtime's
//! blocking threads: a thread that ends one piece of work begins the next without being woken.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use datafusion::error::Result as DfResult;
use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::oneshot;

use super::Pulse;
use crate::{Error, Result};

/// Threads for computing. Kept in the session's configuration.
#[derive(Debug)]
pub struct ComputeThreads {
    count: usize,
    pool: OnceLock<Result<ThreadPool, String>>,
}

impl ComputeThreads {
    /// This many, started when there is something to do.
    pub fn new(count: usize) -> Self {
        Self { count: count.max(1), pool: OnceLock::new() }
    }

    /// Runs `work` on one of the threads. If nobody waits for it any more, it is not begun.
    ///
    /// # Errors
    /// Those of `work`; `Exhausted` if no thread can be started; `Bug` if it panics.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> DfResult<T> + Send + 'static,
    ) -> DfResult<T> {
        let (tell, told) = oneshot::channel();
        let pulse = Pulse::current();
        self.pool()?.spawn(move || {
            let _turn = pulse.as_ref().map(Pulse::turn);
            if !tell.is_closed() {
                let outcome = catch_unwind(AssertUnwindSafe(work));
                // Whoever asked may have left meanwhile.
                let _ = tell.send(
                    outcome.unwrap_or_else(|_| Err(Error::bug("reading an array panicked").into())),
                );
            }
        });
        told.await.map_err(|_| Error::bug("a computation was lost"))?
    }

    fn pool(&self) -> Result<&ThreadPool> {
        let pool = self.pool.get_or_init(|| {
            let builder = ThreadPoolBuilder::new().num_threads(self.count);
            let named = builder.thread_name(|index| format!("compute-{index}"));
            named.build().map_err(|cause| cause.to_string())
        });
        pool.as_ref().map_err(|cause| Error::exhausted(format!("cannot start threads: {cause}")))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::ErrorKind;

    #[tokio::test]
    async fn a_panic_is_an_error_and_the_threads_live_on() {
        let threads = ComputeThreads::new(1);
        let outcome = threads.run(|| -> DfResult<()> { panic!("a test's own panic") }).await;
        assert_eq!(Error::from(outcome.unwrap_err()).kind(), ErrorKind::Bug);
        assert_eq!(threads.run(|| Ok(7)).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_is_not_begun() {
        let threads = ComputeThreads::new(1);
        let begun = Arc::new(AtomicBool::new(false));
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let busy = threads.run(move || Ok(gate.recv().is_ok()));
        let left = async {
            let begun = Arc::clone(&begun);
            let never = threads.run(move || {
                begun.store(true, Ordering::Relaxed);
                Ok(())
            });
            tokio::select! {
                biased;
                _ = never => {}
                () = std::future::ready(()) => {}
            }
            open.send(()).unwrap();
        };
        assert!(tokio::join!(busy, left).0.unwrap());
        threads.run(|| Ok(())).await.unwrap();
        assert!(!begun.load(Ordering::Relaxed));
    }
}
