//! Keeps the values of many groups until each group is complete.
//!
//! A group's values lie in pieces that are never moved once they are full: fresh memory costs more
//! than the work on it, so that full pieces are handed on whole (`Taken::full`) from the partial to
//! the final step of an aggregation. What is left over, everything of a small group, is copied.

use arrow::buffer::ScalarBuffer;
use arrow::datatypes::ArrowNativeType;

/// Values in a full piece. Large enough that a batch of the groups that have one is gigabytes.
pub const PIECE_VALUES: usize = 1 << 16;

/// Values of groups 0, 1, ….
#[derive(Debug)]
pub struct GroupedValues<T: ArrowNativeType> {
    /// For each group the piece that is being filled.
    open: Vec<Vec<T>>,
    /// Full pieces with their groups.
    full: Vec<(usize, ScalarBuffer<T>)>,
    bytes: usize,
}

/// Values that have been taken out.
#[derive(Debug)]
pub struct Taken<T: ArrowNativeType> {
    /// For each group the values outside full pieces.
    pub open: Vec<Vec<T>>,
    /// Full pieces, in order of their groups.
    pub full: Vec<(usize, ScalarBuffer<T>)>,
}

impl<T: ArrowNativeType> Default for GroupedValues<T> {
    fn default() -> Self {
        Self { open: vec![], full: vec![], bytes: 0 }
    }
}

impl<T: ArrowNativeType> GroupedValues<T> {
    /// Makes sure that groups below `count` exist, with or without values.
    pub fn grow(&mut self, count: usize) {
        if count > self.open.len() {
            self.open.resize_with(count, Vec::new);
        }
    }

    /// Adds one value to a group, which must exist.
    #[inline]
    pub fn push(&mut self, group: usize, value: T) {
        let piece = &mut self.open[group];
        if piece.len() == piece.capacity() {
            self.make_room(group);
        }
        self.open[group].push(value);
    }

    /// Room for one more value: twice as much in a small piece, a new piece after a full one.
    #[cold]
    fn make_room(&mut self, group: usize) {
        let piece = &mut self.open[group];
        let before = piece.capacity();
        if piece.len() < PIECE_VALUES {
            piece.reserve_exact(before.clamp(4, PIECE_VALUES - before.min(PIECE_VALUES - 4)));
            self.bytes += (piece.capacity() - before) * size_of::<T>();
        } else {
            let full = std::mem::replace(piece, Vec::with_capacity(PIECE_VALUES));
            self.bytes += self.open[group].capacity() * size_of::<T>();
            self.full.push((group, full.into()));
        }
    }

    /// Adds all values to one group, which must exist.
    pub fn append(&mut self, group: usize, mut values: &[T]) {
        while !values.is_empty() {
            if self.open[group].len() == self.open[group].capacity() {
                self.make_room(group);
            }
            let piece = &mut self.open[group];
            let count = values.len().min(piece.capacity() - piece.len());
            piece.extend_from_slice(&values[..count]);
            values = &values[count..];
        }
    }

    /// Adds a piece to a group, which must exist, without copying it.
    pub fn append_piece(&mut self, group: usize, piece: ScalarBuffer<T>) {
        self.bytes += piece.len() * size_of::<T>();
        self.full.push((group, piece));
    }

    /// The values of one group, piece by piece.
    pub fn parts(&self, group: usize) -> Vec<&[T]> {
        let full = self.full.iter().filter(|(of, _)| *of == group).map(|(_, piece)| &piece[..]);
        full.chain(self.open.get(group).map(Vec::as_slice)).collect()
    }

    /// Takes out all groups.
    pub fn take_all(&mut self) -> Taken<T> {
        let Self { open, mut full, .. } = std::mem::take(self);
        full.sort_by_key(|(group, _)| *group);
        Taken { open, full }
    }

    /// Takes out the first `count` groups; the others move down to begin at 0.
    pub fn take_first(&mut self, count: usize) -> Taken<T> {
        let mut taken = self.take_all();
        self.open = taken.open.split_off(count.min(taken.open.len()));
        let kept = taken.full.split_off(taken.full.partition_point(|(group, _)| *group < count));
        self.full = kept.into_iter().map(|(group, piece)| (group - count, piece)).collect();
        let open: usize = self.open.iter().map(Vec::capacity).sum();
        let full: usize = self.full.iter().map(|(_, piece)| piece.len()).sum();
        self.bytes = (open + full) * size_of::<T>();
        taken
    }

    /// Bytes in use.
    pub fn bytes(&self) -> usize {
        self.bytes
            + self.open.capacity() * size_of::<Vec<T>>()
            + self.full.capacity() * size_of::<(usize, ScalarBuffer<T>)>()
    }
}

impl<T: ArrowNativeType> Taken<T> {
    /// For each group what `of` makes of its pieces.
    pub fn map<R>(&self, of: impl Fn(&[&[T]]) -> R) -> impl Iterator<Item = R> {
        let mut full = self.full.as_slice();
        self.open.iter().enumerate().map(move |(group, open)| {
            let (mine, rest) = full.split_at(full.partition_point(|(of, _)| *of <= group));
            full = rest;
            let mut parts: Vec<&[T]> = mine.iter().map(|(_, piece)| &piece[..]).collect();
            parts.push(open);
            of(&parts)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(taken: &Taken<f64>) -> Vec<Vec<f64>> {
        taken.map(|parts| parts.concat()).collect()
    }

    #[test]
    fn values_come_out_by_group() {
        let mut grouped = GroupedValues::default();
        grouped.grow(4);
        grouped.push(2, 1.0);
        grouped.append(0, &[4.0, 5.0]);
        grouped.append_piece(0, vec![7.0].into());
        grouped.push(2, 3.0);
        assert_eq!(grouped.parts(0).concat(), [7.0, 4.0, 5.0]);
        let expected = [vec![7.0, 4.0, 5.0], vec![], vec![1.0, 3.0], vec![]];
        assert_eq!(contents(&grouped.take_all()), expected);
        assert!(contents(&grouped.take_all()).is_empty());
    }

    #[test]
    fn the_first_groups_leave_and_the_others_move_down() {
        let mut grouped = GroupedValues::default();
        grouped.grow(4);
        (0..4).for_each(|group| grouped.push(group, group as f64));
        grouped.append_piece(1, vec![7.0].into());
        grouped.append_piece(3, vec![8.0].into());
        assert_eq!(contents(&grouped.take_first(2)), [vec![0.0], vec![7.0, 1.0]]);
        assert_eq!(contents(&grouped.take_all()), [vec![2.0], vec![8.0, 3.0]]);
    }

    #[test]
    fn many_values_fill_many_pieces() {
        let mut grouped = GroupedValues::default();
        let count = 3 * PIECE_VALUES + 5;
        let values: Vec<f64> = (0..count).map(|row| row as f64).collect();
        grouped.grow(2);
        grouped.append(0, &values);
        values.iter().for_each(|value| grouped.push(1, *value));
        assert!(grouped.bytes() >= 2 * count * 8);
        let taken = grouped.take_all();
        assert_eq!(taken.full.len(), 6);
        assert!(taken.full.iter().all(|(_, piece)| piece.len() == PIECE_VALUES));
        assert_eq!(contents(&taken), [values.clone(), values]);
    }
}
