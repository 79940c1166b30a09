//! Filters are pushed down only where names tell columns apart.
//!
//! Stage: physical planning, in place of DataFusion's two rules that push filters towards scans. In: a
//! plan. Out: the same, whose joins, top-k and aggregates tell scans while they run what can no longer
//! matter (dynamic filters), and whose conditions prune files.
//!
//! DataFusion 55 finds the column of a pushed filter in an operator's input by its name
//! (`FilterRemapper::try_remap`). Where a name stands for two columns, a filter on the second drops rows by
//! the first: <https://github.com/apache/datafusion/issues/25244>, 25262, 25263, 25264 and 25296. Version 56
//! maps by position; then this goes. No setting turns it off, so no client gets wrong rows by SET.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::{JoinSide, JoinType};
use datafusion::error::Result as DfResult;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::joins::{HashJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::union::UnionExec;

use super::{FileNames, FloatStatistics, RoundedConditions};

/// How the names of DataFusion's rules that push filters begin.
const PUSHES_FILTERS: &str = "FilterPushdown";
/// The rule that pushes projections. Through a sort-merge join with a condition it pushes them without a
/// change to the condition, which then reads other columns or panics (seen in 55.2).
const PUSHES_PROJECTIONS: &str = "ProjectionPushdown";

/// DataFusion's rules for physical plans, with its pushing of filters made safe, after three of ours.
pub fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let rules = PhysicalOptimizer::new().rules.into_iter();
    let safe = |rule: Arc<dyn PhysicalOptimizerRule + Send + Sync>| {
        let is_unsafe = match rule.name() {
            PUSHES_PROJECTIONS => is_conditioned_merge,
            name if name.starts_with(PUSHES_FILTERS) => is_ambiguous,
            _ => return rule,
        };
        Arc::new(InParts { rule, is_unsafe }) as Arc<dyn PhysicalOptimizerRule + Send + Sync>
    };
    let first: [Arc<dyn PhysicalOptimizerRule + Send + Sync>; 3] =
        [Arc::new(FileNames), Arc::new(FloatStatistics), Arc::new(RoundedConditions)];
    first.into_iter().chain(rules.map(safe)).collect()
}

/// A rule, applied to the largest parts of a plan in which it is safe.
#[derive(Debug)]
struct InParts {
    rule: Arc<dyn PhysicalOptimizerRule + Send + Sync>,
    /// Whether it is not at an operator, and so not above it.
    is_unsafe: fn(&dyn ExecutionPlan) -> bool,
}

impl PhysicalOptimizerRule for InParts {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        // Version 55 tells the scan of `max(a), max(b + 1)` to leave out rows by `a` alone, and by the
        // aggregates that have met a value so far (24816, mended in 56): no SET turns that on.
        let mut config = config.clone();
        config.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
        let mut found = HashSet::new();
        self.find_unsafe(&plan, &mut found);
        self.in_parts(plan, &found, &config)
    }

    fn name(&self) -> &str {
        self.rule.name()
    }

    fn schema_check(&self) -> bool {
        self.rule.schema_check()
    }
}

impl InParts {
    fn in_parts(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        found: &HashSet<usize>,
        config: &ConfigOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        if !found.contains(&address(&plan)) {
            return self.rule.optimize(plan, config);
        }
        let children = plan.children().into_iter();
        let children = children.map(|child| self.in_parts(Arc::clone(child), found, config));
        let children = children.collect::<DfResult<Vec<_>>>()?;
        replace_children_if_necessary(plan, children)
    }

    /// Collects the operators that are unsafe or stand above one that is; says whether `plan` is one.
    fn find_unsafe(&self, plan: &Arc<dyn ExecutionPlan>, found: &mut HashSet<usize>) -> bool {
        let below = plan.children().into_iter().fold(false, |any, child| {
            // all are visited, whatever the first one says
            self.find_unsafe(child, found) | any
        });
        let is_unsafe = below || (self.is_unsafe)(plan.as_ref());
        if is_unsafe {
            found.insert(address(plan));
        }
        is_unsafe
    }
}

