//! Arrays one behind the other along an axis. Only those that a region touches are read.

use std::sync::Arc;

use arrow::compute::cast;
use arrow::datatypes::DataType;
use async_trait::async_trait;

use super::join::joined;
use super::{ArrayMeta, ArraySource, Block, Fetched, ReadContext, Region, Storage, promoted_type};
use crate::{Error, Result};

/// Inputs that messages name.
const SHOWN_MAX: usize = 3;

/// The array of `inputs` along `axis`, in the type that NumPy promotes theirs to.
///
/// # Errors
/// `Plan` for inputs whose lengths on other axes differ, or whose types have none in common.
pub fn concat(axis: usize, inputs: Vec<Arc<dyn ArraySource>>) -> Result<Arc<dyn ArraySource>> {
    let metas: Vec<&ArrayMeta> = inputs.iter().map(|input| input.meta()).collect();
    let Some(first) = metas.first() else { return Err(Error::plan("there is nothing to join")) };
    if axis >= first.shape.len() {
        return Err(Error::plan(format!(
            "no axis {axis} in an array of {} dimensions",
            first.shape.len()
        )));
    }
    let mut starts = vec![0_u64];
    for meta in &metas {
        let mut axes = meta.shape.iter().zip(&first.shape).enumerate();
        let fit = axes.all(|(at, (one, other))| at == axis || one == other);
        if meta.shape.len() != first.shape.len() || !fit {
            return Err(Error::plan(format!(
                "arrays along axis {} must have the same lengths on the others, not {:?} and {:?}",
                first.dims[axis], first.shape, meta.shape
            )));
        }
        starts.push(starts[starts.len() - 1].saturating_add(meta.shape[axis]));
    }
    let types: Vec<&DataType> = metas.iter().map(|meta| &meta.data_type).collect();
    let data_type = promoted_type(&types)?;
    let nullable = metas.iter().any(|meta| meta.nullable);
    let mut meta = ArrayMeta { data_type, nullable, ..(*first).clone() };
    meta.shape[axis] = starts[starts.len() - 1];
    if !is_countable(&meta.shape) {
        return Err(Error::plan(format!(
            "arrays of {:?} together have 2^63 elements or more; an array has fewer",
            meta.shape
        )));
    }
    if inputs.len() == 1 {
        return inputs.into_iter().next().ok_or_else(|| Error::bug("an input is missing"));
    }
    Ok(Arc::new(Concat { axis, inputs, starts, meta }))
}

/// Whether an array of this shape has fewer than 2^63 elements, also with lengths of 1 for those of 0.
pub fn is_countable(shape: &[u64]) -> bool {
    let elements = shape.iter().try_fold(1_u64, |all, length| all.checked_mul((*length).max(1)));
    elements.is_some_and(|elements| i64::try_from(elements).is_ok())
}

#[derive(Debug)]
struct Concat {
    axis: usize,
    inputs: Vec<Arc<dyn ArraySource>>,
    /// Where each input begins on the axis, and where the last one ends.
    starts: Vec<u64>,
    meta: ArrayMeta,
}

impl Concat {
    /// The inputs under a region: the part of each, in its own indices and in ours.
    fn parts(
        &self,
        region: &Region,
    ) -> impl Iterator<Item = (&Arc<dyn ArraySource>, Region, Region)> {
        let range = region.range(self.axis);
        let first = self.starts.partition_point(|start| *start <= range.start).saturating_sub(1);
        let ends = self.starts.windows(2).zip(&self.inputs).skip(first);
        let region = region.clone();
        ends.take_while(move |(ends, _)| ends[0] < range.end).filter_map(move |(ends, input)| {
            let mut ours = region.start().to_vec();
            let mut shape = region.shape().to_vec();
            let range = region.range(self.axis);
            ours[self.axis] = range.start.max(ends[0]);
            let stop = range.end.min(ends[1]);
            shape[self.axis] = stop.checked_sub(ours[self.axis]).filter(|length| *length > 0)?;
            let mut theirs = ours.clone();
            theirs[self.axis] -= ends[0];
            Some((input, Region::new(theirs, shape.clone()), Region::new(ours, shape)))
        })
    }
}

#[async_trait]
impl ArraySource for Concat {
    fn meta(&self) -> &ArrayMeta {
        &self.meta
    }

    fn select(&self, _: &[usize]) -> Option<Arc<dyn ArraySource>> {
        None
    }

