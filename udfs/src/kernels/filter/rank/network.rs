//! Ranks of small windows by comparisons that do not depend on the data.
//!
//! In: keys. Out: the key of a rank for many windows side by side: each comparison is a minimum and
//! a maximum of vectors. A box three or five elements wide sorts its columns first.

use super::super::element::{Element, Key};
use super::super::lines::for_each_row;
use super::super::{vectorised, windows_shape};

/// How many windows are worked on side by side.
const LANES: usize = 64;

/// The element of rank `rank` of each window, whose elements lie at `places` from its corner.
pub(super) fn rank_small<T: Element>(
    input: &[T],
    shape: &[usize],
    window: &[usize],
    places: &[usize],
    rank: usize,
) -> Vec<T> {
    let mut output = vec![T::default(); windows_shape(shape, window).iter().product()];
    let columns = if 2 * rank + 1 == places.len() { column_rows(window, places) } else { vec![] };
    let steps = rank_network(places.len(), rank);
    vectorised(
        #[inline(always)]
        || {
            if let Ok(rows) = <&[usize; 3]>::try_from(columns.as_slice()) {
                by_columns(
                    input,
                    shape,
                    window,
                    rows,
                    &mut output,
                    #[inline(always)]
                    |keys| sort_3(keys),
                    #[inline(always)]
                    |rows| median_3_by_3(rows),
                );
            } else if let Ok(rows) = <&[usize; 5]>::try_from(columns.as_slice()) {
                by_columns(
                    input,
                    shape,
                    window,
                    rows,
                    &mut output,
                    #[inline(always)]
                    |keys| sort_5(keys),
                    #[inline(always)]
                    |rows| median_5_by_5(rows),
                );
            } else {
                by_steps(input, shape, window, places, &steps, rank, &mut output);
            }
        },
    );
    output
}

/// Where a square window's rows begin; nothing if it is not one of 3 by 3 or 5 by 5 places.
fn column_rows(window: &[usize], places: &[usize]) -> Vec<usize> {
    let width = window.last().copied().unwrap_or(0);
    let full = places.len() == window.iter().product::<usize>();
    if full && matches!(width, 3 | 5) && places.len() == width * width {
        places.iter().step_by(width).copied().collect()
    } else {
        vec![]
    }
}

/// A comparison of two places: the lesser key goes to the first, the greater to the second.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Step {
    first: usize,
    second: usize,
    first_used: bool,
    second_used: bool,
}

/// The comparisons that bring the key of a rank to the place of that number.
///
/// Batcher's odd-even merge sort of `count` places, without what the one place does not need.
fn rank_network(count: usize, rank: usize) -> Vec<Step> {
    let mut pairs = Vec::new();
    let size = count.next_power_of_two();
    let mut sorted = 1;
    while sorted < size {
        let mut distance = sorted;
        while distance > 0 {
            let from = distance % sorted;
            for first in (from..size - distance).filter(|place| (place - from) / distance % 2 == 0)
            {
                let second = first + distance;
                if first / (2 * sorted) == second / (2 * sorted) && second < count {
                    pairs.push((first, second));
                }
            }
            distance /= 2;
        }
        sorted *= 2;
    }
    let mut used = vec![false; count];
    used[rank] = true;
    let mut steps = Vec::new();
    for (first, second) in pairs.into_iter().rev() {
        let (first_used, second_used) = (used[first], used[second]);
        if first_used || second_used {
            used[first] = true;
            used[second] = true;
            steps.push(Step { first, second, first_used, second_used });
        }
    }
    steps.reverse();
    steps
}

#[inline(always)]
fn by_steps<T: Element>(
    input: &[T],
    shape: &[usize],
    window: &[usize],
    places: &[usize],
    steps: &[Step],
    rank: usize,
    output: &mut [T],
) {
    let mut keys: Vec<T::Key> = Vec::with_capacity(input.len() + LANES);
    keys.extend(input.iter().map(|value| value.key()));
    keys.resize(input.len() + LANES, T::Key::default());
    let mut lanes = vec![[T::Key::default(); LANES]; places.len()];
    for_each_row(
        shape,
        window,
        output,
        #[inline(always)]
        |start, row| {
            store_lanes(
                row,
                #[inline(always)]
                |first: usize| {
                    for (lane, place) in lanes.iter_mut().zip(places) {
                        lane.copy_from_slice(&keys[start + first + place..][..LANES]);
                    }
                    for step in steps {
                        compare(&mut lanes, *step);
                    }
                    lanes[rank]
                },
            );
        },
    );
}

