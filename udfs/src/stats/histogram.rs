//! `histogram(value, low, high, bins)`: counts in bins of one width, as `numpy.histogram` with a
//! range.

use std::sync::{Arc, LazyLock};

use almagest_engine::{Error, Result};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator,
    Signature, Volatility,
};

use crate::kernels::histogram::Bins;
use crate::{constant, documentation};

/// So many bins take 8 MB for each group.
const BINS_MAX: i64 = 1 << 20;

/// The function.
///
/// # Errors
/// `Bug` if its signature contradicts itself.
pub fn udaf() -> DfResult<AggregateUDF> {
    let signature = Signature::user_defined(Volatility::Immutable)
        .with_parameter_names(vec!["value", "low", "high", "bins"])?;
    Ok(AggregateUDF::from(Histogram { signature }))
}

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    documentation::statistics(
        "How many values fall into each of so many bins of one width between low and high, as a \
         list of BIGINT. Bins are closed on the left and open on the right; the last one is closed \
         on both sides, as in numpy.histogram(value, bins, range=(low, high)). NULL, NaN and \
         values outside are not counted; without any value all counts are 0, but for a window \
         frame or correlated subquery without rows, where the list is empty.",
        "histogram(value, low, high, bins)",
        "SELECT histogram(v, 0, 10, 5) AS counts FROM (VALUES (0), (1), (2), (9.9), (10), (11)) AS \
         t(v);",
        "+-----------------+\n\
         | counts          |\n\
         +-----------------+\n\
         | [2, 1, 0, 0, 2] |\n\
         +-----------------+",
    )
    .with_argument("value", "A number.")
    .with_argument("low", "The left edge of the first bin; a constant.")
    .with_argument("high", "The right edge of the last bin; a constant.")
    .with_argument("bins", "How many bins; a constant from 1 to 1048576.")
    .with_related_udf("width_bucket")
    .build()
});

#[derive(Debug, PartialEq, Eq, Hash)]
struct Histogram {
    signature: Signature,
}

impl AggregateUDFImpl for Histogram {
    fn name(&self) -> &str {
        "histogram"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> DfResult<Vec<DataType>> {
        let number = |data_type: &DataType| data_type.is_numeric() || data_type.is_null();
        if arguments.len() != 4 || !arguments.iter().all(number) || arguments[3].is_floating() {
            return Err(Error::plan(format!(
                "histogram takes a number, the constants low and high, and an integer count of \
                 bins, not ({})",
                arguments.iter().map(DataType::to_string).collect::<Vec<_>>().join(", ")
            ))
            .into());
        }
        Ok(vec![DataType::Float64, DataType::Float64, DataType::Float64, DataType::Int64])
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::List(list_item()))
    }

    fn is_nullable(&self) -> bool {
        false
    }

    /// For what has no rows, where DataFusion asks no accumulator and no bins are known: an empty list.
    fn default_value(&self, _: &DataType) -> DfResult<ScalarValue> {
        Ok(ScalarValue::List(Arc::new(list_of(vec![], 0, 1)?)))
    }

    fn state_fields(&self, call: StateFieldsArgs) -> DfResult<Vec<FieldRef>> {
        let list = DataType::List(list_item());
        Ok(vec![Arc::new(Field::new(format_state_name(call.name, "counts"), list, false))])
    }

    fn accumulator(&self, call: AccumulatorArgs) -> DfResult<Box<dyn Accumulator>> {
        let bins = bins_of(&call)?;
        Ok(Box::new(OneGroup { counts: vec![0; bins.count()], bins }))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(
        &self,
        call: AccumulatorArgs,
    ) -> DfResult<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(ManyGroups { bins: bins_of(&call)?, counts: vec![] }))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}

fn bins_of(call: &AccumulatorArgs) -> Result<Bins> {
    if call.is_distinct {
        return Err(Error::unsupported(
            "histogram does not take DISTINCT; use SELECT DISTINCT in a subquery",
        ));
    }
    let bound = |argument, what| match constant::of_aggregate(call, argument, what)? {
        Some(ScalarValue::Float64(Some(value))) => Ok(value),
        _ => Err(Error::plan(format!("{what} of histogram must be a number"))),
    };
    let (low, high) = (bound(1, "the bound low")?, bound(2, "the bound high")?);
    let count = match constant::of_aggregate(call, 3, "the number of bins")? {
        Some(ScalarValue::Int64(Some(count))) if (1..=BINS_MAX).contains(&count) => count as usize,
        other => {
            let seen = other.unwrap_or(ScalarValue::Null);
            return Err(Error::plan(format!(
                "the number of bins of histogram must be from 1 to {BINS_MAX}, not {seen}"
            )));
        }
    };
    Bins::try_new(low, high, count).ok_or_else(|| {
        Error::plan(format!(
            "histogram takes finite bounds, the lower one first, with room for {count} bins, not \
             {low} and {high}"
        ))
    })
}

