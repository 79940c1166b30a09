//! Correlation with weights, along one axis or with a kernel of any shape.
//!
//! In: an extended array and weights. Out: the sum of weight times element for each window, added in
//! double precision in the order in which SciPy's `correlate1d` and `correlate` add, and converted
//! once at the end. Not here: turning the weights around, which makes it a convolution.

use super::element::Element;
use super::lines::{Axis, Strip, for_each_row, for_each_strip, window_offsets};
use super::{vectorised, windows_count, windows_shape};

/// How many output elements are summed side by side.
const LANES: usize = 16;

/// The correlation along one axis: `out[i]` is the sum of `weights[k] * input[i + k]`.
///
/// The axis becomes `length - weights.len() + 1` long. The sum is in double precision; for an
/// integer type it is cut towards zero, as [`Element::from_double`] does it. Source: SciPy's
/// `NI_Correlate1D`: weights that mirror each other, with the same or the opposite sign, are
/// multiplied by the sum or difference of their elements. (SciPy takes weights for mirrored that
/// differ by up to 2e-16; here they must be equal.)
pub fn correlate1d<T: Element>(
    input: &[T],
    shape: &[usize],
    axis: usize,
    weights: &[f64],
) -> Vec<T> {
    let axis = Axis::of(shape, axis);
    let windows = windows_count(axis.length, weights.len());
    let mut output = vec![T::default(); axis.outer * windows * axis.inner];
    vectorised(
        #[inline(always)]
        || match symmetry(weights) {
            Symmetry::Even => correlate_lines(
                input,
                axis,
                weights,
                &mut output,
                #[inline(always)]
                |values, stride| sum_even(values, stride, weights),
            ),
            Symmetry::Odd => correlate_lines(
                input,
                axis,
                weights,
                &mut output,
                #[inline(always)]
                |values, stride| sum_odd(values, stride, weights),
            ),
            Symmetry::None => correlate_lines(
                input,
                axis,
                weights,
                &mut output,
                #[inline(always)]
                |values, stride| sum_plain(values, stride, weights),
            ),
        },
    );
    output
}

enum Symmetry {
    Even,
    Odd,
    None,
}

fn symmetry(weights: &[f64]) -> Symmetry {
    if weights.len().is_multiple_of(2) {
        return Symmetry::None;
    }
    let half = weights.len() / 2;
    let mut pairs = weights[..half].iter().zip(weights[half + 1..].iter().rev());
    if pairs.clone().all(|(left, right)| left == right) {
        Symmetry::Even
    } else if pairs.all(|(left, right)| *left == -*right) {
        Symmetry::Odd
    } else {
        Symmetry::None
    }
}

#[inline(always)]
fn correlate_lines<T: Element>(
    input: &[T],
    axis: Axis,
    weights: &[f64],
    output: &mut [T],
    sum: impl Fn(&[f64], usize) -> [f64; LANES],
) {
    for_each_strip(
        input,
        axis,
        weights.len(),
        T::to_double,
        #[inline(always)]
        |strip: Strip<'_, f64>| {
            // Room for the last lanes of a row, which are computed and not used.
            strip.values.resize(strip.values.len() + LANES, 0.0);
            let (values, stride) = (&strip.values[..], strip.stride);
            strip.rows(
                output,
                #[inline(always)]
                |first, row| {
                    let (whole, rest) = row.as_chunks_mut::<LANES>();
                    let mut at = first;
                    for lanes in whole {
                        store(lanes, sum(&values[at..], stride));
                        at += LANES;
                    }
                    if !rest.is_empty() {
                        store(rest, sum(&values[at..], stride));
                    }
                },
            );
        },
    );
}

#[inline(always)]
fn store<T: Element>(lanes: &mut [T], sums: [f64; LANES]) {
    for (out, sum) in lanes.iter_mut().zip(sums) {
        *out = T::from_double(sum);
    }
}

/// The elements of [`LANES`] windows at one place of the window.
#[inline(always)]
fn lanes(values: &[f64], place: usize) -> [f64; LANES] {
    let mut lanes = [0.0; LANES];
    lanes.copy_from_slice(&values[place..place + LANES]);
    lanes
}

