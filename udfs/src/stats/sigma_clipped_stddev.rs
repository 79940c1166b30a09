//! `sigma_clipped_stddev(value, sigma, max_iterations)`: the population standard deviation without outliers, as
//! `astropy.stats.sigma_clipped_stats`.

use std::sync::LazyLock;

use datafusion::error::Result;
use datafusion::logical_expr::{AggregateUDF, Documentation};

use super::sigma_clipped;
use crate::kernels::sigma_clip::Clipped;

const NAME: &str = "sigma_clipped_stddev";

/// The function.
///
/// # Errors
/// `Bug` if its signature contradicts itself.
pub fn udaf() -> Result<AggregateUDF> {
    sigma_clipped::udaf(
        NAME,
        |call| sigma_clipped::statistic(call, Clipped::stddev),
        &DOCUMENTATION,
    )
}

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    sigma_clipped::documentation(
        NAME,
        "The population standard deviation",
        "+-------------------+\n\
         | clipped           |\n\
         +-------------------+\n\
         | 1.707825127659933 |\n\
         +-------------------+",
    )
});
