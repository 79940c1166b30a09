//! A lambda over each block of an array.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use almagest_engine::array::{
    ArrayFunction, ArrayLambda, ArrayMeta, ArraySource, Block, Derived, Region, Window, joined,
    unravel,
};
use almagest_engine::{Error, Result};
use arrow::array::{Array, ArrayRef, AsArray, UInt64Array, new_empty_array, new_null_array};
use arrow::compute::{cast, take};
use arrow::datatypes::DataType;

/// The array of what `lambda` gives for blocks of this shape.
///
/// # Errors
/// `Bug` if the lambda does not fit its parameter.
pub fn mapped(
    value: Arc<dyn ArraySource>,
    lambda: ArrayLambda,
    shape: Vec<u64>,
) -> Result<Arc<dyn ArraySource>> {
    let whole = value.meta().shape.clone();
    Derived::try_new(Arc::new(MapBlocks { lambda, shape, whole }), vec![value])
}

/// The type of an element of what a lambda gives for a block.
pub fn element_of(output: &DataType) -> &DataType {
    match output {
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            field.data_type()
        }
        other => other,
    }
}

#[derive(Debug)]
struct MapBlocks {
    lambda: ArrayLambda,
    /// A block's.
    shape: Vec<u64>,
    /// The array's.
    whole: Vec<u64>,
}

impl MapBlocks {
    /// The numbers of the blocks that a region touches, along each axis.
    fn touched(&self, region: &Region) -> Vec<Range<u64>> {
        let axes = self.shape.iter().enumerate();
        axes.map(|(axis, length)| {
            let range = region.range(axis);
            range.start / length..range.end.div_ceil(*length)
        })
        .collect()
    }

    /// The range of a block on an axis.
    fn range(&self, axis: usize, number: u64) -> Range<u64> {
        let start = number * self.shape[axis];
        start..(start + self.shape[axis]).min(self.whole[axis])
    }

    /// What the lambda gave for a block, for each of its elements.
    fn spread(block: &Region, given: &ArrayRef) -> Result<Block> {
        let count = block.element_count() as usize;
        let (DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)) = given.data_type()
        else {
            let same = UInt64Array::from(vec![0; count]);
            let values = take(given, &same, None);
            let values = values.map_err(|cause| Error::bug("no value").caused_by(cause))?;
            return Block::try_new(block.clone(), values);
        };
        if given.is_null(0) {
            return Block::try_new(block.clone(), new_null_array(field.data_type(), count));
        }
        let lists = cast(given, &DataType::LargeList(Arc::clone(field)));
        let lists = lists.map_err(|cause| Error::bug("no list").caused_by(cause))?;
        let elements = lists.as_list::<i64>().value(0);
        if elements.len() != count {
            return Err(Self::wrong_count(block, elements.len()));
        }
        Block::try_new(block.clone(), elements)
    }

    fn wrong_count(block: &Region, seen: usize) -> Error {
        Error::plan(format!(
            "map_blocks: the lambda gave a list of {seen} elements for the block {block} of {}; it \
             must give one for each, or a number for all",
            block.element_count()
        ))
    }
}

impl fmt::Display for MapBlocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lambda over blocks of shape {:?}", self.shape)
    }
}

impl ArrayFunction for MapBlocks {
    fn output(&self, inputs: &[&ArrayMeta]) -> Result<ArrayMeta> {
        let data_type = element_of(&self.lambda.output_type()?).clone();
        Ok(ArrayMeta { data_type, nullable: true, ..inputs[0].clone() })
    }

    fn footprint(&self, region: &Region, _: usize, _: &ArrayMeta) -> Window {
        let touched = self.touched(region).into_iter().enumerate();
        let ranges: Vec<Range<u64>> = touched
            .map(|(axis, numbers)| {
                self.range(axis, numbers.start).start
                    ..self.range(axis, numbers.end.saturating_sub(1)).end
            })
            .collect();
        Window::of(&Region::from_ranges(&ranges))
    }

    fn cut_shape(&self) -> Option<Vec<u64>> {
        Some(self.shape.clone())
    }

    fn compute(&self, region: &Region, inputs: &[ArrayRef]) -> Result<ArrayRef> {
        let touched = self.touched(region);
        let counts: Vec<u64> = touched.iter().map(|numbers| numbers.end - numbers.start).collect();
        let block_count: u64 = counts.iter().product();
        let blocks: Vec<Region> = (0..block_count)
            .map(|number| {
                let at = unravel(number, &counts);
                let axes = at.iter().zip(&touched).enumerate();
                let ranges = axes.map(|(axis, (at, numbers))| self.range(axis, numbers.start + at));
                Region::from_ranges(&ranges.collect::<Vec<_>>())
            })
            .collect();
        let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else {
            return Ok(new_empty_array(element_of(&self.lambda.output_type()?)));
        };
        let around: Vec<Range<u64>> =
            (0..region.ndim()).map(|axis| first.range(axis).start..last.range(axis).end).collect();
        let read = Block::try_new(Region::from_ranges(&around), Arc::clone(&inputs[0]))?;
        let found = blocks.iter().map(|block| {
            let elements = Arc::clone(read.crop(block)?.values());
            let count = elements.len();
            let found = Self::spread(block, &self.lambda.evaluate(elements, &[count])?)?;
            let wanted = block.intersect(region).unwrap_or_else(|| block.clone());
            found.crop(&wanted)
        });
        let found = found.collect::<Result<Vec<_>>>()?;
        Ok(Arc::clone(joined(&found, region)?.values()))
    }
}