fn address(plan: &Arc<dyn ExecutionPlan>) -> usize {
    Arc::as_ptr(plan).cast::<()>() as usize
}

fn is_conditioned_merge(plan: &dyn ExecutionPlan) -> bool {
    plan.downcast_ref::<SortMergeJoinExec>().is_some_and(|join| join.filter().is_some())
}

fn is_ambiguous(plan: &dyn ExecutionPlan) -> bool {
    let schema = plan.schema();
    let mut names = HashSet::new();
    if !schema.fields().iter().all(|field| names.insert(field.name().as_str())) {
        return true;
    }
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        return confuses_keys(join);
    }
    if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        let input = aggregate.input().schema();
        let keys = aggregate.group_expr().expr().iter();
        return keys.into_iter().any(|(expr, name)| match input.index_of(name) {
            Ok(place) => expr.downcast_ref::<Column>().is_none_or(|key| key.index() != place),
            Err(_) => false,
        });
    }
    if plan.is::<UnionExec>() {
        // columns of the inputs belong together by position
        let names = |schema: &Schema| {
            schema.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>()
        };
        return plan.children().iter().any(|child| names(&child.schema()) != names(&schema));
    }
    false
}

/// Whether a filter on a key of a semi join would be taken to a column of the other side that has the
/// key's name and is not the key.
fn confuses_keys(join: &HashJoinExec) -> bool {
    let kept = match join.join_type() {
        JoinType::LeftSemi => JoinSide::Left,
        JoinType::RightSemi => JoinSide::Right,
        _ => return false,
    };
    let other = match kept {
        JoinSide::Left => join.right().schema(),
        _ => join.left().schema(),
    };
    join.on().iter().any(|(left, right)| {
        let (key, partner) = match kept {
            JoinSide::Left => (left, right),
            _ => (right, left),
        };
        let Some(key) = key.downcast_ref::<Column>() else { return false };
        match other.index_of(key.name()) {
            Ok(place) => partner.downcast_ref::<Column>().is_none_or(|p| p.index() != place),
            Err(_) => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;
    use datafusion::prelude::SessionContext;

    use crate::registry::Registry;
    use crate::{Session, SessionOptions};

    /// The rows of a join of three files, two columns of which have one name.
    async fn rows(context: &SessionContext) -> i64 {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name).display().to_string();
        let (many, few) = (file("many.parquet"), file("few.parquet"));
        let small = "OPTIONS ('format.max_row_group_size' '100')";
        let statements = [
            format!(
                "COPY (SELECT value AS id, value % 10 AS k FROM range(1000)) TO '{many}' {small}"
            ),
            format!("COPY (SELECT value AS id FROM range(100)) TO '{few}'"),
            format!("CREATE EXTERNAL TABLE many STORED AS PARQUET LOCATION '{many}'"),
            format!("CREATE EXTERNAL TABLE few STORED AS PARQUET LOCATION '{few}'"),
        ];
        for statement in statements {
            context.sql(&statement).await.unwrap().collect().await.unwrap();
        }
        let joined = "SELECT count(*), sum(x.id) FROM many x JOIN many y ON x.k = y.k \
                      JOIN few z ON y.id = z.id";
        let found = context.sql(joined).await.unwrap().collect().await.unwrap();
        found[0].column(0).as_primitive::<Int64Type>().value(0)
    }

    #[tokio::test]
    async fn a_join_loses_no_rows() {
        let session = Session::try_new(&Registry::default(), &SessionOptions::default()).unwrap();
        assert_eq!(rows(session.context()).await, 10_000);
    }

    /// When this fails, DataFusion finds columns by position, and this module can go.
    #[tokio::test]
    async fn datafusion_alone_loses_rows() {
        assert_eq!(rows(&SessionContext::new()).await, 1000);
    }
}
