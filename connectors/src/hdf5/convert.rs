//! Turns the stored bytes of elements into an Arrow array.
//!
//! In: elements one after the other, in the file's byte order. Out: an array of the element's Arrow
//! type. Numbers keep their buffer; all else is built anew.

use std::sync::Arc;

use almagest_engine::{Error, Result};
use arrow::array::{
    ArrayData, ArrayRef, BooleanArray, FixedSizeListArray, Float32Array, StringBuilder,
    StructArray, make_array,
};
use arrow::buffer::{BooleanBuffer, MutableBuffer};
use arrow::datatypes::{DataType, Field};
use half::f16;
use rust_hdf5::format::messages::datatype::fixed_string_content;

use super::element::{Element, RecordField, record_fields};

/// The array of `count` elements stored in `bytes`.
///
/// # Errors
/// `DataInvalid` for text that is not UTF-8.
pub fn to_arrow(element: &Element, mut bytes: MutableBuffer, count: usize) -> Result<ArrayRef> {
    match element {
        Element::Number { arrow, swapped } => {
            if *swapped {
                swap_bytes(&mut bytes, element.bytes());
            }
            primitive(arrow, bytes, count)
        }
        Element::Half { swapped } => {
            let halves = bytes.chunks_exact(2).map(|pair| {
                let pair = [pair[0], pair[1]];
                let bits =
                    if *swapped { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) };
                f16::from_bits(bits).to_f32()
            });
            Ok(Arc::new(Float32Array::from_iter_values(halves)))
        }
        Element::Bits { arrow, swapped, offset, precision } => {
            let width = element.bytes();
            if *swapped {
                swap_bytes(&mut bytes, width);
            }
            for stored in bytes.chunks_exact_mut(width) {
                narrow(stored, *offset, *precision, arrow.is_signed_integer());
            }
            primitive(arrow, bytes, count)
        }
        Element::Bool => {
            let bits = BooleanBuffer::collect_bool(count, |index| bytes[index] != 0);
            Ok(Arc::new(BooleanArray::new(bits, None)))
        }
        Element::Text { bytes: width, padding } => text(&bytes, *width, *padding, count),
        Element::List { count: length, item } => {
            let values = to_arrow(item, bytes, count * length)?;
            let field = Arc::new(Field::new_list_field(item.arrow(), false));
            let length = i32::try_from(*length)
                .map_err(|_| Error::unsupported(format!("array fields of {length} elements")))?;
            let lists = FixedSizeListArray::try_new_with_length(field, length, values, None, count);
            lists.map(|lists| Arc::new(lists) as ArrayRef).map_err(malformed)
        }
        Element::Record { bytes: width, fields } => records(&bytes, *width, fields, count),
    }
}

fn malformed(cause: arrow::error::ArrowError) -> Error {
    Error::bug("a block is malformed").caused_by(cause)
}

fn primitive(arrow: &DataType, bytes: MutableBuffer, count: usize) -> Result<ArrayRef> {
    let data = ArrayData::builder(arrow.clone()).len(count).add_buffer(bytes.into());
    data.build().map(make_array).map_err(malformed)
}

fn text(bytes: &[u8], width: usize, padding: u8, count: usize) -> Result<ArrayRef> {
    let mut texts = StringBuilder::with_capacity(count, bytes.len());
    for stored in bytes.chunks_exact(width) {
        let content = fixed_string_content(stored, padding).unwrap_or(stored);
        let content = std::str::from_utf8(content).map_err(|cause| {
            Error::data_invalid(format!("a string is not UTF-8: {cause}")).caused_by(cause)
        })?;
        texts.append_value(content);
    }
    Ok(Arc::new(texts.finish()))
}

fn records(bytes: &[u8], width: usize, fields: &[RecordField], count: usize) -> Result<ArrayRef> {
    let columns = fields.iter().map(|field| {
        let inner = field.element.bytes();
        let mut column = MutableBuffer::with_capacity(count * inner);
        for record in bytes.chunks_exact(width) {
            column.extend_from_slice(&record[field.offset..field.offset + inner]);
        }
        to_arrow(&field.element, column, count)
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let array = StructArray::try_new_with_length(record_fields(fields), columns, None, count);
    array.map(|array| Arc::new(array) as ArrayRef).map_err(malformed)
}

/// Moves the bits that count to the bottom of a little-endian integer and extends its sign.
fn narrow(stored: &mut [u8], offset: u32, precision: u32, signed: bool) {
    let mut bytes = [0; 8];
    bytes[..stored.len()].copy_from_slice(stored);
    let above = 64 - precision;
    let raw = u64::from_le_bytes(bytes) >> offset << above;
    let value = if signed { (raw as i64 >> above) as u64 } else { raw >> above };
    stored.copy_from_slice(&value.to_le_bytes()[..stored.len()]);
}

/// Swaps the bytes of every element of `width` bytes.
fn swap_bytes(bytes: &mut [u8], width: usize) {
    macro_rules! swap {
        ($int:ty) => {
            for element in bytes.as_chunks_mut::<{ size_of::<$int>() }>().0 {
                *element = <$int>::from_ne_bytes(*element).swap_bytes().to_ne_bytes();
            }
        };
    }
    match width {
        2 => swap!(u16),
        4 => swap!(u32),
        8 => swap!(u64),
        _ => bytes.chunks_exact_mut(width.max(1)).for_each(<[u8]>::reverse),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::Int16Type;

    use super::*;

    #[test]
    fn twelve_bit_integers_keep_their_sign() {
        let element =
            Element::Bits { arrow: DataType::Int16, swapped: false, offset: 4, precision: 12 };
        let mut bytes = MutableBuffer::new(0);
        bytes.extend_from_slice(&((-5_i16) << 4).to_le_bytes());
        bytes.extend_from_slice(&0x7ff3_u16.to_le_bytes());
        let array = to_arrow(&element, bytes, 2).unwrap();
        assert_eq!(array.as_primitive::<Int16Type>().values(), &[-5, 0x7ff]);
    }

    #[test]
    fn big_endian_numbers_are_swapped() {
        let element = Element::Number { arrow: DataType::Int16, swapped: true };
        let mut bytes = MutableBuffer::new(0);
        bytes.extend_from_slice(&[1_u8, 2, 255, 254]);
        let array = to_arrow(&element, bytes, 2).unwrap();
        assert_eq!(array.as_primitive::<Int16Type>().values(), &[0x0102, -2]);
    }
}
