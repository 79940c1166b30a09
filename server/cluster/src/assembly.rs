//! What scheduler, executor and client are made of: one registry, one codec each, one session.
//!
//! Each side that lacked a piece would fail with an error of its own, far from the cause; so none
//! puts its pieces together by itself.

use std::sync::Arc;

use almagest_engine::codec::{LogicalCodec, PhysicalCodec};
use almagest_engine::exec::{ComputeThreads, CutLeaves};
use almagest_engine::registry::Registry;
use almagest_engine::rewrite::compare_by_value;
use almagest_engine::write::PartsPlanner;
use almagest_engine::{AlmagestOptions, Error, Result, Session, SessionOptions};
use ballista_core::config::BallistaConfig;
use ballista_core::extension::SessionConfigExt;
use ballista_core::optimizer::NotInSubqueryRewrite;
use ballista_core::serde::{BallistaLogicalExtensionCodec, BallistaPhysicalExtensionCodec};
use datafusion::catalog::Session as DfSession;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result as DfResult;
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion::prelude::SessionConfig;
use datafusion_proto::logical_plan::LogicalExtensionCodec;
use datafusion_proto::physical_plan::{ComposedPhysicalExtensionCodec, PhysicalExtensionCodec};
use futures::future::BoxFuture;

use super::ClusterKey;
use super::contact::MESSAGE_BYTES_MAX;
use super::guarded_ports::TaskSecret;
use super::hash_joins;
use super::one_right_side::OneRightSide;
use super::rows_without_columns::RowsWithoutColumns;
use super::sendable::Sendable;

/// A side of a join that is smaller is sent to all who read the other: Spark's threshold, and the
/// rows that it holds.
const BROADCAST_BYTES: u64 = 10 << 20;
const BROADCAST_ROWS: u64 = 500_000;

/// DataFusion's planner, which also knows the node of ours.
#[derive(Debug)]
struct Planner;

impl QueryPlanner for Planner {
    fn create_physical_plan<'a, 'b, 'c, 'r>(
        &'a self,
        plan: &'b LogicalPlan,
        session: &'c dyn DfSession,
    ) -> BoxFuture<'r, DfResult<Arc<dyn ExecutionPlan>>>
    where
        'a: 'r,
        'b: 'r,
        'c: 'r,
    {
        self.physical_plan(plan, session)
    }
}

impl Planner {
    fn physical_plan<'a>(
        &'a self,
        plan: &'a LogicalPlan,
        session: &'a dyn DfSession,
    ) -> BoxFuture<'a, DfResult<Arc<dyn ExecutionPlan>>> {
        Box::pin(async move {
            let planner =
                DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(PartsPlanner)]);
            let session = session.as_any().downcast_ref::<SessionState>();
            let session =
                session.ok_or_else(|| Error::bug("a scheduler plans without its state"))?;
            let plan = compare_by_value(plan.clone())?;
            planner.create_physical_plan(&plan, &hash_joins::planning(session)).await
        })
    }
}

/// A rule for queries that do not run in this process.
#[derive(Debug)]
struct Elsewhere<R>(R);

impl<R: OptimizerRule> OptimizerRule for Elsewhere<R> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> DfResult<Transformed<LogicalPlan>> {
        match AlmagestOptions::of(&config.options()).runs_here() {
            true => Ok(Transformed::no(plan)),
            false => self.0.rewrite(plan, config),
        }
    }
}

/// What differs from Ballista's own choice, at both ends.
fn of_ballista(settings: SessionConfig) -> SessionConfig {
    settings
        // The adaptive planner leaves a query hanging if an executor is lost late.
        .with_ballista_adaptive_query_planner(false)
        .set_u64("ballista.optimizer.broadcast_join_threshold_bytes", BROADCAST_BYTES)
        .set_u64("ballista.optimizer.broadcast_join_threshold_rows", BROADCAST_ROWS)
        // A task for each partition: what fails is done again in small pieces.
        .set_usize("ballista.scheduler.max_partitions_per_task", 1)
}

