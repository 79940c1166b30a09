//! Columns that have one value in a whole box: a literal in every expression over them.
//!
//! In: expressions over the columns of a scan, and the values of those columns that have one in a
//! box. Out: the same expressions without these columns, so that nothing is spread over a box's
//! elements to be computed with. Not here: which columns are such ([`ArraySource::is_uniform`]).

use std::borrow::Cow;
use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::error::Result as DfResult;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal};

use super::array_scan::{Inputs, Predicate};
use super::reduce::Reduction;
use crate::array::{ArraySource, Region};
use crate::walk::Walk;
use crate::{Error, Result};

/// The part of `region` that is read of `source`: one element where that tells all.
pub fn what_is_read(source: &dyn ArraySource, region: &Region) -> Region {
    if !region.is_empty() && source.is_uniform(region) {
        Region::new(region.start().to_vec(), vec![1; region.ndim()])
    } else {
        region.clone()
    }
}

/// The values of a scan's columns that have one value in a box, by the column's number.
#[derive(Debug, Default)]
pub struct Uniform(Vec<(usize, ScalarValue)>);

impl Uniform {
    /// Adds a column with its value.
    pub fn add(&mut self, column: usize, value: ScalarValue) {
        self.0.push((column, value));
    }

    /// The value of a column, if it has one.
    pub fn value(&self, column: usize) -> Option<&ScalarValue> {
        self.0.iter().find(|(number, _)| *number == column).map(|(_, value)| value)
    }

    /// A condition with literals.
    ///
    /// # Errors
    /// `Bug` if it reads a column that is not among its inputs.
    pub fn in_predicate<'a>(&self, predicate: &'a Predicate) -> DfResult<Cow<'a, Predicate>> {
        let Some(inputs) = self.fewer(&predicate.inputs)? else {
            return Ok(Cow::Borrowed(predicate));
        };
        let expr = self.in_expression(&predicate.expr, &predicate.inputs, &inputs)?;
        Ok(Cow::Owned(Predicate { expr, inputs }))
    }

    /// States of expressions with literals, and what these read.
    ///
    /// # Errors
    /// As of [`Uniform::in_predicate`].
    #[allow(clippy::type_complexity)] // borrowed together or owned together
    pub fn in_reduction<'a>(
        &self,
        reduction: &'a Reduction<Arc<dyn PhysicalExpr>>,
        inputs: &'a Inputs,
    ) -> DfResult<(Cow<'a, Reduction<Arc<dyn PhysicalExpr>>>, Cow<'a, Inputs>)> {
        let Some(fewer) = self.fewer(inputs)? else {
            return Ok((Cow::Borrowed(reduction), Cow::Borrowed(inputs)));
        };
        let changed = reduction.try_map(|expr| self.in_expression(expr, inputs, &fewer))?;
        Ok((Cow::Owned(changed), Cow::Owned(fewer)))
    }

    /// The inputs without these columns; `None` if none is among them.
    fn fewer(&self, inputs: &Inputs) -> Result<Option<Inputs>> {
        let places = 0..inputs.columns.len();
        let kept: Vec<usize> =
            places.filter(|place| self.value(inputs.columns[*place]).is_none()).collect();
        if kept.len() == inputs.columns.len() {
            return Ok(None);
        }
        let schema = inputs.schema.project(&kept);
        let schema = schema.map_err(|cause| Error::bug("inputs are missing").caused_by(cause))?;
        let columns = kept.into_iter().map(|place| inputs.columns[place]).collect();
        Ok(Some(Inputs { columns, schema: Arc::new(schema) }))
    }

    /// `expr`, which is over `inputs`, over `fewer`.
    fn in_expression(
        &self,
        expr: &Arc<dyn PhysicalExpr>,
        inputs: &Inputs,
        fewer: &Inputs,
    ) -> DfResult<Arc<dyn PhysicalExpr>> {
        let changed = Arc::clone(expr).change_down(&mut |expr| {
            let Some(column) = expr.downcast_ref::<Column>() else {
                return Ok(Transformed::no(expr));
            };
            let number = inputs.columns[inputs.schema.index_of(column.name())?];
            let changed: Arc<dyn PhysicalExpr> = match self.value(number) {
                Some(value) => Arc::new(Literal::new(value.clone())),
                None => Arc::new(Column::new_with_schema(column.name(), &fewer.schema)?),
            };
            Ok(Transformed::yes(changed))
        });
        changed.data()
    }
}
