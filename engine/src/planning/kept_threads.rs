//! Threads with deep stacks, of which a few are kept for the next who wants one: a new thread costs a
//! statement that needs no time otherwise half of its time.
//!
//! In: a job. Out: nothing; the job tells whom it concerns. Not here: what a job is, and how many run.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

/// Threads that wait for work at the most.
const KEPT_MAX: usize = 2;
/// How long one waits before it ends.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a thread does, and then what tells that it is done, before which others may have the thread.
pub(super) type Job = Box<dyn FnOnce() -> Tell + Send>;
pub(super) type Tell = Box<dyn FnOnce() + Send>;

/// The threads that wait. They end when this is dropped.
#[derive(Debug, Default)]
pub(super) struct KeptThreads {
    waiting: Arc<Mutex<Vec<Thread>>>,
}

/// A thread that waits.
#[derive(Debug)]
struct Thread {
    /// Tells it from others.
    id: Arc<()>,
    jobs: Sender<Job>,
}

impl KeptThreads {
    /// Does the job on a thread that waits, or on a new one, which calls `on_start` first.
    pub fn run(&self, job: Job, stack_bytes: usize, on_start: Option<fn()>) -> io::Result<()> {
        let mut job = job;
        while let Some(thread) = self.take() {
            match thread.jobs.send(job) {
                Ok(()) => return Ok(()),
                Err(unsent) => job = unsent.0,
            }
        }
        let waiting = Arc::downgrade(&self.waiting);
        let thread = std::thread::Builder::new().name("planning".into()).stack_size(stack_bytes);
        thread.spawn(move || {
            if let Some(on_start) = on_start {
                on_start();
            }
            work(job, &waiting);
        })?;
        Ok(())
    }

    /// The one that waits for the shortest time, whose memory is the warmest.
    fn take(&self) -> Option<Thread> {
        self.waiting.lock().pop()
    }
}

/// Does one job after the other, until none comes.
fn work(first: Job, waiting: &Weak<Mutex<Vec<Thread>>>) {
    let id = Arc::new(());
    let mut job = first;
    loop {
        let tell = job();
        let (sender, jobs) = channel();
        let is_kept = waiting.upgrade().is_some_and(|waiting| {
            let mut waiting = waiting.lock();
            let is_free = waiting.len() < KEPT_MAX;
            if is_free {
                waiting.push(Thread { id: Arc::clone(&id), jobs: sender });
            }
            is_free
        });
        tell();
        let next = if is_kept { next_job(&id, &jobs, waiting) } else { None };
        match next {
            Some(next) => job = next,
            None => return,
        }
    }
}

/// The next job, if one comes in time.
fn next_job(id: &Arc<()>, jobs: &Receiver<Job>, waiting: &Weak<Mutex<Vec<Thread>>>) -> Option<Job> {
    match jobs.recv_timeout(PATIENCE) {
        Ok(job) => return Some(job),
        Err(RecvTimeoutError::Disconnected) => return None,
        Err(RecvTimeoutError::Timeout) => {}
    }
    if let Some(waiting) = waiting.upgrade() {
        waiting.lock().retain(|other| !Arc::ptr_eq(&other.id, id));
    }
    // whoever took the way to this thread before that sends a job; else nobody has it
    jobs.recv().ok()
}

#[cfg(test)]
mod tests {
    use std::thread::{ThreadId, current};

    use super::*;

    /// The thread on which a job is done.
    fn thread_of(threads: &KeptThreads) -> ThreadId {
        let (tell, told) = channel();
        let job: Job = Box::new(move || {
            let here = current().id();
            Box::new(move || tell.send(here).unwrap())
        });
        threads.run(job, 1 << 20, None).unwrap();
        told.recv().unwrap()
    }

    #[test]
    fn a_thread_that_has_told_is_there_for_the_next() {
        let threads = KeptThreads::default();
        let first = thread_of(&threads);
        assert_eq!(thread_of(&threads), first);
    }

    #[test]
    fn a_few_threads_are_kept_and_end_with_their_owner() {
        let threads = KeptThreads::default();
        let (ready, all) = (Arc::new(std::sync::Barrier::new(6)), Arc::new(()));
        for _ in 0..5 {
            let (ready, held) = (Arc::clone(&ready), Arc::clone(&all));
            let job: Job = Box::new(move || {
                ready.wait();
                Box::new(move || drop(held))
            });
            threads.run(job, 1 << 20, None).unwrap();
        }
        ready.wait();
        while Arc::strong_count(&all) > 1 {
            std::thread::yield_now();
        }
        let waiting = Arc::downgrade(&threads.waiting);
        assert_eq!(threads.waiting.lock().len(), KEPT_MAX);
        drop(threads);
        assert!(waiting.upgrade().is_none());
    }
}
