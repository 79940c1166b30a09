//! An array whose elements are in memory: what `register_array` puts behind a table.

use std::sync::Arc;

use arrow::array::{ArrayRef, PrimitiveArray};
use arrow::datatypes::ArrowPrimitiveType;
use async_trait::async_trait;
use ndarray::ArrayD;

use super::{ArrayMeta, ArraySource, Block, Fetched, ReadContext, Region, Storage};
use crate::{Error, Result};

/// Elements of one block, about.
const BLOCK_ELEMENTS: u64 = 256 * 1024;

/// An array in memory.
#[derive(Debug)]
pub struct MemoryArray {
    meta: ArrayMeta,
    whole: Block,
}

impl MemoryArray {
    /// An array of `shape` over row-major `values`, with these dimension names.
    ///
    /// # Errors
    /// `Plan` if the shape does not fit the values or the names.
    pub fn try_new(dims: Vec<String>, shape: Vec<u64>, values: ArrayRef) -> Result<Self> {
        if dims.len() != shape.len() || shape.iter().product::<u64>() != values.len() as u64 {
            return Err(Error::plan(format!(
                "an array of shape {shape:?} needs {} dimension names and {} values; got {} and {}",
                shape.len(),
                shape.iter().product::<u64>(),
                dims.len(),
                values.len()
            )));
        }
        let meta = ArrayMeta {
            chunk_shape: chunks_of(&shape, BLOCK_ELEMENTS),
            dims,
            data_type: values.data_type().clone(),
            nullable: values.is_nullable(),
            shape: shape.clone(),
        };
        Ok(Self { meta, whole: Block::try_new(Region::whole(&shape), values)? })
    }

    /// The elements, row-major.
    pub fn values(&self) -> &ArrayRef {
        self.whole.values()
    }

    /// The same array in chunks of this shape.
    #[must_use]
    pub fn with_chunks(mut self, chunk_shape: &[u64]) -> Self {
        self.meta.chunk_shape = chunk_shape.to_vec();
        self
    }

    /// An `ndarray` as an array source, in row-major order.
    ///
    /// # Errors
    /// `Plan` if the names do not fit the axes.
    pub fn from_ndarray<T: ArrowPrimitiveType>(
        dims: Vec<String>,
        array: ArrayD<T::Native>,
    ) -> Result<Self> {
        let shape: Vec<u64> = array.shape().iter().map(|length| *length as u64).collect();
        let standard = if array.is_standard_layout() {
            array
        } else {
            array.as_standard_layout().into_owned()
        };
        let (values, offset) = standard.into_raw_vec_and_offset();
        let count: u64 = shape.iter().product();
        let values = PrimitiveArray::<T>::from_iter_values(
            values.into_iter().skip(offset.unwrap_or(0)).take(count as usize),
        );
        Self::try_new(dims, shape, Arc::new(values))
    }
}

#[async_trait]
impl ArraySource for MemoryArray {
    fn meta(&self) -> &ArrayMeta {
        &self.meta
    }

    fn select(&self, _: &[usize]) -> Option<Arc<dyn ArraySource>> {
        None
    }

    fn storage(&self) -> Storage {
        Storage {
            stored_type: self.meta.data_type.to_string(),
            layout: "memory".into(),
            compression: String::new(),
            raw_bytes: self.whole.values().get_array_memory_size() as u64,
            stored_bytes: Some(self.whole.values().get_array_memory_size() as u64),
        }
    }

    fn location(&self) -> String {
        "array in memory".into()
    }

    async fn open(&self, _: &ReadContext) -> Result<()> {
        Ok(())
    }

    async fn fetch(&self, _: &Region, _: &ReadContext) -> Result<Fetched> {
        Ok(Fetched::default())
    }

    fn is_remote(&self) -> bool {
        false
    }

    fn decodes_whole_chunks(&self, _: &Region) -> bool {
        false
    }

    fn reads_more_than(&self, _: &Region) -> bool {
        false
    }

    fn is_uniform(&self, _: &Region) -> bool {
        false
    }

    fn cut_shape(&self) -> Option<Vec<u64>> {
        None
    }

    fn working_bytes(&self, region: &Region) -> u64 {
        self.meta.bytes_of(region)
    }

    fn decode(&self, region: &Region, _: Fetched, context: &ReadContext) -> Result<Block> {
        let block = self.whole.crop(region)?;
        context
            .counters
            .chunk(0, block.values().to_data().get_slice_memory_size().unwrap_or(0) as u64);
        Ok(block)
    }
}

/// A chunk shape of about `elements` elements that is contiguous in a row-major array of `shape`.
pub fn chunks_of(shape: &[u64], elements: u64) -> Vec<u64> {
    let mut left = elements.max(1);
    let mut chunk = vec![1; shape.len()];
    for axis in (0..shape.len()).rev() {
        chunk[axis] = shape[axis].clamp(1, left);
        left /= chunk[axis];
        if left <= 1 {
            break;
        }
    }
    chunk
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_runs_of_whole_rows_where_rows_are_short() {
        assert_eq!(chunks_of(&[8192, 8192], 1 << 18), [32, 8192]);
        assert_eq!(chunks_of(&[10, 1 << 20], 1 << 18), [1, 1 << 18]);
        assert_eq!(chunks_of(&[3, 4], 1 << 18), [3, 4]);
        assert_eq!(chunks_of(&[], 8), Vec::<u64>::new());
    }
}
