//! Columns of an array table that functions compute from its other columns.
//!
//! In: calls of array functions and expressions over the table's columns. Out: lazy arrays. Equal
//! calls are one column.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as DfResult;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};

use super::ArrayTable;
use crate::array::{Arguments, ArrayDefinition, ArraySource, Operand, expression_array};
use crate::{Error, Result};

impl ArrayTable {
    /// The column that a call of `definition` gives, added if the table does not have it. `call` is
    /// the whole call over bare column names, `arguments` its arguments.
    ///
    /// # Errors
    /// `Plan` for arguments that do not fit.
    pub fn derive(
        &mut self,
        definition: &dyn ArrayDefinition,
        call: &Expr,
        arguments: &[Expr],
    ) -> DfResult<usize> {
        if let Some(index) = self.derived_column(call) {
            return Ok(index);
        }
        let (value, constants) =
            arguments.split_first().ok_or_else(|| Error::bug("a call without arguments"))?;
        let constants = constants.iter().map(|argument| constant(definition.name(), argument));
        let constants = constants.collect::<Result<Vec<_>>>()?;
        let arguments = Arguments::try_new(definition.name(), definition.parameters(), constants)?;
        let value = self.array_of(&super::unqualified(value.clone()))?;
        let expected = definition.output_type(&value.meta().data_type, &arguments)?;
        let array = definition.build(value, &arguments)?;
        if array.meta().data_type != expected {
            return Err(Error::plan(format!(
                "{}: dtype must be written as a plain text, such as dtype => 'same'",
                definition.name()
            ))
            .into());
        }
        Ok(self.add_derived(call.clone(), array))
    }

    /// The array of an expression's values: a column's own, or one that is computed.
    ///
    /// # Errors
    /// `Plan` for an expression that the table's columns do not give.
    pub fn array_of(&self, expr: &Expr) -> DfResult<Arc<dyn ArraySource>> {
        if let Expr::Column(column) = expr
            && let Some(source) = self.variable(&column.name)
        {
            return Ok(Arc::clone(source));
        }
        let schema = self.arrow_schema();
        let named = DFSchema::try_from(schema.as_ref().clone())?;
        let physical = physical_expr(expr, &named)?;
        let mut used: Vec<usize> =
            collect_columns(&physical).iter().map(|column| column.index()).collect();
        used.sort_unstable();
        let operands = used.iter().map(|index| match index.checked_sub(self.dims().len()) {
            None => Operand::Dimension(*index),
            Some(variable) => Operand::Array(Arc::clone(self.variable_at(variable))),
        });
        let operands = operands.collect();
        let inputs = Arc::new(schema.project(&used)?);
        let physical = reassign_expr_columns(physical, &inputs)?;
        let like = self.variable_at(0).meta();
        Ok(expression_array(physical, inputs, operands, like)?)
    }
}

fn physical_expr(expr: &Expr, columns: &DFSchema) -> DfResult<Arc<dyn PhysicalExpr>> {
    let planning = PhysicalPlanningContext::default();
    create_physical_expr(expr, columns, &ExecutionProps::new(), &planning)
}

/// The value of an argument that reads no column.
fn constant(function: &str, argument: &Expr) -> Result<ScalarValue> {
    if let Expr::Literal(value, _) = argument {
        return Ok(value.clone());
    }
    if !argument.column_refs().is_empty() || argument.is_volatile() {
        return Err(Error::plan(format!(
            "{function}: {argument} must be a constant; only the first argument may be a column"
        )));
    }
    let physical = physical_expr(argument, &DFSchema::empty())?;
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options)
        .map_err(|cause| Error::bug("a row without columns").caused_by(cause))?;
    let value = physical.evaluate(&row)?.into_array(1)?;
    Ok(ScalarValue::try_from_array(&value, 0)?)
}
