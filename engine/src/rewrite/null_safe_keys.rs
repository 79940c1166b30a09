//! `IS NOT DISTINCT FROM` beside other inner joins keeps its meaning, and `=` its own.
//!
//! Stage: optimizer, before two rules of DataFusion's. `eliminate_cross_join` makes one list of the keys of
//! all inner joins that stand below each other, and of equalities in the condition above them, and compares
//! all of them as the topmost join did: so NULL equals NULL where it must not, or not where it must.
//! `extract_equijoin_predicate` adds equalities to the keys of a join that takes NULL for equal to NULL. No
//! issue of either was found; <https://github.com/apache/datafusion/pull/16356> brought the first.
//! In: a join whose keys take NULL for equal to NULL. Out: one with a condition instead, which those rules
//! pass on as it is; `extract_equijoin_predicate` makes keys of it again, at the end of the same pass.
//! It can go when `tests/spec/sql/null_safe_joins.slt` holds without it.

use datafusion::common::NullEquality;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Join, JoinType, LogicalPlan, Operator, binary_expr};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// The rules before which it runs.
pub const BEFORE: [&str; 2] = ["extract_equijoin_predicate", "eliminate_cross_join"];

/// The rule.
#[derive(Debug)]
pub struct NullSafeKeys;

impl OptimizerRule for NullSafeKeys {
    fn name(&self) -> &str {
        "null_safe_keys"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> DfResult<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Join(join) if is_mixed(&join) => {
                Ok(Transformed::yes(LogicalPlan::Join(by_condition(join))))
            }
            other => Ok(Transformed::no(other)),
        }
    }
}

/// Whether other keys may come to those of a join that takes NULL for equal to NULL.
fn is_mixed(join: &Join) -> bool {
    join.null_equality == NullEquality::NullEqualsNull
        && !join.null_aware
        && !join.on.is_empty()
        && (join.join_type == JoinType::Inner || join.filter.is_some())
}

fn by_condition(join: Join) -> Join {
    let same = join.on.into_iter();
    let same = same.map(|(a, b)| binary_expr(a, Operator::IsNotDistinctFrom, b));
    let filter = conjunction(same.chain(join.filter));
    Join { on: vec![], filter, null_equality: NullEquality::NullEqualsNothing, ..join }
}
