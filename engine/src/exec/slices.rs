//! A stream of batches, cut into slices that its reader can do within a turn.
//!
//! In: batches, and what [`turns`](super::turns) measures of who reads them. Out: the same rows in the
//! same order, in smaller batches where the reader takes long for each. The first slice is small, and
//! each that is done quickly is followed by a larger one: a reader that is quick sees whole batches
//! after a few.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatchOptions, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::error::Result as DfResult;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream};
use futures::{Stream, StreamExt};

use super::turns::{Meter, TURN, rest};

/// By how much a slice may be larger or smaller than the one before it.
const STEP_MAX: usize = 8;
/// Slices after which a reader for which smaller ones took as long is tried with smaller ones again.
const TRIED_AGAIN: u32 = 16;

/// How slices begin.
#[derive(Clone, Copy, Debug)]
pub struct Slices {
    /// Rows of the first.
    pub first: usize,
    /// Whether they hold nothing of the batch that they were part of.
    pub are_copied: bool,
}

/// How many rows the next slice has.
#[derive(Debug)]
struct Size {
    rows: usize,
    /// A larger slice before, and the time it took, if this is smaller for that.
    larger: Option<(usize, Duration)>,
    /// Slices to go until less rows than now are tried.
    rest: u32,
}

impl Size {
    fn new(rows: usize) -> Self {
        Self { rows, larger: None, rest: 0 }
    }

    /// Learns how long a slice of `rows` took.
    fn learn(&mut self, rows: usize, took: Duration) {
        self.rest = self.rest.saturating_sub(1);
        if let Some((larger, before)) = self.larger.take()
            && took > TURN
            && took * 2 > before
        {
            // not the rows take so long, and less of them at once take longer in all
            self.rows = larger;
            self.rest = TRIED_AGAIN;
            return;
        }
        let fitting = rows as f64 * TURN.as_secs_f64() / took.as_secs_f64().max(1e-9);
        let least = (rows / STEP_MAX).max(1);
        let most = rows.saturating_mul(STEP_MAX);
        if took <= TURN {
            self.rows = self.rows.max((fitting as usize).clamp(rows.max(1), most));
        } else if took > 2 * TURN && self.rest == 0 && rows > 1 {
            self.rows = (fitting as usize).clamp(least, rows);
            self.larger = (self.rows <= rows / 4).then_some((rows, took));
        }
    }
}

/// The slices.
pub struct Sliced {
    input: SendableRecordBatchStream,
    meter: Arc<Meter>,
    size: Size,
    are_copied: bool,
    /// A batch, and the rows of it that were given.
    batch: Option<(RecordBatch, usize)>,
    /// The rows of the last slice, and how long its reader had worked before.
    given: Option<(usize, Duration)>,
}

impl Sliced {
    pub(super) fn new(input: SendableRecordBatchStream, meter: Arc<Meter>, slices: Slices) -> Self {
        let (size, are_copied) = (Size::new(slices.first), slices.are_copied);
        Self { input, meter, size, are_copied, batch: None, given: None }
    }

    /// The next slice of the batch at hand.
    fn slice(&mut self) -> Option<DfResult<RecordBatch>> {
        let (batch, begin) = self.batch.take()?;
        let rows = self.size.rows.min(batch.num_rows() - begin);
        self.given = (rows > 0).then(|| (rows, self.meter.worked()));
        if rows == batch.num_rows() {
            return Some(Ok(batch));
        }
        let slice = batch.slice(begin, rows);
        if begin + rows < batch.num_rows() {
            self.batch = Some((batch, begin + rows));
        }
        Some(if self.are_copied { copied(&slice) } else { Ok(slice) })
    }
}

/// The same rows in memory of their own, as what keeps a slice is said to keep all of its batch.
fn copied(slice: &RecordBatch) -> DfResult<RecordBatch> {
    let rows = slice.num_rows();
    let all = UInt32Array::from_iter_values(0..rows as u32);
    let columns = slice.columns().iter().map(|column| -> DfResult<ArrayRef> {
        let column = take(column, &all, None)?;
        Ok(match column.data_type() {
            DataType::Utf8View => Arc::new(column.as_string_view().gc()),
            DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
            _ => column,
        })
    });
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let columns = columns.collect::<DfResult<Vec<_>>>()?;
    Ok(RecordBatch::try_new_with_options(slice.schema(), columns, &options)?)
}

impl Stream for Sliced {
    type Item = DfResult<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some((rows, before)) = self.given.take() {
            let took = self.meter.worked().saturating_sub(before);
            self.size.learn(rows, took);
        }
        if self.meter.is_over() {
            return rest(context);
        }
        if let Some(slice) = self.slice() {
            return Poll::Ready(Some(slice));
        }
        match self.input.poll_next_unpin(context) {
            Poll::Ready(Some(Ok(batch))) => {
                self.batch = Some((batch, 0));
                Poll::Ready(self.slice())
            }
            other => other,
        }
    }
}

impl RecordBatchStream for Sliced {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_micros(10);

    #[test]
    fn slices_grow_while_they_are_done_quickly() {
        let mut size = Size::new(1);
        let mut seen = vec![];
        for _ in 0..5 {
            size.learn(size.rows, SHORT);
            seen.push(size.rows);
        }
        assert_eq!(seen, [8, 64, 512, 4096, 32768]);
        // the last rows of a batch are no reason for less
        size.learn(3, SHORT);
        assert_eq!(size.rows, 32768);
    }

    #[test]
    fn slices_shrink_to_what_a_turn_does() {
        let of_row = |size: &Size| TURN * size.rows as u32 / 10;
        let mut size = Size::new(8000);
        for _ in 0..10 {
            size.learn(size.rows, of_row(&size));
        }
        assert!((5..=20).contains(&size.rows), "{}", size.rows);
    }

    #[test]
    fn rows_that_are_not_what_takes_long_are_not_made_fewer() {
        let mut size = Size::new(8000);
        let mut least = size.rows;
        for _ in 0..20 {
            size.learn(size.rows, 10 * TURN);
            least = least.min(size.rows);
        }
        assert_eq!((least, size.rows), (1000, 8000));
    }
}
