//! How many bytes and elements arguments of functions hold, row by row.
//!
//! In: arrays and constants. Out: counts that are never too small; the bytes of views count for each row that
//! shows them, as they do once a function has copied them.

use arrow::array::{Array, AsArray, OffsetSizeTrait};
use arrow::compute::cast;
use arrow::datatypes::{BinaryViewType, ByteViewType, DataType, Int64Type, StringViewType};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::ColumnarValue;

/// A count for each row, or one for all.
pub enum PerRow {
    /// All rows have it.
    Same(u64),
    /// Each has its own.
    Each(Vec<u64>),
}

impl PerRow {
    /// The count of a row.
    pub fn at(&self, row: usize) -> u64 {
        match self {
            Self::Same(count) => *count,
            Self::Each(counts) => counts.get(row).copied().unwrap_or(0),
        }
    }

    /// The bytes in each row of an argument.
    pub fn bytes(value: &ColumnarValue) -> Self {
        match value {
            ColumnarValue::Scalar(value) => Self::Same(scalar_bytes(value)),
            ColumnarValue::Array(array) => Self::Each(row_bytes(array.as_ref())),
        }
    }

    /// The elements in each row of an argument of lists.
    pub fn elements(value: &ColumnarValue) -> DfResult<Self> {
        Ok(match value {
            ColumnarValue::Scalar(value) => {
                let counts = row_elements(value.to_array()?.as_ref());
                Self::Same(counts.first().copied().unwrap_or(0))
            }
            ColumnarValue::Array(array) => Self::Each(row_elements(array.as_ref())),
        })
    }
}

/// The bytes of all rows of an argument, of which there are `rows`.
pub fn all_bytes(value: &ColumnarValue, rows: usize) -> u64 {
    match value {
        ColumnarValue::Scalar(value) => scalar_bytes(value).saturating_mul(rows as u64),
        ColumnarValue::Array(array) => array_bytes(array.as_ref()),
    }
}

/// The whole number in each row of an argument; absent for NULL, and for what is none.
pub fn integers(value: &ColumnarValue, rows: usize) -> DfResult<Vec<Option<i64>>> {
    Ok(match value {
        ColumnarValue::Scalar(value) => {
            let number = match value.cast_to(&DataType::Int64) {
                Ok(ScalarValue::Int64(number)) => number,
                _ => None,
            };
            vec![number; rows]
        }
        ColumnarValue::Array(array) => {
            let numbers = cast(array, &DataType::Int64)?;
            numbers.as_primitive::<Int64Type>().iter().collect()
        }
    })
}

/// The text in a row of an argument of texts.
pub fn text_at(value: &ColumnarValue, row: usize) -> Option<&str> {
    let array = match value {
        ColumnarValue::Scalar(value) => return value.try_as_str().flatten(),
        ColumnarValue::Array(array) => array,
    };
    if array.is_null(row) {
        return None;
    }
    match array.data_type() {
        DataType::Utf8 => Some(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => Some(array.as_string::<i64>().value(row)),
        DataType::Utf8View => Some(array.as_string_view().value(row)),
        _ => None,
    }
}

/// The bytes of a constant.
pub fn scalar_bytes(value: &ScalarValue) -> u64 {
    use ScalarValue::{
        Binary, BinaryView, FixedSizeBinary, FixedSizeList, LargeBinary, LargeList, LargeUtf8,
        List, Map, Struct, Utf8, Utf8View,
    };
    match value {
        Utf8(Some(text)) | LargeUtf8(Some(text)) | Utf8View(Some(text)) => text.len() as u64,
        Binary(Some(bytes)) | LargeBinary(Some(bytes)) | BinaryView(Some(bytes)) => {
            bytes.len() as u64
        }
        FixedSizeBinary(_, Some(bytes)) => bytes.len() as u64,
        List(list) => array_bytes(list.as_ref()),
        LargeList(list) => array_bytes(list.as_ref()),
        FixedSizeList(list) => array_bytes(list.as_ref()),
        Struct(fields) => array_bytes(fields.as_ref()),
        Map(map) => array_bytes(map.as_ref()),
        other => other.data_type().primitive_width().unwrap_or(16) as u64,
    }
}

/// The bytes of all rows.
pub fn array_bytes(array: &dyn Array) -> u64 {
    match array.data_type() {
        DataType::Utf8 => span(array.as_string::<i32>().value_offsets()),
        DataType::LargeUtf8 => span(array.as_string::<i64>().value_offsets()),
        DataType::Binary => span(array.as_binary::<i32>().value_offsets()),
        DataType::LargeBinary => span(array.as_binary::<i64>().value_offsets()),
        data_type => match data_type.primitive_width() {
            Some(width) => (width * array.len()) as u64,
            None => row_bytes(array).into_iter().fold(0, u64::saturating_add),
        },
    }
}

/// The bytes of each row.
pub fn row_bytes(array: &dyn Array) -> Vec<u64> {
    let rows = array.len();
    match array.data_type() {
        DataType::Utf8 => lengths(array.as_string::<i32>().value_offsets()),
        DataType::LargeUtf8 => lengths(array.as_string::<i64>().value_offsets()),
        DataType::Binary => lengths(array.as_binary::<i32>().value_offsets()),
        DataType::LargeBinary => lengths(array.as_binary::<i64>().value_offsets()),
        DataType::Utf8View => view_lengths::<StringViewType>(array),
        DataType::BinaryView => view_lengths::<BinaryViewType>(array),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            inside(list.value_offsets(), list.values().as_ref())
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            inside(list.value_offsets(), list.values().as_ref())
        }
        DataType::Map(..) => {
            let map = array.as_map();
            inside(map.value_offsets(), map.entries())
        }
        DataType::FixedSizeList(_, length) => {
            let bytes = row_bytes(array.as_fixed_size_list().values().as_ref());
            let length = usize::try_from(*length).unwrap_or(0).max(1);
            let mut rows: Vec<u64> = bytes.chunks(length).map(|row| row.iter().sum()).collect();
            rows.resize(array.len(), 0);
            rows
        }
        DataType::Struct(_) => {
            let mut all = vec![0_u64; rows];
            for column in array.as_struct().columns() {
                let each = all.iter_mut().zip(row_bytes(column.as_ref()));
                each.for_each(|(sum, bytes)| *sum = sum.saturating_add(bytes));
            }
            all
        }
        DataType::Dictionary(..) => {
            let values = array.as_any_dictionary();
            let longest = row_bytes(values.values().as_ref()).into_iter().max().unwrap_or(0);
            vec![longest; rows]
        }
        DataType::FixedSizeBinary(width) => vec![u64::try_from(*width).unwrap_or(0); rows],
        DataType::Null | DataType::Boolean => vec![1; rows],
        other => match other.primitive_width() {
            Some(width) => vec![width as u64; rows],
            None => vec![(array.get_array_memory_size() / rows.max(1)) as u64; rows],
        },
    }
}

