//! The table that shows an array as rows: a `BIGINT` column per dimension, a column per variable.
//!
//! In: array sources of one shape. Out: an [`ArrayScan`] of the columns, box, filters and read boxes
//! a query needs. Not here: reading ([`crate::exec`]).

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr_rewriter::unnormalize_col;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::reassign_expr_columns;
use datafusion::physical_plan::ExecutionPlan;
use futures::future::{BoxFuture, ready};

use super::dimension_bounds;
use crate::array::{ArraySource, DIMENSIONS_MAX, Grid};
use crate::exec::reduce::{Reduction, StateKind};
use crate::exec::{ArrayColumn, ArrayScan, Inputs, Output, Predicate, pruning_of};
use crate::floats_by_value::{self, by_value};
use crate::walk::Walk;
use crate::{Error, Result};

/// Bytes of elements in a read box, about: smaller chunks are read several at a time.
const BOX_BYTES: u64 = 1 << 20;

/// Bytes held while a read box is computed, about, above which chunks are not joined.
const WORKING_BYTES: u64 = 32 << 20;

/// An array, or several of one shape, as a table.
#[derive(Clone, Debug)]
pub struct ArrayTable {
    name: String,
    dims: Vec<String>,
    variables: Vec<Arc<dyn ArraySource>>,
    /// The calls whose values the last variables are, as they are compared.
    derived: Vec<Expr>,
    schema: SchemaRef,
    box_bytes: u64,
}

