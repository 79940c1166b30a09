//! Per-group states of the dense reductions, in the layout in which they are merged.
//!
//! In: the values of a slab, its runs, and which elements count. Out: state columns with one row
//! per group. One accumulator serves one state of boxes with the same groups.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Float64Array, Int64Array,
    PrimitiveArray, UInt64Array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};

use super::groups::{Run, Walk};
use super::kernels::{Element, better, combine_moments, extreme, moments, sum_of};
use crate::vectorised;
use crate::{Error, Result};

/// What is kept of the values of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StateKind {
    /// How many values there are: `Int64`.
    Count,
    /// Their sum in `Float64`, NULL of none.
    SumFloat,
    /// Their sum in `Int64`, wrapping, NULL of none.
    SumInt,
    /// Their sum in `UInt64`, wrapping, NULL of none.
    SumUInt,
    /// The least value, NULL of none; NaN is greater than any other.
    Min,
    /// The greatest value.
    Max,
    /// Count (`UInt64`), mean and sum of squared deviations (`Float64`).
    Moments,
    /// Whether all are true, NULL of none.
    All,
    /// Whether any is true, NULL of none.
    Any,
}

impl StateKind {
    /// Every kind. Plans name a kind by its place here: add new ones at the end.
    pub const ALL: [Self; 9] = [
        Self::Count,
        Self::SumFloat,
        Self::SumInt,
        Self::SumUInt,
        Self::Min,
        Self::Max,
        Self::Moments,
        Self::All,
        Self::Any,
    ];

    /// The types of the state's columns for an argument of this type.
    pub fn column_types(self, argument: &DataType) -> Vec<DataType> {
        match self {
            Self::Count | Self::SumInt => vec![DataType::Int64],
            Self::SumFloat => vec![DataType::Float64],
            Self::SumUInt => vec![DataType::UInt64],
            Self::Min | Self::Max => vec![argument.clone()],
            Self::Moments => vec![DataType::UInt64, DataType::Float64, DataType::Float64],
            Self::All | Self::Any => vec![DataType::Boolean],
        }
    }
}

/// Takes in slabs and gives state columns.
pub trait Accumulator: Send {
    /// Adds the elements of a slab. `mask` says which count; all if absent.
    ///
    /// # Errors
    /// `Bug` if the values are not of the accumulator's type.
    fn add(
        &mut self,
        values: Option<&ArrayRef>,
        walk: &Walk,
        mask: Option<&BooleanBuffer>,
    ) -> Result<()>;

    /// The state columns, one row per group.
    fn finish(self: Box<Self>) -> Vec<ArrayRef>;
}

/// An accumulator of `kind` for `groups` groups over values of type `argument`.
///
/// # Errors
/// `Bug` if the type cannot be reduced so.
pub fn accumulator(
    kind: StateKind,
    argument: &DataType,
    groups: usize,
) -> Result<Box<dyn Accumulator>> {
    macro_rules! typed {
        ($type:ty) => {
            match kind {
                StateKind::SumFloat => Box::new(SumFloat::<$type>::new(groups)),
                StateKind::SumInt => Box::new(SumInt::<$type>::new(groups)),
                StateKind::SumUInt => Box::new(SumUInt::<$type>::new(groups)),
                StateKind::Min => Box::new(Extreme::<$type, false>::new(groups)),
                StateKind::Max => Box::new(Extreme::<$type, true>::new(groups)),
                StateKind::Moments => Box::new(Moments::<$type>::new(groups)),
                _ => return Err(Error::bug(format!("{kind:?} of numbers"))),
            }
        };
    }
    Ok(match (kind, argument) {
        (StateKind::Count, _) => Box::new(Count(vec![0; groups])),
        (StateKind::All, DataType::Boolean) => Box::new(Logic::<true>(vec![None; groups])),
        (StateKind::Any, DataType::Boolean) => Box::new(Logic::<false>(vec![None; groups])),
        (_, DataType::Int8) => typed!(Int8Type),
        (_, DataType::Int16) => typed!(Int16Type),
        (_, DataType::Int32) => typed!(Int32Type),
        (_, DataType::Int64) => typed!(Int64Type),
        (_, DataType::UInt8) => typed!(UInt8Type),
        (_, DataType::UInt16) => typed!(UInt16Type),
        (_, DataType::UInt32) => typed!(UInt32Type),
        (_, DataType::UInt64) => typed!(UInt64Type),
        (_, DataType::Float32) => typed!(Float32Type),
        (_, DataType::Float64) => typed!(Float64Type),
        _ => return Err(Error::bug(format!("{kind:?} of {argument}"))),
    })
}

