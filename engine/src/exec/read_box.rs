//! Reads one box of an array table: filters, decodes, and makes rows or states of it.
//!
//! Stage: physical execution, on a thread for computing. In: a box of a scan. Out: record batches.
//! Dimensions alone are filtered first, so that a box without a match is never decoded; index
//! columns are built only for the rows that are left. Not here: fetching, threads, memory.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, BooleanBufferBuilder, Int64Array, RecordBatch, RecordBatchOptions,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{concat_batches, filter};
use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;

use super::arithmetic::in_blocks;
use super::array_scan::{ArrayColumn, ArrayScan, Inputs, Output, Predicate};
use super::reduce::{BoxStates, Reduction, evaluate_where, true_rows};
use super::uniform::Uniform;
use crate::array::{ArraySource, Fetched, ReadContext, Region, dimension_values};
use crate::{Error, Result};

/// Elements of a part of a box on which expressions are evaluated: its columns fit a near cache.
const SLAB_ELEMENTS: u64 = 32 * 1024;

/// What [`ArrayScan::dimensions_pass`] found.
#[derive(Clone, Debug)]
pub enum Passing {
    /// Every element of the box.
    All,
    /// None.
    None,
    /// Those whose bit is set, in row-major order.
    Some(BooleanBuffer),
}

/// What is read of a column for a box. It is decided once, before fetching: an array may know more
/// of itself once it is open.
#[derive(Debug)]
pub struct ColumnRead {
    /// Which of the scan's columns.
    pub column: usize,
    /// The box, or one element that stands for all of it.
    pub part: Region,
    /// What was fetched of the part.
    pub stored: Fetched,
}

impl ArrayScan {
    /// Which elements of a box pass the filter on dimensions.
    ///
    /// # Errors
    /// Those of the filter's functions.
    pub fn dimensions_pass(&self, region: &Region) -> DfResult<Passing> {
        let Some(predicate) = &self.dimension_filter else { return Ok(Passing::All) };
        let mut bits = BooleanBufferBuilder::new(region.element_count() as usize);
        for slab in region.slabs(SLAB_ELEMENTS) {
            let rows = self.rows(&predicate.inputs, &slab, &[])?;
            bits.append_buffer(&evaluate(predicate, &rows, None)?);
        }
        let bits = bits.finish();
        Ok(match bits.count_set_bits() {
            0 => Passing::None,
            all if all == bits.len() => Passing::All,
            _ => Passing::Some(bits),
        })
    }

    /// The variables with their columns, those first that read more than the box: what they read
    /// serves the others too.
    pub fn reading_order(
        &self,
        region: &Region,
    ) -> impl Iterator<Item = (usize, &Arc<dyn ArraySource>)> {
        let variables = || {
            self.columns.iter().enumerate().filter_map(|(index, column)| match column {
                ArrayColumn::Variable(source) => Some((index, source)),
                ArrayColumn::Dimension(_) => None,
            })
        };
        let wide = variables().filter(|(_, source)| source.reads_more_than(region));
        wide.chain(variables().filter(|(_, source)| !source.reads_more_than(region)))
    }

