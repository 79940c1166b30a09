//! Where rows come from: an array table, and what stands between it and a node above.

use std::any::Any;

use datafusion::catalog::default_table_source::source_as_provider;
use datafusion::common::{Column, DFSchema};
use datafusion::datasource::TableProvider;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Expr, LogicalPlan, TableScan};

use super::restate::{restated, unqualified};
use crate::catalog::{ArrayTable, can_be_evaluated};

/// An array table under a chain of projections, aliases and filters.
pub struct Source {
    /// The table.
    pub table: ArrayTable,
    /// The table's name in the query.
    pub name: String,
    /// The table's columns, without qualifiers.
    pub schema: DFSchema,
    /// Conditions on the elements, over the table's columns.
    pub filters: Vec<Expr>,
    /// The expressions asked about, over the table's columns.
    pub expressions: Vec<Expr>,
}

impl Source {
    /// Follows `plan` down to an array table and restates `expressions` over its columns. `None`
    /// where something else stands between, or an expression needs more than the columns.
    ///
    /// # Errors
    /// `Bug` for columns that nodes do not have.
    pub fn find(plan: &LogicalPlan, mut expressions: Vec<Expr>) -> DfResult<Option<Self>> {
        let asked = expressions.len();
        let mut plan = plan;
        loop {
            match plan {
                LogicalPlan::Filter(filter) => {
                    expressions.push(filter.predicate.clone());
                    plan = &filter.input;
                }
                LogicalPlan::Projection(projection) => {
                    let given =
                        projection.expr.iter().map(|expr| expr.clone().unalias_nested().data);
                    let given: Vec<Expr> = given.collect();
                    expressions = restate(expressions, &projection.schema, &given)?;
                    plan = &projection.input;
                }
                LogicalPlan::SubqueryAlias(alias) => {
                    let given: Vec<Expr> =
                        alias.input.schema().columns().into_iter().map(Expr::Column).collect();
                    expressions = restate(expressions, &alias.schema, &given)?;
                    plan = &alias.input;
                }
                LogicalPlan::TableScan(scan) if scan.fetch.is_none() => {
                    let Some(table) = array_table(scan) else { return Ok(None) };
                    let columns = scan.projected_schema.columns();
                    let given: Vec<Expr> = columns
                        .into_iter()
                        .map(|column| Expr::Column(Column::new_unqualified(column.name)))
                        .collect();
                    expressions = restate(expressions, &scan.projected_schema, &given)?;
                    let mut filters = expressions.split_off(asked);
                    filters.extend(scan.filters.iter().cloned().map(unqualified));
                    for expr in expressions.iter().chain(&filters) {
                        if !can_be_evaluated(expr)? {
                            return Ok(None);
                        }
                    }
                    let schema = DFSchema::try_from(table.schema().as_ref().clone())?;
                    let name = scan.table_name.to_string();
                    return Ok(Some(Self { table, name, schema, filters, expressions }));
                }
                _ => return Ok(None),
            }
        }
    }
}

/// The array table that is scanned, if it is one.
pub fn array_table(scan: &TableScan) -> Option<ArrayTable> {
    let provider = source_as_provider(&scan.source).ok()?;
    let provider = provider.as_ref() as &dyn Any;
    provider.downcast_ref::<ArrayTable>().cloned()
}

/// [`restated`] for several expressions.
fn restate(expressions: Vec<Expr>, schema: &DFSchema, given: &[Expr]) -> DfResult<Vec<Expr>> {
    expressions.into_iter().map(|expr| restated(expr, schema, given)).collect()
}
