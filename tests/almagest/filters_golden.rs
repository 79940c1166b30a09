//! Array functions against SciPy and NumPy, over several chunkings of the same array.
//!
//! In: `data/filters_cases.tsv` and `data/filters.h5`, written and described by
//! `data/filters_golden.py`. Every element must be within its case's tolerance, and the same to the
//! bit whatever the chunks are. Each function has a test of its own.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use almagest::{Session, SessionOptions};
use almagest_engine::array::{MemoryArray, unravel};
use almagest_engine::catalog::ArrayTable;
use arrow::array::{Array, ArrayRef, AsArray, UInt64Array};
use arrow::compute::{cast, concat_batches, take};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use futures::StreamExt;

/// Elements of the largest array that is also read in chunks of one element.
const SINGLE_ELEMENTS_MAX: u64 = 150;
/// Failures that a test shows in full; of the others it shows the names.
const FAILURES_SHOWN: usize = 12;
const FAILURE_CHARS_MAX: usize = 600;
/// Cases that are computed at the same time.
const CASES_AT_ONCE: usize = 4;

macro_rules! golden {
    ($($function:ident)*) => {
        const GROUPS: &[&str] = &[$(stringify!($function)),*];
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $function() {
                hold(stringify!($function)).await;
            }
        )*
    };
}

golden! {
    chains convolve correlate gaussian_filter gaussian_gradient_magnitude gaussian_laplace
    grey_closing grey_dilation grey_erosion grey_opening laplace local_mean local_stddev
    maximum_filter median_filter minimum_filter percentile_filter prewitt rank_filter sobel
    uniform_filter white_tophat
}

#[test]
fn every_case_belongs_to_a_test() {
    let groups: BTreeSet<String> = cases().iter().map(|case| case.group().to_string()).collect();
    assert_eq!(groups, GROUPS.iter().map(|group| (*group).to_string()).collect());
}

/// A line of the list of cases.
#[derive(Clone, Debug)]
struct Case {
    id: String,
    input: String,
    sql: String,
    /// The dataset with the expected result, among those of other cases.
    expected: String,
    row: usize,
    /// Relative to the greatest finite magnitude that is expected.
    tolerance: f64,
    /// Whether an expected NaN stands for NULL.
    null: bool,
}

impl Case {
    fn group(&self) -> &str {
        self.id.split('/').next().unwrap()
    }
}

fn cases() -> Vec<Case> {
    let text = std::fs::read_to_string("data/filters_cases.tsv").unwrap();
    let parse = |line: &str| {
        let mut parts = line.split('\t').map(str::to_string);
        let mut next = || parts.next().unwrap_or_else(|| panic!("a column is missing: {line}"));
        Case {
            id: next(),
            input: next(),
            sql: next(),
            expected: next(),
            row: next().parse().unwrap(),
            tolerance: next().parse().unwrap(),
            null: next() == "null",
        }
    };
    text.lines().skip(1).map(parse).collect()
}

/// The rows of a query on an array, brought into row-major order.
#[derive(Clone, Debug)]
struct Dense {
    shape: Vec<u64>,
    values: ArrayRef,
}

impl Dense {
    /// Dimensions come first, the value last.
    async fn query(session: &Session, sql: &str) -> Result<Self, String> {
        let frame = session.sql(sql).await.map_err(|error| error.to_string())?;
        let schema = Arc::clone(frame.schema().inner());
        let batches = frame.collect().await.map_err(|error| error.to_string())?;
        let rows = concat_batches(&schema, &batches).map_err(|error| error.to_string())?;
        let (values, dims) = rows.columns().split_last().unwrap();
        let dims: Vec<_> = dims.iter().map(|dim| dim.as_primitive::<Int64Type>()).collect();
        let length =
            |dim: &&arrow::array::Int64Array| dim.values().iter().max().map_or(0, |k| k + 1);
        let shape: Vec<u64> = dims.iter().map(|dim| length(dim) as u64).collect();
        let mut row_at = vec![None; shape.iter().product::<u64>() as usize];
        for row in 0..rows.num_rows() {
            let at = dims.iter().zip(&shape);
            let at = at.fold(0, |sum, (dim, length)| sum * length + dim.value(row) as u64);
            if row_at[at as usize].replace(row as u64).is_some() {
                return Err(format!("element {:?} came twice", unravel(at, &shape)));
            }
        }
        if let Some(at) = row_at.iter().position(Option::is_none) {
            return Err(format!("element {:?} did not come", unravel(at as u64, &shape)));
        }
        let values = take(values, &UInt64Array::from(row_at), None).unwrap();
        Ok(Self { shape, values })
    }

    async fn read(session: &Session, dataset: &str) -> Self {
        let sql = format!("SELECT * FROM read_hdf5('data/filters.h5', dataset => '{dataset}')");
        let read = Self::query(session, &sql).await;
        read.unwrap_or_else(|error| panic!("{dataset} cannot be read: {error}"))
    }

