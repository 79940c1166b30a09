//! One query on many processes, by Apache Ballista.
//!
//! A *scheduler* takes logical plans from sessions, makes stages of them and hands tasks to
//! *executors*, which read files, keep what they shuffle on their disks and send results to whoever
//! asked. All three are made from the one [`assembly`], so that each knows every format and
//! function. What Ballista has is not written again: here are the roles' settings, the client that
//! follows a query and cancels it ([`query`]), and the processes of `local:N` ([`local`]).

mod address;
mod assembly;
mod careful_state;
mod executor;
mod failure;
mod local;
mod planner;
mod query;
mod scheduler;
mod sendable;
mod watcher;

pub use address::Address;
pub use executor::{ExecutorOptions, HEARTBEAT_SECONDS, run_executor};
pub use local::{LocalCluster, LocalOptions};
pub use scheduler::{Scheduler, SchedulerOptions};
pub use watcher::{RunningStage, Watcher};

use std::sync::Arc;

use almagest_engine::{Result, Session, SessionOptions};

use assembly::Assembly;
use planner::ClusterPlanner;

/// A session whose queries run on the executors of the scheduler at `scheduler`. Statements that
/// make tables, views and settings stay in the session, as do those that read no table.
///
/// # Errors
/// `Plan` if an option cannot be met.
pub fn session(options: &SessionOptions, scheduler: &Address) -> Result<Session> {
    let assembly = Assembly::new(1);
    let planner = ClusterPlanner::new(scheduler, assembly.logical_codec());
    let options = SessionOptions { planner: Some(Arc::new(planner)), ..options.clone() };
    assembly.session(assembly.settings(), options)
}
