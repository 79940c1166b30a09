//! Dense reductions: per-box partial states of aggregates, without a row per element.
//!
//! Stage: physical execution. In: the slabs of boxes that have the same groups. Out: one record
//! batch of states of them all, a row per group that has a row. Merging these is an ordinary
//! aggregate above ([`crate::rewrite`]). Not here: reading.

mod accumulators;
mod groups;
mod kernels;
mod known_aggregate;
mod merge_states;
mod total_order;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{filter_record_batch, prep_null_mask_filter};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::physical_expr::PhysicalExpr;

pub use accumulators::{Accumulator, StateKind, accumulator, is_reducible};
pub use groups::{GroupGrid, GroupKey, group_shape};
pub use known_aggregate::KnownAggregate;
pub use merge_states::{MergeStates, merge_functions};
pub use total_order::{TotalOrder, extreme_function};

use crate::array::Region;
use crate::{Error, Result};

/// A state to keep: of which expression, over which rows.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct State<E> {
    /// What is kept.
    pub kind: StateKind,
    /// Of what; counting may go without.
    pub argument: Option<E>,
    /// The aggregate's own FILTER.
    pub filter: Option<E>,
}

/// Which groups to make and what to keep of each. `E` is a logical or a physical expression.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reduction<E> {
    /// The group keys, at most one for each axis.
    pub keys: Vec<GroupKey>,
    /// The states.
    pub states: Vec<State<E>>,
}

impl<E> Reduction<E> {
    /// Every expression that is evaluated.
    pub fn expressions(&self) -> impl Iterator<Item = &E> {
        self.states.iter().flat_map(|state| state.argument.iter().chain(&state.filter))
    }

    /// The same reduction over other expressions.
    ///
    /// # Errors
    /// Those of `change`.
    pub fn try_map<F>(&self, mut change: impl FnMut(&E) -> DfResult<F>) -> DfResult<Reduction<F>> {
        let states = self.states.iter().map(|state| {
            Ok(State {
                kind: state.kind,
                argument: state.argument.as_ref().map(&mut change).transpose()?,
                filter: state.filter.as_ref().map(&mut change).transpose()?,
            })
        });
        let states = states.collect::<DfResult<Vec<_>>>()?;
        Ok(Reduction { keys: self.keys.clone(), states })
    }

    /// The schema of the states: a column per key, then the columns of each state.
    ///
    /// # Errors
    /// Those of `type_of`.
    pub fn schema(&self, mut type_of: impl FnMut(&E) -> DfResult<DataType>) -> DfResult<SchemaRef> {
        let keys = self.keys.iter().enumerate();
        let mut fields: Vec<Field> = keys
            .map(|(index, _)| Field::new(format!("key{index}"), DataType::Int64, false))
            .collect();
        for (index, state) in self.states.iter().enumerate() {
            let argument = state.argument.as_ref().map_or(Ok(DataType::Null), &mut type_of)?;
            for (part, data_type) in state.kind.column_types(&argument).into_iter().enumerate() {
                let nullable = !matches!(state.kind, StateKind::Count | StateKind::Moments);
                fields.push(Field::new(format!("state{index}_{part}"), data_type, nullable));
            }
        }
        Ok(Arc::new(Schema::new(fields)))
    }
}

/// So many boxes are added to one state, and no more: long sums of sums lose less than long sums.
const BOXES_MAX: usize = 16;

/// The states of boxes that have the same groups, while their slabs come in.
pub struct BoxStates {
    boxes: usize,
    schema: SchemaRef,
    grid: GroupGrid,
    accumulators: Vec<Box<dyn Accumulator>>,
    /// Which groups have a row; only kept where rows are filtered.
    present: Option<Box<dyn Accumulator>>,
}

impl BoxStates {
    /// The empty states of `region`. `input` is the schema of the slabs, `filtered` whether some of
    /// their rows may not count.
    ///
    /// # Errors
    /// `Bug` if an argument cannot be reduced as asked.
    pub fn try_new(
        reduction: &Reduction<Arc<dyn PhysicalExpr>>,
        schema: SchemaRef,
        input: &Schema,
        region: &Region,
        filtered: bool,
    ) -> DfResult<Self> {
        let grid = GroupGrid::new(&reduction.keys, region);
        let groups = grid.group_count();
        let accumulators = reduction.states.iter().map(|state| {
            let argument = state.argument.as_ref();
            let argument = argument.map_or(Ok(DataType::Null), |expr| expr.data_type(input))?;
            Ok(accumulator(state.kind, &argument, groups)?)
        });
        let accumulators = accumulators.collect::<DfResult<Vec<_>>>()?;
        let present = if filtered && !reduction.keys.is_empty() {
            Some(accumulator(StateKind::Count, &DataType::Null, groups)?)
        } else {
            None
        };
        Ok(Self { boxes: 1, schema, grid, accumulators, present })
    }

    /// Whether another box can be added, and if so, takes it as begun: its elements must fall into
    /// the same groups.
    pub fn begin(&mut self, region: &Region) -> bool {
        let takes = self.boxes < BOXES_MAX && self.grid.covers_like(region);
        self.boxes += usize::from(takes);
        takes
    }

