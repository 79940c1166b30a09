//! Mean and sum of squared deviations of each box.
//!
//! In: an extended array, with or without missing elements. Out: what a local standard deviation
//! needs. Windows are merged from two neighbours each, axis by axis, with the update of Chan, Golub
//! and LeVeque (1983), so that a small spread around a great mean keeps its digits.

use super::element::Element;
use super::lines::{Axis, Buffers, combine_windows, for_each_strip};
use super::{vectorised, windows_count};

/// Count, mean and sum of squared deviations from the mean of some elements.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    /// How many elements.
    pub count: f64,
    /// Their mean; 0 of none.
    pub mean: f64,
    /// The sum of the squares of their deviations from the mean.
    pub m2: f64,
}

impl Moments {
    fn of(value: f64) -> Self {
        Self { count: 1.0, mean: value, m2: deviation(value) }
    }
}

/// The squared deviation of a value from itself.
#[inline(always)]
fn deviation(value: f64) -> f64 {
    if value.is_finite() { 0.0 } else { f64::NAN }
}

/// The moments of both, where `share` is the right's share of all and `weight` is
/// `left.count * right.count / (left.count + right.count)`.
#[inline(always)]
fn merged(left: (f64, f64), right: (f64, f64), share: f64, weight: f64) -> (f64, f64) {
    let difference = right.0 - left.0;
    let mean = left.0 + difference * share;
    // Of an infinity the difference has no use; the mean is that infinity, or NaN of two. Two great
    // numbers may have a difference that is none.
    let mean = if difference.is_finite() { mean } else { left.0 * (1.0 - share) + right.0 * share };
    (mean, left.1 + right.1 + difference * difference * weight)
}

/// The mean, and the sum of squared deviations from it, of each box of `window` elements.
///
/// A box with an infinity has a mean of that infinity and NaN deviations.
pub fn moments_nd<T: Element>(
    input: &[T],
    shape: &[usize],
    window: &[usize],
) -> (Vec<f64>, Vec<f64>) {
    let mut shape = shape.to_vec();
    let mut values: Vec<(f64, f64)> = Vec::with_capacity(input.len());
    let mut box_count = 1.0;
    vectorised(
        #[inline(always)]
        || {
            values.extend(input.iter().map(|value| {
                let value = value.to_double();
                (value, deviation(value))
            }));
            for (axis, &size) in window.iter().enumerate().filter(|(_, size)| **size != 1) {
                values = combine_axis(
                    &values,
                    &shape,
                    axis,
                    size,
                    #[inline(always)]
                    |left, right, counts, more| {
                        let (left_count, right_count) = (counts as f64, more as f64);
                        let share = right_count / (left_count + right_count);
                        merged(left, right, share, box_count * left_count * share)
                    },
                );
                shape[axis] = windows_count(shape[axis], size);
                box_count *= size as f64;
            }
        },
    );
    values.into_iter().unzip()
}

/// The moments of the valid elements of each box of `window` elements.
///
/// What a missing element holds is not looked at. A box without a valid element has a count of 0.
pub fn moments_nd_missing<T: Element>(
    input: &[T],
    valid: &[bool],
    shape: &[usize],
    window: &[usize],
) -> Vec<Moments> {
    let mut shape = shape.to_vec();
    let mut values: Vec<Moments> = Vec::with_capacity(input.len());
    values.extend(input.iter().zip(valid).map(|(value, valid)| {
        if *valid { Moments::of(value.to_double()) } else { Moments::default() }
    }));
    vectorised(
        #[inline(always)]
        || {
            for (axis, &size) in window.iter().enumerate().filter(|(_, size)| **size != 1) {
                values = combine_axis(
                    &values,
                    &shape,
                    axis,
                    size,
                    #[inline(always)]
                    |left, right, _, _| merged_counts(left, right),
                );
                shape[axis] = windows_count(shape[axis], size);
            }
        },
    );
    values
}

