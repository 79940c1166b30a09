//! Random arrays, chunks and queries: the reduction gives what DataFusion gives for plain rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array, Int16Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use datafusion::physical_plan::{ExecutionPlan, collect};
use futures::TryStreamExt;
use proptest::prelude::*;

use crate::array::{ArraySource, MemoryArray, Region};
use crate::catalog::ArrayTable;
use crate::exec::{ComputeThreads, with_settings};
use crate::registry::Registry;
use crate::{Session, SessionOptions};

#[derive(Clone, Debug)]
struct Case {
    shape: Vec<u64>,
    chunk: Vec<u64>,
    kind: u8,
    nulls: bool,
    threads: usize,
    keys: Vec<Option<u64>>,
    condition: usize,
    filter: usize,
}

const DIMS: [&str; 3] = ["a", "b", "c"];
const CONDITIONS: [&str; 8] = [
    "true",
    "a >= 1 AND b < 7",
    "value > 3",
    "a % 2 = 0 AND value < 20",
    "b IN (0, 3, 9) OR value IS NULL",
    "(a - 3) * (a - 3) + (b - 2) * (b - 2) < 6",
    "a > 100",
    "NOT (value BETWEEN 2 AND 30) AND b <> 1",
];
const FILTERS: [&str; 3] = ["", " FILTER (WHERE value > 5)", " FILTER (WHERE b % 3 = 1)"];

fn case() -> impl Strategy<Value = Case> {
    let shape = prop::collection::vec(1_u64..12, 2..=3);
    let chunk = prop::collection::vec(1_u64..8, 3);
    let keys = prop::collection::vec(prop::option::of(1_u64..5), 3);
    (shape, chunk, 0_u8..4, any::<bool>(), 1_usize..4, keys, 0..CONDITIONS.len(), 0..FILTERS.len())
        .prop_map(|(shape, chunk, kind, nulls, threads, keys, condition, filter)| Case {
            chunk: chunk[..shape.len()].to_vec(),
            keys: keys[..shape.len()].to_vec(),
            shape,
            kind,
            nulls,
            threads,
            condition,
            filter,
        })
}

fn values(case: &Case) -> ArrayRef {
    let count = Region::whole(&case.shape).element_count() as i64;
    let number = |index: i64| {
        let value = (index * 37 + 11) % 41 - 4;
        (!case.nulls || index % 5 != 2).then_some(value)
    };
    let numbers = (0..count).map(number);
    match case.kind {
        0 => Arc::new(numbers.map(|n| n.map(|n| n as f32 / 4.0)).collect::<Float32Array>()),
        1 => Arc::new(numbers.map(|n| n.map(|n| n as f64 * 1e6)).collect::<Float64Array>()),
        2 => Arc::new(numbers.map(|n| n.map(|n| n as i16)).collect::<Int16Array>()),
        _ => Arc::new(numbers.collect::<Int64Array>()),
    }
}

/// Rows of numbers, sorted; all results of the queries here fit `f64`.
async fn rows(session: &Session, sql: &str) -> Vec<Vec<Option<f64>>> {
    let batches = session.sql(sql).await.unwrap().collect().await.unwrap();
    let mut rows = vec![];
    for batch in &batches {
        let columns: Vec<ArrayRef> = batch
            .columns()
            .iter()
            .map(|column| match column.data_type() {
                DataType::Boolean => {
                    cast(&cast(column, &DataType::Int8).unwrap(), &DataType::Float64)
                }
                _ => cast(column, &DataType::Float64),
            })
            .collect::<Result<_, _>>()
            .unwrap();
        for row in 0..batch.num_rows() {
            let cell = |column: &ArrayRef| {
                let column = column.as_primitive::<Float64Type>();
                column.is_valid(row).then(|| column.value(row))
            };
            rows.push(columns.iter().map(cell).collect());
        }
    }
    rows.sort_by(|one: &Vec<_>, other| one.partial_cmp(other).unwrap());
    rows
}

fn close(one: Option<f64>, other: Option<f64>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => {
            (one - other).abs() <= 1e-9 * (1.0 + one.abs().max(other.abs()))
        }
        (one, other) => one == other,
    }
}

