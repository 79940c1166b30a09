//! The table over an array of records: a column per field, and no dimension column.
//!
//! In: a one-dimensional source whose element type is a `Struct`. Out: an [`ArrayScan`] of the one
//! struct column, holding the fields that the query names, under a projection that takes it apart.
//! So a chunk of records is fetched and decoded once, however many fields are read. Not here:
//! reading ([`crate::exec`]).

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::functions::core::get_field;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;

use super::{Recipe, Recorded, TableRecipe};
use crate::array::{ArraySource, Region};
use crate::exec::{ArrayColumn, ArrayScan, Output};
use crate::{Error, Result};

/// Records in a read box, about: smaller chunks are read several at a time.
const RECORDS_PER_BOX: u64 = 32 * 1024;
/// The struct column's name inside the plan.
const RECORD: &str = "record";

/// An array of records as a table.
#[derive(Debug)]
pub struct RecordTable {
    name: String,
    source: Arc<dyn ArraySource>,
    schema: SchemaRef,
}

impl RecordTable {
    /// The table `name` over the records of `source`.
    ///
    /// # Errors
    /// `Plan` if the elements of `source` are no records or two fields share a name.
    pub fn try_new(name: impl Into<String>, source: Arc<dyn ArraySource>) -> Result<Self> {
        let DataType::Struct(fields) = &source.meta().data_type else {
            return Err(Error::plan("a table of records needs an array of records"));
        };
        for (position, field) in fields.iter().enumerate() {
            if fields.iter().take(position).any(|other| other.name() == field.name()) {
                return Err(Error::plan(format!("column '{}' would stand twice", field.name())));
            }
        }
        let schema = Arc::new(Schema::new(fields.clone()));
        Ok(Self { name: name.into(), source, schema })
    }

    /// The same table, made by `recipe`.
    #[must_use]
    pub fn recorded(&self, recipe: TableRecipe) -> Self {
        let recipe = Recipe::Column { table: Arc::new(recipe), variable: 0 };
        Self {
            name: self.name.clone(),
            source: Recorded::array(Arc::clone(&self.source), recipe),
            schema: Arc::clone(&self.schema),
        }
    }

    /// The table's name for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The array of records.
    pub fn source(&self) -> &Arc<dyn ArraySource> {
        &self.source
    }
}

#[async_trait]
impl TableProvider for RecordTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let chosen = projection.unwrap_or(&all);
        let source = self.source.select(chosen).unwrap_or_else(|| Arc::clone(&self.source));
        let meta = source.meta();
        let record = Field::new(RECORD, meta.data_type.clone(), false);
        let (columns, fields) = match chosen.is_empty() {
            true => (vec![], vec![]),
            false => (vec![ArrayColumn::Variable(Arc::clone(&source))], vec![record]),
        };
        let schema = Arc::new(Schema::new(fields));
        let scan = ArrayScan {
            name: self.name.clone(),
            region: Region::whole(&meta.shape),
            grid: meta.grid().joined(RECORDS_PER_BOX),
            output: Output::Rows((0..columns.len()).collect()),
            columns,
            dims: meta.dims.clone(),
            dimension_filter: None,
            value_filter: None,
            pruning: None,
            schema: Arc::clone(&schema),
            fetch: limit,
        };
        let plan = scan.into_plan(session.config())?;
        if chosen.is_empty() {
            return Ok(plan);
        }
        let options = Arc::new(session.config_options().clone());
        let fields = chosen.iter().map(|index| {
            let name = self.schema.field(*index).name();
            let arguments: Vec<Arc<dyn PhysicalExpr>> = vec![
                Arc::new(Column::new(RECORD, 0)),
                Arc::new(Literal::new(ScalarValue::from(name.as_str()))),
            ];
            let field =
                ScalarFunctionExpr::try_new(get_field(), arguments, &schema, Arc::clone(&options))?;
            Ok((Arc::new(field) as Arc<dyn PhysicalExpr>, name.clone()))
        });
        let fields = fields.collect::<DfResult<Vec<_>>>()?;
        Ok(Arc::new(ProjectionExec::try_new(fields, plan)?))
    }
}
