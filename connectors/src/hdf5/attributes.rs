//! Attributes, as far as tables need them: names of dimensions and of auxiliary arrays.
//!
//! In: an object header. Out: text, object references and small integers. Not here: what the names
//! are used for ([`super::dimensions`]).

use almagest_engine::{ErrorKind, Result};
use rust_hdf5::format::dense_attr::read_dense_attributes;
use rust_hdf5::format::messages::attr_info::AttributeInfoMessage;
use rust_hdf5::format::messages::attribute::{AttributeEntry, AttributeMessage};
use rust_hdf5::format::messages::datatype::{
    ByteOrder, DatatypeMessage, ReferenceKind, fixed_string_content,
};
use rust_hdf5::format::messages::{MSG_ATTR_INFO, MSG_ATTRIBUTE};

use super::metadata::{Fields, Metadata};
use super::object::Object;

/// The readable attributes of an object.
pub struct Attributes(Vec<AttributeMessage>);

impl Attributes {
    /// Reads the attributes of `object`. One that cannot be understood is left out.
    ///
    /// # Errors
    /// `DataInvalid`, `Unreachable`.
    pub fn read(metadata: &mut Metadata, object: &Object) -> Result<Self> {
        let context = metadata.context;
        let mut entries = vec![];
        for body in object.all(MSG_ATTRIBUTE) {
            entries.extend(AttributeEntry::parse(body, &context).ok());
        }
        if let Some(body) = object.all(MSG_ATTR_INFO).next() {
            let dense = AttributeInfoMessage::decode(body, &context)
                .and_then(|(info, _)| read_dense_attributes(&info, &context, metadata))
                .map_err(|cause| metadata.failed(cause));
            match dense {
                Ok(dense) => entries.extend(dense),
                Err(error) if error.kind() == ErrorKind::Unsupported => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self(entries.iter().filter_map(|entry| entry.readable().cloned()).collect()))
    }

    fn get(&self, name: &str) -> Option<&AttributeMessage> {
        self.0.iter().find(|attribute| attribute.name == name)
    }

    /// The strings of an attribute; none if it is absent or no text.
    ///
    /// # Errors
    /// `DataInvalid`, `Unreachable`.
    pub fn texts(&self, name: &str, metadata: &mut Metadata) -> Result<Vec<String>> {
        let Some(attribute) = self.get(name) else { return Ok(vec![]) };
        match &attribute.datatype {
            DatatypeMessage::FixedString { size, padding, .. } if *size > 0 => {
                let texts = attribute.data.chunks_exact(*size as usize).map(|stored| {
                    let content = fixed_string_content(stored, *padding).unwrap_or(stored);
                    String::from_utf8_lossy(content).into_owned()
                });
                Ok(texts.collect())
            }
            DatatypeMessage::VarLenString { .. } => {
                let stored = sequences(attribute, 1, metadata)?;
                let texts = stored.iter().map(|bytes| {
                    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
                    String::from_utf8_lossy(&bytes[..end]).into_owned()
                });
                Ok(texts.collect())
            }
            _ => Ok(vec![]),
        }
    }

    /// The first object that each element of an attribute of sequences of references names.
    ///
    /// # Errors
    /// `DataInvalid`, `Unreachable`.
    pub fn references(&self, name: &str, metadata: &mut Metadata) -> Result<Vec<Option<u64>>> {
        let Some(attribute) = self.get(name) else { return Ok(vec![]) };
        let DatatypeMessage::VarLenSequence { base } = &attribute.datatype else {
            return Ok(vec![]);
        };
        let DatatypeMessage::Reference { size, kind: ReferenceKind::Object1 } = base.as_ref()
        else {
            return Ok(vec![]);
        };
        let size = *size as usize;
        let width = usize::from(metadata.context.sizeof_addr).min(size);
        let stored = sequences(attribute, size, metadata)?;
        stored
            .iter()
            .map(|bytes| match bytes.get(..width) {
                Some(first) => Fields(first).address(width),
                None => Ok(None),
            })
            .collect()
    }

    /// The elements of an attribute of 32-bit integers; none if it is absent or something else.
    pub fn integers(&self, name: &str) -> Vec<i32> {
        let Some(attribute) = self.get(name) else { return vec![] };
        let DatatypeMessage::FixedPoint { size: 4, byte_order, .. } = &attribute.datatype else {
            return vec![];
        };
        let elements = attribute.data.as_chunks::<4>().0.iter();
        elements
            .map(|bytes| match byte_order {
                ByteOrder::LittleEndian => i32::from_le_bytes(*bytes),
                ByteOrder::BigEndian => i32::from_be_bytes(*bytes),
            })
            .collect()
    }
}

/// The bytes of each variable-length element, of items of `item_bytes`.
fn sequences(
    attribute: &AttributeMessage,
    item_bytes: usize,
    metadata: &mut Metadata,
) -> Result<Vec<Vec<u8>>> {
    let width = usize::from(metadata.context.sizeof_addr);
    let mut found = vec![];
    for stored in attribute.data.chunks_exact(width + 8) {
        let mut fields = Fields(stored);
        let items = fields.number(4)? as usize;
        let (heap, index) = (fields.address(width)?, fields.number(4)?);
        let bytes = match heap {
            Some(heap) if items > 0 => metadata.heap_value(heap, index)?,
            _ => vec![],
        };
        let wanted = items.saturating_mul(item_bytes).min(bytes.len());
        found.push(bytes[..wanted].to_vec());
    }
    Ok(found)
}
