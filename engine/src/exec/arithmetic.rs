//! Arithmetic in `DOUBLE` over columns, a few thousand elements at a time.
//!
//! Stage: physical execution. In: an expression. Out: one with the same values, in which sums,
//! differences, products and quotients of `DOUBLE`, and casts to it that cannot fail, are computed
//! together: a block of elements goes through all of them while it is in the nearest cache, and nothing
//! but the result is laid out. Arrow computes each over the whole column, and clears the memory of a
//! cast before it fills it. Not here: any other function, whose values are read as a column's.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Schema, UInt8Type,
    UInt16Type, UInt32Type,
};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{ColumnarValue, Operator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, Literal};

use crate::Error;
use crate::vectorised;
use crate::walk::Walk;

/// Elements that go through all steps together.
const BLOCK: usize = 2048;

/// `expr`, which is over `schema`, with its arithmetic computed so.
///
/// # Errors
/// `Bug` if it does not fit the schema.
pub fn in_blocks(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> DfResult<Arc<dyn PhysicalExpr>> {
    let changed = Arc::clone(expr).change_down(&mut |expr| {
        let mut leaves = vec![];
        let step = Step::of(&expr, schema, &mut leaves)?;
        if let Step::Leaf(_) | Step::Constant(_) = step {
            return Ok(Transformed::no(expr));
        }
        let leaves = leaves.iter().map(|leaf| in_blocks(leaf, schema)).collect::<DfResult<_>>()?;
        let together: Arc<dyn PhysicalExpr> =
            Arc::new(Arithmetic { expr, step: Arc::new(step), leaves });
        // what is below was changed above
        Ok(Transformed::new(together, true, datafusion::common::tree_node::TreeNodeRecursion::Jump))
    });
    changed.data()
}

/// An expression, and how its values are computed.
#[derive(Debug)]
struct Arithmetic {
    /// As it was written.
    expr: Arc<dyn PhysicalExpr>,
    step: Arc<Step>,
    /// What the steps begin with. Their columns count, and not those of `expr`: CASE and lambdas
    /// number columns anew.
    leaves: Vec<Arc<dyn PhysicalExpr>>,
}

/// A step of a computation in `DOUBLE`.
#[derive(Debug)]
enum Step {
    /// The values of this leaf, which is `DOUBLE`.
    Leaf(usize),
    /// Those of this one, which is a narrower number.
    Wide(usize),
    Constant(f64),
    Both(Box<(Step, Step)>, Operation),
}

#[derive(Clone, Copy, Debug)]
enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
}

impl Step {
    fn of(
        expr: &Arc<dyn PhysicalExpr>,
        schema: &Schema,
        leaves: &mut Vec<Arc<dyn PhysicalExpr>>,
    ) -> DfResult<Self> {
        let mut leaf = |expr: &Arc<dyn PhysicalExpr>| {
            leaves.push(Arc::clone(expr));
            leaves.len() - 1
        };
        if expr.data_type(schema)? != DataType::Float64 {
            return Ok(Self::Leaf(leaf(expr)));
        }
        if let Some(constant) = expr.downcast_ref::<Literal>()
            && let ScalarValue::Float64(Some(value)) = constant.value()
        {
            return Ok(Self::Constant(*value));
        }
        if let Some(cast) = expr.downcast_ref::<CastExpr>()
            && always_fits(&cast.expr().data_type(schema)?)
        {
            return Ok(Self::Wide(leaf(cast.expr())));
        }
        let Some(binary) = expr.downcast_ref::<BinaryExpr>() else {
            return Ok(Self::Leaf(leaf(expr)));
        };
        let operation = match binary.op() {
            Operator::Plus => Operation::Add,
            Operator::Minus => Operation::Subtract,
            Operator::Multiply => Operation::Multiply,
            Operator::Divide => Operation::Divide,
            _ => return Ok(Self::Leaf(leaf(expr))),
        };
        let both =
            (Self::of(binary.left(), schema, leaves)?, Self::of(binary.right(), schema, leaves)?);
        Ok(Self::Both(Box::new(both), operation))
    }

