//! The type that holds the values of several arrays: NumPy's promotion of element types.

use arrow::datatypes::DataType;

use crate::{Error, Result};

/// The type to which NumPy promotes these (`numpy.result_type`).
///
/// # Errors
/// `Plan` for types that have none in common, such as text and numbers.
pub fn promoted_type(types: &[&DataType]) -> Result<DataType> {
    // Floats first: NumPy gives f4 for i1, u2 and f4, though i1 and u2 alone make i4.
    let (mut ordered, others): (Vec<&DataType>, Vec<&DataType>) =
        types.iter().copied().partition(|data_type| data_type.is_floating());
    ordered.extend(others);
    let Some((first, rest)) = ordered.split_first() else {
        return Err(Error::bug("no types to promote"));
    };
    let mut found = (*first).clone();
    for other in rest {
        found = promoted(&found, other).ok_or_else(|| {
            Error::plan(format!(
                "elements of {found} and of {other} have no type in common; cast one of them first"
            ))
        })?;
    }
    Ok(found)
}

fn promoted(one: &DataType, other: &DataType) -> Option<DataType> {
    use DataType::{Boolean, Float16, Float32, Float64};
    if one == other {
        return Some(one.clone());
    }
    Some(match (one, other) {
        (Boolean, number) | (number, Boolean) if number.is_numeric() => number.clone(),
        (integer, float) | (float, integer) if float.is_floating() && integer.is_integer() => {
            let bits = 8 * integer.primitive_width()?;
            match (float, bits) {
                (Float16, 8) => Float16,
                (Float16 | Float32, ..=16) => Float32,
                _ => Float64,
            }
        }
        (one, other) if one.is_floating() && other.is_floating() => wider(one, other)?,
        (one, other) if one.is_integer() && other.is_integer() => {
            if one.is_signed_integer() == other.is_signed_integer() {
                return wider(one, other);
            }
            let (signed, unsigned) =
                if one.is_signed_integer() { (one, other) } else { (other, one) };
            match signed.primitive_width()?.max(2 * unsigned.primitive_width()?) {
                2 => DataType::Int16,
                4 => DataType::Int32,
                8 => DataType::Int64,
                _ => Float64,
            }
        }
        _ => return None,
    })
}

fn wider(one: &DataType, other: &DataType) -> Option<DataType> {
    let first = one.primitive_width()? >= other.primitive_width()?;
    Some(if first { one.clone() } else { other.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `numpy.result_type` of the types in this order, for each pair.
    #[rustfmt::skip]
    const NUMPY: [&str; 11] = [
        "Boolean Int8 Int16 Int32 Int64 UInt8 UInt16 UInt32 UInt64 Float32 Float64",
        "Int8 Int8 Int16 Int32 Int64 Int16 Int32 Int64 Float64 Float32 Float64",
        "Int16 Int16 Int16 Int32 Int64 Int16 Int32 Int64 Float64 Float32 Float64",
        "Int32 Int32 Int32 Int32 Int64 Int32 Int32 Int64 Float64 Float64 Float64",
        "Int64 Int64 Int64 Int64 Int64 Int64 Int64 Int64 Float64 Float64 Float64",
        "UInt8 Int16 Int16 Int32 Int64 UInt8 UInt16 UInt32 UInt64 Float32 Float64",
        "UInt16 Int32 Int32 Int32 Int64 UInt16 UInt16 UInt32 UInt64 Float32 Float64",
        "UInt32 Int64 Int64 Int64 Int64 UInt32 UInt32 UInt32 UInt64 Float64 Float64",
        "UInt64 Float64 Float64 Float64 Float64 UInt64 UInt64 UInt64 UInt64 Float64 Float64",
        "Float32 Float32 Float32 Float64 Float64 Float32 Float32 Float64 Float64 Float32 Float64",
        "Float64 Float64 Float64 Float64 Float64 Float64 Float64 Float64 Float64 Float64 Float64",
    ];

    #[test]
    fn types_are_promoted_as_numpy_does() {
        use DataType::*;
        let types =
            [Boolean, Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64, Float32, Float64];
        for (one, expected) in types.iter().zip(NUMPY) {
            let found = types.iter().map(|other| promoted_type(&[one, other]).unwrap().to_string());
            assert_eq!(found.collect::<Vec<_>>().join(" "), expected, "{one}");
        }
        // numpy.result_type('i1', 'u2', 'f4'), where the integers alone would need 32 bits
        assert_eq!(promoted_type(&[&Int8, &UInt16, &Float32]).unwrap(), Float32);
        assert!(promoted_type(&[&Utf8, &Int8]).is_err());
    }
}
