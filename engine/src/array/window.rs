//! The part of an array that some output needs, which may pass the array's ends.
//!
//! In: index ranges per axis with a boundary mode each. Out: the regions inside the array that must
//! be read for them, and the elements gathered from these. A window inside the array is read as it
//! is, without a copy.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, downcast_primitive_array,
};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::DataType;

use super::{Block, Boundary, Region, joined, unravel};
use crate::{Error, Result};

/// Index ranges per axis that may lie outside the array: in 128 bits, so that an array may be as long as 64
/// bits count and a window still reach beyond its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    axes: Vec<(Range<i128>, Boundary)>,
}

impl Window {
    /// The window over exactly this region.
    pub fn of(region: &Region) -> Self {
        let axes = (0..region.ndim()).map(|axis| {
            let range = region.range(axis);
            (i128::from(range.start)..i128::from(range.end), Boundary::Nearest)
        });
        Self { axes: axes.collect() }
    }

    /// The same window, wider by `before` and `after` elements on `axis`, where the array goes on
    /// as `boundary` says.
    #[must_use]
    pub fn extended(mut self, axis: usize, before: i64, after: i64, boundary: Boundary) -> Self {
        let (range, mode) = &mut self.axes[axis];
        *range = range.start - i128::from(before)..range.end + i128::from(after);
        *mode = boundary;
        self
    }

    /// The length on each axis.
    pub fn shape(&self) -> Vec<usize> {
        self.axes.iter().map(|(range, _)| (range.end - range.start).max(0) as usize).collect()
    }

    /// How many elements the window has, those beyond the array's ends too.
    pub fn element_count(&self) -> u64 {
        let lengths = self.axes.iter().map(|(range, _)| (range.end - range.start).max(0));
        lengths.fold(1, |all, length| all.saturating_mul(u64::try_from(length).unwrap_or(u64::MAX)))
    }

    /// How the window lies in an array of `shape`. Takes memory for each index of each axis.
    pub fn in_array(&self, shape: &[u64]) -> Placed {
        Placed {
            axes: self
                .axes
                .iter()
                .zip(shape)
                .map(|((range, mode), length)| PlacedAxis::new(range, *mode, *length))
                .collect(),
        }
    }
}

/// A window over an array of known shape: what to read, and where it goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    axes: Vec<PlacedAxis>,
}

#[derive(Clone, Debug, PartialEq)]
struct PlacedAxis {
    /// The disjoint, increasing index ranges to read.
    spans: Vec<Range<u64>>,
    /// For each index of the window its place among the elements of the spans; absent where the
    /// window is the one span. `CONSTANT` where the constant stands.
    places: Option<Vec<usize>>,
    length: usize,
    constant: f64,
}

/// A place at which the constant stands.
const CONSTANT: usize = usize::MAX;

impl PlacedAxis {
    fn new(range: &Range<i128>, mode: Boundary, length: u64) -> Self {
        let window_length = (range.end - range.start).max(0) as usize;
        let constant = if let Boundary::Constant(value) = mode { value } else { 0.0 };
        if range.start >= 0 && range.end <= i128::from(length) {
            let spans = std::iter::once(range.start as u64..range.end as u64).collect();
            return Self { spans, places: None, length: window_length, constant };
        }
        let indices: Vec<Option<u64>> =
            range.clone().map(|index| mode.index(index, length)).collect();
        let mut wanted: Vec<u64> = indices.iter().flatten().copied().collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut spans: Vec<Range<u64>> = vec![];
        for index in wanted {
            match spans.last_mut() {
                Some(last) if last.end == index => last.end += 1,
                _ => spans.push(index..index + 1),
            }
        }
        let place = |index: u64| {
            let mut before = 0;
            for span in &spans {
                if span.contains(&index) {
                    return before + (index - span.start) as usize;
                }
                before += (span.end - span.start) as usize;
            }
            CONSTANT
        };
        let places = indices.into_iter().map(|index| index.map_or(CONSTANT, place)).collect();
        Self { spans, places: Some(places), length: window_length, constant }
    }
}

impl Placed {
    /// How many elements the window has, those beyond the array's ends too.
    pub fn element_count(&self) -> u64 {
        self.axes.iter().fold(1, |all, axis| all.saturating_mul(axis.length as u64))
    }