/// Whether values of this type can be summed, compared and averaged here.
pub fn is_reducible(data_type: &DataType) -> bool {
    data_type.is_integer() || matches!(data_type, DataType::Float32 | DataType::Float64)
}

struct Count(Vec<i64>);

impl Accumulator for Count {
    fn add(
        &mut self,
        values: Option<&ArrayRef>,
        walk: &Walk,
        mask: Option<&BooleanBuffer>,
    ) -> Result<()> {
        let valid = values.and_then(|values| values.logical_nulls());
        let mask = both(mask, valid.as_ref());
        if mask.is_none() && walk.per_element {
            for rows in walk.stacks() {
                let groups = rows[0].group..rows[0].group + rows[0].len;
                self.0[groups].iter_mut().for_each(|count| *count += rows.len() as i64);
            }
            return Ok(());
        }
        for run in &walk.runs {
            match (&mask, walk.per_element) {
                (None, _) => self.0[run.group] += run.len as i64,
                (Some(mask), false) => {
                    self.0[run.group] += mask.slice(run.at, run.len).count_set_bits() as i64;
                }
                (Some(mask), true) => {
                    for index in mask.slice(run.at, run.len).set_indices() {
                        self.0[run.group + index] += 1;
                    }
                }
            }
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Vec<ArrayRef> {
        vec![Arc::new(Int64Array::from(self.0))]
    }
}

/// One state of numbers: what a whole run, a row of elements and a single element do to it.
trait Numbers<T: Element> {
    /// Adds values that all belong to one group.
    fn add_run(&mut self, group: usize, values: &[T]);
    /// Adds one value to each of neighbouring groups.
    fn add_row(&mut self, group: usize, values: &[T]);
    /// Adds rows of equal length, the first value of each to `group`.
    #[inline(always)]
    fn add_rows(&mut self, group: usize, rows: &[&[T]]) {
        rows.iter().for_each(|row| self.add_row(group, row));
    }
}

/// Feeds a slab to `numbers`: whole runs where nothing is masked, and what is left of them where
/// something is.
fn feed<P: ArrowPrimitiveType>(
    numbers: &mut impl Numbers<P::Native>,
    values: Option<&ArrayRef>,
    walk: &Walk,
    mask: Option<&BooleanBuffer>,
) -> Result<()>
where
    P::Native: Element,
{
    let values = values.and_then(|values| values.as_primitive_opt::<P>());
    let values = values.ok_or_else(|| Error::bug("a reduction over values of another type"))?;
    let mask = both(mask, values.nulls());
    let values = values.values();
    match (&mask, walk.per_element) {
        (None, false) => vectorised(
            #[inline(always)]
            || {
                for run in &walk.runs {
                    numbers.add_run(run.group, &values[run.at..run.at + run.len]);
                }
            },
        ),
        (None, true) => {
            let mut rows: Vec<&[P::Native]> = vec![];
            for stack in walk.stacks() {
                rows.clear();
                rows.extend(stack.iter().map(|run| &values[run.at..run.at + run.len]));
                vectorised(
                    #[inline(always)]
                    || numbers.add_rows(stack[0].group, &rows),
                );
            }
        }
        (Some(mask), per_element) => feed_kept(numbers, values, walk, mask, per_element),
    }
    Ok(())
}

/// Feeds what is left of a slab where something is masked.
fn feed_kept<T: Element>(
    numbers: &mut impl Numbers<T>,
    values: &[T],
    walk: &Walk,
    mask: &BooleanBuffer,
    per_element: bool,
) {
    let mut kept: Vec<T> = vec![];
    for Run { at, len, group } in walk.runs.iter().copied() {
        let (run, mask) = (&values[at..at + len], mask.slice(at, len));
        if per_element {
            for index in mask.set_indices() {
                numbers.add_run(group + index, &run[index..=index]);
            }
            continue;
        }
        kept.clear();
        kept.extend(mask.set_indices().map(|index| run[index]));
        if !kept.is_empty() {
            numbers.add_run(group, &kept);
        }
    }
}

fn both(mask: Option<&BooleanBuffer>, valid: Option<&NullBuffer>) -> Option<BooleanBuffer> {
    match (mask, valid.filter(|valid| valid.null_count() > 0)) {
        (None, None) => None,
        (Some(mask), None) => Some(mask.clone()),
        (None, Some(valid)) => Some(valid.inner().clone()),
        (Some(mask), Some(valid)) => Some(mask & valid.inner()),
    }
}

/// An accumulator whose state is one column of numbers and whether any value was seen.
macro_rules! sum_accumulator {
    ($name:ident, $sum:ty, $array:ty, $add_run:expr, $add_one:expr) => {
        struct $name<P> {
            sums: Vec<$sum>,
            seen: Vec<bool>,
            values: PhantomData<fn() -> P>,
        }

        impl<P> $name<P> {
            fn new(groups: usize) -> Self {
                Self {
                    sums: vec![<$sum>::default(); groups],
                    seen: vec![false; groups],
                    values: PhantomData,
                }
            }
        }

        impl<P: ArrowPrimitiveType> Numbers<P::Native> for $name<P>
        where
            P::Native: Element,
        {
            #[inline(always)]
            fn add_run(&mut self, group: usize, values: &[P::Native]) {
                self.sums[group] = $add_run(self.sums[group], values);
                self.seen[group] = true;
            }

            #[inline(always)]
            fn add_row(&mut self, group: usize, values: &[P::Native]) {
                let sums = &mut self.sums[group..group + values.len()];
                for (sum, value) in sums.iter_mut().zip(values) {
                    *sum = $add_one(*sum, *value);
                }
                self.seen[group..group + values.len()].fill(true);
            }

            #[inline(always)]
            fn add_rows(&mut self, group: usize, rows: &[&[P::Native]]) {
                // Four at a time: the sums are loaded and stored once for all of them.
                let (fours, rest) = rows.as_chunks::<4>();
                for [first, second, third, fourth] in fours {
                    let sums = &mut self.sums[group..group + first.len()];
                    let pairs = first.iter().zip(*second).zip(third.iter().zip(*fourth));
                    for (sum, ((one, two), (three, four))) in sums.iter_mut().zip(pairs) {
                        let half = $add_one($add_one(*sum, *one), *two);
                        *sum = $add_one($add_one(half, *three), *four);
                    }
                    self.seen[group..group + first.len()].fill(true);
                }
                rest.iter().for_each(|row| self.add_row(group, row));
            }
        }

        impl<P: ArrowPrimitiveType> Accumulator for $name<P>
        where
            P::Native: Element,
        {
            fn add(
                &mut self,
                values: Option<&ArrayRef>,
                walk: &Walk,
                mask: Option<&BooleanBuffer>,
            ) -> Result<()> {
                feed::<P>(self, values, walk, mask)
            }

            fn finish(self: Box<Self>) -> Vec<ArrayRef> {
                let nulls = NullBuffer::from(self.seen);
                vec![Arc::new(<$array>::new(self.sums.into(), Some(nulls)))]
            }
        }
    };
}

sum_accumulator!(
    SumFloat,
    f64,
    Float64Array,
    |sum: f64, values: &[P::Native]| sum + sum_of(values, |value| value.as_f64()),
    |sum: f64, value: P::Native| sum + value.as_f64()
);
sum_accumulator!(
    SumInt,
    i64,
    Int64Array,
    |sum: i64, values: &[P::Native]| values
        .iter()
        .fold(sum, |sum, value| sum.wrapping_add(value.as_i64())),
    |sum: i64, value: P::Native| sum.wrapping_add(value.as_i64())
);
sum_accumulator!(
    SumUInt,
    u64,
    UInt64Array,
    |sum: u64, values: &[P::Native]| values
        .iter()
        .fold(sum, |sum, value| sum.wrapping_add(value.as_u64())),
    |sum: u64, value: P::Native| sum.wrapping_add(value.as_u64())
);

struct Extreme<P: ArrowPrimitiveType, const MAXIMUM: bool> {
    found: Vec<P::Native>,
    seen: Vec<bool>,
}

impl<P: ArrowPrimitiveType, const MAXIMUM: bool> Extreme<P, MAXIMUM> {
    fn new(groups: usize) -> Self {
        Self { found: vec![P::default_value(); groups], seen: vec![false; groups] }
    }
}

impl<P: ArrowPrimitiveType, const MAXIMUM: bool> Numbers<P::Native> for Extreme<P, MAXIMUM>
where
    P::Native: Element,
{
    #[inline(always)]
    fn add_run(&mut self, group: usize, values: &[P::Native]) {
        if let Some(value) = extreme::<_, MAXIMUM>(values) {
            self.found[group] = if self.seen[group] {
                better::<_, MAXIMUM>(self.found[group], value)
            } else {
                value
            };
            self.seen[group] = true;
        }
    }

    #[inline(always)]
    fn add_row(&mut self, group: usize, values: &[P::Native]) {
        let groups = group..group + values.len();
        if self.seen[groups.clone()].iter().all(|seen| *seen) {
            for (found, value) in self.found[groups].iter_mut().zip(values) {
                *found = better::<_, MAXIMUM>(*found, *value);
            }
        } else {
            for (index, value) in values.iter().enumerate() {
                self.add_run(group + index, std::slice::from_ref(value));
            }
        }
    }
}

impl<P: ArrowPrimitiveType, const MAXIMUM: bool> Accumulator for Extreme<P, MAXIMUM>
where
    P::Native: Element,
{
    fn add(
        &mut self,
        values: Option<&ArrayRef>,
        walk: &Walk,
        mask: Option<&BooleanBuffer>,
    ) -> Result<()> {
        feed::<P>(self, values, walk, mask)
    }

    fn finish(self: Box<Self>) -> Vec<ArrayRef> {
        let nulls = NullBuffer::from(self.seen);
        vec![Arc::new(PrimitiveArray::<P>::new(self.found.into(), Some(nulls)))]
    }
}

struct Moments<P> {
    counts: Vec<f64>,
    means: Vec<f64>,
    squares: Vec<f64>,
    values: PhantomData<fn() -> P>,
}

impl<P> Moments<P> {
    fn new(groups: usize) -> Self {
        let zeros = || vec![0.0; groups];
        Self { counts: zeros(), means: zeros(), squares: zeros(), values: PhantomData }
    }

    #[inline(always)]
    fn combine(&mut self, group: usize, count: f64, mean: f64, squares: f64) {
        let mine = (self.counts[group], self.means[group], self.squares[group]);
        let (count, mean, squares) = combine_moments(mine, (count, mean, squares));
        (self.counts[group], self.means[group], self.squares[group]) = (count, mean, squares);
    }
}

impl<P: ArrowPrimitiveType> Numbers<P::Native> for Moments<P>
where
    P::Native: Element,
{
    #[inline(always)]
    fn add_run(&mut self, group: usize, values: &[P::Native]) {
        let (mean, squares) = moments(values);
        self.combine(group, values.len() as f64, mean, squares);
    }

    #[inline(always)]
    fn add_row(&mut self, group: usize, values: &[P::Native]) {
        let groups = group..group + values.len();
        let counts = &mut self.counts[groups.clone()];
        let Some(first) = counts.first().copied() else { return };
        if counts.iter().any(|count| *count != first) {
            for (index, value) in values.iter().enumerate() {
                self.combine(group + index, 1.0, value.as_f64(), 0.0);
            }
            return;
        }
        // Welford's update, with one division for the whole row.
        counts.fill(first + 1.0);
        let share = 1.0 / (first + 1.0);
        let means = &mut self.means[groups.clone()];
        let squares = &mut self.squares[groups];
        for ((mean, squares), value) in means.iter_mut().zip(squares).zip(values) {
            let value = value.as_f64();
            let before = value - *mean;
            *mean += before * share;
            *squares += before * (value - *mean);
        }
    }
}

impl<P: ArrowPrimitiveType> Accumulator for Moments<P>
where
    P::Native: Element,
{
    fn add(
        &mut self,
        values: Option<&ArrayRef>,
        walk: &Walk,
        mask: Option<&BooleanBuffer>,
    ) -> Result<()> {
        feed::<P>(self, values, walk, mask)
    }

    fn finish(self: Box<Self>) -> Vec<ArrayRef> {
        let counts: Vec<u64> = self.counts.iter().map(|count| *count as u64).collect();
        vec![
            Arc::new(UInt64Array::from(counts)),
            Arc::new(Float64Array::from(self.means)),
            Arc::new(Float64Array::from(self.squares)),
        ]
    }
}

/// `bool_and` if `ALL`, else `bool_or`.
struct Logic<const ALL: bool>(Vec<Option<bool>>);

impl<const ALL: bool> Accumulator for Logic<ALL> {
    fn add(
        &mut self,
        values: Option<&ArrayRef>,
        walk: &Walk,
        mask: Option<&BooleanBuffer>,
    ) -> Result<()> {
        let values = values.and_then(|values| values.as_boolean_opt());
        let values = values.ok_or_else(|| Error::bug("a logical reduction over other values"))?;
        let mask = both(mask, values.nulls());
        for run in &walk.runs {
            for index in 0..run.len {
                if mask.as_ref().is_some_and(|mask| !mask.value(run.at + index)) {
                    continue;
                }
                let value = values.value(run.at + index);
                let state = &mut self.0[run.group + if walk.per_element { index } else { 0 }];
                let before = state.unwrap_or(ALL);
                *state = Some(if ALL { before && value } else { before || value });
            }
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Vec<ArrayRef> {
        vec![Arc::new(BooleanArray::from(self.0))]
    }
}
