//! How an array function is defined: its name and parameters in SQL, and the lazy array that a call
//! of it stands for.
//!
//! A definition composes [`super::ArrayFunction`]s; a separable filter, say, is a chain of one stage
//! for each axis. Not here: where calls may stand in a query ([`crate::rewrite`]).

use std::fmt::Debug;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::logical_expr::Documentation;

use super::{Arguments, ArraySource};
use crate::Result;

/// The name of the parameter that is a lambda over a list of elements. It stands after the array's.
pub const LAMBDA: &str = "lambda";

/// A function in SQL whose value at an element depends on the array around it.
pub trait ArrayDefinition: Debug + Send + Sync {
    /// The function's name, in lower case.
    fn name(&self) -> &'static str;

    /// The parameters after the array's, in order. All are constants, but for [`LAMBDA`].
    fn parameters(&self) -> &'static [&'static str];

    /// What people read about it.
    fn documentation(&self) -> &Documentation;

    /// The type of the answer for an array of this type.
    ///
    /// # Errors
    /// `Plan` for a type that the function does not take.
    fn output_type(&self, value: &DataType, arguments: &Arguments) -> Result<DataType>;

    /// The array that a call stands for.
    ///
    /// # Errors
    /// `Plan` for arguments that do not fit.
    fn build(
        &self,
        value: Arc<dyn ArraySource>,
        arguments: &Arguments,
    ) -> Result<Arc<dyn ArraySource>>;
}