    /// The values of the elements from `at` on, as many as `out` holds.
    fn compute(&self, leaves: &[ArrayRef], at: usize, out: &mut [f64]) {
        match self {
            Self::Leaf(leaf) => {
                let values = leaves[*leaf].as_primitive::<Float64Type>().values();
                out.copy_from_slice(&values[at..at + out.len()]);
            }
            Self::Wide(leaf) => widen(&leaves[*leaf], at, out),
            Self::Constant(value) => out.fill(*value),
            Self::Both(both, operation) => {
                let (left, right) = both.as_ref();
                left.compute(leaves, at, out);
                match right {
                    Self::Constant(value) => operation.with_constant(out, *value),
                    right => {
                        let mut values = vec![0.0; out.len()];
                        right.compute(leaves, at, &mut values);
                        operation.with(out, &values);
                    }
                }
            }
        }
    }
}

impl Operation {
    fn with(self, out: &mut [f64], values: &[f64]) {
        macro_rules! each {
            ($operator:tt) => {
                vectorised(
                    #[inline(always)]
                    || out.iter_mut().zip(values).for_each(|(out, value)| *out $operator *value),
                )
            };
        }
        match self {
            Self::Add => each!(+=),
            Self::Subtract => each!(-=),
            Self::Multiply => each!(*=),
            Self::Divide => each!(/=),
        }
    }

    fn with_constant(self, out: &mut [f64], value: f64) {
        macro_rules! each {
            ($operator:tt) => {
                vectorised(
                    #[inline(always)]
                    || out.iter_mut().for_each(|out| *out $operator value),
                )
            };
        }
        match self {
            Self::Add => each!(+=),
            Self::Subtract => each!(-=),
            Self::Multiply => each!(*=),
            Self::Divide => each!(/=),
        }
    }
}

/// The types of which every value is a `DOUBLE`, in one list.
macro_rules! narrow_types {
    ($with:ident) => {
        $with!(
            Int8 Int8Type, Int16 Int16Type, Int32 Int32Type, UInt8 UInt8Type, UInt16 UInt16Type,
            UInt32 UInt32Type, Float32 Float32Type
        )
    };
}

fn always_fits(data_type: &DataType) -> bool {
    macro_rules! any {
        ($($name:ident $type:ty),*) => { matches!(data_type, $(DataType::$name)|*) };
    }
    narrow_types!(any)
}

fn widen(values: &ArrayRef, at: usize, out: &mut [f64]) {
    macro_rules! each {
        ($($name:ident $type:ty),*) => {
            match values.data_type() {
                $(DataType::$name => {
                    let values = &values.as_primitive::<$type>().values()[at..at + out.len()];
                    vectorised(
                        #[inline(always)]
                        || out.iter_mut().zip(values).for_each(|(out, value)| *out = f64::from(*value)),
                    );
                })*
                // [`Step::of`] makes no such step
                _ => out.fill(f64::NAN),
            }
        };
    }
    narrow_types!(each);
}

impl PartialEq for Arithmetic {
    fn eq(&self, other: &Self) -> bool {
        self.expr.eq(&other.expr) && self.leaves == other.leaves
    }
}

impl Eq for Arithmetic {}

impl Hash for Arithmetic {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.expr.hash(state);
        self.leaves.hash(state);
    }
}

impl fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expr.fmt(f)
    }
}

impl PhysicalExpr for Arithmetic {
    fn data_type(&self, _: &Schema) -> DfResult<DataType> {
        Ok(DataType::Float64)
    }

    fn nullable(&self, schema: &Schema) -> DfResult<bool> {
        self.leaves.iter().try_fold(false, |any, leaf| Ok(any | leaf.nullable(schema)?))
    }

