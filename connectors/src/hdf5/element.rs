//! Which HDF5 element types are read, and as what.
//!
//! In: a stored type. Out: an [`Element`] that says what it is in Arrow. Half floats become `Float32`
//! (exactly), h5py's booleans `Boolean`, other enumerations and bit fields their integers, strings of
//! fixed length `Utf8`, compounds `Struct`, array fields `FixedSizeList`. Not here: turning stored
//! bytes into Arrow arrays ([`super::convert`]).

use std::sync::Arc;

use almagest_engine::{Error, Result};
use arrow::datatypes::{DataType, Field, Fields};
use rust_hdf5::format::messages::datatype::{
    ByteOrder, CompoundMember, DatatypeMessage, EnumMember, ReferenceKind,
};

/// An element larger than this is refused.
const ELEMENT_BYTES_MAX: u32 = 1 << 24;

/// A stored element type that is read.
#[derive(Clone, Debug, PartialEq)]
pub enum Element {
    /// A number that Arrow holds as the file does, but for the order of its bytes.
    Number {
        /// In Arrow, of the same width.
        arrow: DataType,
        /// Whether bytes must be swapped on this machine.
        swapped: bool,
    },
    /// A half float.
    Half {
        /// Whether bytes must be swapped on this machine.
        swapped: bool,
    },
    /// An integer that fills only some bits of its bytes.
    Bits {
        /// In Arrow, of the same width.
        arrow: DataType,
        /// Whether bytes must be swapped on this machine.
        swapped: bool,
        /// The lowest bit that counts.
        offset: u32,
        /// How many bits count.
        precision: u32,
    },
    /// A boolean in a byte.
    Bool,
    /// A string of this many bytes, padded as HDF5's code says.
    Text {
        /// Bytes, padding included.
        bytes: usize,
        /// HDF5's code: 0 zero-terminated, 1 zero-padded, 2 space-padded.
        padding: u8,
    },
    /// So many of another element.
    List {
        /// How many.
        count: usize,
        /// Of what.
        item: Box<Self>,
    },
    /// A compound.
    Record {
        /// Bytes, gaps included.
        bytes: usize,
        /// The fields that are read.
        fields: Vec<RecordField>,
    },
}

/// A field of a compound.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordField {
    /// Its name.
    pub name: String,
    /// Where it begins in the record.
    pub offset: usize,
    /// What it is.
    pub element: Element,
}

impl Element {
    /// The element of a stored type.
    ///
    /// # Errors
    /// `Unsupported`, naming the type.
    pub fn of(stored: &DatatypeMessage) -> Result<Self> {
        use DatatypeMessage as Stored;
        if stored.element_size() > ELEMENT_BYTES_MAX || stored.element_size() == 0 {
            return Err(Error::unsupported(format!("elements of {} bytes", stored.element_size())));
        }
        match stored {
            Stored::FixedPoint { size, byte_order, signed, bit_offset, bit_precision } => {
                integer(stored, *size, *byte_order, *signed, *bit_offset, *bit_precision)
            }
            Stored::BitField { size, byte_order, bit_offset, bit_precision } => {
                integer(stored, *size, *byte_order, false, *bit_offset, *bit_precision)
            }
            Stored::FloatingPoint { size, byte_order, .. } if stored.ieee_format().is_some() => {
                let swapped = swapped(*size, *byte_order);
                Ok(match size {
                    2 => Self::Half { swapped },
                    4 => Self::Number { arrow: DataType::Float32, swapped },
                    _ => Self::Number { arrow: DataType::Float64, swapped },
                })
            }
            Stored::Enum { base, members } if is_boolean(base, members) => Ok(Self::Bool),
            Stored::Enum { base, .. } => Self::of(base),
            Stored::FixedString { size, padding, .. } if *padding <= 2 => {
                Ok(Self::Text { bytes: *size as usize, padding: *padding })
            }
            Stored::Array { dims, base } => {
                let mut item = Self::of(base)?;
                for count in dims.iter().rev() {
                    item = Self::List { count: *count as usize, item: Box::new(item) };
                }
                Ok(item)
            }
            Stored::Compound { size, members } => Self::record(*size as usize, members),
            _ => Err(refused(stored)),
        }
    }

    fn record(bytes: usize, members: &[CompoundMember]) -> Result<Self> {
        let mut fields: Vec<RecordField> = vec![];
        for member in members {
            let element = Self::of(&member.datatype).map_err(|error| {
                Error::new(error.kind(), format!("field '{}': {}", member.name, error.message()))
            })?;
            let offset = member.offset as usize;
            if offset + element.bytes() > bytes {
                return Err(Error::data_invalid(format!(
                    "field '{}' ends outside its record of {bytes} bytes",
                    member.name
                )));
            }
            if fields.iter().any(|field| field.name == member.name) {
                return Err(Error::data_invalid(format!("two fields named '{}'", member.name)));
            }
            fields.push(RecordField { name: member.name.clone(), offset, element });
        }
        if fields.is_empty() {
            return Err(Error::unsupported("compounds without fields"));
        }
        Ok(Self::Record { bytes, fields })
    }

