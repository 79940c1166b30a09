//! Decides where a statement runs: on the cluster, or in the session.
//!
//! In: logical plans after the session's own rules, so that calls of array functions are columns of
//! tables already. Out: a physical plan, a [`ClusterQuery`] where there are tables to read. What a
//! statement writes, it writes here: rows come from the cluster.

use std::sync::Arc;

use almagest_engine::catalog::PlannedTable;
use almagest_engine::files::keep_globs;
use almagest_engine::rewrite::refuse_calls;
use almagest_engine::{Error, Result};
use async_trait::async_trait;
use ballista_core::planner::scans_only_information_schema;
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::listing::ListingTable;
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::Result as DfResult;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::dml::CopyTo;
use datafusion::logical_expr::{
    Analyze, DmlStatement, Explain, Expr, LogicalPlan, LogicalPlanBuilder,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion_proto::logical_plan::{AsLogicalPlan, LogicalExtensionCodec};
use datafusion_proto::protobuf::LogicalPlanNode;

use super::Address;
use super::query::ClusterQuery;

/// The planner of a session on a cluster.
#[derive(Debug)]
pub struct ClusterPlanner {
    scheduler: Address,
    codec: Arc<dyn LogicalExtensionCodec>,
}

impl ClusterPlanner {
    /// The planner for the executors of `scheduler`.
    pub fn new(scheduler: &Address, codec: Arc<dyn LogicalExtensionCodec>) -> Self {
        Self { scheduler: scheduler.clone(), codec }
    }

    fn query(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<ClusterQuery>> {
        refuse_calls(plan)?;
        refuse_json_arrays(plan)?;
        let plan = keep_globs(plan.clone())?;
        let message = LogicalPlanNode::try_from_logical_plan(&plan, self.codec.as_ref());
        let message = message.map_err(|cause| {
            let error = Error::from(cause);
            let message = format!("the cluster cannot run this: {}", error.message());
            Error::new(error.kind(), message).caused_by(error)
        })?;
        let mut bytes = vec![];
        message.try_encode(&mut bytes)?;
        let schema = Arc::new(plan.schema().as_arrow().clone());
        Ok(Arc::new(ClusterQuery::new(self.scheduler.clone(), bytes, schema, session.session_id())))
    }

    /// A statement that writes, or an EXPLAIN of one, over rows from the cluster.
    fn writing_here(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> DfResult<Option<LogicalPlan>> {
        Ok(match plan {
            LogicalPlan::Copy(copy) => {
                let input = Arc::new(self.rows_of(&copy.input, session)?);
                Some(LogicalPlan::Copy(CopyTo { input, ..copy.clone() }))
            }
            LogicalPlan::Dml(dml) => {
                let input = Arc::new(self.rows_of(&dml.input, session)?);
                Some(LogicalPlan::Dml(DmlStatement { input, ..dml.clone() }))
            }
            LogicalPlan::Explain(explain) => {
                let inner = self.writing_here(&explain.plan, session)?;
                inner.map(|plan| {
                    let plan = Arc::new(plan);
                    LogicalPlan::Explain(Explain { plan, ..explain.clone() })
                })
            }
            LogicalPlan::Analyze(analyze) => {
                let inner = self.writing_here(&analyze.input, session)?;
                inner.map(|input| {
                    let input = Arc::new(input);
                    LogicalPlan::Analyze(Analyze { input, ..analyze.clone() })
                })
            }
            _ => None,
        })
    }

    /// A table whose rows are those that the cluster gives for `plan`.
    fn rows_of(&self, plan: &LogicalPlan, session: &dyn Session) -> DfResult<LogicalPlan> {
        let rows = PlannedTable::new(self.query(plan, session)?);
        let columns = plan.schema().columns();
        let scan = LogicalPlanBuilder::scan("rows", provider_as_source(Arc::new(rows)), None)?;
        let scan = scan.build()?;
        let named = scan.schema().columns().into_iter().zip(columns);
        let named =
            named.map(|(from, to)| Expr::Column(from).alias_qualified(to.relation, to.name));
        LogicalPlanBuilder::from(scan).project(named)?.build()
    }
}

#[async_trait]
impl QueryPlanner for ClusterPlanner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let here = DefaultPhysicalPlanner::default();
        if !reads_tables(plan)? || scans_only_information_schema(plan)? {
            return here.create_physical_plan(plan, session).await;
        }
        match self.writing_here(plan, session)? {
            Some(plan) => here.create_physical_plan(&plan, session).await,
            None => Ok(self.query(plan, session)?),
        }
    }
}

/// Whether anything but constants is read.
fn reads_tables(plan: &LogicalPlan) -> DfResult<bool> {
    let mut reads = false;
    plan.apply_with_subqueries(|node| {
        reads |= matches!(node, LogicalPlan::TableScan(_));
        Ok(if reads { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(reads)
}

/// Refuses files that hold one JSON array: DataFusion's messages do not say so, and executors would
/// look for a record in each line.
fn refuse_json_arrays(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|node| {
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
