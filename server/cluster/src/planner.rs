//! Decides where a statement runs: on the cluster, or in the session.
//!
//! In: logical plans after the session's own rules, so that calls of array functions are columns of
//! tables already. Out: a physical plan, a [`ClusterQuery`] where there are tables to read. COPY to a
//! folder is written by the executors; whatever else a statement writes, it writes here, and rows come
//! from the cluster.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use almagest_engine::codec::keep_columns;
use almagest_engine::files::keep_globs;
use almagest_engine::local_planner::{LocalPlanner, plan_here};
use almagest_engine::planned_table::PlannedTable;
use almagest_engine::registry::Registry;
use almagest_engine::rewrite::refuse_calls;
use almagest_engine::walk::WalkPlan;
use almagest_engine::write::{CommitExec, Target, WriteParts, guarding_sinks};
use almagest_engine::{AlmagestOptions, Error, Result, Scheduler, SessionOptions};
use ballista_core::planner::scans_only_information_schema;
use ballista_core::serde::protobuf::{ExecuteQueryParams, KeyValuePair, execute_query_params};
use datafusion::catalog::Session;
use datafusion::common::config::{ConfigEntry, ConfigExtension, ConfigOptions};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::listing::ListingTable;
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::Result as DfResult;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::dml::CopyTo;
use datafusion::logical_expr::{
    Analyze, DmlStatement, Explain, Expr, Extension, LogicalPlan, LogicalPlanBuilder,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion_proto::logical_plan::{AsLogicalPlan, LogicalExtensionCodec};
use datafusion_proto::protobuf::LogicalPlanNode;
use futures::future::BoxFuture;
use uuid::Uuid;

use super::ClusterKey;
use super::analyze::AnalyzeQuery;
use super::contact::Contact;
use super::message_depth::check_logical;
use super::processes::Processes;
use super::query::ClusterQuery;
use super::relation_names;

const TARGET_PARTITIONS: &str = "datafusion.execution.target_partitions";
const SHUFFLE_COMPRESSION: &str = "ballista.shuffle.compression.codec";

/// The formats, as `STORED AS` has them, of which each executor writes its part.
const PARTED: [&str; 4] = ["arrow", "csv", "json", "parquet"];

/// The planner of a session that may be on a cluster.
#[derive(Debug)]
pub struct ClusterPlanner {
    codec: Arc<dyn LogicalExtensionCodec>,
    processes: Processes,
    /// The settings of the session when it began: those that were set later travel with a query.
    begun: OnceLock<HashMap<String, Option<String>>>,
    threads: Option<usize>,
}

impl ClusterPlanner {
    /// The planner of a session of this registry with these options.
    pub fn new(
        registry: Registry,
        codec: Arc<dyn LogicalExtensionCodec>,
        options: SessionOptions,
    ) -> Self {
        let threads = options.threads;
        let processes = Processes::new(registry, options);
        Self { codec, processes, begun: OnceLock::new(), threads }
    }

    /// Notes the settings of the session as it begins.
    pub fn begin(&self, options: &ConfigOptions) {
        let entries = options.entries().into_iter();
        self.begun.get_or_init(|| entries.map(|entry| (entry.key, entry.value)).collect());
    }

    /// The scheduler of a session's queries.
    async fn scheduler(&self, session: &dyn Session) -> Result<Contact> {
        let own = AlmagestOptions::of(session.config_options());
        match own.scheduler {
            Scheduler::Cluster if own.cluster.is_empty() => Err(Error::plan(
                "no cluster is named; start with --cluster http://HOST:PORT, or SET \
                 almagest.cluster = 'http://HOST:PORT'",
            )),
            Scheduler::Cluster => {
                let address = own.cluster.parse().map_err(Error::plan)?;
                let path = Some(&own.cluster_key).filter(|path| !path.is_empty());
                let key = path.map(|path| ClusterKey::read(path.as_ref())).transpose()?;
                Ok(Contact { address, key })
            }
            _ => Ok(Contact { address: self.processes.address(&own).await?, key: None }),
        }
    }

    /// The settings that were set since the session began.
    fn settings(&self, session: &dyn Session) -> Vec<KeyValuePair> {
        let begun = self.begun.get();
        let is_new = |entry: &ConfigEntry| {
            let was = begun.and_then(|begun| begun.get(&entry.key));
            !entry.key.starts_with(AlmagestOptions::PREFIX) && was != Some(&entry.value)
        };
        let entries = session.config_options().entries().into_iter().filter(is_new);
        let mut settings: Vec<_> =
            entries.map(|entry| KeyValuePair { key: entry.key, value: entry.value }).collect();
        let mut unless_set = |key: &str, value: String| {
            if settings.iter().all(|setting| setting.key != key) {
                settings.push(KeyValuePair { key: key.into(), value: Some(value) });
            }
        };
        if let Some(threads) = self.threads {
            unless_set(TARGET_PARTITIONS, threads.to_string());
        }
        if AlmagestOptions::of(session.config_options()).scheduler == Scheduler::Processes {
            // no network is between processes of one machine
            unless_set(SHUFFLE_COMPRESSION, "none".into());
        }
        settings
    }

    fn query(&self, plan: &LogicalPlan, there: &There<'_>) -> Result<Arc<ClusterQuery>> {
        refuse_calls(plan)?;
        refuse_json_arrays(plan)?;
        let schema = Arc::new(plan.schema().as_arrow().clone());
        let plan = relation_names::quoted(keep_columns(keep_globs(plan.clone())?)?)?;
        let message = LogicalPlanNode::try_from_logical_plan(&plan, self.codec.as_ref());
        let message = message.map_err(|cause| {
            let error = Error::from(cause);
            let message = format!("the cluster cannot run this: {}", error.message());
            Error::new(error.kind(), message).caused_by(error)
        })?;
        let mut bytes = vec![];
        message.try_encode(&mut bytes)?;
        check_logical(&bytes)?;
        let query = ExecuteQueryParams {
            query: Some(execute_query_params::Query::LogicalPlan(bytes)),
            settings: self.settings(there.session),
            session_id: there.session.session_id().into(),
            operation_id: String::new(),
        };
        Ok(Arc::new(ClusterQuery::new(there.scheduler.clone(), query, schema)))
    }

    /// A statement that writes, or an EXPLAIN of one, over rows from the cluster.
    fn writing_here(&self, plan: &LogicalPlan, there: &There<'_>) -> DfResult<Option<LogicalPlan>> {
        Ok(match plan {
            LogicalPlan::Copy(copy) => {
                if let Some(there) = self.written_there(copy, there)? {
                    return Ok(Some(table_of(there, plan)?));
                }
                let input = Arc::new(self.rows_of(&copy.input, there)?);
                Some(LogicalPlan::Copy(CopyTo { input, ..copy.clone() }))
            }
            LogicalPlan::Dml(dml) => {
                let input = Arc::new(self.rows_of(&dml.input, there)?);
                Some(LogicalPlan::Dml(DmlStatement { input, ..dml.clone() }))
            }
            LogicalPlan::Explain(explain) => {
                let inner = self.writing_here(&explain.plan, there)?;
                inner.map(|plan| {
                    let plan = Arc::new(plan);
                    LogicalPlan::Explain(Explain { plan, ..explain.clone() })
                })
            }
            LogicalPlan::Analyze(analyze) => {
                let inner = self.writing_here(&analyze.input, there)?;
                inner.map(|input| {
                    let input = Arc::new(input);
                    LogicalPlan::Analyze(Analyze { input, ..analyze.clone() })
                })
            }
            _ => None,
        })
    }

    /// The plan of a COPY to a folder, whose parts executors write; `None` if it writes one file, or
    /// a format that only one process writes.
    fn written_there(
        &self,
        copy: &CopyTo,
        there: &There<'_>,
    ) -> DfResult<Option<Arc<dyn ExecutionPlan>>> {
        let format = copy.file_type.get_ext();
        let Some(folder) = Target::folder_of(copy)?.filter(|_| PARTED.contains(&&*format)) else {
            return Ok(None);
        };
        let unfinished = format!("{folder}.unfinished-{}/", Uuid::new_v4());
        let target = Target {
            folder: unfinished.clone(),
            format,
            options: copy.options.clone().into_iter().collect(),
            partition_by: copy.partition_by.clone(),
        };
        let node = Arc::new(WriteParts::try_new(copy.input.as_ref().clone(), target)?);
        let parts = self.query(&LogicalPlan::Extension(Extension { node }), there)?;
        Ok(Some(Arc::new(CommitExec::new(folder, unfinished, parts))))
    }

    /// A table whose rows are those that the cluster gives for `plan`.
    fn rows_of(&self, plan: &LogicalPlan, there: &There<'_>) -> DfResult<LogicalPlan> {
        table_of(self.query(plan, there)?, plan)
    }
}

/// The scan of what `rows` gives, under the names of `plan`.
fn table_of(rows: Arc<dyn ExecutionPlan>, plan: &LogicalPlan) -> DfResult<LogicalPlan> {
    let rows = PlannedTable::new(rows);
    let scan = LogicalPlanBuilder::scan("rows", provider_as_source(Arc::new(rows)), None)?;
    let scan = scan.build()?;
    let named = scan.schema().columns().into_iter().zip(plan.schema().columns());
    let named = named.map(|(from, to)| Expr::Column(from).alias_qualified(to.relation, to.name));
    LogicalPlanBuilder::from(scan).project(named)?.build()
}

/// A session, and the scheduler of its queries.
struct There<'a> {
    scheduler: Contact,
    session: &'a dyn Session,
}

