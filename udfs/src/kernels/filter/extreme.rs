//! The least or greatest element of each window along one axis, or of a box.
//!
//! In: an extended array. Out: minima or maxima. Windows of 2, 4, 8, ... elements are made from two
//! neighbours each; two such windows, overlapping, make one of any size. Not here: windows with
//! holes (`rank`) and with a structure to be added (`structured`).

use super::element::Element;
use super::lines::{Axis, for_each_strip};
use super::{vectorised, windows_count};

/// The least, or greatest, of each `size` neighbours along the axis.
///
/// The axis becomes `length - size + 1` long. A window with a NaN gives NaN; -0 is less than 0.
pub fn extreme1d<T: Element>(
    input: &[T],
    shape: &[usize],
    axis: usize,
    size: usize,
    maximum: bool,
) -> Vec<T> {
    let order = if maximum { Order::Greatest } else { Order::LeastNanFirst };
    extreme_axis(input, Axis::of(shape, axis), size, order)
}

/// Which element of a window is wanted.
#[derive(Clone, Copy)]
pub(super) enum Order {
    /// The greatest, with NaN above all numbers.
    Greatest,
    /// The least, with NaN below all numbers.
    LeastNanFirst,
    /// The least, with NaN above all numbers.
    LeastNanLast,
}

fn extreme_axis<T: Element>(input: &[T], axis: Axis, size: usize, order: Order) -> Vec<T> {
    let windows = windows_count(axis.length, size);
    let mut output = vec![T::default(); axis.outer * windows * axis.inner];
    let out = &mut output;
    vectorised(
        #[inline(always)]
        || match order {
            Order::Greatest => extremes(input, axis, size, out, T::key, T::Key::max),
            Order::LeastNanFirst => {
                extremes(input, axis, size, out, T::key_nan_first, T::Key::min);
            }
            Order::LeastNanLast => extremes(input, axis, size, out, T::key, T::Key::min),
        },
    );
    output
}

#[inline(always)]
fn extremes<T: Element>(
    input: &[T],
    axis: Axis,
    size: usize,
    output: &mut [T],
    key: impl Fn(T) -> T::Key,
    better: impl Fn(T::Key, T::Key) -> T::Key,
) {
    let mut doubled = Vec::new();
    for_each_strip(
        input,
        axis,
        size,
        key,
        #[inline(always)]
        |strip| {
            let stride = strip.stride;
            let mut width = 1;
            while 2 * width <= size {
                let farther = &strip.values[width * stride..];
                doubled.clear();
                let pairs = strip.values.iter().zip(farther);
                doubled.extend(pairs.map(|(left, right)| better(*left, *right)));
                std::mem::swap(strip.values, &mut doubled);
                width *= 2;
            }
            let second = &strip.values[(size - width) * stride..];
            strip.rows(
                output,
                #[inline(always)]
                |first, row| {
                    let pairs = strip.values[first..].iter().zip(&second[first..]);
                    for (out, (left, right)) in row.iter_mut().zip(pairs) {
                        *out = T::from_key(better(*left, *right));
                    }
                },
            );
        },
    );
}

/// The element of each box of `window` elements that is wanted.
pub(super) fn extreme_box<T: Element>(
    input: &[T],
    shape: &[usize],
    window: &[usize],
    order: Order,
) -> Vec<T> {
    let mut shape = shape.to_vec();
    let mut values: Option<Vec<T>> = None;
    for (axis, &size) in window.iter().enumerate().filter(|(_, size)| **size != 1) {
        let from = values.as_deref().unwrap_or(input);
        values = Some(extreme_axis(from, Axis::of(&shape, axis), size, order));
        shape[axis] = windows_count(shape[axis], size);
    }
    values.unwrap_or_else(|| input.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_of_neighbours_in_every_axis() {
        let line = [3_i32, 1, -4, 1, 5];
        assert_eq!(extreme1d(&line, &[5], 0, 3, true), [3, 1, 5]);
        assert_eq!(extreme1d(&line, &[5], 0, 3, false), [-4, -4, -4]);
        let plane = [1_u8, 9, 2, 8, 3, 7];
        assert_eq!(extreme1d(&plane, &[3, 2], 0, 2, true), [2, 9, 3, 8]);
        assert_eq!(extreme_box(&plane, &[3, 2], &[2, 2], Order::LeastNanFirst), [1, 2]);
    }

    #[test]
    fn sizes_and_lengths_agree_with_a_plain_search() {
        let line: Vec<f32> = (0..150).map(|index| ((index * 37 % 101) as f32) - 50.0).collect();
        for size in 1..40 {
            for maximum in [false, true] {
                let found = extreme1d(&line, &[150], 0, size, maximum);
                let plain = line.windows(size).map(|window| {
                    let pick = if maximum { f32::max } else { f32::min };
                    window.iter().copied().fold(window[0], pick)
                });
                assert!(found.into_iter().eq(plain));
            }
        }
    }

    #[test]
    fn a_window_with_a_nan_gives_nan() {
        for nan in [f64::NAN, -f64::NAN] {
            let line = [1.0, f64::INFINITY, nan, f64::NEG_INFINITY, 2.0, 3.0];
            for maximum in [false, true] {
                let found = extreme1d(&line, &[6], 0, 2, maximum).map_nan();
                assert_eq!(found, [false, true, true, false, false]);
            }
        }
    }

    trait MapNan {
        fn map_nan(&self) -> Vec<bool>;
    }
    impl MapNan for Vec<f64> {
        fn map_nan(&self) -> Vec<bool> {
            self.iter().map(|value| value.is_nan()).collect()
        }
    }
}
