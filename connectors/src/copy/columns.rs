//! Which columns of a query are dimensions, and which are values.
//!
//! Dimensions are the columns that the option `dims` names; without it, the `BIGINT` columns in
//! front, never the last column, and none behind the last that has a default name of dimensions
//! (`x`, `y`, `z`, `d0`, …): in `y, x, count(*), avg(value)` the count is a value.

use almagest_engine::{Error, Result};
use arrow::datatypes::{DataType, Field, SchemaRef};

use super::options::Options;
use crate::cells::{Dimension, Layout, Value};

/// The columns of a query.
pub struct Columns {
    /// The dimensions, slowest first.
    pub dims: Vec<Dimension>,
    values: Vec<(String, usize, DataType)>,
}

impl Columns {
    /// The columns of `schema`.
    ///
    /// # Errors
    /// `Plan` if none is a dimension or none a value, or names come twice.
    pub fn of(schema: &SchemaRef, options: &Options) -> Result<Self> {
        let fields: Vec<&Field> = schema.fields().iter().map(AsRef::as_ref).collect();
        let positions = match options.words("dims") {
            Some(names) => named(&names, &fields)?,
            None => (0..leading(&fields)).collect(),
        };
        let dims: Vec<Dimension> = positions
            .iter()
            .map(|column| Dimension { name: fields[*column].name().clone(), column: *column })
            .collect();
        let values = fields.iter().enumerate().filter(|(column, _)| !positions.contains(column));
        let values: Vec<_> = values
            .map(|(column, field)| (field.name().clone(), column, field.data_type().clone()))
            .collect();
        if dims.is_empty() || values.is_empty() {
            return Err(Error::plan(
                "an array needs a BIGINT column for each dimension, then values, such as \
                 SELECT y, x, value; cast with ::BIGINT, or name the columns with OPTIONS \
                 ('dims' 'y,x')",
            ));
        }
        Ok(Self { dims, values })
    }

    /// The array that these columns make, without a chunk shape.
    ///
    /// # Errors
    /// `Plan` for options that do not fit, `Unsupported` for values that are no numbers.
    pub fn layout(&self, options: &Options) -> Result<Layout> {
        let values = self.values.iter().map(|(name, column, data_type)| {
            let value = number(name, *column, data_type, options);
            value.map_err(|error| error.with("column", name))
        });
        Ok(Layout {
            values: values.collect::<Result<_>>()?,
            shape: options.lengths("shape", self.dims.len())?,
            chunk_shape: vec![],
            dims: self.dims.clone(),
        })
    }
}

/// How many columns in front are dimensions.
fn leading(fields: &[&Field]) -> usize {
    let candidates = &fields[..fields.len().saturating_sub(1)];
    let is_index = |field: &&&Field| *field.data_type() == DataType::Int64;
    let count = candidates.iter().take_while(is_index).count();
    let by_default = |field: &&Field| {
        let name = field.name();
        let numbered = name.strip_prefix('d').filter(|number| !number.is_empty());
        ["x", "y", "z"].contains(&name.as_str())
            || numbered.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let last = candidates[..count].iter().rposition(by_default);
    last.map_or(count, |last| last + 1)
}

/// The positions of the columns with these names.
fn named(names: &[&str], fields: &[&Field]) -> Result<Vec<usize>> {
    let mut found = vec![];
    for name in names {
        let position = fields.iter().position(|field| field.name() == name);
        let position = position.filter(|position| !found.contains(position)).ok_or_else(|| {
            let all: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
            Error::plan(format!(
                "'dims' names '{name}', which is no other column; there are {}",
                all.join(", ")
            ))
        })?;
        if *fields[position].data_type() != DataType::Int64 {
            return Err(Error::plan(format!(
                "the dimension {name} is of type {}; cast it with ::BIGINT",
                fields[position].data_type()
            )));
        }
        found.push(position);
    }
    Ok(found)
}

fn number(name: &str, column: usize, data_type: &DataType, options: &Options) -> Result<Value> {
    let stored = match data_type {
        DataType::Boolean => DataType::UInt8,
        other => other.clone(),
    };
    let width = stored.primitive_width().filter(|_| stored.is_integer() || stored.is_floating());
    let width = width.ok_or_else(|| {
        Error::unsupported(format!("values of type {data_type} in an array; cast them to a number"))
    })?;
    let given = options.text("fill_value");
    let fill = match given {
        Some(text) => element(text, &stored)
            .ok_or_else(|| options.wrong("fill_value", &format!("a value of type {stored}")))?,
        None if stored.is_floating() => {
            element("NaN", &stored).ok_or_else(|| Error::bug("a float type without NaN"))?
        }
        None => vec![0; width],
    };
    let null_is_fill = stored.is_floating() || given.is_some();
    Ok(Value { name: name.into(), column, data_type: stored, width, fill, null_is_fill })
}

/// A number as bytes in memory.
fn element(text: &str, data_type: &DataType) -> Option<Vec<u8>> {
    macro_rules! parsed {
        ($type:ty) => {
            text.parse::<$type>().ok()?.to_ne_bytes().to_vec()
        };
    }
    Some(match data_type {
        DataType::Int8 => parsed!(i8),
        DataType::Int16 => parsed!(i16),
        DataType::Int32 => parsed!(i32),
        DataType::Int64 => parsed!(i64),
        DataType::UInt8 => parsed!(u8),
        DataType::UInt16 => parsed!(u16),
        DataType::UInt32 => parsed!(u32),
        DataType::UInt64 => parsed!(u64),
        DataType::Float16 => half::f16::from_f64(text.parse().ok()?).to_ne_bytes().to_vec(),
        DataType::Float32 => parsed!(f32),
        DataType::Float64 => parsed!(f64),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leading_of(columns: &[(&str, DataType)]) -> usize {
        let fields: Vec<Field> =
            columns.iter().map(|(name, of)| Field::new(*name, of.clone(), true)).collect();
        leading(&fields.iter().collect::<Vec<_>>())
    }

    #[test]
    fn dimensions_are_the_integers_in_front() {
        use DataType::{Float64, Int64};
        assert_eq!(leading_of(&[("y", Int64), ("x", Int64), ("v", Float64)]), 2);
        assert_eq!(leading_of(&[("y", Int64), ("x", Int64), ("n", Int64), ("v", Float64)]), 2);
        assert_eq!(leading_of(&[("y", Int64), ("x", Int64), ("n", Int64)]), 2);
        assert_eq!(leading_of(&[("time", Int64), ("lat", Int64), ("v", Float64)]), 2);
        assert_eq!(leading_of(&[("d0", Int64), ("dx", Int64), ("v", Float64)]), 1);
        assert_eq!(leading_of(&[("v", Float64), ("x", Int64)]), 0);
        assert_eq!(leading_of(&[]), 0);
    }
}
