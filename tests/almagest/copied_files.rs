//! What COPY writes, byte for byte: arrays of any shape in any order of rows, in NumPy's and PNG's
//! own formats, larger than memory; and that an error leaves nothing.
//!
//! HDF5 files are read by our reader, whose code shares nothing with the writer. What h5py, NumPy and
//! Pillow make of the files is checked by `benches/copied.py`.

use std::path::Path;
use std::sync::Arc;

use almagest::{Session, SessionOptions};
use arrow::array::{ArrayRef, AsArray, Float32Array, Int64Array, RecordBatch};
use arrow::datatypes::{Float32Type, Int64Type, UInt64Type};
use datafusion::datasource::MemTable;
use datafusion::physical_plan::{ExecutionPlan, collect};
use libdeflater::Decompressor;
use proptest::prelude::*;

/// The count that a COPY answers with.
async fn copy(session: &Session, sql: &str) -> Result<u64, almagest::Error> {
    let batches = session.sql(sql).await?.collect().await?;
    Ok(batches[0].column(0).as_primitive::<UInt64Type>().value(0))
}

/// An array of which some cells have rows.
#[derive(Clone, Debug)]
struct Sparse {
    shape: Vec<u64>,
    chunk_shape: Vec<u64>,
    /// Flat indices, in the order of the rows; the value of a cell is its index.
    cells: Vec<usize>,
    partitions: usize,
    shape_is_given: bool,
    gzip: bool,
}

fn sparse() -> impl Strategy<Value = Sparse> {
    let axes = prop::collection::vec((1_u64..9, 1_u64..6), 1..4);
    axes.prop_flat_map(|axes| {
        let count = axes.iter().map(|(length, _)| *length).product::<u64>() as usize;
        let order = Just((0..count).collect::<Vec<usize>>()).prop_shuffle();
        let rows = (order, any::<bool>(), 1..=count, any::<bool>());
        (Just(axes), rows, 1_usize..4, any::<bool>(), any::<bool>())
    })
    .prop_map(|(axes, (mut cells, sorted, kept, all), partitions, shape_is_given, gzip)| {
        if !all {
            cells.truncate(kept);
        }
        if sorted {
            cells.sort_unstable();
        }
        let (shape, chunk_shape) = axes.into_iter().unzip();
        Sparse { shape, chunk_shape, cells, partitions, shape_is_given, gzip }
    })
}

impl Sparse {
    fn index(&self, mut cell: usize) -> Vec<i64> {
        let mut index = vec![0; self.shape.len()];
        for axis in (0..self.shape.len()).rev() {
            index[axis] = (cell % self.shape[axis] as usize) as i64;
            cell /= self.shape[axis] as usize;
        }
        index
    }

    /// The shape of the file: the given one, or as far as there are rows.
    fn extent(&self) -> Vec<u64> {
        if self.shape_is_given {
            return self.shape.clone();
        }
        let indices: Vec<Vec<i64>> = self.cells.iter().map(|cell| self.index(*cell)).collect();
        let axes = 0..self.shape.len();
        axes.map(|axis| indices.iter().map(|index| index[axis] as u64 + 1).max().unwrap()).collect()
    }

    /// The elements of the file in C order; NaN where no row is.
    fn expected(&self) -> Vec<f32> {
        let extent = self.extent();
        let mut elements = vec![f32::NAN; extent.iter().product::<u64>() as usize];
        for cell in &self.cells {
            let axes = self.index(*cell).into_iter().zip(&extent);
            let at = axes.fold(0, |at, (index, length)| at * *length as usize + index as usize);
            elements[at] = *cell as f32;
        }
        elements
    }

    fn dims(&self) -> Vec<String> {
        (0..self.shape.len()).map(|axis| format!("d{axis}")).collect()
    }

    /// Puts the rows behind the table `rows`, in partitions and small batches.
    fn register(&self, session: &Session) {
        let batch = |cells: &[usize]| {
            let indices: Vec<Vec<i64>> = cells.iter().map(|cell| self.index(*cell)).collect();
            let mut columns: Vec<(String, ArrayRef)> = vec![];
            for (axis, dim) in self.dims().into_iter().enumerate() {
                let column = Int64Array::from_iter_values(indices.iter().map(|index| index[axis]));
                columns.push((dim, Arc::new(column)));
            }
            let values = Float32Array::from_iter_values(cells.iter().map(|cell| *cell as f32));
            columns.push(("v".into(), Arc::new(values)));
            RecordBatch::try_from_iter(columns).unwrap()
        };
        let per_partition = self.cells.len().div_ceil(self.partitions);
        let partitions: Vec<Vec<RecordBatch>> = self
            .cells
            .chunks(per_partition)
            .map(|part| part.chunks(17).map(batch).collect())
            .collect();
        let table = MemTable::try_new(partitions[0][0].schema(), partitions).unwrap();
        session.context().register_table("rows", Arc::new(table)).unwrap();
    }
}

