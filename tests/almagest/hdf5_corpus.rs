//! Every dataset of a folder of HDF5 files equals what h5py reads, bit for bit, or is refused.
//!
//! `ALMAGEST_HDF5_CORPUS` names the folder; `data/hdf5_reference.py` writes the reference into it. As it is not
//! in this repository, `cargo test -p almagest-tests hdf5_corpus -- --ignored` is what runs this.

use std::collections::BTreeMap;
use std::path::Path;

use almagest::{ErrorKind, Session, SessionOptions};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type};

/// The reasons for which a dataset may be refused, as its error begins.
const REFUSALS: [&str; 15] = [
    "variable-length strings",
    "variable-length sequences",
    "opaque elements",
    "object references",
    "region references",
    "floats of",
    "integers of",
    "a virtual dataset",
    "external storage",
    "null space",
    "HDF5 2.0's complex numbers",
    "(zfp)",
    "(sz3)",
    "(blosc2)",
    "HDF5's time type",
];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "wants the folder ALMAGEST_HDF5_CORPUS"]
async fn every_dataset_of_the_corpus_equals_h5py_or_is_refused() {
    let folder = std::env::var_os("ALMAGEST_HDF5_CORPUS").expect("ALMAGEST_HDF5_CORPUS");
    let folder = Path::new(&folder);
    let reference = std::fs::read_to_string(folder.join("reference.tsv")).unwrap();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut wrong = vec![];
    for line in reference.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [file, dataset, kind, expected, detail] = fields[..] else { panic!("{line}") };
        let outcome = match kind {
            "unopenable" => refused(&folder.join(file), None).await,
            "other" | "unreadable" => refused(&folder.join(file), Some(dataset)).await,
            "large" => Ok("large, opened only".to_string()),
            _ => {
                let expected = std::fs::read(folder.join(expected)).unwrap();
                compare(&folder.join(file), dataset, &expected).await
            }
        };
        match outcome {
            Ok(what) => *counts.entry(what).or_default() += 1,
            Err(why) => wrong.push(format!("{file}:{dataset} ({kind}, {detail}): {why}")),
        }
    }
    for (what, count) in &counts {
        println!("{count:6} {what}");
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

async fn open(path: &Path, dataset: Option<&str>) -> almagest::Result<Session> {
    let session = almagest::session(&SessionOptions { threads: Some(2), ..Default::default() })?;
    let options = match dataset {
        Some(dataset) => format!("OPTIONS ('dataset' '{dataset}')"),
        None => String::new(),
    };
    let path = path.display();
    session
        .sql(&format!("CREATE EXTERNAL TABLE t STORED AS HDF5 LOCATION '{path}' {options}"))
        .await?;
    Ok(session)
}

/// An allowed reason, or what is wrong with the error.
fn reason(error: &almagest::Error, path: &Path, dataset: Option<&str>) -> Result<String, String> {
    let text = error.to_string();
    let name = path.file_name().unwrap().to_string_lossy();
    if !text.contains(&*name) || dataset.is_some_and(|dataset| !text.contains(dataset)) {
        return Err(format!("does not say where: {text}"));
    }
    if error.kind() == ErrorKind::DataInvalid && dataset.is_none() {
        return Ok("refused: not an HDF5 file, or cut short".into());
    }
    match REFUSALS.iter().find(|refusal| text.contains(**refusal)) {
        Some(refusal) if error.kind() == ErrorKind::Unsupported => {
            Ok(format!("refused: {refusal}"))
        }
        _ => Err(text),
    }
}

async fn refused(path: &Path, dataset: Option<&str>) -> Result<String, String> {
    match open(path, dataset).await {
        Err(error) => reason(&error, path, dataset),
        Ok(_) if dataset.is_none() => Ok("opened where h5py does not".into()),
        Ok(_) => Err("opened".into()),
    }
}

async fn compare(path: &Path, dataset: &str, expected: &[u8]) -> Result<String, String> {
    let session = match open(path, Some(dataset)).await {
        Ok(session) => session,
        Err(error) => return reason(&error, path, Some(dataset)),
    };
    let rows = async {
        let frame = session.sql("SELECT * FROM t").await?;
        Ok::<_, almagest::Error>(frame.collect_partitioned().await?)
    };
    let batches: Vec<RecordBatch> = match rows.await {
        Ok(partitions) => partitions.into_iter().flatten().collect(),
        Err(error) => return reason(&error, path, Some(dataset)),
    };
    let found = elements(&batches);
    if found == expected {
        return Ok("equal".into());
    }
    let differs = found.iter().zip(expected).position(|(found, expected)| found != expected);
    Err(format!("{} bytes for {}, first differs at {differs:?}", found.len(), expected.len()))
}

/// The bytes of all elements, ordered by their dimensions; those of records as they come.
fn elements(batches: &[RecordBatch]) -> Vec<u8> {
    let mut rows: Vec<(Vec<i64>, Vec<u8>)> = vec![];
    for batch in batches {
        let array = batch.schema().fields().last().is_some_and(|field| field.name() == "value");
        let dims = if array { batch.num_columns() - 1 } else { 0 };
        for row in 0..batch.num_rows() {
            let at = |column: usize| batch.column(column).as_primitive::<Int64Type>().value(row);
            let mut bytes = vec![];
            for column in &batch.columns()[dims..] {
                write_element(column, row, &mut bytes);
            }
            rows.push(((0..dims).map(at).collect(), bytes));
        }
    }
    rows.sort_by(|left, right| left.0.cmp(&right.0));
    rows.into_iter().flat_map(|(_, bytes)| bytes).collect()
}

fn write_element(column: &dyn Array, row: usize, bytes: &mut Vec<u8>) {
    match column.data_type() {
        DataType::Boolean => bytes.push(u8::from(column.as_boolean().value(row))),
        DataType::Utf8 => {
            let text = column.as_string::<i32>().value(row);
            bytes.extend((text.len() as u32).to_le_bytes());
            bytes.extend(text.as_bytes());
        }
        DataType::Struct(_) => {
            for field in column.as_struct().columns() {
                write_element(field, row, bytes);
            }
        }
        DataType::FixedSizeList(..) => {
            let items = column.as_fixed_size_list().value(row);
            (0..items.len()).for_each(|item| write_element(&items, item, bytes));
        }
        primitive => {
            let width = primitive.primitive_width().unwrap();
            let data = column.to_data();
            let start = (data.offset() + row) * width;
            bytes.extend(&data.buffers()[0][start..start + width]);
        }
    }
}
