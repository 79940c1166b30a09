//! `cut(value, edges)`: the bin of a value, as `pandas.cut(right=False)` names it.

use std::sync::Arc;

use almagest_engine::Error;
use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

/// The function.
pub fn udf() -> ScalarUDF {
    ScalarUDF::from(Cut::new())
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Cut {
    signature: Signature,
}

impl Cut {
    fn new() -> Self {
        Self { signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Cut {
    fn name(&self) -> &str {
        "cut"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> DfResult<DataType> {
        if !arguments[0].is_numeric() && arguments[0] != DataType::Null {
            return Err(Error::plan(format!(
                "cut bins numbers, not {}; cast the value first",
                arguments[0]
            ))
            .into());
        }
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let ColumnarValue::Scalar(list) = &call.args[1] else {
            return Err(Error::plan("the edges of cut must be constants").into());
        };
        let edges = edges_of(list)?;
        let labels: Vec<String> =
            edges.windows(2).map(|pair| format!("[{}, {})", pair[0], pair[1])).collect();
        let values = call.args[0].to_array(call.number_rows)?;
        let values = cast(&values, &DataType::Float64)?;
        let values = values.as_primitive::<Float64Type>();
        let bins: StringArray = values
            .iter()
            .map(|value| value.and_then(|value| bin_of(value, &edges)).map(|bin| &labels[bin]))
            .collect();
        Ok(ColumnarValue::Array(Arc::new(bins)))
    }

    fn documentation(&self) -> Option<&Documentation> {
        static DOC: std::sync::LazyLock<Documentation> = std::sync::LazyLock::new(|| {
            Documentation::builder(
                datafusion::logical_expr::DocSection {
                    include: true,
                    label: "Catalog",
                    description: None,
                },
                "The bin of a value between neighbouring edges: closed on the left, open on the \
                 right, named as pandas.cut(right=False) does. NULL outside all bins, for NULL and \
                 for NaN.",
                "cut(value, edges)",
            )
            .with_argument("value", "A number.")
            .with_argument("edges", "A constant list of at least two increasing numbers.")
            .build()
        });
        Some(&DOC)
    }
}

fn edges_of(list: &ScalarValue) -> DfResult<Vec<f64>> {
    let wrong = || Error::plan("cut takes a list of edges, such as [3000, 4000, 5000]");
    let array = list.to_array()?;
    let items: ArrayRef = match array.data_type() {
        DataType::List(_) => array.as_list::<i32>().value(0),
        DataType::LargeList(_) => array.as_list::<i64>().value(0),
        _ => return Err(wrong().into()),
    };
    let items = cast(&items, &DataType::Float64)?;
    let items = items.as_primitive::<Float64Type>();
    let edges: Option<Vec<f64>> = items.iter().collect();
    match edges {
        Some(edges) if edges.len() >= 2 && edges.windows(2).all(|pair| pair[0] < pair[1]) => {
            Ok(edges)
        }
        _ => Err(Error::plan("the edges of cut must be two or more increasing numbers").into()),
    }
}

fn bin_of(value: f64, edges: &[f64]) -> Option<usize> {
    let above = edges.partition_point(|edge| *edge <= value);
    if value.is_nan() || above == 0 || above == edges.len() { None } else { Some(above - 1) }
}