    /// Bytes of a stored element.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Number { arrow, .. } | Self::Bits { arrow, .. } => {
                arrow.primitive_width().unwrap_or(1)
            }
            Self::Half { .. } => 2,
            Self::Bool => 1,
            Self::Text { bytes, .. } | Self::Record { bytes, .. } => *bytes,
            Self::List { count, item } => count * item.bytes(),
        }
    }

    /// What the element is in Arrow.
    pub fn arrow(&self) -> DataType {
        match self {
            Self::Number { arrow, .. } | Self::Bits { arrow, .. } => arrow.clone(),
            Self::Half { .. } => DataType::Float32,
            Self::Bool => DataType::Boolean,
            Self::Text { .. } => DataType::Utf8,
            Self::List { count, item } => {
                let field = Arc::new(Field::new_list_field(item.arrow(), false));
                DataType::FixedSizeList(field, i32::try_from(*count).unwrap_or(i32::MAX))
            }
            Self::Record { fields, .. } => DataType::Struct(record_fields(fields)),
        }
    }

    /// NumPy's name of the stored type, such as `<f4`.
    pub fn numpy(&self) -> String {
        let mark = |swapped: bool, bytes: usize| match (bytes, swapped) {
            (1, _) => '|',
            (_, false) => '<',
            (_, true) => '>',
        };
        match self {
            Self::Number { arrow, swapped } | Self::Bits { arrow, swapped, .. } => {
                let kind = match arrow {
                    DataType::Float32 | DataType::Float64 => 'f',
                    arrow if arrow.is_unsigned_integer() => 'u',
                    _ => 'i',
                };
                format!("{}{kind}{}", mark(*swapped, self.bytes()), self.bytes())
            }
            Self::Half { swapped } => format!("{}f2", mark(*swapped, 2)),
            Self::Bool => "|b1".into(),
            Self::Text { bytes, .. } => format!("|S{bytes}"),
            Self::List { count, item } => format!("({count},){}", item.numpy()),
            Self::Record { fields, .. } => {
                let fields = fields
                    .iter()
                    .map(|field| format!("('{}', '{}')", field.name, field.element.numpy()));
                format!("[{}]", fields.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// The Arrow fields of a record.
pub fn record_fields(fields: &[RecordField]) -> Fields {
    fields.iter().map(|field| Field::new(&field.name, field.element.arrow(), false)).collect()
}

fn swapped(size: u32, order: ByteOrder) -> bool {
    size > 1 && (order == ByteOrder::LittleEndian) != cfg!(target_endian = "little")
}

fn integer(
    stored: &DatatypeMessage,
    size: u32,
    order: ByteOrder,
    signed: bool,
    offset: u16,
    precision: u16,
) -> Result<Element> {
    let arrow = match (signed, size) {
        (true, 1) => DataType::Int8,
        (true, 2) => DataType::Int16,
        (true, 4) => DataType::Int32,
        (true, 8) => DataType::Int64,
        (false, 1) => DataType::UInt8,
        (false, 2) => DataType::UInt16,
        (false, 4) => DataType::UInt32,
        (false, 8) => DataType::UInt64,
        _ => return Err(refused(stored)),
    };
    let (offset, precision) = (u32::from(offset), u32::from(precision));
    if precision == 0 || offset + precision > size * 8 {
        return Err(refused(stored));
    }
    let swapped = swapped(size, order);
    if precision == size * 8 {
        return Ok(Element::Number { arrow, swapped });
    }
    Ok(Element::Bits { arrow, swapped, offset, precision })
}

/// h5py's boolean: an enumeration of a byte with FALSE = 0 and TRUE = 1.
fn is_boolean(base: &DatatypeMessage, members: &[EnumMember]) -> bool {
    let value_of = |name: &str| {
        members.iter().find(|member| member.name == name).map(|member| member.value.as_slice())
    };
    base.element_size() == 1
        && members.len() == 2
        && value_of("FALSE") == Some(&[0])
        && value_of("TRUE") == Some(&[1])
}

fn refused(stored: &DatatypeMessage) -> Error {
    use DatatypeMessage as Stored;
    let what = match stored {
        Stored::FixedPoint { size, bit_precision, .. } => {
            format!("{size}-byte integers of {bit_precision} bits")
        }
        Stored::FloatingPoint { size, bit_precision, .. } => {
            format!("{size}-byte floats of {bit_precision} bits that are not IEEE 754's")
        }
        Stored::BitField { size, .. } => format!("bit fields of {size} bytes"),
        Stored::Opaque { tag, .. } if !tag.is_empty() => format!("opaque elements ('{tag}')"),
        Stored::Opaque { .. } => "opaque elements".into(),
        Stored::FixedString { padding, .. } => format!("strings with padding {padding}"),
        Stored::Reference { kind: ReferenceKind::Object1 | ReferenceKind::Object2, .. } => {
            "object references".into()
        }
        Stored::Reference { .. } => "region references".into(),
        Stored::VarLenString { .. } => "variable-length strings".into(),
        Stored::VarLenSequence { .. } => "variable-length sequences".into(),
        _ => "elements of this type".into(),
    };
    Error::unsupported(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numpy_names_say_order_and_width() {
        let element = Element::of(&DatatypeMessage::f32_type()).unwrap();
        assert_eq!((element.numpy().as_str(), element.arrow()), ("<f4", DataType::Float32));
        let half = Element::of(&DatatypeMessage::f16_type()).unwrap();
        assert_eq!((half.numpy().as_str(), half.arrow()), ("<f2", DataType::Float32));
        assert_eq!(Element::of(&DatatypeMessage::bool_type()).unwrap(), Element::Bool);
    }

    #[test]
    fn a_field_outside_its_record_is_invalid() {
        let members = vec![CompoundMember {
            name: "a".into(),
            offset: 6,
            datatype: DatatypeMessage::i32_type(),
        }];
        let error = Element::of(&DatatypeMessage::compound(8, members)).unwrap_err();
        assert!(error.message().contains("'a' ends outside"), "{error}");
    }
}
