//! What an Arrow file says of its own sizes, before memory is taken for it.
//!
//! In: a file, and the part of it that is to be read. Out: nothing, or `DataInvalid`: it is no Arrow file, or claims
//! more than it has. Arrow's readers take what lengths say (1.35 GB for a text file of 8 bytes) and find out
//! afterwards. The file format is looked at from its footer, the stream format from message to message; bodies are
//! passed over but for the eight bytes before each compressed buffer that say how long it will be.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::ipc::convert::fb_to_schema;
use arrow::ipc::{
    Block, Footer, Message, MessageHeader, RecordBatch, root_as_footer, root_as_message,
};
use bytes::Bytes;
use datafusion::datasource::listing::FileRange;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use crate::{Error, Result};

/// The first and last bytes of a file.
const MAGIC: &[u8; 6] = b"ARROW1";
/// What stands before the length of a message since Arrow 0.15.
const CONTINUATION: [u8; 4] = [0xff; 4];
/// The length of the footer, and the last magic.
const TAIL_BYTES: u64 = 10;
/// Bytes that are fetched together.
const WINDOW_BYTES: u64 = 64 << 10;
/// The same from a store elsewhere, where each request takes its time.
const REMOTE_WINDOW_BYTES: u64 = 4 << 20;
/// A compressed byte never stands for more: Zstandard's blocks of 128 KiB take four at least.
const RATIO_MAX: u64 = 64 << 10;

/// Where a batch is: its description, and behind it its values.
struct Place {
    begin: u64,
    body: u64,
    end: u64,
}

/// A file that is looked into.
pub struct Looked<'a> {
    store: &'a Arc<dyn ObjectStore>,
    file: &'a ObjectMeta,
    window_bytes: u64,
    start: u64,
    bytes: Bytes,
}

impl<'a> Looked<'a> {
    /// The file, of which nothing has been fetched.
    pub fn new(store: &'a Arc<dyn ObjectStore>, file: &'a ObjectMeta, is_local: bool) -> Self {
        let window_bytes = if is_local { WINDOW_BYTES } else { REMOTE_WINDOW_BYTES };
        Self { store, file, window_bytes, start: 0, bytes: Bytes::new() }
    }

    /// Some bytes, which must lie in the file.
    async fn at(&mut self, start: u64, length: u64) -> Result<Bytes> {
        let end = start.checked_add(length).filter(|end| *end <= self.file.size);
        let end = end.ok_or_else(|| self.short(start, length))?;
        let held = self.start..self.start + self.bytes.len() as u64;
        if start < held.start || end > held.end {
            let until = end.max(start.saturating_add(self.window_bytes)).min(self.file.size);
            self.bytes = self.store.get_range(&self.file.location, start..until).await?;
            self.start = start;
        }
        let (from, to) = ((start - self.start) as usize, (end - self.start) as usize);
        match to <= self.bytes.len() {
            true => Ok(self.bytes.slice(from..to)),
            false => Err(self.short(start, length)),
        }
    }

    fn short(&self, start: u64, length: u64) -> Error {
        Error::data_invalid(format!(
            "the file says that {length} bytes stand at byte {start}, but it ends at {}; it is damaged or no Arrow \
             file",
            self.file.size
        ))
    }

    /// Whether the file begins and ends as the file format does; else it must begin as a stream.
    ///
    /// # Errors
    /// `DataInvalid` if it is neither.
    pub async fn is_file(&mut self) -> Result<bool> {
        let size = self.file.size;
        if size >= MAGIC.len() as u64 && *self.at(0, MAGIC.len() as u64).await? == MAGIC[..] {
            if size < TAIL_BYTES || !self.at(size - TAIL_BYTES, TAIL_BYTES).await?.ends_with(MAGIC)
            {
                return Err(Error::data_invalid(
                    "the file begins as an Arrow file and does not end as one; it was cut short",
                ));
            }
            return Ok(true);
        }
        let no_arrow = || {
            Error::data_invalid(
                "the file is no Arrow file: it begins neither with ARROW1 nor with the schema of a stream",
            )
        };
        let (schema, _) = self.message(0).await.map_err(|_| no_arrow())?.ok_or_else(no_arrow)?;
        let header = root_as_message(&schema).map_err(|_| no_arrow())?.header_type();
        if header == MessageHeader::Schema { Ok(false) } else { Err(no_arrow()) }
    }

