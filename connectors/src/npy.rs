//! `COPY … TO 'file.npy'`: one array in NumPy's format, version 1.0, in C order.
//!
//! In: finished chunks. Out: a header and the elements, each run of them written at its place (NumPy
//! Enhancement Proposal 1 and `numpy.lib.format`). Places are known once the shape is: where neither
//! options nor the plan say it, chunks wait until the last row has come. Not here: reading.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use almagest_engine::{Error, Result};
use arrow::datatypes::DataType;
use datafusion::execution::TaskContext;
use parking_lot::Mutex;

use crate::cells::{ChunkTarget, Layout, array_bytes};
use crate::copy::{ArrayFormat, Begin, Options};
use crate::partial_file::{PartialFile, Remover};

/// Bytes of a chunk that is collected, about.
const CHUNK_BYTES: u64 = 1 << 20;
/// The header ends at a multiple of this.
const ALIGNMENT: usize = 64;
/// Bytes before the text of the header: magic, version, length.
const PREFIX_BYTES: usize = 10;

/// NumPy's format as what COPY writes.
#[derive(Debug)]
pub struct NpyCopy;

impl ArrayFormat for NpyCopy {
    fn name(&self) -> &'static str {
        "NPY"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["npy"]
    }

    fn options(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    fn prepare(&self, _: &Options, layout: &mut Layout) -> Result<Arc<dyn Begin>> {
        if layout.values.len() != 1 {
            return Err(Error::plan(format!(
                "an NPY file holds one array, and {} are values; copy each to a file of its own, or \
                 all to an HDF5 file",
                layout.value_names()
            )));
        }
        layout.chunk(None, CHUNK_BYTES);
        Ok(Arc::new(BeginFile))
    }
}

#[derive(Debug)]
struct BeginFile;

impl Begin for BeginFile {
    fn begin(&self, path: &Path, layout: &Layout, _: &TaskContext) -> Result<Box<dyn ChunkTarget>> {
        let value = layout.values.first().ok_or_else(|| Error::bug("an array without values"))?;
        Ok(Box::new(NpyFile {
            file: PartialFile::create(path)?,
            descr: descr(&value.data_type),
            fill: value.fill.clone(),
            shape: vec![],
            chunk_shape: vec![],
            first: 0,
            written: Mutex::default(),
        }))
    }
}

struct NpyFile {
    file: PartialFile,
    /// NumPy's name of the type.
    descr: String,
    fill: Vec<u8>,
    shape: Vec<u64>,
    chunk_shape: Vec<u64>,
    /// Where the first element stands.
    first: u64,
    written: Mutex<HashSet<Box<[u64]>>>,
}

impl ChunkTarget for NpyFile {
    fn needs_shape(&self) -> bool {
        true
    }

    fn remover(&self) -> Remover {
        self.file.remover()
    }

    fn set_shape(&mut self, shape: &[u64], chunk_shape: &[u64]) -> Result<()> {
        let header = header(&self.descr, shape)?;
        self.first = header.len() as u64;
        let bytes = array_bytes(shape, self.fill.len())?.saturating_add(self.first);
        self.file.reserve(bytes)?;
        self.file.write_at(&header, 0)?;
        (self.shape, self.chunk_shape) = (shape.to_vec(), chunk_shape.to_vec());
        Ok(())
    }

    fn write(&self, start: &[u64], values: &[Vec<u8>]) -> Result<()> {
        let elements = values.first().ok_or_else(|| Error::bug("a chunk without values"))?;
        self.written.lock().insert(start.into());
        self.put(start, elements)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        if self.fill.iter().any(|byte| *byte != 0) {
            self.fill_rest()?;
        }
        self.file.publish()
    }
}

