//! One query on many processes, by Apache Ballista.
//!
//! A *scheduler* takes logical plans from sessions, makes stages of them and hands tasks to
//! *executors*, which read files, keep what they shuffle on their disks and send results to whoever
//! asked. All three are made from the one [`assembly`] of a registry, so that each knows every format
//! and function in it. What Ballista has is not written again: here are the roles' settings, the client that
//! follows a query and cancels it ([`query`]), and the processes of `local:N` ([`local`]).
//!
//! Not here: which formats and functions there are, who starts the processes (but for `local:N`), and the
//! endpoint that others reach.

mod address;
mod analyze;
mod assembly;
mod ballista_server;
mod careful_state;
mod contact;
mod executor;
mod failure;
mod gatekeeper;
mod guarded_ports;
mod hash_joins;
mod key;
mod local;
mod message_depth;
mod one_right_side;
mod place;
mod planner;
mod processes;
mod query;
mod quota;
mod relation_names;
mod rows_without_columns;
#[cfg(test)]
mod scale;
mod scheduler;
mod sendable;
mod served;
mod typed_rows;
mod wanted;
mod watcher;
mod work;

pub use address::Address;
pub use almagest_engine::admission::Limits;
pub use executor::{Ended, ExecutorOptions, HEARTBEAT_SECONDS, run_executor};
pub use key::ClusterKey;
pub use local::{LocalCluster, LocalOptions};
pub use place::Place;
pub use processes::local_options;
pub use scheduler::{Scheduler, SchedulerOptions};
pub use watcher::{RunningStage, Watcher, WorkingExecutor};

use std::sync::Arc;

use almagest_engine::registry::Registry;
use almagest_engine::{Result, Session, SessionOptions};

use assembly::Assembly;
use planner::ClusterPlanner;

/// A session whose queries run where `almagest.scheduler` says: at first in this process, or at the
/// place that `options.own` names. Statements that make tables, views and settings stay in the
/// session, as do those that read no table.
///
/// # Errors
/// `Plan` if an option cannot be met.
pub fn session(registry: &Registry, options: &SessionOptions) -> Result<Session> {
    let assembly = Assembly::new(registry.clone(), 1);
    let codec = assembly.logical_codec();
    let planner = Arc::new(ClusterPlanner::new(registry.clone(), codec, options.clone()));
    let session_options =
        SessionOptions { planner: Some(Arc::clone(&planner) as _), ..options.clone() };
    let session = assembly.client_session(session_options)?;
    planner.begin(session.context().state().config_options());
    Ok(session)
}

/// A session whose queries run at `place`.
///
/// # Errors
/// As [`session`].
pub fn session_at(registry: &Registry, options: &SessionOptions, place: &Place) -> Result<Session> {
    session(registry, &SessionOptions { own: place.settings(), ..options.clone() })
}
