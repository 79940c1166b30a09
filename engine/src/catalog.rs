//! Tables over arrays.

mod array_table;
mod dimension_bounds;
mod record_table;

pub use array_table::ArrayTable;
pub use record_table::RecordTable;
