//! Refuses a function with something for each axis where the axes are seen in another order.
//!
//! In: a call of an array function over the columns of a plan. `gaussian_filter(value, [2, 1])` means the
//! axes as the array has them; above `SELECT x AS y, y AS x, value` the reader sees them exchanged, and
//! the array is still the same. Out: an error where that matters. Not here: which column the call
//! becomes ([`super::lowering`]).

use datafusion::common::Column;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, TableScan};

use super::carry::{Added, refused};
use super::marker::definition_of;
use super::source::array_table;
use crate::array::LAMBDA;

/// The parameter that is the number of an axis.
const AXIS: &str = "axis";

/// Refuses `call` if it depends on the order of axes, and `plan` gives them in another.
///
/// # Errors
/// `Plan`, with the two orders.
pub fn check(plan: &LogicalPlan, call: &Expr, added: &dyn Added) -> DfResult<()> {
    if !depends_on_order(call) {
        return Ok(());
    }
    let columns = call.column_refs();
    let Some(scan) = columns.into_iter().find_map(|column| source_of(plan, column)) else {
        return Ok(());
    };
    let Some(table) = array_table(scan) else { return Ok(()) };
    let dims = table.dims();
    let mut seen: Vec<(usize, String)> = vec![];
    for column in plan.schema().columns() {
        let Some((from, stored)) = same_column(plan, &column) else { continue };
        let axis = dims.iter().position(|dim| *dim == stored.name);
        let axis = axis.filter(|_| std::ptr::eq(from, scan));
        if let Some(axis) = axis.filter(|axis| seen.iter().all(|(known, _)| known != axis)) {
            seen.push((axis, column.name));
        }
    }
    let in_order = seen.is_sorted_by_key(|(axis, _)| *axis);
    let exchanged = |(axis, name): &(usize, String)| {
        dims.iter().position(|dim| dim == name).is_some_and(|other| other != *axis)
    };
    if in_order && !seen.iter().any(exchanged) {
        return Ok(());
    }
    let seen: Vec<String> = seen.into_iter().map(|(_, name)| name).collect();
    Err(refused(
        added,
        &format!(
            "it means the axes as {} has them, {}, and the query below gives them as {}; call it in \
             that query, on the array's own columns",
            scan.table_name,
            dims.join(", "),
            seen.join(", ")
        ),
    ))
}

/// Whether a call has an argument for each axis, or one whose meaning is an axis.
fn depends_on_order(call: &Expr) -> bool {
    let Some((definition, arguments)) = definition_of(call) else { return false };
    let parameters = definition.parameters();
    let is_list = |argument: &Expr| {
        let nothing = datafusion::common::DFSchema::empty();
        argument.get_type(&nothing).is_ok_and(|argument| argument.is_list())
    };
    parameters.contains(&LAMBDA)
        || parameters.contains(&AXIS)
        || arguments.iter().skip(1).any(is_list)
}

/// The scan that a column is read from, or computed from.
fn source_of<'a>(plan: &'a LogicalPlan, column: &Column) -> Option<&'a TableScan> {
    match plan {
        LogicalPlan::TableScan(scan) => Some(scan),
        LogicalPlan::Projection(projection) => {
            let place = projection.schema.maybe_index_of_column(column)?;
            let columns = projection.expr.get(place)?.column_refs();
            columns.into_iter().find_map(|column| source_of(&projection.input, column))
        }
        _ => below(plan, column).and_then(|(input, column)| source_of(input, &column)),
    }
}

/// The scan that a column is read from as it is, and its name there.
fn same_column<'a>(plan: &'a LogicalPlan, column: &Column) -> Option<(&'a TableScan, Column)> {
    match plan {
        LogicalPlan::TableScan(scan) => Some((scan, column.clone())),
        LogicalPlan::Projection(projection) => {
            let place = projection.schema.maybe_index_of_column(column)?;
            match projection.expr.get(place)?.clone().unalias_nested().data {
                Expr::Column(column) => same_column(&projection.input, &column),
                _ => None,
            }
        }
        _ => below(plan, column).and_then(|(input, column)| same_column(input, &column)),
    }
}

/// The input of a node that gives its rows on, and the name that a column has there.
fn below<'a>(plan: &'a LogicalPlan, column: &Column) -> Option<(&'a LogicalPlan, Column)> {
    if let LogicalPlan::SubqueryAlias(alias) = plan {
        let place = alias.schema.maybe_index_of_column(column)?;
        return Some((&alias.input, Column::from(alias.input.schema().qualified_field(place))));
    }
    let inputs = plan.inputs();
    let input = inputs.into_iter().find(|input| input.schema().has_column(column))?;
    Some((input, column.clone()))
}
