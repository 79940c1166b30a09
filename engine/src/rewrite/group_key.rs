//! Which group keys are dense over an array: dimensions and their integer quotients.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use crate::exec::reduce::GroupKey;

/// A dimension, or a dimension divided by a positive constant.
pub fn group_key(expr: &Expr, dims: &[String]) -> Option<GroupKey> {
    let axis_of = |expr: &Expr| match expr {
        Expr::Column(column) => dims.iter().position(|dim| *dim == column.name),
        _ => None,
    };
    match expr {
        Expr::Alias(alias) => group_key(&alias.expr, dims),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Divide, right }) => {
            match right.as_ref() {
                Expr::Literal(ScalarValue::Int64(Some(divisor)), _) if *divisor > 0 => {
                    Some(GroupKey { axis: axis_of(left)?, divisor: *divisor as u64 })
                }
                _ => None,
            }
        }
        expr => Some(GroupKey { axis: axis_of(expr)?, divisor: 1 }),
    }
}
