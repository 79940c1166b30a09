//! What each function would make of its arguments.
//!
//! In: a function's name and arguments. Out: bytes, exact or at most. What is not named here copies its
//! arguments at most once: that is right for functions that cut, search, compare and rearrange.

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, IntervalMonthDayNanoType, TimeUnit};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};

use super::sizes::{PerRow, all_bytes, integers, text_at};

/// What a function would make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// How much; not less than it will be.
    pub amount: u64,
    /// Whether it will be as much.
    pub is_exact: bool,
    /// Whether it is bytes; else pairs of characters that are compared.
    pub is_bytes: bool,
}

impl Size {
    fn exact(rows: impl Iterator<Item = u64>) -> Self {
        Self { is_exact: true, ..Self::at_most(rows) }
    }

    fn at_most(rows: impl Iterator<Item = u64>) -> Self {
        let amount = rows.fold(0, u64::saturating_add);
        Self { amount, is_exact: false, is_bytes: true }
    }
}

/// Letters of the longest number, date or other value as text, for each byte of the value.
const LETTERS_PER_BYTE: u64 = 40;
/// Letters that a letter of a time's format may give.
const LETTERS_PER_FORMAT: u64 = 32;
/// Where a replacement might make a text longer by so much, the places are counted.
const COUNTED_BYTES_MIN: u64 = 64 << 10;
/// Milliseconds of the shortest month.
const MONTH_MS: i128 = 28 * DAY_MS;
const DAY_MS: i128 = 86_400_000;

/// The rows that a call gives.
pub fn rows_of(args: &ScalarFunctionArgs) -> usize {
    let columns = args.args.iter().any(|arg| matches!(arg, ColumnarValue::Array(_)));
    if columns { args.number_rows } else { 1 }
}

/// What the function `name` would make of these arguments.
///
/// # Errors
/// Those of reading the arguments as numbers.
pub fn size(name: &str, args: &ScalarFunctionArgs) -> DfResult<Size> {
    let rows = rows_of(args);
    let values = args.args.as_slice();
    let copied = || values.iter().map(|value| all_bytes(value, rows)).fold(0, u64::saturating_add);
    let times = |factor: u64| Size::at_most(std::iter::once(copied().saturating_mul(factor)));
    Ok(match (name, values) {
        ("repeat", [text, count]) => {
            let (text, count) = (PerRow::bytes(text), integers(count, rows)?);
            Size::exact(
                count.iter().enumerate().map(|(row, n)| text.at(row).saturating_mul(length(*n))),
            )
        }
        ("lpad" | "rpad", [_, count, ..]) => {
            let width = if is_ascii(values) { 1 } else { 4 };
            let count = integers(count, rows)?;
            let padded = count.iter().map(|n| length(*n).saturating_mul(width));
            if width == 1 { Size::exact(padded) } else { Size::at_most(padded) }
        }
        ("replace", [text, from, to]) => replaced(rows, text, from, to),
        ("regexp_replace", [text, _, to, flags @ ..]) => {
            regexp_replaced(rows, text, to, flags.first())
        }
        ("regexp_match", [text, pattern, ..]) => {
            // a group captures the text at most once
            let (text, groups) = (PerRow::bytes(text), marks(pattern, &['(']));
            let found = |row| text.at(row).saturating_mul(groups.at(row).saturating_add(1));
            Size::at_most((0..rows).map(found))
        }
        ("array_repeat", [element, count]) => {
            let (element, count) = (PerRow::bytes(element), integers(count, rows)?);
            // beside the element its position, by which it is taken
            let each = |row| element.at(row).saturating_mul(2).saturating_add(8);
            Size::exact(
                count.iter().enumerate().map(|(row, n)| length(*n).saturating_mul(each(row))),
            )
        }
        ("array_resize", [list, count, element @ ..]) => {
            let element = element.first().map_or(PerRow::Same(8), PerRow::bytes);
            let (list, count) = (PerRow::bytes(list), integers(count, rows)?);
            let each = |row| element.at(row).max(list.at(row).min(16)).max(1);
            Size::exact(
                count.iter().enumerate().map(|(row, n)| length(*n).saturating_mul(each(row))),
            )
        }
        ("array_replace" | "array_replace_n" | "array_replace_all", [list, _, to, ..]) => {
            let (bytes, count) = (PerRow::bytes(list), PerRow::elements(list)?);
            let to = PerRow::bytes(to);
            let one = |row| bytes.at(row).saturating_add(count.at(row).saturating_mul(to.at(row)));
            Size::at_most((0..rows).map(one))
        }
        ("range" | "generate_series", _) => counted(rows, values)?,
        ("array_to_string", [list, between, ..]) => {
            let null = values.get(2).map_or(PerRow::Same(0), PerRow::bytes);
            let (bytes, between) = (PerRow::bytes(list), PerRow::bytes(between));
            let one = |row| {
                let text = bytes.at(row).saturating_mul(LETTERS_PER_BYTE);
                let rest = between.at(row).saturating_add(null.at(row));
                text.saturating_add(bytes.at(row).saturating_mul(rest))
            };
            Size::at_most((0..rows).map(one))
        }
        ("concat_ws", [between, ..]) => {
            let joints = all_bytes(between, rows).saturating_mul(values.len() as u64);
            Size::at_most([copied(), joints].into_iter())
        }
        ("levenshtein", [one, other]) => {
            let (one, other) = (PerRow::bytes(one), PerRow::bytes(other));
            let pairs = (0..rows).map(|row| one.at(row).saturating_mul(other.at(row)));
            Size { is_bytes: false, ..Size::exact(pairs) }
        }
        ("to_char" | "date_format", _) => times(LETTERS_PER_FORMAT),
        ("string_to_array", _) => times(8),
        ("translate", _) => times(4),
        ("upper" | "lower" | "initcap", _) => times(3),
        ("encode", _) => times(2),
        ("arrays_zip", _) => times(values.len().max(1) as u64),
        _ => times(1),
    })
}