/// What a query wants of an array table.
pub(super) enum Wanted<'a> {
    /// These columns.
    Rows(&'a [usize]),
    /// Partial states; which of their columns is DataFusion's to choose.
    States(&'a Reduction<Expr>),
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
        let dims = variables.first().map(|(_, first)| first.meta().dims.clone());
        Self::with_dims(name, &dims.unwrap_or_default(), variables)
    }

    /// The same with these names of dimensions.
    ///
    /// # Errors
    /// As [`ArrayTable::try_new`].
    pub fn with_dims(
        name: impl Into<String>,
        dims: &[String],
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
        let mut fields: Vec<Field> = vec![];
        for dim in dims {
            if fields.iter().any(|field| field.name() == dim) {
                return Err(Error::plan(format!("dimension '{dim}' would stand twice")));
            }
            fields.push(Field::new(dim, DataType::Int64, false));
        }
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
            dims: dims.to_vec(),
            variables: variables.into_iter().map(|(_, source)| source).collect(),
            derived: vec![],
            schema: Arc::new(Schema::new(fields)),
            box_bytes: BOX_BYTES,
        })
    }

    /// The same table, read in boxes of about this many bytes.
    #[must_use]
    pub fn with_box_bytes(mut self, box_bytes: u64) -> Self {
        self.box_bytes = box_bytes;
        self
    }

    /// Bytes of the boxes in which it is read, about.
    pub fn box_bytes(&self) -> u64 {
        self.box_bytes
    }

    /// The table's name for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The dimensions' names, slowest first.
    pub fn dims(&self) -> &[String] {
        &self.dims
    }

    /// The array's length on each axis.
    pub fn shape(&self) -> &[u64] {
        &self.variables[0].meta().shape
    }

    /// The table `name` of what `change` makes of each variable. Names are kept.
    ///
    /// # Errors
    /// Those of `change`.
    pub fn map_arrays(
        &self,
        name: impl Into<String>,
        change: impl Fn(Arc<dyn ArraySource>) -> Result<Arc<dyn ArraySource>>,
    ) -> Result<Self> {
        let changed = self
            .variables()
            .map(|(column, source)| Ok((column.to_string(), change(Arc::clone(source))?)));
        Self::with_dims(name, &self.dims, changed.collect::<Result<_>>()?)
    }

    /// Puts what `change` makes of each variable in its place; shapes and types stay.
    pub(super) fn change_variables(
        &mut self,
        change: impl Fn(usize, Arc<dyn ArraySource>) -> Arc<dyn ArraySource>,
    ) {
        let variables = std::mem::take(&mut self.variables).into_iter().enumerate();
        self.variables = variables.map(|(number, array)| change(number, array)).collect();
    }

    /// The grid in whose boxes the whole table is read.
    pub fn read_grid(&self) -> Grid {
        self.grid_of(&self.variables.iter().collect::<Vec<_>>())
    }

    /// The grid in whose boxes these variables are read: whole chunks of the first, and of the
    /// others and whole blocks of computed ones where that makes no large boxes.
    fn grid_of(&self, variables: &[&Arc<dyn ArraySource>]) -> Grid {
        let first = variables.first().unwrap_or(&&self.variables[0]).meta();
        let width = first.data_type.primitive_width().unwrap_or(8) as u64;
        let mut chunk_shape = first.grid().chunk_shape().to_vec();
        for variable in variables.iter().skip(1) {
            align(&mut chunk_shape, &variable.meta().chunk_shape, &first.shape, false);
        }
        for cut_shape in variables.iter().filter_map(|variable| variable.cut_shape()) {
            align(&mut chunk_shape, &cut_shape, &first.shape, true);
        }
        let grid = Grid::new(&first.shape, &chunk_shape);
        let wanted = |bytes: u64| (bytes / width.max(1)).min(elements_to_work_on(&grid, variables));
        let has_halo = grid.chunk_count() > 1
            && variables.iter().any(|variable| variable.reads_more_than(&grid.chunk_region(0)));
        match has_halo {
            // so that less of what is read is read for several boxes
            true => grid.joined_evenly(wanted(self.box_bytes)),
            false => grid.joined(wanted(self.box_bytes)),
        }
    }

    /// Whether the conditions do no more than cut a box out of the array.
    pub fn only_cut_a_box(&self, filters: &[Expr]) -> bool {
        dimension_bounds::split(filters, &self.dims, self.shape()).1.is_empty()
    }

    /// The variables with their column names, in the order of the columns.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &Arc<dyn ArraySource>)> {
        let fields = self.schema.fields().iter().skip(self.dims.len());
        fields.map(|field| field.name().as_str()).zip(&self.variables)
    }

    /// The variable in the column `name`.
    pub(super) fn variable(&self, name: &str) -> Option<&Arc<dyn ArraySource>> {
        self.variables().find(|(known, _)| *known == name).map(|(_, source)| source)
    }

    /// Variable number `index`.
    pub(super) fn variable_at(&self, index: usize) -> &Arc<dyn ArraySource> {
        &self.variables[index]
    }

    /// The columns, dimensions first.
    pub(super) fn arrow_schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Gives the dimensions these names.
    pub(crate) fn set_dims(&mut self, dims: &[String]) {
        let renamed = dims.iter().map(|dim| Arc::new(Field::new(dim, DataType::Int64, false)));
        let rest = self.schema.fields().iter().skip(self.dims.len()).cloned();
        self.schema = Arc::new(Schema::new(renamed.chain(rest).collect::<Vec<_>>()));
        self.dims = dims.to_vec();
    }

    /// The name of column number `index`.
    pub fn column_name(&self, index: usize) -> &str {
        self.schema.field(index).name()
    }

    /// The column that holds the value of a call that is compared as `key`, if one does.
    pub(super) fn derived_column(&self, key: &Expr) -> Option<usize> {
        let place = self.derived.iter().position(|known| known == key)?;
        Some(self.schema.fields().len() - self.derived.len() + place)
    }

    /// Adds a column of the value of `call`, which is compared as `key`; gives its number.
    pub(super) fn add_derived(
        &mut self,
        call: &Expr,
        key: Expr,
        array: Arc<dyn ArraySource>,
    ) -> usize {
        let mut fields: Vec<_> = self.schema.fields().iter().cloned().collect();
        let mut name = name_of(call);
        while self.schema.field_with_name(&name).is_ok() {
            name.push('\'');
        }
        fields.push(Arc::new(Field::new(name, array.meta().data_type.clone(), true)));
        self.schema = Arc::new(Schema::new(fields));
        self.variables.push(array);
        self.derived.push(key);
        self.schema.fields().len() - 1
    }

    fn column(&self, index: usize) -> ArrayColumn {
        match index.checked_sub(self.dims.len()) {
            None => ArrayColumn::Dimension(index),
            Some(variable) => ArrayColumn::Variable(Arc::clone(&self.variables[variable])),
        }
    }

    /// The plan that gives what is wanted of the elements that pass `filters`.
    pub(super) fn plan(
        &self,
        session: &dyn Session,
        wanted: Wanted,
        filters: &[Expr],
        fetch: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let (region, conditions) = dimension_bounds::split(filters, &self.dims, self.shape());
        let named = DFSchema::try_from(self.schema.as_ref().clone())?;
        let physical = |expr: &Expr| {
            let expr = floats_by_value::in_expr(unnormalize_col(expr.clone()), &named)?;
            session.create_physical_expr(expr, &named)
        };
        let (on_dims, on_values): (Vec<Expr>, Vec<Expr>) =
            conditions.into_iter().partition(|condition| self.is_about_dimensions(condition));
        let on_dims = conjunction(on_dims).as_ref().map(&physical).transpose()?;
        let on_values = conjunction(on_values).as_ref().map(&physical).transpose()?;
        let states = match &wanted {
            Wanted::Rows(_) => None,
            Wanted::States(reduction) => {
                Some(extremes_by_value(reduction, &named)?.try_map(&physical)?)
            }
        };

        // Only columns that something reads are decoded.
        let mut expressions: Vec<&Arc<dyn PhysicalExpr>> =
            on_dims.iter().chain(&on_values).collect();
        expressions.extend(states.iter().flat_map(Reduction::expressions));
        let mut chosen = Inputs::of(expressions.into_iter(), &self.schema)?.columns;
        if let Wanted::Rows(columns) = &wanted {
            chosen.extend(columns.iter());
            chosen.sort_unstable();
            chosen.dedup();
        }
        let input = self.schema.project(&chosen)?;
        let predicate = |expr: &Arc<dyn PhysicalExpr>| Predicate::try_new(expr, &input);
        let dimension_filter = on_dims.as_ref().map(predicate).transpose()?;
        let pruning = dimension_filter.as_ref().and_then(pruning_of);
        let (output, schema) = match (wanted, states) {
            (Wanted::Rows(columns), _) => {
                let places = columns.iter().filter_map(|c| chosen.iter().position(|i| i == c));
                (Output::Rows(places.collect()), Arc::new(self.schema.project(columns)?))
            }
            (Wanted::States(_), None) => return Err(Error::bug("states without a plan").into()),
            (Wanted::States(_), Some(states)) => {
                let schema = states.schema(|expr| expr.data_type(&self.schema))?;
                let inputs = Inputs::of(states.expressions(), &input)?;
                let states = states
                    .try_map(|expr| reassign_expr_columns(Arc::clone(expr), &inputs.schema))?;
                (Output::States(states, inputs), schema)
            }
        };
        let read = chosen.iter().filter_map(|index| index.checked_sub(self.dims.len()));
        let read: Vec<_> = read.map(|variable| &self.variables[variable]).collect();
        let scan = ArrayScan {
            name: self.name.clone(),
            region,
            grid: self.grid_of(&read),
            columns: chosen.iter().map(|index| self.column(*index)).collect(),
            dims: self.dims.clone(),
            dimension_filter,
            value_filter: on_values.as_ref().map(predicate).transpose()?,
            pruning,
            output,
            schema,
            fetch,
        };
        scan.into_plan(session.config())
    }

    fn is_about_dimensions(&self, condition: &Expr) -> bool {
        condition.column_refs().iter().all(|column| self.dims.contains(&column.name))
    }
}

