//! `COPY … TO 'file.h5'`: an array, or several of one shape, in a new HDF5 file.
//!
//! In: options and finished chunks. Out: one dataset for each value; its `DIMENSION_LABELS` are the
//! names of the dimensions, so that reading gives them back. Not here: the bytes of the file
//! ([`super::write`]).

use std::path::Path;
use std::sync::Arc;

use almagest_engine::Result;
use datafusion::execution::TaskContext;

use super::write::{FileWriter, NewDataset};
use crate::cells::{ChunkTarget, Layout, Value, array_bytes};
use crate::copy::{ArrayFormat, Begin, Options};
use crate::partial_file::Remover;

/// Bytes of a chunk of one value, about, unless the option says more.
const CHUNK_BYTES: u64 = 1 << 20;
/// The level that `gzip` alone means, as in h5py.
const GZIP_LEVEL: u8 = 4;

/// HDF5 as what COPY writes.
#[derive(Debug)]
pub struct Hdf5Copy;

impl ArrayFormat for Hdf5Copy {
    fn name(&self) -> &'static str {
        "HDF5"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["hdf5", "h5"]
    }

    fn options(&self) -> &'static [(&'static str, &'static str)] {
        &[
            (
                "dataset",
                "path of the array in the file, or of the group of the arrays if there are several \
                 values; else / and the names of the columns",
            ),
            ("chunks", "lengths of a chunk, such as 512,512; else about 1 MiB"),
            ("compression", "none, gzip, or gzip and a level from 1 to 12, such as gzip:4"),
            ("shuffle", "true: bytes of numbers are regrouped, so that gzip packs them better"),
        ]
    }

    fn prepare(&self, options: &Options, layout: &mut Layout) -> Result<Arc<dyn Begin>> {
        let chunks = options.lengths("chunks", layout.dims.len())?;
        layout.chunk(chunks, CHUNK_BYTES);
        let gzip_level = match options.text("compression") {
            None | Some("none") => None,
            Some("gzip") => Some(GZIP_LEVEL),
            Some(text) => {
                let level = text.strip_prefix("gzip:").and_then(|level| level.parse().ok());
                let level = level.filter(|level| (1..=12).contains(level));
                Some(level.ok_or_else(|| {
                    options.wrong("compression", "none, gzip, or gzip:1 to gzip:12")
                })?)
            }
        };
        let path = options.text("dataset").map(|path| path.trim_matches('/').to_string());
        let name = |value: &Value| match (&path, layout.values.len()) {
            (None, _) => value.name.clone(),
            (Some(path), 1) => path.clone(),
            (Some(group), _) if group.is_empty() => value.name.clone(),
            (Some(group), _) => format!("{group}/{}", value.name),
        };
        Ok(Arc::new(BeginFile {
            names: layout.values.iter().map(name).collect(),
            gzip_level,
            shuffle: options.flag("shuffle")?,
        }))
    }
}

#[derive(Debug)]
struct BeginFile {
    names: Vec<String>,
    gzip_level: Option<u8>,
    shuffle: bool,
}

impl Begin for BeginFile {
    fn begin(&self, path: &Path, layout: &Layout, _: &TaskContext) -> Result<Box<dyn ChunkTarget>> {
        let unknown = || vec![i64::MAX as u64; layout.dims.len()];
        let dataset = |(name, value): (&String, &Value)| NewDataset {
            name: name.clone(),
            dims: layout.dims.iter().map(|dim| dim.name.clone()).collect(),
            data_type: value.data_type.clone(),
            shape: layout.shape.clone().unwrap_or_else(unknown),
            chunk_shape: layout.chunk_shape.clone(),
            shuffle: self.shuffle,
            gzip_level: self.gzip_level,
            fill: Some(value.fill.clone()),
        };
        let datasets = self.names.iter().zip(&layout.values).map(dataset).collect();
        let writer = FileWriter::create(path, datasets)?;
        let widest = layout.values.iter().map(|value| value.width).max().unwrap_or(1);
        Ok(Box::new(Hdf5File { writer, names: self.names.clone(), widest }))
    }
}

struct Hdf5File {
    writer: FileWriter,
    names: Vec<String>,
    /// Bytes of the widest value's elements.
    widest: usize,
}

impl ChunkTarget for Hdf5File {
    fn needs_shape(&self) -> bool {
        false
    }

    fn remover(&self) -> Remover {
        self.writer.remover()
    }

    fn set_shape(&mut self, shape: &[u64], chunk_shape: &[u64]) -> Result<()> {
        array_bytes(shape, self.widest)?;
        self.writer.reshape(shape, chunk_shape)
    }

    fn write(&self, start: &[u64], values: &[Vec<u8>]) -> Result<()> {
        for (name, elements) in self.names.iter().zip(values) {
            self.writer.chunks(name)?.write(start, elements)?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.writer.finish().map(|_| ())
    }
}
