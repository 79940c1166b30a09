//! An array function as DataFusion's planner sees it: a scalar function that is never run, or a
//! higher-order one if it takes a lambda.
//!
//! It gives the call a type, so that everything around it can be planned; [`super::lowering`] then
//! replaces every call by a column of the array's table.

use std::any::Any;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, HigherOrderFunctionArgs, HigherOrderReturnFieldArgs,
    HigherOrderSignature, HigherOrderUDF, HigherOrderUDFImpl, LambdaParametersProgress,
    LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    ValueOrLambda, Volatility,
};
use datafusion::prelude::SessionContext;

use crate::array::{Arguments, ArrayDefinition, LAMBDA, list_type};
use crate::walk::{Walk, WalkPlan};
use crate::{Error, Result};

/// The parameter of every array function that is the array.
const ARRAY: &str = "value";

/// Makes an array function known to a session.
///
/// # Errors
/// `Bug` if its parameters contradict each other.
pub fn register(context: &SessionContext, definition: Arc<dyn ArrayDefinition>) -> Result<()> {
    if definition.parameters().contains(&LAMBDA) {
        let signature = HigherOrderSignature::user_defined(Volatility::Immutable);
        let function = HigherOrderUDF::new_from_impl(LambdaMarker { definition, signature });
        context.register_higher_order_function(Arc::new(function));
        return Ok(());
    }
    let names = parameter_names(definition.as_ref());
    let signature = Signature::user_defined(Volatility::Immutable).with_parameter_names(names)?;
    context.register_udf(ScalarUDF::from(Marker { definition, signature }));
    Ok(())
}

fn parameter_names(definition: &dyn ArrayDefinition) -> Vec<&'static str> {
    [&[ARRAY], definition.parameters()].concat()
}

/// The names of the parameters of a function that takes a lambda, if it is an array function.
pub fn lambda_parameter_names(function: &HigherOrderUDF) -> Option<Vec<&'static str>> {
    let marker = lambda_marker(function)?;
    Some(parameter_names(marker.definition.as_ref()))
}

fn lambda_marker(function: &HigherOrderUDF) -> Option<&LambdaMarker> {
    (function.inner().as_ref() as &dyn Any).downcast_ref::<LambdaMarker>()
}

/// The definition behind a call, and the call's arguments.
pub(super) fn definition_of(expr: &Expr) -> Option<(&Arc<dyn ArrayDefinition>, &[Expr])> {
    match expr {
        Expr::ScalarFunction(call) => {
            let marker = call.func.inner().downcast_ref::<Marker>()?;
            Some((&marker.definition, &call.args))
        }
        Expr::HigherOrderFunction(call) => {
            let marker = lambda_marker(&call.func)?;
            Some((&marker.definition, &call.args))
        }
        _ => None,
    }
}

/// Refuses a plan that still holds a call of an array function: no other process could run it.
///
/// # Errors
/// `Plan`, naming the function.
pub fn refuse_calls(plan: &LogicalPlan) -> Result<()> {
    plan.walk_with_subqueries(&mut |node| {
        node.walk_expressions(&mut |expr| {
            expr.walk(&mut |part| match definition_of(part) {
                Some((definition, _)) => Err(not_lowered(definition.as_ref()).into()),
                None => Ok(TreeNodeRecursion::Continue),
            })
        })
    })?;
    Ok(())
}

/// Arguments as far as the planner knows them.
fn known(definition: &dyn ArrayDefinition, values: &[Option<&ScalarValue>]) -> Result<Arguments> {
    let values = values.iter().skip(1);
    let values = values.map(|value| value.cloned().unwrap_or(ScalarValue::Null)).collect();
    Arguments::try_new(definition.name(), definition.parameters(), values)
}

/// Refuses a call that cannot be one of the function.
fn checked(definition: &dyn ArrayDefinition, array: Option<&DataType>, count: usize) -> Result<()> {
    let (name, parameters) = (definition.name(), definition.parameters());
    let array = array.filter(|_| (1..=parameters.len() + 1).contains(&count));
    let array = array.ok_or_else(|| {
        let parameters = parameters.join(", ");
        Error::plan(format!("{name} takes {ARRAY}, {parameters}; not {count} arguments"))
    })?;
    if array.is_numeric() {
        return Ok(());
    }
    Err(Error::plan(format!("{name} takes an array of numbers, not of {array}; cast it first")))
}