    fn elements(&self) -> Vec<Element> {
        elements(&self.values)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Element {
    Null,
    Integer(i64),
    Float(f64),
}

impl Element {
    /// All NaNs are one; the zeros are two.
    fn same_bits(self, other: Self) -> bool {
        match (self, other) {
            (Self::Float(one), Self::Float(two)) => {
                one.to_bits() == two.to_bits() || one.is_nan() && two.is_nan()
            }
            _ => self == other,
        }
    }

    fn is_near(self, expected: Self, allowed: f64, null: bool) -> bool {
        match (self, expected) {
            (Self::Float(got), Self::Float(expected)) if expected.is_nan() => got.is_nan() && !null,
            (Self::Null, Self::Float(expected)) => expected.is_nan() && null,
            (Self::Float(got), Self::Float(expected)) => {
                got == expected || (got - expected).abs() <= allowed
            }
            _ => self == expected,
        }
    }
}

fn elements(values: &ArrayRef) -> Vec<Element> {
    if values.data_type().is_floating() {
        let values = cast(values, &DataType::Float64).unwrap();
        let values = values.as_primitive::<Float64Type>();
        return values.iter().map(|value| value.map_or(Element::Null, Element::Float)).collect();
    }
    let values = cast(values, &DataType::Int64).unwrap();
    let values = values.as_primitive::<Int64Type>();
    values.iter().map(|value| value.map_or(Element::Null, Element::Integer)).collect()
}

/// Chunk shapes: the whole array, uneven pieces, and pieces smaller than any window.
fn chunkings(shape: &[u64]) -> Vec<Vec<u64>> {
    let uneven: &[u64] = match shape.len() {
        1 => &[7],
        2 => &[5, 7],
        3 => &[3, 2, 4],
        _ => &[2, 3, 2, 4],
    };
    let uneven = uneven.iter().zip(shape).map(|(chunk, length)| *chunk.min(length)).collect();
    let mut all = vec![shape.to_vec(), uneven];
    if shape.iter().product::<u64>() <= SINGLE_ELEMENTS_MAX {
        all.push(vec![1; shape.len()]);
    } else {
        for thin in [0, shape.len() - 1] {
            let mut chunk = shape.to_vec();
            chunk[thin] = 1;
            all.push(chunk);
        }
    }
    all.dedup();
    all
}

fn dims(ndim: usize) -> &'static [&'static str] {
    let all = &["d0", "z", "y", "x"];
    &all[all.len() - ndim..]
}

fn table_name(input: &str, chunks: &[u64]) -> String {
    let chunks: Vec<String> = chunks.iter().map(u64::to_string).collect();
    format!("{}_in_{}", input.trim_start_matches("/in/"), chunks.join("x"))
}

/// What the cases of a group read.
struct Golden {
    session: Session,
    datasets: HashMap<String, Dense>,
}

impl Golden {
    async fn of(cases: &[Case]) -> Self {
        let options = SessionOptions { threads: Some(3), ..Default::default() };
        let session = almagest::session(&options).unwrap();
        let mut datasets = HashMap::new();
        for dataset in cases.iter().flat_map(|case| [&case.input, &case.expected]) {
            if !datasets.contains_key(dataset) {
                datasets.insert(dataset.clone(), Dense::read(&session, dataset).await);
            }
        }
        for input in cases.iter().map(|case| &case.input).collect::<BTreeSet<_>>() {
            let Dense { shape, values } = &datasets[input];
            for chunks in chunkings(shape) {
                let name = table_name(input, &chunks);
                let dims = dims(shape.len()).iter().map(|dim| (*dim).to_string()).collect();
                let array = MemoryArray::try_new(dims, shape.clone(), Arc::clone(values)).unwrap();
                let array = Arc::new(array.with_chunks(&chunks));
                let table = ArrayTable::try_new(&name, vec![("value".into(), array)]).unwrap();
                let table = Arc::new(table.with_box_bytes(1));
                session.context().register_table(&name, table).unwrap();
            }
        }
        Self { session, datasets }
    }

    fn expected(&self, case: &Case) -> ArrayRef {
        let stack = &self.datasets[&case.expected];
        let count = stack.shape[1..].iter().product::<u64>() as usize;
        stack.values.slice(case.row * count, count)
    }

