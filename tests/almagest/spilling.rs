//! Queries larger than the memory limit finish, are right, and did spill.

use std::sync::Arc;

use almagest::{Error, ErrorKind, Session, SessionOptions};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use datafusion::physical_plan::{ExecutionPlan, collect};

/// One value of a query, and the bytes that its operators spilled.
async fn run(session: &Session, sql: &str) -> (i64, usize) {
    let frame = session.sql(sql).await.unwrap();
    let context = Arc::new(frame.task_ctx());
    let plan = frame.create_physical_plan().await.unwrap();
    let rows = collect(Arc::clone(&plan), context).await.unwrap();
    (rows[0].column(0).as_primitive::<Int64Type>().value(0), spilled_bytes(plan.as_ref()))
}

fn spilled_bytes(plan: &dyn ExecutionPlan) -> usize {
    let own = plan.metrics().and_then(|metrics| metrics.spilled_bytes()).unwrap_or(0);
    own + plan.children().iter().map(|child| spilled_bytes(child.as_ref())).sum::<usize>()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sort_and_a_group_by_larger_than_memory_finish() {
    let folder = tempfile::tempdir().unwrap();
    let options = SessionOptions {
        threads: Some(2),
        memory_bytes_max: Some(48 << 20),
        spill_dir: Some(folder.path().join("spill")),
        ..SessionOptions::default()
    };
    let session = almagest::session(&options).unwrap();
    // two million texts of 32 bytes, in no order
    let rows = "SELECT value AS k, md5(value::VARCHAR) AS s FROM generate_series(1, 2000000)";
    let sort = format!(
        "SELECT count(*) FROM (SELECT s, lag(s) OVER (ORDER BY s) AS before FROM ({rows})) \
         WHERE before <= s"
    );
    let (in_order, spilled) = run(&session, &sort).await;
    assert_eq!(in_order, 1_999_999);
    assert!(spilled > 0, "the sort did not spill");
    let groups = format!("SELECT count(*) FROM (SELECT s, sum(k) FROM ({rows}) GROUP BY s)");
    let (groups, spilled) = run(&session, &groups).await;
    assert_eq!(groups, 2_000_000);
    assert!(spilled > 0, "the GROUP BY did not spill");
}

/// Where memory is little for so many threads: the merge of all threads' rows, and each
/// thread's merge of its own, find room.
#[tokio::test(flavor = "multi_thread")]
async fn sorts_finish_with_any_memory_and_threads() {
    let folder = tempfile::tempdir().unwrap();
    for (megabytes, threads) in [(24, 8), (32, 4), (48, 4)] {
        let options = SessionOptions {
            threads: Some(threads),
            memory_bytes_max: Some(megabytes * 1_000_000),
            spill_dir: Some(folder.path().to_path_buf()),
            ..SessionOptions::default()
        };
        let session = almagest::session(&options).unwrap();
        for keys in ["s", "s, value"] {
            let sort = format!(
                "SELECT count(*) FROM (SELECT s, lag(s) OVER (ORDER BY {keys}) AS before FROM \
                 (SELECT value, md5(value::VARCHAR) AS s FROM generate_series(1, 400000))) \
                 WHERE before <= s"
            );
            let (in_order, spilled) = run(&session, &sort).await;
            assert_eq!(in_order, 399_999, "{megabytes} MB, {threads} threads, by {keys}");
            assert!(spilled > 0, "{megabytes} MB, {threads} threads: no spill");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_spilled_is_bounded_for_sorts_and_for_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let spill = folder.path().join("spill");
    let session = |memory, spilled| {
        let options = SessionOptions {
            threads: Some(2),
            memory_bytes_max: Some(memory),
            spill_dir: Some(spill.clone()),
            spill_bytes_max: Some(spilled),
            ..SessionOptions::default()
        };
        almagest::session(&options).unwrap()
    };
    // a million texts of 32 bytes and their lengths are more than 36 MB
    let sort = "SELECT count(*) FROM (SELECT s, lag(s) OVER (ORDER BY s) AS before FROM \
                (SELECT md5(value::VARCHAR) AS s FROM generate_series(1, 1000000))) WHERE before <= s";
    assert_eq!(run(&session(48 << 20, 100 << 20), sort).await.0, 999_999);
    // 16 chunks of 32 KiB, all open until the last row
    let path = folder.path().join("a.h5");
    let chunks = format!(
        "COPY (SELECT value % 128 AS y, value / 128 AS x, value * 0.5 AS v \
         FROM generate_series(0, 65535)) TO '{}' OPTIONS ('chunks' '8,512')",
        path.display()
    );
    for (session, sql) in
        [(session(48 << 20, 4 << 20), sort), (session(256 << 10, 64 << 10), chunks.as_str())]
    {
        let frame = session.sql(sql).await.unwrap();
        let error = Error::from(frame.collect().await.unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
        assert!(error.message().contains("that all queries together may spill"), "{error}");
    }
    assert!(!path.exists());
    let session = session(256 << 10, 1 << 20);
    session.sql(&chunks).await.unwrap().collect().await.unwrap();
    assert!(path.exists());
    // files are gone, whether queries ended well or not
    let left = std::fs::read_dir(&spill).unwrap().flat_map(|entry| {
        std::fs::read_dir(entry.unwrap().path()).unwrap().map(|file| file.unwrap().path())
    });
    assert_eq!(left.collect::<Vec<_>>(), Vec::<std::path::PathBuf>::new());
}
