//! `random_uniform(shape, seed => 1)`: an array of uniform deviates.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::Arguments;
use almagest_engine::catalog::{ArrayRelation, ArrayTable, RelationInputs};
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::Documentation;

use super::random::{Distribution, drawn, finite};
use crate::documentation;

/// Random123's counters with this word are for uniform deviates.
const STREAM: u32 = 0;

/// The function.
#[derive(Debug)]
pub struct RandomUniform;

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    documentation::relation(
        "An array of numbers that are equally likely anywhere from low to below high. Each depends \
         on the seed and its position alone, never on chunks or threads: Philox4x32-10.",
        "random_uniform(shape [, seed, low, high, dtype, chunks])",
        "SELECT round(min(value), 1) AS least, round(avg(value), 1) AS mean, \
         round(max(value), 1) AS greatest FROM random_uniform([200, 200]);",
        "+-------+------+----------+\n\
         | least | mean | greatest |\n\
         +-------+------+----------+\n\
         | 0.0   | 0.5  | 1.0      |\n\
         +-------+------+----------+",
    )
    .with_argument("shape", "The length, or a list of one for each dimension.")
    .with_argument("seed", "Chooses the numbers; 0 without it.")
    .with_argument("low", "The least, 0 without it.")
    .with_argument("high", "What all are below, 1 without it.")
    .with_argument("dtype", "'f8' or 'f4'.")
    .with_argument("chunks", "The length of a chunk on each dimension.")
    .build()
});

impl ArrayRelation for RandomUniform {
    fn name(&self) -> &'static str {
        "random_uniform"
    }

    fn inputs(&self) -> RelationInputs {
        RelationInputs::None
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["shape", "seed", "low", "high", "dtype", "chunks"]
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
        let low = finite(arguments, &["low"], 0.0)?;
        let high = finite(arguments, &["high"], 1.0)?;
        if low >= high {
            return Err(arguments.wrong("high", "more than low"));
        }
        drawn(arguments, STREAM, Arc::new(Uniform { low, high }))
    }
}

#[derive(Debug)]
struct Uniform {
    low: f64,
    high: f64,
}

impl Distribution for Uniform {
    fn deviate(&self, bits: u64) -> f64 {
        let unit = (bits >> 11) as f64 / (1_u64 << 53) as f64;
        self.low + (self.high - self.low) * unit
    }

    fn limit(&self) -> f64 {
        self.high
    }
}