/// How many elements of these variables can be worked on at once, going by one chunk.
fn elements_to_work_on(grid: &Grid, variables: &[&Arc<dyn ArraySource>]) -> u64 {
    if grid.chunk_count() == 0 {
        return 1;
    }
    let chunk = grid.chunk_region(0);
    let bytes = variables.iter().map(|variable| variable.working_bytes(&chunk));
    let bytes = bytes.fold(0, u64::saturating_add);
    let elements = WORKING_BYTES.saturating_mul(chunk.element_count()) / bytes.max(1);
    elements.max(1)
}

/// Elements of a box that holds whole chunks of several arrays.
const ALIGNED_ELEMENTS_MAX: u64 = 4 << 20;

/// Makes boxes of `shape` hold whole boxes of `other` too, or only those if that would make large
/// ones and it is a must.
fn align(shape: &mut [u64], other: &[u64], array_shape: &[u64], must: bool) {
    let lcm = |one: u64, other: u64| {
        let (mut a, mut b) = (one.max(1), other.max(1));
        while b > 0 {
            (a, b) = (b, a % b);
        }
        (one.max(1) / a).saturating_mul(other.max(1))
    };
    let axes = shape.iter().zip(other).zip(array_shape);
    let both: Vec<u64> =
        axes.map(|((one, other), length)| lcm(*one, *other).min((*length).max(1))).collect();
    let elements = both.iter().fold(1_u64, |product, length| product.saturating_mul(*length));
    let other_elements =
        other.iter().fold(1_u64, |product, length| product.saturating_mul(*length));
    if elements <= ALIGNED_ELEMENTS_MAX.max(other_elements) {
        shape.copy_from_slice(&both);
    } else if must {
        shape.copy_from_slice(other);
    }
}

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
        let support = filters.iter().map(|filter| {
            Ok(if can_be_evaluated(filter)? {
                TableProviderFilterPushDown::Exact
            } else {
                TableProviderFilterPushDown::Unsupported
            })
        });
        support.collect()
    }

    fn scan<'a, 'b, 'c, 'd, 'r>(
        &'a self,
        session: &'b dyn Session,
        projection: Option<&'c Vec<usize>>,
        filters: &'d [Expr],
        limit: Option<usize>,
    ) -> BoxFuture<'r, DfResult<Arc<dyn ExecutionPlan>>>
    where
        'a: 'r,
        'b: 'r,
        'c: 'r,
        'd: 'r,
    {
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let wanted = Wanted::Rows(projection.unwrap_or(&all));
        Box::pin(ready(self.plan(session, wanted, filters, limit)))
    }
}

