//! What a scan of an array table reads and gives: box, grid, columns, filter, output.
//!
//! Stage: physical planning. In: what [`crate::catalog`] found out about a query. Out: the physical
//! plan, descriptors of runs of read boxes under an [`ArrayExec`]. Not here: reading.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::common::pruning::PruningStatistics;
use datafusion::error::Result as DfResult;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;

use super::ArrayExec;
use super::descriptors::descriptors;
use super::reduce::Reduction;
use crate::array::{ArraySource, Grid, Region, unravel};

/// Partitions for each unit of `datafusion.execution.target_partitions`.
const PARTITIONS_PER_TARGET: u64 = 2;

/// Boxes that are counted for a limit; beyond them all are planned, and the limit ends the reading.
const COUNTED_BOXES_MAX: u64 = 1 << 16;

/// One input column of an array scan.
#[derive(Clone, Debug)]
pub enum ArrayColumn {
    /// The 0-based index on this axis.
    Dimension(usize),
    /// The elements of an array.
    Variable(Arc<dyn ArraySource>),
}

/// What a scan gives.
#[derive(Debug)]
pub enum Output {
    /// These of the scan's columns, a row per element that passes the filters.
    Rows(Vec<usize>),
    /// Partial states of aggregates, computed from these inputs: a row per group and some read boxes.
    States(Reduction<Arc<dyn PhysicalExpr>>, Inputs),
}

/// The columns that some expressions read, and no others.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// Which of the scan's columns.
    pub columns: Vec<usize>,
    /// Their fields.
    pub schema: SchemaRef,
}

impl Inputs {
    /// The columns of `schema` that `expressions` read.
    ///
    /// # Errors
    /// `Bug` if an expression reads another column.
    pub fn of<'a>(
        expressions: impl Iterator<Item = &'a Arc<dyn PhysicalExpr>>,
        schema: &Schema,
    ) -> DfResult<Self> {
        let mut columns: Vec<usize> = expressions
            .flat_map(collect_columns)
            .map(|column| schema.index_of(column.name()))
            .collect::<Result<_, _>>()?;
        columns.sort_unstable();
        columns.dedup();
        Ok(Self { schema: Arc::new(schema.project(&columns)?), columns })
    }
}

/// A condition on elements.
#[derive(Clone, Debug)]
pub struct Predicate {
    /// The condition, over `inputs`.
    pub expr: Arc<dyn PhysicalExpr>,
    /// What it reads.
    pub inputs: Inputs,
}

impl Predicate {
    /// The condition `expr` over columns of `schema`.
    ///
    /// # Errors
    /// `Bug` if it reads another column.
    pub fn try_new(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> DfResult<Self> {
        let inputs = Inputs::of(std::iter::once(expr), schema)?;
        let expr = reassign_expr_columns(Arc::clone(expr), &inputs.schema)?;
        Ok(Self { expr, inputs })
    }
}

/// What finds the boxes that a condition on dimensions leaves nothing of, if it can be told.
pub fn pruning_of(filter: &Predicate) -> Option<Arc<PruningPredicate>> {
    PruningPredicateBuilder::new()
        .with_file_schema(Arc::clone(&filter.inputs.schema))
        .build(Arc::clone(&filter.expr))
}

/// What a scan reads: columns of a box of an array table, read box by read box.
#[derive(Debug)]
pub struct ArrayScan {
    /// The table's name for people.
    pub name: String,
    /// The box; elements outside it are not produced.
    pub region: Region,
    /// The grid in whose boxes the region is read: whole chunks of the stored grid.
    pub grid: Grid,
    /// The columns that filters and output are made of.
    pub columns: Vec<ArrayColumn>,
    /// The dimensions' names.
    pub dims: Vec<String>,
    /// A condition on dimensions alone; evaluated before anything is read.
    pub dimension_filter: Option<Predicate>,
    /// A condition on dimensions and values.
    pub value_filter: Option<Predicate>,
    /// Finds boxes without any element that passes, from the dimensions' bounds.
    pub pruning: Option<Arc<PruningPredicate>>,
    /// What is produced.
    pub output: Output,
    /// The fields of what is produced.
    pub schema: SchemaRef,
    /// Rows after which reading may end.
    pub fetch: Option<usize>,
}

impl ArrayScan {
    /// How many read boxes the region touches.
    pub fn box_count(&self) -> u64 {
        if self.region.is_empty() {
            return 0;
        }
        self.grid.positions_touching(&self.region).element_count()
    }

    /// Bytes of the decoded elements of a region.
    pub fn bytes_of(&self, region: &Region) -> usize {
        self.bytes_by(region, |source| source.meta().bytes_of(region))
    }

    /// Bytes held while a region is read, about.
    pub fn working_bytes(&self, region: &Region) -> usize {
        self.bytes_by(region, |source| source.working_bytes(region))
    }

