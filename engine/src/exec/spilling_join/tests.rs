//! Joins, sorts, groups, medians and windows under any memory limit are right or refused, and end.
//!
//! The long form, over 20 million rows, is `benches/memory_limits.py`.

use std::collections::BTreeSet;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use datafusion::physical_plan::collect;

use super::*;
use crate::registry::Registry;
use crate::{Error, ErrorKind, Session, SessionOptions};

/// Rows of both tables. `k` is each of 0 to ROWS - 1 once, in two orders: 7919 and 104729 are primes that
/// do not divide it.
const ROWS: i64 = 200_000;
/// The setting that keeps a stalled query from stalling the tests.
const STALL: &str = "SET almagest.stall_timeout = 20";

fn session(folder: &std::path::Path, threads: usize, megabytes: usize) -> Session {
    let options = SessionOptions {
        threads: Some(threads),
        memory_bytes_max: (megabytes > 0).then_some(megabytes * 1_000_000),
        spill_dir: Some(folder.to_path_buf()),
        ..SessionOptions::default()
    };
    Session::try_new(&Registry::default(), &options).unwrap()
}

/// The numbers of a query's rows, or its error.
async fn run(session: &Session, sql: &str) -> Result<Rows, Error> {
    let batches = session.sql(sql).await?.collect().await?;
    Ok(batches.iter().flat_map(rows_of).collect())
}

fn rows_of(batch: &RecordBatch) -> Rows {
    let columns: Vec<_> = batch.columns().iter().map(|c| c.as_primitive::<Int64Type>()).collect();
    let value =
        |column: &arrow::array::Int64Array, row| column.is_valid(row).then(|| column.value(row));
    (0..batch.num_rows())
        .map(|row| columns.iter().map(|column| value(column, row)).collect())
        .collect()
}

fn spilled_bytes(plan: &dyn ExecutionPlan) -> usize {
    let own = plan.metrics().and_then(|metrics| metrics.spilled_bytes()).unwrap_or(0);
    own + plan.children().iter().map(|child| spilled_bytes(child.as_ref())).sum::<usize>()
}

type Rows = Vec<Vec<Option<i64>>>;

/// The rows of a query, and the bytes that it spilled.
async fn rows_and_spills(session: &Session, sql: &str) -> Result<(Rows, usize), Error> {
    session.sql(STALL).await?;
    let frame = session.sql(sql).await?;
    let context = Arc::new(frame.task_ctx());
    let plan = frame.create_physical_plan().await?;
    let batches = collect(Arc::clone(&plan), context).await?;
    Ok((batches.iter().flat_map(rows_of).collect(), spilled_bytes(plan.as_ref())))
}

