//! Relations without rows keep their columns on the way to a cluster.
//!
//! DataFusion 55 writes of an empty relation only whether it has a row, so that whatever the optimizer found
//! to be empty arrives without columns: a subquery fails for its missing column, a window for the missing
//! key of its rows. In: a logical plan that is to be written. Out: the same, with constants that a condition
//! leaves out in the place of such a relation; the optimizer at the other end makes an empty relation of
//! them again. It can go when `tests/spec/sql/empty_relations.slt` holds on a cluster without it.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{EmptyRelation, Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::prelude::lit;
use datafusion::scalar::ScalarValue;

use crate::walk::WalkPlan;

/// The plan with other relations in the place of empty ones that have columns.
///
/// # Errors
/// Those of DataFusion's plans.
pub fn keep_columns(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    let kept = plan.change_up_with_subqueries(&mut |node| match node {
        LogicalPlan::EmptyRelation(empty) if !empty.schema.fields().is_empty() => {
            Ok(Transformed::yes(of_constants(&empty)?))
        }
        other => Ok(Transformed::no(other)),
    });
    Ok(kept?.data)
}

fn of_constants(empty: &EmptyRelation) -> DfResult<LogicalPlan> {
    let one_row = LogicalPlan::EmptyRelation(EmptyRelation {
        produce_one_row: true,
        schema: Arc::new(DFSchema::empty()),
    });
    let mut exprs = vec![];
    for (qualifier, field) in empty.schema.iter() {
        let null = ScalarValue::try_from(field.data_type())?;
        let value = match field.is_nullable() {
            true => null,
            // a column that is never NULL stays one
            false => ScalarValue::new_default(field.data_type()).unwrap_or(null),
        };
        exprs.push(Expr::Literal(value, None).alias_qualified(qualifier.cloned(), field.name()));
    }
    let plan = LogicalPlanBuilder::from(one_row).project(exprs)?;
    if empty.produce_one_row { plan.build() } else { plan.filter(lit(false))?.build() }
}
