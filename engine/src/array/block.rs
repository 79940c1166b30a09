//! A region of an array in memory, and the one routine that moves boxes between buffers.

use arrow::array::{Array, ArrayRef, make_array};
use arrow::buffer::{Buffer, MutableBuffer};
use arrow::datatypes::DataType;

use super::Region;
use crate::{Error, Result};

/// The elements of a region, row-major, as one Arrow array.
#[derive(Clone, Debug)]
pub struct Block {
    region: Region,
    values: ArrayRef,
}

impl Block {
    /// Pairs a region with its elements.
    ///
    /// # Errors
    /// `Bug` if the number of values is not the region's element count.
    pub fn try_new(region: Region, values: ArrayRef) -> Result<Self> {
        if values.len() as u64 != region.element_count() {
            return Err(Error::bug(format!(
                "block of {} values for region {region}, which has {} elements",
                values.len(),
                region.element_count()
            )));
        }
        Ok(Self { region, values })
    }

    /// The box that the block covers.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// The elements, row-major over the region.
    pub fn values(&self) -> &ArrayRef {
        &self.values
    }

    /// The part of this block inside `region`, which must lie in it. Copies unless the part is one
    /// contiguous run.
    ///
    /// # Errors
    /// `Bug` if the region does not lie in this block, or the element type has no fixed width.
    pub fn crop(&self, region: &Region) -> Result<Self> {
        if *region == self.region {
            return Ok(self.clone());
        }
        if !self.region.contains(region) {
            return Err(Error::bug(format!("crop to {region} of a block of {}", self.region)));
        }
        let inner = region.relative_to(self.region.start());
        let rows = region.element_count() as usize;
        if let Some(offset) = contiguous_offset(self.region.shape(), &inner) {
            return Self::try_new(region.clone(), self.values.slice(offset, rows));
        }
        let bits = self.values.data_type() == &DataType::Boolean || self.values.null_count() > 0;
        let width = self.values.data_type().primitive_width();
        let (Some(width), false) = (width, bits) else {
            let indices = flat_indices(self.region.shape(), &inner);
            let values = arrow::compute::take(&self.values, &indices, None)
                .map_err(|cause| Error::bug("cropping a block failed").caused_by(cause))?;
            return Self::try_new(region.clone(), values);
        };
        let data = self.values.to_data();
        let from = &data.buffers()[0].as_slice()[data.offset() * width..];
        let mut to = MutableBuffer::from_len_zeroed(rows * width);
        let target = Region::whole(region.shape());
        copy_box(from, self.region.shape(), &inner, &mut to, region.shape(), &target, width);
        let data = arrow::array::ArrayData::builder(self.values.data_type().clone())
            .len(rows)
            .add_buffer(Buffer::from(to))
            .build()
            .map_err(|cause| Error::bug("cropping a block failed").caused_by(cause))?;
        Self::try_new(region.clone(), make_array(data))
    }
}

/// Where `inner` begins in a row-major buffer of `shape`, if its elements are contiguous there.
fn contiguous_offset(shape: &[u64], inner: &Region) -> Option<usize> {
    let mut past_first_partial = false;
    for (axis, length) in shape.iter().enumerate() {
        if past_first_partial && inner.shape()[axis] != *length {
            return None;
        }
        past_first_partial |= inner.shape()[axis] != 1;
    }
    let offset = shape.iter().zip(inner.start()).fold(0, |sum, (length, at)| sum * length + at);
    Some(offset as usize)
}

fn flat_indices(shape: &[u64], inner: &Region) -> arrow::array::UInt64Array {
    let strides = strides(shape);
    (0..inner.element_count())
        .map(|index| {
            super::grid::unravel(index, inner.shape())
                .iter()
                .zip(inner.start())
                .zip(&strides)
                .map(|((offset, start), stride)| (offset + start) * *stride as u64)
                .sum::<u64>()
        })
        .collect::<Vec<u64>>()
        .into()
}

fn strides(shape: &[u64]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis] as usize;
    }
    strides
}

