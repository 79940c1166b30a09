//! The table that shows an array as rows: a `BIGINT` column per dimension, a column per variable.
//!
//! In: array sources of one shape. Out: an [`ArrayScan`] of the columns, box and chunks a query
//! needs. Not here: reading ([`crate::exec`]).

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::dimension_bounds::region_allowed;
use crate::array::{ArraySource, DIMENSIONS_MAX};
use crate::exec::{ArrayColumn, ArrayScan};
use crate::{Error, Result};

/// Partitions for each unit of `datafusion.execution.target_partitions`.
const PARTITIONS_PER_TARGET: usize = 2;

/// An array, or several of one shape, as a table.
#[derive(Debug)]
pub struct ArrayTable {
    name: String,
    dims: Vec<String>,
    variables: Vec<Arc<dyn ArraySource>>,
    schema: SchemaRef,
}

impl ArrayTable {
    /// The table `name` over named variables. Dimension names are those of the first.
    ///
    /// # Errors
    /// `Plan` if shapes differ or a name stands twice, `Unsupported` beyond
    /// [`DIMENSIONS_MAX`] dimensions.
    pub fn try_new(
        name: impl Into<String>,
        variables: Vec<(String, Arc<dyn ArraySource>)>,
    ) -> Result<Self> {
        let Some((_, first)) = variables.first() else {
            return Err(Error::plan("an array table needs at least one variable"));
        };
        let first = first.meta().clone();
        if first.shape.len() > DIMENSIONS_MAX {
            return Err(Error::unsupported(format!(
                "an array of {} dimensions; at most {DIMENSIONS_MAX} can be read",
                first.shape.len()
            )));
        }
        let mut fields: Vec<Field> =
            first.dims.iter().map(|dim| Field::new(dim, DataType::Int64, false)).collect();
        for (name, source) in &variables {
            let meta = source.meta();
            if meta.shape != first.shape {
                return Err(Error::plan(format!(
                    "variable '{name}' has shape {:?}, the first one {:?}; variables of one table \
                     share a shape",
                    meta.shape, first.shape
                )));
            }
            if fields.iter().any(|field| field.name() == name) {
                return Err(Error::plan(format!("column '{name}' would stand twice")));
            }
            fields.push(Field::new(name, meta.data_type.clone(), meta.nullable));
        }
        Ok(Self {
            name: name.into(),
            dims: first.dims,
            variables: variables.into_iter().map(|(_, source)| source).collect(),
            schema: Arc::new(Schema::new(fields)),
        })
    }

    fn column(&self, index: usize) -> ArrayColumn {
        match index.checked_sub(self.dims.len()) {
            None => ArrayColumn::Dimension(index),
            Some(variable) => ArrayColumn::Variable(Arc::clone(&self.variables[variable])),
        }
    }
}

#[async_trait]
impl TableProvider for ArrayTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> DfResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let chosen = projection.unwrap_or(&all);
        let meta = self.variables[0].meta();
        let scan = ArrayScan {
            name: self.name.clone(),
            region: region_allowed(filters, &self.dims, &meta.shape),
            grid: meta.grid(),
            columns: chosen.iter().map(|index| self.column(*index)).collect(),
            schema: Arc::new(self.schema.project(chosen)?),
        };
        scan.into_plan(session.config().target_partitions() * PARTITIONS_PER_TARGET)
    }
}
