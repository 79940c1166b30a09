//! What scheduler, executor and client are made of: one registry, one codec each, one session.
//!
//! Each side that lacked a piece would fail with an error of its own, far from the cause; so none
//! puts its pieces together by itself.

use std::sync::Arc;

use almagest_engine::codec::{LogicalCodec, PhysicalCodec};
use almagest_engine::exec::{ComputeThreads, CutLeaves};
use almagest_engine::registry::Registry;
use almagest_engine::{Result, Session, SessionOptions};
use ballista_core::extension::SessionConfigExt;
use ballista_core::optimizer::NotInSubqueryRewrite;
use ballista_core::serde::{BallistaLogicalExtensionCodec, BallistaPhysicalExtensionCodec};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::prelude::SessionConfig;
use datafusion_proto::logical_plan::LogicalExtensionCodec;
use datafusion_proto::physical_plan::{ComposedPhysicalExtensionCodec, PhysicalExtensionCodec};

use super::sendable::Sendable;
use crate::assemble;

/// Bytes of the largest message between processes: plans, task lists, batches of results.
pub const MESSAGE_BYTES_MAX: u32 = 256 << 20;

/// The pieces.
#[derive(Clone, Debug)]
pub struct Assembly {
    registry: Registry,
    threads: Arc<ComputeThreads>,
}

impl Assembly {
    /// The pieces for a process that computes on this many threads.
    pub fn new(threads: usize) -> Self {
        Self { registry: assemble::registry(), threads: Arc::new(ComputeThreads::new(threads)) }
    }

    /// The codec of logical plans.
    pub fn logical_codec(&self) -> Arc<dyn LogicalExtensionCodec> {
        let others = Arc::new(BallistaLogicalExtensionCodec::default());
        Arc::new(LogicalCodec::new(self.registry.clone(), others))
    }

    /// The codec of physical plans. An operator is written with the place of its codec in this
    /// list: new ones go to the end.
    pub fn physical_codec(&self) -> Arc<dyn PhysicalExtensionCodec> {
        Arc::new(ComposedPhysicalExtensionCodec::new(vec![
            Arc::new(BallistaPhysicalExtensionCodec::default()),
            Arc::new(PhysicalCodec::new(self.registry.clone())),
        ]))
    }

    /// The settings of a session before anything is set.
    pub fn settings(&self) -> SessionConfig {
        SessionConfig::new_with_ballista()
            .with_ballista_logical_extension_codec(self.logical_codec())
            .with_ballista_physical_extension_codec(self.physical_codec())
            // The adaptive planner leaves a query hanging if an executor is lost late.
            .with_ballista_adaptive_query_planner(false)
            .with_ballista_grpc_client_max_message_size(MESSAGE_BYTES_MAX as usize)
            // A task for each partition: what fails is done again in small pieces.
            .set_usize("ballista.scheduler.max_partitions_per_task", 1)
            .with_extension(Arc::clone(&self.threads))
    }

    /// The same runtime, with the object stores that a session has.
    pub fn with_stores(&self, runtime: RuntimeEnvBuilder) -> RuntimeEnvBuilder {
        let runtime = runtime.with_object_list_cache_limit(0);
        match self.registry.stores() {
            None => runtime,
            Some(stores) => runtime.with_object_store_registry(Arc::clone(stores) as _),
        }
    }

    /// A session of these settings and options.
    ///
    /// # Errors
    /// `Plan` if an option cannot be met.
    pub fn session(&self, settings: SessionConfig, options: SessionOptions) -> Result<Session> {
        let options = SessionOptions {
            settings: Some(settings),
            first_rules: vec![Arc::new(NotInSubqueryRewrite::new())],
            ..options
        };
        assemble::session_with(&self.registry, &options)
    }

    /// The state in which a scheduler plans, and from which an executor takes its functions.
    ///
    /// # Errors
    /// Those of making a session.
    pub fn state(&self, settings: SessionConfig) -> Result<SessionState> {
        let state = self.session(settings, SessionOptions::default())?.context().state();
        let builder = SessionStateBuilder::new_from_existing(state)
            .with_physical_optimizer_rule(Arc::new(CutLeaves))
            .with_physical_optimizer_rule(Arc::new(Sendable::new(self.physical_codec())));
        Ok(builder.build())
    }
}
