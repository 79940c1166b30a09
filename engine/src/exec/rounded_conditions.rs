//! Conditions over what rounds say nothing of the column that is rounded.
//!
//! Stage: first of the physical rules. In: filters such as `y / 2 + 1 = 2` or `CAST(x AS BIGINT) = 3`. Out:
//! the same, with `AND true`. DataFusion 55 computes backwards from such a condition as if nothing were
//! rounded (`FilterExec` and its interval analysis): it takes `y` for 2, always, and leaves out sorts by
//! `y`. A constant of truth is what that analysis does not take; whoever prunes by the condition still
//! does. The test below fails when DataFusion has mended it.
//!
//! Conditions over a column itself, or over a cast that keeps every value apart, are left: what is computed
//! backwards from them is true.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNodeRecursion};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, lit};
use datafusion::physical_expr::intervals::utils::check_support;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};

use crate::walk::Walk;

/// The rule.
#[derive(Debug)]
pub struct RoundedConditions;

impl PhysicalOptimizerRule for RoundedConditions {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let marked = plan.change_up(&mut |plan| {
            let Some(filter) = plan.downcast_ref::<FilterExec>() else {
                return Ok(Transformed::no(plan));
            };
            let schema = filter.input().schema();
            let predicate = filter.predicate();
            if !check_support(predicate, &schema) || !computes(predicate, &schema)? {
                return Ok(Transformed::no(plan));
            }
            let predicate = BinaryExpr::new(Arc::clone(predicate), Operator::And, lit(true));
            let filter = FilterExecBuilder::from(filter).with_predicate(Arc::new(predicate));
            Ok(Transformed::yes(Arc::new(filter.build()?)))
        });
        marked.data()
    }

    fn name(&self) -> &'static str {
        "RoundedConditions"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Whether a condition is over more than columns, constants and casts that keep values apart.
fn computes(predicate: &Arc<dyn PhysicalExpr>, schema: &Schema) -> DfResult<bool> {
    let mut found = false;
    predicate.walk(&mut |part| {
        if let Some(binary) = part.downcast_ref::<BinaryExpr>() {
            found |= !binary.op().supports_propagation() && *binary.op() != Operator::And;
        } else if let Some(cast) = part.downcast_ref::<CastExpr>() {
            found |= !keeps_apart(&cast.expr().data_type(schema)?, cast.cast_type());
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// Whether different values stay different in a cast.
fn keeps_apart(from: &DataType, to: &DataType) -> bool {
    use DataType::{Date32, Float32, Float64, Timestamp};
    let bits = |data_type: &DataType| 8 * data_type.primitive_width().unwrap_or(usize::MAX);
    match (from, to) {
        (from, to) if from == to => true,
        (from, to) if from.is_signed_integer() && to.is_signed_integer() => bits(from) <= bits(to),
        (from, to) if from.is_unsigned_integer() && to.is_integer() => bits(from) < bits(to),
        (from, Float64) if from.is_integer() => bits(from) <= 32,
        (from, Float32) if from.is_integer() => bits(from) <= 16,
        (Float32, Float64) | (Date32, Timestamp(..)) => true,
        (Timestamp(from, _), Timestamp(to, _)) => from <= to,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;
    use datafusion::prelude::SessionContext;

    use crate::registry::Registry;
    use crate::{Session, SessionOptions};

    const TABLE: &str = "CREATE TABLE t AS SELECT 3 - value AS y, (3 - value) * 1.0 AS x, \
                         to_timestamp_seconds((3 - value) * 40000) AS s FROM generate_series(0, 9)";

    /// Conditions that hold for several values, and what they are of.
    const CONDITIONS: &[(&str, &str)] = &[
        ("y / 2 + 1 = 2", "y"),
        ("y / 2 = 1 AND y > -100", "y"),
        ("1 - y / 2 = 0", "y"),
        ("y / -2 = -1", "y"),
        ("y / 2 * 2 = 2", "y"),
        ("CAST(y AS SMALLINT) / 2 = 1", "y"),
        ("CAST(x / 2 AS BIGINT) = 1", "x"),
        ("CAST(x / 2 AS INT) + 1 = 2", "x"),
        ("CAST(s AS DATE) = DATE '1970-01-01'", "s"),
    ];

    async fn in_order(context: &SessionContext, condition: &str, column: &str) -> bool {
        let sql = format!(
            "SELECT CAST({column} AS BIGINT) AS k FROM t WHERE {condition} ORDER BY {column}"
        );
        let frame = context.sql(&sql).await.unwrap();
        let rows = frame.collect().await.unwrap();
        let all: Vec<i64> = rows
            .iter()
            .flat_map(|rows| rows.column(0).as_primitive::<Int64Type>().values().to_vec())
            .collect();
        assert!(all.len() > 1, "{condition}: {all:?}");
        all.is_sorted()
    }

    #[tokio::test]
    async fn rows_are_sorted_by_what_a_condition_rounds() {
        let options = SessionOptions { threads: Some(1), ..SessionOptions::default() };
        let session = Session::try_new(&Registry::default(), &options).unwrap();
        session.sql(TABLE).await.unwrap();
        for (condition, column) in CONDITIONS {
            assert!(in_order(session.context(), condition, column).await, "{condition}");
        }
    }

    /// When this fails, DataFusion sorts by itself, and the rule can go.
    #[tokio::test]
    async fn datafusion_still_takes_a_rounded_column_for_a_constant() {
        let context = SessionContext::new();
        context.sql(TABLE).await.unwrap().collect().await.unwrap();
        assert!(!in_order(&context, "y / 2 + 1 = 2", "y").await);
        assert!(!in_order(&context, "CAST(x / 2 AS BIGINT) = 1", "x").await);
    }
}
