//! Splits a query's filters into the box of dimensions that they leave, and the rest.
//!
//! In: filter expressions. Out: the smallest box that comparisons of a dimension with a constant,
//! joined by AND, allow; and the filters that the box does not already express. Anything not
//! understood narrows nothing and stays.

use std::ops::Range;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use crate::array::Region;

/// The box of `shape` that `filters` over the dimensions `dims` allow, and the conditions that are
/// left to check inside it.
pub fn split(filters: &[Expr], dims: &[String], shape: &[u64]) -> (Region, Vec<Expr>) {
    let mut ranges: Vec<Range<u64>> = shape.iter().map(|length| 0..*length).collect();
    let conditions = filters.iter().flat_map(split_conjunction);
    let left = conditions.filter(|condition| !narrow(condition, dims, &mut ranges));
    let left = left.cloned().collect();
    for range in &mut ranges {
        range.end = range.end.max(range.start);
    }
    (Region::from_ranges(&ranges), left)
}

/// Narrows the ranges by one condition. Gives whether they now express all of it.
fn narrow(condition: &Expr, dims: &[String], ranges: &mut [Range<u64>]) -> bool {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            if let (Some(axis), Some(bound)) = (axis_of(left, dims), constant(right)) {
                compare(&mut ranges[axis], *op, bound)
            } else if let (Some(axis), Some(bound)) = (axis_of(right, dims), constant(left))
                && let Some(op) = op.swap()
            {
                compare(&mut ranges[axis], op, bound)
            } else {
                false
            }
        }
        Expr::Between(between) if !between.negated => {
            let Some(axis) = axis_of(&between.expr, dims) else { return false };
            let low = constant(&between.low)
                .is_some_and(|low| compare(&mut ranges[axis], Operator::GtEq, low));
            let high = constant(&between.high)
                .is_some_and(|high| compare(&mut ranges[axis], Operator::LtEq, high));
            low && high
        }
        Expr::InList(list) if !list.negated => {
            let values: Option<Vec<i64>> = list.list.iter().map(constant).collect();
            if let (Some(axis), Some(values)) = (axis_of(&list.expr, dims), values)
                && let (Some(low), Some(high)) = (values.iter().min(), values.iter().max())
            {
                compare(&mut ranges[axis], Operator::GtEq, *low);
                compare(&mut ranges[axis], Operator::LtEq, *high);
            }
            false
        }
        _ => false,
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

/// Narrows a range by a comparison, if it is one of order or equality.
fn compare(range: &mut Range<u64>, op: Operator, bound: i64) -> bool {
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
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{col, lit};

    use super::*;

    fn allowed(filter: Expr) -> Region {
        split(&[filter], &["y".into(), "x".into()], &[10, 20]).0
    }

    #[test]
    fn what_the_box_expresses_is_not_left() {
        let value = col("value").gt(lit(1.0));
        let either = col("y").eq(lit(1_i64)).or(col("y").eq(lit(3_i64)));
        let filter = col("y").gt(lit(3_i64)).and(value.clone()).and(either.clone());
        let between = col("x").between(lit(4_i64), lit(9_i64));
        let (_, left) = split(&[filter, between], &["y".into(), "x".into()], &[10, 20]);
        assert_eq!(left, [value, either]);
        let list = col("y").in_list(vec![lit(7_i64), lit(2_i64)], false);
        assert_eq!(split(std::slice::from_ref(&list), &["y".into()], &[10]).1, [list]);
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
