//! Cuts an array into strips along one axis, and combines windows by doubling.
//!
//! In: an array and an axis. Out: strips: some windows along the axis for a few neighbouring places
//! of the later axes, their elements converted and copied together, small enough for the cache. In a strip
//! the next element along the axis is always `stride` further, so one loop serves every axis.

use super::{windows_count, windows_shape};

/// How many bytes of neighbouring lines a strip holds, if there are so many: enough to be fetched
/// ahead.
const LINES_BYTES: usize = 1024;

/// How many bytes a strip holds, unless its windows are longer: a near cache has room for them.
const STRIP_BYTES: usize = 32 * 1024;

/// An array seen along one axis: `outer` slabs of `length` rows of `inner` elements.
#[derive(Clone, Copy)]
pub(super) struct Axis {
    pub(super) outer: usize,
    pub(super) length: usize,
    pub(super) inner: usize,
}

impl Axis {
    pub(super) fn of(shape: &[usize], axis: usize) -> Self {
        Self {
            outer: shape[..axis].iter().product(),
            length: shape[axis],
            inner: shape[axis + 1..].iter().product(),
        }
    }
}

/// One strip: element `i` of the window at `j` is `values[j + i * stride]`.
pub(super) struct Strip<'a, S> {
    pub(super) values: &'a mut Vec<S>,
    pub(super) stride: usize,
    /// How many windows there are along the axis.
    pub(super) windows: usize,
    /// Where the result of the first window belongs in the output, and how far apart rows are.
    pub(super) start: usize,
    pub(super) pitch: usize,
}

impl<S> Strip<'_, S> {
    /// Calls `row` for each piece of output that lies together: where its windows begin in the
    /// strip, and the elements to be filled.
    #[inline(always)]
    pub(super) fn rows<T>(&self, output: &mut [T], mut row: impl FnMut(usize, &mut [T])) {
        let output = &mut output[self.start..];
        if self.stride == self.pitch {
            return row(0, &mut output[..self.windows * self.stride]);
        }
        for (index, line) in output.chunks_mut(self.pitch).take(self.windows).enumerate() {
            row(index * self.stride, &mut line[..self.stride]);
        }
    }
}