fn joined(lengths: &[u64]) -> String {
    lengths.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}

/// Equal, or both NaN.
fn same(found: &[f32], expected: &[f32]) -> bool {
    let same = |(a, b): (&f32, &f32)| a == b || (a.is_nan() && b.is_nan());
    found.len() == expected.len() && found.iter().zip(expected).all(same)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_file_equals_the_array_whatever_the_order_of_rows(array in sparse()) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let options = SessionOptions { threads: Some(3), ..Default::default() };
            let session = almagest::session(&options).unwrap();
            array.register(&session);
            let shape = match array.shape_is_given {
                true => format!(", 'shape' '{}'", joined(&array.shape)),
                false => String::new(),
            };
            let path = folder.path().join("a.h5").display().to_string();
            let sql = format!(
                "COPY (SELECT * FROM rows) TO '{path}' OPTIONS ('chunks' '{}', 'shuffle' 'true', \
                 'compression' '{}'{shape})",
                joined(&array.chunk_shape),
                if array.gzip { "gzip" } else { "none" },
            );
            assert_eq!(copy(&session, &sql).await.unwrap(), array.cells.len() as u64);
            let order = array.dims().join(", ");
            let sql = format!("SELECT value FROM '{path}' ORDER BY {order}");
            let batches = session.sql(&sql).await.unwrap().collect().await.unwrap();
            let found: Vec<f32> = batches
                .iter()
                .flat_map(|batch| batch.column(0).as_primitive::<Float32Type>().values().to_vec())
                .collect();
            assert!(same(&found, &array.expected()), "{found:?}");

            let path = folder.path().join("a.npy");
            let sql = format!("COPY rows TO '{}' OPTIONS ('dims' '{order}'{shape})", path.display());
            copy(&session, &sql).await.unwrap();
            let (header, elements) = npy(&path);
            assert!(header.starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': ("));
            assert!(same(&floats(&elements), &array.expected()), "{elements:?}");
        });
    }
}

