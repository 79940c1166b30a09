//! Where the chunks of a dataset are: every kind of chunk index.
//!
//! In: a layout message. Out: chunks by their ordinal in the grid. Nothing is allocated beyond what
//! the file's own bytes can hold. Not here: the index's nodes ([`arrays`], [`trees`]).

mod arrays;
mod trees;

use std::collections::HashMap;

use almagest_engine::array::Grid;
use almagest_engine::{Error, Result};
use rust_hdf5::format::UNDEF_ADDR;
use rust_hdf5::format::messages::data_layout::{ChunkIndexType, DataLayoutMessage};

use super::metadata::{Metadata, invalid};

/// A chunk in the file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StoredChunk {
    /// Where it begins, from the superblock on.
    pub address: u64,
    /// Bytes in the file.
    pub bytes: u64,
    /// A set bit skips that filter.
    pub mask: u32,
}

/// The chunks of a dataset.
#[derive(Debug)]
pub enum Chunks {
    /// By ordinal; those that are not here were never written.
    Table(HashMap<u64, StoredChunk>),
    /// All of them, one after the other in the order of `numbers`.
    InOrder {
        /// Where the first one begins.
        address: u64,
        /// Bytes of each.
        chunk_bytes: u64,
        /// How they are numbered in the file.
        numbers: Numbering,
    },
}

impl Chunks {
    /// The chunk at a grid position.
    pub fn get(&self, ordinal: u64, position: &[u64]) -> Option<StoredChunk> {
        match self {
            Self::Table(chunks) => chunks.get(&ordinal).copied(),
            Self::InOrder { address, chunk_bytes, numbers } => {
                let number = numbers.number_of(position);
                let address = address.saturating_add(number.saturating_mul(*chunk_bytes));
                Some(StoredChunk { address, bytes: *chunk_bytes, mask: 0 })
            }
        }
    }

    /// Bytes of all chunks in the file.
    pub fn stored_bytes(&self, grid: &Grid) -> u64 {
        match self {
            Self::Table(chunks) => chunks.values().map(|chunk| chunk.bytes).sum(),
            Self::InOrder { chunk_bytes, .. } => grid.chunk_count().saturating_mul(*chunk_bytes),
        }
    }
}

/// How an index numbers chunks: row-major over the grid of the greatest shape, with one axis first.
#[derive(Clone, Debug)]
pub struct Numbering {
    /// Axes from the slowest to the fastest.
    axes: Vec<usize>,
    /// Chunks along each axis of the array, in its own order.
    counts: Vec<u64>,
}

impl Numbering {
    fn new(shape: &[u64], max_shape: &[u64], chunk_shape: &[u64], first: Option<usize>) -> Self {
        let mut axes: Vec<usize> = (0..shape.len()).collect();
        if let Some(first) = first {
            axes.remove(first);
            axes.insert(0, first);
        }
        let lengths = shape.iter().zip(max_shape).map(|(now, most)| match *most {
            u64::MAX => *now,
            most => most.max(*now),
        });
        let counts =
            lengths.zip(chunk_shape).map(|(length, chunk)| length.div_ceil(*chunk)).collect();
        Self { axes, counts }
    }

    fn number_of(&self, position: &[u64]) -> u64 {
        self.axes.iter().fold(0_u64, |number, axis| {
            number.saturating_mul(self.counts[*axis]).saturating_add(position[*axis])
        })
    }

    /// The grid position of chunk `number`; it may lie outside the grid on the first axis.
    fn position_of(&self, mut number: u64) -> Vec<u64> {
        let mut position = vec![0; self.axes.len()];
        for (place, axis) in self.axes.iter().enumerate().rev() {
            if place == 0 {
                position[*axis] = number;
                break;
            }
            let count = self.counts[*axis].max(1);
            position[*axis] = number % count;
            number /= count;
        }
        position
    }
}