/// The pieces.
#[derive(Clone, Debug)]
pub struct Assembly {
    registry: Registry,
    threads: Arc<ComputeThreads>,
    key: Option<ClusterKey>,
}

impl Assembly {
    /// The pieces for a process that has this registry, and computes on this many threads.
    pub fn new(registry: Registry, threads: usize) -> Self {
        Self { registry, threads: Arc::new(ComputeThreads::new(threads)), key: None }
    }

    /// The same, whose connections are made with this key.
    #[must_use]
    pub fn with_key(self, key: Option<ClusterKey>) -> Self {
        Self { key, ..self }
    }

    /// What it is made of.
    #[cfg(test)]
    pub fn registry(&self) -> &Registry {
        &self.registry
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
        let settings = SessionConfig::new_with_ballista()
            .with_ballista_logical_extension_codec(self.logical_codec())
            .with_ballista_physical_extension_codec(self.physical_codec())
            .with_ballista_grpc_client_max_message_size(MESSAGE_BYTES_MAX as usize)
            .with_option_extension(AlmagestOptions::default())
            .set_u64("datafusion.optimizer.hash_join_single_partition_threshold", BROADCAST_BYTES)
            .set_u64(
                "datafusion.optimizer.hash_join_single_partition_threshold_rows",
                BROADCAST_ROWS,
            )
            .set_bool(hash_joins::PREFERRED, true)
            .with_option_extension(TaskSecret::default())
            .with_extension(Arc::clone(&self.threads));
        let settings = of_ballista(settings);
        match &self.key {
            None => settings,
            Some(key) => settings
                .with_ballista_use_tls(true)
                .with_ballista_override_create_grpc_client_endpoint(key.for_all()),
        }
    }

    /// The same runtime, with the object stores that a session has.
    pub fn with_stores(&self, runtime: RuntimeEnvBuilder) -> RuntimeEnvBuilder {
        let runtime = runtime.with_object_list_cache_limit(0);
        match self.registry.stores() {
            None => runtime,
            Some(stores) => runtime.with_object_store_registry(Arc::clone(stores) as _),
        }
    }

    /// The session of a client, whose queries may run in this process or elsewhere.
    ///
    /// # Errors
    /// `Plan` if an option cannot be met.
    pub fn client_session(&self, options: SessionOptions) -> Result<Session> {
        let settings = options.settings.clone().unwrap_or_default();
        // the same as on the scheduler, as what a session finds is not sent with its queries
        let mut settings = of_ballista(settings.with_option_extension(BallistaConfig::default()));
        if !options.own.runs_here() {
            // Ballista's choice, as views grow large when they are sent
            let options = settings.options_mut();
            options.execution.parquet.schema_force_view_types = false;
            options.sql_parser.map_string_types_to_utf8view = false;
        }
        let first: Arc<dyn OptimizerRule + Send + Sync> =
            Arc::new(Elsewhere(NotInSubqueryRewrite::new()));
        let options =
            SessionOptions { settings: Some(settings), first_rules: vec![first], ..options };
        Session::try_new(&self.registry, &options)
    }

    /// The state in which a scheduler plans, and from which an executor takes its functions.
    ///
    /// # Errors
    /// Those of making a session.
    pub fn state(&self, settings: SessionConfig) -> Result<SessionState> {
        let options = SessionOptions {
            settings: Some(settings),
            first_rules: vec![Arc::new(NotInSubqueryRewrite::new())],
            planner: Some(Arc::new(Planner)),
            ..SessionOptions::default()
        };
        let state = Session::try_new(&self.registry, &options)?.context().state();
        let builder = SessionStateBuilder::new_from_existing(state)
            .with_physical_optimizer_rule(Arc::new(OneRightSide))
            .with_physical_optimizer_rule(Arc::new(RowsWithoutColumns))
            .with_physical_optimizer_rule(Arc::new(CutLeaves))
            .with_physical_optimizer_rule(Arc::new(Sendable::new(self.physical_codec())));
        Ok(builder.build())
    }
}
