//! The catalog: planet candidates as a survey of transits finds them, in eight Parquet files.
//!
//! Stars are dwarfs of three kinds; periods are log-normal; a transit lasts as long as a planet on
//! a circular orbit needs to cross its star (Seager and Mallén-Ornelas 2003). Some stars have no
//! temperature and some transits no duration, as in every catalog.

use std::path::Path;
use std::sync::Arc;

use almagest::{Error, Result};
use almagest_engine::write::WholeFile;
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use indicatif::ProgressBar;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::Task;
use super::random::Random;

/// Files of the catalog.
pub const FILE_COUNT: u64 = 8;
const BATCH_ROWS: u64 = 65_536;
const ROW_GROUP_ROWS: usize = 131_072;
/// Stream of random numbers.
const CANDIDATES: u64 = 0x701;
/// Hours in which the Earth crosses the middle of the Sun.
const EARTH_TRANSIT_HOURS: f64 = 13.0;
const YEAR_DAYS: f64 = 365.25;
const SUN_TEFF: f64 = 5772.0;

/// Writes file `part` of a catalog of `rows` rows. Returns its length in bytes.
///
/// # Errors
/// `Unreachable` if the file cannot be written, `Cancelled`.
pub fn write(path: &Path, part: u64, rows: u64, task: &Task, bar: &ProgressBar) -> Result<u64> {
    let failed = |cause: ParquetError| {
        Error::unreachable(format!("cannot write: {cause}")).with("file", path.display())
    };
    let whole = WholeFile::create(path).map_err(|cause| failed(cause.into()))?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .build();
    let mut writer =
        ArrowWriter::try_new(whole.file(), schema(), Some(properties)).map_err(failed)?;
    let (first, end) = (part * rows / FILE_COUNT, (part + 1) * rows / FILE_COUNT);
    let mut at = first;
    while at < end {
        task.check()?;
        let count = BATCH_ROWS.min(end - at);
        writer.write(&batch(at, count)?).map_err(failed)?;
        at += count;
        bar.inc(count);
    }
    let file = writer.into_inner().map_err(failed)?;
    let bytes = file.metadata().map_err(|cause| failed(cause.into()))?.len();
    whole.publish().map_err(|cause| failed(cause.into()))?;
    Ok(bytes)
}

fn schema() -> Arc<Schema> {
    Arc::new(Schema::new(vec![
        Field::new("tic_id", DataType::Int64, false),
        Field::new("transit_duration_hours", DataType::Float64, true),
        Field::new("stellar_teff", DataType::Float64, true),
        Field::new("period_days", DataType::Float64, false),
    ]))
}

fn batch(first: u64, count: u64) -> Result<RecordBatch> {
    let candidates: Vec<Candidate> = (first..first + count).map(Candidate::at).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(candidates.iter().map(|c| Some(c.tic_id)).collect::<Int64Array>()),
        Arc::new(candidates.iter().map(|c| c.transit_duration_hours).collect::<Float64Array>()),
        Arc::new(candidates.iter().map(|c| c.stellar_teff).collect::<Float64Array>()),
        Arc::new(candidates.iter().map(|c| Some(c.period_days)).collect::<Float64Array>()),
    ];
    RecordBatch::try_new(schema(), columns)
        .map_err(|cause| Error::bug("the catalog's columns do not fit its schema").caused_by(cause))
}

struct Candidate {
    tic_id: i64,
    transit_duration_hours: Option<f64>,
    stellar_teff: Option<f64>,
    period_days: f64,
}

impl Candidate {
    /// The candidate of one row.
    fn at(row: u64) -> Self {
        let random = &mut Random::stream(CANDIDATES, row);
        let (mean, deviation) = match random.unit() {
            kind if kind < 0.20 => (3450.0, 280.0), // red dwarfs
            kind if kind < 0.85 => (5600.0, 520.0), // like the Sun
            _ => (6700.0, 620.0),
        };
        let teff = (mean + deviation * random.normal()).clamp(2600.0, 10_500.0);
        let period = (6.0_f64.ln() + 1.05 * random.normal()).exp().clamp(0.25, 700.0);
        // In units of the Sun, along the main sequence; some stars have begun to swell.
        let mass = (teff / SUN_TEFF).powf(1.7);
        let swollen = (0.12 * random.normal().abs()).exp();
        let radius = mass.powf(0.85) * swollen;
        // Radius of the planet in radii of the star; distance of its path from the star's centre.
        let ratio = (0.035 * (0.6 * random.normal()).exp()).min(0.25) / radius.sqrt();
        let impact = random.unit() * (1.0 + ratio) * 0.98;
        let chord = ((1.0 + ratio).powi(2) - impact * impact).sqrt();
        let speed = (period / YEAR_DAYS / mass).cbrt();
        let measured = 1.0 + 0.04 * random.normal();
        let hours = EARTH_TRANSIT_HOURS * radius * speed * chord * measured.max(0.5);
        let (no_teff, no_duration) = (random.unit() < 0.02, random.unit() < 0.005);
        Self {
            tic_id: (1_000_000 + 211 * row + random.bits() % 211) as i64,
            transit_duration_hours: (!no_duration).then_some(rounded(hours, 1e4)),
            stellar_teff: (!no_teff).then_some(rounded(teff, 1.0)),
            period_days: rounded(period, 1e6),
        }
    }
}

/// As many digits as a catalog gives.
fn rounded(value: f64, digits: f64) -> f64 {
    (value * digits).round() / digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transits_last_as_long_as_in_the_survey() {
        let candidates: Vec<Candidate> = (0..50_000).map(Candidate::at).collect();
        let mut hours: Vec<f64> =
            candidates.iter().filter_map(|c| c.transit_duration_hours).collect();
        hours.sort_by(f64::total_cmp);
        // The TESS Objects of Interest: a median near 2.8 h, nearly all between 0.3 and 20 h.
        let median = hours[hours.len() / 2];
        assert!((1.8..3.8).contains(&median), "{median}");
        assert!(hours[hours.len() / 100] > 0.2 && hours[hours.len() * 99 / 100] < 20.0);
        let ids: std::collections::HashSet<i64> = candidates.iter().map(|c| c.tic_id).collect();
        assert_eq!(ids.len(), candidates.len(), "a tic_id occurs twice");
        let nulls = candidates.iter().filter(|c| c.stellar_teff.is_none()).count();
        assert!((800..1200).contains(&nulls), "{nulls}");
    }
}
