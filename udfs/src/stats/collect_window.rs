//! The values in a window frame whose start moves, for the statistics of `collect.rs`.

use std::fmt;

use almagest_engine::Error;
use arrow::array::{Array, ArrayRef, ArrowPrimitiveType};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::Accumulator;

use super::collect::{Statistic, argument};

/// Values leave in the order in which they came. Such an accumulator is never merged.
pub struct CollectWindow<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    /// The first values that have left the frame.
    left: usize,
    statistic: Statistic<T::Native>,
}

impl<T: ArrowPrimitiveType> CollectWindow<T> {
    /// An empty frame.
    pub fn new(statistic: Statistic<T::Native>) -> Self {
        Self { values: vec![], left: 0, statistic }
    }
}

impl<T: ArrowPrimitiveType> fmt::Debug for CollectWindow<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CollectWindow({} values)", self.values.len() - self.left)
    }
}

impl<T: ArrowPrimitiveType> Accumulator for CollectWindow<T> {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        self.values.extend(argument::<T>(columns)?.iter().flatten());
        Ok(())
    }

    fn retract_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let values = argument::<T>(columns)?;
        self.left += values.len() - values.null_count();
        // Moving the rest costs as much as the values that have left: constant for each.
        if self.left > self.values.len() / 2 {
            self.values.drain(..self.left.min(self.values.len()));
            self.left = 0;
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let answer = (self.statistic)(&[&self.values[self.left..]]);
        ScalarValue::new_primitive::<T>(answer, &T::DATA_TYPE)
    }

    fn merge_batch(&mut self, _: &[ArrayRef]) -> Result<()> {
        Err(Error::bug("a window frame was merged").into())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Err(Error::bug("a window frame was asked for its state").into())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.capacity() * size_of::<T::Native>()
    }
}
