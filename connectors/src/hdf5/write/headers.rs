//! The bytes of superblock, groups, dataset headers and labels of axes.
//!
//! Version 0 superblock (specification II.A), version 1 object headers (IV.A.1.a), symbol-table
//! group (III.A to III.D), global heap (III.E); numbers are little-endian, addresses and lengths of 8 bytes.

use almagest_engine::{Error, Result};
use arrow::datatypes::DataType;

use super::NewDataset;

/// An address that points nowhere.
pub const UNDEFINED: u64 = u64::MAX;
/// Length of the superblock, root entry included.
pub const SUPERBLOCK_BYTES: u64 = 96;
/// Default `group internal node K`.
const GROUP_INTERNAL_K: usize = 16;
/// Default `group leaf node K`.
pub const GROUP_LEAF_K: usize = 4;
/// Length of the smallest global heap that HDF5's library makes.
const HEAP_BYTES_MIN: usize = 4096;

/// Bytes that grow by little-endian numbers.
#[derive(Default)]
pub struct Bytes(Vec<u8>);

impl Bytes {
    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Appends these bytes.
    pub fn text(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Appends one byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.text(&[value])
    }

    /// Appends two bytes.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.text(&value.to_le_bytes())
    }

    /// Appends four bytes.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.text(&value.to_le_bytes())
    }

    /// Appends eight bytes.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.text(&value.to_le_bytes())
    }

    /// Appends zeros up to the length `end`.
    pub fn pad_to(&mut self, end: usize) -> &mut Self {
        self.0.resize(end.max(self.0.len()), 0);
        self
    }

    fn align(&mut self) -> &mut Self {
        self.pad_to(self.len().next_multiple_of(8))
    }
}

impl From<Bytes> for Vec<u8> {
    fn from(bytes: Bytes) -> Self {
        bytes.0
    }
}

/// A group, encoded, with what the superblock repeats of it if it is the root.
pub struct Group {
    /// Object header, B-tree, heap and symbol table, in this order.
    pub bytes: Vec<u8>,
    /// Where it stands.
    pub address: u64,
    tree: u64,
    heap: u64,
}

/// The superblock of a file of `end` bytes.
pub fn superblock(root: &Group, leaf_k: usize, end: u64) -> Vec<u8> {
    let mut bytes = Bytes::default();
    bytes.text(b"\x89HDF\r\n\x1a\n").text(&[0, 0, 0, 0, 0, 8, 8, 0]);
    bytes.u16(leaf_k as u16).u16(GROUP_INTERNAL_K as u16).u32(0);
    bytes.u64(0).u64(UNDEFINED).u64(end).u64(UNDEFINED);
    bytes.u64(0).u64(root.address).u32(1).u32(0).u64(root.tree).u64(root.heap);
    bytes.into()
}

/// A group of `members`, sorted by name, with the addresses of their headers. Its first byte will
/// stand at `address`. One leaf holds all: the file's leaf K must be half of them or more.
pub fn group(members: &[(&str, u64)], leaf_k: usize, address: u64) -> Group {
    let mut names = Bytes::default();
    names.u64(0); // the empty name, left of all others
    let mut name_offsets = vec![];
    for (name, _) in members {
        name_offsets.push(names.len() as u64);
        names.text(name.as_bytes()).u8(0).align();
    }
    let tree = address + 16 + 8 + 16;
    let heap = tree + (24 + (2 * GROUP_INTERNAL_K + 1) * 8 + 2 * GROUP_INTERNAL_K * 8) as u64;
    let table = heap + 32 + names.len() as u64;

    let mut bytes = Bytes::default();
    let mut message = Bytes::default();
    message.u64(tree).u64(heap);
    object_header(&mut bytes, &[(0x11, message)]);
    bytes.text(b"TREE").u8(0).u8(0).u16(u16::from(!members.is_empty()));
    bytes.u64(UNDEFINED).u64(UNDEFINED);
    bytes.u64(0).u64(table).u64(name_offsets.last().copied().unwrap_or(0));
    bytes.pad_to((heap - address) as usize);
    bytes.text(b"HEAP").u32(0).u64(names.len() as u64).u64(1).u64(heap + 32).text(&names.0);
    bytes.text(b"SNOD").u8(1).u8(0).u16(members.len() as u16);
    for ((_, header), name_offset) in members.iter().zip(&name_offsets) {
        bytes.u64(*name_offset).u64(*header).u32(0).u32(0).u64(0).u64(0);
    }
    bytes.pad_to((table - address) as usize + 8 + 2 * leaf_k * 40);
    Group { bytes: bytes.into(), address, tree, heap }
}

/// A global heap that holds the names of axes, the first as object 1.
pub fn label_heap(dims: &[String]) -> Vec<u8> {
    let mut objects = Bytes::default();
    for (object, name) in (1_u16..).zip(dims) {
        objects.u16(object).u16(0).u32(0).u64(name.len() as u64).text(name.as_bytes()).align();
    }
    const HEAD_BYTES: usize = 16;
    let free = HEAP_BYTES_MIN.saturating_sub(HEAD_BYTES + objects.len()).max(HEAD_BYTES);
    let total = HEAD_BYTES + objects.len() + free;
    let mut bytes = Bytes::default();
    bytes.text(b"GCOL").u32(1).u64(total as u64).text(&objects.0);
    bytes.u16(0).u16(0).u32(0).u64(free as u64).pad_to(total); // object 0 is the free space
    bytes.into()
}

