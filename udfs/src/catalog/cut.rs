//! `cut(value, edges, labels, right)`: the bin of a value, as `pandas.cut` names it.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use almagest_engine::{Error, Result};
use arrow::array::{Array, ArrayRef, AsArray, StringViewArray, UInt32Array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use crate::constant::{self, Numbers};
use crate::documentation;
use crate::kernels::bins::{Closed, edges_passed};
use crate::kernels::interval_labels;

/// The function.
///
/// # Errors
/// `Bug` if its signature contradicts itself.
pub fn udf() -> DfResult<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable)
        .with_parameter_names(vec!["value", "edges", "labels", "right"])?;
    Ok(ScalarUDF::from(Cut { signature }))
}

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    documentation::catalog(
        "The bin between neighbouring edges that holds a value, named as pandas.cut(right=False) \
         names it: closed on the left, open on the right, or the other way round with `right => \
         true`. NULL for NULL, for NaN and outside all bins. Integers are compared exactly.",
        "cut(value, edges [, labels [, right]])",
        "SELECT cut(4500, [3000, 4000, 5000]) AS bin, cut(0.5, [0, 0.5, 1], ['low', 'high']) AS \
         name, cut(4000, [3000, 4000, 5000], NULL, true) AS closed_right;",
        "+--------------+------+--------------+\n\
         | bin          | name | closed_right |\n\
         +--------------+------+--------------+\n\
         | [4000, 5000) | high | (3000, 4000] |\n\
         +--------------+------+--------------+",
    )
    .with_argument("value", "A number.")
    .with_argument(
        "edges",
        "A constant list of two or more increasing numbers; -Infinity and Infinity may stand at \
         its ends.",
    )
    .with_argument(
        "labels",
        "A constant list of different names, one fewer than edges; their type is the answer's. \
         NULL: names as pandas prints them. false: the position of the bin, from 0, as BIGINT.",
    )
    .with_argument("right", "Whether bins are closed on the right; false if absent.")
    .with_related_udf("width_bucket")
    .build()
});

/// The function's type, by which rules know it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Cut {
    signature: Signature,
}

impl ScalarUDFImpl for Cut {
    fn name(&self) -> &str {
        "cut"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> DfResult<Vec<DataType>> {
        let wrong = |message: String| Err(Error::plan(message).into());
        let mut types = arguments.to_vec();
        let (value, edges, rest) = match types.as_mut_slice() {
            [value, edges, rest @ ..] if rest.len() <= 2 => (value, edges, rest),
            other => {
                return wrong(format!(
                    "cut takes a value, edges and, if need be, labels and right, not {} arguments",
                    other.len()
                ));
            }
        };
        match value {
            DataType::Null => *value = DataType::Float64,
            DataType::Decimal128(..) | DataType::Decimal256(..) => *value = DataType::Float64,
            DataType::Decimal32(..) | DataType::Decimal64(..) => *value = DataType::Float64,
            number if number.is_numeric() => {}
            other => return wrong(format!("cut bins numbers, not {other}; cast the value first")),
        }
        if !constant::is_list(edges) {
            return wrong(format!(
                "cut takes a list of edges, such as [3000, 4000, 5000], not {edges}"
            ));
        }
        if let Some(labels) = rest.first()
            && !matches!(labels, DataType::Boolean | DataType::Null)
            && !constant::is_list(labels)
        {
            return wrong(format!("the labels of cut must be a list, NULL or false, not {labels}"));
        }
        match rest.get_mut(1) {
            None | Some(DataType::Boolean) => {}
            Some(right @ DataType::Null) => *right = DataType::Boolean,
            Some(other) => {
                return wrong(format!("cut's argument right must be true or false, not {other}"));
            }
        }
        Ok(types)
    }

    fn return_type(&self, arguments: &[DataType]) -> DfResult<DataType> {
        Ok(match arguments.get(2) {
            None | Some(DataType::Null) => DataType::Utf8View,
            Some(DataType::Boolean) => DataType::Int64,
            Some(
                DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _),
            ) => label_type(item.data_type()),
            Some(other) => {
                return Err(Error::bug(format!("labels of type {other} passed the check")).into());
            }
        })
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let bins = Bins::try_new(&call.args)?;
        match &call.args[0] {
            ColumnarValue::Scalar(value) => {
                let answer = bins.of(&value.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&answer, 0)?))
            }
            ColumnarValue::Array(values) => Ok(ColumnarValue::Array(bins.of(values)?)),
        }
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}

fn label_type(item: &DataType) -> DataType {
    match item {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        other => other.clone(),
    }
}

/// What the constant arguments say.
pub struct Bins {
    edges: Numbers,
    closed: Closed,
    labels: ArrayRef,
}

