//! Arrays of chunks: fixed (no axis grows) and extensible (one axis grows).
//!
//! HDF5 file format, VII.C and VII.D. The geometry of extensible arrays is `rust-hdf5`'s.

use almagest_engine::{Error, Result};
use rust_hdf5::format::chunk_index::extensible_array::{EaGeometry, ExtensibleArrayHeader};
use rust_hdf5::format::chunk_index::fixed_array::FixedArrayHeader;
use rust_hdf5::format::{FormatContext, UNDEF_ADDR};

use super::{Numbering, Shapes, StoredChunk, Table};
use crate::hdf5::metadata::{Fields, Metadata, invalid};

/// What stands before the elements of a block: version, class, and the header's address.
const CLASS_BYTES: usize = 2;

/// How an element is laid out.
struct Entries<'a> {
    context: FormatContext,
    element_bytes: usize,
    /// Width of the size field; `None` where chunks have no filters.
    size_bytes: Option<usize>,
    of: &'a Shapes<'a>,
    numbers: &'a Numbering,
}

impl<'a> Entries<'a> {
    fn new(
        context: FormatContext,
        element_bytes: u8,
        of: &'a Shapes<'a>,
        numbers: &'a Numbering,
    ) -> Result<Self> {
        let element_bytes = usize::from(element_bytes);
        let address_bytes = usize::from(context.sizeof_addr);
        let size_bytes = match of.filtered {
            false if element_bytes == address_bytes => None,
            true if element_bytes > address_bytes + 4 && element_bytes <= address_bytes + 12 => {
                Some(element_bytes - address_bytes - 4)
            }
            _ => return Err(invalid(format!("an index of elements of {element_bytes} bytes"))),
        };
        Ok(Self { context, element_bytes, size_bytes, of, numbers })
    }

    /// Adds the chunks `first`, `first + 1` … that `bytes` list.
    fn add(&self, bytes: &[u8], first: u64, table: &mut Table) -> Result<()> {
        for (number, element) in (first..).zip(bytes.chunks_exact(self.element_bytes)) {
            let mut fields = Fields(element);
            let address = fields.address(usize::from(self.context.sizeof_addr))?;
            let (bytes, mask) = match self.size_bytes {
                None => (self.of.chunk_bytes, 0),
                Some(width) => (fields.number(width)?, fields.number(4)? as u32),
            };
            if let Some(address) = address {
                let position = self.numbers.position_of(number);
                table.add(&position, StoredChunk { address, bytes, mask })?;
            }
        }
        Ok(())
    }

    /// Bytes of `count` elements; an error if they cannot lie in the file.
    fn bytes(&self, count: u64, metadata: &Metadata) -> Result<usize> {
        let bytes = count.checked_mul(self.element_bytes as u64);
        let bytes = bytes.filter(|bytes| *bytes <= metadata.file().len());
        bytes.map(|bytes| bytes as usize).ok_or_else(|| {
            invalid(format!("an index of {count} chunks, more than the file can hold"))
        })
    }
}

/// Reads the fixed array whose header is at `at`.
pub fn fixed(
    metadata: &mut Metadata,
    at: u64,
    of: &Shapes,
    numbers: &Numbering,
    table: &mut Table,
) -> Result<()> {
    let context = metadata.context;
    let head = metadata.up_to(at, 64)?;
    let header =
        FixedArrayHeader::decode(&head, &context).map_err(|cause| metadata.failed(cause))?;
    if header.data_blk_addr == UNDEF_ADDR {
        return Ok(());
    }
    let entries = Entries::new(context, header.element_size, of, numbers)?;
    let before = CLASS_BYTES + usize::from(context.sizeof_addr);
    let all_bytes = entries.bytes(header.num_elmts, metadata)?;
    if !header.is_paged() {
        let block = metadata.checked(header.data_blk_addr, 8 + before + all_bytes, b"FADB")?;
        return entries.add(&block[before..], 0, table);
    }
    let bitmap_bytes = (header.npages() as usize).div_ceil(8);
    let prefix = metadata.checked(header.data_blk_addr, 8 + before + bitmap_bytes, b"FADB")?;
    let written = &prefix[before..];
    let page_elements = header.dblk_page_nelmts();
    let page_bytes = entries.bytes(page_elements, metadata)? as u64 + 4;
    let pages_at = header.data_blk_addr.saturating_add((8 + before + bitmap_bytes) as u64);
    for page in 0..header.npages() {
        if !bit(written, page) {
            continue;
        }
        let first = page * page_elements;
        let count = page_elements.min(header.num_elmts - first);
        let bytes = entries.bytes(count, metadata)? + 4;
        let block = metadata.checked(pages_at.saturating_add(page * page_bytes), bytes, b"")?;
        entries.add(&block, first, table)?;
    }
    Ok(())
}

