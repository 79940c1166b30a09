//! Ranks of great windows: a bitmap of a tile's sorted elements, updated as the window slides.
//!
//! In: keys of any type. Out: the key of a rank for each window. The elements of a tile are sorted
//! once, and each is then known by its ordinal among them, ties by place. The window is a bitmap
//! over ordinals; a step along a line flips the bits of the elements that leave and enter. The
//! rank's bit is found from where the last one was: a pivot word, and how many bits lie below it.
//! Missing elements get the last ordinals, which no rank among the others reaches.

use super::super::element::{Element, Key};
use super::super::lines::{strides, window_offsets};
use super::super::{vectorised, windows_shape};
use super::{places_count, window_places};

/// Which elements are missing.
#[derive(Clone, Copy)]
pub(super) enum Missing<'a> {
    /// None.
    None,
    /// Those that are `false`.
    Where(&'a [bool]),
}

impl Missing<'_> {
    #[inline(always)]
    fn is_valid(self, index: usize) -> bool {
        match self {
            Self::None => true,
            Self::Where(valid) => valid[index],
        }
    }
}

/// A window's box, and which of its places count.
#[derive(Clone, Copy)]
pub(super) struct Window<'a> {
    pub(super) shape: &'a [usize],
    pub(super) footprint: Option<&'a [bool]>,
}

/// The element of rank `rank(n)` among the `n` valid ones of each window, and whether `n` is not 0.
pub(super) fn rank_sliding<T: Element>(
    input: &[T],
    missing: Missing<'_>,
    shape: &[usize],
    window: Window<'_>,
    rank: &dyn Fn(usize) -> usize,
) -> (Vec<T>, Vec<bool>) {
    let windows = windows_shape(shape, window.shape);
    let count: usize = windows.iter().product();
    let (mut output, mut any) = (vec![T::default(); count], vec![false; count]);
    let size = places_count(window.shape, window.footprint);
    let ranks: Vec<usize> =
        (0..=size).map(|n| if n == 0 { 0 } else { rank(n).min(n - 1) }).collect();
    let axis = sliding_axis(window.shape);
    let tile = tile_shape(&windows, window.shape, axis);
    let grid: Vec<usize> = windows.iter().zip(&tile).map(|(n, step)| n.div_ceil(*step)).collect();
    let mut sorted = Sorted::default();
    let mut bits = Bits::default();
    for tile_index in 0..grid.iter().product() {
        let area = Area::of(tile_index, &grid, &tile, &windows, window.shape);
        let lines = Lines::of(shape, &windows, window, &area, axis);
        vectorised(
            #[inline(always)]
            || {
                sorted.load(input, missing, shape, &area);
                slide(
                    &sorted,
                    &lines,
                    &ranks,
                    &mut bits,
                    #[inline(always)]
                    |at, found| {
                        if let Some(key) = found {
                            output[at] = T::from_key(key);
                            any[at] = true;
                        }
                    },
                );
            },
        );
    }
    (output, any)
}

/// The axis along which the fewest elements change in a step: the longest of the window.
fn sliding_axis(window: &[usize]) -> usize {
    (0..window.len()).max_by_key(|axis| window[*axis]).unwrap_or(0)
}

/// How many windows a tile has along each axis: enough that its border does not matter much, few
/// enough that its bitmap stays in the nearest cache.
fn tile_shape(windows: &[usize], window: &[usize], axis: usize) -> Vec<usize> {
    let wide = window.iter().filter(|size| **size > 1).count();
    let least = match wide {
        0 | 1 => 4096,
        2 => 96,
        3 => 24,
        _ => 12,
    };
    let length = |place: usize| {
        if window[place] == 1 && place != axis { 1 } else { least.max(2 * window[place]) }
    };
    (0..window.len()).map(|place| length(place).min(windows[place]).max(1)).collect()
}

/// A tile: where its first window begins, how many windows it has, and the elements they cover.
struct Area {
    first: Vec<usize>,
    windows: Vec<usize>,
    elements: Vec<usize>,
}