async fn check(case: Case) {
    let options = SessionOptions { threads: Some(case.threads), ..Default::default() };
    let session = Session::try_new(&Registry::default(), &options).unwrap();
    let dims = DIMS[..case.shape.len()].iter().map(|dim| (*dim).to_string()).collect();
    let source = MemoryArray::try_new(dims, case.shape.clone(), values(&case)).unwrap();
    let source = source.with_chunks(&case.chunk);
    let table = ArrayTable::try_new("sky", vec![("value".into(), Arc::new(source))]).unwrap();
    let table = table.with_box_bytes(64);
    session.context().register_table("sky", Arc::new(table)).unwrap();
    let copy = "CREATE TABLE plain AS SELECT * FROM sky";
    session.sql(copy).await.unwrap().collect().await.unwrap();

    let keys: Vec<String> = case
        .keys
        .iter()
        .zip(DIMS)
        .filter_map(|(divisor, dim)| match divisor {
            None => None,
            Some(1) => Some(dim.to_string()),
            Some(divisor) => Some(format!("{dim}/{divisor}")),
        })
        .collect();
    let filter = FILTERS[case.filter];
    let aggregates = [
        "count(*)",
        "count(value)",
        "sum(value)",
        "avg(value)",
        "min(value)",
        "max(value)",
        "stddev(value)",
        "var_pop(value)",
        "sum(value * 2 + a)",
        "bool_and(value > 0)",
        "bool_or(value > 30)",
        "max(b)",
    ];
    let aggregates: Vec<String> = aggregates.iter().map(|call| format!("{call}{filter}")).collect();
    let outputs: Vec<String> = keys.iter().cloned().chain(aggregates).collect();
    let group =
        if keys.is_empty() { String::new() } else { format!("GROUP BY {}", keys.join(", ")) };
    let query = |table: &str| {
        let condition = CONDITIONS[case.condition];
        format!("SELECT {} FROM {table} WHERE {condition} {group}", outputs.join(", "))
    };
    let dense = rows(&session, &query("sky")).await;
    let plain = rows(&session, &query("plain")).await;
    assert_eq!(dense.len(), plain.len(), "{}\n{case:?}", query("sky"));
    for (dense, plain) in dense.iter().zip(&plain) {
        for (place, (dense, plain)) in dense.iter().zip(plain).enumerate() {
            assert!(close(*dense, *plain), "{}: {dense:?} {plain:?}\n{case:?}", outputs[place]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..Default::default() })]

    #[test]
    fn reductions_equal_aggregates_over_rows(case in case()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        runtime.block_on(check(case));
    }
}

#[tokio::test]
async fn reductions_are_used_where_they_fit() {
    let session = Session::try_new(&Registry::default(), &SessionOptions::default()).unwrap();
    let values = ndarray::ArrayD::<f64>::zeros(ndarray::IxDyn(&[30, 40]));
    session.register_array::<Float64Type>("sky", &["y", "x"], values).unwrap();
    let explained = async |sql: &str| {
        let batches =
            session.sql(&format!("EXPLAIN {sql}")).await.unwrap().collect().await.unwrap();
        arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string()
    };
    for sql in [
        "SELECT avg(value) FROM sky",
        "SELECT x, stddev(value) FROM sky GROUP BY x",
        "SELECT y/8, x/8, sum(value + y) FROM sky WHERE value > 1 GROUP BY y/8, x/8",
        "SELECT avg(v) FROM (SELECT value * 2 AS v, x AS col FROM sky) AS t WHERE col < 7",
        "WITH t AS (SELECT y / 4 AS band, value FROM sky) SELECT band, max(value) FROM t GROUP BY band",
        "SELECT DISTINCT y FROM sky",
    ] {
        assert!(explained(sql).await.contains("partial_states"), "rows are built for: {sql}");
    }
    for sql in [
        "SELECT count(*) FROM sky WHERE y > 3",
        "SELECT median(value) FROM sky",
        "SELECT y, x, sum(value) FROM sky GROUP BY y, x",
        "SELECT y/2, y/3, sum(value) FROM sky GROUP BY y/2, y/3",
        "SELECT count(DISTINCT value) FROM sky",
    ] {
        assert!(!explained(sql).await.contains("partial_states"), "reduced: {sql}");
    }
}