fn list_item() -> FieldRef {
    Arc::new(Field::new_list_field(DataType::Int64, true))
}

/// Counts of many groups as one list each.
fn list_of(counts: Vec<i64>, bin_count: usize, group_count: usize) -> Result<ListArray> {
    if i32::try_from(counts.len()).is_err() {
        return Err(Error::exhausted(format!(
            "histograms of {group_count} groups with {bin_count} bins do not fit into one batch; \
             use fewer bins"
        )));
    }
    let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(bin_count, group_count));
    ListArray::try_new(list_item(), offsets, Arc::new(Int64Array::from(counts)), None)
        .map_err(|cause| Error::bug("histogram counts do not fit their list").caused_by(cause))
}

fn floats(columns: &[ArrayRef]) -> Result<&Float64Array> {
    columns
        .first()
        .and_then(|column| column.as_primitive_opt::<Float64Type>())
        .ok_or_else(|| Error::bug("histogram got a value of another type"))
}

/// The counts of each group of a state column.
fn states_of(columns: &[ArrayRef], bin_count: usize) -> Result<impl Iterator<Item = ArrayRef>> {
    let lists = columns.first().and_then(|column| column.as_list_opt::<i32>());
    let lists = lists.ok_or_else(|| Error::bug("the state of histogram is no list"))?;
    if lists.iter().flatten().any(|counts| counts.len() != bin_count) {
        return Err(Error::bug("states of histogram have different numbers of bins"));
    }
    // Every state has counts: the field is not nullable.
    Ok((0..lists.len()).map(|row| lists.value(row)))
}

fn add(sums: &mut [i64], counts: &ArrayRef) {
    for (sum, count) in sums.iter_mut().zip(counts.as_primitive::<Int64Type>().values()) {
        *sum += count;
    }
}

#[derive(Debug)]
struct OneGroup {
    bins: Bins,
    counts: Vec<i64>,
}

impl OneGroup {
    fn count(&mut self, columns: &[ArrayRef], step: i64) -> DfResult<()> {
        for bin in floats(columns)?.iter().flatten().filter_map(|value| self.bins.of(value)) {
            self.counts[bin] += step;
        }
        Ok(())
    }
}

impl Accumulator for OneGroup {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> DfResult<()> {
        self.count(columns, 1)
    }

    fn retract_batch(&mut self, columns: &[ArrayRef]) -> DfResult<()> {
        self.count(columns, -1)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        states_of(states, self.bins.count())?.for_each(|counts| add(&mut self.counts, &counts));
        Ok(())
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        let list = list_of(self.counts.clone(), self.bins.count(), 1)?;
        Ok(ScalarValue::List(Arc::new(list)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + (self.counts.capacity() + self.bins.count() + 1) * 8
    }
}

/// The counts of all groups, one group after the other.
#[derive(Debug)]
struct ManyGroups {
    bins: Bins,
    counts: Vec<i64>,
}

impl ManyGroups {
    fn grow(&mut self, group_count: usize) {
        self.counts.resize(self.counts.len().max(group_count * self.bins.count()), 0);
    }
}

impl GroupsAccumulator for ManyGroups {
    fn update_batch(
        &mut self,
        columns: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        group_count: usize,
    ) -> DfResult<()> {
        self.grow(group_count);
        let values = floats(columns)?;
        for (row, (value, group)) in values.iter().zip(groups).enumerate() {
            let passed = filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            if passed && let Some(bin) = value.and_then(|value| self.bins.of(value)) {
                self.counts[group * self.bins.count() + bin] += 1;
            }
        }
        Ok(())
    }

    fn merge_batch(
        &mut self,
        states: &[ArrayRef],
        groups: &[usize],
        group_count: usize,
    ) -> DfResult<()> {
        self.grow(group_count);
        let bin_count = self.bins.count();
        for (counts, group) in states_of(states, bin_count)?.zip(groups) {
            add(&mut self.counts[group * bin_count..(group + 1) * bin_count], &counts);
        }
        Ok(())
    }

    fn state(&mut self, emit: EmitTo) -> DfResult<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(emit)?])
    }

    fn evaluate(&mut self, emit: EmitTo) -> DfResult<ArrayRef> {
        let bin_count = self.bins.count();
        let counts = match emit {
            EmitTo::All => std::mem::take(&mut self.counts),
            EmitTo::First(groups) => self.counts.drain(..groups * bin_count).collect(),
        };
        let group_count = counts.len() / bin_count;
        Ok(Arc::new(list_of(counts, bin_count, group_count)?))
    }

    fn convert_to_state(
        &self,
        columns: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> DfResult<Vec<ArrayRef>> {
        let rows = columns.first().map_or(0, Array::len);
        let groups: Vec<usize> = (0..rows).collect();
        let mut single = Self { bins: self.bins.clone(), counts: vec![] };
        single.update_batch(columns, &groups, filter, rows)?;
        single.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        size_of_val(self) + (self.counts.capacity() + self.bins.count() + 1) * 8
    }
}
