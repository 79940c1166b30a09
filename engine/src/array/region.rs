//! A box in index space: per axis a start and a length.

use std::fmt;
use std::ops::Range;

/// A box in the index space of an array, half-open on every axis.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Region {
    start: Vec<u64>,
    shape: Vec<u64>,
}

impl Region {
    /// The box of `shape` elements that begins at `start`. Both have one entry per axis.
    pub fn new(start: Vec<u64>, shape: Vec<u64>) -> Self {
        debug_assert_eq!(start.len(), shape.len());
        Self { start, shape }
    }

    /// The box that covers an array of `shape`.
    pub fn whole(shape: &[u64]) -> Self {
        Self { start: vec![0; shape.len()], shape: shape.to_vec() }
    }

    /// The box with these index ranges.
    pub fn from_ranges(ranges: &[Range<u64>]) -> Self {
        Self {
            start: ranges.iter().map(|range| range.start).collect(),
            shape: ranges.iter().map(|range| range.end.saturating_sub(range.start)).collect(),
        }
    }

    /// The number of axes.
    pub fn ndim(&self) -> usize {
        self.start.len()
    }

    /// First index on each axis.
    pub fn start(&self) -> &[u64] {
        &self.start
    }

    /// Length of each axis.
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// The index range on `axis`.
    pub fn range(&self, axis: usize) -> Range<u64> {
        self.start[axis]..self.start[axis] + self.shape[axis]
    }

    /// How many elements lie in the box; 1 for a box without axes (a scalar).
    pub fn element_count(&self) -> u64 {
        self.shape.iter().product()
    }

    /// Whether no element lies in the box.
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// The part that lies in both boxes, if any element does.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        let ranges: Vec<_> = (0..self.ndim())
            .map(|axis| {
                let (ours, theirs) = (self.range(axis), other.range(axis));
                ours.start.max(theirs.start)..ours.end.min(theirs.end)
            })
            .collect();
        if ranges.iter().any(Range::is_empty) { None } else { Some(Self::from_ranges(&ranges)) }
    }

    /// Whether every element of `other` lies in this box.
    pub fn contains(&self, other: &Self) -> bool {
        (0..self.ndim()).all(|axis| {
            let (ours, theirs) = (self.range(axis), other.range(axis));
            ours.start <= theirs.start && theirs.end <= ours.end
        })
    }

    /// The box cut into parts of about `elements` elements, each of which is contiguous in a
    /// row-major buffer of the box, in order.
    pub fn slabs(&self, elements: u64) -> impl Iterator<Item = Self> + '_ {
        // Axes after `axis` stay whole; `axis` is cut into steps; those before it into single rows.
        let mut axis = 0;
        let mut inner: u64 = self.shape.iter().skip(1).product();
        while axis + 1 < self.ndim() && inner > elements {
            axis += 1;
            inner /= self.shape[axis].max(1);
        }
        let mut part = vec![1; self.ndim()];
        if let Some(step) = part.get_mut(axis) {
            *step = (elements / inner.max(1)).max(1);
        }
        let kept = (axis + 1).min(self.ndim());
        part[kept..].copy_from_slice(&self.shape[kept..]);
        let grid = super::Grid::new(&self.shape, &part);
        let count = if self.is_empty() { 0 } else { grid.chunk_count() };
        (0..count).map(move |ordinal| {
            let mut slab = grid.chunk_region(ordinal);
            slab.start.iter_mut().zip(&self.start).for_each(|(at, start)| *at += start);
            slab
        })
    }

    /// The same box with `origin` as its zero.
    #[must_use]
    pub fn relative_to(&self, origin: &[u64]) -> Self {
        let start = self.start.iter().zip(origin).map(|(start, zero)| start - zero).collect();
        Self { start, shape: self.shape.clone() }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for axis in 0..self.ndim() {
            let Range { start, end } = self.range(axis);
            write!(f, "{}{start}..{end}", if axis == 0 { "" } else { ", " })?;
        }
        f.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_that_only_touch_do_not_intersect() {
        let left = Region::from_ranges(&[0..4, 0..4]);
        assert_eq!(left.intersect(&Region::from_ranges(&[4..8, 0..4])), None);
        let shared = left.intersect(&Region::from_ranges(&[2..8, 3..9]));
        assert_eq!(shared, Some(Region::from_ranges(&[2..4, 3..4])));
    }

    #[test]
    fn slabs_follow_each_other_in_row_major_order() {
        let cases = [vec![7, 5, 9], vec![1, 1, 40], vec![30], vec![2, 3, 4]];
        for shape in cases {
            let region = Region::new(vec![3; shape.len()], shape);
            for elements in [1, 4, 9, 20, 45, 1000] {
                let mut count = 0;
                for slab in region.slabs(elements) {
                    assert!(slab.element_count() <= elements.max(1), "{region} in {elements}");
                    let offset = slab
                        .relative_to(region.start())
                        .start
                        .iter()
                        .zip(region.shape())
                        .fold(0, |sum, (at, length)| sum * length + at);
                    assert_eq!(offset, count);
                    count += slab.element_count();
                }
                assert_eq!(count, region.element_count());
            }
        }
        assert_eq!(Region::whole(&[0, 4]).slabs(10).count(), 0);
        assert_eq!(Region::whole(&[]).slabs(10).count(), 1);
    }

    #[test]
    fn a_box_without_axes_holds_one_element() {
        assert_eq!(Region::whole(&[]).element_count(), 1);
    }
}
