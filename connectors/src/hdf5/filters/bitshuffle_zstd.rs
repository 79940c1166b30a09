//! Bitshuffle with Zstandard, which `rust-hdf5` has only one by one.
//!
//! A chunk is its length (8 bytes) and that of a block (4), both big-endian; for each block its
//! compressed length (4) and Zstandard data; at the end what is left of under eight elements, as it
//! is. What the blocks hold is put together and bit-unshuffled in one go.

use almagest_engine::{Error, Result};
use rust_hdf5::format::messages::filter as decoders;

const BITSHUFFLE: u16 = 32008;
const ZSTD: u16 = 32015;
/// The codec's number among the filter's values.
const CODEC: u32 = 3;
/// Bitshuffle takes elements by eight.
const GROUP: usize = 8;

/// Whether this is bitshuffle with Zstandard.
pub fn is_this(filter: &decoders::Filter) -> bool {
    filter.id == BITSHUFFLE && filter.cd_values.get(4) == Some(&CODEC)
}

/// Decodes `stored` into `chunk`, which has exactly the chunk's declared size.
///
/// # Errors
/// `DataInvalid`.
pub fn decode(filter: &decoders::Filter, stored: &[u8], chunk: &mut [u8]) -> Result<()> {
    let damaged = || Error::data_invalid("a chunk of bitshuffle with zstd is damaged");
    let element = filter.cd_values.get(2).map_or(0, |bytes| *bytes as usize);
    let group = element.checked_mul(GROUP).filter(|group| *group > 0).ok_or_else(damaged)?;
    let (length, rest) = stored.split_first_chunk::<8>().ok_or_else(damaged)?;
    let (block, mut rest) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
    let block = u32::from_be_bytes(*block) as usize;
    if u64::from_be_bytes(*length) != chunk.len() as u64
        || block == 0
        || !block.is_multiple_of(group)
    {
        return Err(damaged());
    }
    let whole = chunk.len() / group * group;
    let mut shuffled = vec![0; chunk.len()];
    for part in shuffled[..whole].chunks_mut(block) {
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (packed, after) = after.split_at_checked(length).ok_or_else(damaged)?;
        undo(ZSTD, vec![], packed, part)?;
        rest = after;
    }
    if rest.len() != chunk.len() - whole {
        return Err(damaged());
    }
    shuffled[whole..].copy_from_slice(rest);
    let block = block.min(whole.next_multiple_of(group).max(group));
    let values = vec![0, 0, element as u32, (block / element) as u32, 0];
    undo(BITSHUFFLE, values, &shuffled, chunk)
}

fn undo(id: u16, cd_values: Vec<u32>, stored: &[u8], out: &mut [u8]) -> Result<()> {
    let filters = vec![decoders::Filter { id, flags: 0, cd_values }];
    let pipeline = decoders::FilterPipeline { filters };
    let outcome = decoders::reverse_filters_masked_into(&pipeline, stored, 0, out);
    outcome.map(|_| ()).map_err(|cause| {
        Error::data_invalid(format!("a chunk cannot be decoded: {cause}")).caused_by(cause)
    })
}
