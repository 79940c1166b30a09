//! Finds the box that a query's filters on dimensions leave of an array.
//!
//! In: filter expressions. Out: the smallest box that comparisons of a dimension with a constant,
//! joined by AND, allow. The filters stay in the plan, so a box that is too large costs time, never
//! a wrong row. Anything not understood narrows nothing.

use std::ops::Range;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use crate::array::Region;

/// The box of `shape` that `filters` over the dimensions `dims` allow.
pub fn region_allowed(filters: &[Expr], dims: &[String], shape: &[u64]) -> Region {
    let mut ranges: Vec<Range<u64>> = shape.iter().map(|length| 0..*length).collect();
    for filter in filters {
        narrow(filter, dims, &mut ranges);
    }
    for range in &mut ranges {
        range.end = range.end.max(range.start);
    }
    Region::from_ranges(&ranges)
}

fn narrow(filter: &Expr, dims: &[String], ranges: &mut [Range<u64>]) {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            narrow(left, dims, ranges);
            narrow(right, dims, ranges);
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            if let (Some(axis), Some(bound)) = (axis_of(left, dims), constant(right)) {
                compare(&mut ranges[axis], *op, bound);
            } else if let (Some(axis), Some(bound)) = (axis_of(right, dims), constant(left))
                && let Some(op) = op.swap()
            {
                compare(&mut ranges[axis], op, bound);
            }
        }
        Expr::Between(between) if !between.negated => {
            if let Some(axis) = axis_of(&between.expr, dims) {
                if let Some(low) = constant(&between.low) {
                    compare(&mut ranges[axis], Operator::GtEq, low);
                }
                if let Some(high) = constant(&between.high) {
                    compare(&mut ranges[axis], Operator::LtEq, high);
                }
            }
        }
        Expr::InList(list) if !list.negated => {
            let values: Option<Vec<i64>> = list.list.iter().map(constant).collect();
            if let (Some(axis), Some(values)) = (axis_of(&list.expr, dims), values)
                && let (Some(low), Some(high)) = (values.iter().min(), values.iter().max())
            {
                compare(&mut ranges[axis], Operator::GtEq, *low);
                compare(&mut ranges[axis], Operator::LtEq, *high);
            }
        }
        _ => {}
    }
}

fn axis_of(expr: &Expr, dims: &[String]) -> Option<usize> {
    match expr {
        Expr::Column(column) => dims.iter().position(|dim| *dim == column.name),
        _ => None,
    }
}

fn constant(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(ScalarValue::Int64(Some(value)), _) => Some(*value),
        _ => None,
    }
}

fn compare(range: &mut Range<u64>, op: Operator, bound: i64) {
    let at = |index: i64| u64::try_from(index.max(0)).unwrap_or(0);
    match op {
        Operator::Eq => {
            compare(range, Operator::GtEq, bound);
            compare(range, Operator::LtEq, bound);
        }
        Operator::Lt => range.end = range.end.min(at(bound)),
        Operator::LtEq => range.end = range.end.min(at(bound.saturating_add(1))),
        Operator::Gt => range.start = range.start.max(at(bound.saturating_add(1))),
        Operator::GtEq => range.start = range.start.max(at(bound)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{col, lit};

    use super::*;

    fn allowed(filter: Expr) -> Region {
        region_allowed(&[filter], &["y".into(), "x".into()], &[10, 20])
    }

    #[test]
    fn comparisons_narrow_their_own_axis() {
        let filter = col("y").gt(lit(3_i64)).and(lit(5_i64).gt_eq(col("x")));
        assert_eq!(allowed(filter), Region::from_ranges(&[4..10, 0..6]));
        let between = col("x").between(lit(-4_i64), lit(100_i64));
        assert_eq!(allowed(between), Region::from_ranges(&[0..10, 0..20]));
        let list = col("y").in_list(vec![lit(7_i64), lit(2_i64)], false);
        assert_eq!(allowed(list), Region::from_ranges(&[2..8, 0..20]));
    }

    #[test]
    fn what_is_not_understood_narrows_nothing() {
        let either = col("y").eq(lit(1_i64)).or(col("x").eq(lit(1_i64)));
        assert_eq!(allowed(either), Region::whole(&[10, 20]));
        assert_eq!(allowed(col("y").not_eq(lit(1_i64))), Region::whole(&[10, 20]));
    }

    #[test]
    fn impossible_bounds_leave_an_empty_box() {
        assert!(allowed(col("y").lt(lit(-1_i64))).is_empty());
        assert!(allowed(col("y").gt(lit(5_i64)).and(col("y").lt(lit(3_i64)))).is_empty());
        assert!(allowed(col("x").eq(lit(99_i64))).is_empty());
    }
}
