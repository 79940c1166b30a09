//! Arrays that are computed from positions alone, and read from nowhere.
//!
//! In: shape, chunks, element type, and what gives the values at positions. Out: an array table with
//! the one column `value`. A slice computes only itself.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use almagest_engine::array::{
    Arguments, ArrayFunction, ArrayMeta, Derived, Region, Window, default_dim, is_countable,
};
use almagest_engine::catalog::ArrayTable;
use almagest_engine::{Error, Result};
use arrow::array::ArrayRef;
use arrow::compute::concat;
use arrow::datatypes::DataType;

/// Elements of a chunk, about, if none is asked for.
const CHUNK_ELEMENTS: u64 = 512 * 512;

/// Elements of the largest chunk that can be asked for: 1 GiB of DOUBLE.
const CHUNK_ELEMENTS_MAX: u64 = 1 << 27;

/// What gives the elements of an array.
pub trait Values: fmt::Debug + Send + Sync {
    /// The elements at these row-major positions.
    ///
    /// # Errors
    /// `Bug` only.
    fn at(&self, positions: Range<u64>) -> Result<ArrayRef>;
}

/// The table `name` of an array of `shape`, cut into the chunks that the arguments ask for.
///
/// # Errors
/// `Plan` for a shape that is too large, or chunks that do not fit it.
pub fn made(
    name: String,
    arguments: &Arguments,
    shape: Vec<u64>,
    data_type: DataType,
    values: Arc<dyn Values>,
) -> Result<ArrayTable> {
    if !is_countable(&shape) {
        return Err(arguments.wrong("shape", "that of an array of fewer than 2^63 elements"));
    }
    let dims = (0..shape.len()).map(|axis| default_dim(axis, shape.len()));
    let meta = ArrayMeta {
        dims: dims.collect(),
        data_type,
        nullable: false,
        chunk_shape: chunks(arguments, &shape)?,
        shape,
    };
    let function = Made { name: name.clone(), meta, values };
    let source = Derived::try_new(Arc::new(function), vec![])?;
    ArrayTable::try_new(name, vec![("value".into(), source)])
}

/// The lengths that `shape` gives.
///
/// # Errors
/// `Plan` if it is missing, or has a negative length.
pub fn shape(arguments: &Arguments) -> Result<Vec<u64>> {
    let wrong = || arguments.wrong("shape", "a length, or a list of one for each dimension");
    let lengths = arguments.integers("shape")?.ok_or_else(wrong)?;
    let lengths: Option<Vec<u64>> =
        lengths.into_iter().map(|length| u64::try_from(length).ok()).collect();
    lengths.filter(|lengths| !lengths.is_empty()).ok_or_else(wrong)
}

fn chunks(arguments: &Arguments, shape: &[u64]) -> Result<Vec<u64>> {
    let Some(chunks) = arguments.size_per_axis("chunks", shape.len())? else {
        return Ok(even_chunks(shape));
    };
    let chunks = chunks.into_iter().zip(shape);
    let chunks: Vec<u64> =
        chunks.map(|(asked, length)| (asked as u64).min((*length).max(1))).collect();
    if chunks.iter().product::<u64>() > CHUNK_ELEMENTS_MAX {
        let expected = format!("of at most {CHUNK_ELEMENTS_MAX} elements");
        return Err(arguments.wrong("chunks", &expected));
    }
    Ok(chunks)
}

/// Chunks of about equal lengths on all axes that are long enough.
fn even_chunks(shape: &[u64]) -> Vec<u64> {
    let mut chunks = vec![1; shape.len()];
    let mut shortest_first: Vec<usize> = (0..shape.len()).collect();
    shortest_first.sort_by_key(|axis| shape[*axis]);
    let mut left = CHUNK_ELEMENTS as f64;
    for (done, axis) in shortest_first.into_iter().enumerate() {
        let edge = libm::pow(left, 1.0 / (shape.len() - done) as f64).round().max(1.0) as u64;
        chunks[axis] = shape[axis].clamp(1, edge);
        left /= chunks[axis] as f64;
    }
    chunks
}

#[derive(Debug)]
struct Made {
    name: String,
    meta: ArrayMeta,
    values: Arc<dyn Values>,
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl ArrayFunction for Made {
    fn output(&self, _: &[&ArrayMeta]) -> Result<ArrayMeta> {
        Ok(self.meta.clone())
    }

    fn footprint(&self, region: &Region, _: usize, _: &ArrayMeta) -> Window {
        Window::of(region)
    }

    fn compute(&self, region: &Region, _: &[ArrayRef]) -> Result<ArrayRef> {
        let runs = runs(region, &self.meta.shape).map(|run| self.values.at(run));
        let runs = runs.collect::<Result<Vec<_>>>()?;
        let parts: Vec<_> = runs.iter().map(AsRef::as_ref).collect();
        match parts.as_slice() {
            [] => Ok(arrow::array::new_empty_array(&self.meta.data_type)),
            [_] => Ok(Arc::clone(&runs[0])),
            parts => concat(parts).map_err(|cause| Error::bug("rows do not fit").caused_by(cause)),
        }
    }
}

/// The row-major positions of a region's elements in an array of `shape`, as runs in order.
fn runs(region: &Region, shape: &[u64]) -> impl Iterator<Item = Range<u64>> {
    // Trailing axes that the region covers whole join the one before them.
    let mut axis = shape.len().saturating_sub(1);
    while axis > 0 && region.shape()[axis] == shape[axis] {
        axis -= 1;
    }
    let inner: u64 = shape[axis + 1..].iter().product();
    let outer = region.shape()[..axis].to_vec();
    let (start, lengths) = (region.start().to_vec(), shape.to_vec());
    let count = if region.is_empty() { 0 } else { outer.iter().product::<u64>() };
    let length = region.shape()[axis] * inner;
    (0..count).map(move |row| {
        let mut position = almagest_engine::array::unravel(row, &outer);
        position.push(0);
        let axes = position.iter().zip(&start).zip(&lengths);
        let at = axes.fold(0, |sum, ((at, start), length)| sum * length + at + start) * inner;
        at..at + length
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_the_positions_of_a_region() {
        let found = |start: &[u64], lengths: &[u64], shape: &[u64]| -> Vec<(u64, u64)> {
            let region = Region::new(start.to_vec(), lengths.to_vec());
            runs(&region, shape).map(|run| (run.start, run.end)).collect()
        };
        assert_eq!(found(&[1, 0], &[2, 5], &[4, 5]), [(5, 15)]);
        assert_eq!(found(&[1, 2], &[2, 2], &[4, 5]), [(7, 9), (12, 14)]);
        assert_eq!(found(&[1, 1, 0], &[2, 1, 2], &[3, 3, 2]), [(8, 10), (14, 16)]);
        assert_eq!(found(&[7], &[2], &[10]), [(7, 9)]);
        assert_eq!(found(&[1, 0], &[0, 5], &[4, 5]), []);
    }

    #[test]
    fn chunks_are_even_where_axes_are_long_enough() {
        assert_eq!(even_chunks(&[8192, 8192]), [512, 512]);
        assert_eq!(even_chunks(&[100, 1 << 30]), [100, 2621]);
        assert_eq!(even_chunks(&[3, 4, 5]), [3, 4, 5]);
        assert_eq!(even_chunks(&[0, 4]), [1, 4]);
    }
}
