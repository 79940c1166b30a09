//! Tables over arrays.

mod array_table;
mod dimension_bounds;
mod reduced_array;

pub use array_table::{ArrayTable, can_be_evaluated};
pub use reduced_array::ReducedArray;
