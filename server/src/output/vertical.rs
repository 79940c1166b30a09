//! Answers row by row as text: one value a line, or a row of a Markdown table.

use std::io::{BufWriter, Write};

use almagest::Result;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::{Writer, cannot_reach, cells};

/// One value a line, under a line with the row's number.
pub struct VerticalWriter<W: Write> {
    out: BufWriter<W>,
    names: Vec<String>,
    name_width: usize,
    rows: u64,
}

impl<W: Write> VerticalWriter<W> {
    /// An answer of these columns.
    pub fn new(out: W, schema: &SchemaRef) -> Self {
        let names = cells::names(schema);
        let name_width = names.iter().map(|name| cells::width(name)).max().unwrap_or(0);
        Self { out: BufWriter::new(out), names, name_width, rows: 0 }
    }

    fn row(&mut self, row: &[String]) -> std::io::Result<()> {
        self.rows += 1;
        let Self { out, name_width, .. } = self;
        write!(out, "-[ row {} ]", self.rows)?;
        cells::fill(out, b'-', *name_width)?;
        writeln!(out)?;
        for (name, cell) in self.names.iter().zip(row) {
            for (index, line) in cell.split('\n').enumerate() {
                let name = if index == 0 { name.as_str() } else { "" };
                out.write_all(name.as_bytes())?;
                cells::fill(out, b' ', *name_width - cells::width(name))?;
                writeln!(out, " | {line}")?;
            }
        }
        Ok(())
    }
}

impl<W: Write> Writer for VerticalWriter<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        for row in cells::rows(batch)? {
            self.row(&row).map_err(cannot_reach)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.out.flush().map_err(cannot_reach)
    }
}

/// A Markdown table; numbers stand to the right.
pub struct MarkdownWriter<W: Write> {
    out: BufWriter<W>,
    names: Vec<String>,
    numeric: Vec<bool>,
    begun: bool,
}

impl<W: Write> MarkdownWriter<W> {
    /// An answer of these columns.
    pub fn new(out: W, schema: &SchemaRef) -> Self {
        Self {
            out: BufWriter::new(out),
            names: cells::names(schema),
            numeric: cells::numeric(schema),
            begun: false,
        }
    }

    fn begin(&mut self) -> std::io::Result<()> {
        if !std::mem::replace(&mut self.begun, true) {
            let names = std::mem::take(&mut self.names);
            self.row(&names)?;
            for numeric in &self.numeric {
                write!(self.out, "|{}", if *numeric { "---:" } else { "---" })?;
            }
            writeln!(self.out, "|")?;
        }
        Ok(())
    }

    fn row(&mut self, row: &[String]) -> std::io::Result<()> {
        for cell in row {
            let cell = cell.replace('\\', "\\\\").replace('|', "\\|").replace('\n', "<br>");
            write!(self.out, "| {cell} ")?;
        }
        writeln!(self.out, "|")
    }
}

impl<W: Write> Writer for MarkdownWriter<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.begin().map_err(cannot_reach)?;
        for row in cells::rows(batch)? {
            self.row(&row).map_err(cannot_reach)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.begin().and_then(|()| self.out.flush()).map_err(cannot_reach)
    }
}
