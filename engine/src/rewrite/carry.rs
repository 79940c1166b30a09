//! Carries a column that is added at an array's scan up to the node that asks for it.
//!
//! In: a plan, an expression over its columns, and how an array table comes to have its value as a
//! column. Out: the plan with one more column. It passes every node that keeps the identity of rows;
//! any other is refused, with the reason and the way out.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::datasource::provider_as_source;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::{
    Expr, LogicalPlan, Projection, SubqueryAlias, TableScan, TableScanBuilder,
};

use super::restate::restated;
use super::source::array_table;
use crate::Error;
use crate::catalog::ArrayTable;

/// What is added to an array table.
pub trait Added {
    /// Adds the column to the table, unless it is there; gives its number. `call` is the expression
    /// restated over the scan's columns.
    ///
    /// # Errors
    /// `Plan` for arguments that do not fit.
    fn to(&self, table: &mut ArrayTable, call: &Expr) -> DfResult<usize>;

    /// Whether it is a function of some column, so that one of constants alone is refused.
    fn reads_columns(&self) -> bool;

    /// What it is, for messages.
    fn what(&self) -> String;
}

/// Why columns of two arrays are refused.
pub const TWO_ARRAYS: &str = "it reads columns of more than one array, or of an outer query; join arrays \
                          of one shape on all their dimensions first";

/// Why expressions whose value differs each time are refused.
pub const DIFFERS: &str = "its argument differs from call to call; write the values first";

/// An error that says why a column cannot be had.
pub fn refused(added: &dyn Added, reason: &str) -> DataFusionError {
    Error::plan(format!("{} cannot be computed here: {reason}", added.what())).into()
}

/// The input that has all columns of an expression.
pub fn input_with<'a>(inputs: &'a mut [LogicalPlan], expr: &Expr) -> Option<&'a mut LogicalPlan> {
    let columns = expr.column_refs();
    inputs.iter_mut().find(|input| columns.iter().all(|column| input.schema().has_column(column)))
}

