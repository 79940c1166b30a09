//! Rows that give every value of some columns of a plan, the same ones whenever they are read.
//!
//! Stage: part of `rewrite/subqueries.rs`. The values come from a second reading of the outer rows, and an
//! outer row whose values are not among them would lose its subquery's rows without a word. So columns that
//! may differ from one reading to the next are refused: random numbers, sums of floats (whose last bits
//! depend on which thread comes first), what `LIMIT` happens to keep. A LIMIT at the top is left out
//! instead, and so is what else only takes rows away: more values do no harm.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Column, DFSchema};
use datafusion::datasource::source_as_provider;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    Distinct, Expr, ExprSchemable, Filter, Join, JoinType, LogicalPlan, Projection, Window,
    WindowFrameUnits, WindowFunctionDefinition,
};

use super::scope::has;
use super::shape::{columns, project, under};
use crate::Error;
use crate::walk::{Walk, WalkPlan};

/// Rows of `plan`, perhaps more, with every value of `wanted`.
///
/// # Errors
/// `Unsupported` if they may differ from those of `plan` the next time it is read.
pub fn every_value(plan: &LogicalPlan, wanted: &[Column]) -> DfResult<LogicalPlan> {
    refuse_work_tables(plan)?;
    let plan = superset(plan, wanted)?;
    if is_stable(&plan, wanted)? {
        return Ok(plan);
    }
    let names: Vec<_> = wanted.iter().map(ToString::to_string).collect();
    Err(Error::unsupported(format!(
        "a subquery that reads {} of rows that may differ each time they are read (random numbers, sums \
         of floats, LIMIT without a full order); write these rows to a table first, with CREATE TABLE … \
         AS SELECT …",
        names.join(", ")
    ))
    .into())
}