/// What an index is about.
#[derive(Debug)]
pub struct Shapes<'a> {
    /// The array's shape.
    pub shape: &'a [u64],
    /// Its greatest shape; `u64::MAX` for no limit.
    pub max_shape: &'a [u64],
    /// How many axes the file counts; the later ones lie inside its elements, which are arrays.
    pub stored_ndim: usize,
    /// A chunk's shape.
    pub chunk_shape: &'a [u64],
    /// Bytes of a decoded chunk.
    pub chunk_bytes: u64,
    /// Whether chunks went through filters.
    pub filtered: bool,
}

/// Reads the index that `layout` names.
///
/// # Errors
/// `DataInvalid`, `Unsupported`, `Unreachable`.
pub fn read(metadata: &mut Metadata, layout: &DataLayoutMessage, of: &Shapes) -> Result<Chunks> {
    let grid = Grid::new(of.shape, of.chunk_shape);
    let mut table = Table { chunks: HashMap::new(), grid, end: metadata.file().len() };
    let ndim = of.shape.len();
    match layout {
        DataLayoutMessage::ChunkedV3 { b_tree_address, .. } => {
            if *b_tree_address != UNDEF_ADDR {
                trees::version_1(metadata, *b_tree_address, of, 0, &mut table)?;
            }
        }
        DataLayoutMessage::ChunkedV4 { index_address: UNDEF_ADDR, .. } => {}
        DataLayoutMessage::ChunkedV4 { index_type, index_address, single_chunk_filter, .. } => {
            let numbers = Numbering::new(of.shape, of.max_shape, of.chunk_shape, None);
            match index_type {
                ChunkIndexType::SingleChunk => {
                    let (bytes, mask) = match single_chunk_filter {
                        Some(filter) => (filter.nbytes, filter.filter_mask),
                        None => (of.chunk_bytes, 0),
                    };
                    let chunk = StoredChunk { address: *index_address, bytes, mask };
                    table.add(&vec![0; ndim], chunk)?;
                }
                ChunkIndexType::Implicit => {
                    let (address, chunk_bytes) = (*index_address, of.chunk_bytes);
                    return Ok(Chunks::InOrder { address, chunk_bytes, numbers });
                }
                ChunkIndexType::FixedArray => {
                    arrays::fixed(metadata, *index_address, of, &numbers, &mut table)?;
                }
                ChunkIndexType::ExtensibleArray => {
                    let first = of.max_shape.iter().position(|length| *length == u64::MAX);
                    let numbers = Numbering::new(of.shape, of.max_shape, of.chunk_shape, first);
                    arrays::extensible(metadata, *index_address, of, &numbers, &mut table)?;
                }
                ChunkIndexType::BTreeV2 => {
                    trees::version_2(metadata, *index_address, of, &mut table)?;
                }
            }
        }
        _ => return Err(Error::bug("an index was asked for without chunks")),
    }
    Ok(Chunks::Table(table.chunks))
}

/// Collects chunks and refuses those that cannot be.
struct Table {
    chunks: HashMap<u64, StoredChunk>,
    grid: Grid,
    end: u64,
}

impl Table {
    fn add(&mut self, position: &[u64], chunk: StoredChunk) -> Result<()> {
        let outside = |(index, count): (&u64, &u64)| index >= count;
        if position.len() != self.grid.counts().len()
            || position.iter().zip(self.grid.counts()).any(outside)
        {
            return Ok(()); // left behind by a dataset that was made smaller
        }
        if chunk.address.checked_add(chunk.bytes).is_none_or(|end| end > self.end) {
            return Err(invalid(format!(
                "a chunk of {} bytes at {} passes the end of the file ({} bytes); is it cut short?",
                chunk.bytes, chunk.address, self.end
            )));
        }
        self.chunks.insert(self.grid.ordinal_at(position), chunk);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_growing_axis_is_numbered_first() {
        let numbers = Numbering::new(&[20, 50], &[20, u64::MAX], &[10, 10], Some(1));
        assert_eq!(numbers.number_of(&[1, 3]), 3 * 2 + 1);
        assert_eq!(numbers.position_of(7), [1, 3]);
        let fixed = Numbering::new(&[20, 50], &[40, 90], &[10, 10], None);
        assert_eq!(fixed.number_of(&[1, 3]), 9 + 3);
        assert_eq!(fixed.position_of(12), [1, 3]);
    }
}
