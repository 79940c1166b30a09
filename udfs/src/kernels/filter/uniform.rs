//! The mean of each window along one axis.
//!
//! In: an extended array. Out: means. The sum is put together from windows of 1, 2, 4, ... elements,
//! so its error grows with the logarithm of the size, and no NaN outlives its window; SciPy's
//! `uniform_filter1d` carries a running sum along, where one does.

use super::element::Element;
use super::lines::{Axis, Buffers, combine_windows, for_each_strip};
use super::{vectorised, windows_count};

/// The mean of each `size` neighbours along the axis, which becomes `length - size + 1` long.
///
/// Sum and quotient are in double precision; for an integer type the quotient is cut towards zero.
pub fn uniform1d<T: Element>(input: &[T], shape: &[usize], axis: usize, size: usize) -> Vec<T> {
    let axis = Axis::of(shape, axis);
    let windows = windows_count(axis.length, size);
    let mut output = vec![T::default(); axis.outer * windows * axis.inner];
    let mut buffers = Buffers::default();
    let divisor = size as f64;
    vectorised(
        #[inline(always)]
        || {
            for_each_strip(
                input,
                axis,
                size,
                T::to_double,
                #[inline(always)]
                |mut strip| {
                    let sums = combine_windows(
                        &mut strip,
                        size,
                        &mut buffers,
                        #[inline(always)]
                        |left, right, _, _| left + right,
                    );
                    strip.rows(
                        &mut output,
                        #[inline(always)]
                        |first, row| {
                            for (out, sum) in row.iter_mut().zip(&sums[first..]) {
                                *out = T::from_double(sum / divisor);
                            }
                        },
                    );
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
    fn means_of_neighbours() {
        assert_eq!(uniform1d(&[1.0, 2.0, 6.0, 0.0], &[4], 0, 3), [3.0, 8.0 / 3.0]);
        assert_eq!(
            uniform1d(&[1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0], &[3, 2], 0, 2),
            [2.0, 3.0, 4.0, 5.0]
        );
        assert_eq!(uniform1d(&[1.0_f32, 3.0, 5.0, 9.0], &[2, 2], 1, 2), [2.0, 7.0]);
    }

    #[test]
    fn integers_are_cut_towards_zero() {
        assert_eq!(uniform1d(&[1_u8, 2, 2, 255], &[4], 0, 2), [1, 2, 128]);
        assert_eq!(uniform1d(&[-1_i32, -2], &[2], 0, 2), [-1]);
        assert_eq!(uniform1d(&[9_u8; 9], &[9], 0, 9), [9]);
    }

    #[test]
    fn one_nan_reaches_its_windows_only() {
        let mut line = [1.0; 40];
        line[20] = f64::NAN;
        let means = uniform1d(&line, &[40], 0, 3);
        assert!(
            means.iter().enumerate().all(|(at, mean)| mean.is_nan() == (18..=20).contains(&at))
        );
        line[20] = f64::INFINITY;
        assert_eq!(uniform1d(&line, &[40], 0, 3).iter().filter(|mean| **mean != 1.0).count(), 3);
    }

    #[test]
    fn a_part_gives_the_same_bits() {
        let line: Vec<f64> = (0..90 * 3).map(|index| (f64::from(index) * 0.7).sin()).collect();
        for size in 1..20 {
            let whole = uniform1d(&line, &[90, 3], 0, size);
            let part = uniform1d(&line[15..15 + 3 * 30], &[30, 3], 0, size);
            assert_eq!(part, whole[15..15 + part.len()]);
        }
    }
}
