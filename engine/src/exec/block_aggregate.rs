//! An aggregate over each block of an array, as an array: `avg(value) OVER (PARTITION BY y/512, x/512)`.
//!
//! In: the elements of whole blocks. Out: at each element the value of its block. Blocks are the
//! groups of dimensions and their quotients; an axis without a key belongs whole to every block.
//! Means, sums and deviations run over contiguous runs; any other aggregate is DataFusion's own.
//! Not here: which windows are blocks ([`crate::rewrite`]).

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::array::{Float64Array, UInt64Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::take;
use arrow::datatypes::{DataType, Float64Type, Int64Type, UInt64Type};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::{CastExpr, Column};
use datafusion::physical_expr::{PhysicalExpr, split_conjunction};
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::GroupsAccumulatorAdapter;

use super::reduce::{
    GroupGrid, GroupKey, KnownAggregate, StateKind, accumulator, evaluate_where, group_shape,
    is_reducible, true_rows,
};
use crate::array::{
    ArrayFunction, ArrayMeta, ArraySource, Derived, Operand, Operands, Region, Window,
};
use crate::floats_by_value::{canonical_array, compares};
use crate::{Error, Result};

/// An aggregate of blocks.
#[derive(Debug)]
pub struct BlockAggregate {
    /// The aggregate, its arguments over the operands.
    aggregate: Arc<AggregateFunctionExpr>,
    /// Which elements count.
    mask: Option<Arc<dyn PhysicalExpr>>,
    operands: Operands,
    keys: Vec<GroupKey>,
    meta: ArrayMeta,
}

impl BlockAggregate {
    /// The array of `aggregate` over the blocks that `keys` make of arrays like `like`. Its
    /// arguments and `mask` are over the fields of `schema`, which are these columns.
    ///
    /// # Errors
    /// `Bug` if an expression does not fit the columns.
    pub fn over(
        aggregate: Arc<AggregateFunctionExpr>,
        mask: Option<Arc<dyn PhysicalExpr>>,
        keys: Vec<GroupKey>,
        schema: arrow::datatypes::SchemaRef,
        columns: Vec<Operand>,
        like: &ArrayMeta,
    ) -> Result<Arc<dyn ArraySource>> {
        let (operands, inputs) = Operands::new(schema, columns);
        let function = Self::new(aggregate, mask, keys, operands, like);
        Derived::try_new(Arc::new(function), inputs)
    }

    /// The function alone.
    pub(super) fn new(
        aggregate: Arc<AggregateFunctionExpr>,
        mask: Option<Arc<dyn PhysicalExpr>>,
        keys: Vec<GroupKey>,
        operands: Operands,
        like: &ArrayMeta,
    ) -> Self {
        let meta = ArrayMeta {
            data_type: aggregate.field().data_type().clone(),
            nullable: true,
            ..like.clone()
        };
        Self { aggregate, mask, operands, keys, meta }
    }

    /// One value for each of the blocks that make up a region, in row-major order.
    pub(super) fn of_each_block(&self, blocks: &Region, inputs: &[ArrayRef]) -> Result<ArrayRef> {
        let grid = GroupGrid::new(&self.keys, blocks);
        Ok(self.values(&grid, blocks, inputs)?)
    }

    /// The blocks that a region touches, together.
    fn blocks(&self, region: &Region) -> Region {
        let ranges: Vec<_> = (0..region.ndim())
            .map(|axis| {
                let (range, end) = (region.range(axis), self.meta.shape[axis]);
                match self.keys.iter().find(|key| key.axis == axis) {
                    Some(key) => {
                        let stop = range.end.div_ceil(key.divisor).saturating_mul(key.divisor);
                        range.start / key.divisor * key.divisor..stop.min(end)
                    }
                    None => 0..end,
                }
            })
            .collect();
        Region::from_ranges(&ranges)
    }

    /// The value of each block.
    fn values(&self, grid: &GroupGrid, blocks: &Region, inputs: &[ArrayRef]) -> DfResult<ArrayRef> {
        let rows = self.operands.rows(blocks, inputs)?;
        let mut mask: Option<BooleanBuffer> = None;
        for condition in self.mask.iter().flat_map(split_conjunction) {
            let passed = true_rows(&evaluate_where(condition, &rows, mask.as_ref())?)?;
            mask = Some(mask.map_or_else(|| passed.clone(), |mask| &mask & &passed));
        }
        let arguments = self.aggregate.expressions();
        if let (Some(quick), [argument]) = (Quick::of(&self.aggregate), arguments.as_slice()) {
            let bare = uncast(argument, self.operands.schema());
            if is_reducible(&bare.data_type(self.operands.schema())?) {
                let values = evaluate_where(bare, &rows, mask.as_ref())?;
                return quick.values(grid, blocks, &values, mask.as_ref());
            }
        }
        let by_value = compares(self.aggregate.fun().name(), self.aggregate.is_distinct());
        let values = arguments.iter().map(|argument| {
            let values = evaluate_where(argument, &rows, mask.as_ref())?;
            if by_value { canonical_array(&values) } else { Ok(values) }
        });
        let values = values.collect::<DfResult<Vec<_>>>()?;
        let mut accumulator = self.groups_accumulator()?;
        let groups = group_of_each(grid, blocks);
        let mask = mask.map(|bits| BooleanArray::new(bits, None));
        accumulator.update_batch(&values, &groups, mask.as_ref(), grid.group_count())?;
        accumulator.evaluate(EmitTo::All)
    }

    fn groups_accumulator(&self) -> DfResult<Box<dyn GroupsAccumulator>> {
        if self.aggregate.groups_accumulator_supported() {
            return self.aggregate.create_groups_accumulator();
        }
        let aggregate = Arc::clone(&self.aggregate);
        let factory = move || aggregate.create_accumulator();
        Ok(Box::new(GroupsAccumulatorAdapter::new(factory)))
    }
}

impl fmt::Display for BlockAggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} over blocks", self.aggregate.name())
    }
}

