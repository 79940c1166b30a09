//! Conditions on integer quotients become bounds of what is divided: `y / 512 = 3` is
//! `y BETWEEN 1536 AND 2047`.
//!
//! Stage: analyzer, after types are known, and optimizer, as simplification makes such conditions of others.
//! It takes comparisons of an integer divided by a positive constant with a constant, in WHERE, HAVING
//! and ON. Not here: other arithmetic.
//!
//! Bounds are read from the chunks that they touch alone. And DataFusion 55 divides backwards as if
//! integers did not round: it takes `y / 2 = 1` for `y = 2`, and leaves out sorts by `y`.

use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::Between;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, lit};
use datafusion::optimizer::{AnalyzerRule, ApplyOrder, OptimizerConfig, OptimizerRule};

use crate::walk::{Walk, WalkPlan};

/// The rule.
#[derive(Debug)]
pub struct Quotients;

impl AnalyzerRule for Quotients {
    fn name(&self) -> &str {
        "quotients"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        Ok(plan.change_up_with_subqueries(&mut bounded)?.data)
    }
}

impl OptimizerRule for Quotients {
    fn name(&self) -> &str {
        "quotients"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> DfResult<Transformed<LogicalPlan>> {
        bounded(plan)
    }
}

/// A node whose conditions are bounds.
fn bounded(plan: LogicalPlan) -> DfResult<Transformed<LogicalPlan>> {
    if !matches!(plan, LogicalPlan::Filter(_) | LogicalPlan::Join(_)) {
        return Ok(Transformed::no(plan));
    }
    plan.change_expressions(&mut |condition| {
        condition.change_up(&mut |part| {
            Ok(match bounds_of(&part) {
                Some(bounds) => Transformed::yes(bounds),
                None => Transformed::no(part),
            })
        })
    })
}

/// What a comparison says of what is divided.
fn bounds_of(comparison: &Expr) -> Option<Expr> {
    match comparison {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match Quotient::of(left) {
            Some(quotient) => quotient.compared(*op, right),
            None => Quotient::of(right)?.compared(op.swap()?, left),
        },
        Expr::Between(Between { expr, negated: false, low, high }) => {
            let quotient = Quotient::of(expr)?;
            let low = quotient.compared(Operator::GtEq, low)?;
            Some(low.and(quotient.compared(Operator::LtEq, high)?))
        }
        _ => None,
    }
}

/// An integer divided by a positive constant, which cuts towards zero.
struct Quotient<'a> {
    dividend: &'a Expr,
    divisor: i128,
    of_type: &'a ScalarValue,
}

impl<'a> Quotient<'a> {
    fn of(expr: &'a Expr) -> Option<Self> {
        let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Divide, right }) = expr else {
            return None;
        };
        let Expr::Literal(of_type, _) = right.as_ref() else { return None };
        let divisor = integer(of_type).filter(|divisor| *divisor > 0)?;
        (!left.is_volatile()).then_some(Self { dividend: left.as_ref(), divisor, of_type })
    }

    /// The bounds under which the quotient compares so with a constant.
    fn compared(&self, op: Operator, constant: &Expr) -> Option<Expr> {
        let Expr::Literal(constant, _) = constant else { return None };
        if constant.data_type() != self.of_type.data_type() {
            return None;
        }
        let constant = integer(constant)?;
        match op {
            Operator::Eq => {
                let least = self.bound(Operator::GtEq, self.least(constant))?;
                Some(least.and(self.bound(Operator::LtEq, self.greatest(constant))?))
            }
            Operator::GtEq => self.bound(Operator::GtEq, self.least(constant)),
            Operator::Gt => self.bound(Operator::GtEq, self.least(constant + 1)),
            Operator::LtEq => self.bound(Operator::LtEq, self.greatest(constant)),
            Operator::Lt => self.bound(Operator::LtEq, self.greatest(constant - 1)),
            _ => None,
        }
    }

    /// The least integer with this quotient.
    fn least(&self, quotient: i128) -> i128 {
        let first = quotient * self.divisor;
        if quotient > 0 { first } else { first - (self.divisor - 1) }
    }

    /// The greatest.
    fn greatest(&self, quotient: i128) -> i128 {
        let first = quotient * self.divisor;
        if quotient < 0 { first } else { first + (self.divisor - 1) }
    }

    /// A comparison of what is divided, if its type has such a number.
    fn bound(&self, op: Operator, bound: i128) -> Option<Expr> {
        let bound = lit(of_type(bound, self.of_type)?);
        Some(Expr::BinaryExpr(BinaryExpr::new(
            Box::new(self.dividend.clone()),
            op,
            Box::new(bound),
        )))
    }
}

