//! The dense groups of a box: which local group each run of its elements belongs to.
//!
//! In: keys (an axis and a divisor each) and a region. Out: for any slab of the region, runs of
//! contiguous elements and the group each belongs to. Not here: values.

use crate::array::Region;

/// A group key: the index on an axis, divided by `divisor` (1 for the index itself), rounded down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupKey {
    /// The axis.
    pub axis: usize,
    /// What its index is divided by.
    pub divisor: u64,
}

/// The length of a group on each axis, in an array or box of these lengths; an axis without a key
/// belongs whole to every group. `None` if an axis stands in two keys.
pub fn group_shape(keys: &[GroupKey], lengths: &[u64]) -> Option<Vec<u64>> {
    let lengths = lengths.iter().enumerate().map(|(axis, length)| {
        let mut of_axis = keys.iter().filter(|key| key.axis == axis);
        match (of_axis.next(), of_axis.next()) {
            (_, Some(_)) => None,
            (Some(key), None) => Some(key.divisor.min(*length)),
            (None, None) => Some(*length),
        }
    });
    lengths.collect()
}

/// Elements that are contiguous in a slab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first element.
    pub at: usize,
    /// How many elements.
    pub len: usize,
    /// The group of all of them, or of the first, see [`Walk::per_element`].
    pub group: usize,
}

/// The runs of a slab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walk {
    /// Every element of the slab is in exactly one.
    pub runs: Vec<Run>,
    /// Whether element `i` of a run belongs to group `group + i` rather than to `group`.
    pub per_element: bool,
}

impl Walk {
    /// Neighbouring runs of the same length that begin at the same group.
    pub fn stacks(&self) -> impl Iterator<Item = &[Run]> {
        self.runs.chunk_by(|one, next| one.group == next.group && one.len == next.len)
    }
}

/// A run that belongs to one group is cut at this length, so that a second pass over it finds it in
/// the nearest cache, and sums stay accurate.
const RUN_ELEMENTS_MAX: usize = 4096;

/// How the indices of an axis fall into groups. An axis that is no key is one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Axis {
    divisor: Option<u64>,
    first: u64,
    count: u64,
    stride: usize,
}

impl Axis {
    fn local(&self, index: u64) -> usize {
        self.divisor.map_or(0, |divisor| (index / divisor - self.first) as usize * self.stride)
    }
}

/// The groups of a region.
#[derive(Clone, Debug)]
pub struct GroupGrid {
    axes: Vec<Axis>,
    keys: Vec<GroupKey>,
    group_count: usize,
}

impl GroupGrid {
    /// The groups that `keys` make of `region`. An axis may stand in one key at the most.
    pub fn new(keys: &[GroupKey], region: &Region) -> Self {
        let mut stride = 1;
        let mut axes = Vec::with_capacity(region.ndim());
        for axis in (0..region.ndim()).rev() {
            let divisor = keys.iter().find(|key| key.axis == axis).map(|key| key.divisor.max(1));
            let range = region.range(axis);
            let (first, count) = match divisor {
                Some(divisor) if !range.is_empty() => {
                    (range.start / divisor, (range.end - 1) / divisor - range.start / divisor + 1)
                }
                _ => (0, 1),
            };
            axes.push(Axis { divisor, first, count, stride });
            stride *= count as usize;
        }
        axes.reverse();
        Self { axes, keys: keys.to_vec(), group_count: stride }
    }

    /// Whether another region falls into the same groups.
    pub fn covers_like(&self, region: &Region) -> bool {
        Self::new(&self.keys, region).axes == self.axes
    }

    /// How many keys a group has.
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// How many groups the region touches.
    pub fn group_count(&self) -> usize {
        self.group_count
    }

    /// The value of key number `key` for each group.
    pub fn key_values(&self, key: usize) -> Vec<i64> {
        let axis = self.axes[self.keys[key].axis];
        (0..self.group_count)
            .map(|group| (axis.first + (group / axis.stride) as u64 % axis.count) as i64)
            .collect()
    }

    /// The runs of `slab`, a part of the region.
    pub fn walk(&self, slab: &Region) -> Walk {
        let last = slab.ndim() - 1;
        let kind = self.axes[last].divisor;
        // The axes from `inner` on are walked as one.
        let mut inner = last;
        while inner > 0 && self.joins(inner, slab) {
            inner -= 1;
        }
        let len: u64 = slab.shape()[inner..].iter().product();
        let mut walk = Walk { runs: vec![], per_element: kind == Some(1) };
        let outer = &slab.shape()[..inner];
        let mut position: Vec<u64> = slab.start()[..inner].to_vec();
        for index in 0..outer.iter().product::<u64>() {
            let axes = self.axes.iter().zip(&position);
            let mut group: usize = axes.map(|(axis, index)| axis.local(*index)).sum();
            let at = (index * len) as usize;
            match kind {
                None => cut(at, len as usize, group, &mut walk.runs),
                Some(1) => {
                    group += (inner..=last)
                        .map(|axis| self.axes[axis].local(slab.start()[axis]))
                        .sum::<usize>();
                    walk.runs.push(Run { at, len: len as usize, group });
                }
                Some(divisor) => self.segments(slab, divisor, at, group, &mut walk.runs),
            }
            for axis in (0..inner).rev() {
                position[axis] += 1;
                if position[axis] < slab.range(axis).end {
                    break;
                }
                position[axis] = slab.start()[axis];
            }
        }
        walk
    }

