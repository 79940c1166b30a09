//! SQL text to a statement that DataFusion can plan.
//!
//! Stage: between the text and DataFusion's planner. In: text. Out: statements whose table
//! functions have become table names ([`table_call`], [`relation_call`]) and whose `name => value` arguments have
//! become positional ([`arguments`]), both by one pass over the syntax tree ([`pass`]).
//!
//! The tables themselves are opened when DataFusion looks their names up: see [`file_tables`].

mod arguments;
mod array_info;
mod dialect;
mod file_tables;
mod missing;
mod pass;
mod relation_call;
mod table_call;
mod table_function;
mod visible_ctes;

use std::collections::VecDeque;

use datafusion::execution::session_state::SessionState;
use datafusion::sql::parser::{DFParserBuilder, Statement};

pub use dialect::AlmagestDialect;
pub(crate) use file_tables::FileTables;
pub(crate) use missing::explain_missing;
use pass::folded;
pub(crate) use table_function::register_table_functions;

use crate::registry::Registry;
use crate::{Error, Result};

/// Nesting of expressions and subqueries that the parser follows.
const NESTING_MAX: usize = 100;

/// The statements in a text, which are separated by semicolons.
///
/// # Errors
/// `Syntax`, with line and column.
pub fn parse(text: &str) -> Result<VecDeque<Statement>> {
    let mut parser = DFParserBuilder::new(text)
        .with_dialect(&AlmagestDialect)
        .with_recursion_limit(NESTING_MAX)
        .build()?;
    Ok(parser.parse_statements()?)
}

/// The one statement in a text.
///
/// # Errors
/// `Syntax`, also if there is none or more than one.
pub fn parse_one(text: &str) -> Result<Statement> {
    let mut statements = parse(text)?;
    match (statements.pop_front(), statements.len()) {
        (Some(statement), 0) => Ok(statement),
        (None, _) => Err(Error::syntax("no statement in the text; write one, such as SELECT 1")),
        (Some(_), more) => Err(Error::syntax(format!(
            "{} statements, where one was expected; run them one after the other",
            more + 1
        ))),
    }
}

/// Makes a statement plannable by DataFusion.
///
/// # Errors
/// `Plan` for calls that name unknown arguments.
pub fn prepare(
    mut statement: Statement,
    state: &SessionState,
    registry: &Registry,
) -> Result<Statement> {
    pass::Pass::new(state, registry).apply(&mut statement)?;
    Ok(statement)
}
