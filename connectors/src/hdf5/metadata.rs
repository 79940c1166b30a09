//! Reads a file's metadata: small pieces at addresses that the file itself names.
//!
//! In: addresses, counted from the superblock. Out: bytes, through a cache of pages. What a file may
//! make us read is bounded, so that structures that point in circles end in an error. Not here: what
//! the pieces mean.

use std::collections::HashMap;
use std::sync::Arc;

use almagest_engine::{Error, Result};
use rust_hdf5::format::checksum::checksum_metadata;
use rust_hdf5::format::global_heap::GlobalHeapCollection;
use rust_hdf5::format::superblock::{SuperblockV0V1, SuperblockV2V3, detect_superblock_version};
use rust_hdf5::format::{BlockReader, FormatContext, FormatError, FormatResult};

use super::storage::FileBytes;

/// Bytes of a cached page of a local file, and of a remote one.
const PAGE_BYTES: [u64; 2] = [8 << 10, 64 << 10];
/// A piece of metadata larger than this is refused.
const PIECE_BYTES_MAX: usize = 256 << 20;
/// Bytes of pages held.
const CACHE_BYTES_MAX: u64 = 32 << 20;
/// A file may be read this many times over, plus [`READ_BYTES_FREE`], before it counts as circular.
const READS_OF_FILE_MAX: u64 = 8;
const READ_BYTES_FREE: u64 = 16 << 20;
const SIGNATURE: [u8; 8] = *b"\x89HDF\r\n\x1a\n";

/// The metadata of one open file.
pub struct Metadata {
    file: Arc<FileBytes>,
    /// Widths of addresses and sizes.
    pub context: FormatContext,
    /// Where address 0 lies in the file.
    pub base: u64,
    /// The root group's object header.
    pub root: u64,
    pages: HashMap<u64, Vec<u8>>,
    budget_bytes: u64,
    /// The last heap of values of any length, by its address: neighbours are asked for in turn.
    heap: Option<(u64, GlobalHeapCollection)>,
    failure: Option<Error>,
}

impl Metadata {
    /// Reads the superblock.
    ///
    /// # Errors
    /// `DataInvalid` if this is no HDF5 file or it is cut short; `Unreachable`.
    pub fn open(file: Arc<FileBytes>) -> Result<Self> {
        let budget_bytes = file.len().saturating_mul(READS_OF_FILE_MAX) + READ_BYTES_FREE;
        let context = FormatContext::default_v3();
        let pages = HashMap::new();
        let mut metadata = Self {
            file,
            context,
            base: 0,
            root: 0,
            pages,
            budget_bytes,
            heap: None,
            failure: None,
        };
        metadata.base = metadata.find_signature()?;
        let bytes = metadata.up_to(0, 256)?;
        let broken = |cause: FormatError| {
            Error::data_invalid(format!("not a readable HDF5 file: {cause}")).caused_by(cause)
        };
        let end = match detect_superblock_version(&bytes).map_err(broken)? {
            0 | 1 => {
                let block = SuperblockV0V1::decode(&bytes).map_err(broken)?;
                metadata.context.sizeof_addr = block.sizeof_offsets;
                metadata.context.sizeof_size = block.sizeof_lengths;
                metadata.root = block.root_symbol_table_entry.obj_header_addr;
                block.end_of_file_address
            }
            _ => {
                let block = SuperblockV2V3::decode(&bytes).map_err(broken)?;
                metadata.context.sizeof_addr = block.sizeof_offsets;
                metadata.context.sizeof_size = block.sizeof_lengths;
                metadata.root = block.root_group_object_header_address;
                block.end_of_file_address
            }
        };
        let sizes = [metadata.context.sizeof_addr, metadata.context.sizeof_size];
        if sizes.iter().any(|size| ![2, 4, 8].contains(size)) {
            return Err(Error::data_invalid(format!("addresses and sizes of {sizes:?} bytes")));
        }
        if end > metadata.file.len() {
            return Err(Error::data_invalid(format!(
                "the file is cut short: {} bytes of {end}",
                metadata.file.len()
            )));
        }
        Ok(metadata)
    }

    /// A superblock stands at byte 0, 512, 1024, 2048 and so on, after a user block.
    fn find_signature(&mut self) -> Result<u64> {
        let mut at = 0;
        while at + SIGNATURE.len() as u64 <= self.file.len() {
            if self.up_to(at, SIGNATURE.len())? == SIGNATURE {
                return Ok(at);
            }
            at = if at == 0 { 512 } else { at * 2 };
        }
        Err(Error::data_invalid("not an HDF5 file: it has no HDF5 signature"))
    }

    /// The file underneath.
    pub fn file(&self) -> &Arc<FileBytes> {
        &self.file
    }

    /// `len` bytes from `address` on, or those up to the end of the file.
    ///
    /// # Errors
    /// `DataInvalid` if the file has made us read too much, `Unreachable`.
    pub fn up_to(&mut self, address: u64, len: usize) -> Result<Vec<u8>> {
        if len > PIECE_BYTES_MAX {
            return Err(invalid(format!("a piece of {len} bytes")));
        }
        let start = self.base.saturating_add(address);
        let len = self.file.len().saturating_sub(start).min(len as u64);
        self.charge(len)?;
        let page_bytes = PAGE_BYTES[usize::from(self.file.is_remote())];
        let mut found = Vec::with_capacity(len as usize);
        if len > page_bytes * 8 {
            found.resize(len as usize, 0);
            self.file.read_at(&mut found, start)?;
            return Ok(found);
        }
        let mut at = start;
        while at < start + len {
            let number = at / page_bytes;
            let page = self.page(number, page_bytes)?;
            let from = (at - number * page_bytes) as usize;
            let to = page.len().min(from + (start + len - at) as usize);
            found.extend_from_slice(&page[from..to]);
            at += (to - from) as u64;
        }
        Ok(found)
    }

