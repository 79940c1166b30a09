//! Table functions of arrays: `crop(sky, y => [0, 100])` in FROM.
//!
//! In: array tables and constants. Out: an array table over lazy arrays, on which slices,
//! reductions and array functions work as on any other. Not here: how a call in FROM is found and
//! its inputs are planned ([`crate::sql`]).

use std::fmt::Debug;

use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::Documentation;

use super::ArrayTable;
use crate::Result;
use crate::array::Arguments;

/// How many tables a table function takes, before its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelationInputs {
    /// None: it makes an array.
    None,
    /// One.
    One,
    /// Any number; parameters can then only be given by name.
    Many,
}

/// A table function that gives an array.
pub trait ArrayRelation: Debug + Send + Sync {
    /// The function's name, in lower case.
    fn name(&self) -> &'static str;

    /// The tables it takes.
    fn inputs(&self) -> RelationInputs;

    /// The parameters after the tables, in order. All are constants.
    fn parameters(&self) -> &'static [&'static str];

    /// Whether dimensions of the table are names of arguments too.
    fn takes_dimensions(&self) -> bool {
        false
    }

    /// What people read about it.
    fn documentation(&self) -> &Documentation;

    /// The table that a call gives.
    ///
    /// # Errors
    /// `Plan` for arguments or tables that do not fit.
    fn build(
        &self,
        inputs: Vec<ArrayTable>,
        arguments: &Arguments,
        functions: &dyn FunctionRegistry,
    ) -> Result<ArrayTable>;
}