impl NpyFile {
    /// Writes what of a chunk lies in the array.
    fn put(&self, start: &[u64], elements: &[u8]) -> Result<()> {
        let width = self.fill.len();
        let axes = self.shape.iter().zip(&self.chunk_shape).zip(start);
        let inside: Vec<u64> =
            axes.map(|((length, chunk), start)| (length - start).min(*chunk)).collect();
        // Axes from this one on lie one behind the other in the chunk as in the file.
        let mut joined = start.len() - 1;
        while joined > 0
            && self.chunk_shape[joined] == self.shape[joined]
            && inside[joined] == self.shape[joined]
        {
            joined -= 1;
        }
        let run = inside[joined..].iter().product::<u64>() as usize * width;
        let mut index = vec![0; joined];
        loop {
            let (mut from, mut to) = (0, 0);
            for (axis, start) in start.iter().enumerate() {
                let within = index.get(axis).copied().unwrap_or(0);
                from = from * self.chunk_shape[axis] + within;
                to = to * self.shape[axis] + start + within;
            }
            let from = from as usize * width;
            let to = self.first + to * width as u64;
            self.file.write_at(&elements[from..from + run], to)?;
            if !step(&mut index, &inside) {
                return Ok(());
            }
        }
    }

    /// Writes the fill value where no cell came.
    fn fill_rest(&self) -> Result<()> {
        let cells = self.chunk_shape.iter().product::<u64>() as usize;
        let elements = self.fill.repeat(cells);
        let axes = self.shape.iter().zip(&self.chunk_shape);
        let counts: Vec<u64> = axes.map(|(length, chunk)| length.div_ceil(*chunk)).collect();
        let written = self.written.lock();
        let mut index = vec![0; counts.len()];
        loop {
            let start: Vec<u64> =
                index.iter().zip(&self.chunk_shape).map(|(index, chunk)| index * chunk).collect();
            if !written.contains(start.as_slice()) {
                self.put(&start, &elements)?;
            }
            if !step(&mut index, &counts) {
                return Ok(());
            }
        }
    }
}

/// The next index in row-major order; false behind the last.
fn step(index: &mut [u64], lengths: &[u64]) -> bool {
    for axis in (0..index.len()).rev() {
        index[axis] += 1;
        if index[axis] < lengths[axis] {
            return true;
        }
        index[axis] = 0;
    }
    false
}

/// NumPy's name of a number, such as `<f4`.
fn descr(data_type: &DataType) -> String {
    let width = data_type.primitive_width().unwrap_or(1);
    let kind = match data_type {
        float if float.is_floating() => 'f',
        signed if signed.is_signed_integer() => 'i',
        _ => 'u',
    };
    let order = match width {
        1 => '|',
        _ if cfg!(target_endian = "little") => '<',
        _ => '>',
    };
    format!("{order}{kind}{width}")
}

fn header(descr: &str, shape: &[u64]) -> Result<Vec<u8>> {
    let lengths: String = shape.iter().map(|length| format!("{length}, ")).collect();
    let lengths = if shape.len() > 1 { lengths.trim_end_matches(", ") } else { lengths.trim_end() };
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({lengths}), }}");
    let end = (PREFIX_BYTES + text.len() + 1).next_multiple_of(ALIGNMENT);
    let bytes = u16::try_from(end - PREFIX_BYTES)
        .map_err(|_| Error::plan(format!("{} axes are too many for an NPY file", shape.len())))?;
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend_from_slice(&bytes.to_le_bytes());
    header.extend_from_slice(text.as_bytes());
    header.resize(end - 1, b' ');
    header.push(b'\n');
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected: `numpy.lib.format.write_array_header_1_0` of NumPy 2.4.
    #[test]
    fn the_header_is_numpys() {
        let of = |descr: &str, shape: &[u64]| {
            let header = header(descr, shape).unwrap();
            assert_eq!(header.len() % ALIGNMENT, 0);
            String::from_utf8(header[PREFIX_BYTES..].to_vec()).unwrap()
        };
        let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }";
        assert_eq!(of("<f4", &[3, 4]).trim_end(), text);
        let text = "{'descr': '|u1', 'fortran_order': False, 'shape': (5,), }";
        assert_eq!(of("|u1", &[5]).trim_end(), text);
        assert_eq!(descr(&DataType::UInt8), "|u1");
        assert_eq!(descr(&DataType::Float64), "<f8");
        assert_eq!(descr(&DataType::Int16), "<i2");
    }
}
