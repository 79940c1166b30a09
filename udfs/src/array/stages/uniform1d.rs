//! The mean, or an extreme, of a window along one axis.

use std::fmt;
use std::sync::Arc;

use almagest_engine::Result;
use almagest_engine::array::ArraySource;

use super::window_stage::{Kernel, Reach, WindowStage};
use crate::kernels::filter::element::Element;
use crate::kernels::filter::extreme::extreme1d;
use crate::kernels::filter::uniform::uniform1d;

/// What is taken of a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Taken {
    /// The mean.
    Mean,
    /// The least element.
    Least,
    /// The greatest element.
    Greatest,
}

/// The array of what is taken of each window, axis after axis. A window with a NULL gives NULL.
///
/// # Errors
/// `Plan` for elements that are no numbers.
pub fn along_axes(
    mut value: Arc<dyn ArraySource>,
    reach: &[Reach],
    taken: Taken,
) -> Result<Arc<dyn ArraySource>> {
    for reach in reach.iter().filter(|reach| reach.size() > 1) {
        let kernel = Window1d { axis: reach.axis, size: reach.size(), taken };
        value = WindowStage::over(value, vec![*reach], kernel)?;
    }
    Ok(value)
}

#[derive(Debug)]
struct Window1d {
    axis: usize,
    size: usize,
    taken: Taken,
}

impl fmt::Display for Window1d {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {} elements along axis {}", self.taken, self.size, self.axis)
    }
}

impl Kernel for Window1d {
    fn run<T: Element>(
        &self,
        values: &[T],
        valid: Option<&[bool]>,
        shape: &[usize],
    ) -> (Vec<T>, Option<Vec<bool>>) {
        let found = match self.taken {
            Taken::Mean => uniform1d(values, shape, self.axis, self.size),
            Taken::Least => extreme1d(values, shape, self.axis, self.size, false),
            Taken::Greatest => extreme1d(values, shape, self.axis, self.size, true),
        };
        let valid = valid.map(|valid| {
            let valid: Vec<u8> = valid.iter().map(|valid| u8::from(*valid)).collect();
            let least = extreme1d(&valid, shape, self.axis, self.size, false);
            least.into_iter().map(|valid| valid == 1).collect()
        });
        (found, valid)
    }
}