/// The plan with one more column, the value of `call`, and that column's name.
///
/// # Errors
/// `Plan` where rows lose their identity on the way, or the columns are of no array.
pub fn with_column(
    plan: &LogicalPlan,
    call: &Expr,
    added: &dyn Added,
) -> DfResult<(LogicalPlan, Column)> {
    match plan {
        LogicalPlan::TableScan(scan) => with_derived(scan, call, added),
        LogicalPlan::Projection(projection) => {
            let given = projection.expr.iter().map(|expr| expr.clone().unalias_nested().data);
            let given: Vec<Expr> = given.collect();
            let inner = restated(call.clone(), &projection.schema, &given)?;
            if added.reads_columns() && inner.column_refs().is_empty() {
                return Err(refused(added, "its argument is no column of an array"));
            }
            if inner.is_volatile() {
                return Err(refused(added, DIFFERS));
            }
            let (input, column) = with_column(&projection.input, &inner, added)?;
            let outputs = projection.schema.columns();
            let is_taken = |name: &str| outputs.iter().any(|output| output.name == name);
            let is_there = |(given, output): &(&Expr, &Column)| {
                let once = outputs.iter().filter(|other| other.name == output.name).count() == 1;
                once && **given == Expr::Column(column.clone())
            };
            if let Some((_, output)) = given.iter().zip(&outputs).find(is_there) {
                let plan = Projection::try_new(projection.expr.clone(), Arc::new(input))?;
                return Ok((LogicalPlan::Projection(plan), output.clone()));
            }
            let (added, column) = under_free_name(column, is_taken);
            let expressions = projection.expr.iter().cloned().chain([added]).collect();
            let plan = Projection::try_new(expressions, Arc::new(input))?;
            Ok((LogicalPlan::Projection(plan), column))
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let given: Vec<Expr> =
                alias.input.schema().columns().into_iter().map(Expr::Column).collect();
            let inner = restated(call.clone(), &alias.schema, &given)?;
            let (input, column) = with_column(&alias.input, &inner, added)?;
            // qualifiers that tell columns apart end here
            let (input, column) = renamed_where(input, column, |column, other| {
                column != other && column.name == other.name
            })?;
            let plan = SubqueryAlias::try_new(Arc::new(input), alias.alias.clone())?;
            let column = Column::new(Some(alias.alias.clone()), column.name);
            Ok((LogicalPlan::SubqueryAlias(plan), column))
        }
        LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Repartition(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Join(_) => through(plan, call, added),
        other => Err(refused(added, &obstacle(other))),
    }
}

/// A node that keeps the identity of rows: the column comes from one of its inputs.
fn through(plan: &LogicalPlan, call: &Expr, added: &dyn Added) -> DfResult<(LogicalPlan, Column)> {
    let columns = call.column_refs();
    let mut inputs: Vec<LogicalPlan> = plan.inputs().into_iter().cloned().collect();
    let holding = inputs
        .iter()
        .position(|input| columns.iter().all(|column| input.schema().has_column(column)));
    let Some(holding) = holding else {
        return Err(match plan {
            LogicalPlan::Window(_) => refused(
                added,
                "its argument is the result of a window function that is no function of a block; \
                 write it with COPY … TO 'file.h5' and read that",
            ),
            _ => refused(added, TWO_ARRAYS),
        });
    };
    let (mut with, mut column) = with_column(&inputs[holding], call, added)?;
    let others = inputs.iter().enumerate().filter(|(index, _)| *index != holding);
    let others: Vec<Column> = others.flat_map(|(_, input)| input.schema().columns()).collect();
    if others.iter().any(|other| is_ambiguous(&column, other)) {
        let taken = |name: &str| others.iter().any(|other| other.name == name);
        (with, column) = renamed(with, column, taken)?;
    }
    inputs[holding] = with;
    let plan = plan.with_new_exprs(plan.expressions(), inputs)?;
    if !plan.schema().has_column(&column) {
        let reason = "its array stands on the side of a semi or anti join that gives no columns";
        return Err(refused(added, reason));
    }
    Ok((plan, column))
}

/// Whether two columns of one node cannot be told apart.
fn is_ambiguous(one: &Column, other: &Column) -> bool {
    let (of_one, of_other) = (&one.relation, &other.relation);
    one.name == other.name && (of_one == of_other || of_one.is_none() || of_other.is_none())
}

/// A column under its own name, or under another where that is taken; and what it is called then.
fn under_free_name(column: Column, is_taken: impl Fn(&str) -> bool) -> (Expr, Column) {
    if !is_taken(&column.name) {
        return (Expr::Column(column.clone()), column);
    }
    let names = (2_u64..).map(|number| format!("{} ({number})", column.name));
    let name = names.into_iter().find(|name| !is_taken(name)).unwrap_or_default();
    (Expr::Column(column).alias(&name), Column::new_unqualified(name))
}

/// The plan in which a column has another name, which none of its columns has, and none for which
/// `is_taken`; and that name.
fn renamed(
    plan: LogicalPlan,
    column: Column,
    is_taken: impl Fn(&str) -> bool,
) -> DfResult<(LogicalPlan, Column)> {
    let columns = plan.schema().columns();
    let in_plan = |name: &str| columns.iter().any(|other| other.name == name);
    let (renamed, name) = under_free_name(column.clone(), |name| in_plan(name) || is_taken(name));
    let expressions = columns.iter().map(|other| match *other == column {
        true => renamed.clone(),
        false => Expr::Column(other.clone()),
    });
    let plan = Projection::try_new(expressions.collect(), Arc::new(plan))?;
    Ok((LogicalPlan::Projection(plan), name))
}

/// The plan with its column renamed if `clashes` with another of its columns.
fn renamed_where(
    plan: LogicalPlan,
    column: Column,
    clashes: impl Fn(&Column, &Column) -> bool,
) -> DfResult<(LogicalPlan, Column)> {
    match plan.schema().columns().iter().any(|other| clashes(&column, other)) {
        true => renamed(plan, column, |_| false),
        false => Ok((plan, column)),
    }
}

/// Why rows that a node gives are no elements of an array, and the way out.
pub fn obstacle(plan: &LogicalPlan) -> String {
    let what = match plan {
        LogicalPlan::Aggregate(_) => "grouped rows are no elements of an array any more",
        LogicalPlan::Distinct(_) => "rows without their repetitions are no array any more",
        LogicalPlan::Union(_) => "rows of a UNION are no array; use concat or stack",
        LogicalPlan::RecursiveQuery(_) => "rows of a recursive query are no array",
        LogicalPlan::Unnest(_) => "unnested rows are no elements of an array any more",
        LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => "VALUES are no array",
        _ => "its argument comes from what is no array",
    };
    format!(
        "{what}; apply the function to the array first, or write the rows with COPY … TO 'file.h5' \
         and read that"
    )
}

/// The scan of an array table with one more column.
fn with_derived(
    scan: &TableScan,
    call: &Expr,
    added: &dyn Added,
) -> DfResult<(LogicalPlan, Column)> {
    let Some(mut table) = array_table(scan) else {
        return Err(refused(
            added,
            &format!("{} is a table of rows, not an array", scan.table_name),
        ));
    };
    let index = added.to(&mut table, call)?;
    let name = table.column_name(index).to_string();
    let projection = scan.projection.clone().map(|mut columns| {
        if !columns.contains(&index) {
            columns.push(index);
        }
        columns
    });
    let plan = TableScanBuilder::new(scan.table_name.clone(), provider_as_source(Arc::new(table)))
        .with_projection(projection)
        .with_filters(scan.filters.clone())
        .with_fetch(scan.fetch)
        .build()?;
    Ok((LogicalPlan::TableScan(plan), Column::new(Some(scan.table_name.clone()), name)))
}
