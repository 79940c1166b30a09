//! Undoes a chunk's filters: gzip by libdeflate, the others by `rust-hdf5`'s decoders.

use almagest_engine::{Error, Result};
use hdf5_pure::Filter;
use rust_hdf5::format::messages::filter as decoders;

const DEFLATE: u16 = 1;

/// The filters that are read, with their names. Each is compared with h5py in `tests/`.
const KNOWN: [(u16, &str); 4] =
    [(DEFLATE, "gzip"), (2, "shuffle"), (3, "fletcher32"), (32000, "lzf")];

/// The filters of a dataset, in the order of writing.
#[derive(Clone, Debug)]
pub struct Pipeline {
    filters: Vec<decoders::Filter>,
}

impl Pipeline {
    /// The pipeline of a dataset.
    ///
    /// # Errors
    /// `Unsupported`, naming the filter.
    pub fn new(filters: &[Filter]) -> Result<Self> {
        for filter in filters {
            if name_of(filter.id).is_none() {
                let name = filter.name.as_deref().unwrap_or("no name given");
                let known: Vec<&str> = KNOWN.iter().map(|(_, name)| *name).collect();
                return Err(Error::unsupported(format!(
                    "filter {} ({name}); readable are {}",
                    filter.id,
                    known.join(", ")
                )));
            }
        }
        let filters = filters.iter().map(|filter| decoders::Filter {
            id: filter.id,
            flags: u16::from(filter.is_optional),
            cd_values: filter.client_data.clone(),
        });
        Ok(Self { filters: filters.collect() })
    }

    /// Whether chunks are stored as they are.
    pub fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// For people, such as `shuffle, gzip(4)`.
    pub fn describe(&self) -> String {
        let names = self.filters.iter().map(|filter| {
            let name = name_of(filter.id).unwrap_or("?");
            match (filter.id, filter.cd_values.first()) {
                (DEFLATE, Some(level)) => format!("{name}({level})"),
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
        match self.filters.split_last() {
            Some((last, rest)) if last.id == DEFLATE && mask == 0 => {
                if rest.is_empty() {
                    return inflate(stored, chunk);
                }
                let mut inflated = vec![0; chunk.len()];
                inflate(stored, &mut inflated)?;
                undo(rest, &inflated, 0, chunk)
            }
            _ => undo(&self.filters, stored, mask, chunk),
        }
    }
}

fn name_of(id: u16) -> Option<&'static str> {
    KNOWN.iter().find(|(known, _)| *known == id).map(|(_, name)| *name)
}

fn inflate(stored: &[u8], chunk: &mut [u8]) -> Result<()> {
    let outcome = libdeflater::Decompressor::new().zlib_decompress(stored, chunk);
    match outcome {
        Ok(bytes) if bytes == chunk.len() => Ok(()),
        Ok(bytes) => Err(Error::data_invalid(format!(
            "a gzip chunk holds {bytes} bytes where {} were expected",
            chunk.len()
        ))),
        Err(cause) => Err(Error::data_invalid(format!("a gzip chunk is damaged: {cause}"))),
    }
}

fn undo(filters: &[decoders::Filter], stored: &[u8], mask: u32, chunk: &mut [u8]) -> Result<()> {
    let pipeline = decoders::FilterPipeline { filters: filters.to_vec() };
    decoders::reverse_filters_masked_into(&pipeline, stored, mask, chunk)
        .map(|_| ())
        .map_err(|cause| Error::data_invalid(format!("a chunk cannot be decoded: {cause}")))
}
