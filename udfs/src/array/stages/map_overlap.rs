//! A lambda over the window around each element.

use std::fmt;
use std::sync::Arc;

use almagest_engine::array::{
    ArrayFunction, ArrayLambda, ArrayMeta, ArraySource, Boundary, Derived, Region, Window, unravel,
};
use almagest_engine::{Error, Result};
use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::{concat, take};

/// Elements of windows that are laid out at once, about.
const BATCH_ELEMENTS: usize = 1 << 18;

/// The array of what `lambda` gives for the windows that reach `depths` elements to either side.
///
/// # Errors
/// `Bug` if the lambda does not fit its parameter.
pub fn mapped(
    value: Arc<dyn ArraySource>,
    lambda: ArrayLambda,
    depths: Vec<usize>,
    boundaries: Vec<Boundary>,
) -> Result<Arc<dyn ArraySource>> {
    Derived::try_new(Arc::new(MapOverlap { lambda, depths, boundaries }), vec![value])
}

#[derive(Debug)]
struct MapOverlap {
    lambda: ArrayLambda,
    depths: Vec<usize>,
    boundaries: Vec<Boundary>,
}

impl fmt::Display for MapOverlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lambda over windows of depth {:?}", self.depths)
    }
}

impl ArrayFunction for MapOverlap {
    fn output(&self, inputs: &[&ArrayMeta]) -> Result<ArrayMeta> {
        let data_type = self.lambda.output_type()?;
        Ok(ArrayMeta { data_type, nullable: true, ..inputs[0].clone() })
    }

    fn footprint(&self, region: &Region, _: usize, _: &ArrayMeta) -> Window {
        let axes = self.depths.iter().zip(&self.boundaries).enumerate();
        axes.fold(Window::of(region), |window, (axis, (depth, boundary))| {
            window.extended(axis, *depth as i64, *depth as i64, *boundary)
        })
    }

    fn compute(&self, region: &Region, inputs: &[ArrayRef]) -> Result<ArrayRef> {
        let wide = |(length, depth): (&u64, &usize)| length + 2 * *depth as u64;
        let shape: Vec<u64> = region.shape().iter().zip(&self.depths).map(wide).collect();
        let window: Vec<u64> = self.depths.iter().map(|depth| 2 * *depth as u64 + 1).collect();
        let place = |at: &[u64]| {
            at.iter().zip(&shape).fold(0, |sum, (index, length)| sum * length + index) as u32
        };
        let size: u64 = window.iter().product();
        let offsets: Vec<u32> = (0..size).map(|k| place(&unravel(k, &window))).collect();
        let (columns, rows) =
            region.shape().split_last().map_or((1, &[][..]), |(last, rows)| (*last, rows));
        let row_starts: Vec<u32> = (0..rows.iter().product())
            .map(|row| {
                let mut start = unravel(row, rows);
                start.push(0);
                place(&start)
            })
            .collect();
        let at_once = (BATCH_ELEMENTS / offsets.len()).max(1) as u64;
        let count = region.element_count();
        let mut found = vec![];
        let mut first = 0;
        while first < count {
            let end = count.min(first + at_once);
            let corner = |at: u64| row_starts[(at / columns) as usize] + (at % columns) as u32;
            let corners = (first..end).map(corner);
            let places = corners.flat_map(|corner| offsets.iter().map(move |k| corner + k));
            let elements = take(&inputs[0], &UInt32Array::from_iter_values(places), None);
            let elements = elements
                .map_err(|cause| Error::bug("a window leaves its block").caused_by(cause))?;
            let lengths = vec![offsets.len(); (end - first) as usize];
            found.push(self.lambda.evaluate(elements, &lengths)?);
            first = end;
        }
        let parts: Vec<_> = found.iter().map(AsRef::as_ref).collect();
        concat(&parts).map_err(|cause| Error::bug("a lambda's values differ").caused_by(cause))
    }
}
