//! Keeps the values of many groups until each group is complete.
//!
//! Values are appended with their group's number as they arrive and sorted by group only once, when
//! they are taken out: appending is two copies, and no group costs an allocation.

/// Values in one piece of memory. Pieces never grow beyond this, so that nothing is moved.
const PIECE_VALUES: usize = 1 << 16;

/// Values with the numbers of their groups, in order of arrival.
#[derive(Debug, Default)]
pub struct GroupedValues<T> {
    pieces: Vec<Piece<T>>,
    group_count: usize,
}

#[derive(Debug)]
struct Piece<T> {
    groups: Vec<u32>,
    values: Vec<T>,
}

/// Values sorted by group: those of group g stand between offsets g and g + 1.
#[derive(Debug, PartialEq)]
pub struct SortedByGroup<T> {
    /// One more than groups.
    pub offsets: Vec<i64>,
    /// The values of all groups.
    pub values: Vec<T>,
}

impl<T: Copy + Default> GroupedValues<T> {
    /// Makes sure that groups below `count` exist, with or without values.
    pub fn grow(&mut self, count: usize) {
        self.group_count = self.group_count.max(count);
    }

    /// Adds each value to its group.
    pub fn append(&mut self, mut groups: &[usize], mut values: &[T]) {
        while !values.is_empty() {
            let piece = self.open_piece();
            let count = values.len().min(PIECE_VALUES - piece.values.len());
            piece.groups.extend(groups[..count].iter().map(|group| *group as u32));
            piece.values.extend_from_slice(&values[..count]);
            (groups, values) = (&groups[count..], &values[count..]);
        }
    }

    /// Adds one value to a group.
    pub fn push(&mut self, group: usize, value: T) {
        let piece = self.open_piece();
        piece.groups.push(group as u32);
        piece.values.push(value);
    }

    /// Adds all values to one group.
    pub fn append_to(&mut self, group: usize, mut values: &[T]) {
        while !values.is_empty() {
            let piece = self.open_piece();
            let count = values.len().min(PIECE_VALUES - piece.values.len());
            piece.groups.resize(piece.groups.len() + count, group as u32);
            piece.values.extend_from_slice(&values[..count]);
            values = &values[count..];
        }
    }

    fn open_piece(&mut self) -> &mut Piece<T> {
        let full = self.pieces.last().is_none_or(|piece| piece.values.len() >= PIECE_VALUES);
        if full {
            // The first one grows as needed: there may be many small accumulators.
            let capacity = if self.pieces.is_empty() { 0 } else { PIECE_VALUES };
            self.pieces.push(Piece {
                groups: Vec::with_capacity(capacity),
                values: Vec::with_capacity(capacity),
            });
        }
        let last = self.pieces.len() - 1;
        &mut self.pieces[last]
    }

    /// Takes out all groups.
    pub fn take_all(&mut self) -> SortedByGroup<T> {
        let count = std::mem::take(&mut self.group_count);
        sort_by_group(std::mem::take(&mut self.pieces), count)
    }

    /// Takes out the first `count` groups; the others move down to begin at 0.
    pub fn take_first(&mut self, count: usize) -> SortedByGroup<T> {
        let mut taken = Self::default();
        let mut kept = Self::default();
        for piece in std::mem::take(&mut self.pieces) {
            for (group, value) in piece.groups.into_iter().zip(piece.values) {
                match (group as usize).checked_sub(count) {
                    None => taken.push(group as usize, value),
                    Some(group) => kept.push(group, value),
                }
            }
        }
        kept.group_count = self.group_count.saturating_sub(count);
        *self = kept;
        sort_by_group(taken.pieces, count)
    }

    /// Bytes in use.
    pub fn bytes(&self) -> usize {
        let pieces = self.pieces.capacity() * size_of::<Piece<T>>();
        let full = self.pieces.len().saturating_sub(1) * PIECE_VALUES;
        let last = self.pieces.last().map_or(0, |piece| piece.values.capacity());
        pieces + (full + last) * (size_of::<T>() + size_of::<u32>())
    }
}

fn sort_by_group<T: Copy + Default>(pieces: Vec<Piece<T>>, group_count: usize) -> SortedByGroup<T> {
    let mut offsets = vec![0_i64; group_count + 1];
    for piece in &pieces {
        for group in &piece.groups {
            offsets[*group as usize + 1] += 1;
        }
    }
    for group in 0..group_count {
        offsets[group + 1] += offsets[group];
    }
    let mut next: Vec<usize> = offsets.iter().map(|offset| *offset as usize).collect();
    let mut values = vec![T::default(); next[group_count]];
    for piece in pieces {
        for (group, value) in piece.groups.iter().zip(&piece.values) {
            let place = &mut next[*group as usize];
            values[*place] = *value;
            *place += 1;
        }
    }
    SortedByGroup { offsets, values }
}

impl<T> SortedByGroup<T> {
    /// The values of each group, in order of the groups.
    pub fn groups_mut(&mut self) -> impl Iterator<Item = &mut [T]> {
        let mut rest = self.values.as_mut_slice();
        self.offsets.windows(2).map(move |pair| {
            let all = std::mem::take(&mut rest);
            let (group, after) = all.split_at_mut((pair[1] - pair[0]) as usize);
            rest = after;
            group
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_out_by_group_in_order_of_arrival() {
        let mut grouped = GroupedValues::default();
        grouped.grow(4);
        grouped.append(&[2, 0, 2], &[1.0, 2.0, 3.0]);
        grouped.append_to(0, &[4.0, 5.0]);
        grouped.push(3, 6.0);
        let sorted = grouped.take_all();
        assert_eq!(sorted.offsets, [0, 3, 3, 5, 6]);
        assert_eq!(sorted.values, [2.0, 4.0, 5.0, 1.0, 3.0, 6.0]);
        assert_eq!(grouped.take_all().offsets, [0]);
    }

    #[test]
    fn the_first_groups_leave_and_the_others_move_down() {
        let mut grouped = GroupedValues::default();
        grouped.grow(4);
        grouped.append(&[0, 1, 2, 1], &[1.0, 2.0, 3.0, 4.0]);
        let sorted = grouped.take_first(2);
        assert_eq!((sorted.offsets, sorted.values), (vec![0, 1, 3], vec![1.0, 2.0, 4.0]));
        let sorted = grouped.take_all();
        assert_eq!((sorted.offsets, sorted.values), (vec![0, 1, 1], vec![3.0]));
    }

    #[test]
    fn many_values_fill_many_pieces() {
        let mut grouped = GroupedValues::default();
        let count = 3 * PIECE_VALUES + 5;
        let groups: Vec<usize> = (0..count).map(|row| row % 3).collect();
        let values: Vec<f64> = (0..count).map(|row| row as f64).collect();
        grouped.grow(3);
        grouped.append(&groups, &values);
        assert!(grouped.bytes() >= count * 12);
        let mut sorted = grouped.take_all();
        let sums: Vec<f64> = sorted.groups_mut().map(|group| group.iter().sum()).collect();
        let expected: Vec<f64> =
            (0..3).map(|group| values.iter().skip(group).step_by(3).sum()).collect();
        assert_eq!(sums, expected);
    }
}
