//! What a subquery stands for becomes a column of joined rows, or an expression over such columns.
//!
//! Stage: part of `rewrite/subqueries.rs`. In: rows of a query, and a subquery that an expression over them
//! holds. Out: the same rows with more columns, and an expression over these. Answers have SQL's three
//! values: `x IN (…)` is true if there is an equal value, else NULL if `x` is NULL and there is any value,
//! or if there is a NULL among them, else false; ANY and ALL by the smallest and the largest value.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema, DFSchemaRef};
use datafusion::error::Result as DfResult;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr::expr::{SetComparison, SetQuantifier};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Distinct, Expr, ExprSchemable, FetchType, JoinType, Limit, LogicalPlan, Operator, SkipType,
    binary_expr, not, when,
};
use datafusion::prelude::lit;
use datafusion::scalar::ScalarValue;

use super::dependent::{Carried, Dependent, Source, value_over_nothing};
use super::domain::{every_value, refuse_work_tables};
use super::one_row::one_row;
use super::scope::read_of;
use super::shape::{Names, aggregate, beside_row, columns, extend, filter, join, project, under};
use crate::Error;
use crate::exec::reduce::extreme_function;

/// Rows, and what has been joined to them.
#[derive(Debug)]
pub struct Rows<'a> {
    /// The rows with all columns so far.
    pub plan: LogicalPlan,
    /// The rows as they were, whose columns subqueries read.
    origin: LogicalPlan,
    /// Names for columns.
    pub names: &'a mut Names,
}

/// A subquery's rows, to be joined.
struct Unnested {
    /// The columns of the subquery, and carried ones.
    plan: LogicalPlan,
    /// Expressions over the outer row, and the carried columns that equal them.
    keys: Vec<(Expr, Expr)>,
    /// Whether NULL is to equal NULL.
    null_safe: bool,
    /// What must hold of the outer row, or the subquery has no rows.
    conditions: Vec<Expr>,
    /// The value that it has for outer rows whose values are not carried.
    otherwise: Option<Expr>,
}

impl Unnested {
    fn carried(&self) -> Vec<Expr> {
        self.keys.iter().map(|(_, carried)| carried.clone()).collect()
    }

    /// `value`, or `empty` for outer rows of which a condition does not hold.
    fn if_any(&self, value: Expr, empty: Expr) -> DfResult<Expr> {
        let conditions = self.conditions.iter().cloned();
        match conditions.reduce(Expr::and) {
            None => Ok(value),
            Some(condition) => when(condition, value).otherwise(empty),
        }
    }
}

impl<'a> Rows<'a> {
    /// Rows to which nothing is joined yet.
    pub fn of(plan: LogicalPlan, names: &'a mut Names) -> Self {
        Self { origin: plan.clone(), plan, names }
    }

    /// The columns that subqueries may read.
    pub fn schema(&self) -> &DFSchemaRef {
        self.origin.schema()
    }

    /// A column of the rows that has the value of `expr`, computed once.
    pub fn column_of(&mut self, expr: Expr) -> DfResult<Expr> {
        if matches!(expr, Expr::Column(_) | Expr::Literal(..)) {
            return Ok(expr);
        }
        let name = self.names.fresh();
        self.extend_by(vec![expr.alias(&name.name)])?;
        Ok(Expr::Column(name))
    }

    fn extend_by(&mut self, more: Vec<Expr>) -> DfResult<()> {
        let plan = std::mem::take(&mut self.plan);
        self.plan = extend(plan, more)?;
        Ok(())
    }

