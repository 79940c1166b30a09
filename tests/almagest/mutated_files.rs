//! Files of every format, damaged at random: each gives values or an error that names it.
//!
//! A mutation is made from a seed: bits, bytes, numbers and runs of a good file are changed, parts are cut out, doubled or
//! moved. Of each damaged file everything is read. No panic, no bug of ours, no query that goes on for ten seconds, no
//! memory beyond what the limit allows. Most formats have no checksums, so that a changed value is a value; where all
//! is summed (`checked.h5`), what is read without an error is right.
//!
//! Short here; `ALMAGEST_MUTATIONS=20000 ALMAGEST_SEED=7 cargo test -p almagest-tests mutated` is the long run, which
//! also looks at memory and at those ten seconds, and so wants the process for itself. `ALMAGEST_MUTATION=123` with the
//! same seed makes one of its files again, and keeps it in the folder for temporary files.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use almagest::{ErrorKind, Session, SessionOptions};
use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;

/// Mutations of all files together, if nothing is asked for.
const MUTATIONS: u64 = 150;
/// The memory limit of each session.
const MEMORY_BYTES: usize = 256 << 20;
/// What one file may add to the process' memory.
const RESIDENT_BYTES_MAX: u64 = 512 << 20;
/// The file whose chunks and descriptions all have checksums.
const CHECKED: &str = "checked.h5";
const LONGEST: Duration = Duration::from_secs(10);

/// Numbers that follow from their seed: SplitMix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// A place, more often near the ends, where descriptions of files are.
    fn place(&mut self, length: usize) -> usize {
        match self.below(4) {
            0 => self.below(length.min(512)),
            1 => length - 1 - self.below(length.min(2048)),
            _ => self.below(length),
        }
    }
}

/// Numbers that lengths and counts are bad at.
const NUMBERS: [u64; 10] = [
    0,
    1,
    0x7f,
    0xff,
    0x7fff_ffff,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_ffff_ffff,
];

fn mutated(good: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..=dice.below(3) {
        if bytes.is_empty() {
            break;
        }
        let at = dice.place(bytes.len());
        let run = 1 + dice.below(16.min(bytes.len() - at));
        match dice.below(9) {
            0 | 1 => bytes[at] ^= 1 << dice.below(8),
            2 => bytes[at] = dice.next() as u8,
            3 | 4 => {
                let number = NUMBERS[dice.below(NUMBERS.len())].to_le_bytes();
                let width = [1, 2, 4, 8][dice.below(4)].min(bytes.len() - at);
                bytes[at..at + width].copy_from_slice(&number[..width]);
            }
            5 => drop(bytes.drain(at..at + run)),
            6 => {
                let copy = bytes[at..at + run].to_vec();
                bytes.splice(at..at, copy);
            }
            7 => {
                let from = dice.place(bytes.len() - run);
                let copy = bytes[from..from + run].to_vec();
                bytes[at..at + run].copy_from_slice(&copy);
            }
            _ => bytes.truncate(at),
        }
    }
    bytes
}

fn session() -> Session {
    let options = SessionOptions {
        threads: Some(2),
        memory_bytes_max: Some(MEMORY_BYTES),
        ..SessionOptions::default()
    };
    almagest::session(&options).unwrap()
}

async fn rows(session: &Session, sql: &str) -> almagest::Result<Vec<RecordBatch>> {
    Ok(session.sql(sql).await?.collect().await?)
}

/// The files to damage.
async fn good_files(folder: &Path) -> Vec<PathBuf> {
    let session = session();
    let source = "SELECT value AS a, value * 0.5 AS b, 'text ' || value AS c, value % 3 = 0 AS d, \
                  [value, value + 1] AS e, CASE WHEN value % 5 > 0 THEN value END AS f FROM range(3000)";
    let flat = "SELECT value AS a, value * 0.5 AS b, 'text ' || value AS c, value % 3 = 0 AS d, \
                CASE WHEN value % 5 > 0 THEN value END AS f FROM range(3000)";
    let copies = [
        ("plain.parquet", source, "'format.compression' 'uncompressed'"),
        (
            "snappy.parquet",
            source,
            "'format.compression' 'snappy', 'format.max_row_group_size' '1000'",
        ),
        (
            "zstd.parquet",
            source,
            "'format.compression' 'zstd(3)', 'format.dictionary_enabled' 'false'",
        ),
        ("gzip.parquet", source, "'format.compression' 'gzip(6)', 'format.writer_version' '2.0'"),
        (
            "delta.parquet",
            "SELECT value AS a, 'text ' || value AS c FROM range(3000)",
            "'format.compression' 'uncompressed', 'format.dictionary_enabled' 'false', \
          'format.encoding' 'delta_binary_packed', 'format.encoding::c' 'delta_byte_array'",
        ),
        ("batches.arrow", source, ""),
        ("lines.csv", flat, ""),
        ("lines.json", flat, ""),
    ];
    let mut files = vec![];
    for (name, query, options) in copies {
        let path = folder.join(name);
        let options =
            if options.is_empty() { String::new() } else { format!("OPTIONS ({options})") };
        let copy = format!("COPY ({query}) TO '{}' {options}", path.display());
        rows(&session, &copy).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        files.push(path);
    }
    let path = folder.join("stream.arrow");
    let batches = rows(&session, source).await.unwrap();
    let file = std::fs::File::create(&path).unwrap();
    let mut writer = arrow::ipc::writer::StreamWriter::try_new(file, &batches[0].schema()).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    files.push(path);
    for name in ["image.h5", CHECKED, "kinds.h5", "latest.h5", "scales.h5", "cube.nc"] {
        files.push(PathBuf::from("data").join(name));
    }
    files
}