    /// The record batches of a box, of at most `rows_max` rows each. Of states, `open` has those of
    /// earlier boxes: the box is added to them if it has the same groups, or else they are what is
    /// given, and `open` has the states of this box.
    ///
    /// # Errors
    /// Those of the sources, and of the functions in filters and states.
    pub fn read_box(
        &self,
        region: &Region,
        fetched: Vec<ColumnRead>,
        passing: &Passing,
        rows_max: usize,
        context: &ReadContext,
        open: &mut Option<BoxStates>,
    ) -> DfResult<Vec<RecordBatch>> {
        let mut blocks: Vec<Option<ArrayRef>> = vec![None; self.columns.len()];
        let mut uniform = Uniform::default();
        for ColumnRead { column, part, stored } in fetched {
            let ArrayColumn::Variable(source) = &self.columns[column] else { continue };
            let block = context.read(source, &part, stored)?;
            if part == *region {
                blocks[column] = Some(Arc::clone(block.values()));
            } else {
                uniform.add(column, ScalarValue::try_from_array(block.values(), 0)?);
            }
        }
        let filter = self.value_filter.as_ref().map(|filter| {
            let filter = uniform.in_predicate(filter)?.into_owned();
            let expr = in_blocks(&filter.expr, &filter.inputs.schema)?;
            Ok::<_, DataFusionError>(Predicate { expr, ..filter })
        });
        let filter = filter.transpose()?;
        let reduction = match &self.output {
            Output::Rows(_) => None,
            Output::States(reduction, inputs) => {
                let (reduction, inputs) = uniform.in_reduction(reduction, inputs)?;
                let reduction = reduction.try_map(|expr| in_blocks(expr, &inputs.schema))?;
                Some((reduction, inputs))
            }
        };
        let mut done = vec![];
        let sink = match (&self.output, &reduction) {
            (Output::Rows(columns), _) => Sink::Rows { columns, batches: vec![] },
            (_, None) => return Err(Error::bug("a scan of states without states").into()),
            (_, Some((reduction, inputs))) => {
                let continued = open.take_if(|states| states.begin(region));
                done.extend(open.take().map(BoxStates::finish).transpose()?);
                let begun = || {
                    let (schema, filtered) = (Arc::clone(&self.schema), !self.is_unfiltered());
                    BoxStates::try_new(reduction, schema, &inputs.schema, region, filtered)
                };
                Sink::States(continued.map_or_else(begun, Ok)?, reduction, inputs)
            }
        };
        let mut work = BoxWork { filter: filter.as_ref(), uniform: &uniform, sink };
        let whole = self.is_whole_box(passing);
        let slab_elements = if whole { region.element_count() } else { SLAB_ELEMENTS };
        let mut at = 0;
        for slab in region.slabs(slab_elements) {
            let len = slab.element_count() as usize;
            let parts = blocks.iter().map(|block| block.as_ref().map(|block| block.slice(at, len)));
            let parts: Vec<_> = parts.collect();
            let by_dimensions = match passing {
                Passing::Some(bits) => Some(bits.slice(at, len)),
                _ => None,
            };
            at += len;
            self.add_slab(&mut work, &slab, &parts, by_dimensions)?;
        }
        match work.sink {
            Sink::States(states, ..) => {
                *open = Some(states);
                Ok(done)
            }
            Sink::Rows { batches, .. } => Ok(self.cut(batches, rows_max)?),
        }
    }

    /// Whether the box can be handled in one piece: nothing is evaluated per element.
    fn is_whole_box(&self, passing: &Passing) -> bool {
        let Passing::All = passing else { return false };
        self.value_filter.is_none()
            && match &self.output {
                Output::Rows(_) => true,
                Output::States(reduction, inputs) => reduction.expressions().all(|expr| {
                    expr.downcast_ref::<Column>().is_some_and(|column| {
                        let index = inputs.columns[column.index()];
                        matches!(self.columns[index], ArrayColumn::Variable(_))
                    })
                }),
            }
    }

    fn add_slab(
        &self,
        work: &mut BoxWork,
        slab: &Region,
        parts: &[Option<ArrayRef>],
        by_dimensions: Option<BooleanBuffer>,
    ) -> DfResult<()> {
        let mut mask = by_dimensions;
        if let Some(predicate) = work.filter {
            let rows = self.rows(&predicate.inputs, slab, parts)?;
            let passed = evaluate(predicate, &rows, mask.as_ref())?;
            mask = Some(match mask {
                Some(mask) => &mask & &passed,
                None => passed,
            });
        }
        if let Some(bits) = &mask
            && bits.count_set_bits() == bits.len()
        {
            mask = None;
        }
        match &mut work.sink {
            Sink::States(states, reduction, inputs) => {
                let rows = self.rows(inputs, slab, parts)?;
                states.add(reduction, slab, &rows, mask.as_ref())
            }
            Sink::Rows { columns, batches } => {
                batches.push(self.output_rows(slab, parts, work.uniform, columns, mask)?);
                Ok(())
            }
        }
    }

