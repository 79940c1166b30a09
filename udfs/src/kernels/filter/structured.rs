//! Grey erosion and dilation with a structure of heights.
//!
//! In: an extended array, and a structure in the order in which it lies over the window. Out: the
//! extremes of the sums. Not here: turning the structure around. SciPy's `grey_dilation` lays the
//! structure (and the footprint) reflected in every axis over the window and moves an even window by
//! one, `grey_erosion` as it is; the caller does the same. Flat structures are in `extreme`.

use super::element::Element;
use super::lines::{for_each_row, window_offsets};
use super::{vectorised, windows_shape};

const LANES: usize = 16;

/// The greatest `input[i + k] + structure[k]` of each window, or the least
/// `input[i + k] - structure[k]`.
///
/// Only places where `footprint` is true count, or all without one; `structure` has the window's
/// shape. Each sum is made in double precision and converted by [`Element::from_double`] before it is
/// compared, so for integers a sum out of range counts as what it wraps to. (SciPy compares the first
/// place's sum as it is.)
/// Elements that are not `valid` are left out. A window with a NaN gives NaN; one without a place
/// gives the extreme of nothing, an infinity.
pub fn extreme_structured<T: Element>(
    input: &[T],
    valid: Option<&[bool]>,
    shape: &[usize],
    window: &[usize],
    footprint: Option<&[bool]>,
    structure: &[f64],
    maximum: bool,
) -> Vec<T> {
    let mut output = vec![T::default(); windows_shape(shape, window).iter().product()];
    let sign = if maximum { 1.0 } else { -1.0 };
    let places: Vec<(usize, f64)> = window_offsets(shape, window)
        .into_iter()
        .zip(structure.iter().map(|height| sign * height))
        .enumerate()
        .filter(|(place, _)| footprint.is_none_or(|footprint| footprint[*place]))
        .map(|(_, place)| place)
        .collect();
    let worst = sign * f64::NEG_INFINITY;
    let out = &mut output;
    vectorised(
        #[inline(always)]
        || {
            if maximum {
                extremes(input, valid, shape, window, &places, worst, out, |new, old| new > old);
            } else {
                extremes(input, valid, shape, window, &places, worst, out, |new, old| new < old);
            }
        },
    );
    output
}

#[allow(clippy::too_many_arguments)]
#[inline(always)]
fn extremes<T: Element>(
    input: &[T],
    valid: Option<&[bool]>,
    shape: &[usize],
    window: &[usize],
    places: &[(usize, f64)],
    worst: f64,
    output: &mut [T],
    better: impl Fn(f64, f64) -> bool,
) {
    let mut doubles: Vec<f64> = Vec::with_capacity(input.len() + LANES);
    doubles.extend(input.iter().map(|value| value.to_double()));
    doubles.resize(input.len() + LANES, 0.0);
    let mut present: Vec<bool> = valid.unwrap_or_default().to_vec();
    present.resize(if valid.is_some() { doubles.len() } else { 0 }, false);
    for_each_row(
        shape,
        window,
        output,
        #[inline(always)]
        |start, row| {
            for (step, lanes) in row.chunks_mut(LANES).enumerate() {
                let values = &doubles[start + step * LANES..];
                let mut found = [worst; LANES];
                for (offset, height) in places {
                    let values = &values[*offset..*offset + LANES];
                    let mut counts = [true; LANES];
                    if !present.is_empty() {
                        counts.copy_from_slice(&present[start + step * LANES + offset..][..LANES]);
                    }
                    for ((old, value), counts) in found.iter_mut().zip(values).zip(counts) {
                        let new = T::from_double(value + height).to_double();
                        *old =
                            if counts && (better(new, *old) || new.is_nan()) { new } else { *old };
                    }
                }
                for (out, value) in lanes.iter_mut().zip(found) {
                    *out = T::from_double(value);
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_are_added_for_a_maximum_and_taken_off_for_a_minimum() {
        let line = [1.0, 5.0, 2.0, 0.0];
        let heights = [0.0, 1.0, 4.0];
        assert_eq!(extreme_structured(&line, None, &[4], &[3], None, &heights, true), [6.0, 5.0]);
        assert_eq!(
            extreme_structured(&line, None, &[4], &[3], None, &heights, false),
            [-2.0, -4.0]
        );
        assert_eq!(
            extreme_structured(&[250_u8, 9], None, &[2], &[2], None, &[10.0, 0.0], true),
            [9]
        );
    }

    #[test]
    fn places_outside_the_footprint_do_not_count() {
        let plane = [1.0_f32, 9.0, f32::NAN, 3.0];
        let footprint = [true, false, false, true];
        let found =
            extreme_structured(&plane, None, &[2, 2], &[2, 2], Some(&footprint), &[0.5; 4], true);
        assert_eq!(found, [3.5]);
        assert!(
            extreme_structured(&plane, None, &[2, 2], &[2, 2], None, &[0.5; 4], false)[0].is_nan()
        );
    }

    #[test]
    fn a_missing_element_is_left_out_and_changes_no_other() {
        let line = [250_u8, 9, 246, 255];
        let valid = [true, true, true, false];
        let found = extreme_structured(&line, Some(&valid), &[4], &[2], None, &[0.0, 10.0], true);
        assert_eq!(found, [250, 9, 246]); // 246 + 10 wraps to 0, 255 + 10 is not there
        let all = extreme_structured(&line[..3], None, &[3], &[2], None, &[0.0, 10.0], true);
        assert_eq!(found[..2], all);
        assert_eq!(
            extreme_structured(&[1_u8], Some(&[false]), &[1], &[1], None, &[0.0], true),
            [u8::from_double(f64::NEG_INFINITY)]
        );
    }

    #[test]
    fn a_nan_reaches_its_windows_only() {
        let mut line = [1.0; 50];
        line[25] = f64::NAN;
        for maximum in [false, true] {
            let found =
                extreme_structured(&line, None, &[50], &[3], None, &[1.0, 0.0, 2.0], maximum);
            assert!(
                found
                    .iter()
                    .enumerate()
                    .all(|(at, value)| value.is_nan() == (23..=25).contains(&at))
            );
        }
    }
}