    /// Bytes that the states hold, about.
    pub fn bytes(&self) -> usize {
        const GUESS: usize = 8;
        let widths = self.schema.fields().iter();
        let widths = widths.map(|field| field.data_type().primitive_width().unwrap_or(GUESS));
        widths.sum::<usize>().saturating_mul(self.grid.group_count())
    }

    /// Takes in a slab: its region, its columns, and which of its rows count. `reduction` is that
    /// of which the states are, over these columns.
    ///
    /// # Errors
    /// Those of the expressions.
    pub fn add(
        &mut self,
        reduction: &Reduction<Arc<dyn PhysicalExpr>>,
        slab: &Region,
        rows: &RecordBatch,
        mask: Option<&BooleanBuffer>,
    ) -> DfResult<()> {
        let walk = self.grid.walk(slab);
        let mut values = Evaluated { rows, found: vec![] };
        for (state, accumulator) in reduction.states.iter().zip(&mut self.accumulators) {
            let own = state.filter.as_ref().map(|filter| values.of(filter, mask)).transpose()?;
            let own = own.as_ref().map(true_rows).transpose()?;
            let mask = match (mask, own) {
                (Some(mask), Some(own)) => Some(mask & &own),
                (None, own) => own,
                (mask, None) => mask.cloned(),
            };
            let argument = state.argument.as_ref();
            let argument =
                argument.map(|argument| values.of(argument, mask.as_ref())).transpose()?;
            accumulator.add(argument.as_ref(), &walk, mask.as_ref())?;
        }
        if let Some(present) = &mut self.present {
            present.add(None, &walk, mask)?;
        }
        Ok(())
    }

    /// The state rows.
    ///
    /// # Errors
    /// `Bug` if the states do not fit their schema.
    pub fn finish(self) -> DfResult<RecordBatch> {
        let keys = 0..self.grid.key_count();
        let mut columns: Vec<ArrayRef> =
            keys.map(|key| Arc::new(Int64Array::from(self.grid.key_values(key))) as _).collect();
        columns.extend(self.accumulators.into_iter().flat_map(Accumulator::finish));
        let options =
            arrow::array::RecordBatchOptions::new().with_row_count(Some(self.grid.group_count()));
        let states = RecordBatch::try_new_with_options(self.schema, columns, &options)
            .map_err(|cause| Error::bug("states do not fit their schema").caused_by(cause))?;
        let Some(present) = self.present else { return Ok(states) };
        let counts = present.finish();
        let present: BooleanArray = counts[0]
            .as_primitive::<arrow::datatypes::Int64Type>()
            .values()
            .iter()
            .map(|count| Some(*count > 0))
            .collect();
        Ok(filter_record_batch(&states, &present)?)
    }
}

/// The values of expressions over a slab. Several states may share one: each is evaluated once.
struct Evaluated<'a> {
    rows: &'a RecordBatch,
    found: Vec<(&'a Arc<dyn PhysicalExpr>, ArrayRef)>,
}

impl<'a> Evaluated<'a> {
    /// The values where `mask` is set. An expression that fails on the slab, as a quotient does by
    /// zero, is evaluated anew on these rows alone: to select them costs more than most expressions.
    fn of(
        &mut self,
        expr: &'a Arc<dyn PhysicalExpr>,
        mask: Option<&BooleanBuffer>,
    ) -> DfResult<ArrayRef> {
        if let Some((_, values)) = self.found.iter().find(|(seen, _)| *seen == expr) {
            return Ok(Arc::clone(values));
        }
        match on_all(expr, self.rows) {
            Ok(values) => {
                self.found.push((expr, Arc::clone(&values)));
                Ok(values)
            }
            Err(error) => on_selected(expr, self.rows, mask, error),
        }
    }
}

/// The values of an expression on the rows where `mask` is set; on the others they are nothing to
/// go by. What fails on those alone does not fail.
///
/// # Errors
/// Those of the expression.
pub fn evaluate_where(
    expr: &Arc<dyn PhysicalExpr>,
    rows: &RecordBatch,
    mask: Option<&BooleanBuffer>,
) -> DfResult<ArrayRef> {
    on_all(expr, rows).or_else(|error| on_selected(expr, rows, mask, error))
}

fn on_all(expr: &Arc<dyn PhysicalExpr>, rows: &RecordBatch) -> DfResult<ArrayRef> {
    expr.evaluate(rows)?.into_array(rows.num_rows())
}

fn on_selected(
    expr: &Arc<dyn PhysicalExpr>,
    rows: &RecordBatch,
    mask: Option<&BooleanBuffer>,
    error: DataFusionError,
) -> DfResult<ArrayRef> {
    let Some(mask) = mask else { return Err(error) };
    let selection = BooleanArray::new(mask.clone(), None);
    expr.evaluate_selection(rows, &selection)?.into_array(rows.num_rows())
}

/// Which rows of a predicate's value are true; NULL is not.
///
/// # Errors
/// `Bug` if the value is not boolean.
pub fn true_rows(values: &ArrayRef) -> Result<BooleanBuffer> {
    let values = values.as_boolean_opt();
    let values = values.ok_or_else(|| Error::bug("a filter that is not boolean"))?;
    if values.null_count() == 0 {
        return Ok(values.values().clone());
    }
    Ok(prep_null_mask_filter(values).values().clone())
}
