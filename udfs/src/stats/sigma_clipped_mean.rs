//! `sigma_clipped_mean(value, sigma, max_iterations)`: the mean without outliers, as
//! `astropy.stats.sigma_clipped_stats`.

use std::sync::LazyLock;

use datafusion::error::Result;
use datafusion::logical_expr::{AggregateUDF, Documentation};

use super::sigma_clipped;
use crate::kernels::sigma_clip::Clipped;

const NAME: &str = "sigma_clipped_mean";

/// The function.
///
/// # Errors
/// `Bug` if its signature contradicts itself.
pub fn udaf() -> Result<AggregateUDF> {
    sigma_clipped::udaf(NAME, |call| sigma_clipped::statistic(call, Clipped::mean), &DOCUMENTATION)
}

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    sigma_clipped::documentation(
        NAME,
        "The mean",
        "+---------+\n\
         | clipped |\n\
         +---------+\n\
         | 3.5     |\n\
         +---------+",
    )
});
