//! One query on many processes, by Apache Ballista: the crate `almagest-cluster`, with everything that
//! Almagest has.

pub use almagest_cluster::{
    Address, ClusterKey, Ended, ExecutorOptions, HEARTBEAT_SECONDS, Limits, LocalCluster,
    LocalOptions, Place, RunningStage, Scheduler, SchedulerOptions, Watcher, WorkingExecutor,
    run_executor,
};

use crate::{Result, Session, SessionOptions, registry};

/// A session whose queries run where `almagest.scheduler` says: at first in this process, or at the
/// place that `options.own` names. Statements that make tables, views and settings stay in the
/// session, as do those that read no table.
///
/// # Errors
/// `Plan` if an option cannot be met.
pub fn session(options: &SessionOptions) -> Result<Session> {
    almagest_cluster::session(&registry()?, options)
}

/// A session whose queries run at `place`.
///
/// # Errors
/// As [`session`].
pub fn session_at(options: &SessionOptions, place: &Place) -> Result<Session> {
    almagest_cluster::session_at(&registry()?, options, place)
}
