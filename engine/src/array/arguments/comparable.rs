//! Which constants say the same to a function of arrays.
//!
//! In: a constant as it was written. Out: one that is equal for all that say the same. Functions take
//! numbers as DOUBLE, whichever type they were written in, so `2` and `2.0` are one, alone and in
//! lists; so are texts of all kinds, and NULL of all types. Not here: defaults, which only functions
//! know.

use arrow::array::Array;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;

/// The constant that stands for all that say the same as `value`.
pub fn comparable(value: &ScalarValue) -> ScalarValue {
    if value.is_null() {
        return ScalarValue::Null;
    }
    let found = compared_as(&value.data_type()).and_then(|data_type| {
        let array = value.to_array().ok()?;
        let converted = cast(&array, &data_type).ok()?;
        // numbers that DOUBLE rounds stay what they are
        let back = cast(&converted, array.data_type()).ok()?;
        let is_exact = back.as_ref() == array.as_ref();
        is_exact.then(|| ScalarValue::try_from_array(&converted, 0).ok())?
    });
    found.unwrap_or_else(|| value.clone())
}

/// The type in which constants of this type are compared, if there is one.
fn compared_as(data_type: &DataType) -> Option<DataType> {
    match data_type {
        numeric if numeric.is_numeric() => Some(DataType::Float64),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(DataType::Utf8),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            let item = Field::new_list_field(compared_as(item.data_type())?, true);
            Some(DataType::List(item.into()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(values: &[ScalarValue]) -> ScalarValue {
        ScalarValue::List(ScalarValue::new_list_nullable(values, &values[0].data_type()))
    }

    #[test]
    fn what_says_the_same_is_one() {
        let same = [
            (ScalarValue::Int64(Some(2)), ScalarValue::Float64(Some(2.0))),
            (ScalarValue::UInt8(Some(2)), ScalarValue::Float32(Some(2.0))),
            (ScalarValue::Decimal128(Some(250), 5, 2), ScalarValue::Float64(Some(2.5))),
            (list(&[1_i64.into(), 2_i64.into()]), list(&[1.0.into(), 2.0.into()])),
            (ScalarValue::Utf8View(Some("a".into())), ScalarValue::Utf8(Some("a".into()))),
            (ScalarValue::Int64(None), ScalarValue::Utf8(None)),
        ];
        for (one, other) in same {
            assert_eq!(comparable(&one), comparable(&other), "{one} and {other}");
        }
        let rows = |rows: [ScalarValue; 2]| comparable(&list(&rows));
        let whole = rows([list(&[1_i64.into()]), list(&[2_i64.into()])]);
        assert_eq!(whole, rows([list(&[1.0.into()]), list(&[2.0.into()])]));
    }

    #[test]
    fn what_says_something_else_is_not() {
        let great = (1_i64 << 53) + 1;
        let different = [
            (ScalarValue::Int64(Some(2)), ScalarValue::Float64(Some(2.5))),
            (ScalarValue::Int64(Some(great)), ScalarValue::Float64(Some(great as f64))),
            (ScalarValue::Int64(Some(2)), ScalarValue::Utf8(Some("2".into()))),
            (ScalarValue::Int64(Some(2)), list(&[2_i64.into()])),
            (ScalarValue::Int64(Some(0)), ScalarValue::Int64(None)),
        ];
        for (one, other) in different {
            assert_ne!(comparable(&one), comparable(&other), "{one} and {other}");
        }
    }
}
