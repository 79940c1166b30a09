//! B-trees of chunks: version 1 (every older file) and version 2 (several growing axes).

use almagest_engine::Result;
use rust_hdf5::format::chunk_index::btree_v2::{Bt2Header, collect_btree_v2_records};

use super::{Shapes, StoredChunk, Table};
use crate::hdf5::metadata::{Fields, Metadata, invalid};

/// Levels of a tree; a byte counts them in the file.
const DEPTH_MAX: usize = 32;
const CHUNKS: u8 = 10;
const FILTERED_CHUNKS: u8 = 11;

/// Reads the version 1 tree at `at` (HDF5 file format, III.A.1).
pub fn version_1(
    metadata: &mut Metadata,
    at: u64,
    of: &Shapes,
    depth: usize,
    table: &mut Table,
) -> Result<()> {
    let address_bytes = usize::from(metadata.context.sizeof_addr);
    let head = metadata.exactly(at, 8)?;
    let mut fields = Fields(&head);
    if fields.take(4)? != b"TREE" || fields.number(1)? != 1 || depth > DEPTH_MAX {
        return Err(invalid(format!("the tree of chunks is damaged at {at}")));
    }
    let (level, count) = (fields.number(1)?, fields.number(2)? as usize);
    let entry_bytes = 8 + 8 * (of.stored_ndim + 1) + address_bytes;
    let body = metadata.exactly(at.saturating_add(8), 2 * address_bytes + count * entry_bytes)?;
    let mut fields = Fields(&body[2 * address_bytes..]);
    let mut position = vec![0; of.shape.len()];
    for _ in 0..count {
        let (bytes, mask) = (fields.number(4)?, fields.number(4)? as u32);
        let stored_axes = position.iter_mut().zip(of.chunk_shape).take(of.stored_ndim);
        for (index, length) in stored_axes {
            let start = fields.number(8)?;
            if !start.is_multiple_of(*length) {
                return Err(invalid(format!("a chunk begins at {start}, inside of another")));
            }
            *index = start / length;
        }
        // where in an element the chunk begins
        if fields.number(8)? != 0 {
            return Err(invalid("a chunk begins inside an element"));
        }
        let Some(address) = fields.address(address_bytes)? else { continue };
        if level > 0 {
            version_1(metadata, address, of, depth + 1, table)?;
        } else {
            table.add(&position, StoredChunk { address, bytes, mask })?;
        }
    }
    Ok(())
}

/// Reads the version 2 tree whose header is at `at` (HDF5 file format, III.A.2).
pub fn version_2(metadata: &mut Metadata, at: u64, of: &Shapes, table: &mut Table) -> Result<()> {
    let context = metadata.context;
    let head = metadata.up_to(at, 64)?;
    let header = Bt2Header::decode(&head, &context).map_err(|cause| metadata.failed(cause))?;
    let records = collect_btree_v2_records(&header, &context, metadata);
    let records = records.map_err(|cause| metadata.failed(cause))?;
    let address_bytes = usize::from(context.sizeof_addr);
    let record_bytes = usize::from(header.record_size);
    let plain_bytes = address_bytes + 8 * of.stored_ndim;
    let size_bytes = match header.record_type {
        CHUNKS if record_bytes == plain_bytes => None,
        FILTERED_CHUNKS if record_bytes > plain_bytes + 4 => Some(record_bytes - plain_bytes - 4),
        kind => {
            return Err(invalid(format!("a tree of records of type {kind}, {record_bytes} bytes")));
        }
    };
    let mut position = vec![0; of.shape.len()];
    for record in records.chunks_exact(record_bytes) {
        let mut fields = Fields(record);
        let address = fields.address(address_bytes)?;
        let (bytes, mask) = match size_bytes {
            None => (of.chunk_bytes, 0),
            Some(width) => (fields.number(width)?, fields.number(4)? as u32),
        };
        for index in position.iter_mut().take(of.stored_ndim) {
            *index = fields.number(8)?;
        }
        if let Some(address) = address {
            table.add(&position, StoredChunk { address, bytes, mask })?;
        }
    }
    Ok(())
}
