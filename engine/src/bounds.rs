//! What functions may make of a batch, and how much is computed while a query is planned.
//!
//! DataFusion's functions take what they are asked for: `repeat('x', 2000000000)` is 2 GB, past every memory
//! limit, and constants are computed while a query is planned. Here each function over text and lists is
//! [`Guarded`]: it first counts what it would make ([`sizes`], [`rules`]), and works in pieces or refuses
//! beyond the [`ValueLimit`]. Of constants only small ones are computed by the planner ([`folding`]); the others
//! are values of the running query. What is no function, is made one at the end of optimizing ([`in_plans`]):
//! `||`, and long constants in front of many rows. Lists in UNNEST: [`unnest`].
//!
//! Not here: memory of operators, which is DataFusion's pool's.

mod folding;
mod guarded;
mod in_plans;
mod limit;
mod operators;
mod rules;
mod sizes;
mod unnest;

#[cfg(test)]
mod tests;

pub use folding::small_constants_alone;
pub use guarded::{Guarded, scalar_functions};
pub use in_plans::{GuardCalls, GuardValues};
pub use limit::{ValueLimit, with_value_limit};
pub use operators::is_operator;
pub use unnest::limiting_unnest;