/// A call that was not lowered.
fn not_lowered(definition: &dyn ArrayDefinition) -> Error {
    Error::plan(format!(
        "{} works on a column of an array table, such as one over an HDF5 file",
        definition.name()
    ))
}

#[derive(Debug)]
struct Marker {
    definition: Arc<dyn ArrayDefinition>,
    signature: Signature,
}

impl PartialEq for Marker {
    fn eq(&self, other: &Self) -> bool {
        self.definition.name() == other.definition.name()
    }
}

impl Eq for Marker {}

impl Hash for Marker {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.definition.name().hash(state);
    }
}

impl ScalarUDFImpl for Marker {
    fn name(&self) -> &str {
        self.definition.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> DfResult<Vec<DataType>> {
        checked(self.definition.as_ref(), arguments.first(), arguments.len())?;
        Ok(arguments.to_vec())
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Err(Error::bug("the type of an array function depends on its arguments").into())
    }

    fn return_field_from_args(&self, call: ReturnFieldArgs) -> DfResult<FieldRef> {
        let value = call.arg_fields[0].data_type();
        let output = self
            .definition
            .output_type(value, &known(self.definition.as_ref(), call.scalar_arguments)?)?;
        Ok(Arc::new(Field::new(self.name(), output, true)))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        Err(not_lowered(self.definition.as_ref()).into())
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(self.definition.documentation())
    }
}

#[derive(Debug)]
struct LambdaMarker {
    definition: Arc<dyn ArrayDefinition>,
    signature: HigherOrderSignature,
}

impl PartialEq for LambdaMarker {
    fn eq(&self, other: &Self) -> bool {
        self.definition.name() == other.definition.name()
    }
}

impl Eq for LambdaMarker {}

impl Hash for LambdaMarker {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.definition.name().hash(state);
    }
}

impl HigherOrderUDFImpl for LambdaMarker {
    fn name(&self) -> &str {
        self.definition.name()
    }

    fn signature(&self) -> &HigherOrderSignature {
        &self.signature
    }

    fn coerce_value_types(&self, arguments: &[DataType]) -> DfResult<Vec<DataType>> {
        checked(self.definition.as_ref(), arguments.first(), arguments.len() + 1)?;
        Ok(arguments.to_vec())
    }

    fn lambda_parameters(
        &self,
        _: usize,
        arguments: &[ValueOrLambda<FieldRef, Option<FieldRef>>],
    ) -> DfResult<LambdaParametersProgress> {
        let is_lambda =
            |argument: &ValueOrLambda<_, _>| matches!(argument, ValueOrLambda::Lambda(_));
        let place = arguments.iter().position(is_lambda);
        let expected = self.definition.parameters().iter().position(|name| *name == LAMBDA);
        let (Some(ValueOrLambda::Value(array)), true) =
            (arguments.first(), place == expected.map(|place| place + 1))
        else {
            return Err(known(self.definition.as_ref(), &[])?.no_lambda().into());
        };
        let list = Field::new("list", list_type(array.data_type()), false);
        Ok(LambdaParametersProgress::Complete(vec![vec![Arc::new(list)]]))
    }

    fn return_field_from_args(&self, call: HigherOrderReturnFieldArgs) -> DfResult<FieldRef> {
        let mut arguments = known(self.definition.as_ref(), call.scalar_arguments)?;
        let lambda = call.arg_fields.iter().find_map(|argument| match argument {
            ValueOrLambda::Lambda(given) => Some(given.data_type().clone()),
            ValueOrLambda::Value(_) => None,
        });
        if let Some(lambda) = lambda {
            arguments = arguments.with_lambda_type(lambda);
        }
        let Some(ValueOrLambda::Value(array)) = call.arg_fields.first() else {
            return Err(not_lowered(self.definition.as_ref()).into());
        };
        let output = self.definition.output_type(array.data_type(), &arguments)?;
        Ok(Arc::new(Field::new(self.name(), output, true)))
    }

    fn invoke_with_args(&self, _: HigherOrderFunctionArgs) -> DfResult<ColumnarValue> {
        Err(not_lowered(self.definition.as_ref()).into())
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(self.definition.documentation())
    }
}
