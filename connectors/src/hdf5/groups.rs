//! Groups: the names in them, what a path leads to, and a list of everything in the file.
//!
//! In: object headers. Out: links, old-style (symbol tables) and new-style (link messages, dense
//! storage). Soft links are followed, external ones refused. Not here: datasets.

use std::collections::{HashMap, HashSet};

use almagest_engine::{Error, Result};
use rust_hdf5::format::UNDEF_ADDR;
use rust_hdf5::format::dense_link::read_dense_links;
use rust_hdf5::format::messages::link::{LinkMessage, LinkTarget};
use rust_hdf5::format::messages::link_info::LinkInfoMessage;
use rust_hdf5::format::messages::{MSG_DATA_LAYOUT, MSG_LINK, MSG_LINK_INFO, MSG_SYMBOL_TABLE};

use super::metadata::{Fields, Metadata, invalid};
use super::object::Object;

/// Groups nested deeper than this are not listed.
const GROUP_DEPTH_MAX: usize = 64;
/// Datasets listed at the most.
const DATASETS_MAX: usize = 10_000;
/// Soft links on the way to one object.
const SOFT_LINKS_MAX: usize = 32;
/// Levels of a tree of names.
const TREE_DEPTH_MAX: usize = 32;
const CACHED_SOFT_LINK: u64 = 2;

/// What a name in a group stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Link {
    /// The object at this address.
    Hard(u64),
    /// The object at this path.
    Soft(String),
    /// An object of another file.
    External(String),
}

/// Whether an object is a dataset.
pub fn is_dataset(object: &Object) -> bool {
    object.has(MSG_DATA_LAYOUT)
}

/// Whether an object is a group.
pub fn is_group(object: &Object) -> bool {
    [MSG_SYMBOL_TABLE, MSG_LINK_INFO, MSG_LINK].into_iter().any(|kind| object.has(kind))
}

/// The names in a group.
///
/// # Errors
/// `DataInvalid`, `Unsupported`, `Unreachable`.
pub fn links(metadata: &mut Metadata, group: &Object) -> Result<Vec<(String, Link)>> {
    let context = metadata.context;
    let mut found = vec![];
    if let Some(table) = group.all(MSG_SYMBOL_TABLE).next() {
        symbol_table(metadata, table, &mut found)?;
    }
    let mut messages = vec![];
    for body in group.all(MSG_LINK) {
        let link = LinkMessage::decode(body, &context).map_err(|cause| metadata.failed(cause))?;
        messages.push(link.0);
    }
    if let Some(body) = group.all(MSG_LINK_INFO).next() {
        let info =
            LinkInfoMessage::decode(body, &context).map_err(|cause| metadata.failed(cause))?.0;
        if info.fractal_heap_address != UNDEF_ADDR {
            let dense = read_dense_links(&info, &context, metadata);
            messages.extend(dense.map_err(|cause| metadata.failed(cause))?);
        }
    }
    found.extend(messages.into_iter().filter_map(|link| {
        let target = match link.target {
            LinkTarget::Hard { address } => Link::Hard(address),
            LinkTarget::Soft { target } => Link::Soft(target),
            LinkTarget::External { file, path } => {
                // in which folder is nobody's business who may not read it
                let name = file.rsplit('/').next().unwrap_or_default();
                Link::External(format!("{name}:{path}"))
            }
            LinkTarget::UserDefined { .. } => return None,
        };
        Some((link.name, target))
    }));
    Ok(found)
}

fn symbol_table(
    metadata: &mut Metadata,
    table: &[u8],
    found: &mut Vec<(String, Link)>,
) -> Result<()> {
    let (address, size) = widths(metadata);
    let mut fields = Fields(table);
    let tree = fields.number(address)?;
    let heap = metadata.exactly(fields.number(address)?, 8 + 2 * size + address)?;
    let mut fields = Fields(&heap);
    if fields.take(4)? != b"HEAP" {
        return Err(invalid("a group's heap of names is damaged"));
    }
    fields.take(4)?;
    let heap_bytes = fields.number(size)? as usize;
    fields.take(size)?;
    let heap_address = fields.number(address)?;
    let names = metadata.exactly(heap_address, heap_bytes)?;
    name_tree(metadata, tree, &names, 0, found)
}

