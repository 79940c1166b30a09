//! The index of a chunked dataset: a version 1 B-tree of type 1 (specification III.A.1).
//!
//! In: where each chunk was written. Out: all nodes, leaves first, and the address of the root.

use super::headers::{Bytes, UNDEFINED};

/// Children of a node at the most: twice the default `indexed storage internal node K` of 32,
/// which a version 0 superblock implies.
const CHILDREN_MAX: usize = 64;

/// Where a chunk is stored.
#[derive(Clone, Debug)]
pub struct IndexedChunk {
    /// Index of its first element.
    pub start: Box<[u64]>,
    /// Offset in the file.
    pub address: u64,
    /// Bytes there.
    pub stored_bytes: u32,
    /// A set bit for each filter that was skipped.
    pub filter_mask: u32,
}

/// Encoded nodes.
pub struct Index {
    /// All nodes, to be written at the address given to [`encode`].
    pub bytes: Vec<u8>,
    /// Address of the root; undefined if there is no chunk.
    pub root: u64,
}

/// A child with the key on its left.
#[derive(Clone)]
struct Entry {
    stored_bytes: u32,
    filter_mask: u32,
    start: Box<[u64]>,
    child: u64,
}

/// Encodes the index of `chunks`, sorting them; its first byte will stand at `address`.
pub fn encode(chunks: &mut [IndexedChunk], element_bytes: usize, address: u64) -> Index {
    let mut bytes = Bytes::default();
    let Some(last) = chunks.iter().map(|chunk| &chunk.start).max() else {
        return Index { bytes: vec![], root: UNDEFINED };
    };
    // The key to the right of everything: the last chunk's, one element further.
    let end = Entry { stored_bytes: 0, filter_mask: 0, start: last.clone(), child: UNDEFINED };
    chunks.sort_unstable_by(|a, b| a.start.cmp(&b.start));
    let mut level: Vec<Entry> = chunks.iter().map(Entry::of_chunk).collect();
    let key_bytes = 8 + 8 * (end.start.len() + 1);
    let node_bytes = 24 + (CHILDREN_MAX + 1) * key_bytes + CHILDREN_MAX * 8;
    let mut height = 0_u8;
    loop {
        let first = address + bytes.len() as u64;
        let nodes = level.len().div_ceil(CHILDREN_MAX);
        let at = |node: usize| first + (node * node_bytes) as u64;
        let mut parents = Vec::with_capacity(nodes);
        for (node, children) in level.chunks(CHILDREN_MAX).enumerate() {
            let begin = bytes.len();
            bytes.text(b"TREE").u8(1).u8(height).u16(children.len() as u16);
            bytes.u64(if node == 0 { UNDEFINED } else { at(node - 1) });
            bytes.u64(if node + 1 == nodes { UNDEFINED } else { at(node + 1) });
            for entry in children {
                entry.key(&mut bytes, 0);
                bytes.u64(entry.child);
            }
            match level.get((node + 1) * CHILDREN_MAX) {
                Some(next) => next.key(&mut bytes, 0),
                None => end.key(&mut bytes, element_bytes as u64),
            }
            bytes.pad_to(begin + node_bytes);
            parents.push(Entry { child: at(node), ..children[0].clone() });
        }
        if let [root] = parents.as_slice() {
            return Index { root: root.child, bytes: bytes.into() };
        }
        level = parents;
        height += 1;
    }
}

impl Entry {
    fn of_chunk(chunk: &IndexedChunk) -> Self {
        Self {
            stored_bytes: chunk.stored_bytes,
            filter_mask: chunk.filter_mask,
            start: chunk.start.clone(),
            child: chunk.address,
        }
    }

    fn key(&self, bytes: &mut Bytes, element_offset: u64) {
        bytes.u32(self.stored_bytes).u32(self.filter_mask);
        for at in &self.start {
            bytes.u64(*at);
        }
        bytes.u64(element_offset);
    }
}