#[inline(always)]
fn sum_plain(values: &[f64], stride: usize, weights: &[f64]) -> [f64; LANES] {
    let last = weights.len() - 1;
    let mut sums = lanes(values, last * stride);
    sums.iter_mut().for_each(|sum| *sum *= weights[last]);
    for (place, weight) in weights[..last].iter().enumerate() {
        let values = lanes(values, place * stride);
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += value * weight;
        }
    }
    sums
}

#[inline(always)]
fn sum_even(values: &[f64], stride: usize, weights: &[f64]) -> [f64; LANES] {
    sum_folded(
        values,
        stride,
        weights,
        #[inline(always)]
        |left, right| left + right,
    )
}

#[inline(always)]
fn sum_odd(values: &[f64], stride: usize, weights: &[f64]) -> [f64; LANES] {
    sum_folded(
        values,
        stride,
        weights,
        #[inline(always)]
        |left, right| left - right,
    )
}

#[inline(always)]
fn sum_folded(
    values: &[f64],
    stride: usize,
    weights: &[f64],
    fold: impl Fn(f64, f64) -> f64,
) -> [f64; LANES] {
    let half = weights.len() / 2;
    let mut sums = lanes(values, half * stride);
    sums.iter_mut().for_each(|sum| *sum *= weights[half]);
    for (place, weight) in weights[..half].iter().enumerate() {
        let left = lanes(values, place * stride);
        let right = lanes(values, (2 * half - place) * stride);
        for ((sum, left), right) in sums.iter_mut().zip(left).zip(right) {
            *sum += fold(left, right) * weight;
        }
    }
    sums
}

/// The correlation with a kernel of the array's number of dimensions: the sum of
/// `kernel[k] * input[i + k]`.
///
/// The sum is in double precision and in the kernel's order; for an integer type it is cut towards
/// zero, as [`Element::from_double`] does it. Source: SciPy's `NI_Correlate`, which leaves weights
/// out whose magnitude is at most 2^-52: a NaN under a zero weight is not seen.
pub fn correlate_nd<T: Element>(
    input: &[T],
    shape: &[usize],
    kernel: &[f64],
    kernel_shape: &[usize],
) -> Vec<T> {
    let mut output = vec![T::default(); windows_shape(shape, kernel_shape).iter().product()];
    let (mut offsets, mut weights) = (Vec::new(), Vec::new());
    for (offset, weight) in window_offsets(shape, kernel_shape).into_iter().zip(kernel) {
        if is_read(*weight) {
            offsets.push(offset);
            weights.push(*weight);
        }
    }
    let mut doubles: Vec<f64> = Vec::with_capacity(input.len() + LANES);
    vectorised(
        #[inline(always)]
        || {
            doubles.extend(input.iter().map(|value| value.to_double()));
            doubles.resize(input.len() + LANES, 0.0);
            for_each_row(
                shape,
                kernel_shape,
                &mut output,
                #[inline(always)]
                |start, row| {
                    let (whole, rest) = row.as_chunks_mut::<LANES>();
                    let mut at = start;
                    for lanes in whole {
                        store(lanes, sum_offsets(&doubles[at..], &offsets, &weights));
                        at += LANES;
                    }
                    if !rest.is_empty() {
                        store(rest, sum_offsets(&doubles[at..], &offsets, &weights));
                    }
                },
            );
        },
    );
    output
}

/// Whether an element under this weight is read.
pub fn is_read(weight: f64) -> bool {
    weight.abs() > f64::EPSILON
}