/// Reads the extensible array whose header is at `at`.
pub fn extensible(
    metadata: &mut Metadata,
    at: u64,
    of: &Shapes,
    numbers: &Numbering,
    table: &mut Table,
) -> Result<()> {
    let context = metadata.context;
    let head = metadata.up_to(at, 128)?;
    let header =
        ExtensibleArrayHeader::decode(&head, &context).map_err(|cause| metadata.failed(cause))?;
    if header.idx_blk_addr == UNDEF_ADDR {
        return Ok(());
    }
    let geometry = EaGeometry::new(
        header.idx_blk_elmts,
        header.data_blk_min_elmts,
        header.sup_blk_min_data_ptrs,
        header.max_nelmts_bits,
        header.max_dblk_page_nelmts_bits,
    );
    let geometry = geometry.map_err(|cause| metadata.failed(cause))?;
    let entries = Entries::new(context, header.raw_elmt_size, of, numbers)?;
    let address_bytes = usize::from(context.sizeof_addr);
    let before = CLASS_BYTES + address_bytes;
    let own_bytes = entries.bytes(geometry.idx_blk_elmts, metadata)?;
    let pointers = geometry.ndblk_addrs + geometry.nsblk_addrs;
    let len = 8 + before + own_bytes + pointers * address_bytes;
    let block = metadata.checked(header.idx_blk_addr, len, b"EAIB")?;
    entries.add(&block[before..before + own_bytes], 0, table)?;

    let reader = Extensible {
        entries,
        before: before + usize::from(header.max_nelmts_bits).div_ceil(8),
        geometry: &geometry,
    };
    let mut pointers = Fields(&block[before + own_bytes..]);
    for super_block in 0..geometry.iblock_nsblks {
        let info = geometry.sblk[super_block];
        for number in 0..info.ndblks {
            let first = geometry.idx_blk_elmts + info.start_idx + number * info.dblk_nelmts;
            if let Some(at) = pointers.address(address_bytes)? {
                if geometry.is_sblk_paged(super_block) {
                    return Err(Error::unsupported("an extensible array with pages of this kind"));
                }
                reader.data_block(metadata, at, first, info.dblk_nelmts, table)?;
            }
        }
    }
    for super_block in geometry.iblock_nsblks..geometry.sblk.len() {
        if let Some(at) = pointers.address(address_bytes)? {
            reader.super_block(metadata, at, super_block, table)?;
        }
    }
    Ok(())
}

struct Extensible<'a> {
    entries: Entries<'a>,
    /// Bytes between a block's signature and what it holds.
    before: usize,
    geometry: &'a EaGeometry,
}

impl Extensible<'_> {
    fn data_block(
        &self,
        metadata: &mut Metadata,
        at: u64,
        first: u64,
        count: u64,
        table: &mut Table,
    ) -> Result<()> {
        let bytes = self.entries.bytes(count, metadata)?;
        let block = metadata.checked(at, 8 + self.before + bytes, b"EADB")?;
        self.entries.add(&block[self.before..], first, table)
    }

    fn super_block(
        &self,
        metadata: &mut Metadata,
        at: u64,
        number: usize,
        table: &mut Table,
    ) -> Result<()> {
        let info = self.geometry.sblk[number];
        let address_bytes = usize::from(metadata.context.sizeof_addr);
        self.entries.bytes(info.ndblks, metadata)?;
        let pointer_bytes = info.ndblks as usize * address_bytes;
        let bitmap_bytes =
            (info.ndblks as usize).saturating_mul(self.geometry.dblk_page_init_size(number));
        let len = bitmap_bytes.saturating_add(8 + self.before + pointer_bytes);
        let block = metadata.checked(at, len, b"EASB")?;
        let written = &block[self.before..self.before + bitmap_bytes];
        let mut pointers = Fields(&block[self.before + bitmap_bytes..]);
        let pages = self.geometry.npages(number);
        for data_block in 0..info.ndblks {
            let first =
                self.geometry.idx_blk_elmts + info.start_idx + data_block * info.dblk_nelmts;
            let Some(at) = pointers.address(address_bytes)? else { continue };
            if pages == 0 {
                self.data_block(metadata, at, first, info.dblk_nelmts, table)?;
                continue;
            }
            let page_elements = self.geometry.dblk_page_nelmts;
            let page_bytes = self.entries.bytes(page_elements, metadata)? + 4;
            let pages_at = at.saturating_add((8 + self.before) as u64);
            for page in (0..pages).filter(|page| bit(written, data_block * pages + page)) {
                let at = pages_at.saturating_add(page * page_bytes as u64);
                let block = metadata.checked(at, page_bytes, b"")?;
                self.entries.add(&block, first + page * page_elements, table)?;
            }
        }
        Ok(())
    }
}

/// Bit `index`, counted from the top of each byte.
fn bit(bytes: &[u8], index: u64) -> bool {
    bytes.get(index as usize / 8).is_some_and(|byte| byte & (0x80 >> (index % 8)) != 0)
}
