//! Attributes of datasets and groups.
//!
//! In: an object header. Out: all attributes as Arrow values; texts, object references and small integers of those
//! that name dimensions and auxiliary arrays. Not here: what the names are used for ([`super::dimensions`]).

use std::sync::Arc;

use almagest_engine::array::{Attribute, AttributeValue};
use almagest_engine::{Error, ErrorKind, Result};
use arrow::array::{ArrayRef, StringBuilder};
use arrow::buffer::MutableBuffer;
use rust_hdf5::format::dense_attr::read_dense_attributes;
use rust_hdf5::format::messages::attr_info::AttributeInfoMessage;
use rust_hdf5::format::messages::attribute::{AttributeEntry, AttributeMessage};
use rust_hdf5::format::messages::dataspace::DataspaceClass;
use rust_hdf5::format::messages::datatype::{
    ByteOrder, DatatypeMessage, ReferenceKind, fixed_string_content,
};
use rust_hdf5::format::messages::{MSG_ATTR_INFO, MSG_ATTRIBUTE};

use super::convert::to_arrow;
use super::element::Element;
use super::metadata::{Fields, Metadata};
use super::object::Object;

/// The attributes of an object.
pub struct Attributes(Vec<AttributeEntry>);

impl Attributes {
    /// Reads the attributes of `object`. One whose name cannot be read is left out.
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
        Ok(Self(entries))
    }

    /// Each attribute with its value, or with why it has none.
    ///
    /// # Errors
    /// `Unreachable`.
    pub fn all(&self, metadata: &mut Metadata) -> Result<Vec<Attribute>> {
        let mut found = vec![];
        for entry in &self.0 {
            let value = match entry.decoded() {
                Ok(message) => value_of(message, metadata),
                Err(reason) => Err(Error::unsupported(reason)),
            };
            if let Err(error) = &value
                && error.kind() == ErrorKind::Unreachable
            {
                return value.map(|_| vec![]);
            }
            found.push(Attribute { name: entry.name().to_string(), value });
        }
        Ok(found)
    }

    fn get(&self, name: &str) -> Option<&AttributeMessage> {
        self.0.iter().find(|entry| entry.name() == name)?.readable()
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
                let texts = stored.iter().map(|bytes| String::from_utf8_lossy(content(bytes)));
                Ok(texts.map(|text| text.into_owned()).collect())
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

/// What stands before the first zero of a text of any length.
fn content(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// The value of an attribute.
fn value_of(attribute: &AttributeMessage, metadata: &mut Metadata) -> Result<AttributeValue> {
    let space = &attribute.dataspace;
    if space.class == DataspaceClass::Null {
        return Err(Error::unsupported("an attribute without a value (null space)"));
    }
    let values = match &attribute.datatype {
        DatatypeMessage::VarLenString { .. } => {
            let mut texts = StringBuilder::new();
            for bytes in sequences(attribute, 1, metadata)? {
                texts.append_value(std::str::from_utf8(content(&bytes)).map_err(|cause| {
                    Error::data_invalid(format!("a text is not UTF-8: {cause}")).caused_by(cause)
                })?);
            }
            Arc::new(texts.finish()) as ArrayRef
        }
        datatype => {
            let element = Element::of(datatype)?;
            // in memory of its own, as Arrow wants it aligned
            let mut bytes = MutableBuffer::with_capacity(attribute.data.len());
            bytes.extend_from_slice(&attribute.data);
            to_arrow(&element, bytes, attribute.data.len() / element.bytes().max(1))?
        }
    };
    let shape = match space.class {
        DataspaceClass::Simple => space.dims.clone(),
        _ => vec![],
    };
    AttributeValue::try_new(values, shape)
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
