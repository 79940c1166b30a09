//! Aggregates over an array become partial states per read box, merged by an ordinary aggregate.
//!
//! Stage: optimizer, after DataFusion's own rules. Before and after:
//!
//! ```text
//! Aggregate: group=[y/512], avg(CAST(value AS Float64)), count(*)    Projection: key0, sum/count, …
//!   TableScan: sky (ArrayTable), filters                       ─▶      Aggregate: group=[key0], sum(state0), …
//!                                                                        TableScan: ReducedArray
//! ```
//!
//! Matches groups of dimensions and their integer quotients, or none, over a chain of projections,
//! aliases and filters on an array table. Anything else, and any other aggregate, is left as it is.
//! Running twice changes nothing: a `ReducedArray` is no array table. Not here: reading.

#[cfg(test)]
mod properties;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::error::Result as DfResult;
use datafusion::functions_aggregate as functions;
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams};
use datafusion::logical_expr::{
    Aggregate, AggregateUDF, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, cast, col, lit,
};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::group_key::group_key;
use super::source::Source;
use crate::catalog::{ArrayTable, ReducedArray};
use crate::exec::reduce::{
    GroupKey, KnownAggregate, MergeStates, Reduction, State, StateKind, extreme_function,
    group_shape, is_reducible,
};

/// Boxes must hold this many times more elements than groups, or rows are as good.
const ELEMENTS_PER_GROUP_MIN: u64 = 2;

/// The rule.
#[derive(Debug)]
pub struct DenseReduction;

impl OptimizerRule for DenseReduction {
    fn name(&self) -> &str {
        "dense_reduction"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> DfResult<Transformed<LogicalPlan>> {
        let LogicalPlan::Aggregate(aggregate) = &plan else { return Ok(Transformed::no(plan)) };
        match reduced(aggregate)? {
            Some(reduced) => Ok(Transformed::yes(reduced)),
            None => Ok(Transformed::no(plan)),
        }
    }
}

/// The plan that replaces an aggregate, if it can be reduced box by box.
fn reduced(aggregate: &Aggregate) -> DfResult<Option<LogicalPlan>> {
    let groups = aggregate.group_expr.len();
    let mut expressions = aggregate.group_expr.clone();
    expressions.extend(aggregate.aggr_expr.iter().cloned());
    let Some(source) = Source::find(&aggregate.input, expressions)? else { return Ok(None) };
    let table = &source.table;
    let (keys, aggregates) = source.expressions.split_at(groups);
    let keys: Option<Vec<GroupKey>> = keys.iter().map(|key| group_key(key, table.dims())).collect();
    let Some(keys) = keys.filter(|keys| is_dense(keys, table)) else { return Ok(None) };
    let mut plan = Merge { schema: &source.schema, states: vec![] };
    let mut merged = vec![];
    for aggregate in aggregates {
        match plan.merged(aggregate)? {
            Some(expr) => merged.push(expr),
            None => return Ok(None),
        }
    }
    let reduction = Reduction { keys, states: plan.states };
    let reads =
        reduction.states.iter().any(|state| state.argument.is_some() || state.filter.is_some());
    if !reads && groups == 0 && table.only_cut_a_box(&source.filters) {
        return Ok(None); // statistics answer it
    }
    let scan = ReducedArray::try_new(table.clone(), source.filters, reduction)?;
    merging_plan(aggregate, scan, merged).map(Some)
}

/// How many scans of states this process has planned.
static SCANS: AtomicU64 = AtomicU64::new(0);

/// Aggregates over a scan of states, under the names of the aggregate that it replaces.
fn merging_plan(
    aggregate: &Aggregate,
    scan: ReducedArray,
    merged: Vec<MergedAggregate>,
) -> DfResult<LogicalPlan> {
    let groups = aggregate.group_expr.len();
    let keys = (0..groups).map(|index| col(format!("key{index}")));
    let mut calls: Vec<Expr> = vec![];
    let mut outputs: Vec<Expr> = keys.clone().collect();
    for MergedAggregate { parts, finish } in merged {
        let places = parts.into_iter().map(|call| {
            let place = calls.iter().position(|seen| *seen == call).unwrap_or_else(|| {
                calls.push(call);
                calls.len() - 1
            });
            col(format!("merged{place}"))
        });
        outputs.push(finish(places.collect()));
    }
    let names = aggregate.schema.iter().zip(outputs);
    let outputs = names
        .map(|((qualifier, field), expr)| expr.alias_qualified(qualifier.cloned(), field.name()));
    let calls = calls.iter().enumerate();
    let calls = calls.map(|(index, call)| call.clone().alias(format!("merged{index}")));
    let source = provider_as_source(Arc::new(scan));
    // DataFusion compares scans by their names, whatever they read, and evaluates equal ones once
    let number = SCANS.fetch_add(1, Ordering::Relaxed);
    let name = TableReference::bare(format!("partial_states_{number}"));
    LogicalPlanBuilder::scan(name, source, None)?.aggregate(keys, calls)?.project(outputs)?.build()
}

/// Whether each axis stands in one key at the most, and boxes hold clearly fewer groups than
/// elements.
fn is_dense(keys: &[GroupKey], table: &ArrayTable) -> bool {
    if table.shape().is_empty() {
        return false;
    }
    let grid = table.read_grid();
    let box_shape = grid.chunk_shape().iter().zip(table.shape());
    let box_shape: Vec<u64> = box_shape.map(|(length, whole)| *length.min(whole)).collect();
    let group = group_shape(keys, &box_shape);
    group.is_some_and(|group| group.iter().product::<u64>() >= ELEMENTS_PER_GROUP_MIN)
}

/// One aggregate of the query, merged from states.
struct MergedAggregate {
    /// Aggregates over the states.
    parts: Vec<Expr>,
    /// Makes the query's value of the parts' values.
    finish: Box<dyn FnOnce(Vec<Expr>) -> Expr>,
}

impl MergedAggregate {
    fn of(call: Expr) -> Self {
        Self { parts: vec![call], finish: Box::new(|mut parts| parts.swap_remove(0)) }
    }
}

/// The states that a query's aggregates need, as they are found.
struct Merge<'a> {
    schema: &'a DFSchema,
    states: Vec<State<Expr>>,
}