impl ArrayFunction for BlockAggregate {
    fn output(&self, _: &[&ArrayMeta]) -> Result<ArrayMeta> {
        Ok(self.meta.clone())
    }

    fn footprint(&self, region: &Region, _: usize, _: &ArrayMeta) -> Window {
        Window::of(&self.blocks(region))
    }

    fn cut_shape(&self) -> Option<Vec<u64>> {
        let block = group_shape(&self.keys, &self.meta.shape)?;
        Some(block.into_iter().map(|length| length.max(1)).collect())
    }

    fn is_uniform(&self, region: &Region) -> bool {
        GroupGrid::new(&self.keys, region).group_count() == 1
    }

    fn compute(&self, region: &Region, inputs: &[ArrayRef]) -> Result<ArrayRef> {
        let blocks = self.blocks(region);
        let grid = GroupGrid::new(&self.keys, &blocks);
        let values = self.values(&grid, &blocks, inputs)?;
        if values.data_type() == &DataType::Float64 && values.null_count() == 0 {
            return Ok(spread(values.as_primitive::<Float64Type>().values(), &grid, region));
        }
        let groups = group_of_each(&grid, region).into_iter().map(|group| group as u64);
        let groups = UInt64Array::from_iter_values(groups);
        take(&values, &groups, None)
            .map_err(|cause| Error::bug("values of blocks are missing").caused_by(cause))
    }
}

/// The value of its block at each element of a region.
fn spread(values: &[f64], grid: &GroupGrid, region: &Region) -> ArrayRef {
    let walk = grid.walk(region);
    let mut out: Vec<f64> = Vec::with_capacity(region.element_count() as usize);
    for run in walk.runs {
        if walk.per_element {
            out.extend_from_slice(&values[run.group..run.group + run.len]);
        } else {
            out.resize(out.len() + run.len, values[run.group]);
        }
    }
    Arc::new(Float64Array::from(out))
}

fn group_of_each(grid: &GroupGrid, region: &Region) -> Vec<usize> {
    let walk = grid.walk(region);
    let step = usize::from(walk.per_element);
    let groups = walk.runs.iter().flat_map(|run| (0..run.len).map(move |i| run.group + step * i));
    groups.collect()
}

/// The column under a widening cast, which the runs' kernels do themselves.
fn uncast<'a>(
    argument: &'a Arc<dyn PhysicalExpr>,
    schema: &arrow::datatypes::Schema,
) -> &'a Arc<dyn PhysicalExpr> {
    let Some(widened) = argument.downcast_ref::<CastExpr>() else { return argument };
    let inner = widened.expr();
    let fits = inner.is::<Column>()
        && widened.cast_type() == &DataType::Float64
        && inner.data_type(schema).is_ok_and(|stored| is_reducible(&stored));
    if fits { inner } else { argument }
}

/// Aggregates with kernels of their own.
#[derive(Clone, Copy, Debug)]
enum Quick {
    Mean,
    Sum,
    /// The divisor is the count less this; the root is taken or not.
    Variance {
        ddof: u64,
        root: bool,
    },
}

impl Quick {
    fn of(aggregate: &AggregateFunctionExpr) -> Option<Self> {
        if aggregate.is_distinct() || aggregate.field().data_type() != &DataType::Float64 {
            return None;
        }
        match KnownAggregate::of(aggregate.fun())? {
            KnownAggregate::Mean => Some(Self::Mean),
            KnownAggregate::Sum => Some(Self::Sum),
            KnownAggregate::Variance { ddof, root } => Some(Self::Variance { ddof, root }),
            _ => None,
        }
    }

    fn values(
        self,
        grid: &GroupGrid,
        blocks: &Region,
        values: &ArrayRef,
        mask: Option<&BooleanBuffer>,
    ) -> DfResult<ArrayRef> {
        let walk = grid.walk(blocks);
        let state = |kind| -> Result<Vec<ArrayRef>> {
            let mut state = accumulator(kind, values.data_type(), grid.group_count())?;
            state.add(Some(values), &walk, mask)?;
            Ok(state.finish())
        };
        let found: Float64Array = match self {
            Self::Sum => return Ok(Arc::clone(&state(StateKind::SumFloat)?[0])),
            Self::Mean => {
                let (sums, counts) = (state(StateKind::SumFloat)?, state(StateKind::Count)?);
                let sums = sums[0].as_primitive::<Float64Type>().iter();
                let counts = counts[0].as_primitive::<Int64Type>().values();
                sums.zip(counts).map(|(sum, count)| sum.map(|sum| sum / *count as f64)).collect()
            }
            Self::Variance { ddof, root } => {
                let state = state(StateKind::Moments)?;
                let counts = state[0].as_primitive::<UInt64Type>().values();
                let squares = state[2].as_primitive::<Float64Type>().values();
                let of = |(count, squares): (&u64, &f64)| {
                    let variance = (*count > ddof).then(|| squares / (count - ddof) as f64);
                    if root { variance.map(f64::sqrt) } else { variance }
                };
                counts.iter().zip(squares).map(of).collect()
            }
        };
        Ok(Arc::new(found))
    }
}
