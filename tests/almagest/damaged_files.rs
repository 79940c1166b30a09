//! Truncated, bit-flipped and absurd HDF5 files give an answer or an error, never a panic, and take
//! no more memory than they have bytes.

use almagest::{ErrorKind, SessionOptions};

async fn sum(path: &std::path::Path) -> almagest::Result<()> {
    let session = almagest::session(&SessionOptions::default())?;
    let sql = format!("SELECT sum(value), count(value) FROM '{}'", path.display());
    session.sql(&sql).await?.collect().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_file_is_invalid_data_that_names_the_file() {
    let whole = std::fs::read("data/image.h5").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.h5");
    for length in [0, 7, 100, 600, 1500, 3000, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = sum(&path).await.expect_err("a truncated file was read");
        assert_eq!(error.kind(), ErrorKind::DataInvalid, "cut to {length}: {error}");
        assert!(error.to_string().contains("cut.h5"), "cut to {length}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flipped_bits_never_panic() {
    let whole = std::fs::read("data/image.h5").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flipped.h5");
    for position in (0..whole.len()).step_by(41) {
        let mut bytes = whole.clone();
        bytes[position] ^= 1 << (position % 8);
        std::fs::write(&path, &bytes).unwrap();
        if let Err(error) = sum(&path).await {
            assert_ne!(error.kind(), ErrorKind::Bug, "bit flipped at {position}: {error}");
        }
    }
}

/// Files of every kind, with what is read of them.
const KINDS: [(&str, &[&str]); 4] = [
    (
        "kinds.h5",
        &[
            "half",
            "bool",
            "enum",
            "text",
            "complex",
            "twelve",
            "records",
            "planes",
            "mask",
            "scaleoffset",
            "szip",
            "zstd",
            "lz4",
            "bzip2",
            "bitshuffle",
            "bitshuffle_zstd",
            "blosc",
            "compact",
            "soft",
        ],
    ),
    ("latest.h5", &["fixed", "growing", "growing_x", "tree", "single", "edges"]),
    ("scales.h5", &["flux", "cov", "time", "labelled"]),
    ("cube.nc", &["temperature", "time", "height"]),
];

async fn count(path: &std::path::Path, dataset: &str) -> almagest::Result<()> {
    let session = almagest::session(&SessionOptions { threads: Some(1), ..Default::default() })?;
    let path = path.display();
    let sql = format!(
        "CREATE EXTERNAL TABLE t STORED AS HDF5 LOCATION '{path}' OPTIONS ('dataset' '{dataset}')"
    );
    session.sql(&sql).await?;
    session.sql("SELECT * FROM t LIMIT 100000").await?.collect().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn flipped_bits_of_every_kind_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    for (file, datasets) in KINDS {
        let whole = std::fs::read(format!("data/{file}")).unwrap();
        let path = folder.path().join(file);
        for dataset in datasets {
            std::fs::write(&path, &whole).unwrap();
            count(&path, dataset).await.unwrap_or_else(|error| panic!("{file} {dataset}: {error}"));
        }
        for (number, position) in (0..whole.len()).step_by(97).enumerate() {
            let mut bytes = whole.clone();
            bytes[position] ^= 1 << (number % 8);
            std::fs::write(&path, &bytes).unwrap();
            let dataset = datasets[number % datasets.len()];
            if let Err(error) = count(&path, dataset).await {
                assert_ne!(error.kind(), ErrorKind::Bug, "{dataset}, bit at {position}: {error}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_cut_short_is_invalid_data() {
    let folder = tempfile::tempdir().unwrap();
    for (file, datasets) in KINDS {
        let whole = std::fs::read(format!("data/{file}")).unwrap();
        let path = folder.path().join(file);
        for part in 1..20 {
            std::fs::write(&path, &whole[..whole.len() * part / 20]).unwrap();
            let error = count(&path, datasets[0]).await.expect_err("a cut file was read");
            assert_eq!(error.kind(), ErrorKind::DataInvalid, "{file}, {part}/20: {error}");
            assert!(error.to_string().contains(file), "{error}");
        }
    }
}

/// Replaces the one place where these numbers stand side by side.
#[tokio::test(flavor = "multi_thread")]
async fn files_without_a_byte_are_empty_only_if_they_hold_lines() {
    let folder = tempfile::tempdir().unwrap();
    let session = almagest::session(&SessionOptions::default()).unwrap();
    for (name, refused) in
        [("a.parquet", true), ("a.arrow", true), ("a.csv", false), ("a.json", false)]
    {
        let path = folder.path().join(name);
        std::fs::write(&path, "").unwrap();
        let found = session.sql(&format!("SELECT * FROM '{}'", path.display())).await;
        match found {
            Ok(found) => {
                assert!(!refused, "{name} was read");
                let rows = found.collect().await.unwrap();
                assert_eq!(rows.iter().map(|batch| batch.num_rows()).sum::<usize>(), 0);
            }
            Err(error) => {
                assert!(refused, "{name}: {error}");
                assert_eq!(error.kind(), ErrorKind::DataInvalid, "{error}");
                assert!(error.to_string().contains(name), "{error}");
            }
        }
    }
}

/// DataFusion shares long files out to threads, which one array is not made for.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_json_file_of_one_array_is_read_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    let objects: Vec<String> =
        (0..400_000).map(|number| format!("{{\"number\":{number}}}")).collect();
    std::fs::write(&path, format!("[{}]", objects.join(",\n"))).unwrap();
    let options = SessionOptions { threads: Some(3), ..SessionOptions::default() };
    let session = almagest::session(&options).unwrap();
    let sql = format!("SELECT sum(number) FROM '{}'", path.display());
    let rows = session.sql(&sql).await.unwrap().collect().await.unwrap();
    let sum = arrow::util::display::array_value_to_string(rows[0].column(0), 0).unwrap();
    assert_eq!(sum, "79999800000");
}

fn patch(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    let places: Vec<usize> =
        (0..bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from)).collect();
    assert!(!places.is_empty());
    for place in places {
        bytes[place..place + to.len()].copy_from_slice(to);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn absurd_shapes_and_chunks_are_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("absurd.h5");
    let whole = std::fs::read("data/image.h5").unwrap();
    let shape = |shape: [u64; 2]| shape.map(u64::to_le_bytes).concat();
    let chunk = |shape: [u32; 3]| shape.map(u32::to_le_bytes).concat();
    let cases = [
        (shape([70, 50]), shape([1 << 40, 1 << 40]), ErrorKind::DataInvalid, "larger than any"),
        (chunk([16, 16, 4]), chunk([1 << 15, 1 << 15, 4]), ErrorKind::Exhausted, "4294967296"),
        (chunk([16, 16, 4]), chunk([u32::MAX, u32::MAX, 4]), ErrorKind::DataInvalid, "larger"),
        (chunk([16, 16, 4]), chunk([16, 0, 4]), ErrorKind::DataInvalid, "zero chunk dimension"),
        (chunk([16, 16, 4]), chunk([16, 16, 8]), ErrorKind::DataInvalid, "elements of 4 bytes"),
    ];
    for (from, to, kind, message) in cases {
        let mut bytes = whole.clone();
        patch(&mut bytes, &from, &to);
        std::fs::write(&path, &bytes).unwrap();
        let error = sum(&path).await.expect_err("an absurd file was read");
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(message), "{error}");
        assert!(error.to_string().contains("absurd.h5"), "{error}");
    }
}