/// Refuses to read twice what one step of WITH RECURSIVE gives to the next: it can be read once.
pub fn refuse_work_tables(plan: &LogicalPlan) -> DfResult<()> {
    plan.walk_with_subqueries(&mut |node| {
        let LogicalPlan::TableScan(scan) = node else { return Ok(TreeNodeRecursion::Continue) };
        let table = source_as_provider(&scan.source);
        if table.is_ok_and(|table| table.downcast_ref::<CteWorkTable>().is_some()) {
            return Err(Error::unsupported(format!(
                "this subquery in the recursive part of {}, which would read its rows twice; use a join, \
                 or the subquery outside of WITH RECURSIVE",
                scan.table_name
            ))
            .into());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

/// A plan with the columns `wanted`, and every value that they have in `plan`, perhaps more: without what
/// only leaves rows out and may differ from one reading to the next, or gives columns that nobody wants.
fn superset(plan: &LogicalPlan, wanted: &[Column]) -> DfResult<LogicalPlan> {
    match plan {
        LogicalPlan::Limit(limit) => superset(&limit.input, wanted),
        LogicalPlan::Sort(sort) => superset(&sort.input, wanted),
        LogicalPlan::Distinct(Distinct::All(input)) => superset(input, wanted),
        LogicalPlan::Filter(filter) => {
            let kept = of_exprs(std::slice::from_ref(&filter.predicate), &filter.input)?;
            if !kept {
                return superset(&filter.input, wanted);
            }
            let read = filter.predicate.column_refs().into_iter().cloned();
            let read: Vec<_> = wanted.iter().cloned().chain(read).collect();
            let input = Arc::new(superset(&filter.input, &read)?);
            Ok(LogicalPlan::Filter(Filter::try_new(filter.predicate.clone(), input)?))
        }
        LogicalPlan::Projection(projection) => {
            of_wanted(&projection.expr, &projection.schema, wanted, &projection.input)
        }
        LogicalPlan::Distinct(Distinct::On(distinct)) => {
            of_wanted(&distinct.select_expr, &distinct.schema, wanted, &distinct.input)
        }
        LogicalPlan::SubqueryAlias(alias) => {
            of_wanted(&columns(alias.input.schema()), &alias.schema, wanted, &alias.input)
        }
        LogicalPlan::Join(join) if matches!(join.join_type, JoinType::Inner | JoinType::Left) => {
            superset_of_join(join, wanted)
        }
        other => Ok(other.clone()),
    }
}

/// Those expressions over `input` that are `wanted`, under the names of `schema`.
fn of_wanted(
    exprs: &[Expr],
    schema: &DFSchema,
    wanted: &[Column],
    input: &LogicalPlan,
) -> DfResult<LogicalPlan> {
    let at = positions(schema, wanted);
    let kept: Vec<_> = at
        .iter()
        .map(|at| {
            let (qualifier, field) = schema.qualified_field(*at);
            under(exprs[*at].clone(), (qualifier, field))
        })
        .collect();
    let read = kept.iter().flat_map(Expr::column_refs).cloned().collect::<Vec<_>>();
    project(superset(input, &read)?, kept)
}

fn superset_of_join(join: &Join, wanted: &[Column]) -> DfResult<LogicalPlan> {
    let inner = join.join_type == JoinType::Inner;
    let all_in = |side: &LogicalPlan| wanted.iter().all(|column| has(side.schema(), column));
    let unconditional = join.on.is_empty() && join.filter.is_none();
    if all_in(&join.left) && (!inner || unconditional) {
        return superset(&join.left, wanted);
    }
    if inner && unconditional && all_in(&join.right) {
        return superset(&join.right, wanted);
    }
    let mut read: Vec<Column> = wanted.to_vec();
    for expr in join.on.iter().flat_map(|(a, b)| [a, b]).chain(&join.filter) {
        read.extend(expr.column_refs().into_iter().cloned());
    }
    let of_side = |side: &LogicalPlan| {
        let read: Vec<_> = read.iter().filter(|read| has(side.schema(), read)).cloned().collect();
        superset(side, &read).map(Arc::new)
    };
    // a left join gives NULL for rows that a larger right side would have
    let right = if inner { of_side(&join.right)? } else { Arc::clone(&join.right) };
    Ok(LogicalPlan::Join(Join::try_new(
        of_side(&join.left)?,
        right,
        join.on.clone(),
        join.filter.clone(),
        join.join_type,
        join.join_constraint,
        join.null_equality,
        join.null_aware,
    )?))
}

/// Whether the values of `wanted` are the same whenever `plan` is read.
fn is_stable(plan: &LogicalPlan, wanted: &[Column]) -> DfResult<bool> {
    Ok(match plan {
        LogicalPlan::Projection(projection) => of_projection(projection, wanted)?,
        LogicalPlan::SubqueryAlias(alias) => {
            let inner = columns(alias.input.schema());
            let inner: Vec<_> =
                positions(plan.schema(), wanted).into_iter().map(|at| inner[at].clone()).collect();
            of_exprs(&inner, &alias.input)?
        }
        LogicalPlan::Filter(filter) => {
            let mut exprs = vec![filter.predicate.clone()];
            exprs.extend(wanted.iter().cloned().map(Expr::Column));
            of_exprs(&exprs, &filter.input)?
        }
        LogicalPlan::Join(join) => of_join(join, wanted)?,
        LogicalPlan::Aggregate(aggregate) => {
            let groups = aggregate.group_expr.len();
            let sets = matches!(aggregate.group_expr.as_slice(), [Expr::GroupingSet(_)]);
            let mut exprs = aggregate.group_expr.clone();
            let first = if sets {
                plan.schema().fields().len() - aggregate.aggr_expr.len()
            } else {
                groups
            };
            for at in positions(plan.schema(), wanted).into_iter().filter(|at| *at >= first) {
                exprs.push(aggregate.aggr_expr[at - first].clone());
            }
            let steady =
                exprs.iter().all(|expr| is_steady_aggregate(expr, aggregate.input.schema()));
            steady && of_exprs(&exprs, &aggregate.input)?
        }
        LogicalPlan::Window(window) => of_window(window, wanted)?,
        LogicalPlan::Distinct(Distinct::All(input)) => is_stable(input, wanted)?,
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => is_stable(&sort.input, wanted)?,
        LogicalPlan::Union(union) => {
            let at = positions(plan.schema(), wanted);
            let of_input = |input: &Arc<LogicalPlan>| {
                let all = input.schema().columns();
                let wanted: Vec<_> = at.iter().map(|at| all[*at].clone()).collect();
                is_stable(input, &wanted)
            };
            all(union.inputs.iter().map(of_input))?
        }
        LogicalPlan::TableScan(scan) => scan.fetch.is_none(),
        LogicalPlan::EmptyRelation(_) => true,
        LogicalPlan::Values(values) => !values.values.iter().flatten().any(Expr::is_volatile),
        LogicalPlan::Subquery(subquery) => is_wholly_stable(&subquery.subquery)?,
        LogicalPlan::Unnest(unnest) => is_wholly_stable(&unnest.input)?,
        LogicalPlan::RecursiveQuery(query) => {
            is_wholly_stable(&query.static_term)? && is_wholly_stable(&query.recursive_term)?
        }
        _ => false,
    })
}

fn is_wholly_stable(plan: &LogicalPlan) -> DfResult<bool> {
    is_stable(plan, &plan.schema().columns())
}

fn all(answers: impl IntoIterator<Item = DfResult<bool>>) -> DfResult<bool> {
    for answer in answers {
        if !answer? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Where `wanted` are in a schema, each once.
fn positions(schema: &DFSchema, wanted: &[Column]) -> Vec<usize> {
    let mut found = vec![];
    for column in wanted {
        let at = schema.iter().position(|(qualifier, field)| {
            qualifier == column.relation.as_ref() && field.name() == &column.name
        });
        found.extend(at.filter(|at| !found.contains(at)));
    }
    found
}

/// Whether expressions over `input` give the same whenever it is read.
fn of_exprs(exprs: &[Expr], input: &LogicalPlan) -> DfResult<bool> {
    let mut wanted: Vec<Column> = vec![];
    for expr in exprs {
        if expr.is_volatile() || !subqueries_are_stable(expr)? {
            return Ok(false);
        }
        wanted.extend(expr.column_refs().into_iter().cloned());
    }
    is_stable(input, &wanted)
}

fn subqueries_are_stable(expr: &Expr) -> DfResult<bool> {
    let mut stable = true;
    expr.walk(&mut |part| {
        let subquery = match part {
            Expr::Exists(exists) => &exists.subquery,
            Expr::InSubquery(contains) => &contains.subquery,
            Expr::ScalarSubquery(subquery) => subquery,
            _ => return Ok(TreeNodeRecursion::Continue),
        };
        stable &= is_wholly_stable(&subquery.subquery)?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(stable)
}

fn of_projection(projection: &Projection, wanted: &[Column]) -> DfResult<bool> {
    let at = positions(&projection.schema, wanted);
    let exprs: Vec<_> = at.into_iter().map(|at| projection.expr[at].clone()).collect();
    of_exprs(&exprs, &projection.input)
}

fn of_join(join: &Join, wanted: &[Column]) -> DfResult<bool> {
    let mut exprs: Vec<_> = wanted.iter().cloned().map(Expr::Column).collect();
    exprs.extend(join.on.iter().flat_map(|(a, b)| [a.clone(), b.clone()]));
    exprs.extend(join.filter.clone());
    let mut read = vec![];
    for expr in &exprs {
        if expr.is_volatile() || !subqueries_are_stable(expr)? {
            return Ok(false);
        }
        read.extend(expr.column_refs().into_iter().cloned());
    }
    let of_side = |side: &LogicalPlan| {
        let read: Vec<_> = read.iter().filter(|read| has(side.schema(), read)).cloned().collect();
        is_stable(side, &read)
    };
    Ok(of_side(&join.left)? && of_side(&join.right)?)
}

/// Whether an aggregate does not depend on the order in which rows come.
fn is_steady_aggregate(expr: &Expr, schema: &DFSchema) -> bool {
    let steady = |part: &Expr| match part {
        Expr::AggregateFunction(call) => is_steady(call.func.name(), &call.params.args, schema),
        _ => true,
    };
    !expr.any(&mut |part| Ok(!steady(part))).unwrap_or(true)
}

fn is_steady(function: &str, args: &[Expr], schema: &DFSchema) -> bool {
    let exact = |arg: &Expr| {
        let data_type = arg.get_type(schema);
        data_type.is_ok_and(|data_type| {
            data_type.is_integer()
                || matches!(data_type, DataType::Decimal128(..) | DataType::Decimal256(..))
        })
    };
    match function {
        "count" | "min" | "max" | "bool_and" | "bool_or" | "median" | "grouping" => true,
        "sum" => args.iter().all(exact),
        // an integer that was cast to a float is added exactly, up to 2^53
        "avg" => args.iter().all(|arg| match arg {
            Expr::Cast(cast) => exact(&cast.expr),
            arg => exact(arg),
        }),
        _ => false,
    }
}

fn of_window(window: &Window, wanted: &[Column]) -> DfResult<bool> {
    let inner = window.input.schema().fields().len();
    let mut exprs = vec![];
    for at in positions(&window.schema, wanted) {
        let Some(own) = at.checked_sub(inner) else {
            exprs.push(Expr::Column(window.input.schema().columns().swap_remove(at)));
            continue;
        };
        let expr = &window.window_expr[own];
        let steady = |part: &Expr| {
            let Expr::WindowFunction(call) = part else { return true };
            let rows = call.params.window_frame.units != WindowFrameUnits::Range;
            match &call.fun {
                WindowFunctionDefinition::WindowUDF(function) => {
                    matches!(function.name(), "rank" | "dense_rank" | "percent_rank" | "cume_dist")
                }
                WindowFunctionDefinition::AggregateUDF(function) => {
                    let whole = call.params.order_by.is_empty();
                    (whole || !rows)
                        && is_steady(function.name(), &call.params.args, window.input.schema())
                }
            }
        };
        if expr.any(&mut |part| Ok(!steady(part)))? {
            return Ok(false);
        }
        exprs.push(expr.clone());
    }
    of_exprs(&exprs, &window.input)
}
