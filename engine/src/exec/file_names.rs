//! `input_file_name()` in an expression is asked of the scan, which alone knows it.
//!
//! Stage: before DataFusion's physical rules. In: a plan. Out: the same, in which a projection above a scan
//! of files reads the name as a column of the scan.
//!
//! DataFusion 55 gives scans of CSV and JSON only projections that compute nothing, so in
//! `upper(input_file_name())` the call stays above the scan, where nobody can answer it. This can go when
//! the specification (`tests/spec/sql/file_names.slt`) holds without it.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNodeRecursion};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result as DfResult;
use datafusion::functions::core::input_file_name::InputFileNameFunc;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::projection::ProjectionExpr;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;

use crate::walk::Walk;

/// The column of the scan.
const NAME: &str = "__input_file_name";

/// The rule.
#[derive(Debug)]
pub struct FileNames;

impl PhysicalOptimizerRule for FileNames {
    fn name(&self) -> &str {
        "FileNames"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        plan.change_up(&mut |node| {
            let named = match node.downcast_ref::<ProjectionExec>() {
                Some(projection) => named_by_scan(projection)?,
                None => None,
            };
            Ok(named.map_or_else(|| Transformed::no(node), Transformed::yes))
        })
        .data()
    }
}

fn is_call(expression: &Arc<dyn PhysicalExpr>) -> bool {
    let call = expression.downcast_ref::<ScalarFunctionExpr>();
    call.is_some_and(|call| call.fun().inner().is::<InputFileNameFunc>())
}

/// The projection above a scan that gives the name, if it has a call inside of an expression.
fn named_by_scan(projection: &ProjectionExec) -> DfResult<Option<Arc<dyn ExecutionPlan>>> {
    let input = projection.input();
    let is_scan = input.downcast_ref::<DataSourceExec>().is_some();
    let mut call = None;
    for projected in projection.expr().iter().filter(|projected| !is_call(&projected.expr)) {
        projected.expr.walk(&mut |inner| {
            call = call.take().or_else(|| is_call(inner).then(|| Arc::clone(inner)));
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    let Some(call) = call.filter(|_| is_scan) else { return Ok(None) };
    let schema = input.schema();
    let columns = schema.fields().iter().enumerate().map(|(index, field)| ProjectionExpr {
        expr: Arc::new(Column::new(field.name(), index)) as _,
        alias: field.name().clone(),
    });
    let name = ProjectionExpr { expr: call, alias: NAME.into() };
    let below = ProjectionExec::try_new(columns.chain([name]), Arc::clone(input))?;
    let Some(scan) = input.try_swapping_with_projection(&below)? else { return Ok(None) };
    let at: Arc<dyn PhysicalExpr> = Arc::new(Column::new(NAME, schema.fields().len()));
    let above = projection.expr().iter().map(|projected| {
        let expr = Arc::clone(&projected.expr).change_up(&mut |inner| match is_call(&inner) {
            true => Ok(Transformed::yes(Arc::clone(&at))),
            false => Ok(Transformed::no(inner)),
        })?;
        Ok(ProjectionExpr { expr: expr.data, alias: projected.alias.clone() })
    });
    let above = above.collect::<DfResult<Vec<_>>>()?;
    Ok(Some(Arc::new(ProjectionExec::try_new(above, scan)?)))
}
