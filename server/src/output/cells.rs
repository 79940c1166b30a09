//! Values as text for people: the cells of tables, Markdown and vertical answers.

use std::io::{self, Read, Write};

use almagest::Result;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use unicode_width::UnicodeWidthStr;

use super::cannot_write;

/// The word for a missing value, told from an empty text.
const NULL: &str = "NULL";

/// The cells of a batch, row by row. Control characters but line ends are escaped, so that a value
/// cannot steer a terminal.
pub fn rows(batch: &RecordBatch) -> Result<Vec<Vec<String>>> {
    let options = FormatOptions::default().with_null(NULL);
    let formatters = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
        .collect::<Result<Vec<_>, _>>()
        .map_err(cannot_write)?;
    let row = |index| -> Result<Vec<String>> {
        let cell = |formatter: &ArrayFormatter<'_>| {
            formatter.value(index).try_to_string().map(escaped).map_err(cannot_write)
        };
        formatters.iter().map(cell).collect()
    };
    (0..batch.num_rows()).map(row).collect()
}

/// Writes a letter many times. The widths of `format!` end at 65,535, and then it panics.
pub fn fill(out: &mut impl Write, letter: u8, count: usize) -> std::io::Result<()> {
    io::copy(&mut io::repeat(letter).take(count as u64), out).map(drop)
}

/// The names of the columns.
pub fn names(schema: &SchemaRef) -> Vec<String> {
    schema.fields().iter().map(|field| escaped(field.name().clone())).collect()
}

/// Whether each column holds numbers, which stand to the right.
pub fn numeric(schema: &SchemaRef) -> Vec<bool> {
    let is_numeric = |kind: &DataType| match kind {
        DataType::Dictionary(_, values) => values.is_numeric(),
        kind => kind.is_numeric(),
    };
    schema.fields().iter().map(|field| is_numeric(field.data_type())).collect()
}

/// Columns that the widest line of a text takes on a terminal.
pub fn width(text: &str) -> usize {
    text.split('\n').map(UnicodeWidthStr::width).max().unwrap_or(0)
}

fn escaped(text: String) -> String {
    let harmful = |c: char| c.is_control() && c != '\n';
    if !text.contains(harmful) {
        return text;
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if harmful(c) { safe.extend(c.escape_default()) } else { safe.push(c) }
    }
    safe
}