/// The elements of each row of lists; one for what is no list.
pub fn row_elements(array: &dyn Array) -> Vec<u64> {
    match array.data_type() {
        DataType::List(_) => lengths(array.as_list::<i32>().value_offsets()),
        DataType::LargeList(_) => lengths(array.as_list::<i64>().value_offsets()),
        DataType::Map(..) => lengths(array.as_map().value_offsets()),
        DataType::FixedSizeList(_, length) => {
            vec![u64::try_from(*length).unwrap_or(0); array.len()]
        }
        _ => vec![1; array.len()],
    }
}

/// The elements of each row that are left when all lists in lists are opened.
pub fn row_leaves(array: &dyn Array) -> Vec<u64> {
    let within = |offsets: Vec<u64>, values: &dyn Array| {
        let mut leaves = row_leaves(values).into_iter();
        let counts = offsets.into_iter().map(|count| leaves.by_ref().take(count as usize).sum());
        counts.collect()
    };
    match array.data_type() {
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let (begin, end) = ends(list.value_offsets());
            within(row_elements(array), list.values().slice(begin, end - begin).as_ref())
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            let (begin, end) = ends(list.value_offsets());
            within(row_elements(array), list.values().slice(begin, end - begin).as_ref())
        }
        DataType::FixedSizeList(..) => {
            within(row_elements(array), array.as_fixed_size_list().values().as_ref())
        }
        _ => row_elements(array),
    }
}

fn ends<O: OffsetSizeTrait>(offsets: &[O]) -> (usize, usize) {
    let at = |offset: Option<&O>| offset.map_or(0, |offset| offset.as_usize());
    (at(offsets.first()), at(offsets.last()))
}

fn span<O: OffsetSizeTrait>(offsets: &[O]) -> u64 {
    let (begin, end) = ends(offsets);
    end.saturating_sub(begin) as u64
}

fn lengths<O: OffsetSizeTrait>(offsets: &[O]) -> Vec<u64> {
    let pairs = offsets.windows(2);
    pairs.map(|pair| pair[1].as_usize().saturating_sub(pair[0].as_usize()) as u64).collect()
}

fn view_lengths<T: ByteViewType>(array: &dyn Array) -> Vec<u64> {
    // the low half of a view is the length
    array.as_byte_view::<T>().views().iter().map(|view| u64::from(*view as u32)).collect()
}

/// The bytes of each list of `values`.
fn inside<O: OffsetSizeTrait>(offsets: &[O], values: &dyn Array) -> Vec<u64> {
    let (begin, end) = ends(offsets);
    if let Some(width) = values.data_type().primitive_width() {
        return lengths(offsets).into_iter().map(|count| count * width as u64).collect();
    }
    let mut bytes = row_bytes(values.slice(begin, end.saturating_sub(begin)).as_ref()).into_iter();
    let counts = lengths(offsets).into_iter();
    // an element takes some bytes, though it be empty
    counts
        .map(|count| bytes.by_ref().take(count as usize).fold(count, u64::saturating_add))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, ListArray, StringArray, StringViewArray};
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn rows_are_counted_by_their_own_bytes() {
        let texts = StringArray::from(vec!["a", "", "abc", "äö"]);
        assert_eq!(row_bytes(&texts), [1, 0, 3, 4]);
        assert_eq!(row_bytes(&texts.slice(2, 2)), [3, 4]);
        assert_eq!(array_bytes(&texts.slice(2, 2)), 7);
        let views = StringViewArray::from(vec!["a", "twelve or more letters"]);
        assert_eq!(row_bytes(&views), [1, 22]);
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 3, 4, 5]));
        let field = Arc::new(Field::new_list_field(DataType::Int32, true));
        let offsets = OffsetBuffer::from_lengths([2, 0, 3]);
        let list = ListArray::new(field, offsets, numbers, None);
        assert_eq!(row_bytes(&list), [8, 0, 12]);
        assert_eq!(row_elements(&list.slice(1, 2)), [0, 3]);
        let field = Arc::new(Field::new_list_field(list.data_type().clone(), true));
        let lists = ListArray::new(field, OffsetBuffer::from_lengths([1, 2]), Arc::new(list), None);
        assert_eq!(row_leaves(&lists), [2, 3]);
        assert_eq!(row_leaves(&lists.slice(1, 1)), [3]);
    }
}