/// The keys of the first [`LANES`] elements, filled up with any if there are fewer.
#[inline(always)]
fn load_lanes<T: Element>(values: &[T]) -> [T::Key; LANES] {
    let mut keys = [T::Key::default(); LANES];
    if let Some(values) = values.first_chunk::<LANES>() {
        for (key, value) in keys.iter_mut().zip(values) {
            *key = value.key();
        }
    } else {
        for (key, value) in keys.iter_mut().zip(values) {
            *key = value.key();
        }
    }
    keys
}

/// Fills a row with the elements of the keys that `lanes` gives for [`LANES`] places at a time.
#[inline(always)]
fn store_lanes<T: Element>(row: &mut [T], mut lanes: impl FnMut(usize) -> [T::Key; LANES]) {
    let (whole, rest) = row.as_chunks_mut::<LANES>();
    let mut first = 0;
    for piece in whole {
        let keys = lanes(first);
        for (out, key) in piece.iter_mut().zip(&keys) {
            *out = T::from_key(*key);
        }
        first += LANES;
    }
    if !rest.is_empty() {
        let keys = lanes(first);
        for (out, key) in rest.iter_mut().zip(&keys) {
            *out = T::from_key(*key);
        }
    }
}

#[inline(always)]
fn compare<K: Key>(lanes: &mut [[K; LANES]], step: Step) {
    let (before, after) = lanes.split_at_mut(step.second);
    let (first, second) = (&mut before[step.first], &mut after[0]);
    for (first, second) in first.iter_mut().zip(second) {
        let (low, high) = (*first.min(second), *first.max(second));
        *first = low;
        *second = high;
    }
}

/// Medians of square windows: sorts each column of a row of windows, then picks from neighbouring
/// columns.
#[inline(always)]
fn by_columns<T: Element, const N: usize>(
    input: &[T],
    shape: &[usize],
    window: &[usize],
    rows: &[usize; N],
    output: &mut [T],
    sort: impl Fn([T::Key; N]) -> [T::Key; N],
    median: impl Fn([[T::Key; N]; N]) -> T::Key,
) {
    let mut columns: [Vec<T::Key>; N] = std::array::from_fn(|_| Vec::new());
    for_each_row(
        shape,
        window,
        output,
        #[inline(always)]
        |start, row| {
            let width = (row.len() + N - 1).next_multiple_of(LANES);
            columns.iter_mut().for_each(|keys| keys.resize(width + LANES, T::Key::default()));
            for first in (0..width).step_by(LANES) {
                let mut from = [[T::Key::default(); LANES]; N];
                for (keys, place) in from.iter_mut().zip(rows) {
                    *keys = load_lanes(&input[start + first + place..]);
                }
                let mut sorted = [[T::Key::default(); LANES]; N];
                for lane in 0..LANES {
                    let mut column = [T::Key::default(); N];
                    for index in 0..N {
                        column[index] = from[index][lane];
                    }
                    let column = sort(column);
                    for index in 0..N {
                        sorted[index][lane] = column[index];
                    }
                }
                for (keys, sorted) in columns.iter_mut().zip(&sorted) {
                    keys[first..first + LANES].copy_from_slice(sorted);
                }
            }
            store_lanes(
                row,
                #[inline(always)]
                |first: usize| {
                    // of a length that the compiler knows, whatever it inlines: `array::from_fn` stays a
                    // call in some builds, and the loop below then checks bounds instead of being fast
                    let none = [T::Key::default(); LANES];
                    let mut from = [[&none; N]; N];
                    for (from, columns) in from.iter_mut().zip(&columns) {
                        for (column, from) in from.iter_mut().enumerate() {
                            if let Some(keys) = columns[first + column..].first_chunk() {
                                *from = keys;
                            }
                        }
                    }
                    let mut medians = [T::Key::default(); LANES];
                    for (lane, key) in medians.iter_mut().enumerate() {
                        let mut square = [[T::Key::default(); N]; N];
                        for rank in 0..N {
                            for column in 0..N {
                                square[rank][column] = from[rank][column][lane];
                            }
                        }
                        *key = median(square);
                    }
                    medians
                },
            );
        },
    );
}

/// Puts two of some keys in order.
#[inline(always)]
fn order<K: Key, const N: usize>(keys: &mut [K; N], first: usize, second: usize) {
    let (left, right) = (keys[first], keys[second]);
    keys[first] = left.min(right);
    keys[second] = left.max(right);
}