fn array_exec(mut plan: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    while plan.name() != "ArrayExec" {
        let child = Arc::clone(plan.children()[0]);
        plan = child;
    }
    plan
}

/// Rows of states that `ArrayExec` gives for a query.
async fn states_of(session: &Session, sql: &str) -> usize {
    let frame = session.sql(sql).await.unwrap();
    let context = Arc::new(frame.task_ctx());
    let plan = frame.create_physical_plan().await.unwrap();
    collect(Arc::clone(&plan), context).await.unwrap();
    array_exec(plan).metrics().and_then(|metrics| metrics.output_rows()).unwrap()
}

/// 256 x 8 elements in boxes of 16: 2 partitions, in each of which two boxes are read at once.
async fn one_thread_over(chunk: &[u64]) -> Session {
    let options = SessionOptions { threads: Some(1), ..Default::default() };
    let session = Session::try_new(&Registry::default(), &options).unwrap();
    let values = (0..2048).map(|index| 1.0 / (1.0 + f64::from(index)));
    let values: Float64Array = values.collect::<Vec<_>>().into();
    let dims = vec!["a".to_string(), "b".to_string()];
    let source = MemoryArray::try_new(dims, vec![256, 8], Arc::new(values)).unwrap();
    let source: Arc<dyn ArraySource> = Arc::new(source.with_chunks(chunk));
    let table = ArrayTable::try_new("sky", vec![("value".into(), source)]).unwrap();
    session.context().register_table("sky", Arc::new(table.with_box_bytes(128))).unwrap();
    session
}

#[tokio::test]
async fn boxes_with_the_same_groups_are_added_to_the_same_states() {
    let by = |group: &str| format!("SELECT {group}, sum(value) FROM sky GROUP BY {group}");
    // rows: all 128 boxes have all groups, and 16 are added to one state
    let rows = one_thread_over(&[2, 8]).await;
    assert_eq!(states_of(&rows, &by("b")).await, 128 / 16 * 8);
    assert_eq!(states_of(&rows, &by("a / 2")).await, 128);
    assert_eq!(states_of(&rows, "SELECT sum(value) FROM sky").await, 128 / 16);
    // tiles: the 64 of the same columns follow each other, or the 2 of the same rows
    let tiles = one_thread_over(&[4, 4]).await;
    assert_eq!(states_of(&tiles, &by("b")).await, 2 * 64 / 16 * 4);
    assert_eq!(states_of(&tiles, &by("a")).await, 64 * 2 * 4);
    // the box of a condition cuts a column
    let sql = "SELECT b, sum(value) FROM sky WHERE b > 0 GROUP BY b";
    assert_eq!(states_of(&tiles, sql).await, 64 / 16 * 3 + 64 / 16 * 4);
}

/// Which box is added to which states does not depend on which thread is first.
#[tokio::test(flavor = "multi_thread")]
async fn states_have_the_same_bits_each_time() {
    let session = one_thread_over(&[2, 8]).await;
    let sql = "SELECT b, sum(value), stddev(value) FROM sky GROUP BY b";
    let mut first = None;
    for _ in 0..50 {
        let frame = session.sql(sql).await.unwrap();
        let context = frame.task_ctx();
        let threads = Arc::new(ComputeThreads::new(4));
        let settings = context.session_config().clone().with_extension(threads);
        let context = Arc::new(with_settings(&context, settings));
        let scan = array_exec(frame.create_physical_plan().await.unwrap());
        let states = scan.execute(0, context).unwrap().try_collect::<Vec<_>>().await.unwrap();
        assert_eq!(states.iter().map(|batch| batch.num_rows()).sum::<usize>(), 64 / 16 * 8);
        assert_eq!(*first.get_or_insert_with(|| states.clone()), states);
    }
}