#[inline(always)]
fn merged_counts(left: Moments, right: Moments) -> Moments {
    if left.count == 0.0 {
        return right;
    }
    if right.count == 0.0 {
        return left;
    }
    let count = left.count + right.count;
    let share = right.count / count;
    let (mean, m2) =
        merged((left.mean, left.m2), (right.mean, right.m2), share, left.count * share);
    Moments { count, mean, m2 }
}

#[inline(always)]
fn combine_axis<S: Copy + Default>(
    values: &[S],
    shape: &[usize],
    axis: usize,
    size: usize,
    combine: impl Fn(S, S, usize, usize) -> S,
) -> Vec<S> {
    let axis = Axis::of(shape, axis);
    let windows = windows_count(axis.length, size);
    let mut output = vec![S::default(); axis.outer * windows * axis.inner];
    let mut buffers = Buffers::default();
    for_each_strip(
        values,
        axis,
        size,
        #[inline(always)]
        |value| value,
        |mut strip| {
            let combined = combine_windows(&mut strip, size, &mut buffers, &combine);
            strip.rows(
                &mut output,
                #[inline(always)]
                |first, row| {
                    row.copy_from_slice(&combined[first..first + row.len()]);
                },
            );
        },
    );
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_boxes_by_hand() {
        let nine: Vec<f64> = (1..=9).map(f64::from).collect();
        assert_eq!(moments_nd(&nine, &[3, 3], &[3, 3]), (vec![5.0], vec![60.0]));
        assert_eq!(moments_nd(&[1_u8, 3, 5], &[3], &[2]), (vec![2.0, 4.0], vec![2.0, 2.0]));
        let (mean, m2) = moments_nd(&[7.5_f32; 20], &[4, 5], &[1, 1]);
        assert_eq!((mean, m2), (vec![7.5; 20], vec![0.0; 20]));
    }

    #[test]
    fn a_small_spread_around_a_great_mean_is_kept() {
        let line: Vec<f64> = (0..15).map(|index| 1e9 + f64::from(index % 3) * 1e-3).collect();
        let (_, m2) = moments_nd(&line, &[15], &[15]);
        assert!((m2[0] / 15.0 / (2e-6 / 3.0) - 1.0).abs() < 1e-3);
    }

    #[test]
    fn equal_elements_have_no_spread() {
        let (mean, m2) = moments_nd(&[0.1; 77], &[7, 11], &[3, 7]);
        assert!(mean.iter().all(|mean| *mean == 0.1) && m2.iter().all(|m2| *m2 == 0.0));
    }

    #[test]
    fn great_numbers_of_both_signs_have_their_mean() {
        let line = [-1.7e308, 1e308, 1e308];
        let (mean, _) = moments_nd(&line, &[3], &[2]);
        assert!((mean[0] / -3.5e307 - 1.0).abs() < 1e-12 && mean[1] == 1e308, "{mean:?}");
    }

    #[test]
    fn nan_and_infinity_stay_in_their_windows() {
        let mut line = [1.0; 30];
        line[15] = f64::INFINITY;
        let (mean, m2) = moments_nd(&line, &[30], &[5]);
        for at in 0..26 {
            let touched = (11..=15).contains(&at);
            assert_eq!((mean[at].is_infinite(), m2[at].is_nan()), (touched, touched));
        }
        line[15] = f64::NAN;
        let (mean, m2) = moments_nd(&line, &[30], &[5]);
        assert_eq!(mean.iter().chain(&m2).filter(|value| value.is_nan()).count(), 10);
    }

    #[test]
    fn missing_elements_are_left_out() {
        let line = [1.0, f64::NAN, 3.0, f64::INFINITY, 9.0];
        let valid = [true, false, true, false, false];
        let found = moments_nd_missing(&line, &valid, &[5], &[3]);
        assert_eq!(found[0], Moments { count: 2.0, mean: 2.0, m2: 2.0 });
        assert_eq!(found[1], Moments { count: 1.0, mean: 3.0, m2: 0.0 });
        assert_eq!(moments_nd_missing(&line, &valid, &[5], &[2])[3], Moments::default());
    }
}
