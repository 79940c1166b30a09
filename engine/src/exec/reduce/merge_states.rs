//! `merge_var(count, mean, m2)` and its siblings: aggregates that continue from partial states.
//!
//! DataFusion's own variance accumulators do the work: what they take as a partial state from
//! another partition is what a box's reduction gives, so updating here is merging there. Sums,
//! counts and extremes need no such function: a sum of sums is a sum.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::compute::filter as filter_rows;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::Result as DfResult;
use datafusion::functions_aggregate::{stddev, variance};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

/// The merging twin of an aggregate of one `Float64` whose state is (count, mean, m2).
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct MergeStates {
    name: String,
    inner: Arc<AggregateUDF>,
    signature: Signature,
}

impl MergeStates {
    /// The twin of `inner`.
    pub fn new(inner: Arc<AggregateUDF>) -> Self {
        let types = vec![DataType::UInt64, DataType::Float64, DataType::Float64];
        Self {
            name: format!("merge_{}", inner.name()),
            inner,
            signature: Signature::exact(types, Volatility::Immutable),
        }
    }
}

/// Every merging aggregate, for registration: a cluster finds them by name.
pub fn merge_functions() -> Vec<AggregateUDF> {
    [
        variance::var_samp_udaf(),
        variance::var_pop_udaf(),
        stddev::stddev_udaf(),
        stddev::stddev_pop_udaf(),
    ]
    .into_iter()
    .map(|inner| AggregateUDF::from(MergeStates::new(inner)))
    .collect()
}

/// What the inner function believes it aggregates.
fn inner_fields() -> [FieldRef; 1] {
    [Arc::new(Field::new("value", DataType::Float64, true))]
}

impl AggregateUDFImpl for MergeStates {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Float64)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> DfResult<Vec<FieldRef>> {
        self.inner.state_fields(StateFieldsArgs { input_fields: &inner_fields(), ..args })
    }

    fn accumulator(&self, args: AccumulatorArgs) -> DfResult<Box<dyn Accumulator>> {
        let inner =
            self.inner.accumulator(AccumulatorArgs { expr_fields: &inner_fields(), ..args });
        Ok(Box::new(Merging(inner?)))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        let fields = inner_fields();
        self.inner.groups_accumulator_supported(AccumulatorArgs { expr_fields: &fields, ..args })
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> DfResult<Box<dyn GroupsAccumulator>> {
        let fields = inner_fields();
        let args = AccumulatorArgs { expr_fields: &fields, ..args };
        Ok(Box::new(MergingGroups(self.inner.create_groups_accumulator(args)?)))
    }
}

#[derive(Debug)]
struct Merging(Box<dyn Accumulator>);

impl Accumulator for Merging {
    fn update_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        self.0.merge_batch(states)
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        self.0.evaluate()
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        self.0.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        self.0.merge_batch(states)
    }
}

struct MergingGroups(Box<dyn GroupsAccumulator>);

impl GroupsAccumulator for MergingGroups {
    fn update_batch(
        &mut self,
        states: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        group_count: usize,
    ) -> DfResult<()> {
        let Some(filter) = filter else {
            return self.0.merge_batch(states, groups, group_count);
        };
        let states = states.iter().map(|column| Ok(filter_rows(column, filter)?));
        let states = states.collect::<DfResult<Vec<_>>>()?;
        let kept = groups.iter().zip(filter).filter(|(_, keep)| *keep == Some(true));
        let groups: Vec<usize> = kept.map(|(group, _)| *group).collect();
        self.0.merge_batch(&states, &groups, group_count)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> DfResult<ArrayRef> {
        self.0.evaluate(emit_to)
    }

    fn state(&mut self, emit_to: EmitTo) -> DfResult<Vec<ArrayRef>> {
        self.0.state(emit_to)
    }

    fn merge_batch(
        &mut self,
        states: &[ArrayRef],
        groups: &[usize],
        group_count: usize,
    ) -> DfResult<()> {
        self.0.merge_batch(states, groups, group_count)
    }

    fn convert_to_state(
        &self,
        states: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> DfResult<Vec<ArrayRef>> {
        let Some(filter) = filter else { return Ok(states.to_vec()) };
        // A row that does not count is an empty state.
        let counts = arrow::compute::kernels::zip::zip(
            &arrow::compute::prep_null_mask_filter(filter),
            &states[0],
            &arrow::array::Scalar::new(arrow::array::UInt64Array::from(vec![0])),
        )?;
        Ok(vec![counts, Arc::clone(&states[1]), Arc::clone(&states[2])])
    }

    fn size(&self) -> usize {
        self.0.size()
    }
}
