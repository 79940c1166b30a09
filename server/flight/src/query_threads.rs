//! The threads on which statements are planned and queries run, apart from those that answer clients.
//!
//! Each query that runs has threads of its own as long as there are no more of them than may run at
//! once: the system shares the cores out between threads, so a query that looks up seldom (it builds a
//! hash table, or a window over all rows) keeps no other waiting, and one that was stopped and has not
//! noticed yet takes no thread from those that go on. The threads are kept, as connections to object
//! stores live on those where they began. Not here: who may begin ([`almagest_engine::admission`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use almagest_engine::stacks::STACK_BYTES_RUNNING;
use almagest_engine::{Error, Result};
use datafusion::common::runtime::SpawnedTask;
use parking_lot::Mutex;
use thread_priority::{ThreadPriority, set_current_thread_priority};
use tokio::runtime::{Builder, Handle, Runtime};

/// The priority of queries from 0 to 99, where 49 is everybody's: nice 10, where there is niceness.
const QUERIES_PRIORITY: u8 = 22;
/// That of planning, which somebody waits for: between queries and answers.
const PLANNING_PRIORITY: u8 = 36;
/// Threads that wait for plans and read files for them; what computes has a thread of its own.
const PLANNING_THREADS: usize = 2;
/// Sets of threads at most; more queries that run share them.
const LANES_MAX: usize = 64;

/// The threads.
#[derive(Debug)]
pub struct QueryThreads {
    threads: usize,
    lanes_max: usize,
    lanes: Mutex<Vec<Lane>>,
    planning: Option<Runtime>,
}

/// Threads of one query.
#[derive(Debug)]
struct Lane {
    runtime: Runtime,
    running: Arc<AtomicUsize>,
}

/// A query that is in a lane, until it has let go of all that it held.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(running: &Arc<AtomicUsize>) -> Self {
        running.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(running))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl QueryThreads {
    /// Sets of `threads` threads for `queries` at once, and one for what plans.
    ///
    /// # Errors
    /// `Exhausted` if the system gives no threads.
    pub fn try_new(threads: usize, queries: usize) -> Result<Self> {
        let planning = started("planning files", PLANNING_THREADS, PLANNING_PRIORITY)?;
        Ok(Self {
            threads,
            lanes_max: queries.clamp(1, LANES_MAX),
            lanes: Mutex::new(vec![Lane::start(threads)?]),
            planning: Some(planning),
        })
    }

    /// Runs a query, which ends with who waits for it.
    pub fn run<T: Send + 'static>(
        &self,
        query: impl Future<Output = T> + Send + 'static,
    ) -> SpawnedTask<T> {
        let (handle, place) = self.lane();
        let _entered = handle.enter();
        SpawnedTask::spawn(async move {
            // moved here, so that it is given back when the query is gone, not when that is wished
            let _place = place;
            query.await
        })
    }

    /// Plans a statement, which ends with who waits for it.
    pub fn plan<T: Send + 'static>(
        &self,
        statement: impl Future<Output = T> + Send + 'static,
    ) -> SpawnedTask<T> {
        let _entered = self.planning.as_ref().map(Runtime::enter);
        SpawnedTask::spawn(statement)
    }

    /// The threads of the fewest queries, and of those the ones with the least left of earlier queries.
    fn lane(&self) -> (Handle, Place) {
        let mut lanes = self.lanes.lock();
        let load = |lane: &Lane| {
            let left = lane.runtime.metrics().num_alive_tasks();
            (lane.running.load(Ordering::Relaxed), left)
        };
        let is_free = lanes.iter().any(|lane| load(lane) == (0, 0));
        if !is_free && lanes.len() < self.lanes_max {
            match Lane::start(self.threads) {
                Ok(lane) => lanes.push(lane),
                // it shares those that there are
                Err(error) => log::warn!("{error}"),
            }
        }
        match lanes.iter().min_by_key(|lane| load(lane)) {
            Some(lane) => (lane.runtime.handle().clone(), Place::take(&lane.running)),
            // there is one from the beginning to the end
            None => (Handle::current(), Place::take(&Arc::default())),
        }
    }
}

impl Lane {
    fn start(threads: usize) -> Result<Self> {
        let runtime = started("queries", threads, QUERIES_PRIORITY)?;
        Ok(Self { runtime, running: Arc::default() })
    }
}

impl Drop for QueryThreads {
    fn drop(&mut self) {
        let lanes = self.lanes.get_mut().drain(..).map(|lane| lane.runtime);
        lanes.chain(self.planning.take()).for_each(Runtime::shutdown_background);
    }
}

/// Threads that let those go first that answer clients where the cores do not suffice for both: a query
/// that computes keeps all of them busy, and what a client waits for is seldom much work.
fn started(name: &str, threads: usize, priority: u8) -> Result<Runtime> {
    let started = Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name(name)
        .thread_stack_size(STACK_BYTES_RUNNING)
        .on_thread_start(move || yield_to_answers(priority))
        .enable_all()
        .build();
    started.map_err(|cause| Error::exhausted(format!("cannot start threads: {cause}")))
}

/// Lowers the priority of a thread that plans, see above.
pub fn planning_yields() {
    yield_to_answers(PLANNING_PRIORITY);
}

fn yield_to_answers(priority: u8) {
    let priority = ThreadPriority::try_from(priority);
    let set = priority.map_err(String::from).and_then(|priority| {
        set_current_thread_priority(priority).map_err(|cause| cause.to_string())
    });
    if let Err(cause) = set {
        log::warn!("queries run at the priority of answers: {cause}");
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[tokio::test]
    async fn a_query_that_never_looks_up_keeps_no_other_waiting() {
        let threads = QueryThreads::try_new(2, 4).unwrap();
        let end = Arc::new(AtomicUsize::new(0));
        let stuck: Vec<_> = (0..2)
            .map(|_| {
                let end = Arc::clone(&end);
                threads.run(async move {
                    while end.load(Ordering::Relaxed) == 0 {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                })
            })
            .collect();
        let begun = Instant::now();
        for _ in 0..20 {
            threads.run(async { tokio::task::yield_now().await }).join().await.unwrap();
        }
        assert!(begun.elapsed() < Duration::from_secs(5));
        // told to stop and still there, they keep their threads and no others
        drop(stuck);
        assert_eq!(threads.run(async { 7 }).join().await.unwrap(), 7);
        end.store(1, Ordering::Relaxed);
        assert!(threads.lanes.lock().len() <= 4);
    }

    #[tokio::test]
    async fn threads_are_used_again_and_shared_by_more_queries_than_there_are_sets() {
        let threads = QueryThreads::try_new(1, 2).unwrap();
        for _ in 0..10 {
            threads.run(async {}).join().await.unwrap();
        }
        let all: Vec<_> = (0..6).map(|_| threads.run(tokio::task::yield_now())).collect();
        for one in all {
            one.join().await.unwrap();
        }
        assert!(threads.lanes.lock().len() <= 2);
        assert_eq!(threads.plan(async { 3 }).join().await.unwrap(), 3);
    }
}