fn length(count: Option<i64>) -> u64 {
    count.map_or(0, |count| u64::try_from(count).unwrap_or(0))
}

/// Whether texts are of letters that take a byte each.
fn is_ascii(values: &[ColumnarValue]) -> bool {
    values.iter().all(|value| match value {
        ColumnarValue::Scalar(value) => value.try_as_str().flatten().is_none_or(str::is_ascii),
        ColumnarValue::Array(array) => match array.data_type() {
            DataType::Utf8 => array.as_string::<i32>().is_ascii(),
            DataType::LargeUtf8 => array.as_string::<i64>().is_ascii(),
            DataType::Utf8View => array.as_string_view().is_ascii(),
            _ => true,
        },
    })
}

fn replaced(
    rows: usize,
    texts: &ColumnarValue,
    parts: &ColumnarValue,
    others: &ColumnarValue,
) -> Size {
    let (text, from, to) = (PerRow::bytes(texts), PerRow::bytes(parts), PerRow::bytes(others));
    let one = |row| {
        let (length, grows) = (text.at(row), to.at(row).saturating_sub(from.at(row)));
        let Some(most) = length.checked_div(from.at(row)) else { return length };
        let counted = most.saturating_mul(grows) > COUNTED_BYTES_MIN;
        let found = counted.then(|| text_at(texts, row).zip(text_at(parts, row))).flatten();
        let count = found.map_or(most, |(text, from)| text.matches(from).count() as u64);
        length.saturating_add(count.saturating_mul(grows))
    };
    Size::at_most((0..rows).map(one))
}

