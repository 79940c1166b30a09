//! Decides where a statement runs: on the cluster, or in the session.
//!
//! In: logical plans after the session's own rules, so that calls of array functions are columns of
//! tables already. Out: a physical plan, a [`ClusterQuery`] where there are tables to read. What a
//! statement writes, it writes here: rows come from the cluster.

use std::sync::Arc;

use almagest_engine::rewrite::refuse_calls;
use almagest_engine::{Error, Result};
use async_trait::async_trait;
use ballista_core::planner::scans_only_information_schema;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::provider_as_source;
use datafusion::error::Result as DfResult;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::dml::CopyTo;
use datafusion::logical_expr::{DmlStatement, Expr, LogicalPlan, LogicalPlanBuilder, TableType};
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
        let message = LogicalPlanNode::try_from_logical_plan(plan, self.codec.as_ref());
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

    /// A table whose rows are those that the cluster gives for `plan`.
    fn rows_of(&self, plan: &LogicalPlan, session: &dyn Session) -> DfResult<LogicalPlan> {
        let rows = ClusterRows { query: self.query(plan, session)? };
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
        match plan {
            LogicalPlan::Copy(copy) => {
                let input = Arc::new(self.rows_of(&copy.input, session)?);
                let plan = LogicalPlan::Copy(CopyTo { input, ..copy.clone() });
                here.create_physical_plan(&plan, session).await
            }
            LogicalPlan::Dml(dml) => {
                let input = Arc::new(self.rows_of(&dml.input, session)?);
                let plan = LogicalPlan::Dml(DmlStatement { input, ..dml.clone() });
                here.create_physical_plan(&plan, session).await
            }
            _ => Ok(self.query(plan, session)?),
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

/// The rows of a query, as a table of this session.
#[derive(Debug)]
struct ClusterRows {
    query: Arc<ClusterQuery>,
}

#[async_trait]
impl TableProvider for ClusterRows {
    fn schema(&self) -> arrow::datatypes::SchemaRef {
        self.query.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        use datafusion::physical_expr::expressions::Column;
        use datafusion::physical_plan::projection::ProjectionExec;
        let query = Arc::clone(&self.query) as Arc<dyn ExecutionPlan>;
        let Some(projection) = projection else { return Ok(query) };
        let schema = self.query.schema();
        let columns = projection.iter().map(|index| {
            let name = schema.field(*index).name();
            let column: Arc<dyn datafusion::physical_plan::PhysicalExpr> =
                Arc::new(Column::new(name, *index));
            (column, name.clone())
        });
        Ok(Arc::new(ProjectionExec::try_new(columns.collect::<Vec<_>>(), query)?))
    }
}
