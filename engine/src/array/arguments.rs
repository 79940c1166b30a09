//! The constant arguments of a call of an array function, checked as they are taken.
//!
//! In: one value per parameter, NULL for one left out. Out: numbers, texts, boundary modes, one for
//! each axis, or an error that names function, argument, what was seen and what was expected.
//!
//! Arguments that a dimension names: [`named`]. Which arguments are the same: [`comparable()`].

mod comparable;
mod named;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::common::ScalarValue;

pub use comparable::comparable;

use super::{ArrayLambda, Boundary};
use crate::{Error, Result};

/// The arguments after the array's.
#[derive(Clone, Debug)]
pub struct Arguments {
    function: &'static str,
    names: &'static [&'static str],
    values: Vec<ScalarValue>,
    /// What the lambda gives, known before the lambda is.
    lambda_type: Option<DataType>,
    lambda: Option<ArrayLambda>,
    /// Arguments named by something else than a parameter, such as a dimension.
    named: Vec<(String, ScalarValue)>,
}

/// A nested list of numbers: its shape, and the numbers in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Nested {
    /// Items at each depth.
    pub shape: Vec<usize>,
    /// The numbers.
    pub values: Vec<f64>,
}

impl Arguments {
    /// The arguments `values` of `function`, whose parameters are `names`.
    ///
    /// # Errors
    /// `Plan` if there are too many.
    pub fn try_new(
        function: &'static str,
        names: &'static [&'static str],
        values: Vec<ScalarValue>,
    ) -> Result<Self> {
        if values.len() > names.len() {
            return Err(Error::plan(format!(
                "{function} takes at most {} arguments, value, {}; got {}",
                names.len() + 1,
                names.join(", "),
                values.len() + 1
            )));
        }
        Ok(Self { function, names, values, lambda_type: None, lambda: None, named: vec![] })
    }

    /// The same with a lambda that gives this type.
    #[must_use]
    pub fn with_lambda_type(self, lambda_type: DataType) -> Self {
        Self { lambda_type: Some(lambda_type), ..self }
    }

    /// The same with this lambda.
    ///
    /// # Errors
    /// `Bug` if the lambda does not fit its parameter.
    pub fn with_lambda(self, lambda: ArrayLambda) -> Result<Self> {
        Ok(Self { lambda: Some(lambda.clone()), ..self.with_lambda_type(lambda.output_type()?) })
    }

    /// The lambda.
    ///
    /// # Errors
    /// `Plan` without one.
    pub fn lambda(&self) -> Result<&ArrayLambda> {
        self.lambda.as_ref().ok_or_else(|| self.no_lambda())
    }

    /// The type of what the lambda gives.
    ///
    /// # Errors
    /// `Plan` without one.
    pub fn lambda_type(&self) -> Result<&DataType> {
        self.lambda_type.as_ref().ok_or_else(|| self.no_lambda())
    }

    /// An error about what the lambda gives.
    pub fn wrong_lambda(&self, expected: &str, seen: &DataType) -> Error {
        Error::plan(format!(
            "{}: the lambda must give {expected}, not {seen}; cast it",
            self.function
        ))
    }

    /// An error for a call without a lambda in its place.
    pub fn no_lambda(&self) -> Error {
        self.wrong(super::LAMBDA, "a function of a list, such as w -> array_max(w)")
    }

    /// The values of the parameters, in order, as far as they were given.
    pub fn values(&self) -> &[ScalarValue] {
        &self.values
    }

    /// The function's name.
    pub fn function(&self) -> &'static str {
        self.function
    }

    /// An argument; `None` if it was left out or is NULL.
    ///
    /// # Errors
    /// `Bug` if the function has no such parameter.
    pub fn get(&self, name: &str) -> Result<Option<&ScalarValue>> {
        if let Some((_, value)) = self.named.iter().find(|(known, _)| known == name) {
            return Ok(Some(value).filter(|value| !value.is_null()));
        }
        let Some(place) = self.names.iter().position(|known| *known == name) else {
            return Err(Error::bug(format!("{} has no parameter {name}", self.function)));
        };
        Ok(self.values.get(place).filter(|value| !value.is_null()))
    }

    /// An error about an argument.
    pub fn wrong(&self, name: &str, expected: &str) -> Error {
        let seen = match self.get(name) {
            Ok(Some(value)) => match value.try_as_str().flatten() {
                Some(text) => format!("'{text}'"),
                None => value.to_string(),
            },
            _ => "nothing".into(),
        };
        Error::plan(format!("{}: {name} must be {expected}, not {seen}", self.function))
    }

    /// A number.
    ///
    /// # Errors
    /// `Plan` if it is none.
    pub fn number(&self, name: &str) -> Result<Option<f64>> {
        let Some(value) = self.get(name)? else { return Ok(None) };
        match value.cast_to(&DataType::Float64) {
            Ok(ScalarValue::Float64(Some(number))) if value.data_type().is_numeric() => {
                Ok(Some(number))
            }
            _ => Err(self.wrong(name, "a number")),
        }
    }

    /// A whole number.
    ///
    /// # Errors
    /// `Plan` if it is none.
    pub fn integer(&self, name: &str) -> Result<Option<i64>> {
        let Some(number) = self.number(name)? else { return Ok(None) };
        whole(number).map(Some).ok_or_else(|| self.wrong(name, "a whole number"))
    }

    /// A text.
    ///
    /// # Errors
    /// `Plan` if it is none.
    pub fn text(&self, name: &str) -> Result<Option<String>> {
        let Some(value) = self.get(name)? else { return Ok(None) };
        match value.try_as_str() {
            Some(Some(text)) => Ok(Some(text.to_string())),
            _ => Err(self.wrong(name, "a text")),
        }
    }

    /// Whether `dtype => 'same'` asks for the array's own type.
    ///
    /// # Errors
    /// `Plan` for any other text.
    pub fn keeps_type(&self) -> Result<bool> {
        match self.text("dtype")?.as_deref() {
            None => Ok(false),
            Some("same") => Ok(true),
            Some(_) => Err(self.wrong("dtype", "'same' or left out")),
        }
    }

    /// Whether `nan => 'ignore'` leaves NaN out of windows.
    ///
    /// # Errors
    /// `Plan` for any other text than 'propagate'.
    pub fn ignores_nan(&self) -> Result<bool> {
        match self.text("nan")?.as_deref() {
            None | Some("propagate") => Ok(false),
            Some("ignore") => Ok(true),
            Some(_) => Err(self.wrong("nan", "'propagate' or 'ignore'")),
        }
    }

    /// The axes that `axes` names, in its order; all of `dimensions` without it.
    ///
    /// # Errors
    /// `Plan` for axes that the array does not have, or has twice.
    pub fn axes(&self, dimensions: usize) -> Result<Vec<usize>> {
        let Some(value) = self.get("axes")? else { return Ok((0..dimensions).collect()) };
        let mut axes = vec![];
        for number in self.numbers("axes", value)? {
            let axis = whole(number).and_then(|axis| axis_of(axis, dimensions));
            let axis = axis.ok_or_else(|| {
                self.wrong("axes", &format!("axes of an array of {dimensions} dimensions"))
            })?;
            if axes.contains(&axis) {
                return Err(self.wrong("axes", "different axes"));
            }
            axes.push(axis);
        }
        Ok(axes)
    }

    /// The axis that `name` names, counted from the end if negative.
    ///
    /// # Errors
    /// `Plan` for an axis that the array does not have.
    pub fn axis(&self, name: &str, dimensions: usize) -> Result<Option<usize>> {
        let Some(axis) = self.integer(name)? else { return Ok(None) };
        let found = axis_of(axis, dimensions);
        let expected = format!("an axis of an array of {dimensions} dimensions");
        found.map(Some).ok_or_else(|| self.wrong(name, &expected))
    }

    /// A number for each of `count` axes: one for all, or a list.
    ///
    /// # Errors
    /// `Plan` for another count, or what is no number.
    pub fn number_per_axis(&self, name: &str, count: usize) -> Result<Option<Vec<f64>>> {
        let Some(value) = self.get(name)? else { return Ok(None) };
        let numbers = self.numbers(name, value)?;
        match numbers.as_slice() {
            [one] if !is_list(value) => Ok(Some(vec![*one; count])),
            numbers if numbers.len() == count => Ok(Some(numbers.to_vec())),
            _ => Err(self.wrong(name, &format!("one number, or one for each of {count} axes"))),
        }
    }

    /// A whole number for each of `count` axes.
    ///
    /// # Errors
    /// As [`Arguments::number_per_axis`].
    pub fn integer_per_axis(&self, name: &str, count: usize) -> Result<Option<Vec<i64>>> {
        let Some(numbers) = self.number_per_axis(name, count)? else { return Ok(None) };
        let integers: Option<Vec<i64>> = numbers.into_iter().map(whole).collect();
        integers.map(Some).ok_or_else(|| self.wrong(name, "whole numbers"))
    }

    /// A list of whole numbers, or one number as a list of it.
    ///
    /// # Errors
    /// `Plan` for what is neither.
    pub fn integers(&self, name: &str) -> Result<Option<Vec<i64>>> {
        let Some(value) = self.get(name)? else { return Ok(None) };
        let items = items(value).filter(|items| items.data_type().is_integer());
        let items = items.and_then(|items| cast(&items, &DataType::Int64).ok());
        let items = items.filter(|items| items.null_count() == 0);
        let items = items.ok_or_else(|| self.wrong(name, "a whole number or a list of them"))?;
        Ok(Some(items.as_primitive::<Int64Type>().values().to_vec()))
    }

    /// The length of a window on each of `count` axes, at least 1.
    ///
    /// # Errors
    /// As [`Arguments::number_per_axis`], and for lengths below 1 or above 2³¹.
    pub fn size_per_axis(&self, name: &str, count: usize) -> Result<Option<Vec<usize>>> {
        let Some(sizes) = self.integer_per_axis(name, count)? else { return Ok(None) };
        if sizes.iter().any(|size| !(1..=i64::from(i32::MAX)).contains(size)) {
            return Err(self.wrong(name, "1 or more on each axis"));
        }
        Ok(Some(sizes.into_iter().map(|size| size as usize).collect()))
    }

    /// How far windows of these sizes are shifted: `origin`, 0 without it. Windows still hold the
    /// element that they belong to.
    ///
    /// # Errors
    /// `Plan` for a shift out of the window.
    pub fn origins(&self, sizes: &[usize]) -> Result<Vec<i64>> {
        let origins = self.integer_per_axis("origin", sizes.len())?;
        let origins = origins.unwrap_or_else(|| vec![0; sizes.len()]);
        for (origin, size) in origins.iter().zip(sizes) {
            let half = (*size / 2) as i64;
            if !(0..*size as i64).contains(&(half + origin)) {
                let expected = format!(
                    "between {} and {} for a size of {size}",
                    -half,
                    (*size as i64) - half - 1
                );
                return Err(self.wrong("origin", &expected));
            }
        }
        Ok(origins)
    }

    /// The boundary mode of each of `count` axes, from `mode` and `cval`: reflect without them.
    ///
    /// # Errors
    /// `Plan` for unknown modes.
    pub fn boundaries(&self, count: usize) -> Result<Vec<Boundary>> {
        let cval = self.number("cval")?.unwrap_or(0.0);
        let Some(value) = self.get("mode")? else { return Ok(vec![Boundary::Reflect; count]) };
        let named = |name: &str| {
            Boundary::named(name, cval)
                .map_err(|error| Error::plan(format!("{}: {}", self.function, error.message())))
        };
        if let Some(Some(name)) = value.try_as_str() {
            return Ok(vec![named(name)?; count]);
        }
        let names = items(value).and_then(|items| cast(&items, &DataType::Utf8).ok());
        let modes = match &names {
            Some(names) if is_list(value) && names.null_count() == 0 => {
                names.as_string::<i32>().iter().flatten().map(named).collect::<Result<Vec<_>>>()?
            }
            _ => vec![],
        };
        if modes.len() != count {
            let expected = format!("a mode, or a list of one for each of {count} axes");
            return Err(self.wrong("mode", &expected));
        }
        Ok(modes)
    }

    /// A nested list, one depth for each of `count` axes.
    ///
    /// # Errors
    /// `Plan` for another depth, lists of different lengths, empty ones, or what is no number.
    pub fn nested(&self, name: &str, count: usize) -> Result<Option<Nested>> {
        let Some(value) = self.get(name)? else { return Ok(None) };
        let expected = format!("a list nested {count} deep, one for each axis, of equal lengths");
        let wrong = || self.wrong(name, &expected);
        let mut shape = vec![];
        let mut level = value.to_array()?;
        while let Some((lengths, inner)) = lists(&level) {
            let first = *lengths.first().ok_or_else(wrong)?;
            if first == 0 || lengths.iter().any(|length| *length != first) {
                return Err(wrong());
            }
            shape.push(first);
            level = inner;
        }
        let numeric = level.data_type().is_numeric() || level.data_type() == &DataType::Boolean;
        let numbers = cast(&level, &DataType::Float64).ok().filter(|_| numeric);
        let numbers = numbers.filter(|numbers| numbers.null_count() == 0).ok_or_else(wrong)?;
        if shape.len() != count {
            return Err(wrong());
        }
        let values = numbers.as_primitive::<Float64Type>().values().to_vec();
        Ok(Some(Nested { shape, values }))
    }

    fn numbers(&self, name: &str, value: &ScalarValue) -> Result<Vec<f64>> {
        let items = items(value).filter(|items| items.data_type().is_numeric());
        let numbers = items.and_then(|items| cast(&items, &DataType::Float64).ok());
        let numbers = numbers.filter(|numbers| numbers.null_count() == 0);
        let numbers = numbers.ok_or_else(|| self.wrong(name, "a number or a list of numbers"))?;
        Ok(numbers.as_primitive::<Float64Type>().values().to_vec())
    }
}

fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64)
}

fn axis_of(axis: i64, dimensions: usize) -> Option<usize> {
    let axis = if axis < 0 { axis + dimensions as i64 } else { axis };
    usize::try_from(axis).ok().filter(|axis| *axis < dimensions)
}

fn is_list(value: &ScalarValue) -> bool {
    value.data_type().is_list()
}

/// A value's items if it is a list, else itself.
fn items(value: &ScalarValue) -> Option<ArrayRef> {
    let array = value.to_array().ok()?;
    match lists(&array) {
        Some((_, items)) => Some(items),
        None => Some(array),
    }
}

/// The lengths of an array of lists and all their items; `None` if it is none.
fn lists(array: &ArrayRef) -> Option<(Vec<usize>, ArrayRef)> {
    if array.null_count() > 0 {
        return None;
    }
    let array = match array.data_type() {
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            cast(array, &DataType::LargeList(field.clone())).ok()?
        }
        _ => return None,
    };
    let list = array.as_list::<i64>();
    let offsets = list.offsets();
    let lengths = offsets.windows(2).map(|pair| (pair[1] - pair[0]) as usize).collect();
    let first = *offsets.first()? as usize;
    let len = *offsets.last()? as usize - first;
    Some((lengths, list.values().slice(first, len)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[&str] = &["size", "mode", "cval", "origin", "axes", "weights"];

    fn list(values: &[i64]) -> ScalarValue {
        let values: Vec<ScalarValue> = values.iter().map(|v| ScalarValue::from(*v)).collect();
        ScalarValue::List(ScalarValue::new_list_nullable(&values, &DataType::Int64))
    }

    fn with(place: usize, value: ScalarValue) -> Arguments {
        let mut values = vec![ScalarValue::Null; NAMES.len()];
        values[place] = value;
        Arguments::try_new("f", NAMES, values).unwrap()
    }

    #[test]
    fn one_number_stands_for_all_axes() {
        assert_eq!(with(0, 3_i64.into()).size_per_axis("size", 2).unwrap(), Some(vec![3, 3]));
        assert_eq!(with(0, list(&[3, 5])).size_per_axis("size", 2).unwrap(), Some(vec![3, 5]));
        assert_eq!(with(1, "wrap".into()).size_per_axis("size", 2).unwrap(), None);
    }

    #[test]
    fn wrong_arguments_are_answered_with_what_was_expected() {
        let message = |error: Error| error.to_string();
        let error = with(0, list(&[3])).size_per_axis("size", 2).unwrap_err();
        assert!(message(error).contains("f: size must be one number, or one for each of 2 axes"));
        let error = with(0, 0_i64.into()).size_per_axis("size", 2).unwrap_err();
        assert!(message(error).contains("1 or more on each axis, not 0"));
        let error = with(3, 2_i64.into()).origins(&[3, 3]).unwrap_err();
        assert!(message(error).contains("between -1 and 1 for a size of 3, not 2"));
        let error = with(4, list(&[0, 2])).axes(2).unwrap_err();
        assert!(message(error).contains("axes of an array of 2 dimensions"));
        let error = with(1, "refelct".into()).boundaries(1).unwrap_err();
        assert!(message(error).contains("f: no boundary mode 'refelct'"));
        assert!(Arguments::try_new("f", &["a"], vec![ScalarValue::Null; 2]).is_err());
    }

    #[test]
    fn axes_count_from_the_end_if_negative() {
        assert_eq!(with(4, list(&[-1])).axes(3).unwrap(), [2]);
        assert_eq!(with(0, (-2_i64).into()).axis("size", 3).unwrap(), Some(1));
    }

    #[test]
    fn nested_lists_have_a_shape() {
        let row = |values: &[i64]| list(values);
        let rows = [row(&[1, 2, 3]), row(&[4, 5, 6])];
        let kernel = ScalarValue::List(ScalarValue::new_list_nullable(&rows, &rows[0].data_type()));
        let nested = with(5, kernel).nested("weights", 2).unwrap().unwrap();
        assert_eq!(nested.shape, [2, 3]);
        assert_eq!(nested.values, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert!(with(5, list(&[1])).nested("weights", 2).is_err());
        let ragged = [row(&[1, 2]), row(&[4])];
        let ragged =
            ScalarValue::List(ScalarValue::new_list_nullable(&ragged, &ragged[0].data_type()));
        assert!(with(5, ragged).nested("weights", 2).is_err());
    }
}
