//! One chunk while cells come: its elements, and which of them are there.
//!
//! In: runs of cells. Out: the elements, once. The chunk is in memory or in a slot of the spill
//! file, where runs are put as well as in memory. Not here: which chunk leaves memory
//! ([`super::Cells`]).

use std::sync::atomic::{AtomicU64, Ordering};

use almagest_engine::Result;
use parking_lot::{Mutex, MutexGuard};

use super::layout::Layout;
use super::spill::{Slot, SpillSlots};

/// Bytes of a word of marks.
const WORD_BYTES: usize = 8;
/// Cells that a word marks.
const WORD_CELLS: usize = 64;

/// A chunk of which a cell has come.
pub struct Chunk {
    /// Its first cell.
    pub start: Box<[u64]>,
    used_at: AtomicU64,
    body: Mutex<Body>,
}

/// What a chunk holds.
pub struct Body {
    store: Store,
    /// Cells that have not come yet.
    missing: usize,
    /// Bytes of an element of each value.
    widths: Vec<usize>,
    cells: usize,
}

enum Store {
    Memory { values: Vec<Vec<u8>>, marks: Vec<u64>, bytes: usize },
    Slot(Slot),
    Taken,
}

/// What putting cells found.
pub enum Marked {
    /// None of them was there.
    New,
    /// This one was.
    Twice(usize),
}

/// Bytes of a chunk, in memory or in the spill file: its values one after the other, then the marks.
pub fn chunk_bytes(layout: &Layout) -> usize {
    let cells = layout.chunk_cells();
    let values: usize = layout.values.iter().map(|value| value.width * cells).sum();
    values + cells.div_ceil(WORD_CELLS) * WORD_BYTES
}

impl Chunk {
    /// The chunk at `start`, all fill values. `bytes` of memory are counted for it.
    pub fn new(start: &[u64], layout: &Layout, bytes: usize) -> Self {
        let cells = layout.chunk_cells();
        let values = layout.values.iter().map(|value| value.fill.repeat(cells)).collect();
        let marks = vec![0; cells.div_ceil(WORD_CELLS)];
        let body = Body {
            store: Store::Memory { values, marks, bytes },
            missing: layout.cells_inside(start),
            widths: layout.values.iter().map(|value| value.width).collect(),
            cells,
        };
        Self { start: start.into(), used_at: AtomicU64::new(0), body: Mutex::new(body) }
    }

    /// When it was used last.
    pub fn used_at(&self) -> u64 {
        self.used_at.load(Ordering::Relaxed)
    }

    /// Says that it is used.
    pub fn use_at(&self, time: u64) {
        self.used_at.store(time, Ordering::Relaxed);
    }

    /// What it holds, for this thread alone.
    pub fn lock(&self) -> MutexGuard<'_, Body> {
        self.body.lock()
    }

    /// Moves what is in memory to a slot. Gives the bytes of memory that were counted for it.
    ///
    /// # Errors
    /// Those of the spill file.
    pub fn spill(&self, spill: &SpillSlots) -> Result<usize> {
        let mut body = self.lock();
        let Store::Memory { values, marks, bytes } = &body.store else { return Ok(0) };
        let slot = spill.slot()?;
        let mut at = 0;
        for part in values {
            spill.write(&slot, at, part)?;
            at += part.len() as u64;
        }
        spill.write(&slot, at, &words_to_bytes(marks))?;
        let bytes = *bytes;
        body.store = Store::Slot(slot);
        Ok(bytes)
    }

    /// Takes the elements out, with the bytes of memory that were counted for them; none if they are
    /// taken already.
    ///
    /// # Errors
    /// Those of the spill file.
    pub fn take(
        &self,
        layout: &Layout,
        spill: &SpillSlots,
    ) -> Result<Option<(Vec<Vec<u8>>, usize)>> {
        match std::mem::replace(&mut self.lock().store, Store::Taken) {
            Store::Memory { values, bytes, .. } => Ok(Some((values, bytes))),
            Store::Taken => Ok(None),
            Store::Slot(slot) => {
                let mut at = 0;
                let mut values = vec![];
                for value in &layout.values {
                    let mut part = vec![0; value.width * layout.chunk_cells()];
                    spill.read(&slot, at, &mut part)?;
                    at += part.len() as u64;
                    values.push(part);
                }
                spill.give_back(slot);
                Ok(Some((values, 0)))
            }
        }
    }
}

impl Body {
    /// Whether every cell of the array has come that lies in the chunk.
    pub fn is_whole(&self) -> bool {
        self.missing == 0
    }

    /// Puts `count` cells from `offset` on, if none of them is there.
    ///
    /// # Errors
    /// Those of the spill file.
    pub fn put<'a>(
        &mut self,
        offset: usize,
        count: usize,
        values: impl Iterator<Item = &'a [u8]>,
        spill: &SpillSlots,
    ) -> Result<Marked> {
        let twice = match &mut self.store {
            Store::Taken => Some(offset),
            Store::Memory { values: parts, marks, .. } => {
                let twice = mark(marks, offset, count);
                if twice.is_none() {
                    for (part, run) in parts.iter_mut().zip(values) {
                        let from = offset * (run.len() / count);
                        part[from..from + run.len()].copy_from_slice(run);
                    }
                }
                twice
            }
            Store::Slot(slot) => {
                let first = offset / WORD_CELLS;
                let words = (offset + count).div_ceil(WORD_CELLS) - first;
                let width: usize = self.widths.iter().sum();
                let marks_at = (self.cells * width + first * WORD_BYTES) as u64;
                let mut bytes = vec![0; words * WORD_BYTES];
                spill.read(slot, marks_at, &mut bytes)?;
                let mut marks = bytes_to_words(&bytes);
                let twice = mark(&mut marks, offset - first * WORD_CELLS, count);
                if twice.is_none() {
                    spill.write(slot, marks_at, &words_to_bytes(&marks))?;
                    let mut part_at = 0;
                    for (run, width) in values.zip(&self.widths) {
                        spill.write(slot, (part_at + offset * width) as u64, run)?;
                        part_at += self.cells * width;
                    }
                }
                twice.map(|twice| twice + first * WORD_CELLS)
            }
        };
        if let Some(twice) = twice {
            return Ok(Marked::Twice(twice));
        }
        self.missing -= count;
        Ok(Marked::New)
    }
}

/// Marks `count` cells from `offset` on; gives the first that was marked before, if any.
fn mark(marks: &mut [u64], offset: usize, count: usize) -> Option<usize> {
    let end = offset + count;
    let mut at = offset;
    while at < end {
        let (word, bit) = (at / WORD_CELLS, at % WORD_CELLS);
        let bits = (WORD_CELLS - bit).min(end - at);
        let mask = (u64::MAX >> (WORD_CELLS - bits)) << bit;
        let seen = marks[word] & mask;
        if seen != 0 {
            return Some(word * WORD_CELLS + seen.trailing_zeros() as usize);
        }
        marks[word] |= mask;
        at += bits;
    }
    None
}

fn words_to_bytes(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn bytes_to_words(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks::<WORD_BYTES>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_over_words_is_marked_once() {
        let mut marks = vec![0; 3];
        assert_eq!(mark(&mut marks, 60, 70), None);
        assert_eq!(marks, [0xF << 60, u64::MAX, 3]);
        assert_eq!(mark(&mut marks, 0, 60), None);
        assert_eq!(mark(&mut marks, 130, 62), None);
        assert_eq!(mark(&mut marks, 129, 1), Some(129));
        assert_eq!(mark(&mut marks, 191, 1), Some(191));
    }
}