    /// The description of the message at a place and where its body begins; absent at the stream's end.
    async fn message(&mut self, at: u64) -> Result<Option<(Bytes, u64)>> {
        if at == self.file.size {
            return Ok(None);
        }
        let mut begin = self.at(at, 4).await?;
        let mut at = at + 4;
        if begin[..] == CONTINUATION {
            begin = self.at(at, 4).await?;
            at += 4;
        }
        let length = i32::from_le_bytes([begin[0], begin[1], begin[2], begin[3]]);
        let length = u64::try_from(length).map_err(|_| self.short(at, u64::MAX))?;
        if length == 0 {
            return Ok(None);
        }
        Ok(Some((self.at(at, length).await?, at + length)))
    }

    /// Checks what is read of the file: the batches that begin in `range`, or all.
    ///
    /// # Errors
    /// `DataInvalid` if anything lies outside of the file or is longer than it can be, `Exhausted` if a batch takes
    /// more than `bytes_max`.
    pub async fn check(&mut self, range: Option<&FileRange>, bytes_max: u64) -> Result<()> {
        match self.is_file().await? {
            true => self.check_file(range, bytes_max).await,
            false => self.check_stream(bytes_max).await,
        }
    }

    /// The columns that the footer names, once the places in it are checked; absent for a stream. DataFusion
    /// takes a file for a stream whose footer it does not understand, and its first letters for a length.
    ///
    /// # Errors
    /// `DataInvalid`.
    ///
    /// # Panics
    /// For types that there are not: see [`super::careful`].
    pub async fn schema(&mut self) -> Result<Option<SchemaRef>> {
        if !self.is_file().await? {
            return Ok(None);
        }
        self.blocks().await?;
        let bytes = self.footer().await?;
        let footer: Footer = root_as_footer(&bytes).map_err(unreadable)?;
        let schema = footer.schema();
        let schema = schema.ok_or_else(|| Error::data_invalid("the file names no columns"))?;
        Ok(Some(Arc::new(fb_to_schema(schema))))
    }

