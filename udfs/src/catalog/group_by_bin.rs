//! Groups by the position of a bin, and names the bins afterwards.
//!
//! Stage: logical optimizer. In: an aggregate with `cut(…)` among its group expressions. Out: the
//! same with `cut(…, false)`, an integer, and a projection above that gives each position its
//! label: hashing and comparing a string for every row costs a fifth of a grouped mean.
//!
//! Sound because labels differ from each other, so that positions and labels make the same groups,
//! and NULL stays NULL. Running twice changes nothing: a position is not replaced again. Left alone
//! are grouping sets, bins from an inner query, and arguments that are not constants.

use std::sync::Arc;

use arrow::array::Int64Array;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::Transformed;
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    Aggregate, ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, lit,
};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::cut::{Bins, Cut};

/// See the module.
#[derive(Debug)]
pub struct GroupByBin;

impl OptimizerRule for GroupByBin {
    fn name(&self) -> &str {
        "group_by_bin"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Aggregate(aggregate) = plan else {
            return Ok(Transformed::no(plan));
        };
        let positions: Vec<_> = aggregate.group_expr.iter().map(by_position).collect();
        if positions.iter().all(Option::is_none) {
            return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
        }
        let group = aggregate.group_expr.iter().zip(&positions);
        let group = group.map(|(plain, position)| match position {
            Some((position, _)) => position.clone(),
            None => plain.clone(),
        });
        let inner =
            Aggregate::try_new(Arc::clone(&aggregate.input), group.collect(), aggregate.aggr_expr)?;
        let columns = inner.schema.columns();
        let outputs = aggregate.schema.iter().enumerate().map(|(place, (qualifier, field))| {
            let column = Expr::Column(columns[place].clone());
            match positions.get(place) {
                Some(Some((_, label))) => {
                    label.of(column).alias_qualified(qualifier.cloned(), field.name())
                }
                _ => column,
            }
        });
        let outputs: Vec<Expr> = outputs.collect();
        let named = LogicalPlanBuilder::from(LogicalPlan::Aggregate(inner)).project(outputs)?;
        Ok(Transformed::yes(named.build()?))
    }
}

/// Gives positions their labels: again `cut`, with the edges 0, 1, ….
struct Labelling {
    cut: ScalarFunction,
}

impl Labelling {
    fn of(&self, position: Expr) -> Expr {
        let mut cut = self.cut.clone();
        cut.args[0] = position;
        Expr::ScalarFunction(cut)
    }
}

/// A `cut` with labels as one that gives positions, and the way back; `None` for anything else.
fn by_position(expression: &Expr) -> Option<(Expr, Labelling)> {
    let Expr::ScalarFunction(ScalarFunction { func, args }) = expression else {
        return match expression {
            Expr::Alias(alias) => by_position(&alias.expr),
            _ => None,
        };
    };
    func.inner().downcast_ref::<Cut>()?;
    let constants = args.iter().skip(1).map(|argument| match argument {
        Expr::Literal(value, _) => Some(ColumnarValue::Scalar(value.clone())),
        _ => None,
    });
    let ignored = ColumnarValue::Scalar(ScalarValue::Null);
    let constants: Vec<_> =
        std::iter::once(Some(ignored)).chain(constants).collect::<Option<_>>()?;
    if matches!(constants.get(2), Some(ColumnarValue::Scalar(ScalarValue::Boolean(_)))) {
        return None;
    }
    // Wrong arguments are reported when the query runs.
    let labels = Bins::try_new(&constants).ok()?.into_labels();
    let edges = Int64Array::from_iter_values(0..=labels.len() as i64);
    let edges = SingleRowListArrayBuilder::new(Arc::new(edges)).build_list_scalar();
    let labels = SingleRowListArrayBuilder::new(labels).build_list_scalar();

    let mut position = args.clone();
    position.truncate(2);
    position.push(lit(false));
    position.extend(args.get(3).cloned());
    let position = ScalarFunction { func: Arc::clone(func), args: position };
    // The value, first, is filled in by `Labelling::of`.
    let cut =
        ScalarFunction { func: Arc::clone(func), args: vec![lit(0), lit(edges), lit(labels)] };
    Some((Expr::ScalarFunction(position), Labelling { cut }))
}
