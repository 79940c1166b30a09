//! A plan that reads outer rows becomes one that gives, for each of their values, its rows beside them.
//!
//! Stage: part of `rewrite/subqueries.rs`. In: the plan of a subquery. Out: its columns, and the *carried*
//! ones, by which its rows are joined to the outer rows; no outer column of that query is read any more.
//! This is the method of Neumann and Kemper, "Unnesting Arbitrary Queries" (2015): what the plan depends on
//! goes down to where it is read, and on the way up each operator treats the rows of each value apart.
//! Carried columns are of one of two kinds. With [`Source::Equalities`] they are expressions of the
//! subquery that its conditions call equal to an outer one: nothing of the outer query is read. That goes
//! for conditions only, and if nothing above them needs to know the outer rows. Else, with
//! [`Source::Domain`], they are the distinct values of the outer columns, joined to the leaves.
//! Not here: what subqueries stand for (`values.rs`).

use std::sync::Arc;

use datafusion::common::{Column, DFSchema, DFSchemaRef};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    Distinct, EmptyRelation, Expr, JoinType, LogicalPlan, Projection, SortExpr, Union, Unnest,
    Values, Window,
};

use super::scope::{bind, has, outer_columns, read_of};
use super::shape::{Names, columns, join, only, project, under};
use crate::Error;

mod aggregates;
mod conditions;
mod joins;
mod ranks;

pub use aggregates::value_over_nothing;

/// Where carried columns come from.
#[derive(Debug)]
pub enum Source {
    /// From conditions that call an expression of the subquery equal to one of the outer row: pairs of
    /// them, and conditions on the outer row alone.
    Equalities {
        /// The expression over the outer row, and the carried column that equals it.
        keys: Vec<(Expr, Column)>,
        /// What must hold of the outer row, or the subquery has no rows.
        conditions: Vec<Expr>,
    },
    /// From the distinct values of columns of the outer query.
    Domain {
        /// The columns.
        outer: Vec<Column>,
        /// What gives them, perhaps with more values than the outer rows have.
        rows: Box<LogicalPlan>,
    },
}

/// A plan whose columns are those that it had, and then the carried ones.
#[derive(Debug)]
pub struct Carried {
    /// The plan.
    pub plan: LogicalPlan,
    /// The carried columns.
    pub columns: Vec<Column>,
    /// Whether a row is absent that an aggregate without groups gives over no rows.
    pub lacks_empty: bool,
}

impl Carried {
    fn of(plan: LogicalPlan, columns: Vec<Column>) -> Self {
        Self { plan, columns, lacks_empty: false }
    }

    fn exprs(&self) -> Vec<Expr> {
        self.columns.iter().cloned().map(Expr::Column).collect()
    }
}

/// What goes down a plan.
#[derive(Debug)]
pub struct Dependent<'a> {
    /// The columns of the query that the subquery stands in.
    pub outer: DFSchemaRef,
    /// Where carried columns come from.
    pub source: Source,
    /// Names for them.
    pub names: &'a mut Names,
}

