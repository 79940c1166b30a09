//! What a function here says of itself, and how its call becomes an array.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArrayDefinition, ArraySource};
use arrow::datatypes::DataType;
use datafusion::logical_expr::Documentation;

/// The array that a call stands for.
type Built = Arc<dyn ArraySource>;

/// A function of arrays.
#[derive(Debug)]
pub struct Filter {
    /// Its name in SQL.
    pub name: &'static str,
    /// Its parameters after the array.
    pub parameters: &'static [&'static str],
    /// What people read about it.
    pub documentation: LazyLock<Documentation>,
    /// The type of the answer.
    pub output: fn(&DataType, &Arguments) -> Result<DataType>,
    /// The array that a call stands for.
    pub build: fn(Arc<dyn ArraySource>, &Arguments) -> Result<Built>,
}

impl ArrayDefinition for &'static Filter {
    fn name(&self) -> &'static str {
        self.name
    }

    fn parameters(&self) -> &'static [&'static str] {
        self.parameters
    }

    fn documentation(&self) -> &Documentation {
        &self.documentation
    }

    fn output_type(&self, value: &DataType, arguments: &Arguments) -> Result<DataType> {
        (self.output)(value, arguments)
    }

    fn build(
        &self,
        value: Arc<dyn ArraySource>,
        arguments: &Arguments,
    ) -> Result<Arc<dyn ArraySource>> {
        (self.build)(value, arguments)
    }
}

/// Types of answers that many functions have.
pub mod output {
    use almagest_engine::Result;
    use almagest_engine::array::Arguments;
    use arrow::datatypes::DataType;

    use crate::array::stages::convert::computed_type;

    /// The array's own.
    pub fn kept(value: &DataType, _: &Arguments) -> Result<DataType> {
        Ok(value.clone())
    }

    /// `f32` stays, all else gives `f64`.
    pub fn floating(value: &DataType, _: &Arguments) -> Result<DataType> {
        Ok(computed_type(value, false))
    }

    /// `f32` stays, all else gives `f64`, and integers stay too with `dtype => 'same'`.
    pub fn computed(value: &DataType, arguments: &Arguments) -> Result<DataType> {
        Ok(computed_type(value, arguments.keeps_type()?))
    }
}
