//! Which HDF5 element types are read, and as what.

use almagest_engine::{Error, Result};
use arrow::datatypes::DataType;
use hdf5_pure::{Dataset, Datatype, DatatypeByteOrder, FloatingPointLayout};

/// A stored element type that is read.
#[derive(Clone, Debug, PartialEq)]
pub struct ElementType {
    /// What the element is in Arrow; of the same width as in the file.
    pub arrow: DataType,
    /// Whether bytes must be swapped on this machine.
    pub swapped: bool,
    /// NumPy's name, such as `<f4`.
    pub numpy: String,
}

impl ElementType {
    /// Bytes of an element.
    pub fn width(&self) -> usize {
        self.arrow.primitive_width().unwrap_or(1)
    }

    /// The element type of a stored type.
    ///
    /// # Errors
    /// `Unsupported`, naming the type.
    pub fn of(stored: &Datatype) -> Result<Self> {
        let (order, size, kind) = match stored {
            Datatype::FixedPoint { size, byte_order, layout }
                if layout.bit_offset == 0 && u32::from(layout.bit_precision) == size * 8 =>
            {
                (byte_order, *size, if layout.signed { 'i' } else { 'u' })
            }
            Datatype::FloatingPoint { size, byte_order, layout }
                if *layout == FloatingPointLayout::IEEE754_BINARY32
                    || *layout == FloatingPointLayout::IEEE754_BINARY64 =>
            {
                (byte_order, *size, 'f')
            }
            other => return Err(refused(other)),
        };
        let arrow = match (kind, size) {
            ('i', 1) => DataType::Int8,
            ('i', 2) => DataType::Int16,
            ('i', 4) => DataType::Int32,
            ('i', 8) => DataType::Int64,
            ('u', 1) => DataType::UInt8,
            ('u', 2) => DataType::UInt16,
            ('u', 4) => DataType::UInt32,
            ('u', 8) => DataType::UInt64,
            ('f', 4) => DataType::Float32,
            ('f', 8) => DataType::Float64,
            _ => return Err(refused(stored)),
        };
        let (mark, stored_little) = match order {
            DatatypeByteOrder::LittleEndian => ('<', true),
            DatatypeByteOrder::BigEndian => ('>', false),
            DatatypeByteOrder::Vax => return Err(refused(stored)),
        };
        let swapped = size > 1 && stored_little != cfg!(target_endian = "little");
        Ok(Self { arrow, swapped, numpy: format!("{mark}{kind}{size}") })
    }

    /// The dataset's fill value as bytes of this machine's order; zero unless it declares one.
    ///
    /// # Errors
    /// `DataInvalid`.
    pub fn fill_bytes(&self, dataset: &Dataset) -> Result<Vec<u8>> {
        macro_rules! fill {
            ($type:ty) => {
                dataset
                    .fill_value::<$type>()
                    .map(|value| value.unwrap_or_default().to_ne_bytes().to_vec())
            };
        }
        let bytes = match self.arrow {
            DataType::Int8 => fill!(i8),
            DataType::Int16 => fill!(i16),
            DataType::Int32 => fill!(i32),
            DataType::Int64 => fill!(i64),
            DataType::UInt8 => fill!(u8),
            DataType::UInt16 => fill!(u16),
            DataType::UInt32 => fill!(u32),
            DataType::UInt64 => fill!(u64),
            DataType::Float32 => fill!(f32),
            _ => fill!(f64),
        };
        bytes.map_err(|cause| {
            Error::data_invalid(format!("the fill value cannot be read: {cause}")).caused_by(cause)
        })
    }
}

fn refused(stored: &Datatype) -> Error {
    let what = match stored {
        Datatype::FixedPoint { size, layout, .. } => {
            format!("{size}-byte integers of {} bits", layout.bit_precision)
        }
        Datatype::FloatingPoint { size, .. } => format!("{size}-byte floats of this layout"),
        Datatype::Time { .. } => "the HDF5 time type".into(),
        Datatype::String { .. } => "fixed-length strings".into(),
        Datatype::BitField { .. } => "bit fields".into(),
        Datatype::Opaque { .. } => "opaque elements".into(),
        Datatype::Compound { .. } => "compound elements (complex numbers among them)".into(),
        Datatype::Reference { .. } => "references".into(),
        Datatype::Enumeration { .. } => "enumerations (booleans among them)".into(),
        Datatype::VariableLength { .. } => "variable-length elements".into(),
        Datatype::Array { .. } => "array elements".into(),
        _ => "elements of this type".into(),
    };
    Error::unsupported(format!("{what}; readable are 8- to 64-bit integers, f32 and f64"))
}

/// Swaps the bytes of every element of `width` bytes.
pub fn swap_bytes(bytes: &mut [u8], width: usize) {
    bytes.chunks_exact_mut(width.max(1)).for_each(<[u8]>::reverse);
}