impl Area {
    fn of(
        mut index: usize,
        grid: &[usize],
        tile: &[usize],
        windows: &[usize],
        window: &[usize],
    ) -> Self {
        let mut first = vec![0; grid.len()];
        for axis in (0..grid.len()).rev() {
            first[axis] = index % grid[axis] * tile[axis];
            index /= grid[axis];
        }
        let windows: Vec<usize> =
            (0..grid.len()).map(|axis| tile[axis].min(windows[axis] - first[axis])).collect();
        let elements = windows.iter().zip(window).map(|(count, size)| count + size - 1).collect();
        Self { first, windows, elements }
    }

    /// Where the tile's first place lies in an array.
    fn start(&self, shape: &[usize]) -> usize {
        self.first.iter().zip(strides(shape)).map(|(at, stride)| at * stride).sum()
    }
}

/// The lines of windows of a tile, and what changes from one window to the next.
struct Lines {
    /// Where each line's first window begins in the tile, and where its result belongs.
    starts: Vec<(usize, usize)>,
    windows: usize,
    step: usize,
    output_step: usize,
    /// The places of a window, those that leave with a step, and those that enter with it.
    places: Vec<usize>,
    leaving: Vec<usize>,
    entering: Vec<usize>,
}

impl Lines {
    fn of(
        shape: &[usize],
        windows: &[usize],
        window: Window<'_>,
        area: &Area,
        axis: usize,
    ) -> Self {
        debug_assert_eq!(shape.len(), window.shape.len());
        let mut line_starts = area.windows.clone();
        line_starts[axis] = 1;
        let inside = window_offsets(&area.elements, &line_starts);
        let first = area.start(windows);
        let outside = window_offsets(windows, &line_starts).into_iter().map(|at| first + at);
        let offsets = window_offsets(&area.elements, window.shape);
        let stride = strides(window.shape)[axis];
        let holds = |place: usize| window.footprint.is_none_or(|places| places[place]);
        let along = |place: usize| place / stride % window.shape[axis];
        let select = |wanted: &dyn Fn(usize) -> bool| -> Vec<usize> {
            (0..offsets.len())
                .filter(|at| holds(*at) && wanted(*at))
                .map(|at| offsets[at])
                .collect()
        };
        Self {
            starts: inside.into_iter().zip(outside).collect(),
            windows: area.windows[axis],
            step: strides(&area.elements)[axis],
            output_step: strides(windows)[axis],
            places: window_places(&area.elements, window.shape, window.footprint),
            leaving: select(&|at| along(at) == 0 || !holds(at - stride)),
            entering: select(&|at| along(at) + 1 == window.shape[axis] || !holds(at + stride)),
        }
    }
}

/// The keys of a tile in order, and the place of each element among them.
#[derive(Default)]
struct Sorted<K> {
    pairs: Vec<(K, u32)>,
    spare: Vec<(K, u32)>,
    ordinals: Vec<u32>,
    valid_count: u32,
}

impl<K: Key> Sorted<K> {
    #[inline(always)]
    fn load<T: Element<Key = K>>(
        &mut self,
        input: &[T],
        missing: Missing<'_>,
        shape: &[usize],
        area: &Area,
    ) {
        let first = area.start(shape);
        let mut row_starts = area.elements.clone();
        let width = row_starts.last_mut().map_or(1, |last| std::mem::replace(last, 1));
        self.pairs.clear();
        self.ordinals.clear();
        for start in window_offsets(shape, &row_starts) {
            let first = first + start;
            for (at, value) in input[first..first + width].iter().enumerate() {
                if missing.is_valid(first + at) {
                    self.pairs.push((value.key(), self.ordinals.len() as u32));
                    self.ordinals.push(0);
                } else {
                    self.ordinals.push(u32::MAX);
                }
            }
        }
        self.valid_count = self.pairs.len() as u32;
        self.sort();
        for (ordinal, (_, place)) in self.pairs.iter().enumerate() {
            self.ordinals[*place as usize] = ordinal as u32;
        }
        let missing = self.ordinals.iter_mut().filter(|ordinal| **ordinal == u32::MAX);
        for (ordinal, next) in missing.zip(self.valid_count..) {
            *ordinal = next;
        }
    }

