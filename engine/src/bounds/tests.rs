//! What a session with a memory limit makes of functions that could make anything.

use std::sync::Arc;

use arrow::array::Int64Array;
use arrow::record_batch::RecordBatch;
use arrow::util::display::array_value_to_string;
use datafusion::error::Result as DfResult;
use datafusion::physical_plan::projection::ProjectionExec;

use super::guarded::{guarded, scalar_functions};
use crate::registry::Registry;
use crate::{ErrorKind, Session, SessionOptions};

fn session() -> Session {
    let options = SessionOptions {
        threads: Some(2),
        memory_bytes_max: Some(64 << 20),
        ..SessionOptions::default()
    };
    Session::try_new(&Registry::default(), &options).unwrap()
}

async fn found(sql: &str) -> crate::Result<String> {
    let rows = session().sql(sql).await?.collect().await?;
    let rows = rows.iter().find(|rows| rows.num_rows() > 0);
    Ok(rows.map_or_else(String::new, |rows| array_value_to_string(rows.column(0), 0).unwrap()))
}

#[tokio::test]
async fn what_is_too_large_is_refused_by_name() {
    let cases = [
        ("repeat('x', 2000000000)", "repeat would make 2000000000 bytes"),
        ("lpad('x', 2000000000)", "lpad would make 2000000000 bytes"),
        ("rpad('x', 2000000000, 'ä')", "rpad may make 8000000000 bytes"),
        ("digest(repeat('x', 2000000000), 'md5')", "repeat would make"),
        ("array_length(range(300000000))", "range would make 2400000008 bytes"),
        ("array_length(range(9223372036854775807, -9223372036854775808, -1))", "range would make"),
        (
            "generate_series(DATE '2000-01-01', DATE '9999-12-31', INTERVAL '1 month -31 day')",
            "may",
        ),
        (
            "generate_series(TIMESTAMP '2000-01-01', TIMESTAMP '2200-12-31', INTERVAL '1 millisecond')",
            "generate_series may make",
        ),
        ("array_repeat('some letters', 100000000)", "array_repeat would make"),
        ("array_repeat([1, 2, 3], 100000000)", "array_repeat would make"),
        ("array_resize([1], 1000000000, 7)", "array_resize would make"),
        ("replace(repeat('x', 1000000), 'x', repeat('y', 10000))", "replace may make"),
        (
            "regexp_replace(repeat('x', 1000000), 'x', repeat('y', 10000), 'g')",
            "regexp_replace may",
        ),
        ("array_to_string(range(100000), repeat('y', 10000))", "array_to_string may make"),
        ("levenshtein(repeat('x', 100000), repeat('y', 100000))", "compare 10000000000 pairs"),
        ("arrow_cast(NULL, 'FixedSizeBinary(2000000000)')", "values of 2000000000 bytes"),
        ("repeat('x', 5000000) || repeat('x', 5000000) || repeat('x', 5000000)", "|| would make"),
        ("overlay(repeat('x', 7000000) PLACING repeat('y', 7000000) FROM 2)", "overlay may make"),
    ];
    for (call, said) in cases {
        for sql in
            [format!("SELECT {call}"), format!("SELECT {call} FROM range(3) WHERE value = 1")]
        {
            let error = found(&sql).await.expect_err(&sql);
            assert_eq!(error.kind(), ErrorKind::Exhausted, "{sql}: {error}");
            assert!(error.to_string().contains(said), "{sql}: {error}");
        }
    }
}

/// The columns of a query over a range, for all its rows at once. As a query they would be computed for slices, as
/// large as a turn allows.
async fn at_once(select: &str, rows: i64) -> DfResult<()> {
    let sql = format!("SELECT {select} FROM range(1)");
    let session = session();
    let mut plan = session.physical_plan(session.sql(&sql).await?).await?;
    while !plan.is::<ProjectionExec>() {
        let child = plan.children().first().map(|child| Arc::clone(child));
        plan = child.unwrap_or_else(|| panic!("{sql}: no projection"));
    }
    let projection = plan.downcast_ref::<ProjectionExec>().unwrap();
    let schema = projection.input().schema();
    let values = Arc::new(Int64Array::from_iter_values(0..rows));
    let columns = schema.fields().iter().map(|_| Arc::clone(&values) as _).collect();
    let batch = RecordBatch::try_new(schema, columns)?;
    for column in projection.expr() {
        column.expr.evaluate(&batch)?.into_array(batch.num_rows())?;
    }
    Ok(())
}

#[tokio::test]
async fn many_rows_are_counted_together() {
    let refused = [
        ("repeat('x', 100000 + value)", "repeat would make"),
        ("repeat('x', 900000), value", "bytes for"),
        ("repeat('x', 900000) || value", "bytes for"),
        ("concat(repeat('x', 900000), value)", "concat would make"),
    ];
    for (select, said) in refused {
        at_once(select, 8).await.unwrap_or_else(|error| panic!("{select}: {error}"));
        let error = crate::Error::from(at_once(select, 8000).await.expect_err(select));
        assert_eq!(error.kind(), ErrorKind::Exhausted, "{select}: {error}");
        assert!(error.to_string().contains(said), "{select}: {error}");
    }
    let sql = "SELECT repeat('x', 1000000 + value), unnest(range(100000)) FROM range(1)";
    let error = found(sql).await.expect_err(sql);
    assert!(error.to_string().contains("UNNEST would"), "{error}");
}