impl QueryPlanner for ClusterPlanner {
    fn create_physical_plan<'a, 'b, 'c, 'r>(
        &'a self,
        plan: &'b LogicalPlan,
        session: &'c dyn Session,
    ) -> BoxFuture<'r, DfResult<Arc<dyn ExecutionPlan>>>
    where
        'a: 'r,
        'b: 'r,
        'c: 'r,
    {
        self.physical_plan(plan, session)
    }
}

impl ClusterPlanner {
    fn physical_plan<'a>(
        &'a self,
        plan: &'a LogicalPlan,
        session: &'a dyn Session,
    ) -> BoxFuture<'a, DfResult<Arc<dyn ExecutionPlan>>> {
        Box::pin(async move {
            if AlmagestOptions::of(session.config_options()).runs_here() {
                return LocalPlanner.create_physical_plan(plan, session).await;
            }
            if !reads_tables(plan)? || scans_only_information_schema(plan)? {
                return plan_here(plan, session).await;
            }
            if recurses(plan)? {
                // each step waits for the one before, whose rows only one process has
                log::warn!("WITH RECURSIVE runs in the session's process, not on the cluster");
                return plan_here(plan, session).await;
            }
            let there = There { scheduler: self.scheduler(session).await?, session };
            if let LogicalPlan::Analyze(analyze) = plan
                && self.writing_here(&analyze.input, &there)?.is_none()
            {
                let query = self.query(&analyze.input, &there)?;
                let schema = Arc::new(analyze.schema.as_arrow().clone());
                return Ok(Arc::new(AnalyzeQuery::new(query, schema)));
            }
            match self.writing_here(plan, &there)? {
                Some(plan) => {
                    let here = DefaultPhysicalPlanner::default();
                    guarding_sinks(here.create_physical_plan(&plan, session).await?, &plan)
                }
                None => Ok(self.query(plan, &there)?),
            }
        })
    }
}