    /// Sorts by key, byte by byte from the lowest; equal keys keep their order.
    #[inline(always)]
    fn sort(&mut self) {
        self.spare.resize(self.pairs.len(), (K::default(), 0));
        for byte in 0..K::BYTES {
            let mut ends = [0_u32; 256];
            for (key, _) in &self.pairs {
                ends[key.byte(byte)] += 1;
            }
            if ends.contains(&self.valid_count) {
                continue;
            }
            let mut start = 0;
            for end in &mut ends {
                start += std::mem::replace(end, start);
            }
            for pair in &self.pairs {
                let place = &mut ends[pair.0.byte(byte)];
                self.spare[*place as usize] = *pair;
                *place += 1;
            }
            std::mem::swap(&mut self.pairs, &mut self.spare);
        }
    }
}

/// The elements of a window as a bitmap over ordinals, and where the last rank was found.
#[derive(Default)]
struct Bits {
    words: Vec<u64>,
    /// The ordinal of a word's first bit, and how many bits are set below it.
    pivot: u32,
    below: u32,
    valid_count: u32,
}

impl Bits {
    #[inline(always)]
    fn flip(&mut self, ordinal: u32) {
        self.words[(ordinal / 64) as usize] ^= 1 << (ordinal % 64);
    }

    #[inline(always)]
    fn add(&mut self, ordinal: u32, valid_end: u32) {
        self.flip(ordinal);
        self.below += u32::from(ordinal < self.pivot);
        self.valid_count += u32::from(ordinal < valid_end);
    }

    #[inline(always)]
    fn remove(&mut self, ordinal: u32, valid_end: u32) {
        self.flip(ordinal);
        self.below -= u32::from(ordinal < self.pivot);
        self.valid_count -= u32::from(ordinal < valid_end);
    }

    /// The ordinal of the bit before which `rank` bits are set; there must be one.
    #[inline(always)]
    fn find(&mut self, rank: u32) -> u32 {
        let mut place = (self.pivot / 64) as usize;
        while self.below > rank {
            place -= 1;
            self.below -= self.words[place].count_ones();
        }
        let mut ones = self.words[place].count_ones();
        while self.below + ones <= rank {
            self.below += ones;
            place += 1;
            ones = self.words[place].count_ones();
        }
        self.pivot = place as u32 * 64;
        let mut word = self.words[place];
        for _ in self.below..rank {
            word &= word - 1;
        }
        self.pivot + word.trailing_zeros()
    }
}

/// Gives the key of each window's rank, with where the result belongs.
#[inline(always)]
fn slide<K: Key>(
    sorted: &Sorted<K>,
    lines: &Lines,
    ranks: &[usize],
    bits: &mut Bits,
    mut give: impl FnMut(usize, Option<K>),
) {
    let (ordinals, valid_end) = (&sorted.ordinals[..], sorted.valid_count);
    bits.pivot = 0;
    for &(start, output_start) in &lines.starts {
        bits.words.clear();
        bits.words.resize(ordinals.len().div_ceil(64), 0);
        (bits.below, bits.valid_count) = (0, 0);
        for place in &lines.places {
            bits.add(ordinals[start + place], valid_end);
        }
        for index in 0..lines.windows {
            let found = (bits.valid_count > 0).then(|| {
                let ordinal = bits.find(ranks[bits.valid_count as usize] as u32);
                sorted.pairs[ordinal as usize].0
            });
            give(output_start + index * lines.output_step, found);
            if index + 1 == lines.windows {
                break;
            }
            let (old, new) = (start + index * lines.step, start + (index + 1) * lines.step);
            for place in &lines.leaving {
                bits.remove(ordinals[old + place], valid_end);
            }
            for place in &lines.entering {
                bits.add(ordinals[new + place], valid_end);
            }
        }
    }
}