fn regexp_replaced(
    rows: usize,
    text: &ColumnarValue,
    to: &ColumnarValue,
    flags: Option<&ColumnarValue>,
) -> Size {
    let everywhere = flags.is_some_and(|flags| match flags {
        ColumnarValue::Scalar(flags) => {
            flags.try_as_str().flatten().is_some_and(|f| f.contains('g'))
        }
        ColumnarValue::Array(_) => true,
    });
    // each reference to a group in the replacement gives all that was captured, once
    let references = marks(to, &['\\', '$']);
    let (text, to) = (PerRow::bytes(text), PerRow::bytes(to));
    let one = |row| {
        let places = if everywhere { text.at(row).saturating_add(1) } else { 1 };
        let captured = text.at(row).saturating_mul(references.at(row).saturating_add(1));
        captured.saturating_add(places.saturating_mul(to.at(row)))
    };
    Size::at_most((0..rows).map(one))
}

/// How often such letters stand in each text; of a column, as often as it has letters.
fn marks(text: &ColumnarValue, letters: &[char]) -> PerRow {
    match text {
        ColumnarValue::Scalar(text) => {
            let text = text.try_as_str().flatten().unwrap_or_default();
            PerRow::Same(text.matches(letters).count() as u64)
        }
        ColumnarValue::Array(_) => PerRow::bytes(text),
    }
}

/// The bytes of lists that count from a start to a stop.
fn counted(rows: usize, values: &[ColumnarValue]) -> DfResult<Size> {
    let of_numbers = values.iter().all(|value| value.data_type().is_integer());
    let numbers = |place: usize| -> DfResult<Vec<Option<i128>>> {
        let found = match of_numbers {
            true => integers(&values[place], rows)?,
            false => integers(&as_ms(&values[place], rows)?, rows)?,
        };
        Ok(found.into_iter().map(|number| number.map(i128::from)).collect())
    };
    let (start, stop) = match values {
        [] => return Ok(Size::exact(std::iter::empty())),
        [_] => (vec![Some(0); rows], numbers(0)?),
        _ => (numbers(0)?, numbers(1)?),
    };
    let step = match values.get(2) {
        None => vec![Some(1); rows],
        Some(_) if of_numbers => numbers(2)?,
        Some(step) => steps_ms(step, rows)?,
    };
    let counts = start.into_iter().zip(stop).zip(step).map(|((start, stop), step)| {
        let (Some(start), Some(stop), Some(step)) = (start, stop, step) else { return 0 };
        let gap = stop - start;
        match step {
            // an error of its own, which says so
            0 if of_numbers => 0,
            // an interval that goes forth and back
            0 => u64::MAX,
            _ if gap.signum() * step.signum() < 0 => 0,
            _ => u64::try_from(gap / step + 1).unwrap_or(u64::MAX),
        }
    });
    let bytes = counts.map(|count| count.saturating_mul(8));
    Ok(if of_numbers { Size::exact(bytes) } else { Size::at_most(bytes) })
}

fn as_ms(value: &ColumnarValue, rows: usize) -> DfResult<ColumnarValue> {
    let array = value.clone().into_array(rows)?;
    let ms = cast(&array, &DataType::Timestamp(TimeUnit::Millisecond, None))?;
    Ok(ColumnarValue::Array(cast(&ms, &DataType::Int64)?))
}

/// The least time that intervals step; zero where days go back and months forward.
fn steps_ms(value: &ColumnarValue, rows: usize) -> DfResult<Vec<Option<i128>>> {
    let array = value.clone().into_array(rows)?;
    let Some(intervals) = array.as_primitive_opt::<IntervalMonthDayNanoType>() else {
        return Ok(vec![Some(1); rows]);
    };
    let one = |months: i32, days: i32, ns: i64| {
        let parts = [i64::from(months).signum(), i64::from(days).signum(), ns.signum()];
        if parts.contains(&1) && parts.contains(&-1) {
            return 0;
        }
        let ms = i128::from(months) * MONTH_MS + i128::from(days) * DAY_MS;
        let all = ms + i128::from(ns) / 1_000_000;
        // less than a millisecond
        if all == 0 { i128::from(ns.signum()) } else { all }
    };
    let intervals = intervals.iter();
    Ok(intervals
        .map(|step| step.map(|step| one(step.months, step.days, step.nanoseconds)))
        .collect())
}