    /// The regions to read, in the order in which [`Placed::gather`] takes their blocks.
    pub fn regions(&self) -> Vec<Region> {
        let counts: Vec<u64> = self.axes.iter().map(|axis| axis.spans.len() as u64).collect();
        let combinations = (0..counts.iter().product::<u64>()).map(|index| {
            let position = unravel(index, &counts);
            let spans = self.axes.iter().zip(position);
            let ranges: Vec<_> =
                spans.map(|(axis, span)| axis.spans[span as usize].clone()).collect();
            Region::from_ranges(&ranges)
        });
        combinations.collect()
    }

    /// The elements of the window, row-major, from the blocks of [`Placed::regions`].
    ///
    /// # Errors
    /// `Plan` if the constant is no value of the elements' type; `Unsupported` for elements that
    /// are no numbers; `Bug` if the blocks are others.
    pub fn gather(&self, blocks: &[Block], data_type: &DataType) -> Result<ArrayRef> {
        if let [block] = blocks
            && self.axes.iter().all(|axis| axis.places.is_none())
        {
            return Ok(Arc::clone(block.values()));
        }
        let packed = self.packed(blocks, data_type)?;
        let packed = packed.as_ref();
        macro_rules! typed {
            ($array:ident) => {{ Ok(Arc::new(self.gathered($array)?) as ArrayRef) }};
        }
        downcast_primitive_array!(
            packed => typed!(packed),
            other => Err(Error::unsupported(format!("windows over elements of type {other}")))
        )
    }

    /// The blocks side by side: the elements of all spans, row-major.
    fn packed(&self, blocks: &[Block], data_type: &DataType) -> Result<ArrayRef> {
        match blocks {
            [] => Ok(arrow::array::new_empty_array(data_type)),
            [block] => Ok(Arc::clone(block.values())),
            blocks => {
                let lengths =
                    self.axes.iter().map(|axis| axis.spans.iter().map(|s| s.end - s.start).sum());
                let shape: Vec<u64> = lengths.collect();
                let packed = blocks.iter().map(|block| {
                    let region =
                        Region::new(self.packed_start(block), block.region().shape().to_vec());
                    Block::try_new(region, Arc::clone(block.values()))
                });
                let packed = packed.collect::<Result<Vec<_>>>()?;
                Ok(Arc::clone(joined(&packed, &Region::whole(&shape))?.values()))
            }
        }
    }

    /// Where the block of a region lies in the packed buffer.
    fn packed_start(&self, block: &Block) -> Vec<u64> {
        let axes = self.axes.iter().zip(block.region().start());
        axes.map(|(placed, start)| {
            let before = placed.spans.iter().take_while(|span| span.start < *start);
            before.map(|span| span.end - span.start).sum()
        })
        .collect()
    }

    fn gathered<T: ArrowPrimitiveType>(
        &self,
        packed: &PrimitiveArray<T>,
    ) -> Result<PrimitiveArray<T>> {
        let mut constants = vec![T::Native::default(); self.axes.len()];
        for (axis, constant) in self.axes.iter().zip(&mut constants) {
            if axis.places.as_ref().is_some_and(|places| places.contains(&CONSTANT)) {
                *constant = constant_of::<T>(axis.constant)?;
            }
        }
        let values = self.gather_slice(packed.values(), &constants);
        let nulls = packed.nulls().filter(|nulls| nulls.null_count() > 0).map(|nulls| {
            let valid: Vec<bool> = nulls.iter().collect();
            let valid = self.gather_slice(&valid, &vec![true; self.axes.len()]);
            NullBuffer::from(valid)
        });
        Ok(PrimitiveArray::new(ScalarBuffer::from(values), nulls))
    }

    /// Copies row by row of the last axis. The constant of the first axis that passes the array's
    /// end stands in a corner.
    fn gather_slice<V: Copy>(&self, packed: &[V], constants: &[V]) -> Vec<V> {
        let Some((last, outer)) = self.axes.split_last() else { return packed.to_vec() };
        let lengths: Vec<u64> = outer.iter().map(|axis| axis.length as u64).collect();
        let row_length: usize = last.spans.iter().map(|s| (s.end - s.start) as usize).sum();
        let mut values = Vec::with_capacity(last.length * lengths.iter().product::<u64>() as usize);
        for index in 0..lengths.iter().product::<u64>() {
            let position = unravel(index, &lengths);
            let mut row = Ok(0);
            for (number, (axis, offset)) in outer.iter().zip(&position).enumerate() {
                let offset = *offset as usize;
                let place = axis.places.as_ref().map_or(offset, |places| places[offset]);
                let length: usize = axis.spans.iter().map(|s| (s.end - s.start) as usize).sum();
                row = match row {
                    Ok(_) if place == CONSTANT => Err(number),
                    Ok(before) => Ok(before * length + place),
                    constant => constant,
                };
            }
            match row {
                Err(axis) => values.extend(std::iter::repeat_n(constants[axis], last.length)),
                Ok(row) => {
                    let row = &packed[row * row_length..(row + 1) * row_length];
                    let constant = constants[outer.len()];
                    match &last.places {
                        None => values.extend_from_slice(row),
                        Some(places) => values.extend(
                            places.iter().map(|at| row.get(*at).copied().unwrap_or(constant)),
                        ),
                    }
                }
            }
        }
        values
    }
}