    fn storage(&self) -> Storage {
        let width = self.meta.data_type.primitive_width().unwrap_or(1) as u64;
        Storage {
            stored_type: self.meta.data_type.to_string(),
            layout: "computed".into(),
            compression: String::new(),
            raw_bytes: self.meta.element_count().saturating_mul(width),
            stored_bytes: Some(0),
        }
    }

    fn location(&self) -> String {
        let shown = self.inputs.iter().take(SHOWN_MAX).map(|input| input.location());
        let shown: Vec<String> = shown.collect();
        let more = self.inputs.len().saturating_sub(SHOWN_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{} along {}{more}", shown.join(", "), self.meta.dims[self.axis])
    }

    /// Inputs are opened as they are fetched, and only those that a region touches.
    async fn open(&self, _: &ReadContext) -> Result<()> {
        Ok(())
    }

    fn is_remote(&self) -> bool {
        self.inputs.iter().any(|input| input.is_remote())
    }

    fn decodes_whole_chunks(&self, _: &Region) -> bool {
        false
    }

    fn is_uniform(&self, _: &Region) -> bool {
        false
    }

    fn cut_shape(&self) -> Option<Vec<u64>> {
        self.inputs.iter().filter_map(|input| input.cut_shape()).max_by_key(|shape| {
            shape.iter().fold(1_u64, |product, length| product.saturating_mul(*length))
        })
    }

    fn reads_more_than(&self, region: &Region) -> bool {
        self.parts(region)
            .any(|(input, theirs, _)| theirs != *region || input.reads_more_than(&theirs))
    }

    fn working_bytes(&self, region: &Region) -> u64 {
        let parts = self.parts(region).map(|(input, theirs, _)| input.working_bytes(&theirs));
        parts.fold(self.meta.bytes_of(region), u64::saturating_add)
    }

    async fn fetch(&self, region: &Region, context: &ReadContext) -> Result<Fetched> {
        let wanted = self.parts(region).map(|(input, theirs, _)| (Arc::clone(input), theirs));
        let parts = context.fetch_all(wanted.collect()).await?;
        Ok(Fetched { parts, ..Fetched::default() })
    }

    fn decode(&self, region: &Region, fetched: Fetched, context: &ReadContext) -> Result<Block> {
        let mut fetched = fetched.parts.into_iter();
        let mut blocks = vec![];
        for (input, theirs, ours) in self.parts(region) {
            let block = context.read(input, &theirs, fetched.next().unwrap_or_default())?;
            let values = cast(block.values(), &self.meta.data_type)
                .map_err(|cause| Error::bug("a type cannot be promoted").caused_by(cause))?;
            blocks.push(Block::try_new(ours, values)?);
        }
        if blocks.is_empty() {
            let none = arrow::array::new_empty_array(&self.meta.data_type);
            return Block::try_new(region.clone(), none);
        }
        joined(&blocks, region)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array};

    use super::super::context::FETCHES_AT_ONCE;
    use super::super::{CountedArray, Fetches, MemoryArray};
    use super::*;

    /// The most fetches that were under way while a row of so many arrays was read, after looking
    /// whether it is read rightly.
    async fn fetches_at_once(inputs: usize) -> usize {
        let fetches = Arc::new(Fetches::default());
        let input = |number: usize| -> Arc<dyn ArraySource> {
            let value: ArrayRef = Arc::new(Int64Array::from(vec![number as i64]));
            let array = MemoryArray::try_new(vec!["x".into()], vec![1], value).unwrap();
            Arc::new(CountedArray::new(Arc::new(array), &fetches))
        };
        let row = concat(0, (0..inputs).map(input).collect()).unwrap();
        let (context, whole) = (ReadContext::default(), Region::whole(&[inputs as u64]));
        let fetched = context.fetch(&row, &whole).await.unwrap();
        let block = context.read(&row, &whole, fetched).unwrap();
        let expected: ArrayRef = Arc::new(Int64Array::from_iter_values(0..inputs as i64));
        assert_eq!(block.values(), &expected);
        fetches.most()
    }

    #[tokio::test]
    async fn inputs_are_fetched_at_once_up_to_a_bound() {
        assert_eq!(fetches_at_once(5).await, 5);
        assert_eq!(fetches_at_once(100).await, FETCHES_AT_ONCE);
    }
}
