//! Inner loops of the dense reductions, over plain slices.
//!
//! Sums run in 16 independent lanes of `f64`, which is both quick and, for runs of a few thousand
//! elements, accurate to a few units in the last place. The loops are compiled for several instruction
//! sets, and the best one is chosen at run time ([`crate::vectorised()`]); the order of additions is the same
//! in all, so that no result depends on the processor. Not here: groups, masks, Arrow.

use arrow::datatypes::ArrowNativeTypeOp;

const LANES: usize = 16;

/// An element type that arrays are reduced over.
pub trait Element: ArrowNativeTypeOp {
    /// The value as `f64`, rounded if need be.
    fn as_f64(self) -> f64;
    /// The value as `i64`; only called for types that fit.
    fn as_i64(self) -> i64;
    /// The value as `u64`; only called for types that fit.
    fn as_u64(self) -> u64;
}

macro_rules! elements {
    ($($type:ty),*) => {$(
        #[allow(clippy::cast_lossless)]
        impl Element for $type {
            #[inline(always)]
            fn as_f64(self) -> f64 { self as f64 }
            #[inline(always)]
            fn as_i64(self) -> i64 { self as i64 }
            #[inline(always)]
            fn as_u64(self) -> u64 { self as u64 }
        }
    )*};
}
elements!(i8, i16, i32, i64, u8, u16, u32, u64, f32, f64);

/// The sum of `term(value)` over all values.
#[inline(always)]
pub fn sum_of<T: Copy>(values: &[T], term: impl Fn(T) -> f64) -> f64 {
    let (blocks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for block in blocks {
        for (lane, value) in lanes.iter_mut().zip(block) {
            *lane += term(*value);
        }
    }
    let tail: f64 = rest.iter().map(|value| term(*value)).sum();
    lanes.iter().sum::<f64>() + tail
}

/// Mean and sum of squared deviations from it, in two passes.
#[inline(always)]
pub fn moments<T: Element>(values: &[T]) -> (f64, f64) {
    let mean = sum_of(values, |value| value.as_f64()) / values.len() as f64;
    let squares = sum_of(values, |value| {
        let rest = value.as_f64() - mean;
        rest * rest
    });
    (mean, squares)
}

/// Count, mean and sum of squared deviations of two sets together (Chan, Golub, LeVeque 1983).
#[inline(always)]
pub fn combine_moments(one: (f64, f64, f64), other: (f64, f64, f64)) -> (f64, f64, f64) {
    if one.0 == 0.0 {
        return other;
    }
    let count = one.0 + other.0;
    let delta = other.1 - one.1;
    let share = other.0 / count;
    (count, one.1 + delta * share, one.2 + other.2 + delta * delta * one.0 * share)
}

/// The value that comes first in the total order of the type, in which NaN is the greatest;
/// `MAXIMUM` asks for the last.
#[inline(always)]
pub fn extreme<T: Element, const MAXIMUM: bool>(values: &[T]) -> Option<T> {
    let (blocks, rest) = values.as_chunks::<LANES>();
    let mut found = *values.first()?;
    if let Some(first) = blocks.first() {
        let mut lanes = *first;
        for block in blocks {
            for (lane, value) in lanes.iter_mut().zip(block) {
                *lane = better::<T, MAXIMUM>(*lane, *value);
            }
        }
        found = lanes.iter().fold(lanes[0], |best, lane| better::<T, MAXIMUM>(best, *lane));
    }
    Some(rest.iter().fold(found, |best, value| better::<T, MAXIMUM>(best, *value)))
}

/// The lesser of two in the total order, or the greater.
#[inline(always)]
pub fn better<T: Element, const MAXIMUM: bool>(one: T, other: T) -> T {
    let take_other = if MAXIMUM { other.is_gt(one) } else { other.is_lt(one) };
    if take_other { other } else { one }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_moments_of_lengths_around_the_lanes() {
        for count in [1_usize, 2, 15, 16, 17, 31, 32, 33, 100] {
            let values: Vec<i32> = (1..=count as i32).collect();
            let n = count as f64;
            assert_eq!(sum_of(&values, Element::as_f64), n * (n + 1.0) / 2.0);
            let (mean, squares) = moments(&values);
            assert!((mean - (n + 1.0) / 2.0).abs() < 1e-12);
            assert!((squares - n * (n * n - 1.0) / 12.0).abs() < 1e-9 * (1.0 + squares));
        }
    }

    #[test]
    fn nan_is_the_greatest_value() {
        let values = [f32::NAN, 3.0, -1.0, f32::NAN];
        assert_eq!(extreme::<f32, false>(&values), Some(-1.0));
        assert!(extreme::<f32, true>(&values).is_some_and(f32::is_nan));
        assert!(extreme::<f32, false>(&[f32::NAN]).is_some_and(f32::is_nan));
        assert_eq!(extreme::<f64, true>(&[]), None);
        let long: Vec<f64> = (0..100).map(|index| f64::from((index * 37) % 101)).collect();
        assert_eq!(extreme::<f64, true>(&long), Some(100.0));
        assert_eq!(extreme::<f64, false>(&long), Some(0.0));
    }

    #[test]
    fn moments_of_two_sets_are_those_of_all() {
        let all: Vec<f64> = (0..50).map(|index| f64::from(index * index)).collect();
        let part = |values: &[f64]| {
            let (mean, squares) = moments(values);
            (values.len() as f64, mean, squares)
        };
        let together = combine_moments(part(&all[..7]), part(&all[7..]));
        let (mean, squares) = moments(&all);
        assert_eq!(together.0, 50.0);
        assert!((together.1 - mean).abs() < 1e-12 * mean);
        assert!((together.2 - squares).abs() < 1e-12 * squares);
    }
}
