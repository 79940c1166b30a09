//! Calls of array functions become columns of the array's table.
//!
//! Stage: analyzer, after types are known. Before and after:
//!
//! ```text
//! Projection: y, gaussian_filter(value * 2, 2) AS smooth      Projection: y, sky."gaussian_filter(…)" AS smooth
//!   Filter: x < 50                                       ─▶     Filter: x < 50
//!     TableScan: sky (ArrayTable)                                 TableScan: sky (ArrayTable with one more column)
//! ```
//!
//! The value at an element depends on the array that the column comes from, never on the rows that
//! the query keeps. So the new column is added at the scan and carried up through every node that
//! keeps the identity of rows; through any other it is refused, with the way out. Inner calls are
//! lowered before outer ones. Running twice changes nothing: no call is left after the first time.

use std::any::Any;
use std::sync::Arc;

use datafusion::catalog::default_table_source::source_as_provider;
use datafusion::common::Column;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::provider_as_source;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Expr, LogicalPlan, Projection, SubqueryAlias, TableScan, TableScanBuilder,
};
use datafusion::optimizer::AnalyzerRule;

use super::marker::definition_of;
use super::restate::{restated, unqualified};
use crate::Error;
use crate::catalog::ArrayTable;

/// The rule.
#[derive(Debug)]
pub struct Lowering;

impl AnalyzerRule for Lowering {
    fn name(&self) -> &str {
        "array_lowering"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(lowered)?.data)
    }
}

/// One node whose inputs are lowered already.
fn lowered(node: LogicalPlan) -> DfResult<Transformed<LogicalPlan>> {
    if !node.expressions().iter().any(holds_call) {
        return Ok(Transformed::no(node));
    }
    let columns = node.schema().columns();
    let mut inputs: Vec<LogicalPlan> = node.inputs().into_iter().cloned().collect();
    let names = NamePreserver::new(&node);
    let sorts = matches!(node, LogicalPlan::Sort(_));
    let changed = node.map_expressions(|expr| {
        let name = names.save(&expr);
        let changed = expr.transform_up(|part| match definition_of(&part) {
            Some(_) => Ok(Transformed::yes(column_for(&part, &mut inputs)?)),
            None => Ok(Transformed::no(part)),
        })?;
        Ok(if sorts { changed } else { changed.update_data(|expr| name.restore(expr)) })
    })?;
    let node = changed.data;
    let node = node.with_new_exprs(node.expressions(), inputs)?;
    if node.schema().fields().len() == columns.len() {
        return Ok(Transformed::yes(node));
    }
    let columns = columns.into_iter().map(Expr::Column).collect();
    Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(node))?)))
}

fn holds_call(expr: &Expr) -> bool {
    expr.exists(|part| Ok(definition_of(part).is_some())).unwrap_or(false)
}

/// The column that stands for a call, after one of the inputs was made to have it.
fn column_for(call: &Expr, inputs: &mut [LogicalPlan]) -> DfResult<Expr> {
    let columns = call.column_refs();
    if columns.is_empty() {
        return Err(refused(
            call,
            "it reads no column; its first argument must be one of an array",
        ));
    }
    if call.is_volatile() {
        return Err(refused(
            call,
            "its argument differs from call to call; write the values first",
        ));
    }
    let holding = inputs
        .iter_mut()
        .find(|input| columns.iter().all(|column| input.schema().has_column(column)));
    let Some(input) = holding else { return Err(refused(call, TWO_ARRAYS)) };
    let (plan, column) = with_column(input, call)?;
    *input = plan;
    Ok(Expr::Column(column))
}

const TWO_ARRAYS: &str = "it reads columns of more than one array, or of an outer query; join arrays \
                          of one shape on all their dimensions first";

fn refused(call: &Expr, reason: &str) -> datafusion::error::DataFusionError {
    let name = definition_of(call).map_or("the function", |(definition, _)| definition.name());
    Error::plan(format!("{name} cannot be computed here: {reason}")).into()
}

/// The plan with one more column, the value of `call`, and that column's name.
fn with_column(plan: &LogicalPlan, call: &Expr) -> DfResult<(LogicalPlan, Column)> {
    match plan {
        LogicalPlan::TableScan(scan) => with_derived(scan, call),
        LogicalPlan::Projection(projection) => {
            let given = projection.expr.iter().map(|expr| expr.clone().unalias_nested().data);
            let given: Vec<Expr> = given.collect();
            let inner = restated(call.clone(), &projection.schema, &given)?;
            if inner.column_refs().is_empty() {
                return Err(refused(call, "its argument is no column of an array"));
            }
            let (input, column) = with_column(&projection.input, &inner)?;
            let mut expressions = projection.expr.clone();
            if !projection.schema.has_column(&column) {
                expressions.push(Expr::Column(column.clone()));
            }
            let plan = Projection::try_new(expressions, Arc::new(input))?;
            Ok((LogicalPlan::Projection(plan), column))
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let given: Vec<Expr> =
                alias.input.schema().columns().into_iter().map(Expr::Column).collect();
            let inner = restated(call.clone(), &alias.schema, &given)?;
            let (input, column) = with_column(&alias.input, &inner)?;
            let plan = SubqueryAlias::try_new(Arc::new(input), alias.alias.clone())?;
            let column = Column::new(Some(alias.alias.clone()), column.name);
            Ok((LogicalPlan::SubqueryAlias(plan), column))
        }
        LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Repartition(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Join(_) => through(plan, call),
        other => Err(refused(call, &obstacle(other))),
    }
}

/// A node that keeps the identity of rows: the column comes from one of its inputs.
fn through(plan: &LogicalPlan, call: &Expr) -> DfResult<(LogicalPlan, Column)> {
    let columns = call.column_refs();
    let mut inputs: Vec<LogicalPlan> = plan.inputs().into_iter().cloned().collect();
    let holding = inputs
        .iter_mut()
        .find(|input| columns.iter().all(|column| input.schema().has_column(column)));
    let Some(input) = holding else {
        return Err(match plan {
            LogicalPlan::Window(_) => refused(
                call,
                "its argument is the result of a window function that is no function of a block; \
                 write it with COPY … TO 'file.h5' and read that",
            ),
            _ => refused(call, TWO_ARRAYS),
        });
    };
    let (with, column) = with_column(input, call)?;
    *input = with;
    let plan = plan.with_new_exprs(plan.expressions(), inputs)?;
    if !plan.schema().has_column(&column) {
        let reason = "its array stands on the side of a semi or anti join that gives no columns";
        return Err(refused(call, reason));
    }
    Ok((plan, column))
}

fn obstacle(plan: &LogicalPlan) -> String {
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
fn with_derived(scan: &TableScan, call: &Expr) -> DfResult<(LogicalPlan, Column)> {
    let provider = source_as_provider(&scan.source).ok();
    let table = provider
        .as_ref()
        .and_then(|provider| (provider.as_ref() as &dyn Any).downcast_ref::<ArrayTable>().cloned());
    let Some(mut table) = table else {
        return Err(refused(
            call,
            &format!("{} is a table of rows, not an array", scan.table_name),
        ));
    };
    let Some((definition, arguments)) = definition_of(call) else {
        return Err(Error::bug("a call without a definition").into());
    };
    let index = table.derive(definition.as_ref(), &unqualified(call.clone()), arguments)?;
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
