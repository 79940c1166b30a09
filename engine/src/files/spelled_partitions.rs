//! Conditions on the columns that folders name, where a value has more than one spelling.
//!
//! Stage: optimizer, last, after conditions were pushed to scans. In: `k = 'a=b'` over a table of folders. Out:
//! `k >= 'a=b' AND k <= 'a=b'`. From the first form DataFusion 55 makes the name of the one folder that it
//! lists (`evaluate_partition_prefix`), and finds none where another program wrote `k=a%3Db`, or `k=01` for
//! the number 1. The second form says the same of each folder. Texts of letters and digits, which are
//! spelled in one way alone, keep their form.

use datafusion::common::ScalarValue;
use datafusion::common::tree_node::Transformed;
use datafusion::datasource::listing::ListingTable;
use datafusion::datasource::source_as_provider;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use crate::walk::{Walk, WalkPlan};

/// The rule.
#[derive(Debug)]
pub struct SpelledPartitions;

impl OptimizerRule for SpelledPartitions {
    fn name(&self) -> &str {
        "spelled_partitions"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> DfResult<Transformed<LogicalPlan>> {
        let LogicalPlan::TableScan(scan) = &plan else { return Ok(Transformed::no(plan)) };
        let Ok(provider) = source_as_provider(&scan.source) else {
            return Ok(Transformed::no(plan));
        };
        let Some(table) = provider.downcast_ref::<ListingTable>() else {
            return Ok(Transformed::no(plan));
        };
        let folders = &table.options().table_partition_cols;
        if folders.is_empty() || scan.filters.is_empty() {
            return Ok(Transformed::no(plan));
        }
        let names: Vec<String> = folders.iter().map(|(name, _)| name.clone()).collect();
        plan.change_expressions(&mut |filter| {
            filter.change_up(&mut |part| {
                Ok(match bounded(&part, &names) {
                    Some(bounds) => Transformed::yes(bounds),
                    None => Transformed::no(part),
                })
            })
        })
    }
}

/// An equality of a folder's column with what may be spelled in several ways, as two bounds.
fn bounded(part: &Expr, names: &[String]) -> Option<Expr> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = part else { return None };
    let (column, value) = match (left.as_ref(), right.as_ref()) {
        (Expr::Column(_), Expr::Literal(value, _)) => (left, value),
        (Expr::Literal(value, _), Expr::Column(_)) => (right, value),
        _ => return None,
    };
    let Expr::Column(name) = column.as_ref() else { return None };
    if !names.contains(&name.name) || has_one_spelling(value) {
        return None;
    }
    let literal = if std::ptr::eq(column, left) { right } else { left };
    let bound = |op| Expr::BinaryExpr(BinaryExpr::new(column.clone(), op, literal.clone()));
    Some(bound(Operator::GtEq).and(bound(Operator::LtEq)))
}

/// Whether no folder can spell a value in another way than DataFusion does.
fn has_one_spelling(value: &ScalarValue) -> bool {
    if let ScalarValue::Dictionary(_, inner) = value {
        return has_one_spelling(inner);
    }
    match value.try_as_str() {
        Some(Some(text)) => text.bytes().all(|byte| byte.is_ascii_alphanumeric()),
        Some(None) => true,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{col, lit};

    use super::*;

    #[test]
    fn only_what_is_spelled_in_several_ways_becomes_bounds() {
        let names = ["k".to_string()];
        let changed = |part: Expr| bounded(&part, &names).is_some();
        assert!(changed(col("k").eq(lit("a=b"))));
        assert!(changed(lit("a b").eq(col("k"))));
        assert!(changed(col("k").eq(lit(1.5))));
        assert!(changed(col("k").eq(lit(1_i64))));
        assert!(!changed(col("k").eq(lit("g2"))));
        assert!(!changed(col("x").eq(lit("a=b"))));
        assert!(!changed(col("k").not_eq(lit("a=b"))));
        let bounds = bounded(&lit("a=b").eq(col("k")), &names);
        assert_eq!(bounds, Some(col("k").gt_eq(lit("a=b")).and(col("k").lt_eq(lit("a=b")))));
    }
}