/// Copies the box `from_box` of a row-major buffer of `from_shape` to the box `to_box` (of the same
/// shape) of a row-major buffer of `to_shape`. Elements are `width` bytes.
pub fn copy_box(
    from: &[u8],
    from_shape: &[u64],
    from_box: &Region,
    to: &mut [u8],
    to_shape: &[u64],
    to_box: &Region,
    width: usize,
) {
    debug_assert_eq!(from_box.shape(), to_box.shape());
    if from_box.is_empty() {
        return;
    }
    let ndim = from_shape.len();
    // Trailing axes that both boxes cover whole merge into one run.
    let mut run_axis = ndim;
    let mut run_elements = 1;
    while run_axis > 0 {
        run_axis -= 1;
        run_elements *= from_box.shape()[run_axis] as usize;
        let length = from_box.shape()[run_axis];
        if from_shape[run_axis] != length || to_shape[run_axis] != length {
            break;
        }
    }
    let (from_strides, to_strides) = (strides(from_shape), strides(to_shape));
    let offset = |start: &[u64], strides: &[usize]| -> usize {
        start.iter().zip(strides).map(|(at, stride)| *at as usize * stride).sum()
    };
    let mut from_at = offset(from_box.start(), &from_strides);
    let mut to_at = offset(to_box.start(), &to_strides);
    let outer = &from_box.shape()[..run_axis.min(ndim)];
    let mut position = vec![0_u64; outer.len()];
    let run_bytes = run_elements * width;
    loop {
        let source = &from[from_at * width..from_at * width + run_bytes];
        to[to_at * width..to_at * width + run_bytes].copy_from_slice(source);
        let mut axis = outer.len();
        loop {
            if axis == 0 {
                return;
            }
            axis -= 1;
            position[axis] += 1;
            from_at += from_strides[axis];
            to_at += to_strides[axis];
            if position[axis] < outer[axis] {
                break;
            }
            from_at -= from_strides[axis] * outer[axis] as usize;
            to_at -= to_strides[axis] * outer[axis] as usize;
            position[axis] = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, BooleanArray, Int32Array};
    use arrow::datatypes::Int32Type;

    use super::*;

    fn numbered(shape: &[u64]) -> Block {
        let region = Region::whole(shape);
        let values: Int32Array = (0..region.element_count() as i32).collect::<Vec<_>>().into();
        Block::try_new(region, Arc::new(values)).unwrap()
    }

    #[test]
    fn a_crop_keeps_row_major_order() {
        let inner = Region::from_ranges(&[1..3, 2..4]);
        let crop = numbered(&[3, 4]).crop(&inner).unwrap();
        assert_eq!(crop.values().as_primitive::<Int32Type>().values(), &[6, 7, 10, 11]);
    }

    #[test]
    fn whole_rows_are_cropped_without_a_copy() {
        let block = numbered(&[4, 5]);
        let crop = block.crop(&Region::from_ranges(&[1..3, 0..5])).unwrap();
        let (whole, part) = (block.values().to_data(), crop.values().to_data());
        assert_eq!(whole.buffers()[0].as_ptr(), part.buffers()[0].data_ptr().as_ptr().cast_const());
        assert_eq!(crop.values().as_primitive::<Int32Type>().values()[0], 5);
    }

    #[test]
    fn booleans_are_cropped_too() {
        let values = BooleanArray::from(vec![true, false, false, true, true, false]);
        let block = Block::try_new(Region::whole(&[2, 3]), Arc::new(values)).unwrap();
        let crop = block.crop(&Region::from_ranges(&[0..2, 0..1])).unwrap();
        assert_eq!(crop.values().as_boolean(), &BooleanArray::from(vec![true, true]));
    }

    #[test]
    fn a_box_is_copied_between_shapes() {
        let from: Vec<u8> = (0..24).collect();
        let mut to = vec![255; 2 * 2 * 3];
        let from_box = Region::from_ranges(&[1..2, 0..2, 1..3]);
        let to_box = Region::from_ranges(&[1..2, 0..2, 1..3]);
        copy_box(&from, &[2, 3, 4], &from_box, &mut to, &[2, 2, 3], &to_box, 1);
        assert_eq!(to, [255, 255, 255, 255, 255, 255, 255, 13, 14, 255, 17, 18]);
    }
}