    /// `EXISTS (subquery)`.
    pub fn exists(&mut self, subquery: LogicalPlan) -> DfResult<Expr> {
        let subquery = match subquery {
            LogicalPlan::Limit(limit) if keeps_one(&limit)? => Arc::unwrap_or_clone(limit.input),
            other => other,
        };
        let rows = self.unnest(subquery, false)?;
        let mark = self.names.fresh();
        let found = if rows.keys.is_empty() {
            let first = LogicalPlan::Limit(Limit {
                skip: None,
                fetch: Some(Box::new(lit(1_i64))),
                input: Arc::new(rows.plan.clone()),
            });
            let row =
                aggregate(first, vec![], vec![number_of_rows()], std::slice::from_ref(&mark))?;
            self.beside(row)?;
            Expr::Column(mark).gt(lit(0_i64))
        } else {
            let found = project(rows.plan.clone(), rows.carried())?;
            let found = LogicalPlan::Distinct(Distinct::All(Arc::new(found)));
            let found = extend(found, [lit(true).alias(&mark.name)])?;
            self.left_join(found, rows.keys.clone(), rows.null_safe)?;
            Expr::Column(mark).is_not_null()
        };
        rows.if_any(found, lit(false))
    }

    /// `value IN (subquery)`; if `is_condition`, NULL may be false instead.
    pub fn contains(
        &mut self,
        value: Expr,
        subquery: LogicalPlan,
        is_condition: bool,
    ) -> DfResult<Expr> {
        let value = self.column_of(value)?;
        let among = first_column(&subquery);
        let nullable = value.nullable(self.plan.schema())? || among.nullable(subquery.schema())?;
        let needs_facts = nullable && !is_condition;
        if needs_facts {
            refuse_work_tables(&subquery)?;
        }
        let rows = self.unnest(subquery, false)?;
        let facts = needs_facts.then(|| self.facts(&rows, vec![])).transpose()?;
        let (mark, same) = (self.names.fresh(), self.names.fresh());
        let mut groups = rows.carried();
        let carried = groups.len();
        groups.push(among.clone());
        let mut names: Vec<_> = groups[..carried].iter().map(|_| self.names.fresh()).collect();
        names.push(same);
        let present = filter(rows.plan.clone(), among.is_not_null())?;
        let present = aggregate(present, groups, vec![], &names)?;
        let present = extend(present, [lit(true).alias(&mark.name)])?;
        let outer = rows.keys.iter().map(|(outer, _)| outer.clone()).chain([value.clone()]);
        let keys = outer.zip(names.into_iter().map(Expr::Column)).collect();
        // no NULL is among what is compared with the value, so that it equals none
        self.left_join(present, keys, rows.null_safe)?;
        let found = Expr::Column(mark).is_not_null();
        let answer = match facts {
            None => found,
            Some(facts) => when(found, lit(true))
                .when(facts.is_empty(), lit(false))
                .when(value.is_null().or(facts.has_null()), lit(ScalarValue::Boolean(None)))
                .otherwise(lit(false))?,
        };
        rows.if_any(answer, lit(false))
    }

    /// `value op ANY (subquery)` or `value op ALL (subquery)`.
    pub fn compared(
        &mut self,
        value: Expr,
        subquery: LogicalPlan,
        comparison: &SetComparison,
        is_condition: bool,
    ) -> DfResult<Expr> {
        use Operator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
        let (op, any) = (comparison.op, comparison.quantifier == SetQuantifier::Any);
        match (op, any) {
            (Eq, true) => return self.contains(value, subquery, is_condition),
            (NotEq, false) => return Ok(not(self.contains(value, subquery, false)?)),
            (Eq | NotEq | Lt | LtEq | Gt | GtEq, _) => {}
            _ => {
                return Err(Error::unsupported(format!(
                    "{op} with ANY or ALL of a subquery; compare with =, <>, <, <=, > or >=, or use EXISTS"
                ))
                .into());
            }
        }
        let value = self.column_of(value)?;
        let among = first_column(&subquery);
        refuse_unordered(&among.get_type(subquery.schema())?)?;
        let rows = self.unnest(subquery, false)?;
        let facts = self.facts(&rows, vec![extreme(false, &among), extreme(true, &among)])?;
        let [smallest, largest] = facts.more.as_slice() else {
            return Err(Error::bug("two extremes have two columns").into());
        };
        let (smallest, largest) = (smallest.clone(), largest.clone());
        let than = |extreme: Expr| binary_expr(value.clone(), op, extreme);
        let decides = match (op, any) {
            (Lt | LtEq, true) => than(largest),
            (Gt | GtEq, true) => than(smallest),
            (Lt | LtEq, false) => not(than(smallest)),
            (Gt | GtEq, false) => not(than(largest)),
            (_, true) => than(smallest).or(than(largest)),
            (_, false) => not(than(smallest)).or(not(than(largest))),
        };
        let answer = when(facts.is_empty(), lit(!any))
            .when(decides, lit(any))
            .when(value.clone().is_null().or(facts.has_null()), lit(ScalarValue::Boolean(None)))
            .otherwise(lit(!any))?;
        rows.if_any(answer, lit(!any))
    }

