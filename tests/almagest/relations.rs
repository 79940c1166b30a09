//! Table functions of arrays against slices of whole arrays, over several chunkings and regions.
//!
//! Whole arrays are read once and cut here; what the functions give must be the same to the bit,
//! whatever the chunks are. Filters are compared with the same filter over the array in memory.

use std::ops::Range;

use almagest::{Session, SessionOptions};
use arrow::array::AsArray;
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use ndarray::{Array2, ArrayD, Axis, Ix2, IxDyn, Slice, concatenate, stack};

const SHAPE: [usize; 2] = [23, 31];
/// Chunks that fit the shape, that do not, of one element, and larger than the array.
const CHUNKS: [&str; 5] = ["[23, 31]", "[4, 5]", "[1, 1]", "[7, 31]", "[100, 2]"];

fn session() -> Session {
    almagest::session(&SessionOptions { threads: Some(3), ..Default::default() }).unwrap()
}

/// The array in a table: its columns but the last are dimensions.
async fn array(session: &Session, sql: &str) -> ArrayD<f64> {
    let frame = session.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let schema = frame.schema().as_arrow().clone();
    let batches = frame.collect().await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let rows = concat_batches(&schema.into(), &batches).unwrap();
    let (values, dims) = rows.columns().split_last().unwrap();
    let values = cast(values, &DataType::Float64).unwrap();
    let dims: Vec<_> = dims.iter().map(|dim| dim.as_primitive::<Int64Type>()).collect();
    let lengths = dims.iter().map(|dim| dim.values().iter().max().map_or(0, |max| max + 1));
    let shape: Vec<usize> = lengths.map(|length| length as usize).collect();
    assert_eq!(rows.num_rows(), shape.iter().product::<usize>(), "{sql}");
    let mut found = ArrayD::from_elem(IxDyn(&shape), f64::NAN);
    for row in 0..rows.num_rows() {
        let at: Vec<usize> = dims.iter().map(|dim| dim.value(row) as usize).collect();
        found[&at[..]] = values.as_primitive::<Float64Type>().value(row);
    }
    assert!(found.iter().all(|value| !value.is_nan()), "{sql}: an element is missing");
    found
}

fn noise(seed: u64, chunks: &str) -> String {
    format!("random_normal([{}, {}], seed => {seed}, chunks => {chunks})", SHAPE[0], SHAPE[1])
}

async fn whole(session: &Session, seed: u64) -> Array2<f64> {
    let sql = format!("SELECT * FROM {}", noise(seed, "[23, 31]"));
    array(session, &sql).await.into_dimensionality::<Ix2>().unwrap()
}

fn cut(array: &Array2<f64>, y: Range<usize>, x: Range<usize>) -> ArrayD<f64> {
    let part = array.slice_axis(Axis(0), Slice::from(y));
    part.slice_axis(Axis(1), Slice::from(x)).to_owned().into_dyn()
}

