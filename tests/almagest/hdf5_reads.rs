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
    let whole = folder.path().canonicalize().unwrap();
    std::fs::write(whole.join("a.csv"), "a\n7\n").unwrap();
    let session = almagest::session(&SessionOptions::default()).unwrap();
    for ending in ["h5", "nc", "csv", "csv.gz", "tsv", "json", "parquet", "arrow"] {
        let pipe = whole.join(format!("pipe.{ending}"));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let (place, kind) = (pipe.display(), ending.trim_end_matches(".gz"));
        for sql in [
            format!("SELECT * FROM '{place}'"),
            format!("SELECT * FROM 'file://{place}'"),
            format!(
                "CREATE EXTERNAL TABLE t STORED AS {} LOCATION '{place}'",
                match kind {
                    "h5" | "nc" => "HDF5",
                    kind => kind,
                }
            ),
            format!("COPY (SELECT 1 AS a) TO '{place}'"),
        ] {
            let outcome = match session.sql(&sql).await {
                Ok(frame) => frame.collect().await.map(drop).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            let error = outcome.unwrap_err();
            let expected = match ending {
                // refused before the target is looked at: an array has dimensions, and netCDF is not written
                "h5" | "nc" if sql.starts_with("COPY") => "",
                _ => "pipe, socket or device",
            };
            assert!(error.contains(expected), "{sql}: {error}");
        }
    }
    // beside files they are none
    for place in [format!("{}/*.csv", whole.display()), format!("{}/p*", whole.display())] {
        let outcome = match session.sql(&format!("SELECT sum(a) AS s FROM '{place}'")).await {
            Ok(frame) => frame.to_string().await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match place.ends_with(".csv") {
            true => assert!(outcome.as_ref().unwrap().contains("| 7 |"), "{outcome:?}"),
            false => assert!(outcome.is_err(), "{outcome:?}"),
        }
    }
    // nor is what has no end
    let sql = format!(
        "CREATE UNBOUNDED EXTERNAL TABLE t (a BIGINT) STORED AS CSV LOCATION '{}'",
        whole.join("pipe.csv").display()
    );
    let error = session.sql(&sql).await.unwrap_err().to_string();
    assert!(error.contains("UNBOUNDED"), "{error}");
}
