//! An expression over the elements of arrays of one shape, element by element.
//!
//! In: a physical expression over columns. Out: the array of its values; a [`super::Derived`] whose
//! footprint is the region itself. Columns may be dimensions too.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;

use super::{ArrayFunction, ArrayMeta, ArraySource, Derived, Region, Window};
use crate::{Error, Result};

/// A column of an [`Expression`].
#[derive(Clone, Debug)]
pub enum Operand {
    /// The 0-based index on this axis.
    Dimension(usize),
    /// The elements of an array.
    Array(Arc<dyn ArraySource>),
}

/// Named columns over dimensions and arrays of one shape, of which the arrays are inputs of a
/// function.
#[derive(Debug)]
pub struct Operands {
    schema: SchemaRef,
    /// For each column its axis, or `None` for the next input.
    axes: Vec<Option<usize>>,
}

impl Operands {
    /// These columns, and the arrays among them.
    pub fn new(schema: SchemaRef, columns: Vec<Operand>) -> (Self, Vec<Arc<dyn ArraySource>>) {
        let axes = columns.iter().map(|column| match column {
            Operand::Dimension(axis) => Some(*axis),
            Operand::Array(_) => None,
        });
        let axes = axes.collect();
        let inputs = columns.into_iter().filter_map(|column| match column {
            Operand::Dimension(_) => None,
            Operand::Array(source) => Some(source),
        });
        (Self { schema, axes }, inputs.collect())
    }

    /// The fields of the columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The columns over a region, a row per element; `inputs` are the arrays' elements there.
    ///
    /// # Errors
    /// `Bug` if the inputs do not fit.
    pub fn rows(&self, region: &Region, inputs: &[ArrayRef]) -> Result<RecordBatch> {
        let mut inputs = inputs.iter();
        let columns = self.axes.iter().map(|axis| match axis {
            Some(axis) => Ok(dimension_values(region, *axis)),
            None => inputs.next().cloned().ok_or_else(|| Error::bug("an operand is missing")),
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let rows = region.element_count() as usize;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|cause| Error::bug("blocks do not fit an expression").caused_by(cause))
    }
}

/// The function that evaluates an expression.
#[derive(Debug)]
struct Expression {
    expr: Arc<dyn PhysicalExpr>,
    operands: Operands,
    meta: ArrayMeta,
}

/// The array of the values of `expr` over these columns. `like` gives dimensions, shape and chunks.
///
/// # Errors
/// `Bug` if the expression does not fit its columns.
pub fn expression_array(
    expr: Arc<dyn PhysicalExpr>,
    schema: SchemaRef,
    columns: Vec<Operand>,
    like: &ArrayMeta,
) -> Result<Arc<dyn ArraySource>> {
    let meta = ArrayMeta {
        data_type: expr.data_type(&schema)?,
        nullable: expr.nullable(&schema)?,
        ..like.clone()
    };
    let (operands, inputs) = Operands::new(schema, columns);
    Derived::try_new(Arc::new(Expression { expr, operands, meta }), inputs)
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.expr)
    }
}

impl ArrayFunction for Expression {
    fn output(&self, _: &[&ArrayMeta]) -> Result<ArrayMeta> {
        Ok(self.meta.clone())
    }

    fn footprint(&self, region: &Region, _: usize, _: &ArrayMeta) -> Window {
        Window::of(region)
    }

    fn compute(&self, region: &Region, inputs: &[ArrayRef]) -> Result<ArrayRef> {
        let rows = self.operands.rows(region, inputs)?;
        Ok(self.expr.evaluate(&rows)?.into_array(rows.num_rows())?)
    }
}

/// The index on `axis` of each element of a region, row-major.
pub fn dimension_values(region: &Region, axis: usize) -> ArrayRef {
    let inner: u64 = region.shape()[axis + 1..].iter().product();
    let outer: u64 = region.shape()[..axis].iter().product();
    let mut values = Vec::with_capacity(region.element_count() as usize);
    for _ in 0..outer {
        if inner == 1 {
            values.extend(region.range(axis).map(|index| index as i64));
            continue;
        }
        for index in region.range(axis) {
            values.extend(std::iter::repeat_n(index as i64, inner as usize));
        }
    }
    Arc::new(Int64Array::from(values))
}