    /// Whether the axis before `axis` can be walked together with it.
    fn joins(&self, axis: usize, slab: &Region) -> bool {
        match (self.axes[axis].divisor, self.axes[axis - 1].divisor) {
            (None, None) => true,
            (Some(1), Some(1)) => slab.shape()[axis] == self.axes[axis].count,
            _ => false,
        }
    }

    fn segments(&self, slab: &Region, divisor: u64, at: usize, group: usize, runs: &mut Vec<Run>) {
        let last = slab.ndim() - 1;
        let range = slab.range(last);
        let mut index = range.start;
        while index < range.end {
            let end = ((index / divisor + 1) * divisor).min(range.end);
            let at = at + (index - range.start) as usize;
            cut(at, (end - index) as usize, group + self.axes[last].local(index), runs);
            index = end;
        }
    }
}

fn cut(at: usize, len: usize, group: usize, runs: &mut Vec<Run>) {
    let mut done = 0;
    while done < len {
        let step = (len - done).min(RUN_ELEMENTS_MAX);
        runs.push(Run { at: at + done, len: step, group });
        done += step;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_have_a_shape_unless_an_axis_stands_twice() {
        let key = |axis, divisor| GroupKey { axis, divisor };
        assert_eq!(group_shape(&[key(1, 4), key(0, 1)], &[5, 6, 7]), Some(vec![1, 4, 7]));
        assert_eq!(group_shape(&[key(0, 9)], &[5, 6]), Some(vec![5, 6]));
        assert_eq!(group_shape(&[key(0, 2), key(0, 3)], &[5, 6]), None);
        assert_eq!(group_shape(&[], &[5]), Some(vec![5]));
    }

    fn key(axis: usize, divisor: u64) -> GroupKey {
        GroupKey { axis, divisor }
    }

    /// The group of every element, through the walk of the region cut into slabs of one row.
    fn groups_by_walk(keys: &[GroupKey], region: &Region, rows: u64) -> Vec<usize> {
        let grid = GroupGrid::new(keys, region);
        let mut groups = vec![];
        let mut start = region.start()[0];
        while start < region.range(0).end {
            let end = (start + rows).min(region.range(0).end);
            let mut ranges: Vec<_> = (0..region.ndim()).map(|axis| region.range(axis)).collect();
            ranges[0] = start..end;
            let walk = grid.walk(&Region::from_ranges(&ranges));
            let mut at = 0;
            for run in walk.runs {
                assert_eq!(run.at, at);
                at += run.len;
                groups.extend((0..run.len).map(|i| run.group + usize::from(walk.per_element) * i));
            }
            start = end;
        }
        groups
    }

    #[test]
    fn every_element_falls_into_the_group_of_its_keys() {
        let region = Region::from_ranges(&[3..9, 10..15, 7..20]);
        let cases: [&[GroupKey]; 9] = [
            &[],
            &[key(0, 1)],
            &[key(1, 1)],
            &[key(2, 1)],
            &[key(2, 4)],
            &[key(1, 3), key(2, 1)],
            &[key(1, 1), key(2, 1)],
            &[key(0, 2), key(2, 5)],
            &[key(2, 1), key(0, 4), key(1, 1)],
        ];
        for keys in cases {
            let grid = GroupGrid::new(keys, &region);
            let values: Vec<Vec<i64>> = (0..keys.len()).map(|key| grid.key_values(key)).collect();
            for rows in [1, 4, 6] {
                let groups = groups_by_walk(keys, &region, rows);
                assert_eq!(groups.len() as u64, region.element_count());
                for (index, group) in groups.iter().enumerate() {
                    let position = crate::array::unravel(index as u64, region.shape());
                    for (number, key) in keys.iter().enumerate() {
                        let at = region.start()[key.axis] + position[key.axis];
                        assert_eq!(values[number][*group] as u64, at / key.divisor, "{keys:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn whole_rows_become_one_run() {
        let region = Region::from_ranges(&[0..2, 0..30]);
        let walk = GroupGrid::new(&[], &region).walk(&region);
        assert_eq!(walk.runs, [Run { at: 0, len: 60, group: 0 }]);
    }
}
