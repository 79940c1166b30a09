//! Reads a region: which stored pieces it needs, and how each gets into the destination.
//!
//! In: a region. Out: its elements as stored, one after the other. A piece is a box of a chunk, or of
//! the whole array where it is not chunked. The walk over pieces is the same for fetching the ranges
//! of a remote file ([`ranges`]) and for reading ([`Reader`]), so both agree on their order.

use std::cell::RefCell;
use std::ops::Range;

use almagest_engine::array::{ReadCounters, Region, copy_box};
use almagest_engine::{Error, Result};
use arrow::buffer::MutableBuffer;

use super::dataset::{Place, Stored};
use super::filters::Pipeline;
use super::index::StoredChunk;
use super::runs::{each_run, widen};

/// A thread's buffer larger than this is given back after use.
const SCRATCH_BYTES_KEPT: usize = 16 << 20;

thread_local! {
    /// Stored bytes, and a decoded box, of the chunk that this thread reads.
    static SCRATCH: RefCell<(Vec<u8>, Vec<u8>)> = const { RefCell::new((vec![], vec![])) };
}

/// A part of a region, as it is stored.
struct Piece<'a> {
    stored: StoredPiece<'a>,
    /// The box that is stored, in the array.
    whole: Region,
    /// What of it is wanted, in the stored box.
    from: Region,
    /// Where that goes, in the region.
    to: Region,
}

enum StoredPiece<'a> {
    /// Nothing: the fill value.
    Absent,
    /// In the object header.
    Compact(&'a [u8]),
    /// As it is, from this address on.
    Plain(u64),
    /// Through filters.
    Filtered(StoredChunk, &'a Pipeline),
}

/// Calls `visit` for every piece of `region`.
fn each_piece<'a>(
    stored: &'a Stored,
    region: &Region,
    mut visit: impl FnMut(Piece<'a>) -> Result<()>,
) -> Result<()> {
    let shape = stored.grid.array_shape();
    let whole = |piece| Piece {
        stored: piece,
        whole: Region::whole(shape),
        from: region.clone(),
        to: Region::whole(region.shape()),
    };
    match &stored.place {
        Place::Compact(bytes) => visit(whole(StoredPiece::Compact(bytes))),
        Place::Contiguous(None) => visit(whole(StoredPiece::Absent)),
        Place::Contiguous(Some(address)) => visit(whole(StoredPiece::Plain(*address))),
        Place::Chunked { chunks, pipeline, edges_unfiltered } => {
            let chunk_shape = stored.grid.chunk_shape();
            for (ordinal, cut) in stored.grid.chunks_touching(region) {
                let Some(wanted) = cut.intersect(region) else { continue };
                let position: Vec<u64> =
                    cut.start().iter().zip(chunk_shape).map(|(at, length)| at / length).collect();
                let at_edge = cut.shape() != chunk_shape;
                let piece = match chunks.get(ordinal, &position) {
                    None => StoredPiece::Absent,
                    Some(chunk) if pipeline.is_empty() || (at_edge && *edges_unfiltered) => {
                        let bytes = chunk_bytes(stored);
                        if chunk.bytes != bytes {
                            return Err(Error::data_invalid(format!(
                                "an unfiltered chunk of {} bytes, where {bytes} were expected",
                                chunk.bytes
                            ))
                            .with("chunk", &cut));
                        }
                        StoredPiece::Plain(chunk.address)
                    }
                    Some(chunk) => StoredPiece::Filtered(chunk, pipeline),
                };
                visit(Piece {
                    stored: piece,
                    whole: Region::new(cut.start().to_vec(), chunk_shape.to_vec()),
                    from: wanted.relative_to(cut.start()),
                    to: wanted.relative_to(region.start()),
                })
                .map_err(|error| error.with("chunk", &cut))?;
            }
            Ok(())
        }
    }
}

pub fn chunk_bytes(stored: &Stored) -> u64 {
    stored.grid.chunk_shape().iter().product::<u64>() * stored.element_bytes as u64
}

/// Bytes that a thread takes to decode a chunk, beyond those that it keeps anyway.
pub fn scratch_bytes(stored: &Stored) -> u64 {
    match &stored.place {
        Place::Chunked { pipeline, .. } if !pipeline.is_empty() => {
            // as stored, and as decoded
            2 * chunk_bytes(stored).saturating_sub(SCRATCH_BYTES_KEPT as u64)
        }
        _ => 0,
    }
}

/// The byte ranges of the file that [`Reader::read`] takes for `region`, in its order.
///
/// # Errors
/// `DataInvalid`.
pub fn ranges(stored: &Stored, region: &Region) -> Result<Vec<Range<u64>>> {
    let mut found = vec![];
    each_piece(stored, region, |piece| {
        match piece.stored {
            StoredPiece::Absent | StoredPiece::Compact(_) => {}
            StoredPiece::Filtered(chunk, _) => {
                let start = stored.base.saturating_add(chunk.address);
                found.push(start..start.saturating_add(chunk.bytes));
            }
            StoredPiece::Plain(address) => {
                let wide = widen(piece.whole.shape(), &piece.from, stored.element_bytes);
                let (to_shape, to) = destination(&wide, &piece, region);
                each_run(piece.whole.shape(), &wide, &to_shape, &to, |run| {
                    let at = stored.at(address, run.from);
                    found.push(at..at.saturating_add(run.count * stored.element_bytes as u64));
                    Ok::<_, Error>(())
                })?;
            }
        }
        Ok(())
    })?;
    Ok(found)
}

/// Where a plain piece's bytes go: straight to the region, or, if it was widened, to a buffer of
/// their own.
fn destination(wide: &Region, piece: &Piece, region: &Region) -> (Vec<u64>, Region) {
    if *wide == piece.from {
        (region.shape().to_vec(), piece.to.clone())
    } else {
        (wide.shape().to_vec(), Region::whole(wide.shape()))
    }
}

impl Stored {
    /// Whether elements are stored as they are.
    fn is_plain(&self) -> bool {
        match &self.place {
            Place::Contiguous(address) => address.is_some(),
            Place::Chunked { pipeline, .. } => pipeline.is_empty(),
            Place::Compact(_) => false,
        }
    }

    /// The place in the file of element `index` of what begins at `address`.
    fn at(&self, address: u64, index: u64) -> u64 {
        let bytes = index.saturating_mul(self.element_bytes as u64);
        self.base.saturating_add(address).saturating_add(bytes)
    }
}

/// Reads one region.
pub struct Reader<'a> {
    stored: &'a Stored,
    fetched: std::vec::IntoIter<bytes::Bytes>,
}