fn name_tree(
    metadata: &mut Metadata,
    at: u64,
    names: &[u8],
    depth: usize,
    found: &mut Vec<(String, Link)>,
) -> Result<()> {
    if depth > TREE_DEPTH_MAX {
        return Err(invalid("a tree of names without end"));
    }
    let (address, size) = widths(metadata);
    let head = metadata.exactly(at, 8)?;
    let mut fields = Fields(&head);
    let signature = fields.take(4)?;
    if signature == b"TREE" {
        fields.take(2)?;
        let count = fields.number(2)? as usize;
        let body =
            metadata.exactly(at.saturating_add(8), 2 * address + count * (size + address))?;
        let mut fields = Fields(&body[2 * address..]);
        for _ in 0..count {
            fields.take(size)?;
            let child = fields.number(address)?;
            name_tree(metadata, child, names, depth + 1, found)?;
        }
        return Ok(());
    }
    if signature != b"SNOD" {
        return Err(invalid("a group's tree of names is damaged"));
    }
    fields.take(2)?;
    let count = fields.number(2)? as usize;
    let body = metadata.exactly(at.saturating_add(8), count * (size + address + 24))?;
    let mut fields = Fields(&body);
    for _ in 0..count {
        let name = fields.number(size)?;
        let target = fields.number(address)?;
        let cached = fields.number(4)?;
        fields.take(4)?;
        let mut scratch = Fields(fields.take(16)?);
        let link = match cached {
            CACHED_SOFT_LINK => Link::Soft(text_at(names, scratch.number(4)?)?),
            _ => Link::Hard(target),
        };
        found.push((text_at(names, name)?, link));
    }
    Ok(())
}

fn widths(metadata: &Metadata) -> (usize, usize) {
    (usize::from(metadata.context.sizeof_addr), usize::from(metadata.context.sizeof_size))
}

fn text_at(heap: &[u8], offset: u64) -> Result<String> {
    let rest = heap.get(offset as usize..).ok_or_else(|| invalid("a name outside its heap"))?;
    let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    Ok(String::from_utf8_lossy(&rest[..end]).into_owned())
}

/// The object that `path` names; `None` if there is none.
///
/// # Errors
/// `Unsupported` for external links, `DataInvalid`, `Unreachable`.
pub fn resolve(metadata: &mut Metadata, path: &str) -> Result<Option<Object>> {
    let mut soft_links = 0;
    let mut parts: Vec<String> = split(path);
    // The groups on the way, for paths relative to the group that holds a soft link.
    let mut at = vec![Object::read(metadata, metadata.root)?];
    while !parts.is_empty() {
        let name = parts.remove(0);
        let Some(group) = at.last() else { return Ok(None) };
        let found = links(metadata, group)?.into_iter().find(|(link, _)| *link == name);
        match found {
            None => return Ok(None),
            Some((_, Link::Hard(address))) => at.push(Object::read(metadata, address)?),
            Some((_, Link::External(target))) => {
                return Err(Error::unsupported(format!(
                    "'{name}' is a link to another file ({target}); open that one"
                )));
            }
            Some((_, Link::Soft(target))) => {
                soft_links += 1;
                if soft_links > SOFT_LINKS_MAX {
                    return Err(invalid(format!("the soft link '{name}' leads to itself")));
                }
                if target.starts_with('/') {
                    at.truncate(1);
                }
                let mut whole = split(&target);
                whole.append(&mut parts);
                parts = whole;
            }
        }
    }
    Ok(at.pop())
}

fn split(path: &str) -> Vec<String> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").map(String::from).collect()
}

/// Everything that can be reached by hard links.
#[derive(Debug, Default)]
pub struct Listing {
    /// Each dataset once, by its first path; or why what is there cannot be read.
    pub datasets: Vec<(String, Result<Object>)>,
    /// Each group below once, by its first path.
    pub groups: Vec<(String, Object)>,
    /// The last part of each dataset's path, by address.
    pub names: HashMap<u64, String>,
}

/// Lists the datasets below `group`, whose path is `path` (`""` for the root).
///
/// # Errors
/// `DataInvalid` if a group cannot be read, `Unreachable`.
pub fn list(metadata: &mut Metadata, group: u64, path: &str) -> Result<Listing> {
    let mut listing = Listing::default();
    let mut seen = HashSet::from([group]);
    let object = Object::read(metadata, group)?;
    list_group(metadata, &object, path, 0, &mut seen, &mut listing)?;
    Ok(listing)
}

fn list_group(
    metadata: &mut Metadata,
    group: &Object,
    path: &str,
    depth: usize,
    seen: &mut HashSet<u64>,
    listing: &mut Listing,
) -> Result<()> {
    let found = links(metadata, group)
        .map_err(|error| error.with("group", if path.is_empty() { "/" } else { path }))?;
    let mut groups = vec![];
    for (name, link) in found {
        let Link::Hard(address) = link else { continue };
        if !seen.insert(address) || listing.datasets.len() >= DATASETS_MAX {
            continue;
        }
        let child = format!("{path}/{name}");
        match Object::read(metadata, address) {
            Ok(object) if is_dataset(&object) => {
                listing.names.insert(address, name);
                listing.datasets.push((child, Ok(object)));
            }
            Ok(object) if is_group(&object) => groups.push((child, object)),
            Ok(_) => {} // a named type
            Err(error) => listing.datasets.push((child, Err(error))),
        }
    }
    for (child, object) in groups {
        if depth < GROUP_DEPTH_MAX {
            list_group(metadata, &object, &child, depth + 1, seen, listing)?;
        }
        listing.groups.push((child, object));
    }
    Ok(())
}