    /// `(subquery)`, the one value of its one row, or NULL.
    pub fn scalar(&mut self, subquery: LogicalPlan) -> DfResult<Expr> {
        let single = has_one_row_at_most(&subquery);
        let value = first_column(&subquery);
        let null = ScalarValue::try_from(&value.get_type(subquery.schema())?)?;
        let null = Expr::Literal(null, None);
        let rows = self.unnest(subquery, true)?;
        let name = self.names.fresh();
        let mut exprs = rows.carried();
        let mut names: Vec<_> = exprs.iter().map(|_| self.names.fresh()).collect();
        let keys = rows.keys.iter().zip(&names);
        let keys = keys.map(|((outer, _), name)| (outer.clone(), Expr::Column(name.clone())));
        let keys: Vec<_> = keys.collect();
        let present = self.names.fresh();
        let answer = if single {
            exprs.extend([value, lit(true)]);
            names.extend([name.clone(), present.clone()]);
            let named = exprs.into_iter().zip(&names);
            let named = named.map(|(expr, name)| expr.alias(&name.name)).collect();
            self.left_join(project(rows.plan.clone(), named)?, keys, rows.null_safe)?;
            Expr::Column(name)
        } else {
            let first = first_value_udaf().call(vec![value]);
            names.extend([name.clone(), present.clone()]);
            let right = aggregate(rows.plan.clone(), exprs, vec![first, number_of_rows()], &names)?;
            self.left_join(right, keys, rows.null_safe)?;
            one_row().call(vec![Expr::Column(name), Expr::Column(present.clone())])
        };
        match rows.otherwise.clone() {
            None => rows.if_any(answer, null),
            Some(empty) => {
                let absent = Expr::Column(present).is_null();
                let answer = when(absent, empty.clone()).otherwise(answer)?;
                rows.if_any(answer, empty)
            }
        }
    }

    /// The value of a subquery that reads no outer row, or an error if it has several rows.
    pub fn checked(&mut self, subquery: LogicalPlan) -> DfResult<LogicalPlan> {
        let value = first_column(&subquery);
        let schema = Arc::clone(subquery.schema());
        let first = first_value_udaf().call(vec![value]);
        let names = [self.names.fresh(), self.names.fresh()];
        let row = aggregate(subquery, vec![], vec![first, number_of_rows()], &names)?;
        let value = one_row().call(names.into_iter().map(Expr::Column).collect());
        let fields = schema.iter().take(1).map(|field| under(value.clone(), field));
        project(row, fields.collect())
    }

    /// The rows joined to those of a lateral subquery, which has the columns of `schema` afterwards.
    pub fn lateral(
        mut self,
        subquery: LogicalPlan,
        schema: &DFSchema,
        join_type: JoinType,
        condition: Option<Expr>,
    ) -> DfResult<LogicalPlan> {
        let rows = self.unnest(subquery, false)?;
        let mut exprs = columns(rows.plan.schema());
        for (expr, field) in exprs.iter_mut().zip(schema.iter()) {
            *expr = under(std::mem::take(expr), field);
        }
        let right = project(rows.plan, exprs)?;
        let condition = conjunction(rows.conditions.into_iter().chain(condition));
        join(self.plan, right, join_type, rows.keys, rows.null_safe, condition)
    }