#[tokio::test]
async fn what_may_be_large_and_is_not_is_made_in_pieces() {
    let cases = [
        // as if each x became 10,000 letters, and none does
        (
            "SELECT max(length(replace(t, 'z', repeat('y', 10000)))) FROM (SELECT repeat('x', 1000 + value % 2) AS t \
          FROM range(8000))",
            "1001",
        ),
        (
            "SELECT sum(length(regexp_replace(repeat('x', value % 100), 'z', repeat('y', 10000), 'g'))) \
          FROM range(8000)",
            "396000",
        ),
        (
            "SELECT array_element(range(100000), value + 1) FROM range(8000) WHERE value = 7999",
            "7999",
        ),
        (
            "SELECT sum(length(split_part(repeat('ab,', 100000), ',', CAST(value + 1 AS INT)))) FROM range(8000)",
            "16000",
        ),
        ("SELECT sum(u) FROM (SELECT unnest(range(100000)) AS u)", "4999950000"),
        (
            "SELECT count(*) FROM (SELECT unnest([[1, 2], [3]]) AS u, value FROM range(1000))",
            "2000",
        ),
    ];
    for (sql, expected) in cases {
        assert_eq!(
            found(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}")),
            expected,
            "{sql}"
        );
    }
}

#[tokio::test]
async fn small_values_are_as_before() {
    let cases = [
        ("SELECT overlay('abcdef' PLACING 'xyz' FROM 2 FOR 2)", "axyzdef"),
        ("SELECT 'a' || NULL || 'b'", ""),
        ("SELECT 'a' || 1 || 'b'", "a1b"),
        (
            "SELECT t || t || value FROM (SELECT repeat('ab', value) AS t, value FROM range(4)) WHERE value = 2",
            "abababab2",
        ),
        ("SELECT [1, 2] || [3]", "[1, 2, 3]"),
        ("SELECT length(repeat('x', 3000000))", "3000000"),
        ("SELECT upper(concat('a', NULL, value)) FROM range(1)", "A0"),
        ("SELECT concat_ws(',', 'a', concat('b', 'c'), value) FROM range(1)", "a,bc,0"),
        ("SELECT array_to_string([1, NULL, 3], '-', '?')", "1-?-3"),
        (
            "SELECT generate_series(DATE '2020-02-28', DATE '2020-03-02', INTERVAL '1 day')",
            "[2020-02-28, 2020-02-29, 2020-03-01, 2020-03-02]",
        ),
        (
            "SELECT count(*) FROM (SELECT DISTINCT 'a' || value FROM range(10) GROUP BY 'a' || value)",
            "10",
        ),
    ];
    for (sql, expected) in cases {
        assert_eq!(
            found(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}")),
            expected,
            "{sql}"
        );
    }
    let frame =
        session().sql("SELECT 'a' || value, lower('B') || 'c' FROM range(1)").await.unwrap();
    let names: Vec<String> =
        frame.schema().fields().iter().map(|field| field.name().clone()).collect();
    let rows = frame.collect().await.unwrap();
    let kept: Vec<String> =
        rows[0].schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, kept);
}

#[tokio::test]
async fn constants_that_are_small_are_computed_while_planning() {
    let plan = |sql: &'static str| async move {
        let frame = session().sql(sql).await.unwrap();
        frame.into_optimized_plan().unwrap().display_indent().to_string()
    };
    let small = plan("SELECT value FROM range(10) WHERE value < length(repeat('x', 7))").await;
    assert!(!small.contains("repeat"), "{small}");
    let large =
        plan("SELECT value FROM range(10) WHERE value < length(repeat('x', 2000000))").await;
    assert!(large.contains("repeat"), "{large}");
}

#[tokio::test]
async fn aggregates_that_hold_what_they_are_told_are_bounded() {
    let sql = |size: &str| {
        format!(
            "SELECT approx_percentile_cont(0.5, {size}) WITHIN GROUP (ORDER BY value) FROM range(10)"
        )
    };
    let error = found(&sql("999999999")).await.unwrap_err();
    assert!(error.to_string().contains("999999999 centroids"), "{error}");
    assert_eq!(found(&sql("1000")).await.unwrap(), "4.5");
}

#[tokio::test]
async fn the_limit_goes_by_the_memory() {
    let options = SessionOptions { threads: Some(1), ..SessionOptions::default() };
    let free = Session::try_new(&Registry::default(), &options).unwrap();
    let sql = "SELECT length(repeat('x', 100000000))";
    let rows = free.sql(sql).await.unwrap().collect().await.unwrap();
    assert_eq!(array_value_to_string(rows[0].column(0), 0).unwrap(), "100000000");
    assert!(found(sql).await.is_err());
    assert!(free.sql("SET almagest_value_limit.bytes_max = 5").await.is_err());
}

#[test]
fn every_function_over_texts_and_lists_is_guarded() {
    use datafusion::{functions, functions_nested};
    let mut all = functions::string::functions();
    all.extend(functions::unicode::functions());
    all.extend(functions_nested::all_default_nested_functions());
    let registered = scalar_functions();
    for function in all {
        let name = function.name();
        assert!(guarded(&function).is_some(), "{name}");
        let registered = registered.iter().filter(|known| known.name() == name);
        assert!(registered.clone().count() > 0, "{name}");
        assert!(registered.into_iter().all(|known| guarded(known).is_none()), "{name}");
    }
}
