//! Tables over arrays.

mod array_table;
mod derive;
mod dimension_bounds;
mod file_array;
mod joined_tables;
mod record_table;
mod recorded;
mod reduced_array;
mod relation;

pub use array_table::{ArrayTable, can_be_evaluated};
pub(crate) use derive::value_of;
pub use file_array::{FileArray, UnopenedFile};
pub use joined_tables::{concat_tables, stack_tables};
pub use record_table::RecordTable;
pub use recorded::{Columns, FileRecipe, Recipe, Recorded, TableRecipe};
pub use reduced_array::ReducedArray;
pub use relation::{ArrayRelation, RelationInputs};
