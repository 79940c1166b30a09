//! The image: stars on a sky with a gradient, as a detector counts them.
//!
//! Stars have a power law of fluxes and the profile of a telescope (a Gaussian); a pixel is a whole
//! number of electrons with the noise of counting and of reading out. Each chunk is made alone, from
//! the stars of its own cell and of its neighbours, so the image never stands in memory.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use almagest::{Error, Result};
use almagest_connectors::hdf5::write::{ChunkWriter, FileWriter, NewDataset};
use arrow::datatypes::DataType;
use indicatif::ProgressBar;

use super::Task;
use super::random::Random;

/// Sides of a cell of stars, and of a chunk of an image that is not smaller.
const CELL: u64 = 512;
/// Streams of random numbers.
const STARS: u64 = 0x5741;
const NOISE: u64 = 0x4e01;

/// Electrons of the sky in a pixel at the first corner, and how many more at the last.
const SKY: f64 = 220.0;
const GRADIENT: f64 = 60.0;
/// Deviation of reading out a pixel.
const READ_NOISE: f64 = 5.0;
/// Deviation of a star's profile, in pixels, and how far it is drawn.
const PSF_SIGMA: f64 = 1.7;
const PSF_RADIUS_MAX: f64 = 12.0;
/// Light of the faintest and of the brightest star; the number brighter than F goes as F^-1.1.
const FLUX_MIN: f64 = 300.0;
const FLUX_MAX: f64 = 3e6;
const FLUX_SLOPE: f64 = 1.1;
/// Level that compresses this noise as well as any.
const GZIP_LEVEL: u8 = 4;

struct Star {
    y: f64,
    x: f64,
    flux: f64,
}

/// Writes an image of `size` x `size` pixels. Returns its length in bytes.
///
/// # Errors
/// `Unreachable` if the file cannot be written, `Cancelled`.
pub fn write(path: &Path, size: u64, task: &Task, bar: &ProgressBar) -> Result<u64> {
    let side = size.min(CELL);
    let writer = FileWriter::create(
        path,
        vec![NewDataset {
            name: "image".into(),
            dims: vec![],
            data_type: DataType::Float32,
            shape: vec![size, size],
            chunk_shape: vec![side, side],
            shuffle: true,
            gzip_level: Some(GZIP_LEVEL),
            fill: None,
        }],
    )?;
    let across = size.div_ceil(side);
    let count = across * across;
    bar.set_length(count);
    let next = AtomicU64::new(0);
    let work = || -> Result<()> {
        let mut chunks = writer.chunks("image")?;
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return Ok(());
            }
            task.check()?;
            write_chunk(&mut chunks, size, side, index / across, index % across)?;
            bar.inc(1);
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..task.threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err(Error::bug("making the image panicked")))
        })
    })?;
    writer.finish()
}

fn write_chunk(
    chunks: &mut ChunkWriter<'_>,
    size: u64,
    side: u64,
    row: u64,
    column: u64,
) -> Result<()> {
    let (y0, x0) = (row * side, column * side);
    let mut light: Vec<f64> = (0..side * side)
        .map(|pixel| {
            let (y, x) = (y0 + pixel / side, x0 + pixel % side);
            SKY + GRADIENT * (y + x) as f64 / (2 * size) as f64
        })
        .collect();
    for near_row in row.saturating_sub(1)..=row + 1 {
        for near_column in column.saturating_sub(1)..=column + 1 {
            for star in stars(near_row, near_column) {
                draw(&star, &mut light, side, y0 as f64, x0 as f64);
            }
        }
    }
    let mut random = Random::stream(NOISE, cell(row, column));
    let mut bytes = Vec::with_capacity(light.len() * 4);
    for (pixel, light) in (0..side * side).zip(light) {
        let noise = (light + READ_NOISE * READ_NOISE).sqrt() * random.normal();
        let inside = y0 + pixel / side < size && x0 + pixel % side < size;
        let value = if inside { (light + noise).round() as f32 } else { 0.0 };
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    chunks.write(&[y0, x0], &bytes)
}

/// The stars of one cell of the sky, also beyond the image.
fn stars(row: u64, column: u64) -> impl Iterator<Item = Star> {
    let mut random = Random::stream(STARS, cell(row, column));
    let count = 80 + random.bits() % 50;
    (0..count).map(move |_| Star {
        y: (row as f64 + random.unit()) * CELL as f64,
        x: (column as f64 + random.unit()) * CELL as f64,
        flux: (FLUX_MIN * random.unit().powf(-1.0 / FLUX_SLOPE)).min(FLUX_MAX),
    })
}

fn cell(row: u64, column: u64) -> u64 {
    row << 32 | column
}

/// Adds a star's light to the pixels of a chunk that begins at (y0, x0).
fn draw(star: &Star, light: &mut [f64], side: u64, y0: f64, x0: f64) {
    let variance = PSF_SIGMA * PSF_SIGMA;
    let peak = star.flux / (std::f64::consts::TAU * variance);
    let (y, x) = (star.y - y0, star.x - x0);
    let span = |centre: f64| {
        let first = (centre - PSF_RADIUS_MAX).max(0.0) as u64;
        first..((centre + PSF_RADIUS_MAX).max(-1.0) + 1.0).min(side as f64) as u64
    };
    for row in span(y) {
        for column in span(x) {
            let (dy, dx) = (row as f64 - y, column as f64 - x);
            let profile = (-(dy * dy + dx * dx) / (2.0 * variance)).exp();
            light[(row * side + column) as usize] += peak * profile;
        }
    }
}