#[inline(always)]
fn sort_3<K: Key>(mut keys: [K; 3]) -> [K; 3] {
    for (first, second) in [(0, 1), (1, 2), (0, 1)] {
        order(&mut keys, first, second);
    }
    keys
}

/// The best network of five, nine comparisons.
#[inline(always)]
fn sort_5<K: Key>(mut keys: [K; 5]) -> [K; 5] {
    order(&mut keys, 0, 1);
    order(&mut keys, 3, 4);
    order(&mut keys, 2, 4);
    order(&mut keys, 2, 3);
    order(&mut keys, 1, 4);
    order(&mut keys, 0, 3);
    order(&mut keys, 0, 2);
    order(&mut keys, 1, 3);
    order(&mut keys, 1, 2);
    keys
}

/// The median of three sorted columns: of their greatest least, middle middle and least greatest.
#[inline(always)]
fn median_3_by_3<K: Key>([least, middle, greatest]: [[K; 3]; 3]) -> K {
    let least = least[0].max(least[1]).max(least[2]);
    let greatest = greatest[0].min(greatest[1]).min(greatest[2]);
    sort_3([least, sort_3(middle)[1], greatest])[1]
}

/// The median of five sorted columns.
///
/// With the rows sorted too, the key at row `i`, column `j` has (i + 1)(j + 1) - 1 others that are
/// not greater; twelve of the 25 keys are so too low or too high. The median is the middle one of
/// the other thirteen, whose partial order saves half of the comparisons. The network was found by
/// a search that drops a key as soon as enough others are known to lie above or below it.
#[inline(always)]
fn median_5_by_5<K: Key>(rows: [[K; 5]; 5]) -> K {
    let [a, b, c, d, e] = rows;
    let (a, b, c, d, e) = (sort_5(a), sort_5(b), sort_5(c), sort_5(d), sort_5(e));
    let mut left = [a[3], a[4], b[2], b[3], b[4], c[1], c[2], c[3], d[0], d[1], d[2], e[0], e[1]];
    order(&mut left, 3, 6);
    order(&mut left, 3, 9);
    order(&mut left, 0, 10);
    order(&mut left, 4, 11);
    order(&mut left, 1, 6);
    order(&mut left, 6, 8);
    order(&mut left, 9, 12);
    order(&mut left, 1, 4);
    order(&mut left, 4, 9);
    order(&mut left, 6, 7);
    order(&mut left, 1, 3);
    order(&mut left, 5, 11);
    order(&mut left, 4, 7);
    order(&mut left, 2, 3);
    order(&mut left, 0, 12);
    order(&mut left, 5, 6);
    order(&mut left, 3, 4);
    order(&mut left, 4, 9);
    order(&mut left, 0, 6);
    order(&mut left, 4, 8);
    order(&mut left, 4, 10);
    order(&mut left, 4, 6);
    left[6]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_find_every_rank_of_zeros_and_ones() {
        for count in 1..=12 {
            for rank in 0..count {
                let steps = rank_network(count, rank);
                for ones in 0..1_usize << count {
                    let mut keys: Vec<usize> = (0..count).map(|at| ones >> at & 1).collect();
                    for step in &steps {
                        if keys[step.first] > keys[step.second] {
                            keys.swap(step.first, step.second);
                        }
                    }
                    let zeros = count - ones.count_ones() as usize;
                    assert_eq!(keys[rank], usize::from(rank >= zeros));
                }
            }
        }
    }

    /// By the zero-one principle, all columns of sorted zeros and ones stand for all columns.
    #[test]
    fn medians_of_columns_are_those_of_all_keys() {
        for code in 0..4_usize.pow(3) {
            let zeros = [code % 4, code / 4 % 4, code / 16];
            let rows = std::array::from_fn(|row| zeros.map(|zeros| u8::from(row >= zeros)));
            assert_eq!(median_3_by_3(rows), u8::from(zeros.iter().sum::<usize>() <= 4));
        }
        for code in 0..6_usize.pow(5) {
            let zeros = [1, 6, 36, 216, 1296].map(|power| code / power % 6);
            let rows = std::array::from_fn(|row| zeros.map(|zeros| u8::from(row >= zeros)));
            assert_eq!(median_5_by_5(rows), u8::from(zeros.iter().sum::<usize>() <= 12));
        }
        for ones in 0..32 {
            let sorted = sort_5(std::array::from_fn(|at| (ones >> at & 1) as u8));
            assert!(sorted.is_sorted());
        }
    }
}
