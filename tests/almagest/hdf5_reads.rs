//! What queries over HDF5 files read, as the counters of EXPLAIN ANALYZE say.

use almagest::SessionOptions;
use arrow::array::AsArray;

/// The sum of a counter over the plan of a query on a dataset.
async fn counter(file: &str, dataset: &str, query: &str, name: &str) -> usize {
    let session = almagest::session(&SessionOptions::default()).unwrap();
    let sql = format!(
        "CREATE EXTERNAL TABLE t STORED AS HDF5 LOCATION 'data/{file}' \
         OPTIONS ('dataset' '{dataset}')"
    );
    session.sql(&sql).await.unwrap();
    let sql = format!("EXPLAIN ANALYZE {query}");
    let batches = session.sql(&sql).await.unwrap().collect().await.unwrap();
    let plan: String = batches
        .iter()
        .flat_map(|batch| batch.column(1).as_string::<i32>().iter().flatten())
        .collect();
    let before = format!("{name}=");
    let values = plan.split(&before).skip(1).map(|rest| {
        let end = rest.find(|next: char| !next.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse::<usize>().unwrap()
    });
    values.sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_of_records_is_decoded_once_for_any_number_of_fields() {
    let query = "SELECT id, mag, name, ok FROM t";
    assert_eq!(counter("kinds.h5", "records", query, "chunks_read").await, 4);
    let query = "SELECT count(*) FROM t";
    assert_eq!(counter("kinds.h5", "records", query, "chunks_read").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_a_contiguous_array_takes_its_own_bytes() {
    let query = "SELECT sum(value) FROM t WHERE y = 7";
    assert_eq!(counter("arrays.h5", "contiguous", query, "bytes_read").await, 50 * 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_that_were_never_written_are_not_read() {
    let query = "SELECT sum(value) FROM t";
    assert_eq!(counter("arrays.h5", "group/sparse", query, "chunks_read").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_is_refused_before_anybody_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe.h5");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let session = almagest::session(&SessionOptions::default()).unwrap();
    let sql = format!("SELECT * FROM '{}'", pipe.display());
    let error = session.sql(&sql).await.unwrap_err().to_string();
    assert!(error.contains("a pipe or device"), "{error}");
}