/// Boxes at the corners, inside, of one element, and the whole.
fn boxes() -> Vec<(Range<usize>, Range<usize>)> {
    vec![
        (0..23, 0..31),
        (0..1, 0..1),
        (22..23, 30..31),
        (3..4, 5..29),
        (2..21, 7..8),
        (5..17, 9..30),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn random_values_do_not_depend_on_chunks() {
    let session = session();
    let expected = whole(&session, 5).await.into_dyn();
    for chunks in CHUNKS {
        let found = array(&session, &format!("SELECT * FROM {}", noise(5, chunks))).await;
        assert_eq!(found, expected, "{chunks}");
    }
    // A longer array begins with the same values.
    let longer = array(&session, "SELECT * FROM random_normal([40, 31], seed => 5)").await;
    let longer = longer.into_dimensionality::<Ix2>().unwrap();
    assert_eq!(cut(&longer, 0..23, 0..31), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crop_is_a_slice_of_the_whole() {
    let session = session();
    let whole = whole(&session, 5).await;
    for chunks in CHUNKS {
        for (y, x) in boxes() {
            let sql = format!(
                "SELECT * FROM crop({}, y => [{}, {}], x => [{}, {}])",
                noise(5, chunks),
                y.start,
                y.end,
                x.start,
                x.end
            );
            assert_eq!(array(&session, &sql).await, cut(&whole, y, x), "{sql}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_of_a_crop_are_those_of_the_same_array_in_memory() {
    let session = session();
    let whole = whole(&session, 5).await;
    for (y, x) in boxes() {
        let part = cut(&whole, y.clone(), x.clone());
        session.context().deregister_table("part").unwrap();
        session.register_array::<Float64Type>("part", &["y", "x"], part).unwrap();
        for filter in ["gaussian_filter(value, 1.5, mode => 'wrap')", "median_filter(value, 5)"] {
            let expected = array(&session, &format!("SELECT y, x, {filter} FROM part")).await;
            for chunks in CHUNKS {
                let sql = format!(
                    "SELECT y, x, {filter} FROM crop({}, y => [{}, {}], x => [{}, {}])",
                    noise(5, chunks),
                    y.start,
                    y.end,
                    x.start,
                    x.end
                );
                assert_eq!(array(&session, &sql).await, expected, "{sql}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slices_of_joined_arrays_are_slices_of_the_joined() {
    let session = session();
    let (one, other) = (whole(&session, 5).await, whole(&session, 6).await);
    let along = |axis| concatenate(Axis(axis), &[one.view(), other.view(), one.view()]).unwrap();
    for (axis, dim) in ["y", "x"].into_iter().enumerate() {
        let joined = along(axis);
        for (first, second) in
            [(CHUNKS[0], CHUNKS[1]), (CHUNKS[1], CHUNKS[3]), (CHUNKS[4], CHUNKS[2])]
        {
            let (a, b) = (noise(5, first), noise(6, second));
            let table = format!("concat({a}, {b}, {a}, axis => '{dim}')");
            let found = array(&session, &format!("SELECT * FROM {table}")).await;
            assert_eq!(found, joined.clone().into_dyn(), "{table}");
            // A slice over the seam of the first two.
            let (y, x) = if axis == 0 { (20..29, 3..17) } else { (3..17, 29..35) };
            let sql = format!(
                "SELECT y - {}, x - {}, value FROM {table} WHERE y >= {} AND y < {} AND x >= {} AND x < {}",
                y.start, x.start, y.start, y.end, x.start, x.end
            );
            assert_eq!(array(&session, &sql).await, cut(&joined, y, x), "{sql}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slices_of_a_stack_are_slices_of_the_stacked() {
    let session = session();
    let (one, other) = (whole(&session, 5).await, whole(&session, 6).await);
    let expected = stack(Axis(0), &[one.view(), other.view(), one.view()]).unwrap().into_dyn();
    for (first, second) in [(CHUNKS[0], CHUNKS[1]), (CHUNKS[1], CHUNKS[3]), (CHUNKS[4], CHUNKS[2])]
    {
        let (a, b) = (noise(5, first), noise(6, second));
        let table = format!("stack({a}, {b}, {a}, axis => 'night')");
        let found = array(&session, &format!("SELECT * FROM {table}")).await;
        assert_eq!(found, expected, "{table}");
        let sql = format!(
            "SELECT night - 1, y - 4, x, value FROM {table} WHERE night > 0 AND y IN (4, 5)"
        );
        let part = expected.slice_axis(Axis(0), Slice::from(1..));
        let part = part.slice_axis(Axis(1), Slice::from(4..6)).to_owned();
        assert_eq!(array(&session, &sql).await, part, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_do_not_depend_on_chunks() {
    let session = session();
    let whole = whole(&session, 5).await;
    let largest = |y: usize, x: usize| {
        let part = cut(&whole, y * 4..(y * 4 + 4).min(23), x * 7..(x * 7 + 7).min(31));
        part.iter().copied().fold(f64::MIN, f64::max)
    };
    let expected = Array2::from_shape_fn((6, 5), |(y, x)| largest(y, x)).into_dyn();
    for chunks in CHUNKS {
        let sql = format!("SELECT * FROM downsample({}, [4, 7], 'max')", noise(5, chunks));
        assert_eq!(array(&session, &sql).await, expected, "{sql}");
    }
}

/// Each WITH query is planned once for each call that reads it, not for each way to it.
#[tokio::test(flavor = "multi_thread")]
async fn long_chains_of_with_queries_are_planned() {
    let session = session();
    let mut sql = "WITH c0 AS (SELECT * FROM arange(100))".to_string();
    for number in 1..=40 {
        let before = number - 1;
        sql.push_str(&format!(
            ", c{number} AS (SELECT x, value + 1 AS value FROM crop(c{before}, x => [1, NULL]))"
        ));
    }
    sql.push_str(" SELECT x, value FROM crop(c40, x => [0, 2])");
    assert_eq!(array(&session, &sql).await, ndarray::arr1(&[80.0, 81.0]).into_dyn());
    let calls = format!("{}arange(100){}", "crop(".repeat(40), ", x => [1, NULL])".repeat(40));
    let sql = format!("SELECT * FROM crop({calls}, x => [0, 2])");
    assert_eq!(array(&session, &sql).await, ndarray::arr1(&[40.0, 41.0]).into_dyn());
}
