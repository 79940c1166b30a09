//! `convolve(value, …)`: `scipy.ndimage.convolve`.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArraySource};

use super::filter::{Filter, output};
use super::stages::correlate_nd::correlated_nd;
use crate::documentation;

const NAME: &str = "convolve";
const PARAMETERS: &[&str] = &["weights", "mode", "cval", "origin", "axes", "dtype", "nan"];

/// The function.
pub static CONVOLVE: Filter = Filter {
    name: NAME,
    parameters: PARAMETERS,
    documentation: LazyLock::new(|| {
        let own = &[("weights", "A nested list of numbers, one depth for each axis.")];
        documentation::filter(
            NAME,
            PARAMETERS,
            "The convolution with a kernel, which is turned round. Source: scipy.ndimage.convolve.",
            "convolve(value, [[0, 1, 0], [1, 4, 1], [0, 1, 2]])",
            "57.5",
            own,
        )
    }),
    output: output::computed,
    build,
};

fn build(value: Arc<dyn ArraySource>, arguments: &Arguments) -> Result<Arc<dyn ArraySource>> {
    correlated_nd(value, arguments, true)
}