/// The types of integers, in one list.
macro_rules! integer_types {
    ($with:ident) => {
        $with!(Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64)
    };
}

fn integer(value: &ScalarValue) -> Option<i128> {
    macro_rules! each {
        ($($name:ident),*) => {
            match value {
                $(ScalarValue::$name(value) => value.map(i128::from),)*
                _ => None,
            }
        };
    }
    integer_types!(each)
}

/// An integer in the type of another.
fn of_type(value: i128, like: &ScalarValue) -> Option<ScalarValue> {
    macro_rules! each {
        ($($name:ident),*) => {
            match like {
                $(ScalarValue::$name(_) => Some(ScalarValue::$name(Some(value.try_into().ok()?))),)*
                _ => None,
            }
        };
    }
    integer_types!(each)
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{col, lit};

    use super::*;

    /// Whether a quotient compares so with a constant.
    type Expected = fn(i64, i64) -> bool;

    /// Whether a condition holds of `x`, which is this number.
    fn holds(condition: &Expr, x: i64) -> bool {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { unreachable!() };
        if *op == Operator::And {
            return holds(left, x) && holds(right, x);
        }
        assert_eq!(left.as_ref(), &col("x"));
        let Expr::Literal(ScalarValue::Int64(Some(bound)), _) = right.as_ref() else {
            unreachable!()
        };
        match op {
            Operator::GtEq => x >= *bound,
            Operator::LtEq => x <= *bound,
            _ => unreachable!(),
        }
    }

    #[test]
    fn bounds_hold_of_the_same_numbers_as_quotients() {
        for divisor in 1..5_i64 {
            let quotient = col("x") / lit(divisor);
            for constant in -3..4_i64 {
                let cases: [(Expr, Expected); 6] = [
                    (quotient.clone().eq(lit(constant)), |quotient, k| quotient == k),
                    (quotient.clone().gt(lit(constant)), |quotient, k| quotient > k),
                    (quotient.clone().gt_eq(lit(constant)), |quotient, k| quotient >= k),
                    (quotient.clone().lt(lit(constant)), |quotient, k| quotient < k),
                    (lit(constant).gt_eq(quotient.clone()), |quotient, k| quotient <= k),
                    (quotient.clone().between(lit(constant), lit(2_i64)), |quotient, k| {
                        (k..=2).contains(&quotient)
                    }),
                ];
                for (condition, expected) in cases {
                    let bounds = bounds_of(&condition).unwrap();
                    for x in -20..20 {
                        let found = holds(&bounds, x);
                        assert_eq!(found, expected(x / divisor, constant), "{condition}, {x}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_has_no_bounds_is_left() {
        let quotient = || col("x") / lit(2_i64);
        let left = [
            quotient().not_eq(lit(1_i64)),
            quotient().eq(lit(1.0)),
            quotient().eq(col("y")),
            (col("x") / lit(0_i64)).eq(lit(1_i64)),
            (col("x") / lit(2.0)).eq(lit(1.0)),
            (col("x") / lit(2_u8)).eq(lit(200_u8)),
            quotient().not_between(lit(1_i64), lit(2_i64)),
        ];
        assert!(left.iter().all(|condition| bounds_of(condition).is_none()));
    }
}
