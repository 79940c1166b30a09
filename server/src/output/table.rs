//! Answers as boxes of text.
//!
//! Rows are measured and drawn in sections, so memory is bounded however long the answer is: a
//! section with wider values than those above begins with a line of the new widths.

use std::io::{BufWriter, Write};

use almagest::Result;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::{Writer, cannot_reach, cells};

/// A section ends at this many rows or bytes of text.
const SECTION_ROWS: usize = 10_000;
const SECTION_BYTES: usize = 8 << 20;
/// A column is not made narrower than this to fit a terminal.
const COLUMN_WIDTH_MIN: usize = 8;

/// Draws a table.
pub struct TableWriter<W: Write> {
    out: BufWriter<W>,
    names: Vec<String>,
    numeric: Vec<bool>,
    widths: Vec<usize>,
    width_max: Option<usize>,
    section: Vec<Vec<String>>,
    section_bytes: usize,
    begun: bool,
}

impl<W: Write> TableWriter<W> {
    /// A table of at most `width_max` columns of the terminal, if the values can be broken so.
    pub fn new(out: W, schema: &SchemaRef, width_max: Option<usize>) -> Self {
        Self {
            out: BufWriter::new(out),
            names: cells::names(schema),
            numeric: cells::numeric(schema),
            widths: vec![0; schema.fields().len()],
            width_max,
            section: vec![],
            section_bytes: 0,
            begun: false,
        }
    }

    fn draw_section(&mut self) -> std::io::Result<()> {
        let mut widths = self.widths.clone();
        for row in std::iter::once(&self.names).chain(&self.section) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cells::width(cell));
            }
        }
        let widths = fitted(widths, self.width_max);
        let changed = widths != self.widths;
        self.widths = widths;
        if !self.begun {
            self.begun = true;
            self.border()?;
            let names = std::mem::take(&mut self.names);
            self.row(&names, false)?;
            self.border()?;
        } else if changed {
            self.border()?;
        }
        for row in std::mem::take(&mut self.section) {
            self.row(&row, true)?;
        }
        self.section_bytes = 0;
        Ok(())
    }

    fn border(&mut self) -> std::io::Result<()> {
        for width in &self.widths {
            self.out.write_all(b"+")?;
            cells::fill(&mut self.out, b'-', width + 2)?;
        }
        writeln!(self.out, "+")
    }

    fn row(&mut self, row: &[String], align: bool) -> std::io::Result<()> {
        let wrapped: Vec<Vec<String>> =
            row.iter().zip(&self.widths).map(|(cell, width)| wrapped(cell, *width)).collect();
        let height = wrapped.iter().map(Vec::len).max().unwrap_or(1);
        for line in 0..height {
            for ((cell, width), numeric) in wrapped.iter().zip(&self.widths).zip(&self.numeric) {
                let text = cell.get(line).map_or("", String::as_str);
                let blanks = width.saturating_sub(cells::width(text));
                let (left, right) = if *numeric && align { (blanks, 0) } else { (0, blanks) };
                self.out.write_all(b"| ")?;
                cells::fill(&mut self.out, b' ', left)?;
                self.out.write_all(text.as_bytes())?;
                cells::fill(&mut self.out, b' ', right + 1)?;
            }
            writeln!(self.out, "|")?;
        }
        Ok(())
    }
}

impl<W: Write> Writer for TableWriter<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        for start in (0..batch.num_rows()).step_by(1024) {
            let part = batch.slice(start, 1024.min(batch.num_rows() - start));
            for row in cells::rows(&part)? {
                self.section_bytes += row.iter().map(String::len).sum::<usize>();
                self.section.push(row);
                if self.section.len() >= SECTION_ROWS || self.section_bytes >= SECTION_BYTES {
                    self.draw_section().map_err(cannot_reach)?;
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        let mut finish = || {
            if !self.section.is_empty() || !self.begun {
                self.draw_section()?;
            }
            self.border()?;
            self.out.flush()
        };
        finish().map_err(cannot_reach)
    }
}

/// Narrows the widest columns until the table fits; unchanged if it cannot.
fn fitted(mut widths: Vec<usize>, width_max: Option<usize>) -> Vec<usize> {
    let frame = 3 * widths.len() + 1;
    let Some(room) = width_max.and_then(|width_max| width_max.checked_sub(frame)) else {
        return widths;
    };
    let least: usize = widths.iter().map(|width| (*width).min(COLUMN_WIDTH_MIN)).sum();
    if least > room {
        return widths;
    }
    while widths.iter().sum::<usize>() > room {
        // The widest column gives way down to the next one, or as far as is needed.
        let excess = widths.iter().sum::<usize>() - room;
        let widest = widths.iter().copied().max().unwrap_or(0);
        let next = widths.iter().copied().filter(|width| *width < widest).max().unwrap_or(0);
        let count = widths.iter().filter(|width| **width == widest).count();
        let cut = (widest - next.max(COLUMN_WIDTH_MIN)).min(excess.div_ceil(count)).max(1);
        widths.iter_mut().filter(|width| **width == widest).for_each(|width| *width -= cut);
    }
    widths
}

/// The lines of a cell, broken where they are wider than the column.
fn wrapped(cell: &str, width: usize) -> Vec<String> {
    if !cell.contains('\n') && cells::width(cell) <= width {
        return vec![cell.to_string()];
    }
    let mut lines = vec![];
    for line in cell.split('\n') {
        let mut current = String::new();
        let mut taken = 0;
        for c in line.chars() {
            let wide = cells::width(c.encode_utf8(&mut [0; 4]));
            if taken + wide > width && !current.is_empty() {
                lines.push(std::mem::take(&mut current));
                taken = 0;
            }
            current.push(c);
            taken += wide;
        }
        lines.push(current);
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    fn draw(columns: Vec<(&str, ArrayRef)>, width_max: Option<usize>) -> String {
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, column)| (name, column, true)),
        )
        .unwrap();
        let mut bytes = vec![];
        let mut writer = TableWriter::new(&mut bytes, &batch.schema(), width_max);
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        drop(writer);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn numbers_stand_right_and_lines_stay_lines() {
        let drawn = draw(
            vec![
                ("n", Arc::new(Int64Array::from(vec![Some(1), None, Some(-1234)]))),
                ("text", Arc::new(StringArray::from(vec!["a\nbc", "é", "\u{1b}[2J"]))),
            ],
            None,
        );
        let expected = "\
+-------+-----------+
| n     | text      |
+-------+-----------+
|     1 | a         |
|       | bc        |
|  NULL | é         |
| -1234 | \\u{1b}[2J |
+-------+-----------+
";
        assert_eq!(drawn, expected);
    }

    #[test]
    fn a_wide_value_is_broken_to_fit_a_terminal_and_nothing_is_lost() {
        let drawn =
            draw(vec![("t", Arc::new(StringArray::from(vec!["abcdefghijklmnopqrst"])))], Some(16));
        let expected = "\
+--------------+
| t            |
+--------------+
| abcdefghijkl |
| mnopqrst     |
+--------------+
";
        assert_eq!(drawn, expected);
    }

    #[test]
    fn a_long_answer_is_drawn_in_sections_with_every_row() {
        let numbers: Vec<i64> = (0..25_000).collect();
        let drawn = draw(vec![("n", Arc::new(Int64Array::from(numbers)))], None);
        // Top, header, its line, one line before the section with five digits, and the bottom.
        assert_eq!(drawn.lines().count(), 25_000 + 5);
        assert_eq!(drawn.lines().filter(|line| line.starts_with('+')).count(), 4);
    }
}