    fn page(&mut self, number: u64, page_bytes: u64) -> Result<&[u8]> {
        if !self.pages.contains_key(&number) {
            if self.pages.len() as u64 * page_bytes >= CACHE_BYTES_MAX {
                self.pages.clear();
            }
            let start = number * page_bytes;
            let mut page = vec![0; page_bytes.min(self.file.len() - start) as usize];
            self.file.read_at(&mut page, start)?;
            self.pages.insert(number, page);
        }
        Ok(self.pages.get(&number).map_or(&[], Vec::as_slice))
    }

    /// Exactly `len` bytes from `address` on.
    ///
    /// # Errors
    /// `DataInvalid` past the end of the file, `Unreachable`.
    pub fn exactly(&mut self, address: u64, len: usize) -> Result<Vec<u8>> {
        let end = self.base.saturating_add(address).saturating_add(len as u64);
        if end > self.file.len() {
            return Err(invalid(format!(
                "{len} bytes at {address} pass the end of the file; is it cut short?"
            )));
        }
        self.up_to(address, len)
    }

    /// A structure of `len` bytes with this signature, whose last four bytes are its checksum; what
    /// lies between.
    ///
    /// # Errors
    /// `DataInvalid`, `Unreachable`.
    pub fn checked(&mut self, address: u64, len: usize, signature: &[u8]) -> Result<Vec<u8>> {
        let mut bytes = self.exactly(address, len)?;
        let inside = len.checked_sub(4).filter(|inside| *inside >= signature.len());
        let inside = inside.ok_or_else(|| invalid(format!("a structure of {len} bytes")))?;
        let sum = checksum_metadata(&bytes[..inside]).to_le_bytes();
        if !bytes.starts_with(signature) || bytes[inside..] != sum {
            let name = String::from_utf8_lossy(signature);
            return Err(invalid(format!("the structure '{name}' at {address} is damaged")));
        }
        bytes.truncate(inside);
        bytes.drain(..signature.len());
        Ok(bytes)
    }

    /// The value `index` of the heap of values of any length at `address`.
    ///
    /// # Errors
    /// `DataInvalid`, `Unreachable`.
    pub fn heap_value(&mut self, address: u64, index: u64) -> Result<Vec<u8>> {
        let heap = match self.heap.take() {
            Some((at, heap)) if at == address => heap,
            _ => self.heap_at(address)?,
        };
        let value = u16::try_from(index).ok().and_then(|index| heap.get_object(index));
        let value = value.map(<[u8]>::to_vec);
        self.heap = Some((address, heap));
        let value = value.ok_or_else(|| invalid("a value that is not in its heap"))?;
        // many may be the same value of a small file
        self.charge(value.len() as u64)?;
        Ok(value)
    }

    /// Counts bytes that the file makes us hold.
    fn charge(&mut self, bytes: u64) -> Result<()> {
        self.budget_bytes = self.budget_bytes.checked_sub(bytes.max(16)).ok_or_else(|| {
            Error::data_invalid("its metadata refer to themselves: far more than the file was read")
        })?;
        Ok(())
    }

    fn heap_at(&mut self, address: u64) -> Result<GlobalHeapCollection> {
        let context = self.context;
        let head = self.up_to(address, 32)?;
        let len = GlobalHeapCollection::decode_size(&head, &context)
            .map_err(|cause| self.failed(cause))?;
        let bytes = self.exactly(address, len)?;
        Ok(GlobalHeapCollection::decode(&bytes, &context).map_err(|cause| self.failed(cause))?.0)
    }

    /// Why a decoder failed: storage if it was that, or the file.
    pub fn failed(&mut self, cause: FormatError) -> Error {
        match (self.failure.take(), cause) {
            (Some(error), _) => error,
            (None, FormatError::UnsupportedFeature(what)) => Error::unsupported(what),
            (None, cause) => invalid(cause.to_string()).caused_by(cause),
        }
    }
}

impl BlockReader for Metadata {
    fn read_block(&mut self, offset: u64, len: usize) -> FormatResult<Vec<u8>> {
        self.up_to(offset, len).map_err(|error| {
            let message = error.to_string();
            self.failure = Some(error);
            FormatError::InvalidData(message)
        })
    }
}

/// Metadata that contradict themselves.
pub fn invalid(what: impl std::fmt::Display) -> Error {
    Error::data_invalid(format!("its metadata cannot be read: {what}"))
}

/// Reads little-endian numbers from a structure, front to back.
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    /// The next `len` bytes.
    ///
    /// # Errors
    /// `DataInvalid` if fewer are left.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (found, rest) = self
            .0
            .split_at_checked(len)
            .ok_or_else(|| invalid(format!("{len} bytes expected, {} left", self.0.len())))?;
        self.0 = rest;
        Ok(found)
    }

    /// The next number, of `width` bytes.
    ///
    /// # Errors
    /// `DataInvalid` if fewer are left or it is wider than 8 bytes.
    pub fn number(&mut self, width: usize) -> Result<u64> {
        let found = self.take(width)?;
        let mut bytes = [0; 8];
        let to = bytes.get_mut(..width).ok_or_else(|| invalid("a number of over 8 bytes"))?;
        to.copy_from_slice(found);
        Ok(u64::from_le_bytes(bytes))
    }

    /// The next address, of `width` bytes; `None` if it is the undefined one.
    ///
    /// # Errors
    /// As [`Fields::number`].
    pub fn address(&mut self, width: usize) -> Result<Option<u64>> {
        let undefined = u64::MAX >> (64 - 8 * width.clamp(1, 8));
        Ok(Some(self.number(width)?).filter(|address| *address != undefined))
    }
}
