//! A lambda over elements of an array: `w -> array_max(w) - array_min(w)`.
//!
//! In: lists of elements. Out: the value of the lambda's body for each list. Not here: which
//! elements a list holds (functions), and how a body is planned ([`crate::catalog`]).

use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, RecordBatch};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};
use datafusion::physical_expr::PhysicalExpr;

use crate::{Error, Result};

/// The lambda.
#[derive(Clone, Debug)]
pub struct ArrayLambda {
    body: Arc<dyn PhysicalExpr>,
    /// The parameter's.
    schema: SchemaRef,
}

/// The type of the parameter of a lambda over elements of this type.
pub fn list_type(element: &DataType) -> DataType {
    DataType::new_list(element.clone(), true)
}

impl ArrayLambda {
    /// The lambda whose body is `body` over `schema`, the parameter alone.
    pub fn new(body: Arc<dyn PhysicalExpr>, schema: SchemaRef) -> Self {
        Self { body, schema }
    }

    /// What is evaluated.
    pub fn body(&self) -> &Arc<dyn PhysicalExpr> {
        &self.body
    }

    /// The field of the parameter.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The type of what it gives.
    ///
    /// # Errors
    /// `Bug` if the body does not fit its parameter.
    pub fn output_type(&self) -> Result<DataType> {
        Ok(self.body.data_type(&self.schema)?)
    }

    /// What it gives for lists of these lengths, which stand one after another in `elements`.
    ///
    /// # Errors
    /// Those of the body.
    pub fn evaluate(&self, elements: ArrayRef, lengths: &[usize]) -> Result<ArrayRef> {
        let item: FieldRef = Arc::new(Field::new_list_field(elements.data_type().clone(), true));
        let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
        let batch = ListArray::try_new(item, offsets, elements, None).and_then(|lists| {
            RecordBatch::try_new(Arc::clone(&self.schema), vec![Arc::new(lists)])
        });
        let batch =
            batch.map_err(|cause| Error::bug("elements do not fit a lambda").caused_by(cause))?;
        Ok(self.body.evaluate(&batch)?.into_array(lengths.len())?)
    }
}