/// `DIMENSION_LABELS` as H5DSset_label writes it: strings of variable length, here in the heap at
/// `heap`.
fn labels(dims: &[String], heap: u64) -> Bytes {
    const NAME: &[u8] = b"DIMENSION_LABELS\0";
    let mut datatype = Bytes::default();
    // class 9, a UTF-8 string; of bytes, which are integers of 8 bits
    datatype.text(&[0x19, 0x01, 0x01, 0]).u32(16);
    datatype.text(&[0x10, 0, 0, 0]).u32(1).u16(0).u16(8);
    let mut bytes = Bytes::default();
    bytes.u8(1).u8(0).u16(NAME.len() as u16).u16(datatype.len() as u16).u16(16);
    bytes.text(NAME).align().text(&datatype.0).align();
    bytes.u8(1).u8(1).u8(0).u8(0).u32(0).u64(dims.len() as u64);
    for (object, name) in (1_u32..).zip(dims) {
        bytes.u32(name.len() as u32).u64(heap).u32(object);
    }
    bytes
}

/// The object header of a chunked dataset whose index has its root at `index` and whose axes have
/// their names in the heap at `heap`.
///
/// # Errors
/// `Unsupported` if the elements are not numbers.
pub fn dataset_header(
    new: &NewDataset,
    element_bytes: usize,
    index: u64,
    heap: Option<u64>,
) -> Result<Vec<u8>> {
    let axes = new.shape.len() as u8;
    let mut dataspace = Bytes::default();
    dataspace.u8(1).u8(axes).u8(0).u8(0).u32(0);
    new.shape.iter().for_each(|length| _ = dataspace.u64(*length));
    let mut fill = Bytes::default();
    let value = new.fill.as_deref().unwrap_or_default(); // without: the default value, 0
    fill.text(&[2, 3, 2, 1]).u32(value.len() as u32).text(value); // space for a chunk when written
    let mut layout = Bytes::default();
    layout.u8(3).u8(2).u8(axes + 1).u64(index);
    new.chunk_shape.iter().for_each(|length| _ = layout.u32(*length as u32));
    layout.u32(element_bytes as u32);
    let mut messages =
        vec![(0x1, dataspace), (0x3, datatype(&new.data_type)?), (0x5, fill), (0x8, layout)];
    let filters = u8::from(new.shuffle) + u8::from(new.gzip_level.is_some());
    if filters > 0 {
        let mut pipeline = Bytes::default();
        pipeline.u8(1).u8(filters).u16(0).u32(0);
        let optional = 1;
        if new.shuffle {
            pipeline.u16(2).u16(8).u16(optional).u16(1).text(b"shuffle\0");
            pipeline.u32(element_bytes as u32).u32(0);
        }
        if let Some(level) = new.gzip_level {
            // Readers expect a level of zlib, which ends at 9; it has no part in decoding.
            pipeline.u16(1).u16(8).u16(optional).u16(1).text(b"deflate\0");
            pipeline.u32(level.min(9).into()).u32(0);
        }
        messages.push((0xB, pipeline));
    }
    if let Some(heap) = heap {
        messages.push((0xC, labels(&new.dims, heap)));
    }
    let mut bytes = Bytes::default();
    object_header(&mut bytes, &messages);
    Ok(bytes.into())
}

/// A version 1 object header, 8 bytes aligned.
fn object_header(bytes: &mut Bytes, messages: &[(u16, Bytes)]) {
    let total: usize = messages.iter().map(|(_, body)| 8 + body.len().next_multiple_of(8)).sum();
    bytes.u8(1).u8(0).u16(messages.len() as u16).u32(1).u32(total as u32).u32(0);
    for (kind, body) in messages {
        bytes.u16(*kind).u16(body.len().next_multiple_of(8) as u16).u32(0).text(&body.0).align();
    }
}

/// Bytes of an element.
///
/// # Errors
/// `Unsupported` if it is not a number of 8 to 64 bits.
pub fn element_bytes(data_type: &DataType) -> Result<usize> {
    match data_type {
        number if number.is_integer() || number.is_floating() => number.primitive_width(),
        _ => None,
    }
    .ok_or_else(|| {
        Error::unsupported(format!(
            "values of type {data_type} in an HDF5 file; cast them to a number first"
        ))
    })
}

/// The datatype message of a number (specification IV.A.2.d).
fn datatype(data_type: &DataType) -> Result<Bytes> {
    let width = element_bytes(data_type)? as u16;
    let mut bytes = Bytes::default();
    if data_type.is_floating() {
        let (exponent_bits, bias) = match width {
            2 => (5, 15),
            4 => (8, 127),
            _ => (11, 1023),
        };
        let bits = width as u8 * 8;
        let mantissa_bits = bits - 1 - exponent_bits;
        // Class 1; the mantissa's first bit is implied, the sign stands in the highest bit.
        bytes.text(&[0x11, 0x20, bits - 1, 0]).u32(width.into()).u16(0).u16(bits.into());
        bytes.text(&[mantissa_bits, exponent_bits, 0, mantissa_bits]).u32(bias);
    } else {
        let signed = if data_type.is_signed_integer() { 0x08 } else { 0 };
        bytes.text(&[0x10, signed, 0, 0]).u32(width.into()).u16(0).u16(width * 8);
    }
    Ok(bytes)
}
