//! Joins of shuffled tables by hash tables instead of sorting.
//!
//! Sorting both sides takes twice as long as a hash table of one, but it goes to disk where memory
//! ends, and DataFusion's hash join does not. So a query is begun with hash tables, and anew with
//! sorting if they did not fit.
//!
//! DataFusion's own choice of hash joins, `prefer_hash_join`, also lets it send one side to all who
//! read the other, and Ballista 55 undoes that in a way that loses rows of a LEFT JOIN. So its
//! planner is told to sort, and this rule, the first of all, turns what it plans into hash joins of
//! two shuffled sides, of which Ballista itself sends the small ones everywhere.

use std::sync::Arc;

use almagest_engine::walk::Walk;
use almagest_engine::{Error, ErrorKind};
use ballista_core::serde::protobuf::{ExecuteQueryParams, KeyValuePair};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::error::Result as DfResult;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode, SortMergeJoinExec};

/// The setting that asks for hash joins, and is turned off where memory does not suffice for them.
pub const PREFERRED: &str = "datafusion.optimizer.prefer_hash_join";

/// The session that plans: one that sorts, whose joins are then made anew if hash joins are preferred.
pub fn planning(session: &SessionState) -> SessionState {
    if !session.config_options().optimizer.prefer_hash_join {
        return session.clone();
    }
    let mut rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> = vec![Arc::new(HashJoins)];
    rules.extend(session.physical_optimizers().iter().cloned());
    let mut settings = session.config().clone();
    settings.options_mut().optimizer.prefer_hash_join = false;
    SessionStateBuilder::new_from_existing(session.clone())
        .with_config(settings)
        .with_physical_optimizer_rules(rules)
        .build()
}

/// Whether a query failed as the hash table of a join did not fit into memory: DataFusion names who
/// asked for more.
pub fn are_too_large(error: &Error) -> bool {
    error.kind() == ErrorKind::Exhausted && error.message().contains("HashJoin")
}

/// Whether a query asks for no hash joins.
pub fn are_off(query: &ExecuteQueryParams) -> bool {
    let mut settings = query.settings.iter().filter(|setting| setting.key == PREFERRED);
    settings.any(|setting| setting.value.as_deref() == Some("false"))
}

/// Lets the joins of a query sort.
pub fn turn_off(query: &mut ExecuteQueryParams) {
    query.settings.retain(|setting| setting.key != PREFERRED);
    query.settings.push(KeyValuePair { key: PREFERRED.into(), value: Some("false".into()) });
}

/// The rule. It runs before the inputs of joins are shuffled and sorted as these require.
#[derive(Debug)]
struct HashJoins;

impl PhysicalOptimizerRule for HashJoins {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        plan.change_up(&mut |plan| match plan.downcast_ref::<SortMergeJoinExec>() {
            Some(join) => Ok(Transformed::yes(hashed(join)?)),
            None => Ok(Transformed::no(plan)),
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "HashJoins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn hashed(join: &SortMergeJoinExec) -> DfResult<Arc<dyn ExecutionPlan>> {
    Ok(Arc::new(HashJoinExec::try_new(
        Arc::clone(join.left()),
        Arc::clone(join.right()),
        join.on().to_vec(),
        join.filter().clone(),
        &join.join_type(),
        None,
        PartitionMode::Partitioned,
        join.null_equality(),
        false,
    )?))
}
