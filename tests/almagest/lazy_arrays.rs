//! Random lazy arrays: what is asked of a part is what the whole has there, whatever the chunks;
//! no more is read than windows reach; a zip is a join.

use std::sync::Arc;

use almagest::{Session, SessionOptions};
use almagest_engine::array::{
    ArrayMeta, ArraySource, Block, Fetched, MemoryArray, ReadContext, Region, Storage,
};
use almagest_engine::catalog::ArrayTable;
use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use parking_lot::Mutex;
use proptest::prelude::*;

const DIMS: [&str; 3] = ["z", "y", "x"];
/// Stages of chains, over `$`.
const STAGES: [&str; 14] = [
    "gaussian_filter($, 0.8, mode => '@')",
    "uniform_filter($, 3, mode => '@')",
    "median_filter($, 3, mode => '@')",
    "maximum_filter($, 4, mode => '@', origin => 1)",
    "minimum_filter($, 2, mode => '@', nan => 'ignore')",
    "percentile_filter($, 30, 3, mode => '@')",
    "laplace($, mode => '@')",
    "sobel($, 0, mode => '@')",
    "gaussian_gradient_magnitude($, 0.6, mode => '@')",
    "grey_opening($, 3, mode => '@')",
    "local_stddev($, 3, mode => '@')",
    "map_overlap($, 1, w -> array_max(w), '@')",
    "map_blocks($, 3, b -> array_max(b))",
    "(0.5 * $ + 1)",
];
const MODES: [&str; 5] = ["reflect", "mirror", "nearest", "wrap", "constant"];

#[derive(Clone, Debug)]
struct Case {
    shape: Vec<u64>,
    chunk: Vec<u64>,
    other_chunk: Vec<u64>,
    part: Region,
    sql: String,
    missing: u8,
    threads: usize,
}

fn case() -> impl Strategy<Value = Case> {
    let axis = (1_u64..11, 1_u64..6, 1_u64..6, 0.0..1.0_f64, 0.0..1.0_f64);
    let axes = prop::collection::vec(axis, 1..=3);
    let stage = (0..STAGES.len(), 0..MODES.len());
    (axes, prop::collection::vec(stage, 1..=3), 0_u8..4, 1_usize..4).prop_map(
        |(axes, stages, missing, threads)| {
            let ranges: Vec<_> = axes
                .iter()
                .map(|(length, _, _, from, to)| {
                    let place = |share: f64| (share * *length as f64) as u64;
                    let (one, other) = (place(*from), place(*to));
                    one.min(other)..one.max(other) + 1
                })
                .collect();
            let sql = stages.iter().fold("value".to_string(), |inner, (stage, mode)| {
                STAGES[*stage].replace('$', &inner).replace('@', MODES[*mode])
            });
            Case {
                shape: axes.iter().map(|axis| axis.0).collect(),
                chunk: axes.iter().map(|axis| axis.1).collect(),
                other_chunk: axes.iter().map(|axis| axis.2).collect(),
                part: Region::from_ranges(&ranges),
                sql,
                missing,
                threads,
            }
        },
    )
}

fn values(case: &Case) -> Float64Array {
    let count = case.shape.iter().product::<u64>() as i64;
    (0..count)
        .map(|index| match (case.missing, (index * 7 + 3) % 11) {
            (1 | 3, 0) => Some(f64::NAN),
            (2 | 3, 5) => None,
            _ => Some(((index * 37 + 11) % 101) as f64 / 7.0 - 4.0),
        })
        .collect()
}

fn dims(case: &Case) -> Vec<String> {
    DIMS[3 - case.shape.len()..].iter().map(|dim| (*dim).to_string()).collect()
}

fn register(session: &Session, name: &str, source: Arc<dyn ArraySource>) {
    let table = ArrayTable::try_new(name, vec![("value".into(), source)]).unwrap();
    session.context().register_table(name, Arc::new(table.with_box_bytes(64))).unwrap();
}

fn session(case: &Case) -> Session {
    almagest::session(&SessionOptions { threads: Some(case.threads), ..Default::default() })
        .unwrap()
}

fn array(case: &Case, chunk: &[u64]) -> MemoryArray {
    let values: ArrayRef = Arc::new(values(case));
    MemoryArray::try_new(dims(case), case.shape.clone(), values).unwrap().with_chunks(chunk)
}

