//! Aggregates over rows that depend on outer rows: those of each value are groups of their own.
//!
//! Stage: part of `dependent.rs`. An aggregate without groups gives a row even over nothing, say a count of
//! 0, and groups by values do not. With the domain, that row is put back here; by equalities, whoever joins
//! to the outer rows puts it back ([`value_over_nothing`]).

use std::sync::Arc;

use datafusion::common::DFSchemaRef;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    Aggregate, Distinct, EmptyRelation, Expr, ExprSchemable, JoinType, LogicalPlan, when,
};
use datafusion::prelude::lit;
use datafusion::scalar::ScalarValue;

use super::{Carried, Dependent, Source};
use crate::Error;
use crate::rewrite::subqueries::shape::{beside_row, columns, extend, join, project, under};
use crate::walk::Walk;

/// Aggregates that are NULL over no rows.
const NULL_OVER_NOTHING: [&str; 12] = [
    "min",
    "max",
    "sum",
    "avg",
    "median",
    "stddev",
    "stddev_pop",
    "var",
    "var_pop",
    "first_value",
    "last_value",
    "array_agg",
];

impl Dependent<'_> {
    pub(super) fn aggregate(&mut self, node: Aggregate) -> DfResult<Option<Carried>> {
        if matches!(node.group_expr.as_slice(), [Expr::GroupingSet(_)]) {
            return Err(Error::unsupported(
                "GROUPING SETS, ROLLUP or CUBE in a subquery that reads outer rows; write a SELECT for \
                 each set, with UNION ALL",
            )
            .into());
        }
        let Some(input) = self.carry(Arc::unwrap_or_clone(node.input))? else { return Ok(None) };
        if input.lacks_empty {
            return Ok(None);
        }
        let whole = node.group_expr.is_empty();
        let Some(mut groups) = self.bound(node.group_expr, &input.columns)? else {
            return Ok(None);
        };
        let Some(aggregates) = self.bound(node.aggr_expr, &input.columns)? else {
            return Ok(None);
        };
        let own = groups.len();
        groups.extend(input.exprs());
        let carried = input.columns;
        let rows = Arc::new(input.plan);
        let plan = Aggregate::try_new(Arc::clone(&rows), groups, aggregates.clone())?;
        let plan = LogicalPlan::Aggregate(plan);
        let all = columns(plan.schema());
        let kept = all[..own].iter().chain(&all[own + carried.len()..]).cloned();
        let mut exprs: Vec<_> =
            kept.zip(node.schema.iter()).map(|(expr, field)| under(expr, field)).collect();
        exprs.extend(carried.iter().cloned().map(Expr::Column));
        let groups = Carried::of(project(plan, exprs)?, carried);
        if !whole {
            return Ok(Some(groups));
        }
        if matches!(self.source, Source::Equalities { .. }) {
            return Ok(Some(Carried { lacks_empty: true, ..groups }));
        }
        self.with_empty(groups, &node.schema, &rows, aggregates).map(Some)
    }

    /// `groups`, and for each other value the row that the aggregates give over nothing.
    fn with_empty(
        &mut self,
        groups: Carried,
        schema: &DFSchemaRef,
        rows: &LogicalPlan,
        aggregates: Vec<Expr>,
    ) -> DfResult<Carried> {
        let Some(domain) = self.domain()? else { return Ok(groups) };
        let present = self.names.fresh();
        let marked = extend(groups.plan, [lit(true).alias(&present.name)])?;
        let keys = domain.columns.iter().zip(&groups.columns);
        let keys = keys.map(|(a, b)| (Expr::Column(a.clone()), Expr::Column(b.clone()))).collect();
        let mut plan = join(domain.plan, marked, JoinType::Left, keys, true, None)?;
        let known = aggregates.iter().map(|expr| over_nothing(expr, rows));
        let instead = match known.collect::<DfResult<Option<Vec<_>>>>()? {
            Some(known) => known,
            None => {
                // some function of whose answer nothing is known: it is asked
                let nothing = LogicalPlan::EmptyRelation(EmptyRelation {
                    produce_one_row: false,
                    schema: Arc::clone(rows.schema()),
                });
                let asked = Aggregate::try_new(Arc::new(nothing), vec![], aggregates)?;
                let asked = LogicalPlan::Aggregate(asked);
                let names: Vec<_> = schema.fields().iter().map(|_| self.names.fresh()).collect();
                let named = columns(asked.schema()).into_iter().zip(&names);
                let named = named.map(|(expr, name)| expr.alias(&name.name)).collect();
                plan = beside_row(plan, project(asked, named)?)?;
                names.into_iter().map(Expr::Column).collect()
            }
        };
        let absent = Expr::Column(present).is_null();
        let mut exprs = vec![];
        for ((column, instead), field) in
            columns(schema).into_iter().zip(instead).zip(schema.iter())
        {
            exprs.push(under(when(absent.clone(), instead).otherwise(column)?, field));
        }
        exprs.extend(domain.columns.iter().cloned().map(Expr::Column));
        Ok(Carried::of(project(plan, exprs)?, domain.columns))
    }
}

/// What an aggregate gives over no rows, if that is known.
fn over_nothing(expr: &Expr, rows: &LogicalPlan) -> DfResult<Option<Expr>> {
    let call = match expr {
        Expr::Alias(alias) => return over_nothing(&alias.expr, rows),
        Expr::AggregateFunction(call) => call,
        _ => return Ok(None),
    };
    if call.func.name() == "count" {
        return Ok(Some(lit(0_i64)));
    }
    if !NULL_OVER_NOTHING.contains(&call.func.name()) {
        return Ok(None);
    }
    let null = ScalarValue::try_from(&expr.get_type(rows.schema())?)?;
    Ok(Some(Expr::Literal(null, None)))
}

/// The value of the first column where the aggregate without groups below has no rows; `None` if something
/// else than projections stands above it, or nothing is known of a function.
pub fn value_over_nothing(plan: &LogicalPlan) -> DfResult<Option<Expr>> {
    let column = Expr::Column(plan.schema().columns().swap_remove(0));
    in_nothing(column, plan)
}

/// `expr`, which is over the columns of `plan`.
fn in_nothing(expr: Expr, plan: &LogicalPlan) -> DfResult<Option<Expr>> {
    match plan {
        LogicalPlan::Projection(projection) => {
            let expr = in_place_of_columns(expr, plan, &projection.expr)?;
            in_nothing(expr, &projection.input)
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let expr = in_place_of_columns(expr, plan, &columns(alias.input.schema()))?;
            in_nothing(expr, &alias.input)
        }
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => in_nothing(expr, &sort.input),
        LogicalPlan::Distinct(Distinct::All(input)) => in_nothing(expr, input),
        LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty() => {
            let known = aggregate.aggr_expr.iter().map(|expr| over_nothing(expr, &aggregate.input));
            match known.collect::<DfResult<Option<Vec<_>>>>()? {
                Some(known) => in_place_of_columns(expr, plan, &known).map(Some),
                None => Ok(None),
            }
        }
        _ => Ok(None),
    }
}

/// `expr` with `values` in place of the columns of `plan`.
fn in_place_of_columns(expr: Expr, plan: &LogicalPlan, values: &[Expr]) -> DfResult<Expr> {
    let placed = expr.change_down(&mut |part| {
        let Expr::Column(column) = &part else { return Ok(Transformed::no(part)) };
        let value = values[plan.schema().index_of_column(column)?].clone().unalias();
        // what takes a column's place is over other columns, and not looked into
        Ok(Transformed::new(value, true, TreeNodeRecursion::Jump))
    });
    Ok(placed?.data)
}
