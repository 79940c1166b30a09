//! Undoes a chunk's filters.
//!
//! In: stored bytes and the dataset's pipeline. Out: the chunk, in the buffer where it belongs.
//! Shuffle, gzip and Fletcher's checksum, in the order in which everyone uses them, are undone here
//! (gzip by libdeflate); every other pipeline by `rust-hdf5`'s decoders.

mod bitshuffle_zstd;
mod fletcher32;
mod shuffle;

use std::cell::RefCell;

use almagest_engine::{Error, Result};
use rust_hdf5::format::messages::filter as decoders;

const DEFLATE: u16 = 1;
const SHUFFLE: u16 = 2;
const FLETCHER32: u16 = 3;
const BLOSC: u16 = 32001;
const BITSHUFFLE: u16 = 32008;

/// The filters that are read, with their names. Each is compared with h5py in `tests/`.
const KNOWN: [(u16, &str); 12] = [
    (DEFLATE, "gzip"),
    (SHUFFLE, "shuffle"),
    (FLETCHER32, "fletcher32"),
    (4, "szip"),
    (5, "nbit"),
    (6, "scaleoffset"),
    (307, "bzip2"),
    (32000, "lzf"),
    (BLOSC, "blosc"),
    (32004, "lz4"),
    (BITSHUFFLE, "bitshuffle"),
    (32015, "zstd"),
];
/// Filters that are met but not read, with their names.
const REFUSED: [(u16, &str); 9] = [
    (32002, "mafisc"),
    (32013, "zfp"),
    (32016, "fcidecomp"),
    (32017, "sz"),
    (32019, "jpeg"),
    (32024, "sz3"),
    (32026, "blosc2"),
    (32028, "sperr"),
    (32018, "fpzip"),
];
/// A block of bitshuffle larger than this is refused.
const BLOCK_MAX: u64 = 64 << 20;
/// A thread's buffer larger than this is given back after use.
const SCRATCH_BYTES_KEPT: usize = 16 << 20;

/// The filters of a dataset, in the order of writing.
#[derive(Clone, Debug)]
pub struct Pipeline {
    filters: Vec<decoders::Filter>,
    usual: Option<Usual>,
}

/// Shuffle, then gzip, then a checksum; each may be missing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Usual {
    shuffle_width: Option<usize>,
    deflate: bool,
    fletcher32: bool,
}

/// What a thread keeps from one chunk to the next.
struct Scratch {
    inflate: libdeflater::Decompressor,
    shuffled: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        inflate: libdeflater::Decompressor::new(),
        shuffled: vec![],
    });
}

impl Pipeline {
    /// The pipeline of a dataset whose elements have `element_bytes`.
    ///
    /// # Errors
    /// `Unsupported`, naming the filter.
    pub fn new(filters: Vec<decoders::Filter>, element_bytes: usize) -> Result<Self> {
        for filter in &filters {
            if name_of(filter.id).is_none() {
                let named = REFUSED.iter().find(|(known, _)| *known == filter.id);
                let name = named.map_or("unknown", |(_, name)| *name);
                let known: Vec<&str> = KNOWN.iter().map(|(_, name)| *name).collect();
                return Err(Error::unsupported(format!(
                    "filter {} ({name}); readable are {}",
                    filter.id,
                    known.join(", ")
                )));
            }
        }
        if filters.iter().any(|filter| filter.id == BITSHUFFLE && block_bytes(filter) > BLOCK_MAX) {
            return Err(Error::data_invalid("bitshuffle with blocks larger than any writer's"));
        }
        if filters.len() > 1 && filters.iter().any(bitshuffle_zstd::is_this) {
            return Err(Error::unsupported("bitshuffle with zstd beside other filters"));
        }
        let usual = usual(&filters, element_bytes);
        Ok(Self { filters, usual })
    }

    /// Whether chunks are stored as they are.
    pub fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// For people, such as `shuffle, gzip(4)`.
    pub fn describe(&self) -> String {
        let names = self.filters.iter().map(|filter| {
            let name = name_of(filter.id).unwrap_or("?");
            let value = |index: usize| filter.cd_values.get(index).copied();
            match filter.id {
                DEFLATE => value(0).map_or(name.into(), |level| format!("{name}({level})")),
                BLOSC => match value(6) {
                    Some(codec @ 0..=5) => {
                        let codecs = ["blosclz", "lz4", "lz4hc", "snappy", "zlib", "zstd"];
                        format!("{name}({})", codecs[codec as usize])
                    }
                    _ => name.into(),
                },
                BITSHUFFLE => match value(4) {
                    Some(2) => format!("{name}(lz4)"),
                    Some(3) => format!("{name}(zstd)"),
                    _ => name.into(),
                },
                _ => name.to_string(),
            }
        });
        names.collect::<Vec<_>>().join(", ")
    }