/// Whether anything but constants is read.
fn reads_tables(plan: &LogicalPlan) -> DfResult<bool> {
    let mut reads = false;
    plan.walk_with_subqueries(&mut |node| {
        reads |= matches!(node, LogicalPlan::TableScan(_));
        Ok(if reads { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(reads)
}

/// Whether some query reads itself.
fn recurses(plan: &LogicalPlan) -> DfResult<bool> {
    let mut recurses = false;
    plan.walk_with_subqueries(&mut |node| {
        recurses |= matches!(node, LogicalPlan::RecursiveQuery(_));
        Ok(if recurses { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(recurses)
}

/// Refuses files that hold one JSON array: DataFusion's messages do not say so, and executors would
/// look for a record in each line.
fn refuse_json_arrays(plan: &LogicalPlan) -> Result<()> {
    plan.walk_with_subqueries(&mut |node| {
        let LogicalPlan::TableScan(scan) = node else { return Ok(TreeNodeRecursion::Continue) };
        let table = source_as_provider(&scan.source)?;
        let format = table.downcast_ref::<ListingTable>().map(|table| &table.options().format);
        let json = format.and_then(|format| format.downcast_ref::<JsonFormat>());
        if json.is_some_and(|json| !json.options().newline_delimited) {
            return Err(Error::unsupported(format!(
                "a cluster reads JSON files with a record in each line, and those of {} hold one \
                 array; write them anew, in one process, with COPY {} TO 'folder/' STORED AS JSON",
                scan.table_name, scan.table_name
            ))
            .into());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}
