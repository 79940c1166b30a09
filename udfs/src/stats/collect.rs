//! The machinery of aggregates that need all values of a group at once.
//!
//! In: a column of numbers. State: the group's values, so that partial states merge to the same
//! answer however rows were spread. Memory: all values, counted in the query's memory pool. NULLs
//! are left out. Not here: what is made of the values (a [`Statistic`], in `kernels/`).
//!
//! The state has two columns. Full pieces of large groups travel as binary views, which filtering
//! and repartitioning pass on without copying; the values of small groups travel as plain lists.
//! Views alone would not do: a batch of many small groups would carry, and spill, the memory of all
//! others.

use std::fmt;
use std::sync::Arc;

use almagest_engine::Error;
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryViewArray, BinaryViewBuilder, BooleanArray,
    ByteView, LargeListArray, PrimitiveArray,
};
use arrow::buffer::{Buffer, MutableBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::function::StateFieldsArgs;
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

use super::collect_window::CollectWindow;
use crate::kernels::grouped_values::{GroupedValues, Taken};

/// What is made of the values of a group, given in pieces. `None` gives NULL.
pub type Statistic<N> = Arc<dyn Fn(&[&[N]]) -> Option<N> + Send + Sync>;

/// The state: values of small groups, pieces of large ones.
pub fn state_fields(call: &StateFieldsArgs, item: DataType) -> Vec<FieldRef> {
    let list = |name, item| {
        let list = DataType::LargeList(Arc::new(Field::new_list_field(item, true)));
        Arc::new(Field::new(format_state_name(call.name, name), list, true))
    };
    vec![list("values", item), list("pieces", DataType::BinaryView)]
}

/// An accumulator for one group or, if `sliding`, for window frames whose start moves.
pub fn one_group<T: ArrowPrimitiveType>(
    statistic: Statistic<T::Native>,
    sliding: bool,
) -> Box<dyn Accumulator> {
    if sliding {
        return Box::new(CollectWindow::<T>::new(statistic));
    }
    let mut groups = CollectGroups::<T>::new(statistic);
    groups.values.grow(1);
    Box::new(CollectOne(groups))
}

/// The values of an aggregate's argument.
pub fn argument<T: ArrowPrimitiveType>(columns: &[ArrayRef]) -> Result<&PrimitiveArray<T>> {
    columns.first().and_then(|column| column.as_primitive_opt::<T>()).ok_or_else(|| {
        Error::bug(format!("an aggregate of {} got another type", T::DATA_TYPE)).into()
    })
}

fn lists(offsets: Vec<i64>, items: ArrayRef, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
    let field = Arc::new(Field::new_list_field(items.data_type().clone(), true));
    let offsets = OffsetBuffer::new(offsets.into());
    Ok(Arc::new(LargeListArray::try_new(field, offsets, items, nulls)?))
}

/// The offsets of lists of these lengths.
fn offsets(lengths: impl Iterator<Item = usize>) -> Vec<i64> {
    let ends = lengths.scan(0, |end, length| {
        *end += length as i64;
        Some(*end)
    });
    std::iter::once(0).chain(ends).collect()
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

    fn take(&mut self, emit: EmitTo) -> Taken<T::Native> {
        match emit {
            EmitTo::All => self.values.take_all(),
            EmitTo::First(count) => self.values.take_first(count),
        }
    }

    fn merge_values(&mut self, column: &ArrayRef, groups: &[usize]) -> Result<()> {
        let lists = column.as_list_opt::<i64>().ok_or_else(not_a_state)?;
        let items = argument::<T>(std::slice::from_ref(lists.values()))?.values();
        for (row, (group, ends)) in groups.iter().zip(lists.offsets().windows(2)).enumerate() {
            if lists.is_valid(row) {
                self.values.append(*group, &items[ends[0] as usize..ends[1] as usize]);
            }
        }
        Ok(())
    }

    fn merge_pieces(&mut self, column: &ArrayRef, groups: &[usize]) -> Result<()> {
        let lists = column.as_list_opt::<i64>().ok_or_else(not_a_state)?;
        let items = lists.values().as_binary_view_opt().ok_or_else(not_a_state)?;
        for (row, (group, ends)) in groups.iter().zip(lists.offsets().windows(2)).enumerate() {
            for item in ends[0] as usize..ends[1] as usize {
                if lists.is_valid(row) {
                    self.values.append_piece(*group, piece::<T>(items, item)?);
                }
            }
        }
        Ok(())
    }
}

fn not_a_state() -> Error {
    Error::bug("the state of an aggregate is not made of lists")
}

/// The values of one binary view, without copying them if they are aligned.
fn piece<T: ArrowPrimitiveType>(
    pieces: &BinaryViewArray,
    row: usize,
) -> Result<ScalarBuffer<T::Native>> {
    let bytes = pieces.value(row);
    if !bytes.len().is_multiple_of(size_of::<T::Native>()) {
        return Err(not_a_state().into());
    }
    let view = ByteView::from(pieces.views()[row]);
    let shared = pieces.data_buffers().get(view.buffer_index as usize);
    if let Some(shared) = shared.filter(|_| view.length > 12)
        && bytes.as_ptr().cast::<T::Native>().is_aligned()
    {
        return Ok(shared.slice_with_length(view.offset as usize, bytes.len()).into());
    }
    let mut copy = MutableBuffer::with_capacity(bytes.len());
    copy.extend_from_slice(bytes);
    Ok(Buffer::from(copy).into())
}

impl<T: ArrowPrimitiveType> GroupsAccumulator for CollectGroups<T> {
    fn update_batch(
        &mut self,
        columns: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        group_count: usize,
    ) -> Result<()> {
        let values = argument::<T>(columns)?;
        self.values.grow(group_count);
        match kept_rows(values, filter) {
            None => {
                for (group, value) in groups.iter().zip(values.values()) {
                    self.values.push(*group, *value);
                }
            }
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
        let [values, pieces] = states else { return Err(not_a_state().into()) };
        self.merge_values(values, groups)?;
        self.merge_pieces(pieces, groups)
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        let Taken { open, full } = self.take(emit);
        let value_offsets = offsets(open.iter().map(Vec::len));
        let mut piece_counts = vec![0; open.len()];
        let mut pieces = BinaryViewBuilder::with_capacity(full.len());
        for (group, piece) in full {
            let bytes = piece.into_inner();
            let length = bytes.len() as u32;
            let block = pieces.append_block(bytes);
            pieces.try_append_view(block, 0, length)?;
            piece_counts[group] += 1;
        }
        let values = PrimitiveArray::<T>::new(open.concat().into(), None);
        Ok(vec![
            lists(value_offsets, Arc::new(values), None)?,
            lists(offsets(piece_counts.into_iter()), Arc::new(pieces.finish()), None)?,
        ])
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let taken = self.take(emit);
        let answers = taken.map(|parts| (self.statistic)(parts));
        Ok(Arc::new(answers.collect::<PrimitiveArray<T>>()))
    }

    fn convert_to_state(
        &self,
        columns: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let values = argument::<T>(columns)?;
        let kept = kept_rows(values, filter);
        let no_pieces: ArrayRef = Arc::new(BinaryViewBuilder::new().finish());
        let plain = PrimitiveArray::<T>::new(values.values().clone(), None);
        Ok(vec![
            lists(offsets((0..values.len()).map(|_| 1)), Arc::new(plain), kept)?,
            lists(vec![0; values.len() + 1], no_pieces, None)?,
        ])
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

/// One group, number 0.
struct CollectOne<T: ArrowPrimitiveType>(CollectGroups<T>);

impl<T: ArrowPrimitiveType> fmt::Debug for CollectOne<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CollectOne({} bytes)", self.size())
    }
}

impl<T: ArrowPrimitiveType> Accumulator for CollectOne<T> {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let values = argument::<T>(columns)?;
        if values.null_count() == 0 {
            self.0.values.append(0, values.values());
        } else {
            values.iter().flatten().for_each(|value| self.0.values.push(0, value));
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let groups = vec![0; states.first().map_or(0, Array::len)];
        self.0.merge_batch(states, &groups, 1)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let columns = self.0.state(EmitTo::All)?;
        self.0.values.grow(1);
        columns.iter().map(|column| ScalarValue::try_from_array(column, 0)).collect()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let answer = (self.0.statistic)(&self.0.values.parts(0));
        ScalarValue::new_primitive::<T>(answer, &T::DATA_TYPE)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.0.values.bytes()
    }
}
