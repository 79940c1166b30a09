//! Arguments that are named by a dimension of the array: `y => [0, 100]`.

use std::ops::Range;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::ScalarValue;

use super::{Arguments, is_list, items};
use crate::Result;

impl Arguments {
    /// The same arguments, and these beside the function's parameters.
    #[must_use]
    pub fn with_named(mut self, named: Vec<(String, ScalarValue)>) -> Self {
        self.named = named;
        self
    }

    /// The arguments beside the function's parameters.
    pub fn named_values(&self) -> &[(String, ScalarValue)] {
        &self.named
    }

    /// The names of the arguments beside the function's parameters.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        self.named.iter().map(|(name, _)| name.as_str())
    }

    /// The indices `[start, stop]` on an axis of this length, without `stop` as in Python; NULL for
    /// `start` is 0, for `stop` the length.
    ///
    /// # Errors
    /// `Plan` for what is no pair of whole numbers, or indices that the axis does not have.
    pub fn range(&self, name: &str, length: u64) -> Result<Option<Range<u64>>> {
        let Some(value) = self.get(name)? else { return Ok(None) };
        let pair = items(value).filter(|_| is_list(value));
        let pair = pair.filter(|pair| pair.data_type().is_integer() || pair.data_type().is_null());
        let pair = pair.and_then(|pair| cast(&pair, &DataType::Int64).ok());
        let Some(pair) = pair.filter(|pair| pair.len() == 2) else {
            return Err(self.wrong(name, "[start, stop], two whole numbers"));
        };
        let pair = pair.as_primitive::<Int64Type>();
        let index = |place: usize, absent: u64| match pair.is_null(place) {
            true => Some(absent),
            false => u64::try_from(pair.value(place)).ok(),
        };
        match (index(0, 0), index(1, length)) {
            (Some(start), Some(stop)) if start <= stop && stop <= length => Ok(Some(start..stop)),
            _ => Err(self.wrong(
                name,
                &format!("[start, stop] with 0 <= start <= stop <= {length}, its length"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranged(values: &[Option<i64>]) -> Result<Option<Range<u64>>> {
        let values: Vec<ScalarValue> = values.iter().map(|v| ScalarValue::Int64(*v)).collect();
        let list = ScalarValue::List(ScalarValue::new_list_nullable(&values, &DataType::Int64));
        let arguments = Arguments::try_new("f", &[], vec![]).unwrap();
        arguments.with_named(vec![("y".into(), list)]).range("y", 10)
    }

    #[test]
    fn ranges_leave_out_their_stop() {
        assert_eq!(ranged(&[Some(2), Some(5)]).unwrap(), Some(2..5));
        assert_eq!(ranged(&[Some(2), None]).unwrap(), Some(2..10));
        assert_eq!(ranged(&[None, Some(10)]).unwrap(), Some(0..10));
        assert_eq!(ranged(&[Some(4), Some(4)]).unwrap(), Some(4..4));
    }

    #[test]
    fn ranges_past_the_axis_are_refused() {
        for wrong in [[Some(-1), Some(5)], [Some(0), Some(11)], [Some(5), Some(4)]] {
            let error = ranged(&wrong).unwrap_err().to_string();
            assert!(error.contains("f: y must be [start, stop] with 0"), "{error}");
        }
        assert!(ranged(&[Some(1)]).is_err());
    }
}
