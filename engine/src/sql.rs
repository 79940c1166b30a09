//! SQL text to a statement that DataFusion can plan.
//!
//! Stage: between the text and DataFusion's planner. In: text. Out: statements whose table
//! functions have become table names ([`table_call`], [`relation_call`]) and whose `name => value` arguments have
//! become positional ([`arguments`]), both by one pass over the syntax tree ([`pass`]). Text is parsed
//! within bounds: [`limits`], [`mod@parse`], [`balance`].
//!
//! The tables themselves are opened when DataFusion looks their names up: see [`file_tables`].

mod arguments;
mod array_info;
mod attributes;
mod balance;
mod dialect;
mod duplicate_names;
mod file_tables;
mod headers;
mod join_words;
mod limits;
mod missing;
mod numbers;
mod parse;
mod pass;
mod precedence;
mod readings;
mod reads;
mod relation_call;
mod show_columns;
mod subquery_names;
mod table_call;
mod table_function;
mod using;
mod visible_ctes;

use datafusion::execution::session_state::SessionState;
use datafusion::sql::parser::Statement;

pub use dialect::AlmagestDialect;
pub(crate) use duplicate_names::refuse as refuse_duplicate_names;
pub(crate) use file_tables::FileTables;
pub(crate) use missing::explain_missing;
use parse::parse_expression;
pub use parse::{parse, parse_one};
use pass::folded;
pub(crate) use show_columns::of_file as columns_of_file;
pub use table_call::{Telling, telling, tells_of_files};
pub(crate) use table_function::register_table_functions;

use crate::Result;
use crate::registry::Registry;

/// Makes a statement plannable by DataFusion.
///
/// # Errors
/// `Plan` for calls that name unknown arguments.
pub fn prepare(
    mut statement: Statement,
    state: &SessionState,
    registry: &Registry,
) -> Result<Statement> {
    reads::check_reads(&mut statement)?;
    pass::Pass::new(state, registry).apply(&mut statement)?;
    Ok(statement)
}
