//! `COPY … TO 'file.png'`: an array of two dimensions as an image to look at.
//!
//! In: finished chunks and options. Out: a picture of 8 bits, the first dimension downwards. Values
//! are kept as 32-bit floats, all of them, since the limits of the scale depend on all: so there is
//! a largest image. Not here: limits of the scale ([`limits`]), colours
//! ([`colormap`]), the bytes of the file ([`encode`]).

mod colormap;
mod encode;
mod limits;

use std::path::Path;
use std::sync::Arc;

use almagest_engine::{Error, Result};
use arrow::datatypes::DataType;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use parking_lot::Mutex;

use crate::cells::{ChunkTarget, Layout};
use crate::copy::{ArrayFormat, Begin, Options};
use crate::partial_file::{PartialFile, Remover};
use colormap::Colormap;
use encode::Palette;
use limits::Limits;

/// Pixels of the largest image: 8192 x 8192.
const PIXELS_MAX: u64 = 1 << 26;
/// Colours of an image.
const COLOURS: usize = 256;
/// Bytes of a chunk that is collected, about.
const CHUNK_BYTES: u64 = 1 << 20;
/// Where the asinh stretch turns from linear to logarithmic, as in `astropy.visualization`.
const ASINH_A: f64 = 0.1;

/// PNG as what COPY writes.
#[derive(Debug)]
pub struct PngCopy;

impl ArrayFormat for PngCopy {
    fn name(&self) -> &'static str {
        "PNG"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["png"]
    }

    fn options(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("stretch", "linear, sqrt, asinh, or zscale: linear between limits by IRAF's zscale"),
            ("limits", "minmax, zscale, values such as 0,100, or percentiles such as p1,p99"),
            ("colormap", "gray, viridis, magma, inferno, plasma or coolwarm"),
            ("origin", "upper: row 0 at the top; lower: at the bottom"),
            ("nan", "transparent, or the colour of NaN and of cells that do not come: #rrggbb"),
        ]
    }

    fn prepare(&self, options: &Options, layout: &mut Layout) -> Result<Arc<dyn Begin>> {
        if layout.dims.len() != 2 || layout.values.len() != 1 {
            return Err(Error::plan(format!(
                "an image has two dimensions and one value; got {} dimensions and {}",
                layout.dims.len(),
                layout.value_names()
            )));
        }
        let fill: f32 = match options.text("fill_value") {
            None => f32::NAN,
            Some(text) => text.parse().map_err(|_| options.wrong("fill_value", "a number"))?,
        };
        for value in &mut layout.values {
            value.data_type = DataType::Float32;
            value.width = size_of::<f32>();
            value.fill = fill.to_ne_bytes().to_vec();
            value.null_is_fill = true;
        }
        layout.chunk(None, CHUNK_BYTES);
        let picture = Picture::try_new(options)?;
        if let Some(shape) = &layout.shape {
            check(shape)?;
        }
        Ok(Arc::new(picture))
    }
}

/// How values become colours.
#[derive(Clone, Debug)]
struct Picture {
    stretch: Stretch,
    limits: Limits,
    colormap: &'static Colormap,
    lower: bool,
    /// The colour of what is no number; transparent if absent.
    nan: Option<[u8; 3]>,
}

#[derive(Clone, Copy, Debug)]
enum Stretch {
    Linear,
    Sqrt,
    Asinh,
}

impl Picture {
    fn try_new(options: &Options) -> Result<Self> {
        let limits = options.text("limits").map(|text| {
            let expected = "minmax, zscale, two values such as 0,100, or two percentiles such as \
                            p1,p99, the smaller first";
            Limits::parse(text).ok_or_else(|| options.wrong("limits", expected))
        });
        let limits = limits.transpose()?;
        let (stretch, default) = match options.text("stretch") {
            None | Some("linear") => (Stretch::Linear, Limits::MinMax),
            Some("sqrt") => (Stretch::Sqrt, Limits::MinMax),
            Some("asinh") => (Stretch::Asinh, Limits::MinMax),
            Some("zscale") if limits.is_none() => (Stretch::Linear, Limits::Zscale),
            Some("zscale") => {
                return Err(options.wrong("stretch", "no zscale beside 'limits'; leave one out"));
            }
            Some(_) => return Err(options.wrong("stretch", "linear, sqrt, asinh or zscale")),
        };
        let name = options.text("colormap").unwrap_or("gray");
        let colormap = Colormap::by_name(name)
            .ok_or_else(|| options.wrong("colormap", &format!("one of {}", colormap::names())))?;
        let nan =
            match options.text("nan") {
                None | Some("transparent") => None,
                Some(text) => Some(colormap::parse(text).ok_or_else(|| {
                    options.wrong("nan", "transparent or a colour such as #ff0000")
                })?),
            };
        let lower = match options.text("origin") {
            None | Some("upper") => false,
            Some("lower") => true,
            Some(_) => return Err(options.wrong("origin", "upper or lower")),
        };
        Ok(Self { stretch, limits: limits.unwrap_or(default), colormap, lower, nan })
    }
}

impl Begin for Picture {
    fn begin(
        &self,
        path: &Path,
        _: &Layout,
        context: &TaskContext,
    ) -> Result<Box<dyn ChunkTarget>> {
        let consumer = MemoryConsumer::new("pixels of an image");
        Ok(Box::new(PngFile {
            file: PartialFile::create(path)?,
            picture: self.clone(),
            memory: consumer.register(context.memory_pool()),
            shape: [0, 0],
            chunk_shape: [0, 0],
            pixels: Mutex::default(),
        }))
    }
}