/// The bits of the last column, ordered by the others, all NaNs alike.
async fn bits(session: &Session, sql: &str) -> Vec<Option<u64>> {
    let batches = session.sql(sql).await.unwrap().collect().await;
    let batches = batches.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let bits = |value: f64| if value.is_nan() { f64::NAN } else { value }.to_bits();
    let mut all = vec![];
    for batch in &batches {
        let column = cast(batch.columns().last().unwrap(), &DataType::Float64).unwrap();
        all.extend(column.as_primitive::<Float64Type>().iter().map(|value| value.map(bits)));
    }
    all
}

fn inside(case: &Case) -> String {
    let conditions = dims(case).into_iter().enumerate().map(|(axis, dim)| {
        let range = case.part.range(axis);
        format!("{dim} >= {} AND {dim} < {}", range.start, range.end)
    });
    conditions.collect::<Vec<_>>().join(" AND ")
}

async fn check_part(case: Case) {
    let session = session(&case);
    register(&session, "whole", Arc::new(array(&case, &case.shape)));
    register(&session, "chunked", Arc::new(array(&case, &case.chunk)));
    let (dims, inside, sql) = (dims(&case).join(", "), inside(&case), &case.sql);
    // the whole is computed and kept, and only then cut
    let copy = format!("CREATE TABLE kept AS SELECT {dims}, {sql} AS result FROM whole");
    session.sql(&copy).await.unwrap().collect().await.unwrap();
    let kept = format!("SELECT {dims}, result FROM kept WHERE {inside} ORDER BY {dims}");
    let part =
        format!("SELECT {dims}, {sql} AS result FROM chunked WHERE {inside} ORDER BY {dims}");
    assert_eq!(bits(&session, &part).await, bits(&session, &kept).await, "{case:?}");
}

async fn check_zip(case: Case) {
    let session = session(&case);
    register(&session, "a", Arc::new(array(&case, &case.chunk)));
    register(&session, "b", Arc::new(array(&case, &case.other_chunk)));
    let dims = dims(&case);
    let named = dims.iter().map(|dim| format!("a.{dim}")).collect::<Vec<_>>().join(", ");
    let joined = |beside: &str| {
        let on = dims.iter().map(|dim| format!("a.{dim} = b.{dim}{beside}"));
        let on = on.collect::<Vec<_>>().join(" AND ");
        format!(
            "SELECT {named}, a.value * 3 - b.value AS result FROM a JOIN b ON {on} \
             WHERE a.value > 0 ORDER BY {named}"
        )
    };
    let plan = format!("EXPLAIN {}", joined(""));
    let plan = session.sql(&plan).await.unwrap().to_string().await.unwrap();
    assert!(!plan.contains("JoinExec"), "{plan}");
    // an equation of expressions is a plain join
    assert_eq!(bits(&session, &joined("")).await, bits(&session, &joined(" + 0")).await);
}

/// An array that notes what is read of it.
#[derive(Debug)]
struct Noted {
    array: MemoryArray,
    read: Mutex<Vec<Region>>,
}

#[async_trait::async_trait]
impl ArraySource for Noted {
    fn meta(&self) -> &ArrayMeta {
        self.array.meta()
    }

    fn storage(&self) -> Storage {
        self.array.storage()
    }

    fn location(&self) -> String {
        self.array.location()
    }

    fn select(&self, fields: &[usize]) -> Option<Arc<dyn ArraySource>> {
        self.array.select(fields)
    }

    async fn open(&self, context: &ReadContext) -> almagest_engine::Result<()> {
        self.array.open(context).await
    }

    async fn fetch(
        &self,
        region: &Region,
        context: &ReadContext,
    ) -> almagest_engine::Result<Fetched> {
        self.array.fetch(region, context).await
    }

    fn is_remote(&self) -> bool {
        self.array.is_remote()
    }

    fn decodes_whole_chunks(&self, region: &Region) -> bool {
        self.array.decodes_whole_chunks(region)
    }

    fn reads_more_than(&self, region: &Region) -> bool {
        self.array.reads_more_than(region)
    }

    fn is_uniform(&self, region: &Region) -> bool {
        self.array.is_uniform(region)
    }

    fn cut_shape(&self) -> Option<Vec<u64>> {
        self.array.cut_shape()
    }

    fn working_bytes(&self, region: &Region) -> u64 {
        self.array.working_bytes(region)
    }

    fn decode(
        &self,
        region: &Region,
        fetched: Fetched,
        context: &ReadContext,
    ) -> almagest_engine::Result<Block> {
        self.read.lock().push(region.clone());
        self.array.decode(region, fetched, context)
    }
}