impl<'a> Reader<'a> {
    /// A reader of `stored`, whose bytes were fetched as [`ranges`] says if its file is remote.
    pub fn new(stored: &'a Stored, fetched: Vec<bytes::Bytes>) -> Self {
        Self { stored, fetched: fetched.into_iter() }
    }

    /// The elements of `region` as they are stored.
    ///
    /// # Errors
    /// `DataInvalid`, `Unreachable`.
    pub fn read(mut self, region: &Region, counters: &ReadCounters) -> Result<MutableBuffer> {
        let width = self.stored.element_bytes;
        let stored = self.stored;
        if let Some(out) = self.read_one_run(region, counters)? {
            return Ok(out);
        }
        let mut out = MutableBuffer::from_len_zeroed(region.element_count() as usize * width);
        each_piece(stored, region, |piece| {
            let wanted_bytes = piece.from.element_count() * width as u64;
            match piece.stored {
                StoredPiece::Absent => lay_fill(stored, region, &piece.to, &mut out),
                StoredPiece::Compact(bytes) => {
                    let shape = piece.whole.shape();
                    let to = &piece.to;
                    copy_box(bytes, shape, &piece.from, &mut out, region.shape(), to, width);
                    counters.chunk(0, wanted_bytes);
                }
                StoredPiece::Plain(address) => {
                    let read_bytes = self.read_plain(&piece, address, region, &mut out)?;
                    counters.chunk(read_bytes, wanted_bytes);
                }
                StoredPiece::Filtered(chunk, pipeline) => {
                    self.read_filtered(&piece, chunk, pipeline, region, &mut out)?;
                    counters.chunk(chunk.bytes, chunk_bytes(stored));
                }
            }
            Ok(())
        })?;
        Ok(out)
    }

    /// A region that is stored as it is, in one run of a local file, without clearing memory first.
    fn read_one_run(
        &self,
        region: &Region,
        counters: &ReadCounters,
    ) -> Result<Option<MutableBuffer>> {
        let stored = self.stored;
        if !stored.is_plain() || stored.file.is_remote() {
            return Ok(None);
        }
        let bytes = region.element_count() * stored.element_bytes as u64;
        let ranges = ranges(stored, region)?;
        let [range] = ranges.as_slice() else { return Ok(None) };
        if range.end - range.start != bytes {
            return Ok(None);
        }
        let found = stored.file.read_uncleared(bytes as usize, range.start);
        if found.is_some() {
            counters.chunk(bytes, bytes);
        }
        Ok(found)
    }

    /// Fills `bytes` from `offset` of the file on.
    fn take(&mut self, bytes: &mut [u8], offset: u64) -> Result<()> {
        if !self.stored.file.is_remote() {
            return self.stored.file.read_at(bytes, offset);
        }
        let fetched = self.next_fetched(bytes.len())?;
        bytes.copy_from_slice(&fetched);
        Ok(())
    }

