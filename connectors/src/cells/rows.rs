//! Rows as runs of cells: which chunk each begins in, and where.
//!
//! In: a record batch. Out: for a row its [`Place`], and how many rows follow each other along the
//! last axis from there. Not here: what is done with them ([`super::chunk`]).

use almagest_engine::{Error, Result};
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::buffer::Buffer;
use arrow::compute::cast;
use arrow::datatypes::Int64Type;

use super::layout::{Layout, Value, cell_name};

/// The rows of a batch.
pub struct Rows {
    dims: Vec<Int64Array>,
    values: Vec<(Buffer, usize)>,
    count: usize,
}

/// Where a cell lies.
#[derive(Default)]
pub struct Place {
    /// The first cell of its chunk.
    pub start: Vec<u64>,
    /// Its position among the chunk's cells.
    pub offset: usize,
    /// Cells of the chunk and of the array from it on, along the last axis.
    pub room: usize,
}

impl Rows {
    /// The rows of `batch`, values as they are stored.
    ///
    /// # Errors
    /// `Plan` for NULL as an index, or as a value where it means nothing.
    pub fn try_new(layout: &Layout, batch: &RecordBatch) -> Result<Self> {
        let index = |column: usize| {
            let column = batch.column(column).as_primitive_opt::<Int64Type>();
            column.cloned().ok_or_else(|| Error::bug("a dimension that is not BIGINT"))
        };
        let dims = layout.dims.iter().map(|dim| index(dim.column)).collect::<Result<Vec<_>>>()?;
        let rows = Self { dims, values: vec![], count: batch.num_rows() };
        for (dim, indices) in layout.dims.iter().zip(&rows.dims) {
            if let Some(row) = first_null(indices) {
                return Err(Error::plan(format!(
                    "dimension {} is NULL in a row: {}; leave such rows out with WHERE {} IS NOT \
                     NULL",
                    dim.name,
                    rows.cell(layout, row),
                    dim.name
                )));
            }
        }
        let stored = |value: &Value| {
            let column = batch.column(value.column);
            match first_null(column).filter(|_| !value.null_is_fill) {
                None => Ok((bytes_of(column, value)?, value.width)),
                Some(row) => Err(Error::plan(format!(
                    "{} is NULL in {}, and integers have no such value; give one with OPTIONS \
                     ('fill_value' '…') or use coalesce",
                    value.name,
                    rows.cell(layout, row)
                ))),
            }
        };
        let values = layout.values.iter().map(stored).collect::<Result<_>>()?;
        Ok(Self { values, ..rows })
    }

    /// How many rows there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Raises `largest` to the largest index of each dimension.
    pub fn raise(&self, largest: &mut [i64]) {
        for (largest, indices) in largest.iter_mut().zip(&self.dims) {
            *largest = indices.values().iter().fold(*largest, |largest, index| largest.max(*index));
        }
    }

    /// Says in `place` where the cell of `row` lies.
    ///
    /// # Errors
    /// `Plan` for an index outside the array.
    pub fn locate(&self, row: usize, layout: &Layout, place: &mut Place) -> Result<()> {
        place.start.clear();
        place.offset = 0;
        for (axis, indices) in self.dims.iter().enumerate() {
            let index = indices.values()[row];
            let length = layout.shape.as_ref().map_or(i64::MAX as u64, |shape| shape[axis]);
            let inside = u64::try_from(index).ok().filter(|index| *index < length);
            let index = inside.ok_or_else(|| self.outside(layout, row, axis))?;
            let chunk = layout.chunk_shape[axis];
            let within = index % chunk;
            place.start.push(index - within);
            place.offset = place.offset * chunk as usize + within as usize;
            place.room = (chunk - within).min(length - index) as usize;
        }
        Ok(())
    }

    /// How many rows from `row` on are neighbours along the last axis; at most `room`.
    pub fn run(&self, row: usize, room: usize) -> usize {
        let Some((last, outer)) = self.dims.split_last() else { return 1 };
        let end = self.count.min(row.saturating_add(room));
        let indices = &last.values()[row..end];
        let first = indices[0];
        let steps = indices.iter().enumerate();
        let mut count =
            steps.take_while(|(step, index)| **index == first.wrapping_add(*step as i64)).count();
        for dim in outer {
            let indices = &dim.values()[row..row + count];
            count = indices.iter().take_while(|index| **index == indices[0]).count();
        }
        count
    }

    /// The elements of `count` rows from `row` on, for each value.
    pub fn values(&self, row: usize, count: usize) -> impl Iterator<Item = &[u8]> {
        self.values.iter().map(move |(bytes, width)| &bytes[row * width..(row + count) * width])
    }

    fn cell(&self, layout: &Layout, row: usize) -> String {
        let indices = self.dims.iter().map(|indices| match indices.is_null(row) {
            true => "NULL".to_string(),
            false => indices.value(row).to_string(),
        });
        cell_name(&layout.dims, &indices.collect::<Vec<_>>())
    }

    fn outside(&self, layout: &Layout, row: usize, axis: usize) -> Error {
        let (cell, name) = (self.cell(layout, row), &layout.dims[axis].name);
        let index = self.dims[axis].value(row);
        match &layout.shape {
            Some(shape) if index >= 0 => Error::plan(format!(
                "{cell} lies outside the array: {name} has the length {}; raise 'shape' or leave \
                 such rows out",
                shape[axis]
            )),
            None if index >= 0 => Error::plan(format!("{cell}: no array is so long")),
            _ => Error::plan(format!(
                "{cell} lies outside the array: indices begin at 0; leave such rows out or add an \
                 offset to {name}"
            )),
        }
    }
}

fn first_null(column: &dyn Array) -> Option<usize> {
    column.nulls().filter(|nulls| nulls.null_count() > 0).and_then(|nulls| {
        let is_null = |row: &usize| nulls.is_null(*row);
        (0..nulls.len()).find(is_null)
    })
}

/// The elements of a column as they are stored, NULL as the fill value.
fn bytes_of(column: &ArrayRef, value: &Value) -> Result<Buffer> {
    let stored = match column.data_type() == &value.data_type {
        true => ArrayRef::clone(column),
        false => cast(column, &value.data_type)
            .map_err(|cause| Error::bug("values that do not cast").caused_by(cause))?,
    };
    let data = stored.to_data();
    let (from, bytes) = (data.offset() * value.width, data.len() * value.width);
    let elements = data.buffers()[0].slice_with_length(from, bytes);
    let Some(nulls) = stored.nulls().filter(|nulls| nulls.null_count() > 0) else {
        return Ok(elements);
    };
    let mut filled = elements.to_vec();
    for (row, element) in filled.chunks_exact_mut(value.width).enumerate() {
        if nulls.is_null(row) {
            element.copy_from_slice(&value.fill);
        }
    }
    Ok(Buffer::from_vec(filled))
}