    fn left_join(
        &mut self,
        right: LogicalPlan,
        keys: Vec<(Expr, Expr)>,
        null_safe: bool,
    ) -> DfResult<()> {
        let left = std::mem::take(&mut self.plan);
        self.plan = join(left, right, JoinType::Left, keys, null_safe, None)?;
        Ok(())
    }

    fn beside(&mut self, row: LogicalPlan) -> DfResult<()> {
        let plan = std::mem::take(&mut self.plan);
        self.plan = beside_row(plan, row)?;
        Ok(())
    }

    /// How many rows and values a subquery has for each outer row, and more aggregates.
    fn facts(&mut self, rows: &Unnested, more: Vec<Expr>) -> DfResult<Facts> {
        let values = count_udaf().call(vec![first_column(&rows.plan)]);
        let aggregates: Vec<_> = [number_of_rows(), values].into_iter().chain(more).collect();
        let groups = rows.carried();
        let count = groups.len();
        let names: Vec<_> = groups.iter().chain(&aggregates).map(|_| self.names.fresh()).collect();
        let facts = aggregate(rows.plan.clone(), groups, aggregates, &names)?;
        if count == 0 {
            self.beside(facts)?;
        } else {
            let outer = rows.keys.iter().map(|(outer, _)| outer.clone());
            let keys = outer.zip(names[..count].iter().cloned().map(Expr::Column)).collect();
            self.left_join(facts, keys, rows.null_safe)?;
        }
        let mut columns = names[count..].iter().cloned().map(Expr::Column);
        let (Some(rows), Some(values)) = (columns.next(), columns.next()) else {
            return Err(Error::bug("an aggregate has fewer columns than expressions").into());
        };
        Ok(Facts { rows, values, more: columns.collect() })
    }

    /// The rows of a subquery beside what they depend on.
    fn unnest(&mut self, subquery: LogicalPlan, is_scalar: bool) -> DfResult<Unnested> {
        let schema = Arc::clone(self.origin.schema());
        let wanted = read_of(&subquery, &schema)?;
        if wanted.is_empty() {
            return Ok(Unnested {
                plan: subquery,
                keys: vec![],
                null_safe: false,
                conditions: vec![],
                otherwise: None,
            });
        }
        let source = Source::Equalities { keys: vec![], conditions: vec![] };
        let mut dependent = Dependent { outer: schema, source, names: &mut *self.names };
        let carried = dependent.carry(subquery.clone())?;
        if let (Some(carried), Source::Equalities { keys, conditions }) =
            (carried, dependent.source)
        {
            let otherwise = match carried.lacks_empty {
                true if is_scalar => value_over_nothing(&subquery)?,
                _ => None,
            };
            if carried.lacks_empty == otherwise.is_some() {
                let keys = in_order(keys, &carried.columns)?;
                let plan = carried.plan;
                return Ok(Unnested { plan, keys, null_safe: false, conditions, otherwise });
            }
        }
        self.by_domain(subquery, &wanted)
    }

    fn by_domain(&mut self, subquery: LogicalPlan, wanted: &[Column]) -> DfResult<Unnested> {
        let rows = Box::new(every_value(&self.origin, wanted)?);
        let source = Source::Domain { outer: wanted.to_vec(), rows };
        let outer = Arc::clone(self.origin.schema());
        let mut dependent = Dependent { outer, source, names: &mut *self.names };
        let carried = dependent.carry(subquery)?;
        let Carried { plan, columns, .. } =
            carried.ok_or_else(|| Error::bug("a domain is not carried"))?;
        let outer = wanted.iter().cloned().map(Expr::Column);
        let keys = outer.zip(columns.into_iter().map(Expr::Column)).collect();
        Ok(Unnested { plan, keys, null_safe: true, conditions: vec![], otherwise: None })
    }
}

