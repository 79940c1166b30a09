//! One block out of several.

use arrow::array::{Array, ArrayRef, make_array};
use arrow::buffer::{Buffer, MutableBuffer};
use arrow::compute::interleave;
use arrow::datatypes::DataType;

use super::{Block, Region, copy_box};
use crate::{Error, Result};

/// The elements of `region` out of disjoint blocks of one type that together cover it.
///
/// # Errors
/// `Bug` if they do not.
pub fn joined(blocks: &[Block], region: &Region) -> Result<Block> {
    if let [block] = blocks {
        return block.crop(region);
    }
    let Some(first) = blocks.first() else {
        return Err(Error::bug(format!("no blocks under region {region}")));
    };
    let covered = blocks.iter().filter_map(|block| block.region().intersect(region));
    if covered.map(|shared| shared.element_count()).sum::<u64>() != region.element_count() {
        return Err(Error::bug(format!("blocks do not cover {region}")));
    }
    let data_type = first.values().data_type();
    let nulls = blocks.iter().any(|block| block.values().null_count() > 0);
    let values = match data_type.primitive_width() {
        Some(width) if !nulls => copied(blocks, region, data_type, width)?,
        _ => interleaved(blocks, region)?,
    };
    Block::try_new(region.clone(), values)
}

fn copied(
    blocks: &[Block],
    region: &Region,
    data_type: &DataType,
    width: usize,
) -> Result<ArrayRef> {
    let rows = region.element_count() as usize;
    let mut out = MutableBuffer::from_len_zeroed(rows * width);
    for block in blocks {
        let Some(shared) = block.region().intersect(region) else { continue };
        let data = block.values().to_data();
        let from = &data.buffers()[0].as_slice()[data.offset() * width..];
        let source = shared.relative_to(block.region().start());
        let target = shared.relative_to(region.start());
        copy_box(from, block.region().shape(), &source, &mut out, region.shape(), &target, width);
    }
    let data = arrow::array::ArrayData::builder(data_type.clone())
        .len(rows)
        .add_buffer(Buffer::from(out))
        .build()
        .map_err(|cause| Error::bug("joining blocks failed").caused_by(cause))?;
    Ok(make_array(data))
}

/// For elements that are not all of one width.
fn interleaved(blocks: &[Block], region: &Region) -> Result<ArrayRef> {
    let mut places = vec![(0, 0); region.element_count() as usize];
    for (number, block) in blocks.iter().enumerate() {
        let Some(shared) = block.region().intersect(region) else { continue };
        let source = shared.relative_to(block.region().start());
        let target = shared.relative_to(region.start());
        let from = row_starts(&source, block.region().shape());
        let to = row_starts(&target, region.shape());
        let length = shared.shape().last().map_or(1, |length| *length as usize);
        for (from, to) in from.zip(to) {
            for at in 0..length {
                places[to + at] = (number, from + at);
            }
        }
    }
    let values: Vec<&dyn Array> = blocks.iter().map(|block| block.values().as_ref()).collect();
    interleave(&values, &places)
        .map_err(|cause| Error::bug("joining blocks failed").caused_by(cause))
}

/// Where the rows of a box along the last axis begin in a row-major buffer of `shape`.
fn row_starts(inner: &Region, shape: &[u64]) -> impl Iterator<Item = usize> {
    let outer: Vec<u64> = inner.shape().iter().rev().skip(1).rev().copied().collect();
    let (start, shape) = (inner.start().to_vec(), shape.to_vec());
    (0..outer.iter().product::<u64>()).map(move |row| {
        let mut position = super::unravel(row, &outer);
        position.resize(shape.len(), 0);
        let axes = position.iter().zip(&start).zip(&shape);
        axes.fold(0, |sum, ((at, start), length)| sum * length + at + start) as usize
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int32Array};
    use arrow::datatypes::Int32Type;

    use super::*;

    #[test]
    fn numbers_and_missing_ones_are_joined_alike() {
        let whole = Region::whole(&[4, 5]);
        for nulls in [false, true] {
            let values: Int32Array = (0..20).map(|i| (!nulls || i % 3 > 0).then_some(i)).collect();
            let block = Block::try_new(whole.clone(), Arc::new(values)).unwrap();
            let quarters = [[0..2, 0..3], [0..2, 3..5], [2..4, 0..3], [2..4, 3..5]];
            let parts = quarters.map(|part| block.crop(&Region::from_ranges(&part)).unwrap());
            let inner = Region::from_ranges(&[1..4, 1..4]);
            let found = joined(&parts, &inner).unwrap();
            let expected = block.crop(&inner).unwrap();
            assert_eq!(
                found.values().as_primitive::<Int32Type>(),
                expected.values().as_primitive::<Int32Type>()
            );
        }
    }
}
