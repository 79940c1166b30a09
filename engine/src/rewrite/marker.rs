//! An array function as DataFusion's planner sees it: a scalar function that is never run.
//!
//! It gives the call a type, so that everything around it can be planned; [`super::lowering`] then
//! replaces every call by a column of the array's table.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};

use crate::array::{Arguments, ArrayDefinition};
use crate::{Error, Result};

/// The parameter of every array function that is the array.
const ARRAY: &str = "value";

/// The scalar function that stands for an array function.
///
/// # Errors
/// `Bug` if its parameters contradict each other.
pub fn marker(definition: Arc<dyn ArrayDefinition>) -> Result<ScalarUDF> {
    let mut names = vec![ARRAY];
    names.extend(definition.parameters());
    let signature = Signature::user_defined(Volatility::Immutable).with_parameter_names(names)?;
    Ok(ScalarUDF::from(Marker { definition, signature }))
}

/// The definition behind a call, and the call's arguments.
pub(super) fn definition_of(expr: &Expr) -> Option<(&Arc<dyn ArrayDefinition>, &[Expr])> {
    let Expr::ScalarFunction(call) = expr else { return None };
    let marker = call.func.inner().downcast_ref::<Marker>()?;
    Some((&marker.definition, &call.args))
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

impl Marker {
    /// The arguments as far as the planner knows them.
    fn known(&self, call: &ReturnFieldArgs) -> Result<Arguments> {
        let values = call.scalar_arguments.iter().skip(1);
        let values = values.map(|value| value.cloned().unwrap_or(ScalarValue::Null)).collect();
        Arguments::try_new(self.definition.name(), self.definition.parameters(), values)
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
        let (name, parameters) = (self.definition.name(), self.definition.parameters());
        let count = arguments.len();
        if count == 0 || count > parameters.len() + 1 {
            return Err(Error::plan(format!(
                "{name} takes {ARRAY}, {}; not {count} arguments",
                parameters.join(", ")
            ))
            .into());
        }
        if !arguments[0].is_numeric() {
            return Err(Error::plan(format!(
                "{name} takes an array of numbers, not of {}; cast it first",
                arguments[0]
            ))
            .into());
        }
        Ok(arguments.to_vec())
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Err(Error::bug("the type of an array function depends on its arguments").into())
    }

    fn return_field_from_args(&self, call: ReturnFieldArgs) -> DfResult<FieldRef> {
        let value = call.arg_fields[0].data_type();
        let output = self.definition.output_type(value, &self.known(&call)?)?;
        Ok(Arc::new(Field::new(self.name(), output, true)))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        Err(Error::plan(format!(
            "{} works on a column of an array table, such as one over an HDF5 file",
            self.name()
        ))
        .into())
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(self.definition.documentation())
    }
}
