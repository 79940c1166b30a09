//! The element of a given rank of each window: medians, percentiles, ranks.
//!
//! In: an extended array, with or without missing elements, and a window with or without holes.
//! Out: for each window one of its elements, exactly. Small windows go through sorting networks,
//! many windows side by side (`network`); great ones slide over a tile's sorted elements
//! (`sliding`); the least and greatest of a box are in `extreme`. Not here: interpolation.
//!
//! The order is total: -0 before 0, and every NaN after all numbers, so a NaN counts as the
//! greatest element and comes out only at the highest ranks. (SciPy leaves NaN undefined.)

mod network;
mod sliding;

use super::element::Element;
use super::extreme::{Order, extreme_box};
use super::lines::window_offsets;
use sliding::{Missing, Window};

/// Windows of at most so many elements go through a network.
const NETWORK_ELEMENTS_MAX: usize = 49;

/// The element of rank `rank`, counted from 0 at the least, of each window.
///
/// `window` has the array's number of dimensions. Only places where `footprint` is true belong to
/// the window, or all without one; it must have at least one. A rank past the last is the last.
pub fn rank_nd<T: Element>(
    input: &[T],
    shape: &[usize],
    window: &[usize],
    footprint: Option<&[bool]>,
    rank: usize,
) -> Vec<T> {
    let footprint = footprint.filter(|places| places.contains(&false));
    let size = places_count(window, footprint);
    let rank = rank.min(size.saturating_sub(1));
    if footprint.is_none() && (rank == 0 || rank + 1 == size) {
        let order = if rank == 0 { Order::LeastNanLast } else { Order::Greatest };
        return extreme_box(input, shape, window, order);
    }
    if size <= NETWORK_ELEMENTS_MAX {
        let places = window_places(shape, window, footprint);
        return network::rank_small(input, shape, window, &places, rank);
    }
    let window = Window { shape: window, footprint };
    sliding::rank_sliding(input, Missing::None, shape, window, &|_| rank).0
}

/// The element of each window whose rank among its `n` valid elements is `rank(n)`, and whether
/// there is one.
///
/// What a missing element holds is not looked at. A window without a valid element gives a default
/// value and `false`. The rest is as in [`rank_nd`].
pub fn rank_nd_missing<T: Element>(
    input: &[T],
    valid: &[bool],
    shape: &[usize],
    window: &[usize],
    footprint: Option<&[bool]>,
    rank: impl Fn(usize) -> usize,
) -> (Vec<T>, Vec<bool>) {
    let window = Window { shape: window, footprint };
    sliding::rank_sliding(input, Missing::Where(valid), shape, window, &rank)
}

fn places_count(window: &[usize], footprint: Option<&[bool]>) -> usize {
    match footprint {
        Some(places) => places.iter().filter(|place| **place).count(),
        None => window.iter().product(),
    }
}