/// Header and elements of a NumPy file, version 1.0.
fn npy(path: &Path) -> (String, Vec<u8>) {
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(bytes[..8], *b"\x93NUMPY\x01\x00");
    let end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert_eq!(end % 64, 0);
    (String::from_utf8(bytes[10..end].to_vec()).unwrap(), bytes[end..].to_vec())
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_numpy_file_holds_types_shapes_and_fill_values() {
    let folder = tempfile::tempdir().unwrap();
    let session = almagest::session(&SessionOptions::default()).unwrap();
    let path = folder.path().join("a.npy");
    let sql = format!(
        "COPY (SELECT * FROM (VALUES (1, 2, 7::SMALLINT), (0, 1, NULL)) t(y, x, v)) TO '{}' \
         OPTIONS ('shape' '2,3', 'fill_value' '-1')",
        path.display()
    );
    assert_eq!(copy(&session, &sql).await.unwrap(), 2);
    let (header, elements) = npy(&path);
    let text = "{'descr': '<i2', 'fortran_order': False, 'shape': (2, 3), }";
    assert_eq!(header.trim_end(), text);
    let expected: Vec<u8> =
        [-1_i16, -1, -1, -1, -1, 7].iter().flat_map(|v| v.to_le_bytes()).collect();
    assert_eq!(elements, expected);
}

/// The chunks of a PNG file, by their names.
type PngChunks = Vec<(String, Vec<u8>)>;

/// The chunks of a PNG file, and the inflated rows with the filter's byte in front.
fn png(path: &Path) -> (PngChunks, Vec<Vec<u8>>) {
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(bytes[..8], *b"\x89PNG\r\n\x1a\n");
    let mut chunks = vec![];
    let mut rest = &bytes[8..];
    while !rest.is_empty() {
        let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        let name = String::from_utf8(rest[4..8].to_vec()).unwrap();
        let crc = u32::from_be_bytes(rest[8 + length..12 + length].try_into().unwrap());
        assert_eq!(libdeflater::crc32(&rest[4..8 + length]), crc, "{name}");
        chunks.push((name, rest[8..8 + length].to_vec()));
        rest = &rest[12 + length..];
    }
    let data = |wanted: &str| chunks.iter().find(|(name, _)| name == wanted).unwrap().1.clone();
    let (header, data) = (data("IHDR"), data("IDAT"));
    let width = u32::from_be_bytes(header[..4].try_into().unwrap()) as usize;
    let height = u32::from_be_bytes(header[4..8].try_into().unwrap()) as usize;
    let mut lines = vec![0; height * (width + 1)];
    let inflated = Decompressor::new().zlib_decompress(&data, &mut lines).unwrap();
    assert_eq!(inflated, lines.len());
    (chunks, lines.chunks(width + 1).map(<[u8]>::to_vec).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_has_row_0_on_top_and_transparent_holes() {
    let folder = tempfile::tempdir().unwrap();
    let session = almagest::session(&SessionOptions::default()).unwrap();
    let path = folder.path().join("a.png");
    let rows =
        "SELECT * FROM (VALUES (0, 0, 0.0), (0, 1, 50.0), (1, 0, 100.0), (1, 1, 25.0)) t(y, x, v)";
    let sql = format!("COPY ({rows}) TO '{}'", path.display());
    assert_eq!(copy(&session, &sql).await.unwrap(), 4);
    let (chunks, lines) = png(&path);
    // 8 bits of gray; levels are part * 256, of which the last is 255
    assert_eq!(chunks[0].1, [0, 0, 0, 2, 0, 0, 0, 2, 8, 0, 0, 0, 0]);
    assert_eq!(lines, [[0, 0, 128], [0, 255, 64]]);

    let sql = format!(
        "COPY ({rows} WHERE v <> 50) TO '{}' OPTIONS ('origin' 'lower', 'colormap' 'viridis', \
         'limits' '0,100')",
        path.display()
    );
    assert_eq!(copy(&session, &sql).await.unwrap(), 3);
    let (chunks, lines) = png(&path);
    let names: Vec<&str> = chunks.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["IHDR", "PLTE", "tRNS", "IDAT", "IEND"]);
    // 255 colours, and one for the hole: 25 is the level 0.25 * 255 = 63
    assert_eq!(lines, [[0, 254, 63], [0, 0, 255]]);
    assert_eq!(chunks[1].1.len(), 256 * 3);
    assert_eq!(chunks[1].1[..3], [0x44, 0x01, 0x54]);
    assert_eq!(chunks[1].1[254 * 3..255 * 3], [0xfd, 0xe7, 0x25]);
    assert!(chunks[2].1[..255].iter().all(|opacity| *opacity == 255));
    assert_eq!(chunks[2].1[255], 0);
}

/// The rows of a large array in columns, so that every chunk stays open, within little memory.
#[tokio::test(flavor = "multi_thread")]
async fn chunks_that_do_not_fit_in_memory_are_spilled() {
    let folder = tempfile::tempdir().unwrap();
    let options = SessionOptions {
        threads: Some(2),
        memory_bytes_max: Some(256 << 10),
        spill_dir: Some(folder.path().join("spill")),
        ..SessionOptions::default()
    };
    let session = almagest::session(&options).unwrap();
    // 128 x 512 doubles, 512 KiB, in 16 chunks of 32 KiB
    let rows = "SELECT value % 128 AS y, value / 128 AS x, value * 0.5 AS v \
                FROM generate_series(0, 65535)";
    let path = folder.path().join("a.h5");
    let sql = format!("COPY ({rows}) TO '{}' OPTIONS ('chunks' '8,512')", path.display());
    let frame = session.sql(&sql).await.unwrap();
    let context = Arc::new(frame.task_ctx());
    let plan = frame.create_physical_plan().await.unwrap();
    let count = collect(Arc::clone(&plan), context).await.unwrap();
    assert_eq!(count[0].column(0).as_primitive::<UInt64Type>().value(0), 65_536);
    assert!(spilled_bytes(plan.as_ref()) > 0, "nothing was spilled");
    let wrong =
        format!("SELECT count(*) FROM '{}' WHERE value <> (x * 128 + y) * 0.5", path.display());
    let reader = almagest::session(&SessionOptions::default()).unwrap();
    let wrong = reader.sql(&wrong).await.unwrap().collect().await.unwrap();
    assert_eq!(wrong[0].column(0).as_primitive::<Int64Type>().value(0), 0);

    // chunks of 1 MiB, of which not even one fits
    let twice = format!("COPY ({rows} UNION ALL SELECT 30, 100, 0.0) TO '{}'", path.display());
    let error = copy(&session, &twice).await.unwrap_err();
    assert!(error.message().contains("cell (y 30, x 100) comes twice"), "{error}");
    assert_eq!(files(folder.path()), ["a.h5", "spill"]);
}

fn spilled_bytes(plan: &dyn ExecutionPlan) -> usize {
    let own = plan.metrics().and_then(|metrics| metrics.spilled_bytes()).unwrap_or(0);
    own + plan.children().iter().map(|child| spilled_bytes(child.as_ref())).sum::<usize>()
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_leaves_the_old_file_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let session = almagest::session(&SessionOptions::default()).unwrap();
    for name in ["a.h5", "a.npy", "a.png"] {
        let path = folder.path().join(name);
        std::fs::write(&path, b"old").unwrap();
        let rows = "SELECT value / 1000 AS y, value % 1000 AS x, value AS v \
                    FROM generate_series(0, 999999) UNION ALL SELECT 7, 7, 7";
        let sql = format!("COPY ({rows}) TO '{}'", path.display());
        let error = copy(&session, &sql).await.unwrap_err();
        assert!(error.message().contains("cell (y 7, x 7) comes twice"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
    }
    assert_eq!(files(folder.path()), ["a.h5", "a.npy", "a.png"]);
}

/// The last row fails: the rows before it are no file, and none takes the place of another.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_fail_are_written_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let session = almagest::session(&SessionOptions::default()).unwrap();
    // longer than the 10 MB that are gathered before a writer begins
    let failing = "SELECT repeat('x', 100) AS t, 10 / (300000 - value) AS v \
                   FROM generate_series(1, 300000)";
    let names = ["a.arrow", "a.csv", "a.json", "a.parquet"];
    for name in names {
        let path = folder.path().join(name);
        copy(&session, &format!("COPY (SELECT 1 AS v) TO '{}'", path.display())).await.unwrap();
        let old = std::fs::read(&path).unwrap();
        let other = folder.path().join(format!("new.{name}"));
        for path in [&path, &other] {
            let sql = format!("COPY ({failing}) TO '{}'", path.display());
            let error = copy(&session, &sql).await.unwrap_err();
            assert!(error.to_string().contains("Divide by zero"), "{error}");
        }
        assert!(std::fs::read(&path).unwrap() == old, "{name} is another");
    }
    assert_eq!(files(folder.path()), names);
    for format in ["CSV", "PARQUET"] {
        let table = folder.path().join(format!("{format}/"));
        std::fs::create_dir(&table).unwrap();
        let table = table.display();
        for sql in [
            format!(
                "CREATE EXTERNAL TABLE {format} (t TEXT, v BIGINT) STORED AS {format} LOCATION '{table}'"
            ),
            format!("INSERT INTO {format} VALUES ('one', 1)"),
        ] {
            session.sql(&sql).await.unwrap().collect().await.unwrap();
        }
        let insert = format!("INSERT INTO {format} {failing}");
        assert!(session.sql(&insert).await.unwrap().collect().await.is_err());
        let count = format!("SELECT count(*) FROM {format}");
        let count = session.sql(&count).await.unwrap().collect().await.unwrap();
        assert_eq!(count[0].column(0).as_primitive::<Int64Type>().value(0), 1);
    }
}

/// A file that is the rows' own source.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_may_be_written_over_itself() {
    let folder = tempfile::tempdir().unwrap();
    let session = almagest::session(&SessionOptions::default()).unwrap();
    let path = folder.path().join("a.csv").display().to_string();
    std::fs::write(&path, "a\n1\n4\n-1\n").unwrap();
    let failing = format!("COPY (SELECT sqrt(a) AS a FROM '{path}') TO '{path}'");
    assert!(copy(&session, &failing).await.unwrap_err().to_string().contains("negative"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a\n1\n4\n-1\n");
    copy(&session, &format!("COPY (SELECT a * 2 AS a FROM '{path}') TO '{path}'")).await.unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a\n2\n8\n-2\n");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_target_where_nothing_can_be_made_is_refused_at_once() {
    let session = almagest::session(&SessionOptions::default()).unwrap();
    // even for root, and DataFusion's writer would try for ever
    for name in ["a.csv", "a.parquet"] {
        let error = copy(&session, &format!("COPY (SELECT 1 AS a) TO '/proc/{name}'")).await;
        let error = error.unwrap_err();
        assert_eq!(error.kind(), almagest::ErrorKind::Denied, "{error}");
        assert!(
            error.to_string().contains("cannot write: ") && error.to_string().contains("/proc/"),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_nobody_waits_for_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let session = almagest::session(&SessionOptions::default()).unwrap();
    let path = folder.path().join("a.h5");
    let rows = "SELECT value AS x, value AS v FROM generate_series(0, 1000000000)";
    let sql = format!("COPY ({rows}) TO '{}'", path.display());
    let copying = copy(&session, &sql);
    let begun = async {
        while files(folder.path()).is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        outcome = copying => panic!("the copy ended: {outcome:?}"),
        () = begun => {}
    }
    assert_eq!(files(folder.path()), Vec::<String>::new());
}