    fn evaluate(&self, rows: &RecordBatch) -> DfResult<ColumnarValue> {
        let leaves = self.leaves.iter();
        let leaves = leaves.map(|leaf| leaf.evaluate(rows)?.into_array(rows.num_rows()));
        let leaves = leaves.collect::<DfResult<Vec<_>>>()?;
        let nulls = leaves.iter().fold(None, |nulls, leaf| {
            NullBuffer::union(nulls.as_ref(), leaf.logical_nulls().as_ref())
        });
        let mut values = Vec::with_capacity(rows.num_rows());
        let mut block = vec![0.0; BLOCK];
        while values.len() < rows.num_rows() {
            let block = &mut block[..BLOCK.min(rows.num_rows() - values.len())];
            self.step.compute(&leaves, values.len(), block);
            values.extend_from_slice(block);
        }
        let values = Float64Array::try_new(values.into(), nulls);
        let values = values.map_err(|cause| Error::bug("leaves differ in length").caused_by(cause));
        Ok(ColumnarValue::Array(Arc::new(values?)))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.leaves.iter().collect()
    }

    fn with_new_children(
        self: Arc<Self>,
        leaves: Vec<Arc<dyn PhysicalExpr>>,
    ) -> DfResult<Arc<dyn PhysicalExpr>> {
        let (expr, step) = (Arc::clone(&self.expr), Arc::clone(&self.step));
        Ok(Arc::new(Self { expr, step, leaves }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expr.fmt_sql(f)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float32Array, Int16Array};
    use arrow::datatypes::Field;
    use datafusion::physical_expr::expressions::{binary, cast, col, lit};

    use super::*;

    /// More than a block, with NULLs and numbers that have no `DOUBLE` quotient.
    fn rows() -> RecordBatch {
        let count = 2 * BLOCK + 77;
        let a = (0..count).map(|i| (i % 11 != 3).then_some(i as f32 / 7.0 - 100.0));
        let b = (0..count).map(|i| (i % 300) as i16 - 150);
        let c = (0..count).map(|i| f64::from(i as u32).sqrt() - 20.0);
        let schema = Schema::new(vec![
            Field::new("a", DataType::Float32, true),
            Field::new("b", DataType::Int16, false),
            Field::new("c", DataType::Float64, false),
        ]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(a.collect::<Float32Array>()),
            Arc::new(Int16Array::from_iter_values(b)),
            Arc::new(Float64Array::from_iter_values(c)),
        ];
        RecordBatch::try_new(Arc::new(schema), columns).unwrap()
    }

    #[test]
    fn values_are_those_of_datafusion_to_the_bit() {
        use Operator::{Divide, Minus, Multiply, Plus};
        let rows = rows();
        let schema = rows.schema();
        let wide =
            |name: &str| cast(col(name, &schema).unwrap(), &schema, DataType::Float64).unwrap();
        let of = |left, op, right| binary(left, op, right, &schema).unwrap();
        let c = || col("c", &schema).unwrap();
        let cases = [
            wide("a"),
            of(wide("a"), Minus, lit(3.25)),
            of(lit(1.0), Divide, wide("b")),
            of(of(wide("b"), Multiply, c()), Plus, of(wide("a"), Divide, of(c(), Minus, lit(0.5)))),
        ];
        for expr in cases {
            let changed = in_blocks(&expr, &schema).unwrap();
            assert!(changed.is::<Arithmetic>(), "{expr}");
            let values = |expr: &Arc<dyn PhysicalExpr>| {
                expr.evaluate(&rows).unwrap().into_array(rows.num_rows()).unwrap()
            };
            let (found, expected) = (values(&changed), values(&expr));
            let (found, expected) =
                (found.as_primitive::<Float64Type>(), expected.as_primitive::<Float64Type>());
            assert_eq!(found.null_count(), expected.null_count());
            for (found, expected) in found.iter().zip(expected) {
                assert_eq!(found.map(f64::to_bits), expected.map(f64::to_bits), "{expr}");
            }
        }
    }

    #[test]
    fn other_functions_are_left_as_they_are() {
        let schema = rows().schema();
        for expr in [col("a", &schema).unwrap(), col("c", &schema).unwrap(), lit(1.5)] {
            assert_eq!(&in_blocks(&expr, &schema).unwrap(), &expr);
        }
        let compared = binary(col("c", &schema).unwrap(), Operator::Gt, lit(1.0), &schema).unwrap();
        assert!(in_blocks(&compared, &schema).unwrap().is::<BinaryExpr>());
    }
}
