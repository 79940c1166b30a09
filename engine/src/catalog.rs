//! Tables over arrays.

mod array_table;
mod dimension_bounds;

pub use array_table::ArrayTable;
