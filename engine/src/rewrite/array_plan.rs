//! A query whose rows are still the elements of an array, as a table of its own.
//!
//! In: the plan of a query. Out: an array table of the query's columns, or the reason why there is
//! none. Run on the input of a table function such as `crop((SELECT …), …)`.

use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::carry::obstacle;
use super::source::{Source, array_table};
use crate::catalog::ArrayTable;
use crate::{Error, Result};

/// The array table of a query's columns, whose dimensions are in the order of the array's axes; and whether
/// the query gives them in that order too.
///
/// # Errors
/// `Plan` with the reason if the rows are no elements of an array.
pub fn array_table_of(plan: LogicalPlan, state: &SessionState) -> Result<(ArrayTable, bool)> {
    let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?;
    let columns = plan.schema().columns();
    let asked = columns.iter().cloned().map(Expr::Column).collect();
    let source = Source::find(&plan, asked)?.filter(|source| source.filters.is_empty());
    let Some(source) = source else { return Err(Error::plan(reason(&plan))) };
    let table = &source.table;
    let mut dims: Vec<Option<String>> = vec![None; table.dims().len()];
    let mut variables = vec![];
    let mut order = vec![];
    for (column, expr) in columns.into_iter().zip(&source.expressions) {
        let axis = match expr {
            Expr::Column(known) => table.dims().iter().position(|dim| *dim == known.name),
            _ => None,
        };
        match axis.and_then(|axis| dims.get_mut(axis)) {
            Some(dim @ None) => {
                *dim = Some(column.name);
                order.push(axis);
            }
            _ => variables.push((column.name, table.array_of(expr)?)),
        }
    }
    let missing = dims.iter().zip(table.dims()).find(|(given, _)| given.is_none());
    if let Some((_, dim)) = missing {
        return Err(Error::plan(format!(
            "the query leaves out the dimension {dim} of {}; select it too",
            source.name
        )));
    }
    if variables.is_empty() {
        return Err(Error::plan(format!(
            "the query gives no column but the dimensions of {}; select one more",
            source.name
        )));
    }
    let dims: Vec<String> = dims.into_iter().flatten().collect();
    let table = ArrayTable::with_dims(source.name.as_str(), &dims, variables)?;
    Ok((table, order.is_sorted()))
}

/// Why the rows of a plan are no elements of an array, and the way out.
fn reason(plan: &LogicalPlan) -> String {
    match plan {
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) => {
            plan.inputs().first().map_or_else(String::new, |input| reason(input))
        }
        LogicalPlan::Filter(_) => "WHERE keeps rows, which are no array any more; crop cuts out a \
             box, and CASE WHEN … THEN value END blanks elements"
            .into(),
        LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => {
            "ORDER BY and LIMIT give rows, not an array; leave them out, or cut out a box with crop"
                .into()
        }
        LogicalPlan::Window(_) => {
            "a window function that is no function of a block gives rows, not \
             an array; write them with COPY … TO 'file.h5' and read that"
                .into()
        }
        LogicalPlan::Join(_) => {
            "joined rows are an array only for arrays of one shape joined on all \
             dimensions, such as a JOIN b USING (y, x)"
                .into()
        }
        LogicalPlan::TableScan(scan) if array_table(scan).is_some() => {
            "a column cannot be computed element by \
             element; leave out subqueries and functions that differ from call to call"
                .into()
        }
        LogicalPlan::TableScan(scan) => {
            format!("{} is a table of rows, not an array", scan.table_name.table())
        }
        other => obstacle(other),
    }
}