/// Calls `visit` for each strip of windows of `size` elements along the axis.
#[inline(always)]
pub(super) fn for_each_strip<T: Copy, S: Copy>(
    input: &[T],
    axis: Axis,
    size: usize,
    convert: impl Fn(T) -> S,
    mut visit: impl FnMut(Strip<'_, S>),
) {
    let Axis { outer, length, inner } = axis;
    let windows = windows_count(length, size);
    if windows == 0 || inner == 0 {
        return;
    }
    let lines_max = (LINES_BYTES / size_of::<S>()).clamp(1, inner);
    // At least as many windows as elements that the next strip converts again.
    let rows_max = (STRIP_BYTES / size_of::<S>() / lines_max).max(2 * size);
    let windows_max = rows_max - (size - 1);
    let mut values = Vec::new();
    for slab in 0..outer {
        let slab_rows = &input[slab * length * inner..(slab + 1) * length * inner];
        for first in (0..inner).step_by(lines_max) {
            let lines = lines_max.min(inner - first);
            for top in (0..windows).step_by(windows_max) {
                let windows_here = windows_max.min(windows - top);
                let rows = &slab_rows[top * inner..(top + windows_here + size - 1) * inner];
                values.clear();
                if lines == inner {
                    values.extend(rows.iter().map(|value| convert(*value)));
                } else {
                    for row in rows.chunks_exact(inner) {
                        let row = &row[first..first + lines];
                        values.extend(row.iter().map(|value| convert(*value)));
                    }
                }
                visit(Strip {
                    values: &mut values,
                    stride: lines,
                    windows: windows_here,
                    start: (slab * windows + top) * inner + first,
                    pitch: inner,
                });
            }
        }
    }
}

/// How far apart neighbours along each axis lie.
pub(super) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// Where the elements of a window lie in the array, counted from its first, in row-major order.
pub(super) fn window_offsets(shape: &[usize], window: &[usize]) -> Vec<usize> {
    let mut offsets = vec![0];
    for (stride, size) in strides(shape).into_iter().zip(window) {
        offsets = offsets
            .iter()
            .flat_map(|offset| (0..*size).map(move |index| offset + index * stride))
            .collect();
    }
    offsets
}

/// Calls `visit` for each row of output: where its first window begins, and the row.
#[inline(always)]
pub(super) fn for_each_row<T>(
    shape: &[usize],
    window: &[usize],
    output: &mut [T],
    mut visit: impl FnMut(usize, &mut [T]),
) {
    let Some(&width) = windows_shape(shape, window).last() else { return };
    if width == 0 || output.is_empty() {
        return;
    }
    let rows = &shape[..shape.len() - 1];
    let starts = window_offsets(shape, &windows_shape(rows, &window[..rows.len()]));
    for (row, start) in output.chunks_exact_mut(width).zip(starts) {
        visit(start, row);
    }
}

/// Buffers that [`combine_windows`] needs, kept from strip to strip.
#[derive(Default)]
pub(super) struct Buffers<S> {
    doubled: Vec<S>,
    combined: Vec<S>,
}

/// Combines the `size` elements of each window of a strip and gives the results, in the strip's
/// order.
///
/// Windows of 1, 2, 4, ... elements are combined from two neighbours each; a window of another size
/// is put together from those of the binary digits of its size, the smallest last. `combine` is
/// given two neighbouring pieces and their element counts. The strip's values are used up.
#[inline(always)]
pub(super) fn combine_windows<'a, S: Copy>(
    strip: &mut Strip<'_, S>,
    size: usize,
    buffers: &'a mut Buffers<S>,
    combine: impl Fn(S, S, usize, usize) -> S,
) -> &'a [S] {
    let (stride, count) = (strip.stride, strip.windows * strip.stride);
    let Buffers { doubled, combined } = buffers;
    combined.clear();
    let (mut width, mut done) = (1, 0);
    loop {
        if size & width != 0 {
            let piece = &strip.values[(size - done - width) * stride..];
            if done == 0 {
                combined.extend_from_slice(&piece[..count]);
            } else {
                for (sum, value) in combined.iter_mut().zip(piece) {
                    *sum = combine(*value, *sum, width, done);
                }
            }
            done += width;
        }
        if done == size {
            return combined;
        }
        let farther = &strip.values[width * stride..];
        doubled.clear();
        doubled.extend(
            strip
                .values
                .iter()
                .zip(farther)
                .map(|(left, right)| combine(*left, *right, width, width)),
        );
        std::mem::swap(strip.values, doubled);
        width *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Joins the elements of each window in the order in which they are combined.
    fn windows(shape: &[usize], axis: usize, size: usize) -> Vec<(usize, usize, usize)> {
        let input: Vec<usize> = (0..shape.iter().product()).collect();
        let axis = Axis::of(shape, axis);
        let mut output =
            vec![(0, 0, 0); axis.outer * windows_count(axis.length, size) * axis.inner];
        let mut buffers = Buffers::default();
        for_each_strip(
            &input,
            axis,
            size,
            |value| (value, value, 1),
            |mut strip| {
                let joined =
                    combine_windows(&mut strip, size, &mut buffers, |left, right, counts, more| {
                        assert_eq!((left.2, right.2), (counts, more));
                        assert_eq!(left.1 + axis.inner, right.0);
                        (left.0, right.1, counts + more)
                    });
                let joined = joined.to_vec();
                strip.rows(&mut output, |first, row| {
                    row.copy_from_slice(&joined[first..first + row.len()]);
                });
            },
        );
        output
    }

    #[test]
    fn every_element_of_a_window_is_combined_once_and_in_order() {
        for size in 1..=9 {
            // The last has more rows than a strip, whose lines are fewer than the array's.
            for (shape, axis) in [
                (vec![9], 0),
                (vec![9, 70], 0),
                (vec![3, 9], 1),
                (vec![2, 9, 65], 1),
                (vec![2, 90, 65], 1),
            ] {
                let Axis { length, inner: step, .. } = Axis::of(&shape, axis);
                let found = windows(&shape, axis, size);
                let lines = shape.iter().product::<usize>() / length;
                assert_eq!(found.len(), lines * (length + 1 - size));
                for (first, last, count) in found {
                    assert_eq!((last, count), (first + (size - 1) * step, size));
                }
            }
        }
    }

    #[test]
    fn a_window_longer_than_the_axis_gives_nothing() {
        assert_eq!(windows(&[4, 3], 0, 5), []);
        assert_eq!(windows(&[4, 0], 0, 2), []);
        assert_eq!(windows(&[0, 4], 0, 2), []);
    }
}
