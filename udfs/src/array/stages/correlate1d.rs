//! Correlation along one axis: the stage of which separable filters are chains.

use std::fmt;
use std::sync::Arc;

use almagest_engine::Result;
use almagest_engine::array::{ArraySource, Boundary};

use super::window_stage::{Kernel, Reach, WindowStage};
use crate::kernels::filter::correlate::correlate1d;
use crate::kernels::filter::element::Element;
use crate::kernels::filter::extreme::extreme1d;

/// The array correlated along `axis` with `weights`, of which `before` stand before the element. A
/// window with a NULL gives NULL.
///
/// # Errors
/// `Plan` for elements that are no numbers.
pub fn correlated(
    value: Arc<dyn ArraySource>,
    axis: usize,
    weights: Vec<f64>,
    before: usize,
    boundary: Boundary,
) -> Result<Arc<dyn ArraySource>> {
    let reach = Reach { axis, before, after: weights.len() - 1 - before, boundary };
    WindowStage::over(value, vec![reach], Correlate1d { axis, weights })
}

#[derive(Debug)]
struct Correlate1d {
    axis: usize,
    weights: Vec<f64>,
}

impl fmt::Display for Correlate1d {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "correlation with {} weights along axis {}", self.weights.len(), self.axis)
    }
}

impl Kernel for Correlate1d {
    fn run<T: Element>(
        &self,
        values: &[T],
        valid: Option<&[bool]>,
        shape: &[usize],
    ) -> (Vec<T>, Option<Vec<bool>>) {
        let valid = valid.map(|valid| {
            let valid: Vec<u8> = valid.iter().map(|valid| u8::from(*valid)).collect();
            let least = extreme1d(&valid, shape, self.axis, self.weights.len(), false);
            least.into_iter().map(|valid| valid == 1).collect()
        });
        (correlate1d(values, shape, self.axis, &self.weights), valid)
    }
}