#[inline(always)]
fn sum_offsets(values: &[f64], offsets: &[usize], weights: &[f64]) -> [f64; LANES] {
    let mut sums = [0.0; LANES];
    for (offset, weight) in offsets.iter().zip(weights) {
        let values = lanes(values, *offset);
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += value * weight;
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_see_weights_in_order() {
        // SciPy's test_extend01 to 05, extended by hand.
        let extended = |before: f64, after: f64| {
            correlate1d(&[before, 1.0, 0.0, 0.0, after], &[5], 0, &[1.0, 2.0, 3.0])[0]
        };
        assert_eq!([(1.0, 0.0), (0.0, 0.0)].map(|(b, a)| extended(b, a)), [3.0, 2.0]);
        assert_eq!(
            correlate1d(&[0.0_f32, 0.0, 1.0, 0.0, 0.0], &[5], 0, &[1.0, 2.0, 3.0]),
            [3.0, 2.0, 1.0]
        );
        assert_eq!(correlate1d(&[1_i16, 2, 4], &[3], 0, &[1.0, 10.0]), [21, 42]);
    }

    #[test]
    fn integers_are_cut_and_wrapped_as_in_scipy() {
        let impulse = [0_u8, 0, 0, 1, 0, 0, 0];
        assert_eq!(correlate1d(&impulse, &[7], 0, &[-1.0, 0.0, 1.0]), [0, 1, 0, 255, 0]);
        assert_eq!(correlate1d(&[-7_i32], &[1], 0, &[0.25]), [-1]);
        assert_eq!(correlate_nd(&[7_u8], &[1], &[-0.25], &[1]), [255]);
    }

    #[test]
    fn each_axis_is_summed_alike() {
        let plane: Vec<f64> = (0..6 * 70).map(|index| f64::from(index * index % 97)).collect();
        let turned: Vec<f64> = (0..6 * 70).map(|index| plane[index % 6 * 70 + index / 6]).collect();
        for weights in [vec![0.1, 0.7, 0.1], vec![-0.3, 0.2, 0.3], vec![0.1, 0.2, 0.3, 0.4]] {
            let down = correlate1d(&plane, &[6, 70], 0, &weights);
            let along = correlate1d(&turned, &[70, 6], 1, &weights);
            let rows = 7 - weights.len();
            assert_eq!(down.len(), rows * 70);
            assert!((0..down.len()).all(|index| {
                down[index].to_bits() == along[index % 70 * rows + index / 70].to_bits()
            }));
        }
    }

    #[test]
    fn a_part_gives_the_same_bits() {
        let line: Vec<f32> = (0..200).map(|index| (index as f32 * 0.37).sin()).collect();
        let weights = [0.11, 0.31, 0.53, 0.31, 0.11];
        let whole = correlate1d(&line, &[200], 0, &weights);
        let kernel_whole = correlate_nd(&line, &[200], &weights, &[5]);
        for start in 0..40 {
            let part = &line[start..start + 5 + start % 19];
            let shape = [part.len()];
            let found = correlate1d(part, &shape, 0, &weights);
            assert_eq!(found, whole[start..start + found.len()]);
            let found = correlate_nd(part, &shape, &weights, &[5]);
            assert_eq!(found, kernel_whole[start..start + found.len()]);
        }
    }

    #[test]
    fn nan_and_infinity_reach_their_windows_only() {
        for hole in [f64::NAN, f64::INFINITY] {
            let mut line = [1.0; 40];
            line[20] = hole;
            let touched: Vec<usize> = correlate1d(&line, &[40], 0, &[0.25, 0.5, 0.25])
                .iter()
                .enumerate()
                .filter(|(_, value)| !value.is_finite())
                .map(|(index, _)| index)
                .collect();
            assert_eq!(touched, [18, 19, 20]);
        }
    }

    #[test]
    fn a_kernel_skips_zero_weights() {
        let plane = [f64::NAN, 1.0, 2.0, 3.0];
        assert_eq!(correlate_nd(&plane, &[2, 2], &[0.0, 1.0, 10.0, 100.0], &[2, 2]), [321.0]);
        let cube: Vec<f32> = (0..24).map(|index| index as f32).collect();
        let found = correlate_nd(&cube, &[2, 3, 4], &[1.0, 0.0, 0.0, 2.0], &[2, 1, 2]);
        assert_eq!(found[..3], [26.0, 29.0, 32.0]);
        assert_eq!(found.len(), 9);
    }

    #[test]
    fn an_input_shorter_than_the_window_gives_nothing() {
        assert_eq!(correlate1d::<f64>(&[1.0, 2.0], &[2], 0, &[1.0; 3]), [0.0; 0]);
        assert_eq!(correlate_nd::<f64>(&[1.0, 2.0], &[1, 2], &[1.0; 4], &[2, 2]), [0.0; 0]);
    }
}
