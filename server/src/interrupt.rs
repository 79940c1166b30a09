//! Ctrl-C: stops the running statement, or the process if nothing runs.
//!
//! In: SIGINT. Out: a future that a running statement waits on beside its work. Not here: Ctrl-C
//! while a line is edited, which the editor takes.

use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// The exit status of an interrupted run.
pub const INTERRUPTED: i32 = 130;

/// How long a statement may take to stop before the process ends without it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Tells running statements of SIGINT.
#[derive(Clone, Debug)]
pub struct Interrupt(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    signal: Notify,
    /// Statements begun and ended: odd while one runs.
    turns: AtomicU64,
    keep_process: AtomicBool,
}

impl Interrupt {
    /// Watches for SIGINT from now on. Must be called within a runtime.
    pub fn watch() -> Self {
        let interrupt = Self(Arc::new(Inner {
            signal: Notify::new(),
            turns: AtomicU64::new(0),
            keep_process: AtomicBool::new(false),
        }));
        let watched = interrupt.clone();
        tokio::spawn(async move {
            while tokio::signal::ctrl_c().await.is_ok() {
                watched.take_signal();
            }
        });
        interrupt
    }

    /// From now on the process outlives SIGINT, as the shell does.
    pub fn keep_process(&self) {
        self.0.keep_process.store(true, Ordering::Relaxed);
    }

    /// Marks a statement as running until the guard is dropped.
    pub fn begin(&self) -> Running {
        self.0.turns.fetch_add(1, Ordering::Relaxed);
        Running(Arc::clone(&self.0))
    }

    fn take_signal(&self) {
        let turn = self.0.turns.load(Ordering::Relaxed);
        let keep = self.0.keep_process.load(Ordering::Relaxed);
        if turn % 2 == 1 {
            self.0.signal.notify_waiters();
            if !keep {
                let inner = Arc::clone(&self.0);
                // A thread, as the runtime's may all be busy.
                std::thread::spawn(move || {
                    std::thread::sleep(PATIENCE);
                    if inner.turns.load(Ordering::Relaxed) == turn {
                        exit(INTERRUPTED);
                    }
                });
            }
        } else if !keep {
            exit(INTERRUPTED);
        }
    }
}

/// A statement that runs.
#[derive(Debug)]
pub struct Running(Arc<Inner>);

impl Running {
    /// Waits for SIGINT.
    pub async fn interrupted(&self) {
        self.0.signal.notified().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.turns.fetch_add(1, Ordering::Relaxed);
    }
}