/// Where the elements of a window lie, counted from its corner.
fn window_places(shape: &[usize], window: &[usize], footprint: Option<&[bool]>) -> Vec<usize> {
    let offsets = window_offsets(shape, window).into_iter().enumerate();
    offsets
        .filter(|(place, _)| footprint.is_none_or(|places| places[*place]))
        .map(|(_, offset)| offset)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each window sorted, one by one.
    fn plain<T: Element>(
        input: &[T],
        shape: &[usize],
        window: &[usize],
        footprint: Option<&[bool]>,
        rank: usize,
    ) -> Vec<T::Key> {
        let places = window_places(shape, window, footprint);
        let starts = window_offsets(shape, &super::super::windows_shape(shape, window));
        let ranked = |start: usize| {
            let mut keys: Vec<T::Key> =
                places.iter().map(|place| input[start + place].key()).collect();
            keys.sort_unstable();
            keys[rank]
        };
        starts.into_iter().map(ranked).collect()
    }

    fn keys<T: Element>(values: &[T]) -> Vec<T::Key> {
        values.iter().map(|value| value.key()).collect()
    }

    fn scrambled(count: usize, modulus: u64) -> Vec<u64> {
        let step = |seed: u64| seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99_991);
        std::iter::successors(Some(7), |seed| Some(step(*seed)))
            .map(|seed: u64| (seed >> 33) % modulus)
            .take(count)
            .collect()
    }

    #[test]
    fn medians_and_percentiles_of_scipys_tests() {
        // test_rank01 to 06, extended by reflection.
        assert_eq!(rank_nd(&[1, 1, 2, 3, 4, 5_i32], &[6], &[2], None, 1), [1, 2, 3, 4, 5]);
        assert_eq!(rank_nd(&[3, 3, 2, 5, 1, 4, 4_i32], &[7], &[3], None, 1), [3, 3, 2, 4, 4]);
        #[rustfmt::skip]
        let extended = [
            3, 3, 2, 5, 1, 4, 4,
            3, 3, 2, 5, 1, 4, 4,
            5, 5, 8, 3, 7, 1, 1,
            5, 5, 6, 9, 3, 5, 5_u8,
        ];
        let found = rank_nd(&extended, &[4, 7], &[2, 3], None, 6 * 17 / 100);
        assert_eq!(found, [2, 2, 1, 1, 1, 3, 3, 2, 1, 1, 5, 5, 3, 3, 1]);
    }

    #[test]
    fn every_way_agrees_with_sorting() {
        let values: Vec<f32> = scrambled(23 * 81, 300).iter().map(|v| *v as f32 - 150.0).collect();
        for window in [[3, 3], [5, 5], [1, 3], [5, 1], [2, 4], [7, 6], [15, 15], [3, 40], [19, 2]] {
            let size: usize = window.iter().product();
            for rank in [0, 1, size / 3, size / 2, size - 1] {
                let rank = rank.min(size - 1);
                let found = rank_nd(&values, &[23, 81], &window, None, rank);
                assert_eq!(keys(&found), plain(&values, &[23, 81], &window, None, rank));
            }
        }
    }

    #[test]
    fn footprints_and_more_dimensions_agree_with_sorting() {
        let values: Vec<i64> =
            scrambled(6 * 7 * 8 * 9, 1 << 20).iter().map(|v| *v as i64).collect();
        let shape = [6, 7, 8, 9];
        for window in [[2, 3, 1, 2], [3, 3, 3, 3], [1, 1, 2, 9], [6, 7, 8, 2]] {
            let size: usize = window.iter().product();
            let footprint: Vec<bool> = (0..size).map(|place| place % 3 != 1).collect();
            for footprint in [None, Some(footprint.as_slice())] {
                let rank = places_count(&window, footprint) * 2 / 5;
                let found = rank_nd(&values, &shape, &window, footprint, rank);
                assert_eq!(found.len(), plain(&values, &shape, &window, footprint, rank).len());
                assert_eq!(keys(&found), plain(&values, &shape, &window, footprint, rank));
            }
        }
    }

    #[test]
    fn small_types_with_many_ties_agree_with_sorting() {
        let values: Vec<u8> = scrambled(300 * 40, 5).iter().map(|v| *v as u8 * 60).collect();
        for window in [[3, 3], [5, 5], [9, 9], [150, 3]] {
            let rank = window.iter().product::<usize>() / 2;
            let found = rank_nd(&values, &[300, 40], &window, None, rank);
            assert_eq!(keys(&found), plain(&values, &[300, 40], &window, None, rank));
        }
    }

    #[test]
    fn nan_counts_as_the_greatest() {
        let line = [1.0, f64::NAN, 2.0, -f64::NAN, f64::INFINITY];
        assert_eq!(rank_nd(&line, &[5], &[5], None, 0), [1.0]);
        assert_eq!(rank_nd(&line, &[5], &[5], None, 2), [f64::INFINITY]);
        assert!(rank_nd(&line, &[5], &[5], None, 4)[0].is_nan());
        let mut plane = vec![0.5_f32; 60 * 60];
        plane[30 * 60 + 30] = f32::NAN;
        assert!(rank_nd(&plane, &[60, 60], &[9, 9], None, 40).iter().all(|value| *value == 0.5));
        let greatest = rank_nd(&plane, &[60, 60], &[9, 9], None, 80);
        assert_eq!(greatest.iter().filter(|value| value.is_nan()).count(), 81);
    }

    #[test]
    fn missing_elements_are_left_out() {
        let line = [5, 1, 9, 7, 3_i16];
        let valid = [true, false, true, false, false];
        let (found, any) = rank_nd_missing(&line, &valid, &[5], &[2], None, |count| count / 2);
        assert_eq!((found, any), (vec![5, 9, 9, 0], vec![true, true, true, false]));
        let footprint = [true, false, true];
        let (found, _) =
            rank_nd_missing(&line, &valid, &[5], &[3], Some(&footprint), |count| count - 1);
        assert_eq!(found, [9, 0, 9]);
    }

    #[test]
    fn missing_elements_agree_with_sorting_the_others() {
        let values: Vec<u16> = scrambled(40 * 90, 60_000).iter().map(|v| *v as u16).collect();
        let valid: Vec<bool> = scrambled(40 * 90, 97).iter().map(|v| v % 3 != 0).collect();
        let (found, any) =
            rank_nd_missing(&values, &valid, &[40, 90], &[7, 5], None, |count| count / 2);
        assert!(any.iter().all(|any| *any));
        let places = window_places(&[40, 90], &[7, 5], None);
        for (start, value) in window_offsets(&[40, 90], &[34, 86]).into_iter().zip(found) {
            let inside = places.iter().map(|place| start + place).filter(|at| valid[*at]);
            let mut inside: Vec<u16> = inside.map(|at| values[at]).collect();
            inside.sort_unstable();
            assert_eq!(value, inside[inside.len() / 2]);
        }
    }

    #[test]
    fn an_input_smaller_than_the_window_gives_nothing() {
        for window in [[3, 3], [9, 9]] {
            assert_eq!(rank_nd(&[1.0; 10], &[2, 5], &window, None, 4), [0.0; 0]);
            let (found, any) =
                rank_nd_missing(&[1.0; 10], &[true; 10], &[2, 5], &window, None, |_| 0);
            assert!(found.is_empty() && any.is_empty());
        }
    }
}