    /// Decodes `stored` into `chunk`, which has exactly the chunk's declared size. A set bit in
    /// `mask` skips that filter.
    ///
    /// # Errors
    /// `DataInvalid`.
    pub fn decode(&self, stored: &[u8], mask: u32, chunk: &mut [u8]) -> Result<()> {
        match self.usual {
            Some(usual) if mask == 0 => SCRATCH.with_borrow_mut(|scratch| {
                let outcome = usual.decode(stored, chunk, scratch);
                if scratch.shuffled.capacity() > SCRATCH_BYTES_KEPT {
                    scratch.shuffled = vec![];
                }
                outcome
            }),
            _ if mask == 0 && self.filters.iter().all(bitshuffle_zstd::is_this) => {
                bitshuffle_zstd::decode(&self.filters[0], stored, chunk)
            }
            _ => {
                let pipeline = decoders::FilterPipeline { filters: self.filters.clone() };
                decoders::reverse_filters_masked_into(&pipeline, stored, mask, chunk)
                    .map(|_| ())
                    .map_err(|cause| {
                        Error::data_invalid(format!("a chunk cannot be decoded: {cause}"))
                            .caused_by(cause)
                    })
            }
        }
    }
}

impl Usual {
    fn decode(self, mut stored: &[u8], chunk: &mut [u8], scratch: &mut Scratch) -> Result<()> {
        if self.fletcher32 {
            stored = fletcher32::checked(stored)?;
        }
        match (self.deflate, self.shuffle_width) {
            (true, None) => inflate(&mut scratch.inflate, stored, chunk),
            (true, Some(width)) => {
                if scratch.shuffled.len() < chunk.len() {
                    scratch.shuffled.resize(chunk.len(), 0);
                }
                let shuffled = &mut scratch.shuffled[..chunk.len()];
                inflate(&mut scratch.inflate, stored, shuffled)?;
                shuffle::undo(shuffled, width, chunk);
                Ok(())
            }
            (false, width) => {
                if stored.len() != chunk.len() {
                    return Err(wrong_size(stored.len(), chunk.len()));
                }
                shuffle::undo(stored, width.unwrap_or(1), chunk);
                Ok(())
            }
        }
    }
}

fn usual(filters: &[decoders::Filter], element_bytes: usize) -> Option<Usual> {
    let mut usual = Usual::default();
    let mut last = 0;
    for filter in filters {
        match filter.id {
            SHUFFLE => {
                let width = filter.cd_values.first().map(|width| *width as usize);
                usual.shuffle_width = Some(width.unwrap_or(element_bytes));
            }
            DEFLATE => usual.deflate = true,
            FLETCHER32 => usual.fletcher32 = true,
            _ => return None,
        }
        let order = match filter.id {
            SHUFFLE => 1,
            DEFLATE => 2,
            _ => 3,
        };
        if order <= last {
            return None;
        }
        last = order;
    }
    Some(usual)
}

/// Bytes of a block of bitshuffle, as its values say.
fn block_bytes(filter: &decoders::Filter) -> u64 {
    let value = |index: usize| u64::from(filter.cd_values.get(index).copied().unwrap_or(0));
    value(2).max(1) * value(3).max(1)
}

fn name_of(id: u16) -> Option<&'static str> {
    KNOWN.iter().find(|(known, _)| *known == id).map(|(_, name)| *name)
}

fn inflate(
    decompressor: &mut libdeflater::Decompressor,
    stored: &[u8],
    chunk: &mut [u8],
) -> Result<()> {
    match decompressor.zlib_decompress(stored, chunk) {
        Ok(bytes) if bytes == chunk.len() => Ok(()),
        Ok(bytes) => Err(wrong_size(bytes, chunk.len())),
        Err(cause) => Err(Error::data_invalid(format!("a gzip chunk is damaged: {cause}"))),
    }
}

fn wrong_size(found: usize, expected: usize) -> Error {
    Error::data_invalid(format!("a chunk holds {found} bytes where {expected} were expected"))
}
