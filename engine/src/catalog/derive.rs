//! Columns of an array table that functions compute from its other columns.
//!
//! In: calls of array functions and expressions over the table's columns. Out: lazy arrays. Equal
//! calls are one column.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::error::Result as DfResult;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::expr::{Lambda, WindowFunction};
use datafusion::logical_expr::expr_rewriter::unnormalize_col;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, WindowFunctionDefinition};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};

use super::{ArrayTable, Columns, Recipe, Recorded};
use crate::array::{
    Arguments, ArrayDefinition, ArrayLambda, ArraySource, Operand, comparable, list_type,
};
use crate::exec::reduce::GroupKey;
use crate::walk::Walk;
use crate::{Error, Result, floats_by_value};

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
        let (value, constants) =
            arguments.split_first().ok_or_else(|| Error::bug("a call without arguments"))?;
        let name = definition.name();
        let mut given = vec![];
        let mut lambda = None;
        for argument in constants {
            if let Expr::Lambda(expr) = argument {
                lambda = Some(expr);
                given.push(ScalarValue::Null);
            } else {
                given.push(constant(name, argument)?);
            }
        }
        let key = with_comparable(call, &given)?;
        if let Some(index) = self.derived_column(&key) {
            return Ok(index);
        }
        let value = self.array_of(&unnormalize_col(value.clone()))?;
        let lambda =
            lambda.map(|expr| planned_lambda(name, expr, &value.meta().data_type)).transpose()?;
        let mut arguments = Arguments::try_new(name, definition.parameters(), given)?;
        if let Some(lambda) = lambda {
            arguments = arguments.with_lambda(lambda)?;
        }
        let expected = definition.output_type(&value.meta().data_type, &arguments)?;
        let array = definition.build(Arc::clone(&value), &arguments)?;
        if array.meta().data_type != expected {
            return Err(Error::plan(format!(
                "{}: dtype must be written as a plain text, such as dtype => 'same'",
                definition.name()
            ))
            .into());
        }
        let recipe = Recipe::Call { function: name, value, arguments };
        Ok(self.add_derived(call, key, Recorded::array(array, recipe)))
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
        let named = DFSchema::try_from(self.arrow_schema().as_ref().clone())?;
        let physical = physical_expr(expr, &named)?;
        let columns = self.columns_of([&physical])?;
        let expr = reassign_expr_columns(physical, &columns.schema)?;
        Recipe::Expression { expr, columns }.array()
    }

    /// The columns that expressions read.
    fn columns_of<'a>(
        &self,
        expressions: impl IntoIterator<Item = &'a Arc<dyn PhysicalExpr>>,
    ) -> DfResult<Columns> {
        let columns = expressions.into_iter().flat_map(collect_columns);
        let mut used: Vec<usize> = columns.map(|column| column.index()).collect();
        used.sort_unstable();
        used.dedup();
        let operands = used.iter().map(|index| match index.checked_sub(self.dims().len()) {
            None => Operand::Dimension(*index),
            Some(variable) => Operand::Array(Arc::clone(self.variable_at(variable))),
        });
        Ok(Columns {
            schema: Arc::new(self.arrow_schema().project(&used)?),
            operands: operands.collect(),
            like: Arc::clone(self.variable_at(0)),
        })
    }

    /// The column that a window function over the blocks of `keys` gives, added if the table does
    /// not have it. The function is over bare column names.
    ///
    /// # Errors
    /// `Plan` for arguments that do not fit.
    pub fn derive_blocks(
        &mut self,
        function: &WindowFunction,
        keys: &[GroupKey],
    ) -> DfResult<usize> {
        let call = Expr::WindowFunction(Box::new(function.clone()));
        if let Some(index) = self.derived_column(&call) {
            return Ok(index);
        }
        let WindowFunctionDefinition::AggregateUDF(aggregate) = &function.fun else {
            return Err(Error::bug("a block of what is no aggregate").into());
        };
        let params = &function.params;
        let named = DFSchema::try_from(self.arrow_schema().as_ref().clone())?;
        let physical = |expr: &Expr| physical_expr(&unnormalize_col(expr.clone()), &named);
        let arguments = params.args.iter().map(physical).collect::<DfResult<Vec<_>>>()?;
        let mask = params.filter.as_deref().map(physical).transpose()?;
        let columns = self.columns_of(arguments.iter().chain(&mask))?;
        let over_inputs = |expr| reassign_expr_columns(expr, &columns.schema);
        let arguments = arguments.into_iter().map(over_inputs).collect::<DfResult<Vec<_>>>()?;
        let mask = mask.map(over_inputs).transpose()?;
        let recipe = Recipe::Blocks {
            aggregate: Arc::clone(aggregate),
            arguments,
            distinct: params.distinct,
            name: call.schema_name().to_string(),
            mask,
            keys: keys.to_vec(),
            columns,
        };
        Ok(self.add_derived(&call.clone(), call, recipe.array()?))
    }
}