fn constant_of<T: ArrowPrimitiveType>(value: f64) -> Result<T::Native> {
    let found = match T::DATA_TYPE {
        DataType::Float64 | DataType::Float32 => native::<T>(value),
        _ if value.fract() == 0.0 => native::<T>(value),
        _ => None,
    };
    found.ok_or_else(|| {
        Error::plan(format!(
            "cval {value} is no value of the array's type {}; cast the array to DOUBLE first, or \
             choose another cval",
            T::DATA_TYPE
        ))
    })
}

fn native<T: ArrowPrimitiveType>(value: f64) -> Option<T::Native> {
    let array = arrow::array::Float64Array::from(vec![value]);
    let cast = arrow::compute::cast(&array, &T::DATA_TYPE).ok()?;
    let cast = cast.as_primitive_opt::<T>()?;
    cast.is_valid(0).then(|| cast.value(0))
}

#[cfg(test)]
mod tests {
    use arrow::array::Int32Array;
    use arrow::datatypes::Int32Type;

    use super::*;
    use crate::array::Region;

    fn numbered(shape: &[u64]) -> Block {
        let whole = Region::whole(shape);
        let values: Int32Array = (0..whole.element_count() as i32).collect::<Vec<_>>().into();
        Block::try_new(whole, Arc::new(values)).unwrap()
    }

    /// Every element of a window, looked up one by one.
    fn by_element(whole: &Block, axes: &[(Range<i128>, Boundary)]) -> Vec<i32> {
        let shape = whole.region().shape();
        let values = whole.values().as_primitive::<Int32Type>();
        let lengths: Vec<u64> = axes.iter().map(|(r, _)| (r.end - r.start) as u64).collect();
        (0..lengths.iter().product::<u64>())
            .map(|index| {
                let mut at = Some(0);
                for (axis, offset) in unravel(index, &lengths).into_iter().enumerate() {
                    let (range, mode) = &axes[axis];
                    let inside = mode.index(range.start + i128::from(offset), shape[axis]);
                    at = at.zip(inside).map(|(at, inside)| at * shape[axis] + inside);
                }
                at.map_or(-7, |at| values.value(at as usize))
            })
            .collect()
    }

    #[test]
    fn a_window_holds_what_its_boundary_modes_say() {
        let whole = numbered(&[4, 5]);
        let modes = [
            Boundary::Reflect,
            Boundary::Mirror,
            Boundary::Nearest,
            Boundary::Wrap,
            Boundary::Constant(-7.0),
        ];
        for y_mode in modes {
            for x_mode in modes {
                for (y, x) in [(-2..3, 1..4), (1..9, -7..12), (0..4, 3..6), (-9..-6, 6..7)] {
                    let axes = vec![(y, y_mode), (x, x_mode)];
                    let window = Window { axes: axes.clone() };
                    let placed = window.in_array(&[4, 5]);
                    let blocks: Vec<Block> =
                        placed.regions().iter().map(|r| whole.crop(r).unwrap()).collect();
                    let gathered = placed.gather(&blocks, &DataType::Int32).unwrap();
                    let gathered = gathered.as_primitive::<Int32Type>();
                    assert_eq!(gathered.values(), &by_element(&whole, &axes)[..], "{axes:?}");
                }
            }
        }
    }

    #[test]
    fn a_constant_that_the_type_cannot_hold_is_an_error() {
        let axes = vec![(-1..2, Boundary::Constant(0.5))];
        let placed = Window { axes }.in_array(&[4]);
        let blocks = [numbered(&[2])];
        let error = placed.gather(&blocks, &DataType::Int32).unwrap_err().to_string();
        assert!(error.contains("cval 0.5"), "{error}");
    }
}
