//! Numbers as `DOUBLE`, where every value fits.
//!
//! Stage: physical execution. In: an expression of states. Out: the same one, in which a cast from a
//! narrower number to `DOUBLE` is a plain loop: Arrow's own looks for a value that does not fit, and
//! clears the memory before it fills it. Not here: casts that may fail.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Float32Type, Int8Type, Int16Type, Int32Type, Schema, UInt8Type,
    UInt16Type, UInt32Type,
};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::CastExpr;

use super::reduce::vectorised;
use crate::Error;

/// `expr` with its casts that cannot fail as plain loops. `schema` is what it is over.
///
/// # Errors
/// `Bug` if it does not fit the schema.
pub fn widened(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> DfResult<Arc<dyn PhysicalExpr>> {
    let changed = Arc::clone(expr).transform_up(|expr| {
        let Some(narrow) = expr.downcast_ref::<CastExpr>().map(CastExpr::expr) else {
            return Ok(Transformed::no(expr));
        };
        if expr.data_type(schema)? != DataType::Float64 || !always_fits(&narrow.data_type(schema)?)
        {
            return Ok(Transformed::no(expr));
        }
        let wide: Arc<dyn PhysicalExpr> = Arc::new(Widened(Arc::clone(narrow)));
        Ok(Transformed::yes(wide))
    });
    changed.data()
}

fn always_fits(data_type: &DataType) -> bool {
    use DataType::{Float32, Int8, Int16, Int32, UInt8, UInt16, UInt32};
    matches!(data_type, Int8 | Int16 | Int32 | UInt8 | UInt16 | UInt32 | Float32)
}

/// A number as `DOUBLE`.
#[derive(Debug, Eq, Hash)]
struct Widened(Arc<dyn PhysicalExpr>);

// The derived one would move the expression.
impl PartialEq for Widened {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq(&other.0)
    }
}

impl fmt::Display for Widened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CAST({} AS Float64)", self.0)
    }
}

impl PhysicalExpr for Widened {
    fn data_type(&self, _: &Schema) -> DfResult<DataType> {
        Ok(DataType::Float64)
    }

    fn nullable(&self, schema: &Schema) -> DfResult<bool> {
        self.0.nullable(schema)
    }

    fn evaluate(&self, rows: &RecordBatch) -> DfResult<ColumnarValue> {
        Ok(match self.0.evaluate(rows)? {
            ColumnarValue::Array(values) => ColumnarValue::Array(wide(&values)?),
            ColumnarValue::Scalar(value) => {
                ColumnarValue::Scalar(value.cast_to(&DataType::Float64)?)
            }
        })
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.0]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> DfResult<Arc<dyn PhysicalExpr>> {
        match (children.pop(), children.is_empty()) {
            (Some(child), true) => Ok(Arc::new(Self(child))),
            _ => Err(Error::bug("a cast takes exactly one number").into()),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt_sql(f)
    }
}

fn wide(values: &ArrayRef) -> DfResult<ArrayRef> {
    fn of<T: ArrowPrimitiveType<Native: Into<f64>>>(values: &ArrayRef) -> ArrayRef {
        let values = values.as_primitive::<T>();
        let wide: Vec<f64> = vectorised(
            #[inline(always)]
            || values.values().iter().map(|value| (*value).into()).collect(),
        );
        Arc::new(Float64Array::new(wide.into(), values.nulls().cloned()))
    }
    Ok(match values.data_type() {
        DataType::Int8 => of::<Int8Type>(values),
        DataType::Int16 => of::<Int16Type>(values),
        DataType::Int32 => of::<Int32Type>(values),
        DataType::UInt8 => of::<UInt8Type>(values),
        DataType::UInt16 => of::<UInt16Type>(values),
        DataType::UInt32 => of::<UInt32Type>(values),
        DataType::Float32 => of::<Float32Type>(values),
        _ => cast(values, &DataType::Float64)?,
    })
}