    fn next_fetched(&mut self, len: usize) -> Result<bytes::Bytes> {
        let next = self.fetched.next().filter(|bytes| bytes.len() == len);
        next.ok_or_else(|| Error::bug("what was fetched is not what is read"))
    }

    /// Reads what is stored as it is; gives back the bytes taken from the file.
    fn read_plain(
        &mut self,
        piece: &Piece,
        address: u64,
        region: &Region,
        out: &mut [u8],
    ) -> Result<u64> {
        let (stored, width) = (self.stored, self.stored.element_bytes);
        let shape = piece.whole.shape();
        let wide = widen(shape, &piece.from, width);
        let (to_shape, to) = destination(&wide, piece, region);
        let mut read_bytes = 0;
        let mut read_into = |out: &mut [u8]| {
            each_run(shape, &wide, &to_shape, &to, |run| {
                let (start, len) = (run.to as usize * width, run.count as usize * width);
                read_bytes += len as u64;
                self.take(&mut out[start..start + len], stored.at(address, run.from))
            })
        };
        if wide == piece.from {
            read_into(out)?;
        } else {
            SCRATCH.with_borrow_mut(|(_, box_bytes)| {
                let buffer = sized(box_bytes, wide.element_count() as usize * width);
                read_into(buffer)?;
                let from = piece.from.relative_to(wide.start());
                copy_box(buffer, wide.shape(), &from, out, region.shape(), &piece.to, width);
                give_back(box_bytes);
                Ok::<_, Error>(())
            })?;
        }
        Ok(read_bytes)
    }

    fn read_filtered(
        &mut self,
        piece: &Piece,
        chunk: StoredChunk,
        pipeline: &Pipeline,
        region: &Region,
        out: &mut [u8],
    ) -> Result<()> {
        let width = self.stored.element_bytes;
        let shape = piece.whole.shape();
        let offset = self.stored.at(chunk.address, 0);
        let len = chunk.bytes as usize;
        let fetched = match self.stored.file.is_remote() {
            true => Some(self.next_fetched(len)?),
            false => None,
        };
        SCRATCH.with_borrow_mut(|(stored_bytes, box_bytes)| {
            let bytes: &[u8] = match &fetched {
                Some(bytes) => bytes,
                None => {
                    let buffer = sized(stored_bytes, len);
                    self.stored.file.read_at(buffer, offset)?;
                    buffer
                }
            };
            if piece.from.shape() == shape && region.shape() == shape {
                pipeline.decode(bytes, chunk.mask, out)?;
            } else {
                let decoded = sized(box_bytes, chunk_bytes(self.stored) as usize);
                pipeline.decode(bytes, chunk.mask, decoded)?;
                copy_box(decoded, shape, &piece.from, out, region.shape(), &piece.to, width);
            }
            give_back(stored_bytes);
            give_back(box_bytes);
            Ok(())
        })
    }
}

/// The first `len` bytes of a buffer that grows as needed and keeps what it held.
fn sized(buffer: &mut Vec<u8>, len: usize) -> &mut [u8] {
    if buffer.len() < len {
        buffer.resize(len, 0);
    }
    &mut buffer[..len]
}

fn give_back(buffer: &mut Vec<u8>) {
    if buffer.capacity() > SCRATCH_BYTES_KEPT {
        *buffer = vec![];
    }
}

/// Lays the fill value down in a box of `out`, which holds zeros.
fn lay_fill(stored: &Stored, region: &Region, to: &Region, out: &mut [u8]) {
    let (fill, width) = (stored.fill.as_slice(), stored.element_bytes);
    if fill.is_empty() {
        return;
    }
    let whole = to.shape();
    let lay = |run: super::runs::Run| {
        let (start, len) = (run.to as usize * width, run.count as usize * width);
        for (element, to) in (run.to..).zip(out[start..start + len].chunks_exact_mut(width)) {
            let item = item_of(stored, region, element) * width;
            to.copy_from_slice(&fill[item..item + width]);
        }
        Ok::<_, std::convert::Infallible>(())
    };
    let Ok(()) = each_run(whole, &Region::whole(whole), region.shape(), to, lay);
}

/// Which item of its stored element an element of a region is, counted in row-major order; 0 unless
/// stored elements are arrays.
fn item_of(stored: &Stored, region: &Region, mut element: u64) -> usize {
    let shape = stored.grid.array_shape();
    let (mut item, mut step) = (0, 1);
    for axis in (0..shape.len()).rev().take(stored.element_axes) {
        let length = region.shape()[axis];
        item += (region.start()[axis] + element % length) * step;
        element /= length;
        step *= shape[axis];
    }
    item as usize
}
