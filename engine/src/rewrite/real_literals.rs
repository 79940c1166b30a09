//! A decimal literal beside a `REAL` is a `REAL`: `x = 15.3` finds what was stored as 15.3.
//!
//! Stage: analyzer, before DataFusion makes the types of both sides alike. Before and after:
//! `x = 15.3` over `REAL` ─▶ `x = CAST(15.3 AS REAL)`, as a literal. DataFusion would compare in `DOUBLE`, where
//! no single-precision number is 15.3, or 1e20. A literal that rounds to infinity or to zero, and is neither,
//! stays as it is; so does whatever the query casts itself. Running it twice changes nothing.

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion::optimizer::AnalyzerRule;

use crate::walk::{Walk, WalkPlan};

/// The rule.
#[derive(Debug)]
pub struct RealLiterals;

impl AnalyzerRule for RealLiterals {
    fn name(&self) -> &str {
        "real_literals"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        let changed = plan.change_up_with_subqueries(&mut |node| {
            let schema = match &node {
                LogicalPlan::TableScan(scan) => scan.projected_schema.as_ref().clone(),
                node => merge_schema(&node.inputs()),
            };
            let names = NamePreserver::new(&node);
            node.change_expressions(&mut |expr| {
                let before = expr.clone();
                let changed = expr.change_up(&mut |part| Ok(in_comparison(part, &schema)))?;
                Ok(match changed.transformed {
                    false => Transformed::no(before),
                    true => Transformed::yes(names.save(&before).restore(changed.data)),
                })
            })
        });
        Ok(changed?.data)
    }
}

fn is_comparison(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

fn in_comparison(mut part: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let changed = match &mut part {
        Expr::BinaryExpr(binary) if is_comparison(binary.op) => {
            round_literals(&mut binary.left, vec![binary.right.as_mut()], schema)
        }
        Expr::Between(between) => {
            let others = vec![between.low.as_mut(), between.high.as_mut()];
            round_literals(&mut between.expr, others, schema)
        }
        Expr::InList(list) => {
            round_literals(&mut list.expr, list.list.iter_mut().collect(), schema)
        }
        Expr::Case(case) => match &mut case.expr {
            Some(expr) => {
                let whens = case.when_then_expr.iter_mut().map(|(when, _)| when.as_mut());
                round_literals(expr, whens.collect(), schema)
            }
            None => false,
        },
        _ => false,
    };
    Transformed::new_transformed(part, changed)
}

/// Rounds literals among `others`, if `subject` is of a type of floats narrower than `DOUBLE`; or the
/// subject, if it is a literal and all others are of one such type. Says whether there was one. What is
/// not rounded makes DataFusion compare in `DOUBLE`, in which a rounded literal is still its column's equal.
fn round_literals(subject: &mut Expr, others: Vec<&mut Expr>, schema: &DFSchema) -> bool {
    let narrow = |expr: &Expr| {
        let found = expr.get_type(schema).ok()?;
        matches!(found, DataType::Float16 | DataType::Float32).then_some(found)
    };
    if decimal(subject).is_some() {
        let mut types = others.iter().map(|other| narrow(other));
        let Some(Some(first)) = types.next() else { return false };
        return types.all(|other| other.as_ref() == Some(&first)) && round(subject, &first);
    }
    let Some(narrow) = narrow(subject) else { return false };
    others.into_iter().fold(false, |any, other| round(other, &narrow) | any)
}

/// Rounds a literal to a type, if it is one and the type has about its value.
fn round(literal: &mut Expr, to: &DataType) -> bool {
    let Some(rounded) = decimal(literal).and_then(|value| rounded(value, to)) else { return false };
    *literal = Expr::Literal(rounded, None);
    true
}

/// The value of a literal with digits behind the point, or with an exponent.
fn decimal(expr: &Expr) -> Option<f64> {
    match expr {
        Expr::Literal(ScalarValue::Float64(value), _) => *value,
        Expr::Literal(value @ (ScalarValue::Decimal128(..) | ScalarValue::Decimal256(..)), _) => {
            match value.cast_to(&DataType::Float64) {
                Ok(ScalarValue::Float64(value)) => value,
                _ => None,
            }
        }
        Expr::Negative(inner) => decimal(inner).map(|value| -value),
        _ => None,
    }
}

fn rounded(value: f64, to: &DataType) -> Option<ScalarValue> {
    let rounded = ScalarValue::Float64(Some(value)).cast_to(to).ok()?;
    let back = match rounded.cast_to(&DataType::Float64) {
        Ok(ScalarValue::Float64(Some(back))) => back,
        _ => return None,
    };
    let kept = back.is_finite() == value.is_finite() && (back == 0.0) == (value == 0.0);
    kept.then_some(rounded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_that_rounds_to_nothing_stays() {
        let real = |value| rounded(value, &DataType::Float32);
        assert_eq!(real(15.3), Some(ScalarValue::Float32(Some(15.3))));
        assert_eq!(real(1e20), Some(ScalarValue::Float32(Some(1e20))));
        assert_eq!(real(0.0), Some(ScalarValue::Float32(Some(0.0))));
        assert_eq!(real(1e300), None);
        assert_eq!(real(1e-60), None);
    }
}