impl Bins {
    /// Reads all arguments of a call but the first.
    ///
    /// # Errors
    /// `Plan` for edges or labels that do not fit.
    pub fn try_new(arguments: &[ColumnarValue]) -> Result<Self> {
        let edges = constant::numbers(
            constant::scalar(&arguments[1], "the list of edges of cut")?,
            "the list of edges of cut",
        )?;
        if edges.len() < 2 || !edges.increase() {
            return Err(Error::plan("the edges of cut must be two or more increasing numbers"));
        }
        let closed = match arguments.get(3) {
            None => Closed::Left,
            Some(right) => match constant::scalar(right, "cut's argument right")? {
                ScalarValue::Boolean(Some(true)) => Closed::Right,
                _ => Closed::Left,
            },
        };
        let labels = match arguments.get(2) {
            None => default_labels(&edges, closed),
            Some(labels) => match constant::scalar(labels, "the list of labels of cut")? {
                ScalarValue::Null => default_labels(&edges, closed),
                ScalarValue::Boolean(Some(false)) => {
                    let last = edges.len() as i64 - 1;
                    Arc::new(arrow::array::Int64Array::from_iter_values(0..last))
                }
                ScalarValue::Boolean(_) => {
                    return Err(Error::plan(
                        "the labels of cut must be a list, NULL or false; for bins closed on the \
                         right write right => true",
                    ));
                }
                list => given_labels(list, &edges, closed)?,
            },
        };
        Ok(Self { edges, closed, labels })
    }

    /// The names of the bins, in order.
    pub fn into_labels(self) -> ArrayRef {
        self.labels
    }

    fn of(&self, values: &ArrayRef) -> Result<ArrayRef> {
        let passed = match &self.edges {
            // Values beyond i64 turn to NULL here; they lie outside of all i64 edges anyway.
            Numbers::Integers(edges) if values.data_type().is_integer() => {
                let values = cast_or_bug(values, &DataType::Int64)?;
                let passed =
                    edges_passed(values.as_primitive::<Int64Type>().values(), edges, self.closed);
                (passed, values.nulls().cloned())
            }
            edges => {
                let values = cast_or_bug(values, &DataType::Float64)?;
                let edges = edges.as_floats();
                let passed = edges_passed(
                    values.as_primitive::<Float64Type>().values(),
                    &edges,
                    self.closed,
                );
                (passed, values.nulls().cloned())
            }
        };
        let (passed, nulls) = passed;
        let bin_count = self.edges.len() as u32 - 1;
        let inside = |passed: u32| passed.wrapping_sub(1) < bin_count;
        let inside_mask = BooleanBuffer::collect_bool(passed.len(), |row| inside(passed[row]));
        let bins: Vec<u32> =
            passed.iter().map(|&passed| if inside(passed) { passed - 1 } else { 0 }).collect();
        let nulls = NullBuffer::union(nulls.as_ref(), Some(&NullBuffer::new(inside_mask)));
        let bins = UInt32Array::new(bins.into(), nulls);
        take(&self.labels, &bins, None)
            .map_err(|cause| Error::bug("cannot look up the labels of cut").caused_by(cause))
    }
}

fn cast_or_bug(values: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    cast(values, to).map_err(|cause| {
        Error::bug(format!("cannot cast {} to {to}", values.data_type())).caused_by(cause)
    })
}

fn default_labels(edges: &Numbers, closed: Closed) -> ArrayRef {
    let labels = match edges {
        Numbers::Integers(edges) => interval_labels::of_integers(edges, closed),
        Numbers::Floats(edges) => interval_labels::of_floats(edges, closed),
    };
    Arc::new(StringViewArray::from_iter_values(labels))
}

fn given_labels(list: &ScalarValue, edges: &Numbers, closed: Closed) -> Result<ArrayRef> {
    let Some(labels) = constant::list_items(list, "the list of labels of cut")? else {
        return Ok(default_labels(edges, closed));
    };
    if labels.len() != edges.len() - 1 {
        return Err(Error::plan(format!(
            "cut with {} edges takes {} labels, one for each bin, not {}",
            edges.len(),
            edges.len() - 1,
            labels.len()
        )));
    }
    let mut seen = HashSet::new();
    for row in 0..labels.len() {
        let label = ScalarValue::try_from_array(&labels, row)?;
        if label.is_null() {
            return Err(Error::plan("a label of cut is NULL; NULL stands for values in no bin"));
        }
        if !seen.insert(label.clone()) {
            return Err(Error::plan(format!(
                "the labels of cut must differ, but '{label}' stands there twice"
            )));
        }
    }
    cast_or_bug(&labels, &label_type(labels.data_type()))
}