/// Refuses shapes that no image has.
fn check(shape: &[u64]) -> Result<[usize; 2]> {
    let [height, width] = *shape else { return Err(Error::bug("an image of other dimensions")) };
    let pixels = height.saturating_mul(width);
    if pixels <= PIXELS_MAX {
        return Ok([height as usize, width as usize]);
    }
    let mut factor = 2;
    while (height / factor).saturating_mul(width / factor) > PIXELS_MAX {
        factor *= 2;
    }
    Err(Error::unsupported(format!(
        "an image of {height} x {width} pixels; there may be {PIXELS_MAX} (8192 x 8192): average \
         blocks first, as in SELECT y/{factor} AS y, x/{factor} AS x, avg(value) AS value … GROUP BY \
         y/{factor}, x/{factor}"
    )))
}

struct PngFile {
    file: PartialFile,
    picture: Picture,
    memory: MemoryReservation,
    shape: [usize; 2],
    chunk_shape: [usize; 2],
    /// Row-major.
    pixels: Mutex<Vec<f32>>,
}

impl ChunkTarget for PngFile {
    fn needs_shape(&self) -> bool {
        true
    }

    fn remover(&self) -> Remover {
        self.file.remover()
    }

    fn set_shape(&mut self, shape: &[u64], chunk_shape: &[u64]) -> Result<()> {
        self.shape = check(shape)?;
        self.chunk_shape = [chunk_shape[0] as usize, chunk_shape[1] as usize];
        let count = self.shape[0] * self.shape[1];
        // The pixels, and as much for putting them in order or for the bytes of the file.
        self.memory.try_grow(2 * count * size_of::<f32>())?;
        *self.pixels.get_mut() = vec![f32::NAN; count];
        Ok(())
    }

    fn write(&self, start: &[u64], values: &[Vec<u8>]) -> Result<()> {
        let elements = values[0].as_chunks::<4>().0;
        let [y0, x0] = [start[0] as usize, start[1] as usize];
        let width = self.chunk_shape[1].min(self.shape[1] - x0);
        let mut pixels = self.pixels.lock();
        let rows = elements.chunks_exact(self.chunk_shape[1]);
        for (y, row) in (y0..self.shape[0]).zip(rows) {
            let at = y * self.shape[1] + x0;
            for (pixel, element) in pixels[at..at + width].iter_mut().zip(row) {
                *pixel = f32::from_ne_bytes(*element);
            }
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let pixels = self.pixels.into_inner();
        let [height, width] = self.shape;
        let (palette, lines) = self.picture.paint(&pixels, width);
        let bytes = encode::encode(height as u32, width as u32, &palette, &lines)?;
        self.file.write_at(&bytes, 0)?;
        self.file.publish()
    }
}

impl Picture {
    /// The colours of an image, and its rows from the top, each pixel a position in them. The last
    /// colour belongs to what is no number, if there is any.
    fn paint(&self, pixels: &[f32], width: usize) -> (Palette, Vec<u8>) {
        let holes = pixels.iter().any(|pixel| pixel.is_nan());
        let levels = if holes { COLOURS - 1 } else { COLOURS };
        let (low, high) = self.limits.of(pixels);
        let mut lines = Vec::with_capacity(pixels.len() + pixels.len() / width);
        let mut add = |row: &[f32]| {
            lines.push(0);
            lines.extend(row.iter().map(|pixel| match pixel.is_nan() {
                true => levels as u8,
                false => self.stretch.level((*pixel).into(), low, high, levels) as u8,
            }));
        };
        match self.lower {
            false => pixels.chunks_exact(width).for_each(&mut add),
            true => pixels.chunks_exact(width).rev().for_each(&mut add),
        }
        let mut colours = self.colormap.table(levels);
        if holes {
            colours.push(self.nan.unwrap_or_default());
        }
        let gray = self.colormap.is_gray() && !holes;
        let last_is_transparent = holes && self.nan.is_none();
        (Palette { colours: (!gray).then_some(colours), last_is_transparent }, lines)
    }
}

impl Stretch {
    /// The position of a value among so many colours.
    fn level(self, value: f64, low: f64, high: f64, levels: usize) -> usize {
        let part = match low < high {
            true => ((value - low) / (high - low)).clamp(0.0, 1.0),
            false if value > high => 1.0,
            false => 0.0,
        };
        let part = match self {
            Self::Linear => part,
            Self::Sqrt => part.sqrt(),
            Self::Asinh => libm::asinh(part / ASINH_A) / libm::asinh(1.0 / ASINH_A),
        };
        ((part * levels as f64) as usize).min(levels - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected: `int(min(stretch(x) * 256, 255))` with astropy's stretches.
    #[test]
    fn stretches_are_astropys() {
        let levels =
            |stretch: Stretch| [0.0, 0.05, 0.25, 0.5, 1.0].map(|x| stretch.level(x, 0.0, 1.0, 256));
        assert_eq!(levels(Stretch::Linear), [0, 12, 64, 128, 255]);
        assert_eq!(levels(Stretch::Sqrt), [0, 57, 128, 181, 255]);
        assert_eq!(levels(Stretch::Asinh), [0, 41, 140, 197, 255]);
        assert_eq!(Stretch::Linear.level(7.0, 7.0, 7.0, 256), 0);
        assert_eq!(Stretch::Linear.level(f64::INFINITY, 7.0, 7.0, 256), 255);
        assert_eq!(Stretch::Linear.level(f64::NEG_INFINITY, 0.0, 7.0, 256), 0);
    }
}
