//! Tables over arrays.

mod array_table;
mod dimension_bounds;
mod record_table;
mod reduced_array;

pub use array_table::{ArrayTable, can_be_evaluated};
pub use record_table::RecordTable;
pub use reduced_array::ReducedArray;
