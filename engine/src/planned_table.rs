//! A table that is a physical plan already: what is left of `generate_series(…)` after a journey, or
//! the answer of a query that ran elsewhere.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;

/// The rows that a plan gives.
#[derive(Debug)]
pub struct PlannedTable {
    plan: Arc<dyn ExecutionPlan>,
}

impl PlannedTable {
    /// The rows of `plan`.
    pub fn new(plan: Arc<dyn ExecutionPlan>) -> Self {
        Self { plan }
    }
}

#[async_trait]
impl TableProvider for PlannedTable {
    fn schema(&self) -> SchemaRef {
        self.plan.schema()
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
        let plan = Arc::clone(&self.plan);
        projected(plan, projection.map(Vec::as_slice))
    }
}

/// These columns of a plan; all without a choice.
///
/// # Errors
/// `Bug` if the plan does not have them.
pub(crate) fn projected(
    plan: Arc<dyn ExecutionPlan>,
    projection: Option<&[usize]>,
) -> DfResult<Arc<dyn ExecutionPlan>> {
    let schema = plan.schema();
    let Some(projection) = projection else { return Ok(plan) };
    if projection.iter().copied().eq(0..schema.fields().len()) {
        return Ok(plan);
    }
    let columns = projection.iter().map(|index| {
        let name = schema.field(*index).name();
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(name, *index));
        (column, name.clone())
    });
    Ok(Arc::new(ProjectionExec::try_new(columns.collect::<Vec<_>>(), plan)?))
}