    async fn footer(&mut self) -> Result<Bytes> {
        let size = self.file.size;
        let tail = self.at(size - TAIL_BYTES, 4).await?;
        let length = i32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]);
        let footer = u64::try_from(length)
            .ok()
            .and_then(|length| Some(((size - TAIL_BYTES).checked_sub(length)?, length)));
        let (start, length) = footer.ok_or_else(|| {
            Error::data_invalid(format!("the file says that its footer has {length} bytes"))
        })?;
        self.at(start, length).await
    }

    /// The places of dictionaries and batches, all of which lie in the file.
    async fn blocks(&mut self) -> Result<(Vec<Place>, Vec<Place>)> {
        let size = self.file.size;
        let bytes = self.footer().await?;
        let footer: Footer = root_as_footer(&bytes).map_err(unreadable)?;
        let place = |block: &Block| {
            let [meta, body] = [i64::from(block.metaDataLength()), block.bodyLength()];
            let (meta, body) = (u64::try_from(meta).ok()?, u64::try_from(body).ok()?);
            let begin = u64::try_from(block.offset()).ok()?;
            let end = begin.checked_add(meta)?.checked_add(body).filter(|end| *end <= size)?;
            (meta > 0).then_some(Place { begin, body: begin + meta, end })
        };
        let places = |blocks: Vec<&Block>| {
            let places = blocks.into_iter().map(|block| {
                place(block).ok_or_else(|| {
                    Error::data_invalid(format!(
                        "the file says that a batch of {} and {} bytes stands at byte {}, but it ends at {size}",
                        block.metaDataLength(),
                        block.bodyLength(),
                        block.offset()
                    ))
                })
            });
            places.collect::<Result<Vec<_>>>()
        };
        let dictionaries = places(footer.dictionaries().iter().flatten().collect())?;
        Ok((dictionaries, places(footer.recordBatches().iter().flatten().collect())?))
    }

    async fn check_file(&mut self, range: Option<&FileRange>, bytes_max: u64) -> Result<()> {
        let (dictionaries, batches) = self.blocks().await?;
        let is_read = |block: &Place| {
            range.is_none_or(|range| (range.start as u64..range.end as u64).contains(&block.begin))
        };
        let batches = batches.into_iter().filter(is_read);
        for block in dictionaries.into_iter().chain(batches) {
            let found = self.message(block.begin).await?;
            // readers look for the body where the footer says, and for the description where it is
            let Some((description, body)) = found.filter(|(_, body)| *body == block.body) else {
                return Err(Error::data_invalid(format!(
                    "the file says that a batch is described in the {} bytes from byte {} on, and another length \
                     stands there",
                    block.body - block.begin,
                    block.begin
                )));
            };
            self.check_body(&description, body, block.end, bytes_max).await?;
        }
        Ok(())
    }

    async fn check_stream(&mut self, bytes_max: u64) -> Result<()> {
        let mut at = 0;
        while let Some((description, body)) = self.message(at).await? {
            let length = root_as_message(&description).map_err(unreadable)?.bodyLength();
            let length = u64::try_from(length).unwrap_or(u64::MAX);
            let end = body.checked_add(length).filter(|end| *end <= self.file.size);
            at = end.ok_or_else(|| self.short(body, length))?;
            self.check_body(&description, body, at, bytes_max).await?;
        }
        Ok(())
    }

    /// Checks that the buffers of a batch lie in its body, and what compressed ones will be.
    async fn check_body(
        &mut self,
        description: &Bytes,
        body: u64,
        end: u64,
        bytes_max: u64,
    ) -> Result<()> {
        let (buffers, is_compressed) = {
            let message: Message = root_as_message(description).map_err(unreadable)?;
            let dictionary = message.header_as_dictionary_batch();
            let batch: Option<RecordBatch> = match dictionary {
                Some(dictionary) => dictionary.data(),
                None => message.header_as_record_batch(),
            };
            let Some(batch) = batch else { return Ok(()) };
            let buffers = batch.buffers();
            let buffers = buffers.iter().flatten();
            let buffers: Vec<(i64, i64)> = buffers.map(|at| (at.offset(), at.length())).collect();
            (buffers, batch.compression().is_some())
        };
        let mut all = 0_u64;
        for (offset, length) in buffers {
            let place = u64::try_from(offset).ok().and_then(|offset| body.checked_add(offset));
            let length = u64::try_from(length).ok();
            let (Some(place), Some(length)) = (place, length) else {
                return Err(Error::data_invalid("a buffer of the file begins before it"));
            };
            if place.checked_add(length).is_none_or(|stop| stop > end) {
                return Err(self.short(place, length));
            }
            let claimed = match is_compressed && length >= 8 {
                false => length,
                true => {
                    let claim = self.at(place, 8).await?;
                    let claim =
                        claim.iter().rev().fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
                    // -1: as it is
                    if claim == u64::MAX { length } else { claim }
                }
            };
            if claimed > length.saturating_mul(RATIO_MAX) {
                return Err(Error::data_invalid(format!(
                    "the file says that {length} compressed bytes at byte {place} are {claimed} bytes"
                )));
            }
            all = all.saturating_add(claimed);
        }
        if all > bytes_max {
            return Err(Error::exhausted(format!(
                "a batch of the file takes {all} bytes, and at most {bytes_max} are taken for one; let the memory \
                 limit be larger, or write the file with smaller batches"
            )));
        }
        Ok(())
    }
}

fn unreadable(cause: impl std::fmt::Display) -> Error {
    Error::data_invalid(format!("the file's own description cannot be read: {cause}"))
}