/// What a file holds, and how much.
fn questions(path: &Path) -> [String; 2] {
    let path = path.display();
    // a changed shape may have billions of rows, rightly
    [
        format!("SELECT * FROM '{path}' LIMIT 100000"),
        format!("SELECT count(*) FROM '{path}' WHERE 1 = 1"),
    ]
}

/// The most bytes that the process has held since [`forget_peak`], where the system tells.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The rows as text, in one order; after those of each other question.
fn sorted(batches: &[RecordBatch]) -> String {
    let text = pretty_format_batches(batches).unwrap().to_string();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    format!("\0{}\0", lines.join("\n"))
}

/// What the undamaged file answers.
async fn answers(path: &Path) -> String {
    let mut answers = String::new();
    for question in questions(path) {
        answers += &sorted(&rows(&session(), &question).await.unwrap());
    }
    answers
}

/// What is wrong with how a damaged file was read, if anything is.
async fn fault(path: &Path, right: Option<&str>, is_alone: bool) -> Option<String> {
    // beside other tests neither time nor memory tells anything, but that the end comes
    let longest = if is_alone { LONGEST } else { 60 * LONGEST };
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    forget_peak();
    let before = peak_bytes();
    for question in questions(path) {
        let begun = Instant::now();
        // a task of its own, so that a panic is seen
        let reading = tokio::spawn(async move {
            let session = session();
            rows(&session, &question).await
        });
        let Ok(read) = tokio::time::timeout(longest, reading).await else {
            return Some(format!("was read for {:?}", begun.elapsed()));
        };
        match read {
            Err(panic) => return Some(format!("panics: {panic}")),
            Ok(Err(error)) if error.kind() == ErrorKind::Bug => return Some(error.to_string()),
            // HDF5 files without a table to choose are told by other names
            Ok(Err(error)) if !error.to_string().contains(&name) => {
                return Some(format!("is not named: {error}"));
            }
            Ok(Ok(rows)) if right.is_some_and(|right| !right.contains(&sorted(&rows))) => {
                return Some("gave other values without a word".into());
            }
            Ok(_) => {}
        }
        let held = peak_bytes().saturating_sub(before);
        if is_alone && held > RESIDENT_BYTES_MAX {
            return Some(format!("took {held} bytes"));
        }
    }
    None
}

fn asked(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|asked| asked.parse().ok()).unwrap_or(otherwise)
}

#[tokio::test(flavor = "multi_thread")]
async fn mutated_files_give_values_or_an_error_that_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let files = good_files(folder.path()).await;
    let (count, seed) = (asked("ALMAGEST_MUTATIONS", MUTATIONS), asked("ALMAGEST_SEED", 1));
    let right = answers(&Path::new("data").join(CHECKED)).await;
    let mut faults = vec![];
    // one of a run again, whose file is kept
    let only = std::env::var("ALMAGEST_MUTATION").ok().and_then(|only| only.parse().ok());
    for number in only.map_or(0..count, |only: u64| only..only + 1) {
        let good = &files[number as usize % files.len()];
        let mut dice = Dice(seed.wrapping_mul(1_000_003).wrapping_add(number));
        let damaged = mutated(&std::fs::read(good).unwrap(), &mut dice);
        let path = folder.path().join(format!("damaged-{}", good.file_name().unwrap().display()));
        std::fs::write(&path, &damaged).unwrap();
        if only.is_some() {
            std::fs::write(std::env::temp_dir().join(path.file_name().unwrap()), &damaged).unwrap();
        }
        let right = good.ends_with(CHECKED).then_some(right.as_str());
        if let Some(fault) = fault(&path, right, count > MUTATIONS || only.is_some()).await {
            faults.push(format!("{} {number} of seed {seed}: {fault}", good.display()));
        }
    }
    assert!(faults.is_empty(), "{} of {count} files:\n{}", faults.len(), faults.join("\n"));
}