/// The expression as the optimizer leaves it: some functions are nothing but others before.
fn physical_expr(expr: &Expr, columns: &DFSchema) -> DfResult<Arc<dyn PhysicalExpr>> {
    let context = SimplifyContext::builder().with_schema(Arc::new(columns.clone()));
    let simplifier = ExprSimplifier::new(context.with_current_time().build());
    let expr = simplifier.simplify(floats_by_value::in_expr(expr.clone(), columns)?)?;
    let planning = PhysicalPlanningContext::default();
    create_physical_expr(&expr, columns, &ExecutionProps::new(), &planning)
}

/// A lambda over lists of elements of this type.
fn planned_lambda(function: &str, lambda: &Lambda, element: &DataType) -> DfResult<ArrayLambda> {
    let [parameter] = lambda.params.as_slice() else {
        return Err(Error::plan(format!(
            "{function}: a lambda of one parameter is expected, such as w -> array_max(w)"
        ))
        .into());
    };
    let body = lambda.body.as_ref();
    if let Some(column) = body.column_refs().into_iter().next() {
        return Err(Error::plan(format!(
            "{function}: the lambda reads {column}; it can only read its parameter {parameter}"
        ))
        .into());
    }
    let mut over_list = |part: Expr| match part {
        Expr::LambdaVariable(variable) if variable.name == *parameter => {
            Ok(Transformed::yes(Expr::Column(Column::new_unqualified(variable.name))))
        }
        Expr::Lambda(inner) if inner.params.contains(parameter) => {
            Ok(Transformed::new(Expr::Lambda(inner), false, TreeNodeRecursion::Jump))
        }
        other => Ok(Transformed::no(other)),
    };
    let body = lambda.body.as_ref().clone().change_down(&mut over_list)?.data;
    let list = Field::new(parameter, list_type(element), false);
    let schema = Arc::new(Schema::new(vec![list]));
    let named = DFSchema::try_from(schema.as_ref().clone())?;
    Ok(ArrayLambda::new(physical_expr(&body, &named)?, schema))
}

/// The call with its constants as they are compared: `2`, `1 + 1` and `2.0` are one.
fn with_comparable(call: &Expr, constants: &[ScalarValue]) -> DfResult<Expr> {
    // the array stands first
    let mut constants = [None].into_iter().chain(constants.iter().map(Some));
    let changed = call.clone().change_children(&mut |argument| {
        let constant = constants.next().flatten();
        Ok(match (&argument, constant) {
            (Expr::Lambda(_), _) | (_, None) => Transformed::no(argument),
            (_, Some(value)) => Transformed::yes(Expr::Literal(comparable(value), None)),
        })
    });
    Ok(changed?.data)
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
    value_of(&physical_expr(argument, &DFSchema::empty())?)
}

/// The value of an expression that reads no column.
///
/// # Errors
/// Those of the functions in it.
pub fn value_of(constant: &Arc<dyn PhysicalExpr>) -> Result<ScalarValue> {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options)
        .map_err(|cause| Error::bug("a row without columns").caused_by(cause))?;
    let value = constant.evaluate(&row)?.into_array(1)?;
    Ok(ScalarValue::try_from_array(&value, 0)?)
}