/// What is read of a 20 x 30 array in chunks of 5 x 5 for one query, as the range of each axis.
async fn read_for(sql: &str, condition: &str) -> Vec<(u64, u64)> {
    let values: ArrayRef = Arc::new((0..600).map(f64::from).collect::<Float64Array>());
    let dims = vec!["y".to_string(), "x".to_string()];
    let array = MemoryArray::try_new(dims, vec![20, 30], values).unwrap().with_chunks(&[5, 5]);
    let noted = Arc::new(Noted { array, read: Mutex::default() });
    let session = almagest::session(&SessionOptions::default()).unwrap();
    register(&session, "sky", Arc::clone(&noted) as Arc<dyn ArraySource>);
    let sql = format!("SELECT sum({sql}) FROM sky WHERE {condition}");
    session.sql(&sql).await.unwrap().collect().await.unwrap();
    let read = noted.read.lock();
    (0..2)
        .map(|axis| {
            let ranges = read.iter().map(|region| region.range(axis));
            let (start, end): (Vec<u64>, Vec<u64>) = ranges.map(|r| (r.start, r.end)).unzip();
            (*start.iter().min().unwrap(), *end.iter().max().unwrap())
        })
        .collect()
}

#[tokio::test]
async fn no_more_is_read_than_windows_reach() {
    let pixel = "y = 10 AND x = 15";
    assert_eq!(read_for("gaussian_filter(value, 1.0)", pixel).await, [(6, 15), (11, 20)]);
    assert_eq!(read_for("median_filter(value, [3, 5])", pixel).await, [(9, 12), (13, 18)]);
    assert_eq!(read_for("uniform_filter(value, 4, origin => 1)", pixel).await, [(7, 11), (12, 16)]);
    let chain = "maximum_filter(gaussian_filter(value, 1.0), 3)";
    assert_eq!(read_for(chain, pixel).await, [(5, 16), (10, 21)]);
    assert_eq!(read_for("sobel(value - laplace(value), 0)", pixel).await, [(8, 13), (13, 18)]);
    assert_eq!(read_for("map_overlap(value, 2, w -> w[1])", pixel).await, [(8, 13), (13, 18)]);
    assert_eq!(read_for("map_blocks(value, 4, b -> b)", pixel).await, [(8, 12), (12, 16)]);
    // beyond an end the array itself is read: its other end for wrap, nothing for a constant
    let corner = "y = 0 AND x = 0";
    let wrapped = "median_filter(value, 3, mode => 'wrap')";
    assert_eq!(read_for(wrapped, corner).await, [(0, 20), (0, 30)]);
    let constant = "median_filter(value, 3, mode => 'constant')";
    assert_eq!(read_for(constant, corner).await, [(0, 2), (0, 2)]);
}

#[tokio::test]
async fn calls_that_say_the_same_are_one_column() {
    let session = almagest::session(&SessionOptions::default()).unwrap();
    let values: ArrayRef = Arc::new((0..600).map(f64::from).collect::<Float64Array>());
    let array = MemoryArray::try_new(vec!["y".into(), "x".into()], vec![20, 30], values).unwrap();
    register(&session, "sky", Arc::new(array));
    for (calls, columns) in [
        (["gaussian_filter(value, 2)", "gaussian_filter(value, sigma => 2.0)"], 1),
        (["gaussian_filter(value, [1, 2])", "gaussian_filter(value, [1.0, 2.0])"], 1),
        (["uniform_filter(value, 3)", "uniform_filter(value, 1 + 2)"], 1),
        (["gaussian_filter(value, 2)", "gaussian_filter(value, 2.5)"], 2),
        (["map_overlap(value, 1, w -> w[1])", "map_overlap(value, 1.0, w -> w[1])"], 1),
        (["map_overlap(value, 1, w -> w[1])", "map_overlap(value, 1, w -> w[2])"], 2),
    ] {
        let [one, other] = calls;
        let plan = format!("EXPLAIN SELECT {one} AS one, {other} AS other FROM sky");
        let plan = session.sql(&plan).await.unwrap().to_string().await.unwrap();
        let scan = plan.split("ArrayExec").nth(1).and_then(|rest| rest.split("columns=[").nth(1));
        let name = one.split('(').next().unwrap();
        let found = scan.map_or(0, |columns| columns.matches(&format!("{name}(")).count());
        assert_eq!(found, columns, "{calls:?}: {plan}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_part_is_what_the_whole_has_there(case in case()) {
        tokio::runtime::Runtime::new().unwrap().block_on(check_part(case));
    }

    #[test]
    fn a_zip_is_a_join(case in case()) {
        tokio::runtime::Runtime::new().unwrap().block_on(check_zip(case));
    }
}
