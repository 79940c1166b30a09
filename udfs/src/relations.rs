//! Table functions that give arrays: one file a function, one line in the list below. The lazy
//! arrays behind them are the engine's, but for those that [`made`] makes.

mod arange;
mod concat;
mod crop;
mod downsample;
mod element_type;
mod full;
mod made;
mod ones;
mod random;
mod random_normal;
mod random_uniform;
mod stack;
mod zeros;

use std::sync::Arc;

use almagest_engine::catalog::ArrayRelation;

/// Every table function.
pub fn all() -> Vec<Arc<dyn ArrayRelation>> {
    vec![
        Arc::new(arange::Arange),
        Arc::new(concat::Concat),
        Arc::new(crop::Crop),
        Arc::new(downsample::Downsample),
        Arc::new(full::Full),
        Arc::new(ones::Ones),
        Arc::new(random_normal::RandomNormal),
        Arc::new(random_uniform::RandomUniform),
        Arc::new(stack::Stack),
        Arc::new(zeros::Zeros),
    ]
}
