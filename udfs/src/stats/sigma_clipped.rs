//! What the three `sigma_clipped_…` functions share: parameters and the clipping.

use std::sync::{Arc, LazyLock};

use almagest_engine::Error;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{AggregateUDF, Documentation};

use super::collect::Statistic;
use super::statistic_function::{StatisticFunction, StatisticOf};
use crate::kernels::sigma_clip::Clipped;
use crate::{constant, documentation};

const SIGMA_DEFAULT: f64 = 3.0;
const ITERATIONS_MAX_DEFAULT: u64 = 5;

const OPTIONS: &[(&str, DataType)] =
    &[("sigma", DataType::Float64), ("max_iterations", DataType::Int64)];

/// A function of these parameters.
///
/// # Errors
/// `Bug` if its signature contradicts itself.
pub fn udaf(
    name: &'static str,
    statistic: StatisticOf,
    documentation: &'static LazyLock<Documentation>,
) -> Result<AggregateUDF> {
    StatisticFunction::udaf(name, OPTIONS, statistic, documentation)
}

/// The statistic `of` what remains after the clipping that a call asks for.
///
/// # Errors
/// `Plan` for an argument out of range.
pub fn statistic(
    call: &AccumulatorArgs,
    of: fn(&Clipped) -> f64,
) -> almagest_engine::Result<Statistic<f64>> {
    let sigma = match constant::of_aggregate(call, 1, "sigma")? {
        None | Some(ScalarValue::Float64(None)) => SIGMA_DEFAULT,
        Some(ScalarValue::Float64(Some(sigma))) if sigma.is_finite() && sigma > 0.0 => sigma,
        Some(other) => {
            return Err(Error::plan(format!("sigma must be a number above zero, not {other}")));
        }
    };
    let iterations_max = match constant::of_aggregate(call, 2, "max_iterations")? {
        None | Some(ScalarValue::Int64(None)) => ITERATIONS_MAX_DEFAULT,
        Some(ScalarValue::Int64(Some(count))) if count >= 0 => count.unsigned_abs(),
        Some(other) => {
            return Err(Error::plan(format!(
                "max_iterations must be at least zero (zero: until nothing changes), not {other}"
            )));
        }
    };
    Ok(Arc::new(move |parts| {
        let values = parts.iter().flat_map(|part| part.iter().copied());
        Clipped::of(values, sigma, iterations_max).as_ref().map(of)
    }))
}

/// The description of one of the three.
pub fn documentation(name: &str, what: &str, example_answer: &str) -> Documentation {
    let clause = "Values more than sigma deviations away from the median are left out, and again \
                  from what remains, until nothing changes or max_iterations times, as \
                  astropy.stats.sigma_clipped_stats does it (population deviation about the mean). \
                  Exact: all values of a group are held in memory. NULL, NaN and infinities are \
                  left out; NULL if nothing remains.";
    documentation::statistics(
        &format!("{what} of the values without outliers. {clause}"),
        &format!("{name}(value [, sigma [, max_iterations]])"),
        &format!(
            "SELECT {name}(v, 2, 5) AS clipped FROM (VALUES (1), (2), (3), (4), (5), (6), (1000)) \
             AS t(v);"
        ),
        example_answer,
    )
    .with_argument("value", "A number.")
    .with_argument("sigma", "How many deviations off a value may be; 3 if absent.")
    .with_argument(
        "max_iterations",
        "How many times to clip; 5 if absent, until nothing changes for 0.",
    )
    .with_related_udf("mad_std")
    .build()
}
