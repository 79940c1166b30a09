//! Logical rewrites over arrays, in the order in which they run.
//!
//! Every rule gives an ordinary plan over a table of ours, and running it twice changes nothing: a
//! cluster optimises a plan on the client and again on the scheduler.

mod array_plan;
mod axis_order;
mod block_windows;
mod canonical;
mod carry;
mod computed_keys;
mod dense_reduction;
mod filters_above_totals;
mod forget_dependencies;
mod group_key;
mod grouping_keys;
mod lowering;
mod marker;
mod null_safe_keys;
mod quotients;
mod real_literals;
mod repeated_order;
mod restate;
mod source;
mod subqueries;
mod zip;

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::{Analyzer, AnalyzerRule, Optimizer, OptimizerRule};

use crate::floats_by_value;

pub(crate) use array_plan::array_table_of;
pub use canonical::compare_by_value;
pub(crate) use filters_above_totals::install as keep_filters_above_totals;
pub(crate) use marker::register as register_array_function;
pub use marker::{lambda_parameter_names, refuse_calls};

/// DataFusion's optimizer rules, to run before ours, with those between them that mend them.
pub fn first_optimizer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = vec![];
    for rule in Optimizer::default().rules {
        if null_safe_keys::BEFORE.contains(&rule.name()) {
            rules.push(Arc::new(null_safe_keys::NullSafeKeys));
        }
        if forget_dependencies::ASKING.contains(&rule.name()) {
            let forget = forget_dependencies::ForgetDependencies::before(rule.name());
            rules.push(Arc::new(forget));
        }
        rules.push(rule);
    }
    rules
}

/// Functions that only the rules call.
pub fn functions() -> Vec<ScalarUDF> {
    let mut functions = grouping_keys::functions().to_vec();
    functions.push(subqueries::one_row().as_ref().clone());
    functions.push(floats_by_value::canonical().as_ref().clone());
    functions
}

/// The analyzer rules: DataFusion's own, and those that must see the types before they are made alike.
pub fn first_analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let ours: [Arc<dyn AnalyzerRule + Send + Sync>; 2] =
        [Arc::new(computed_keys::ComputedKeys), Arc::new(real_literals::RealLiterals)];
    ours.into_iter().chain(Analyzer::new().rules).collect()
}

/// The analyzer rules to run after those.
pub fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    vec![
        // Before DISTINCT ON becomes an aggregate with an order.
        Arc::new(repeated_order::RepeatedOrder),
        Arc::new(crate::bounds::GuardCalls),
        Arc::new(canonical::ConstantsByValue),
        // Before tables of both sides of a join become one, whose conditions are then bounds too.
        Arc::new(quotients::Quotients),
        // First of those over arrays, so that functions may read columns of both sides of a join.
        Arc::new(zip::Zip),
        // After types are known, and before the optimizer could evaluate or move a call.
        Arc::new(lowering::Lowering),
        // Last, as joins that stand for subqueries are not arrays of one shape joined on their dimensions.
        Arc::new(subqueries::Subqueries),
    ]
}

/// The optimizer rules, to run after DataFusion's own.
pub fn optimizer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    vec![
        Arc::new(quotients::Quotients),
        Arc::new(crate::files::SpelledPartitions),
        // Last, so that filters and projections have already been pushed to the scan, and types are
        // those that the aggregates compute in.
        Arc::new(dense_reduction::DenseReduction),
        Arc::new(grouping_keys::GroupingKeys),
        // What the first of the two made conditions of, while others moved joins, are keys again.
        Arc::new(null_safe_keys::NullSafeKeys),
        Arc::new(ExtractEquijoinPredicate::new()),
        // After everything that computes constants.
        Arc::new(crate::bounds::GuardValues),
    ]
}