    fn bytes_by(&self, region: &Region, of: impl Fn(&dyn ArraySource) -> u64) -> usize {
        let bytes = |column: &ArrayColumn| match column {
            ArrayColumn::Dimension(_) => region.element_count().saturating_mul(8),
            ArrayColumn::Variable(source) => of(source.as_ref()),
        };
        let bytes = self.columns.iter().map(bytes).fold(0, u64::saturating_add);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// Whether more than `region` of some array is read for it.
    pub fn reads_more_than(&self, region: &Region) -> bool {
        self.columns.iter().any(|column| match column {
            ArrayColumn::Dimension(_) => false,
            ArrayColumn::Variable(source) => source.reads_more_than(region),
        })
    }

    /// Whether every element of the region is produced.
    pub fn is_unfiltered(&self) -> bool {
        self.dimension_filter.is_none() && self.value_filter.is_none()
    }

    /// The physical plan.
    ///
    /// # Errors
    /// `Bug` if DataFusion refuses the descriptors.
    pub fn into_plan(self, config: &SessionConfig) -> DfResult<Arc<dyn ExecutionPlan>> {
        let boxes = self.boxes_to_read();
        let wanted = config.target_partitions() as u64 * PARTITIONS_PER_TARGET;
        let partitions = wanted.clamp(1, boxes.max(1));
        // the product may be more than 64 bits hold, the quotient is at most all boxes
        let part = |index: u64| u128::from(index) * u128::from(boxes) / u128::from(partitions);
        let run = |index| part(index) as u64..part(index + 1) as u64;
        let leaf = descriptors((0..partitions).map(run))?;
        Ok(Arc::new(ArrayExec::new(Arc::new(self), leaf)))
    }

    /// The number of boxes that can contribute: with a limit and no filter, the first few.
    fn boxes_to_read(&self) -> u64 {
        let boxes = self.box_count();
        let (Some(fetch), true) = (self.fetch, self.is_unfiltered()) else { return boxes };
        let mut rows = 0_u64;
        for index in 0..boxes.min(COUNTED_BOXES_MAX) {
            if rows >= fetch as u64 {
                return index.max(1);
            }
            rows = rows.saturating_add(self.box_region(index).element_count());
        }
        boxes
    }

    /// The read box number `index`, cut to the region. Boxes are in storage order, or, if groups are
    /// reduced, those that have the same groups follow each other.
    pub fn box_region(&self, index: u64) -> Region {
        let positions = self.grid.positions_touching(&self.region);
        let order = self.axes_slowest_first();
        let lengths: Vec<u64> = order.iter().map(|axis| positions.shape()[*axis]).collect();
        let mut position = positions.start().to_vec();
        for (axis, offset) in order.into_iter().zip(unravel(index, &lengths)) {
            position[axis] += offset;
        }
        let whole = self.grid.region_at(&position);
        whole.intersect(&self.region).unwrap_or(whole)
    }

    /// The axes, those of group keys before the others.
    fn axes_slowest_first(&self) -> Vec<usize> {
        let is_key = |axis: usize| match &self.output {
            Output::States(reduction, _) => reduction.keys.iter().any(|key| key.axis == axis),
            Output::Rows(_) => false,
        };
        let mut axes: Vec<usize> = (0..self.region.ndim()).collect();
        axes.sort_by_key(|axis| !is_key(*axis));
        axes
    }

    /// Which of these boxes may hold an element that passes the filter.
    ///
    /// # Errors
    /// Those of evaluating the filter on the boxes' bounds.
    pub fn boxes_that_may_match(&self, regions: &[Region]) -> DfResult<Vec<bool>> {
        match &self.pruning {
            None => Ok(vec![true; regions.len()]),
            Some(pruning) => pruning.prune(&Bounds { scan: self, regions }),
        }
    }
}

/// The least and greatest index of each dimension in each of some boxes.
struct Bounds<'a> {
    scan: &'a ArrayScan,
    regions: &'a [Region],
}

impl Bounds<'_> {
    fn of(
        &self,
        column: &datafusion::common::Column,
        bound: impl Fn(&Region, usize) -> u64,
    ) -> Option<ArrayRef> {
        let axis = self.scan.dims.iter().position(|dim| dim == column.name())?;
        let bounds = self.regions.iter().map(|region| bound(region, axis) as i64);
        Some(Arc::new(Int64Array::from_iter_values(bounds)))
    }
}

impl PruningStatistics for Bounds<'_> {
    fn min_values(&self, column: &datafusion::common::Column) -> Option<ArrayRef> {
        self.of(column, |region, axis| region.range(axis).start)
    }

    fn max_values(&self, column: &datafusion::common::Column) -> Option<ArrayRef> {
        self.of(column, |region, axis| region.range(axis).end - 1)
    }

    fn num_containers(&self) -> usize {
        self.regions.len()
    }

    fn null_counts(&self, _: &datafusion::common::Column) -> Option<ArrayRef> {
        None
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        None
    }

    #[allow(clippy::mutable_key_type)] // the trait's own signature
    fn contained(
        &self,
        _: &datafusion::common::Column,
        _: &HashSet<ScalarValue>,
    ) -> Option<BooleanArray> {
        None
    }
}