/// Queries of one row of numbers, and these.
fn queries() -> Vec<(String, Vec<i64>)> {
    let table = |prime: i64| {
        format!("(SELECT value AS v, value * {prime} % {ROWS} AS k FROM range({ROWS}))")
    };
    let (a, b) = (table(7919), table(104_729));
    let texts = |prime: i64| format!("(SELECT v, k, md5(k::VARCHAR) AS s FROM {})", table(prime));
    let all = ROWS * (ROWS - 1);
    let group = ROWS / 1000;
    // of g, g + 1000, g + 2000, … the two in the middle
    let medians = (0..1000).map(|g| g + 1000 * (group / 2) - 500).sum();
    vec![
        (
            format!("SELECT count(*), sum(a.v + b.v) FROM {a} a JOIN {b} b ON a.k = b.k"),
            vec![ROWS, all],
        ),
        (
            format!(
                "SELECT count(*), count(b.v), sum(a.v) FROM {a} a \
                 LEFT JOIN (SELECT * FROM {b} WHERE k % 2 = 0) b ON a.k = b.k"
            ),
            vec![ROWS, ROWS / 2, all / 2],
        ),
        (
            format!(
                "SELECT count(*), sum(length(a.s)) FROM {} a JOIN {} b ON a.s = b.s",
                texts(7919),
                texts(104_729)
            ),
            vec![ROWS, 32 * ROWS],
        ),
        (
            format!(
                "SELECT count(*), sum(n) FROM (SELECT s, count(*) AS n FROM {} GROUP BY s)",
                texts(7919)
            ),
            vec![ROWS, ROWS],
        ),
        (
            format!(
                "SELECT count(*), sum(m)::BIGINT FROM \
                 (SELECT v % 1000 AS g, median(v) AS m FROM {a} GROUP BY v % 1000)"
            ),
            vec![1000, medians],
        ),
        (
            format!(
                "SELECT count(*) FROM (SELECT s, lag(s) OVER (ORDER BY s) AS before FROM {}) \
                 WHERE before <= s",
                texts(7919)
            ),
            vec![ROWS - 1],
        ),
        (
            format!(
                "SELECT sum(r)::BIGINT FROM \
                 (SELECT row_number() OVER (PARTITION BY k % 10 ORDER BY k) AS r FROM {a})"
            ),
            vec![10 * (ROWS / 10 * (ROWS / 10 + 1) / 2)],
        ),
        (
            format!(
                "SELECT count(*), sum(n) FROM (SELECT a.k % 50000 AS g, count(*) AS n \
                 FROM {a} a JOIN {b} b ON a.k = b.k GROUP BY a.k % 50000)"
            ),
            vec![50_000, ROWS],
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn any_query_is_right_or_refused_under_any_limit() {
    let folder = tempfile::tempdir().unwrap();
    let mut refused = vec![];
    for (threads, megabytes) in [(1, 6), (2, 21), (4, 48), (3, 200)] {
        let session = session(folder.path(), threads, megabytes);
        session.sql(STALL).await.unwrap();
        for (sql, expected) in queries() {
            let at = format!("{threads} threads, {megabytes} MB: {sql}");
            match run(&session, &sql).await {
                Ok(rows) => {
                    let expected: Vec<_> = expected.into_iter().map(Some).collect();
                    assert_eq!(rows, vec![expected], "{at}");
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Exhausted, "{at}: {error}");
                    refused.push(at);
                }
            }
        }
    }
    // what is refused with little memory may be so; with enough, every answer is there
    let refused: Vec<_> = refused.iter().filter(|at| at.contains("200 MB")).collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

/// Each kind of join, with NULLs, keys that come often, conditions, projections and limits: by hash tables
/// without a limit, and by sorting where no table fits.
#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_join_gives_the_same_rows_when_it_is_sorted() {
    let folder = tempfile::tempdir().unwrap();
    let sessions = [session(folder.path(), 2, 0), session(folder.path(), 2, 21)];
    // wide rows: no table of them fits into 21 MB, and ids tell them apart
    let table = |rows: i64, keys: i64| {
        format!(
            "(SELECT value AS id, nullif(value % {keys}, 3) AS k, value % 7 AS f, \
             repeat(md5(value::VARCHAR), 6) AS wide FROM range({rows}))"
        )
    };
    let (a, b) = (table(110_000, 60_011), table(90_000, 50_021));
    let both = "SELECT a.id, b.id, length(a.wide)::BIGINT, length(b.wide)::BIGINT";
    let mut queries = vec![];
    for kind in ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"] {
        queries.push(format!("{both} FROM {a} a {kind} {b} b ON a.k = b.k"));
        queries.push(format!("{both} FROM {a} a {kind} {b} b ON a.k = b.k AND a.f < b.f"));
    }
    queries.push(format!("{both} FROM {a} a JOIN {b} b ON a.k IS NOT DISTINCT FROM b.k"));
    for kind in ["LEFT SEMI", "LEFT ANTI"] {
        for more in ["", " AND a.f < b.f"] {
            queries.push(format!(
                "SELECT a.id, length(a.wide)::BIGINT FROM {a} a {kind} JOIN {b} b ON a.k = b.k{more}"
            ));
        }
    }
    for kind in ["RIGHT SEMI", "RIGHT ANTI"] {
        queries.push(format!(
            "SELECT b.id, length(b.wide)::BIGINT FROM {a} a {kind} JOIN {b} b ON a.k = b.k AND a.f < b.f"
        ));
    }
    // a mark join
    queries.push(format!(
        "SELECT a.id, length(a.wide)::BIGINT FROM {a} a \
         WHERE a.id < 10 OR EXISTS (SELECT 1 FROM {b} b WHERE b.k = a.k AND length(b.wide) > 1)"
    ));
    let mut sorted_count = 0;
    for sql in queries {
        let [free, narrow] = &sessions;
        let (hashed, none) = rows_and_spills(free, &sql).await.unwrap();
        assert_eq!(none, 0, "{sql}");
        let (sorted, spilled) = match rows_and_spills(narrow, &sql).await {
            Ok(found) => found,
            Err(error) => {
                // little memory for rows so wide: it may be refused
                assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}: {sql}");
                continue;
            }
        };
        sorted_count += usize::from(spilled > 10_000_000);
        assert_eq!(hashed.len(), sorted.len(), "{sql}");
        let [hashed, sorted] =
            [hashed, sorted].map(|rows| rows.into_iter().collect::<BTreeSet<_>>());
        assert!(hashed == sorted, "{sql}");
    }
    assert!(sorted_count > 3, "only {sorted_count} joins were sorted");
    // a limit that the join obeys itself
    for session in &sessions {
        let sql =
            format!("SELECT count(*) FROM ({both} FROM {a} a JOIN {b} b ON a.k = b.k LIMIT 7)");
        match run(session, &sql).await {
            Ok(rows) => assert_eq!(rows, vec![vec![Some(7)]]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}"),
        }
    }
}
