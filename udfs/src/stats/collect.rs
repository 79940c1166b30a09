//! The machinery of aggregates that need all values of a group at once.
//!
//! In: a column of numbers. State: the list of a group's values, so that partial states merge to
//! the same answer however rows were spread. Memory: all values, counted in the query's memory
//! pool. NULLs are left out. Not here: what is made of the values (a [`Statistic`], in
//! `kernels/`).

use std::fmt;
use std::sync::Arc;

use almagest_engine::Error;
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, LargeListArray, PrimitiveArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::function::StateFieldsArgs;
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

use crate::kernels::grouped_values::{GroupedValues, SortedByGroup};

/// What is made of the values of a group. It may reorder them, but must not change them. `None`
/// gives NULL.
pub type Statistic<N> = Arc<dyn Fn(&mut [N]) -> Option<N> + Send + Sync>;

/// The state: one list.
pub fn state_fields(call: &StateFieldsArgs, item: DataType) -> Vec<FieldRef> {
    let list = DataType::LargeList(Arc::new(Field::new_list_field(item, true)));
    vec![Arc::new(Field::new(format_state_name(call.name, "values"), list, true))]
}

fn list_of<T: ArrowPrimitiveType>(
    offsets: Vec<i64>,
    values: ScalarBuffer<T::Native>,
    nulls: Option<NullBuffer>,
) -> Result<LargeListArray> {
    let field = Arc::new(Field::new_list_field(T::DATA_TYPE, true));
    let values = Arc::new(PrimitiveArray::<T>::new(values, None));
    Ok(LargeListArray::try_new(field, OffsetBuffer::new(offsets.into()), values, nulls)?)
}

fn column<T: ArrowPrimitiveType>(columns: &[ArrayRef]) -> Result<&PrimitiveArray<T>> {
    columns.first().and_then(|column| column.as_primitive_opt::<T>()).ok_or_else(|| {
        Error::bug(format!("an aggregate of {} got another type", T::DATA_TYPE)).into()
    })
}

fn lists(columns: &[ArrayRef]) -> Result<&LargeListArray> {
    columns
        .first()
        .and_then(|column| column.as_list_opt::<i64>())
        .ok_or_else(|| Error::bug("the state of an aggregate is no list").into())
}

/// One group, or the frame of a window.
pub struct CollectAccumulator<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    /// The first values that have left a sliding frame.
    left: usize,
    /// Whether values leave in the order in which they came, so that it must be kept.
    sliding: bool,
    statistic: Statistic<T::Native>,
}

impl<T: ArrowPrimitiveType> CollectAccumulator<T> {
    /// An empty one. `sliding` is for window frames whose start moves.
    pub fn new(statistic: Statistic<T::Native>, sliding: bool) -> Self {
        Self { values: vec![], left: 0, sliding, statistic }
    }
}

impl<T: ArrowPrimitiveType> fmt::Debug for CollectAccumulator<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CollectAccumulator({} values)", self.values.len() - self.left)
    }
}

impl<T: ArrowPrimitiveType> Accumulator for CollectAccumulator<T> {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let values = column::<T>(columns)?;
        if values.null_count() == 0 {
            self.values.extend_from_slice(values.values());
        } else {
            self.values.extend(values.iter().flatten());
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        lists(states)?.iter().flatten().try_for_each(|values| self.update_batch(&[values]))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values: ScalarBuffer<T::Native> = std::mem::take(&mut self.values).into();
        let values = values.slice(self.left, values.len() - self.left);
        self.left = 0;
        let list = list_of::<T>(vec![0, values.len() as i64], values, None)?;
        Ok(vec![ScalarValue::LargeList(Arc::new(list))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let answer = if self.sliding {
            (self.statistic)(&mut self.values[self.left..].to_vec())
        } else {
            (self.statistic)(&mut self.values)
        };
        ScalarValue::new_primitive::<T>(answer, &T::DATA_TYPE)
    }

    fn retract_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let values = column::<T>(columns)?;
        self.left += values.len() - values.null_count();
        // Moving the rest costs as much as the values that have left: constant for each.
        if self.left > self.values.len() / 2 {
            self.values.drain(..self.left.min(self.values.len()));
            self.left = 0;
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        self.sliding
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.capacity() * size_of::<T::Native>()
    }
}

/// Many groups.
pub struct CollectGroups<T: ArrowPrimitiveType> {
    values: GroupedValues<T::Native>,
    statistic: Statistic<T::Native>,
}

impl<T: ArrowPrimitiveType> CollectGroups<T> {
    /// Without groups.
    pub fn new(statistic: Statistic<T::Native>) -> Self {
        Self { values: GroupedValues::default(), statistic }
    }

    fn take(&mut self, emit: EmitTo) -> SortedByGroup<T::Native> {
        match emit {
            EmitTo::All => self.values.take_all(),
            EmitTo::First(count) => self.values.take_first(count),
        }
    }
}

impl<T: ArrowPrimitiveType> GroupsAccumulator for CollectGroups<T> {
    fn update_batch(
        &mut self,
        columns: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        group_count: usize,
    ) -> Result<()> {
        let values = column::<T>(columns)?;
        self.values.grow(group_count);
        match kept_rows(values, filter) {
            None => self.values.append(groups, values.values()),
            Some(kept) => {
                for row in kept.valid_indices() {
                    self.values.push(groups[row], values.value(row));
                }
            }
        }
        Ok(())
    }

    fn merge_batch(
        &mut self,
        states: &[ArrayRef],
        groups: &[usize],
        group_count: usize,
    ) -> Result<()> {
        self.values.grow(group_count);
        let lists = lists(states)?;
        let items = column::<T>(std::slice::from_ref(lists.values()))?.values();
        for (row, (group, ends)) in groups.iter().zip(lists.offsets().windows(2)).enumerate() {
            if lists.is_valid(row) {
                self.values.append_to(*group, &items[ends[0] as usize..ends[1] as usize]);
            }
        }
        Ok(())
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        let SortedByGroup { offsets, values } = self.take(emit);
        Ok(vec![Arc::new(list_of::<T>(offsets, values.into(), None)?)])
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let mut sorted = self.take(emit);
        let answers = sorted.groups_mut().map(|group| (self.statistic)(group));
        Ok(Arc::new(answers.collect::<PrimitiveArray<T>>()))
    }

    fn convert_to_state(
        &self,
        columns: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let values = column::<T>(columns)?;
        let offsets = (0..=values.len() as i64).collect();
        let list = list_of::<T>(offsets, values.values().clone(), kept_rows(values, filter))?;
        Ok(vec![Arc::new(list)])
    }

    fn size(&self) -> usize {
        self.values.bytes()
    }
}

/// The rows that are neither NULL nor filtered out; `None` for all.
fn kept_rows<T: ArrowPrimitiveType>(
    values: &PrimitiveArray<T>,
    filter: Option<&BooleanArray>,
) -> Option<NullBuffer> {
    let passed = filter.map(|filter| match filter.nulls() {
        None => NullBuffer::new(filter.values().clone()),
        Some(known) => NullBuffer::new(filter.values() & known.inner()),
    });
    NullBuffer::union(values.nulls(), passed.as_ref()).filter(|kept| kept.null_count() > 0)
}
