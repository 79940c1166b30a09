//! The mean and the standard deviation of windows.

use std::fmt;
use std::sync::Arc;

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArraySource};

use super::convert::{computed_type, converted};
use super::window_stage::{Kernel, WindowStage};
use super::windows;
use crate::kernels::filter::element::Element;
use crate::kernels::filter::moments::{Moments, moments_nd, moments_nd_missing};

/// What is told of a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Statistic {
    /// The mean.
    Mean,
    /// The square root of the mean squared deviation.
    Stddev,
}

/// The statistic of the windows that `size` and the other arguments describe.
///
/// # Errors
/// `Plan` for arguments that do not fit.
pub fn local(
    value: Arc<dyn ArraySource>,
    arguments: &Arguments,
    statistic: Statistic,
) -> Result<Arc<dyn ArraySource>> {
    let reach = windows::of_size(&value, arguments)?;
    let mut window = vec![1; value.meta().shape.len()];
    for reach in &reach {
        window[reach.axis] = reach.size();
    }
    let output = computed_type(&value.meta().data_type, false);
    let kernel = Local { window, statistic, ignore_nan: arguments.ignores_nan()? };
    WindowStage::over(converted(value, &output)?, reach, kernel)
}

#[derive(Debug)]
struct Local {
    window: Vec<usize>,
    statistic: Statistic,
    ignore_nan: bool,
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of windows {:?}", self.statistic, self.window)
    }
}

impl Kernel for Local {
    fn run<T: Element>(
        &self,
        values: &[T],
        valid: Option<&[bool]>,
        shape: &[usize],
    ) -> (Vec<T>, Option<Vec<bool>>) {
        let told = |count: f64, mean: f64, m2: f64| {
            T::from_double(match self.statistic {
                Statistic::Mean => mean,
                Statistic::Stddev => (m2 / count).sqrt(),
            })
        };
        let missing = |value: &T| self.ignore_nan && value.to_double().is_nan();
        if valid.is_none() && !values.iter().any(missing) {
            let count = self.window.iter().product::<usize>() as f64;
            let (mean, m2) = moments_nd(values, shape, &self.window);
            return (
                mean.iter().zip(&m2).map(|(mean, m2)| told(count, *mean, *m2)).collect(),
                None,
            );
        }
        let present: Vec<bool> = values
            .iter()
            .enumerate()
            .map(|(index, value)| valid.is_none_or(|valid| valid[index]) && !missing(value))
            .collect();
        let moments = moments_nd_missing(values, &present, shape, &self.window);
        let found = moments.iter().map(|Moments { count, mean, m2 }| told(*count, *mean, *m2));
        let any = moments.iter().map(|moments| moments.count > 0.0);
        (found.collect(), Some(any.collect()))
    }
}
