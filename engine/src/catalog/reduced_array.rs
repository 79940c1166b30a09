//! The table of partial aggregate states of an array: what dense reductions scan.
//!
//! In: an array table, filters, a reduction. Out: a scan that gives states instead of rows. Made by
//! [`crate::rewrite`]; no user ever names one.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::DFSchema;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Expr, ExprSchemable, TableType};
use datafusion::physical_plan::ExecutionPlan;
use futures::future::{BoxFuture, ready};

use super::ArrayTable;
use super::array_table::Wanted;
use crate::exec::reduce::Reduction;
use crate::planned_table::projected;

/// The states of a reduction of an array.
#[derive(Debug)]
pub struct ReducedArray {
    table: ArrayTable,
    filters: Vec<Expr>,
    reduction: Reduction<Expr>,
    schema: SchemaRef,
}

impl ReducedArray {
    /// The states of `reduction` over the elements of `table` that pass `filters`. Expressions are
    /// over the table's columns, without qualifiers.
    ///
    /// # Errors
    /// Those of finding the expressions' types.
    pub fn try_new(
        table: ArrayTable,
        filters: Vec<Expr>,
        reduction: Reduction<Expr>,
    ) -> DfResult<Self> {
        let named = DFSchema::try_from(table.schema().as_ref().clone())?;
        let schema = reduction.schema(|expr| expr.get_type(&named))?;
        Ok(Self { table, filters, reduction, schema })
    }

    /// The table whose elements are reduced.
    pub fn table(&self) -> &ArrayTable {
        &self.table
    }

    /// Which of its elements.
    pub fn filters(&self) -> &[Expr] {
        &self.filters
    }

    /// To what.
    pub fn reduction(&self) -> &Reduction<Expr> {
        &self.reduction
    }
}

impl TableProvider for ReducedArray {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    fn scan<'a, 'b, 'c, 'd, 'r>(
        &'a self,
        session: &'b dyn Session,
        projection: Option<&'c Vec<usize>>,
        _: &'d [Expr],
        _: Option<usize>,
    ) -> BoxFuture<'r, DfResult<Arc<dyn ExecutionPlan>>>
    where
        'a: 'r,
        'b: 'r,
        'c: 'r,
        'd: 'r,
    {
        let states = Wanted::States(&self.reduction);
        let plan = self.table.plan(session, states, &self.filters, None);
        let projection = projection.map(Vec::as_slice);
        Box::pin(ready(plan.and_then(|plan| projected(plan, projection))))
    }
}