/// The reduction, in which least and greatest floats are found by value.
fn extremes_by_value(reduction: &Reduction<Expr>, columns: &DFSchema) -> DfResult<Reduction<Expr>> {
    let mut reduction = reduction.clone();
    for state in &mut reduction.states {
        if matches!(state.kind, StateKind::Min | StateKind::Max)
            && let Some(argument) = state.argument.take()
        {
            state.argument = Some(by_value(unnormalize_col(argument), columns)?);
        }
    }
    Ok(reduction)
}

/// Whether a scan can evaluate this expression by itself, giving the same each time.
pub fn can_be_evaluated(expr: &Expr) -> DfResult<bool> {
    let mut can = !expr.is_volatile();
    expr.walk(&mut |part| {
        let needs_a_plan = matches!(
            part,
            Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::ScalarSubquery(_)
                | Expr::SetComparison(_)
                | Expr::OuterReferenceColumn(..)
                | Expr::Placeholder(_)
        );
        can &= !needs_a_plan;
        Ok(if can { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(can)
}

/// A name that tells a call from others: DataFusion takes scans for equal whose columns have the same names.
/// Its own leave out casts.
fn name_of(call: &Expr) -> String {
    let mut is_cast = |part: &Expr| Ok(matches!(part, Expr::Cast(_) | Expr::TryCast(_)));
    match call.any(&mut is_cast) {
        Ok(false) => call.schema_name().to_string(),
        _ => call.to_string(),
    }
}
