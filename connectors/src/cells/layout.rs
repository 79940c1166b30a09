//! What an array that is being written looks like: its dimensions, values, shape and chunks.
//!
//! In: what a COPY statement asks for. Out: positions in chunks, and names of cells for people. Not
//! here: which columns are dimensions (`copy/columns.rs`).

use std::fmt::Display;

use almagest_engine::{Error, Result};
use arrow::datatypes::DataType;

/// A dimension, slowest first among others.
#[derive(Clone, Debug)]
pub struct Dimension {
    /// Its name.
    pub name: String,
    /// Its column in the rows.
    pub column: usize,
}

/// A value that each cell has.
#[derive(Clone, Debug)]
pub struct Value {
    /// Its name.
    pub name: String,
    /// Its column in the rows.
    pub column: usize,
    /// What it is stored as: a number.
    pub data_type: DataType,
    /// Bytes of an element.
    pub width: usize,
    /// The element of cells that do not come, as bytes in memory.
    pub fill: Vec<u8>,
    /// Whether NULL is stored as the fill value; else it is an error.
    pub null_is_fill: bool,
}

/// An array that is to be written.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The axes, slowest first.
    pub dims: Vec<Dimension>,
    /// The values.
    pub values: Vec<Value>,
    /// Lengths of the axes, if they are known.
    pub shape: Option<Vec<u64>>,
    /// Lengths of a chunk's axes; none is longer than the array's, if that is known.
    pub chunk_shape: Vec<u64>,
}

impl Layout {
    /// The names of the values, for people.
    pub fn value_names(&self) -> String {
        self.values.iter().map(|value| value.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Sets the chunk shape: the one that is wanted, or else one of about `bytes` for the widest
    /// value; no chunk is longer than the array.
    pub fn chunk(&mut self, wanted: Option<Vec<u64>>, bytes: u64) {
        let widest = self.values.iter().map(|value| value.width as u64).max().unwrap_or(1);
        let longest = vec![u64::MAX; self.dims.len()];
        let bounds = self.shape.as_ref().unwrap_or(&longest);
        self.chunk_shape = match wanted {
            Some(chunk) => {
                chunk.iter().zip(bounds).map(|(chunk, bound)| *chunk.min(bound)).collect()
            }
            None => square(bounds, bytes / widest),
        };
    }

    /// Cells of a chunk.
    pub fn chunk_cells(&self) -> usize {
        self.chunk_shape.iter().product::<u64>() as usize
    }

    /// Cells of the chunk at `start` that lie in the array.
    pub fn cells_inside(&self, start: &[u64]) -> usize {
        let Some(shape) = &self.shape else { return self.chunk_cells() };
        let axes = self.chunk_shape.iter().zip(shape).zip(start);
        axes.map(|((chunk, length), start)| (length - start).min(*chunk)).product::<u64>() as usize
    }

    /// The indices of the cell at an offset in the chunk at `start`.
    pub fn cell_at(&self, start: &[u64], mut offset: usize) -> Vec<i64> {
        let mut cell = vec![0; start.len()];
        for axis in (0..start.len()).rev() {
            let length = self.chunk_shape[axis] as usize;
            cell[axis] = (start[axis] + (offset % length) as u64) as i64;
            offset /= length;
        }
        cell
    }

    /// The same elements in chunks that are no longer than the array: only an array that is shorter
    /// than a chunk has less to keep.
    pub fn cut(&self, values: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let Some(shape) = &self.shape else { return values };
        let lengths: Vec<(usize, usize)> = self
            .chunk_shape
            .iter()
            .zip(shape)
            .map(|(chunk, length)| (*chunk as usize, *chunk.min(length) as usize))
            .collect();
        if lengths.iter().all(|(from, to)| from == to) {
            return values;
        }
        let values = self.values.iter().zip(values);
        values.map(|(value, whole)| cut_axes(&lengths, value.width, &whole)).collect()
    }
}

/// A box of about so many cells: sides are powers of two, alike, but none longer than its bound.
fn square(bounds: &[u64], cells: u64) -> Vec<u64> {
    let mut axes: Vec<usize> = (0..bounds.len()).collect();
    axes.sort_by_key(|axis| bounds[*axis]);
    let mut left = cells.max(1);
    let mut sides = vec![1; bounds.len()];
    for (done, axis) in axes.iter().enumerate() {
        let side = 1 << (left.ilog2() / (bounds.len() - done) as u32);
        sides[*axis] = bounds[*axis].clamp(1, side);
        left = (left / sides[*axis]).max(1);
    }
    sides
}

/// The first elements along each axis: `lengths` are those that there are and those that are kept.
fn cut_axes(lengths: &[(usize, usize)], width: usize, whole: &[u8]) -> Vec<u8> {
    let [(from, to), inner @ ..] = lengths else { return whole[..width].to_vec() };
    let stride = whole.len() / from;
    whole.chunks_exact(stride).take(*to).flat_map(|part| cut_axes(inner, width, part)).collect()
}

/// Bytes of an array of elements of `width` bytes.
///
/// # Errors
/// `Plan` if no file can be so large.
pub fn array_bytes(shape: &[u64], width: usize) -> Result<u64> {
    shape
        .iter()
        .try_fold(width as u64, |bytes, length| bytes.checked_mul(*length))
        .filter(|bytes| i64::try_from(*bytes).is_ok())
        .ok_or_else(|| {
            Error::plan(format!("an array of shape {shape:?} is larger than a file can be"))
        })
}

/// A cell's name for people: `cell (y 3, x 7)`.
pub fn cell_name(dims: &[Dimension], indices: &[impl Display]) -> String {
    let axes = dims.iter().zip(indices).map(|(dim, index)| format!("{} {index}", dim.name));
    format!("cell ({})", axes.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_square_where_the_array_is_long_enough() {
        let open = u64::MAX;
        assert_eq!(square(&[open, open], 1 << 18), [512, 512]);
        assert_eq!(square(&[8192, 8192], 1 << 17), [256, 512]);
        assert_eq!(square(&[open, 3, open], 1 << 18), [256, 3, 256]);
        assert_eq!(square(&[10, 20], 1 << 18), [10, 20]);
        assert_eq!(square(&[open], 1 << 18), [1 << 18]);
    }

    #[test]
    fn cutting_keeps_the_first_of_each_axis() {
        // 2 x 3 elements of two bytes, of which 1 x 2 are kept
        let whole: Vec<u8> = (0..12).collect();
        assert_eq!(cut_axes(&[(2, 1), (3, 2)], 2, &whole), [0, 1, 2, 3]);
        assert_eq!(cut_axes(&[(2, 2), (3, 1)], 2, &whole), [0, 1, 6, 7]);
    }
}
