//! Tables over arrays.

mod array_table;
mod derive;
mod dimension_bounds;
mod record_table;
mod reduced_array;

use crate::rewrite::unqualified;

pub use array_table::{ArrayTable, can_be_evaluated};
pub use record_table::RecordTable;
pub use reduced_array::ReducedArray;
