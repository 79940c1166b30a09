//! `local_stddev(value, …)`: the deviation of windows, as `numpy.std` of each.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArraySource};

use super::filter::{Filter, output};
use super::stages::local::{Statistic, local};
use crate::documentation;

const NAME: &str = "local_stddev";
const PARAMETERS: &[&str] = &["size", "mode", "cval", "origin", "axes", "nan"];

/// The function.
pub static LOCAL_STDDEV: Filter = Filter {
    name: NAME,
    parameters: PARAMETERS,
    documentation: LazyLock::new(|| {
        documentation::filter(
            NAME,
            PARAMETERS,
            "The population standard deviation of the window around each element. Integers give DOUBLE.",
            "local_stddev(value, 3)",
            "6.914156",
            &[],
        )
    }),
    output: output::floating,
    build,
};

fn build(value: Arc<dyn ArraySource>, arguments: &Arguments) -> Result<Arc<dyn ArraySource>> {
    local(value, arguments, Statistic::Stddev)
}
