//! Looks up between the steps of planning: whether anybody waits for the plan, and its time.
//!
//! In: the state of a session. Out: the same one, whose rules and planners of expressions and tables
//! ask [`check`] first. They run on whatever thread DataFusion plans; only planning threads are told
//! to end.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result as DfResult;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::planner::{
    ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr, RelationPlanner,
    RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::{AnalyzerRule, ApplyOrder, OptimizerConfig, OptimizerRule};
use datafusion::physical_optimizer::{PhysicalOptimizerContext, PhysicalOptimizerRule};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::sqlparser::ast::{BinaryOperator, TableFactor};

use super::check;

use crate::walk::Walk;

/// Operators in a row after which the type of their result is said.
const SETTLED_EVERY: usize = 32;

/// The state whose steps are watched.
pub fn watched(state: SessionState) -> SessionState {
    let analyzer = state.analyzer().rules.iter();
    let analyzer = analyzer.map(|rule| Arc::new(Watched(Arc::clone(rule))) as _).collect();
    let optimizer = state.optimizers().iter();
    let optimizer = optimizer.map(|rule| Arc::new(Watched(Arc::clone(rule))) as _).collect();
    let physical = state.physical_optimizers().iter();
    let physical = physical.map(|rule| Arc::new(Watched(Arc::clone(rule))) as _).collect();
    let mut expressions: Vec<Arc<dyn ExprPlanner>> = vec![Arc::new(Watch)];
    expressions.extend(state.expr_planners().iter().cloned());
    let mut relations: Vec<Arc<dyn RelationPlanner>> = vec![Arc::new(Watch)];
    relations.extend(state.relation_planners().iter().cloned());
    let rewrites = state.analyzer().function_rewrites().to_vec();
    let session_id = state.session_id().to_string();
    let mut builder = SessionStateBuilder::new_from_existing(state)
        .with_session_id(session_id)
        .with_analyzer_rules(analyzer)
        .with_optimizer_rules(optimizer)
        .with_physical_optimizer_rules(physical)
        .with_expr_planners(expressions)
        .with_relation_planners(relations);
    if let Some(analyzer) = builder.analyzer() {
        rewrites.into_iter().for_each(|rewrite| analyzer.add_function_rewrite(rewrite));
    }
    builder.build()
}

/// A rule that looks up before it runs.
#[derive(Debug)]
struct Watched<T: ?Sized>(Arc<T>);

impl AnalyzerRule for Watched<dyn AnalyzerRule + Send + Sync> {
    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> DfResult<LogicalPlan> {
        check()?;
        self.0.analyze(plan, config)
    }

    fn name(&self) -> &str {
        self.0.name()
    }
}

impl OptimizerRule for Watched<dyn OptimizerRule + Send + Sync> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> DfResult<Transformed<LogicalPlan>> {
        check()?;
        self.0.rewrite(plan, config)
    }
}

impl PhysicalOptimizerRule for Watched<dyn PhysicalOptimizerRule + Send + Sync> {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        check()?;
        self.0.optimize(plan, config)
    }

    fn optimize_with_context(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        context: &dyn PhysicalOptimizerContext,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        check()?;
        self.0.optimize_with_context(plan, context)
    }

    fn name(&self) -> &str {
        self.0.name()
    }

    fn schema_check(&self) -> bool {
        self.0.schema_check()
    }
}

/// Is asked of every operator, access, list and table that a statement holds, and leaves it as it is.
#[derive(Debug)]
struct Watch;

impl ExprPlanner for Watch {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> DfResult<PlannerResult<RawBinaryExpr>> {
        check()?;
        let left = settled(expr.left, &expr.op, schema)?;
        Ok(PlannerResult::Original(RawBinaryExpr { left, ..expr }))
    }

    fn plan_field_access(
        &self,
        expr: RawFieldAccessExpr,
        _: &DFSchema,
    ) -> DfResult<PlannerResult<RawFieldAccessExpr>> {
        check()?;
        Ok(PlannerResult::Original(expr))
    }

    fn plan_array_literal(
        &self,
        exprs: Vec<Expr>,
        _: &DFSchema,
    ) -> DfResult<PlannerResult<Vec<Expr>>> {
        check()?;
        Ok(PlannerResult::Original(exprs))
    }
}

/// The left side of an operator; behind many others, with its type said.
///
/// DataFusion finds the type of a sum anew for each of its signs, down to the first term, by adding
/// empty arrays: a thousand terms took two seconds. A cast, here to the type that it has, says the
/// type without looking further, and is not seen in names of columns.
fn settled(left: Expr, op: &BinaryOperator, schema: &DFSchema) -> DfResult<Expr> {
    use BinaryOperator::{Divide, Minus, Modulo, Multiply, Plus, StringConcat};
    if !matches!(op, Plus | Minus | Multiply | Divide | Modulo | StringConcat) {
        return Ok(left);
    }
    let mut rest = &left;
    for _ in 0..SETTLED_EVERY {
        let Expr::BinaryExpr(binary) = rest else { return Ok(left) };
        rest = &binary.left;
    }
    // parameters have no type yet
    let mut untyped =
        |expr: &Expr| Ok(matches!(expr, Expr::Placeholder(_) | Expr::LambdaVariable(_)));
    if left.any(&mut untyped)? {
        return Ok(left);
    }
    let data_type = left.get_type(schema)?;
    Ok(Expr::Cast(Cast::new(Box::new(left), data_type)))
}

impl RelationPlanner for Watch {
    fn plan_relation(
        &self,
        relation: TableFactor,
        _: &mut dyn RelationPlannerContext,
    ) -> DfResult<RelationPlanning> {
        check()?;
        Ok(RelationPlanning::Original(Box::new(relation)))
    }
}