impl Dependent<'_> {
    /// `None` if it does not go by equalities.
    ///
    /// # Errors
    /// `Unsupported` for operators that cannot treat the rows of each value apart.
    pub fn carry(&mut self, plan: LogicalPlan) -> DfResult<Option<Carried>> {
        if !self.depends(&plan)? {
            return Ok(Some(self.independent(plan)?));
        }
        let schema = Arc::clone(plan.schema());
        match plan {
            LogicalPlan::Projection(projection) => self.projection(projection),
            LogicalPlan::Filter(filter) => self.filter(filter),
            LogicalPlan::SubqueryAlias(alias) => {
                let Some(input) = self.carry(Arc::unwrap_or_clone(alias.input))? else {
                    return Ok(None);
                };
                Self::aliased(input, &schema).map(Some)
            }
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let input = self.carry(Arc::unwrap_or_clone(input))?;
                Ok(input.map(|input| Carried {
                    plan: LogicalPlan::Distinct(Distinct::All(Arc::new(input.plan))),
                    ..input
                }))
            }
            LogicalPlan::Distinct(Distinct::On(distinct)) => self.distinct_on(distinct),
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => {
                // an order means nothing until rows are cut off, which `ranks` sees to
                self.carry(Arc::unwrap_or_clone(sort.input))
            }
            LogicalPlan::Sort(sort) => {
                let fetch = sort.fetch;
                self.cut(LogicalPlan::Sort(sort), 0, fetch, &schema)
            }
            LogicalPlan::Limit(limit) => self.limit(limit, &schema),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::Window(window) => self.window(window),
            LogicalPlan::Unnest(unnest) => self.unnest(unnest),
            LogicalPlan::Values(values) => self.rows_of(values),
            LogicalPlan::Repartition(repartition) => {
                self.carry(Arc::unwrap_or_clone(repartition.input))
            }
            other => Err(Error::unsupported(format!(
                "a subquery that reads outer rows below {}; compute it without them in FROM (SELECT …), \
                 and join",
                other.display()
            ))
            .into()),
        }
    }

    /// Whether a plan reads columns of the outer query.
    fn depends(&self, plan: &LogicalPlan) -> DfResult<bool> {
        Ok(!read_of(plan, &self.outer)?.is_empty())
    }

    /// Whether an expression does.
    fn reads_outer(&self, expr: &Expr) -> bool {
        outer_columns(expr).iter().any(|column| has(&self.outer, column))
    }

    /// `exprs` with carried columns in place of outer ones; `None` if that takes their domain.
    fn bound(&self, exprs: Vec<Expr>, to: &[Column]) -> DfResult<Option<Vec<Expr>>> {
        match &self.source {
            Source::Equalities { .. } => {
                Ok(Some(exprs).filter(|exprs| !exprs.iter().any(|expr| self.reads_outer(expr))))
            }
            Source::Domain { outer, .. } => exprs
                .into_iter()
                .map(|expr| bind(expr, outer, to))
                .collect::<DfResult<_>>()
                .map(Some),
        }
    }

    fn bound_sorts(&self, sorts: &[SortExpr], to: &[Column]) -> DfResult<Option<Vec<SortExpr>>> {
        let exprs = sorts.iter().map(|sort| sort.expr.clone()).collect();
        let exprs = self.bound(exprs, to)?;
        let with = |exprs: Vec<Expr>| {
            sorts.iter().zip(exprs).map(|(sort, expr)| sort.with_expr(expr)).collect()
        };
        Ok(exprs.map(with))
    }

    /// A plan that reads no outer row: the same for each of their values.
    fn independent(&mut self, plan: LogicalPlan) -> DfResult<Carried> {
        let Some(domain) = self.domain()? else { return Ok(Carried::of(plan, vec![])) };
        if let LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: true, schema }) = &plan
            && schema.fields().is_empty()
        {
            return Ok(domain);
        }
        let schema = Arc::clone(plan.schema());
        let plan = join(domain.plan, plan, JoinType::Inner, vec![], false, None)?;
        Ok(Carried::of(only(plan, &schema, &domain.columns)?, domain.columns))
    }

    /// The distinct values of the outer columns, under new names.
    fn domain(&mut self) -> DfResult<Option<Carried>> {
        let Source::Domain { outer, rows } = &self.source else { return Ok(None) };
        let names: Vec<_> = outer.iter().map(|_| self.names.fresh()).collect();
        let named = outer.iter().zip(&names);
        let named = named.map(|(column, name)| Expr::Column(column.clone()).alias(&name.name));
        let values = project(rows.as_ref().clone(), named.collect())?;
        let distinct = LogicalPlan::Distinct(Distinct::All(Arc::new(values)));
        Ok(Some(Carried::of(distinct, names)))
    }

    /// The same rows under the names of `schema`.
    fn aliased(input: Carried, schema: &DFSchemaRef) -> DfResult<Carried> {
        let mut exprs = columns(input.plan.schema());
        for (expr, field) in exprs.iter_mut().zip(schema.iter()) {
            *expr = under(std::mem::take(expr), field);
        }
        Ok(Carried { plan: project(input.plan, exprs)?, ..input })
    }

    fn projection(&mut self, projection: Projection) -> DfResult<Option<Carried>> {
        let Some(input) = self.carry(Arc::unwrap_or_clone(projection.input))? else {
            return Ok(None);
        };
        let Some(exprs) = self.bound(projection.expr, &input.columns)? else { return Ok(None) };
        let named = exprs.into_iter().zip(projection.schema.iter());
        let mut named: Vec<_> = named.map(|(expr, field)| under(expr, field)).collect();
        named.extend(input.exprs());
        Ok(Some(Carried { plan: project(input.plan, named)?, ..input }))
    }

    fn union(&mut self, union: Union) -> DfResult<Option<Carried>> {
        if matches!(self.source, Source::Equalities { .. }) {
            return Ok(None);
        }
        let mut inputs = vec![];
        let mut carried = vec![];
        for input in union.inputs {
            let Some(input) = self.carry(Arc::unwrap_or_clone(input))? else { return Ok(None) };
            if carried.is_empty() {
                carried.clone_from(&input.columns);
            }
            let mut exprs = columns(input.plan.schema());
            let count = exprs.len() - carried.len();
            for (expr, column) in exprs[count..].iter_mut().zip(&carried) {
                *expr = std::mem::take(expr).alias(&column.name);
            }
            for (expr, (_, field)) in exprs[..count].iter_mut().zip(union.schema.iter()) {
                *expr = std::mem::take(expr).alias(field.name());
            }
            inputs.push(Arc::new(project(input.plan, exprs)?));
        }
        let plan = LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?);
        let plan = Self::aliased(Carried::of(plan, carried), &union.schema)?;
        Ok(Some(plan))
    }

    fn window(&mut self, window: Window) -> DfResult<Option<Carried>> {
        let inner = Arc::clone(window.input.schema());
        let Some(input) = self.carry(Arc::unwrap_or_clone(window.input))? else { return Ok(None) };
        if input.lacks_empty {
            return Ok(None);
        }
        let Some(exprs) = self.bound(window.window_expr, &input.columns)? else { return Ok(None) };
        let partitioned = exprs.into_iter().map(|expr| ranks::partitioned(expr, &input.exprs()));
        let partitioned = partitioned.collect::<DfResult<Vec<_>>>()?;
        let carried = input.columns;
        let count = inner.fields().len() + carried.len();
        let plan = LogicalPlan::Window(Window::try_new(partitioned, Arc::new(input.plan))?);
        let all = columns(plan.schema());
        let own = all[..inner.fields().len()].iter().chain(&all[count..]).cloned();
        let mut exprs: Vec<_> =
            own.zip(window.schema.iter()).map(|(expr, field)| under(expr, field)).collect();
        exprs.extend(carried.iter().cloned().map(Expr::Column));
        Ok(Some(Carried::of(project(plan, exprs)?, carried)))
    }

    fn unnest(&mut self, unnest: Unnest) -> DfResult<Option<Carried>> {
        let schema = Arc::clone(&unnest.schema);
        let Some(input) = self.carry(Arc::unwrap_or_clone(unnest.input))? else { return Ok(None) };
        if input.lacks_empty {
            return Ok(None);
        }
        let plan = Unnest::try_new(Arc::new(input.plan), unnest.exec_columns, unnest.options)?;
        let plan = only(LogicalPlan::Unnest(plan), &schema, &input.columns)?;
        Ok(Some(Carried::of(plan, input.columns)))
    }

    /// VALUES that hold outer columns: each row is one for each of their values.
    fn rows_of(&mut self, values: Values) -> DfResult<Option<Carried>> {
        let schema = Arc::clone(&values.schema);
        let mut inputs = vec![];
        for row in values.values {
            let one_row = LogicalPlan::EmptyRelation(EmptyRelation {
                produce_one_row: true,
                schema: Arc::new(DFSchema::empty()),
            });
            let row = row.into_iter().zip(schema.iter()).map(|(expr, field)| under(expr, field));
            inputs.push(Arc::new(project(one_row, row.collect())?));
        }
        self.union(Union { inputs, schema })
    }
}

/// A plan with the columns of `schema` first, and then the carried ones.
fn restored(plan: LogicalPlan, schema: &DFSchemaRef, carried: Vec<Column>) -> DfResult<Carried> {
    Ok(Carried::of(only(plan, schema, &carried)?, carried))
}
