//! `mad_std(value)`: a deviation that outliers do not move, as `astropy.stats.mad_std`.

use std::sync::{Arc, LazyLock};

use datafusion::error::Result;
use datafusion::logical_expr::{AggregateUDF, Documentation};

use super::statistic_function::StatisticFunction;
use crate::documentation;
use crate::kernels::order_statistics::median;

/// What makes the median absolute deviation of a normal distribution its standard deviation: the
/// inverse of the normal quantile at 3/4.
const DEVIATIONS_PER_MAD: f64 = 1.482_602_218_505_602;

/// The function.
///
/// # Errors
/// `Bug` if its signature contradicts itself.
pub fn udaf() -> Result<AggregateUDF> {
    StatisticFunction::udaf("mad_std", &[], |_| Ok(Arc::new(mad_std)), &DOCUMENTATION)
}

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    documentation::statistics(
        "The standard deviation estimated from the median absolute deviation about the median, \
         times 1.4826: a few outliers do not move it. Exact: all values of a group are held in \
         memory. NULLs are left out; NULL for no value; NaN if any value is NaN, as \
         astropy.stats.mad_std.",
        "mad_std(value)",
        "SELECT mad_std(v) AS robust, stddev_pop(v) AS plain FROM (VALUES (1), (2), (3), (4), \
         (1000)) AS t(v);",
        "+-------------------+--------------------+\n\
         | robust            | plain              |\n\
         +-------------------+--------------------+\n\
         | 1.482602218505602 | 399.00125313086426 |\n\
         +-------------------+--------------------+",
    )
    .with_argument("value", "A number.")
    .with_related_udf("sigma_clipped_stddev")
    .build()
});

fn mad_std(parts: &[&[f64]]) -> Option<f64> {
    let is_nan = |values: &[f64]| values.iter().any(|value| value.is_nan());
    if parts.iter().any(|part| is_nan(part)) {
        return Some(f64::NAN);
    }
    let centre = median(parts)?;
    let values = parts.iter().flat_map(|part| part.iter());
    let deviations: Vec<f64> = values.map(|value| (value - centre).abs()).collect();
    if is_nan(&deviations) {
        return Some(f64::NAN);
    }
    Some(median(&[&deviations])? * DEVIATIONS_PER_MAD)
}