    /// Computes a case over every chunking.
    async fn check(&self, case: &Case) -> Result<(), String> {
        let expected = self.expected(case);
        let mut whole: Option<Vec<Element>> = None;
        let shape = &self.datasets[&case.input].shape;
        for chunks in chunkings(shape) {
            let dims = dims(shape.len()).join(", ");
            let table = table_name(&case.input, &chunks);
            let sql = format!("SELECT {dims}, {} AS result FROM {table}", case.sql);
            let got = Dense::query(&self.session, &sql).await;
            let got = got.map_err(|error| format!("chunks {chunks:?}: {error}"))?;
            if &got.shape != shape || got.values.data_type() != expected.data_type() {
                return Err(format!(
                    "got {} of shape {:?}, expected {} of shape {shape:?}",
                    got.values.data_type(),
                    got.shape,
                    expected.data_type()
                ));
            }
            let got = got.elements();
            compare(&got, &elements(&expected), case, shape)
                .map_err(|text| format!("chunks {chunks:?}: {text}"))?;
            let whole = whole.get_or_insert_with(|| got.clone());
            if let Some(at) = (0..got.len()).find(|at| !got[*at].same_bits(whole[*at])) {
                return Err(format!(
                    "chunks {chunks:?} change element {:?}: {:?} instead of {:?}",
                    unravel(at as u64, shape),
                    got[at],
                    whole[at]
                ));
            }
        }
        Ok(())
    }
}

fn compare(
    got: &[Element],
    expected: &[Element],
    case: &Case,
    shape: &[u64],
) -> Result<(), String> {
    let magnitude = |element: &Element| match element {
        Element::Float(value) if value.is_finite() => value.abs(),
        _ => 0.0,
    };
    let scale = expected.iter().map(magnitude).fold(f64::MIN_POSITIVE, f64::max);
    let allowed = case.tolerance * scale;
    let wrong = |at: &usize| !got[*at].is_near(expected[*at], allowed, case.null);
    let count = (0..got.len()).filter(wrong).count();
    match (0..got.len()).find(wrong) {
        None => Ok(()),
        Some(at) => Err(format!(
            "{count} of {} elements differ, first {:?}: got {:?}, expected {:?}{} within {allowed:e}",
            got.len(),
            unravel(at as u64, shape),
            got[at],
            expected[at],
            if case.null { " (NaN is NULL)" } else { "" },
        )),
    }
}

/// Every case of a group.
async fn hold(group: &str) {
    let cases: Vec<Case> = cases().into_iter().filter(|case| case.group() == group).collect();
    assert!(!cases.is_empty(), "{group} has no cases");
    let golden = Arc::new(Golden::of(&cases).await);
    let count = cases.len();
    let results = futures::stream::iter(cases).map(|case| {
        let golden = Arc::clone(&golden);
        async move {
            let checked = case.clone();
            let check = tokio::spawn(async move { golden.check(&checked).await }).await;
            let result = check.unwrap_or_else(|panic| Err(panic.to_string()));
            result.err().map(|text| (case, text))
        }
    });
    let failures: Vec<_> =
        results.buffered(CASES_AT_ONCE).filter_map(|failure| async { failure }).collect().await;
    if failures.is_empty() {
        return;
    }
    let shown = failures.iter().take(FAILURES_SHOWN).map(|(case, text)| {
        let text: String = text.chars().take(FAILURE_CHARS_MAX).collect();
        format!("{} on {}: {}\n    {text}\n", case.id, case.input, case.sql)
    });
    let ids: Vec<&str> = failures.iter().map(|(case, _)| case.id.as_str()).collect();
    panic!(
        "{} of {count} cases of {group} fail:\n{}all: {}",
        failures.len(),
        shown.collect::<String>(),
        ids.join(" ")
    );
}

#[test]
fn what_differs_from_the_expected_is_found() {
    use Element::{Float, Integer, Null};
    let nan = Float(f64::NAN);
    let agree = |got: Element, expected: Element, tolerance: f64, null: bool| {
        let case = Case {
            id: "f/1".into(),
            input: String::new(),
            sql: String::new(),
            expected: String::new(),
            row: 0,
            tolerance,
            null,
        };
        // the second element gives the scale
        compare(&[got, Float(-100.0)], &[expected, Float(-100.0)], &case, &[1, 2]).is_ok()
    };
    assert!(agree(Float(1.5), Float(1.5), 0.0, false));
    assert!(agree(Float(1.0 + 9e-11), Float(1.0), 1e-12, false));
    assert!(!agree(Float(1.0 + 2e-10), Float(1.0), 1e-12, false));
    assert!(agree(Float(f64::INFINITY), Float(f64::INFINITY), 1e-12, false));
    assert!(!agree(Float(f64::INFINITY), Float(1.0), 1e-12, false));
    assert!(!agree(Integer(i64::MAX), Integer(i64::MAX - 1), 0.0, false));
    assert!(agree(nan, nan, 0.0, false) && !agree(nan, nan, 0.0, true));
    assert!(agree(Null, nan, 0.0, true) && !agree(Null, nan, 0.0, false));
    for other in [Float(0.0), Null] {
        assert!(!agree(nan, other, 1e-6, false) && !agree(other, nan, 1e-6, false), "{other:?}");
    }
    assert!(!Float(0.0).same_bits(Float(-0.0)) && nan.same_bits(Float(-f64::NAN)));
}
