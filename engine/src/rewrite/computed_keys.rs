//! Keys of GROUPING SETS, ROLLUP and CUBE whose constants will change are computed below the aggregate.
//!
//! Stage: analyzer, first. In: an aggregate over sets of keys. Out: the same, in which such keys are columns of
//! a projection, under the names that they had. Rules keep the names of what they rewrite by an alias, and a
//! set cannot hold one: DataFusion 55 gives the alias to the set, and who asks for the key finds no such
//! column (`CUBE ((k > 1 + 1))`). It can go when `tests/spec/sql/grouping_sets.slt` holds without it.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, Projection};
use datafusion::optimizer::AnalyzerRule;
use datafusion::scalar::ScalarValue;

use crate::walk::{Walk, WalkPlan};

/// The rule.
#[derive(Debug)]
pub struct ComputedKeys;

impl AnalyzerRule for ComputedKeys {
    fn name(&self) -> &str {
        "computed_keys"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        plan.change_up_with_subqueries(&mut |node| {
            let LogicalPlan::Aggregate(aggregate) = &node else { return Ok(Transformed::no(node)) };
            let computed: Vec<Expr> = match aggregate.group_expr.as_slice() {
                [Expr::GroupingSet(sets)] => {
                    sets.distinct_expr().into_iter().filter(|key| changes(key)).cloned().collect()
                }
                _ => vec![],
            };
            match computed.is_empty() {
                true => Ok(Transformed::no(node)),
                false => Ok(Transformed::yes(over_columns(aggregate, &computed)?)),
            }
        })
        .data()
    }
}

/// Whether rules will evaluate or round a constant in the key.
fn changes(key: &Expr) -> bool {
    let is_constant = |part: &Expr| {
        let is_literal = matches!(part, Expr::Literal(..) | Expr::Column(_));
        !is_literal && part.column_refs().is_empty() && !part.is_volatile()
    };
    let is_decimal = |part: &Expr| {
        matches!(part, Expr::Literal(ScalarValue::Float64(_) | ScalarValue::Decimal128(..), _))
    };
    !matches!(key, Expr::Literal(..) | Expr::Column(_))
        && key.any(&mut |part| Ok(is_constant(part) || is_decimal(part))).unwrap_or(false)
}

fn over_columns(aggregate: &Aggregate, computed: &[Expr]) -> DfResult<LogicalPlan> {
    let schema = aggregate.input.schema();
    let columns = schema.columns().into_iter().map(Expr::Column);
    let made = computed.iter().map(|key| key.clone().alias(key.schema_name().to_string()));
    let input = Projection::try_new(columns.chain(made).collect(), Arc::clone(&aggregate.input))?;
    let input = Arc::new(LogicalPlan::Projection(input));
    let as_column = |expression: Expr| {
        expression.change_down(&mut |part| match computed.contains(&part) {
            true => {
                let name = part.schema_name().to_string();
                Ok(Transformed::yes(Expr::Column(Column::new_unqualified(name))))
            }
            false => Ok(Transformed::no(part)),
        })
    };
    let all = |list: &[Expr]| {
        list.iter().cloned().map(|e| as_column(e).data()).collect::<DfResult<Vec<_>>>()
    };
    let aggregates = all(&aggregate.aggr_expr)?;
    let aggregate = Aggregate::try_new(input, all(&aggregate.group_expr)?, aggregates)?;
    Ok(LogicalPlan::Aggregate(aggregate))
}
