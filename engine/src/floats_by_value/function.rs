//! `canonical(x)`: of all floats that are equal, the one that stands for them.
//!
//! Every NaN becomes the one whose sign is not set, and -0.0 becomes 0.0; lists and structs are changed
//! inside; all else stays. Arrow compares, sorts and hashes floats by their bits, so what this function
//! gives is compared, sorted and hashed rightly: NaN is above all numbers and equal to itself, and zero has
//! no sign. Where nothing is to be changed, which is looked up first, the column itself is given back.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayData, ArrayRef, AsArray, make_array};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, FieldRef, Float16Type, Float32Type, Float64Type,
};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use crate::{Error, vectorised};

/// Values that are looked at before it is asked whether one was to be changed.
const BLOCK: usize = 4096;

/// The function, for registration and for plans.
pub fn canonical() -> &'static Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        let signature = Signature::any(1, Volatility::Immutable);
        Arc::new(ScalarUDF::from(Canonical { signature }))
    });
    &FUNCTION
}

/// Whether a value of this type may hold a float.
pub fn has_floats(data_type: &DataType) -> bool {
    match data_type {
        DataType::Float16 | DataType::Float32 | DataType::Float64 => true,
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => has_floats(field.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_floats(field.data_type())),
        DataType::Dictionary(_, values) => has_floats(values),
        DataType::RunEndEncoded(_, values) => has_floats(values.data_type()),
        DataType::Union(fields, _) => fields.iter().any(|(_, field)| has_floats(field.data_type())),
        _ => false,
    }
}

/// The constant that stands for all that equal this one.
///
/// # Errors
/// `Bug` if it cannot be laid out.
pub fn canonical_scalar(value: ScalarValue) -> DfResult<ScalarValue> {
    match value {
        // lists of a million constants are no rarity
        ScalarValue::Float32(Some(value)) => {
            return Ok(ScalarValue::Float32(Some(Float32Type::canonical(value))));
        }
        ScalarValue::Float64(Some(value)) => {
            return Ok(ScalarValue::Float64(Some(Float64Type::canonical(value))));
        }
        value if !has_floats(&value.data_type()) => return Ok(value),
        _ => {}
    }
    ScalarValue::try_from_array(&canonical_array(&value.to_array()?)?, 0)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Canonical {
    signature: Signature,
}

impl ScalarUDFImpl for Canonical {
    fn name(&self) -> &str {
        "canonical"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        let [of] = types else { return Err(Error::bug("canonical takes one argument").into()) };
        Ok(of.clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DfResult<FieldRef> {
        let [of] = args.arg_fields else {
            return Err(Error::bug("canonical takes one argument").into());
        };
        Ok(Arc::clone(of))
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        match args.args.pop() {
            Some(ColumnarValue::Array(array)) => Ok(ColumnarValue::Array(canonical_array(&array)?)),
            Some(ColumnarValue::Scalar(value)) => {
                Ok(ColumnarValue::Scalar(canonical_scalar(value)?))
            }
            None => Err(Error::bug("canonical takes one argument").into()),
        }
    }
}

/// How a float is laid out in bits.
trait Layout: ArrowPrimitiveType {
    fn is_odd(value: Self::Native) -> bool;
    fn canonical(value: Self::Native) -> Self::Native;
}

macro_rules! layouts {
    ($($type:ty, $bits:ty, $infinity:expr, $nan:expr);*) => {$(
        impl Layout for $type {
            #[inline(always)]
            fn is_odd(value: Self::Native) -> bool {
                const SIGN: $bits = 1 << (<$bits>::BITS - 1);
                let bits = value.to_bits();
                (bits == SIGN) | ((bits & !SIGN > $infinity) & (bits != $nan))
            }

            #[inline(always)]
            fn canonical(value: Self::Native) -> Self::Native {
                const SIGN: $bits = 1 << (<$bits>::BITS - 1);
                let bits = value.to_bits();
                let number = if bits == SIGN { 0 } else { bits };
                Self::Native::from_bits(if bits & !SIGN > $infinity { $nan } else { number })
            }
        }
    )*};
}
layouts!(
    Float16Type, u16, 0x7C00, 0x7E00;
    Float32Type, u32, 0x7F80_0000, 0x7FC0_0000;
    Float64Type, u64, 0x7FF0_0000_0000_0000, 0x7FF8_0000_0000_0000
);

/// The values that stand for all that equal these.
///
/// # Errors
/// `Bug` if an array's parts do not fit.
pub fn canonical_array(array: &ArrayRef) -> DfResult<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Float16 => canonical_floats::<Float16Type>(array),
        DataType::Float32 => canonical_floats::<Float32Type>(array),
        DataType::Float64 => canonical_floats::<Float64Type>(array),
        nested if has_floats(nested) => make_array(canonical_data(array.to_data())?),
        _ => Arc::clone(array),
    })
}

/// The same for what is inside of lists and structs.
fn canonical_data(data: ArrayData) -> DfResult<ArrayData> {
    let children = data.child_data().iter().map(|child| {
        let child = canonical_array(&make_array(child.clone()))?;
        Ok(child.to_data())
    });
    let children = children.collect::<DfResult<Vec<_>>>()?;
    Ok(data.into_builder().child_data(children).build()?)
}

fn canonical_floats<T: Layout>(array: &ArrayRef) -> ArrayRef {
    let floats = array.as_primitive::<T>();
    let is_odd = |block: &[T::Native]| {
        vectorised(
            #[inline(always)]
            || block.iter().fold(false, |any, value| any | T::is_odd(*value)),
        )
    };
    match floats.values().chunks(BLOCK).any(is_odd) {
        false => Arc::clone(array),
        true => Arc::new(floats.unary::<_, T>(T::canonical)),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, ListArray};

    use super::*;

    #[test]
    fn every_nan_becomes_one_and_zero_loses_its_sign() {
        let quiet = f64::from_bits(0x7FF8_0000_0000_0001);
        let signalling = f64::from_bits(0x7FF0_0000_0000_0001);
        let values = [-f64::NAN, quiet, signalling, -0.0, 0.0, -1.5, f64::INFINITY];
        let array: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
        let found = canonical_array(&array).unwrap();
        let found: Vec<u64> =
            found.as_primitive::<Float64Type>().values().iter().map(|v| v.to_bits()).collect();
        let nan = f64::NAN.to_bits();
        let expected = [nan, nan, nan, 0, 0, (-1.5_f64).to_bits(), f64::INFINITY.to_bits()];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_needs_no_change_is_not_copied() {
        let values = vec![Some(1.0), None, Some(f64::NAN), Some(f64::NEG_INFINITY)];
        let array: ArrayRef = Arc::new(Float64Array::from(values));
        assert!(Arc::ptr_eq(&array, &canonical_array(&array).unwrap()));
    }

    #[test]
    fn lists_are_changed_inside() {
        let list = ListArray::from_iter_primitive::<Float64Type, _, _>([
            Some(vec![Some(-0.0), None]),
            None,
            Some(vec![Some(-f64::NAN)]),
        ]);
        let found = canonical_array(&(Arc::new(list) as ArrayRef)).unwrap();
        let inner = found.as_list::<i32>().values().as_primitive::<Float64Type>();
        assert_eq!(inner.value(0).to_bits(), 0);
        assert!(inner.is_null(1));
        assert_eq!(inner.value(2).to_bits(), f64::NAN.to_bits());
        assert_eq!(found.len(), 3);
        assert!(found.is_null(1));
    }
}