    /// The columns of a slab that some expressions read. Variables are those in `parts`.
    fn rows(
        &self,
        inputs: &Inputs,
        slab: &Region,
        parts: &[Option<ArrayRef>],
    ) -> DfResult<RecordBatch> {
        let columns = inputs.columns.iter().map(|index| match &self.columns[*index] {
            ArrayColumn::Dimension(axis) => Ok(dimension_values(slab, *axis)),
            ArrayColumn::Variable(_) => part(parts, *index).cloned(),
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        batch(&inputs.schema, columns, slab.element_count() as usize)
    }

    fn output_rows(
        &self,
        slab: &Region,
        parts: &[Option<ArrayRef>],
        uniform: &Uniform,
        columns: &[usize],
        mask: Option<BooleanBuffer>,
    ) -> DfResult<RecordBatch> {
        let count = mask.as_ref().map_or(slab.element_count() as usize, |m| m.count_set_bits());
        let mask = mask.map(|bits| BooleanArray::new(bits, None));
        let columns = columns.iter().map(|index| {
            if let Some(value) = uniform.value(*index) {
                return value.to_array_of_size(count);
            }
            Ok(match (&self.columns[*index], &mask) {
                (ArrayColumn::Dimension(axis), None) => dimension_values(slab, *axis),
                (ArrayColumn::Dimension(axis), Some(mask)) => {
                    dimension_values_at(slab, *axis, mask.values())
                }
                (ArrayColumn::Variable(_), None) => Arc::clone(part(parts, *index)?),
                (ArrayColumn::Variable(_), Some(mask)) => filter(part(parts, *index)?, mask)?,
            })
        });
        let columns = columns.collect::<DfResult<Vec<_>>>()?;
        batch(&self.schema, columns, count)
    }

    /// Few rows become one batch, many are cut into zero-copy slices.
    fn cut(&self, batches: Vec<RecordBatch>, rows_max: usize) -> DfResult<Vec<RecordBatch>> {
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        if rows == 0 {
            return Ok(vec![]);
        }
        if batches.len() > 1 && rows <= rows_max {
            return Ok(vec![concat_batches(&self.schema, &batches)?]);
        }
        let step = rows_max.max(1);
        let slices = batches.iter().flat_map(|batch| {
            let rows = batch.num_rows();
            (0..rows).step_by(step).map(move |at| batch.slice(at, step.min(rows - at)))
        });
        Ok(slices.collect())
    }
}

/// What is made of the slabs of a box.
struct BoxWork<'a> {
    filter: Option<&'a Predicate>,
    uniform: &'a Uniform,
    sink: Sink<'a>,
}

enum Sink<'a> {
    Rows { columns: &'a [usize], batches: Vec<RecordBatch> },
    States(BoxStates, &'a Reduction<Arc<dyn PhysicalExpr>>, &'a Inputs),
}

/// Which rows pass, of those where `mask` is set.
fn evaluate(
    predicate: &Predicate,
    rows: &RecordBatch,
    mask: Option<&BooleanBuffer>,
) -> DfResult<BooleanBuffer> {
    Ok(true_rows(&evaluate_where(&predicate.expr, rows, mask)?)?)
}

fn part(parts: &[Option<ArrayRef>], index: usize) -> Result<&ArrayRef> {
    let values = parts.get(index).and_then(Option::as_ref);
    values.ok_or_else(|| Error::bug("a variable that was not read"))
}

fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> DfResult<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let batch = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options);
    Ok(batch.map_err(|cause| Error::bug("a block does not fit its scan").caused_by(cause))?)
}

/// The indices on `axis` of the elements whose bit is set.
fn dimension_values_at(region: &Region, axis: usize, bits: &BooleanBuffer) -> ArrayRef {
    let inner: u64 = region.shape()[axis + 1..].iter().product();
    let (start, length) = (region.start()[axis], region.shape()[axis]);
    let values = bits.set_indices().map(|at| (start + at as u64 / inner % length) as i64);
    Arc::new(Int64Array::from_iter_values(values))
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;

    use super::*;

    #[test]
    fn indices_of_kept_rows_are_those_of_all_rows_filtered() {
        let region = Region::from_ranges(&[2..5, 10..14, 3..9]);
        let bits: BooleanBuffer = (0..72).map(|at| at % 5 == 1 || at > 60).collect();
        for axis in 0..3 {
            let all = dimension_values(&region, axis);
            let mask = BooleanArray::new(bits.clone(), None);
            let expected = filter(&all, &mask).unwrap();
            let found = dimension_values_at(&region, axis, &bits);
            assert_eq!(found.as_primitive::<Int64Type>(), expected.as_primitive::<Int64Type>());
        }
    }
}