/// What is known of the rows of a subquery.
struct Facts {
    rows: Expr,
    values: Expr,
    more: Vec<Expr>,
}

impl Facts {
    fn is_empty(&self) -> Expr {
        self.rows.clone().is_null().or(self.rows.clone().eq(lit(0_i64)))
    }

    fn has_null(&self) -> Expr {
        self.rows.clone().gt(self.values.clone())
    }
}

/// The keys of the carried columns, in their order.
fn in_order(keys: Vec<(Expr, Column)>, carried: &[Column]) -> DfResult<Vec<(Expr, Expr)>> {
    let found = carried.iter().map(|column| {
        let key = keys.iter().find(|(_, name)| name == column);
        let (outer, _) = key.ok_or_else(|| Error::bug("a carried column without its key"))?;
        Ok((outer.clone(), Expr::Column(column.clone())))
    });
    found.collect()
}

fn first_column(plan: &LogicalPlan) -> Expr {
    Expr::Column(Column::from(plan.schema().qualified_field(0)))
}

fn number_of_rows() -> Expr {
    count_udaf().call(vec![lit(1_i64)])
}

fn extreme(maximum: bool, of: &Expr) -> Expr {
    extreme_function(maximum).call(vec![of.clone()])
}

fn refuse_unordered(data_type: &DataType) -> DfResult<()> {
    if data_type.is_nested() {
        return Err(Error::unsupported(format!(
            "ANY or ALL over values of type {data_type}; compare their parts, or use EXISTS"
        ))
        .into());
    }
    Ok(())
}

/// Whether LIMIT leaves rows where there are any.
fn keeps_one(limit: &Limit) -> DfResult<bool> {
    Ok(matches!(limit.get_skip_type()?, SkipType::Literal(0))
        && matches!(limit.get_fetch_type()?, FetchType::Literal(fetch) if fetch != Some(0)))
}

/// A plan of one row at most whose value may be NULL, as it is without a row. DataFusion takes it for as
/// nullable as the column, which may be less once the plan below is simpler.
pub fn nullable(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    if has_one_row(&plan) || is_checked(&plan) {
        return Ok(plan);
    }
    let schema = Arc::clone(plan.schema());
    let value = one_row().call(vec![first_column(&plan), lit(1_i64)]);
    project(plan, schema.iter().take(1).map(|field| under(value.clone(), field)).collect())
}

/// Whether the value of a plan is that of [`one_row`] already.
fn is_checked(plan: &LogicalPlan) -> bool {
    let LogicalPlan::Projection(projection) = plan else { return false };
    let [expr] = projection.expr.as_slice() else { return false };
    match expr.clone().unalias() {
        Expr::ScalarFunction(call) => call.func.name() == one_row().name(),
        _ => false,
    }
}

/// Whether a plan has one row, whatever its tables hold.
fn has_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => has_one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => has_one_row(&alias.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(empty) => empty.produce_one_row,
        _ => false,
    }
}

/// Whether a plan has one row at most, whatever its tables hold.
pub fn has_one_row_at_most(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => has_one_row_at_most(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => has_one_row_at_most(&alias.input),
        LogicalPlan::Filter(filter) => has_one_row_at_most(&filter.input),
        LogicalPlan::Sort(sort) => {
            sort.fetch.is_some_and(|fetch| fetch <= 1) || has_one_row_at_most(&sort.input)
        }
        LogicalPlan::Distinct(distinct) => has_one_row_at_most(distinct.input()),
        LogicalPlan::Limit(limit) => {
            let fetch = limit.get_fetch_type();
            matches!(fetch, Ok(FetchType::Literal(Some(0 | 1))))
                || has_one_row_at_most(&limit.input)
        }
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(_) => true,
        LogicalPlan::Values(values) => values.values.len() <= 1,
        _ => false,
    }
}
