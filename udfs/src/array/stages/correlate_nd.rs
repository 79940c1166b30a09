//! Correlation with a kernel of the array's own number of dimensions.

use std::fmt;
use std::sync::Arc;

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArraySource, Nested};

use super::linear::{filtered, total_of};
use super::window_stage::{Kernel, Reach, WindowStage};
use super::windows;
use crate::kernels::filter::correlate::{correlate_nd, is_read};
use crate::kernels::filter::element::Element;
use crate::kernels::filter::rank::rank_nd;

/// The array correlated with `weights`, turned round for a convolution.
///
/// # Errors
/// `Plan` for arguments that do not fit.
pub fn correlated_nd(
    value: Arc<dyn ArraySource>,
    arguments: &Arguments,
    turned: bool,
) -> Result<Arc<dyn ArraySource>> {
    let dimensions = value.meta().shape.len();
    let axes = arguments.axes(dimensions)?;
    let weights = arguments.nested("weights", axes.len())?;
    let expected = "a nested list of numbers, one depth for each axis";
    let Nested { shape, mut values } =
        weights.ok_or_else(|| arguments.wrong("weights", expected))?;
    let origins = arguments.origins(&shape)?;
    let boundaries = arguments.boundaries(axes.len())?;
    if turned {
        values.reverse();
    }
    let mut window = vec![1; dimensions];
    let mut reach = vec![];
    for (place, axis) in axes.iter().enumerate() {
        let size = shape[place];
        window[*axis] = size;
        let origin = match turned {
            // SciPy's convolve turns the origin round with the kernel
            true => -origins[place] - i64::from(size % 2 == 0),
            false => origins[place],
        };
        reach.push(Reach::of_size(*axis, size, origin, boundaries[place]));
    }
    let total = total_of(&values);
    filtered(value, arguments, total, |value, beyond| {
        let kernel = Correlate { weights: values.clone(), window: window.clone() };
        WindowStage::over(value, windows::beyond(&reach, beyond), kernel)
    })
}

#[derive(Debug)]
struct Correlate {
    weights: Vec<f64>,
    window: Vec<usize>,
}

impl fmt::Display for Correlate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "correlation with a kernel of shape {:?}", self.window)
    }
}

impl Kernel for Correlate {
    fn run<T: Element>(
        &self,
        values: &[T],
        valid: Option<&[bool]>,
        shape: &[usize],
    ) -> (Vec<T>, Option<Vec<bool>>) {
        let valid = valid.map(|valid| {
            let valid: Vec<u8> = valid.iter().map(|valid| u8::from(*valid)).collect();
            let mut read: Vec<bool> = self.weights.iter().map(|weight| is_read(*weight)).collect();
            if !read.contains(&true) {
                read.fill(true); // NULL goes through whatever the weights are
            }
            let least = rank_nd(&valid, shape, &self.window, Some(&read), 0);
            least.into_iter().map(|valid| valid == 1).collect()
        });
        (correlate_nd(values, shape, &self.weights, &self.window), valid)
    }
}
