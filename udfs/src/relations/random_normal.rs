//! `random_normal(shape, seed => 1)`: an array of normal deviates.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::Arguments;
use almagest_engine::catalog::{ArrayRelation, ArrayTable, RelationInputs};
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::Documentation;

use super::random::{Distribution, drawn, finite};
use crate::documentation;
use crate::kernels::normal_quantile::normal_quantile;

/// Random123's counters with this word are for normal deviates.
const STREAM: u32 = 1;

/// The function.
#[derive(Debug)]
pub struct RandomNormal;

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    documentation::relation(
        "An array of normal deviates. Each depends on the seed and its position alone, never on \
         chunks or threads: Philox4x32-10 and the inverse of the distribution function.",
        "random_normal(shape [, seed, mean, stddev, loc, scale, dtype, chunks])",
        "SELECT round(avg(value), 2) AS mean, round(stddev(value), 2) AS stddev FROM \
         random_normal([200, 200], seed => 1, mean => 10, stddev => 3);",
        "+------+--------+\n\
         | mean | stddev |\n\
         +------+--------+\n\
         | 10.0 | 3.01   |\n\
         +------+--------+",
    )
    .with_argument("shape", "The length, or a list of one for each dimension.")
    .with_argument("seed", "Chooses the numbers; 0 without it.")
    .with_argument("mean", "Their mean, 0 without it; loc, as NumPy calls it, is the same.")
    .with_argument("stddev", "Their deviation, 1 without it; scale is the same.")
    .with_argument("dtype", "'f8' or 'f4'.")
    .with_argument("chunks", "The length of a chunk on each dimension.")
    .build()
});

impl ArrayRelation for RandomNormal {
    fn name(&self) -> &'static str {
        "random_normal"
    }

    fn inputs(&self) -> RelationInputs {
        RelationInputs::None
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["shape", "seed", "mean", "stddev", "loc", "scale", "dtype", "chunks"]
    }

    fn documentation(&self) -> &Documentation {
        &DOCUMENTATION
    }

    fn build(
        &self,
        _: Vec<ArrayTable>,
        arguments: &Arguments,
        _: &dyn FunctionRegistry,
    ) -> Result<ArrayTable> {
        let mean = finite(arguments, &["mean", "loc"], 0.0)?;
        let stddev = finite(arguments, &["stddev", "scale"], 1.0)?;
        if stddev < 0.0 {
            return Err(arguments.wrong("stddev", "0 or more"));
        }
        drawn(arguments, STREAM, Arc::new(Normal { mean, stddev }))
    }
}

#[derive(Debug)]
struct Normal {
    mean: f64,
    stddev: f64,
}

impl Distribution for Normal {
    fn deviate(&self, bits: u64) -> f64 {
        // The middles of 2^52 equal parts of 0 to 1, so neither end is met.
        let unit = ((bits >> 12) as f64 + 0.5) / (1_u64 << 52) as f64;
        self.mean + self.stddev * normal_quantile(unit)
    }
}
