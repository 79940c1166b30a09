//! Element types by NumPy's names: `'f4'`, `'float32'`.

use almagest_engine::Result;
use almagest_engine::array::Arguments;
use arrow::datatypes::DataType;

const NAMES: [(&str, &str, DataType); 11] = [
    ("?", "bool", DataType::Boolean),
    ("i1", "int8", DataType::Int8),
    ("i2", "int16", DataType::Int16),
    ("i4", "int32", DataType::Int32),
    ("i8", "int64", DataType::Int64),
    ("u1", "uint8", DataType::UInt8),
    ("u2", "uint16", DataType::UInt16),
    ("u4", "uint32", DataType::UInt32),
    ("u8", "uint64", DataType::UInt64),
    ("f4", "float32", DataType::Float32),
    ("f8", "float64", DataType::Float64),
];

/// The type that `dtype` names.
///
/// # Errors
/// `Plan` for an unknown name.
pub fn element_type(arguments: &Arguments) -> Result<Option<DataType>> {
    let Some(name) = arguments.text("dtype")? else { return Ok(None) };
    let found = NAMES.iter().find(|(short, long, _)| name == *short || name == *long);
    let names: Vec<&str> = NAMES.iter().map(|(short, ..)| *short).collect();
    let expected = || arguments.wrong("dtype", &format!("one of {}", names.join(", ")));
    found.map(|(.., data_type)| Some(data_type.clone())).ok_or_else(expected)
}

/// The type of floating-point numbers that `dtype` names: DOUBLE without it.
///
/// # Errors
/// `Plan` for any other.
pub fn float_type(arguments: &Arguments) -> Result<DataType> {
    match element_type(arguments)?.unwrap_or(DataType::Float64) {
        float if float.is_floating() => Ok(float),
        _ => Err(arguments.wrong("dtype", "'f4' or 'f8'; cast the values for another type")),
    }
}
