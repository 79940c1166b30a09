//! A regular grid of chunks over an array; the last chunk of an axis may be cut short.

use super::Region;

/// The chunk grid of an array. Chunks are numbered in row-major order of their grid position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    array_shape: Vec<u64>,
    chunk_shape: Vec<u64>,
    counts: Vec<u64>,
}

impl Grid {
    /// The grid that cuts an array of `array_shape` into chunks of `chunk_shape`. A chunk length
    /// of zero counts as one.
    pub fn new(array_shape: &[u64], chunk_shape: &[u64]) -> Self {
        let chunk_shape: Vec<u64> = chunk_shape.iter().map(|length| (*length).max(1)).collect();
        let counts =
            array_shape.iter().zip(&chunk_shape).map(|(all, one)| all.div_ceil(*one)).collect();
        Self { array_shape: array_shape.to_vec(), chunk_shape, counts }
    }

    /// The grid whose boxes are whole chunks of this one, about `elements` elements together,
    /// joined along the last axes first. Chunks that are larger stay as they are.
    #[must_use]
    pub fn joined(&self, elements: u64) -> Self {
        let mut shape = self.chunk_shape.clone();
        for axis in (0..shape.len()).rev() {
            let held = shape.iter().fold(1_u64, |product, length| product.saturating_mul(*length));
            let joined = (elements / held.max(1)).clamp(1, self.counts[axis].max(1));
            shape[axis] = shape[axis].saturating_mul(joined);
            if joined < self.counts[axis] {
                break;
            }
        }
        Self::new(&self.array_shape, &shape)
    }

    /// The same as [`Grid::joined`], with boxes as nearly cubes as may be.
    #[must_use]
    pub fn joined_evenly(&self, elements: u64) -> Self {
        let mut shape = self.chunk_shape.clone();
        loop {
            let can_grow = (0..shape.len()).filter(|axis| shape[*axis] < self.array_shape[*axis]);
            let Some(axis) = can_grow.rev().min_by_key(|axis| shape[*axis]) else { break };
            let mut grown = shape.clone();
            grown[axis] = shape[axis].saturating_mul(2);
            if grown.iter().fold(1, |all: u64, length| all.saturating_mul(*length)) > elements {
                break;
            }
            shape = grown;
        }
        Self::new(&self.array_shape, &shape)
    }

    /// The array's length on each axis.
    pub fn array_shape(&self) -> &[u64] {
        &self.array_shape
    }

    /// A full chunk's length on each axis.
    pub fn chunk_shape(&self) -> &[u64] {
        &self.chunk_shape
    }

    /// How many chunks lie along each axis.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// How many chunks there are.
    pub fn chunk_count(&self) -> u64 {
        self.counts.iter().product()
    }

    /// The box of chunk `ordinal`, cut at the array's end.
    pub fn chunk_region(&self, ordinal: u64) -> Region {
        let position = unravel(ordinal, &self.counts);
        self.region_at(&position)
    }

    /// The box of the chunk at a grid `position`, cut at the array's end.
    pub fn region_at(&self, position: &[u64]) -> Region {
        let start: Vec<u64> =
            position.iter().zip(&self.chunk_shape).map(|(index, length)| index * length).collect();
        let shape = start
            .iter()
            .zip(self.chunk_shape.iter().zip(&self.array_shape))
            .map(|(start, (length, end))| (*length).min(end - start))
            .collect();
        Region::new(start, shape)
    }

    /// The ordinal of the chunk at a grid `position`.
    pub fn ordinal_at(&self, position: &[u64]) -> u64 {
        position.iter().zip(&self.counts).fold(0, |sum, (index, count)| sum * count + index)
    }

    /// The box of grid positions whose chunks touch `region`.
    pub fn positions_touching(&self, region: &Region) -> Region {
        let ranges: Vec<_> = (0..region.ndim())
            .map(|axis| {
                let range = region.range(axis);
                let length = self.chunk_shape[axis];
                range.start / length..range.end.div_ceil(length).min(self.counts[axis])
            })
            .collect();
        Region::from_ranges(&ranges)
    }

    /// The chunks that touch `region`, as ordinal and box, in storage order.
    pub fn chunks_touching(&self, region: &Region) -> impl Iterator<Item = (u64, Region)> + '_ {
        let positions = self.positions_touching(region);
        let count = if region.is_empty() { 0 } else { positions.element_count() };
        (0..count).map(move |index| {
            let position: Vec<u64> = unravel(index, positions.shape())
                .iter()
                .zip(positions.start())
                .map(|(offset, start)| offset + start)
                .collect();
            (self.ordinal_at(&position), self.region_at(&position))
        })
    }
}

/// The row-major position of `index` in a box of `shape`.
pub fn unravel(mut index: u64, shape: &[u64]) -> Vec<u64> {
    let mut position = vec![0; shape.len()];
    for axis in (0..shape.len()).rev() {
        position[axis] = index % shape[axis].max(1);
        index /= shape[axis].max(1);
    }
    position
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edge_chunks_are_cut_at_the_end_of_the_array() {
        let grid = Grid::new(&[10, 7], &[4, 4]);
        assert_eq!(grid.counts(), [3, 2]);
        assert_eq!(grid.chunk_region(5), Region::from_ranges(&[8..10, 4..7]));
    }

    #[test]
    fn boxes_with_halos_are_nearly_cubes() {
        let joined = |array: &[u64], chunk: &[u64]| {
            Grid::new(array, chunk).joined_evenly(1 << 20).chunk_shape().to_vec()
        };
        assert_eq!(joined(&[8192, 8192], &[512, 512]), [1024, 1024]);
        assert_eq!(joined(&[8192, 8192], &[1, 8192]), [128, 8192]);
        assert_eq!(joined(&[100, 50], &[64, 64]), [128, 64]);
        assert_eq!(joined(&[4096, 4096], &[2048, 2048]), [2048, 2048]);
        assert_eq!(joined(&[500, 500, 500], &[32, 32, 32]), [64, 128, 128]);
    }

    #[test]
    fn small_chunks_are_joined_to_larger_boxes_of_whole_chunks() {
        let joined = |array: &[u64], chunk: &[u64]| {
            Grid::new(array, chunk).joined(1 << 18).chunk_shape().to_vec()
        };
        assert_eq!(joined(&[8192, 8192], &[512, 512]), [512, 512]);
        assert_eq!(joined(&[8192, 8192], &[64, 64]), [64, 4096]);
        assert_eq!(joined(&[240, 37, 49], &[1, 37, 49]), [144, 37, 49]);
        assert_eq!(joined(&[10, 10], &[16, 3]), [16, 12]);
        assert_eq!(joined(&[1 << 20, 1 << 20], &[2048, 2048]), [2048, 2048]);
    }

    #[test]
    fn touching_chunks_come_in_storage_order() {
        let grid = Grid::new(&[10, 7], &[4, 4]);
        let region = Region::from_ranges(&[3..5, 4..5]);
        let ordinals: Vec<u64> =
            grid.chunks_touching(&region).map(|(ordinal, _)| ordinal).collect();
        assert_eq!(ordinals, [1, 3]);
        assert_eq!(grid.chunks_touching(&Region::from_ranges(&[3..3, 0..7])).count(), 0);
    }
}
