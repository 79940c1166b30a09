//! `local_mean(value, …)`: the mean of windows, as `numpy.mean` of each.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArraySource};

use super::filter::{Filter, output};
use super::stages::local::{Statistic, local};
use crate::documentation;

const NAME: &str = "local_mean";
const PARAMETERS: &[&str] = &["size", "mode", "cval", "origin", "axes", "nan"];

/// The function.
pub static LOCAL_MEAN: Filter = Filter {
    name: NAME,
    parameters: PARAMETERS,
    documentation: LazyLock::new(|| {
        documentation::filter(
            NAME,
            PARAMETERS,
            "The mean of the window around each element. Integers give DOUBLE.",
            "local_mean(value, 3)",
            "5.8333335",
            &[],
        )
    }),
    output: output::floating,
    build,
};

fn build(value: Arc<dyn ArraySource>, arguments: &Arguments) -> Result<Arc<dyn ArraySource>> {
    local(value, arguments, Statistic::Mean)
}
