//! What a file says of an array, a group or itself beside elements: units, titles, calibrations.
//!
//! In: values as a format decodes them. Out: the same with their text. Not here: what an attribute means.

use arrow::array::{Array, ArrayRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::{Error, Result};

/// A named value.
#[derive(Debug)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// Its value, or why it cannot be read.
    pub value: Result<AttributeValue>,
}

/// One value, or an array of several.
#[derive(Clone, Debug)]
pub struct AttributeValue {
    values: ArrayRef,
    shape: Vec<u64>,
}

impl AttributeValue {
    /// An array of this shape, whose values stand in row-major order; one value by itself if the shape is empty.
    ///
    /// # Errors
    /// `DataInvalid` if the shape has another number of values.
    pub fn try_new(values: ArrayRef, shape: Vec<u64>) -> Result<Self> {
        let count = shape.iter().try_fold(1_u64, |count, length| count.checked_mul(*length));
        match count == Some(values.len() as u64) {
            true => Ok(Self { values, shape }),
            false => Err(Error::data_invalid(format!(
                "an attribute of {} values has the shape {shape:?}",
                values.len()
            ))),
        }
    }

    /// All the values.
    pub fn values(&self) -> &ArrayRef {
        &self.values
    }

    /// The length of each axis; empty for one value by itself.
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// The type of a value in Arrow, and the shape of several: `Float32`, `Int32[2]`.
    pub fn type_name(&self) -> String {
        let item = self.values.data_type();
        match self.shape.as_slice() {
            [] => item.to_string(),
            shape => format!("{item}{shape:?}"),
        }
    }

    /// The value as text: `-9999.0`, `[0, 360]`.
    ///
    /// # Errors
    /// `DataInvalid` for values that have no text, such as dates outside of all calendars.
    pub fn text(&self) -> Result<String> {
        let options = FormatOptions::default().with_null("NULL");
        let told = |cause| Error::data_invalid("an attribute has no text").caused_by(cause);
        let formatter = ArrayFormatter::try_new(self.values.as_ref(), &options).map_err(told)?;
        let texts = (0..self.values.len()).map(|index| formatter.value(index).try_to_string());
        let mut texts: Vec<String> = texts.collect::<Result<_, _>>().map_err(told)?;
        // the last axis first: its values become one text each time
        for length in self.shape.iter().rev() {
            let parts = texts.chunks((*length as usize).max(1));
            texts = parts.map(|part| format!("[{}]", part.join(", "))).collect();
        }
        Ok(match self.shape.contains(&0) {
            true => "[]".into(),
            false => texts.concat(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int32Array;

    use super::*;

    fn told(shape: &[u64]) -> (String, String) {
        let count = shape.iter().product::<u64>() as i32;
        let values = Arc::new(Int32Array::from_iter_values(0..count));
        let value = AttributeValue::try_new(values, shape.to_vec()).unwrap();
        (value.text().unwrap(), value.type_name())
    }

    #[test]
    fn axes_are_nested() {
        let is = |shape: &[u64], text: &str, kind: &str| {
            assert_eq!(told(shape), (text.to_string(), kind.to_string()));
        };
        is(&[], "0", "Int32");
        is(&[1], "[0]", "Int32[1]");
        is(&[0], "[]", "Int32[0]");
        is(&[2, 3], "[[0, 1, 2], [3, 4, 5]]", "Int32[2, 3]");
        is(&[2, 1, 2], "[[[0, 1]], [[2, 3]]]", "Int32[2, 1, 2]");
    }

    #[test]
    fn a_shape_of_another_number_of_values_is_invalid() {
        let values: ArrayRef = Arc::new(Int32Array::from_iter_values(0..3));
        for shape in [vec![], vec![2], vec![u64::MAX, u64::MAX]] {
            assert!(AttributeValue::try_new(Arc::clone(&values), shape).is_err());
        }
    }
}
