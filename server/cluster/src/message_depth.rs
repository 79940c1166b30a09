//! Refuses plans whose messages nest deeper than protocol buffers are read.
//!
//! prost reads a hundred messages in each other and no more, which guards every port against
//! messages that only nest. An operator is two of them within the one that reads it, and so is a
//! term of an expression; operands of one operator in a row are beside each other. An executor that
//! cannot read a task says so in its log alone, and the query would never end; so what will be sent
//! is looked at before. In: a plan. Out: nothing, or why it cannot be sent.

use almagest_engine::{Error, Result};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::BinaryExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion_proto::protobuf::LogicalPlanNode;
use prost::Message;

/// Messages in each other that prost reads.
const READ: usize = 100;
/// Those around an operator's expressions, and around a stage.
const AROUND: usize = 8;

/// Refuses a logical plan, written as `bytes`.
///
/// # Errors
/// `Unsupported`.
pub fn check_logical(bytes: &[u8]) -> Result<()> {
    match LogicalPlanNode::decode(bytes) {
        Ok(_) => Ok(()),
        Err(cause) => Err(too_deep().caused_by(cause.to_string())),
    }
}

/// Refuses a physical plan. Ballista cuts it into stages, each with messages of its own.
///
/// # Errors
/// `Unsupported`.
pub fn check_physical(plan: &dyn ExecutionPlan) -> DfResult<()> {
    check_stage(plan, 1)
}

fn check_stage(plan: &dyn ExecutionPlan, height: usize) -> DfResult<()> {
    let mut deepest = 0;
    plan.apply_expressions(&mut |expr| {
        deepest = deepest.max(depth(expr.as_ref(), None));
        Ok(TreeNodeRecursion::Continue)
    })?;
    if 2 * (height + deepest) + AROUND > READ {
        return Err(too_deep().into());
    }
    for (position, child) in plan.children().into_iter().enumerate() {
        let height = if ends_stage(plan, position) { 1 } else { height + 1 };
        check_stage(child.as_ref(), height)?;
    }
    Ok(())
}

/// Whether an input of an operator is a stage of its own.
fn ends_stage(plan: &dyn ExecutionPlan, input: usize) -> bool {
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        return input == 0 && *join.partition_mode() == PartitionMode::CollectLeft;
    }
    plan.is::<CoalescePartitionsExec>()
        || plan.is::<SortPreservingMergeExec>()
        || plan.is::<RepartitionExec>()
}

/// Terms in each other; operands of the operator `of` continue its list.
fn depth(expr: &dyn PhysicalExpr, of: Option<Operator>) -> usize {
    let operator = expr.downcast_ref::<BinaryExpr>().map(|binary| *binary.op());
    let inner = expr
        .children()
        .into_iter()
        .enumerate()
        .map(|(position, child)| depth(child.as_ref(), operator.filter(|_| position == 0)));
    let inner = inner.max().unwrap_or(0);
    inner + usize::from(operator.is_none() || operator != of)
}

fn too_deep() -> Error {
    Error::unsupported(
        "the statement nests expressions or queries deeper than is sent to a cluster, which is about \
         forty levels; make a table of a part (CREATE TABLE … AS), or run it in one process: SET \
         almagest.scheduler = 'threads'",
    )
}