impl Merge<'_> {
    /// How to merge one aggregate of the query, if it can be.
    fn merged(&mut self, aggregate: &Expr) -> DfResult<Option<MergedAggregate>> {
        let aggregate = aggregate.clone().unalias();
        let Expr::AggregateFunction(AggregateFunction { func, params }) = &aggregate else {
            return Ok(None);
        };
        let AggregateFunctionParams { args, distinct, filter, order_by, null_treatment } = params;
        let ([argument], false, true, None) =
            (args.as_slice(), *distinct, order_by.is_empty(), null_treatment)
        else {
            return Ok(None);
        };
        let filter = filter.as_deref().cloned();
        let argument_type = argument.get_type(self.schema)?;
        let Some(known) = KnownAggregate::of(func) else { return Ok(None) };
        match known {
            KnownAggregate::Count => {
                let count = self.count(argument, &filter)?;
                let finish = Box::new(|mut parts: Vec<Expr>| {
                    datafusion::functions::core::expr_fn::coalesce(vec![
                        parts.swap_remove(0),
                        lit(0_i64),
                    ])
                });
                Ok(Some(MergedAggregate { parts: vec![sum(count)], finish }))
            }
            KnownAggregate::Sum => {
                let kind = match &argument_type {
                    DataType::Float64 => StateKind::SumFloat,
                    DataType::Int64 => StateKind::SumInt,
                    DataType::UInt64 => StateKind::SumUInt,
                    _ => return Ok(None),
                };
                let state = self.numeric_state(kind, argument, filter)?;
                Ok(state.map(|state| MergedAggregate::of(sum(state))))
            }
            KnownAggregate::Mean => {
                if argument_type != DataType::Float64 {
                    return Ok(None);
                }
                let count = self.count(argument, &filter)?;
                let Some(total) = self.numeric_state(StateKind::SumFloat, argument, filter)? else {
                    return Ok(None);
                };
                let finish = Box::new(|parts: Vec<Expr>| {
                    parts[0].clone() / cast(parts[1].clone(), DataType::Float64)
                });
                Ok(Some(MergedAggregate { parts: vec![sum(total), sum(count)], finish }))
            }
            KnownAggregate::Extreme { maximum } => {
                if !is_reducible(&argument_type) {
                    return Ok(None);
                }
                let kind = if maximum { StateKind::Max } else { StateKind::Min };
                let state = self.state(kind, Some(argument.clone()), filter);
                let call = extreme_function(maximum).call(vec![part(state, 0)]);
                Ok(Some(MergedAggregate::of(call)))
            }
            KnownAggregate::Variance { .. } => {
                let state = self.numeric_state(StateKind::Moments, argument, filter)?;
                let merging = AggregateUDF::from(MergeStates::new(Arc::clone(func)));
                let call = |state| merging.call((0..3).map(|index| part(state, index)).collect());
                Ok(state.map(|state| MergedAggregate::of(call(state))))
            }
            KnownAggregate::All | KnownAggregate::Any => {
                let all = known == KnownAggregate::All;
                let kind = if all { StateKind::All } else { StateKind::Any };
                let state = self.state(kind, Some(argument.clone()), filter);
                Ok(Some(MergedAggregate::of(func.call(vec![part(state, 0)]))))
            }
        }
    }

    /// How many values there are that are not NULL.
    fn count(&mut self, argument: &Expr, filter: &Option<Expr>) -> DfResult<usize> {
        let argument = argument.nullable(self.schema)?.then(|| argument.clone());
        Ok(self.state(StateKind::Count, argument, filter.clone()))
    }

    /// A state of numbers. DataFusion's cast of a column to the type in which it computes is left
    /// to the kernels.
    fn numeric_state(
        &mut self,
        kind: StateKind,
        argument: &Expr,
        filter: Option<Expr>,
    ) -> DfResult<Option<usize>> {
        let computed = argument.get_type(self.schema)?;
        let bare = match argument {
            Expr::Cast(inner) if matches!(inner.expr.as_ref(), Expr::Column(_)) => {
                let stored = inner.expr.get_type(self.schema)?;
                let same = match computed {
                    DataType::Float64 => is_reducible(&stored),
                    DataType::Int64 => stored.is_signed_integer(),
                    _ => stored.is_unsigned_integer(),
                };
                if same { inner.expr.as_ref() } else { argument }
            }
            argument => argument,
        };
        if !is_reducible(&bare.get_type(self.schema)?) {
            return Ok(None);
        }
        Ok(Some(self.state(kind, Some(bare.clone()), filter)))
    }

    fn state(&mut self, kind: StateKind, argument: Option<Expr>, filter: Option<Expr>) -> usize {
        let state = State { kind, argument, filter };
        self.states.iter().position(|seen| *seen == state).unwrap_or_else(|| {
            self.states.push(state);
            self.states.len() - 1
        })
    }
}

fn part(state: usize, part: usize) -> Expr {
    col(format!("state{state}_{part}"))
}

fn sum(state: usize) -> Expr {
    functions::expr_fn::sum(part(state, 0))
}
