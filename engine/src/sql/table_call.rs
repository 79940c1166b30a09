//! A table function's call as a table name: `read_hdf5('file.h5', dataset => '/image')`.
//!
//! DataFusion plans table functions without awaiting anything and knows no named arguments in FROM.
//! So a call becomes a quoted table name with the call's text, and is read back and opened where
//! DataFusion awaits tables by name ([`super::file_tables`]).

use std::fmt;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::execution::session_state::SessionState;
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, UnaryOperator, Value,
};

use super::{arguments, array_info, attributes, headers, parse_expression};
use crate::formats::{TableOptions, options_of};
use crate::registry::Registry;
use crate::{Error, Result, files};

/// The prefix of the functions that read files: `read_` and the format's name.
pub const READ_PREFIX: &str = "read_";
/// The first argument of every table function.
const LOCATION: &str = "location";

/// A call of one of our table functions, with constants as arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct TableCall {
    function: String,
    location: String,
    options: Vec<(String, String)>,
}

/// A function that tells of files: where they are, and what they say of themselves.
#[derive(Debug)]
pub struct Telling {
    /// Its name.
    pub name: &'static str,
    /// One line for people.
    pub summary: &'static str,
    /// The arguments after the location, each with one line for people.
    pub options: &'static [(&'static str, &'static str)],
}

/// All of them.
pub const TELLING: [Telling; 3] = [array_info::TELLING, attributes::TELLING, headers::TELLING];

/// Whether a table of this name tells of files.
pub fn tells_of_files(table: &str) -> bool {
    table.split_once('(').is_some_and(|(function, _)| telling(function).is_some())
}

/// The function with this name, in lower case.
pub fn telling(name: &str) -> Option<&'static Telling> {
    const { &TELLING }.iter().find(|function| function.name == name)
}

/// Whether `function` (in lower case) is a table function of ours.
pub fn is_table_function(function: &str, state: &SessionState, registry: &Registry) -> bool {
    telling(function).is_some()
        || function.strip_prefix(READ_PREFIX).is_some_and(|format| {
            registry.by_name(format).is_some() || files::is_file_type(state, format)
        })
}

impl TableCall {
    /// The call of `function` with these arguments.
    ///
    /// # Errors
    /// `Plan` for wrong or missing arguments, naming the known ones.
    pub fn try_new(function: &str, arguments: &[FunctionArg], registry: &Registry) -> Result<Self> {
        let format = function.strip_prefix(READ_PREFIX).and_then(|format| registry.by_name(format));
        let known = match telling(function) {
            Some(telling) => Some(telling.options.to_vec()),
            None => format.map(|format| options_of(format.as_ref())),
        };
        let (location, options) = match known {
            Some(known) => {
                let names: Vec<&str> =
                    std::iter::once(LOCATION).chain(known.iter().map(|(name, _)| *name)).collect();
                let mut bound = arguments::bind(function, &names, arguments)?.into_iter();
                let location = bound.next().flatten();
                let options = names[1..].iter().zip(bound).filter_map(|(name, value)| {
                    value.map(|value| Ok(((*name).to_string(), constant(function, &value)?)))
                });
                (location, options.collect::<Result<Vec<_>>>()?)
            }
            None => free_options(function, arguments)?,
        };
        let Some(location) = location else {
            return Err(Error::plan(format!(
                "{function} needs the {LOCATION} of a file as its first argument, such as \
                 {function}('file')"
            )));
        };
        let location = constant(function, &location)?;
        Ok(Self { function: function.to_string(), location, options })
    }

    /// The call in a table name, if there is one.
    ///
    /// # Errors
    /// As [`TableCall::try_new`].
    pub fn from_table_name(
        name: &str,
        state: &SessionState,
        registry: &Registry,
    ) -> Result<Option<Self>> {
        let Some((function, _)) = name.split_once('(').filter(|_| name.ends_with(')')) else {
            return Ok(None);
        };
        if !is_table_function(function, state, registry) {
            return Ok(None);
        }
        let Some(Expr::Function(call)) = parse_expression(name)? else { return Ok(None) };
        let FunctionArguments::List(list) = &call.args else { return Ok(None) };
        Self::try_new(function, &list.args, registry).map(Some)
    }

    /// Opens the table.
    ///
    /// # Errors
    /// Those of opening the file.
    pub async fn open(
        &self,
        state: &SessionState,
        registry: &Registry,
    ) -> Result<Arc<dyn TableProvider>> {
        let options: TableOptions = self.options.iter().cloned().collect();
        let array = options.get("array").map(String::as_str);
        match self.function.as_str() {
            array_info::NAME => {
                return array_info::table(&self.location, state, registry).await;
            }
            attributes::NAME => {
                return attributes::table(&self.location, array, state, registry).await;
            }
            headers::NAME => {
                return headers::table(&self.location, array.unwrap_or("/"), state, registry).await;
            }
            _ => {}
        }
        let name = self.function.trim_start_matches(READ_PREFIX);
        if let Some(format) = registry.by_name(name) {
            return files::open_arrays(state, format.as_ref(), &self.location, &options).await;
        }
        files::open(state, &self.location, Some(name), options).await
    }
}

impl fmt::Display for TableCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        write!(f, "{}({}", self.function, quoted(&self.location))?;
        for (name, value) in &self.options {
            write!(f, ", \"{name}\" => {}", quoted(value))?;
        }
        f.write_str(")")
    }
}

/// The location and the options of a reader whose options are DataFusion's to check.
type FreeOptions = (Option<FunctionArgExpr>, Vec<(String, String)>);

fn free_options(function: &str, arguments: &[FunctionArg]) -> Result<FreeOptions> {
    let mut location = None;
    let mut options = vec![];
    for (position, argument) in arguments.iter().enumerate() {
        match argument {
            FunctionArg::Unnamed(value) if position == 0 => location = Some(value.clone()),
            FunctionArg::Named { name, arg, .. } if name.value.eq_ignore_ascii_case(LOCATION) => {
                location = Some(arg.clone());
            }
            FunctionArg::Named { name, arg, .. } => {
                options.push((name.value.to_lowercase(), constant(function, arg)?));
            }
            other => {
                return Err(Error::plan(format!(
                    "{function}: write the argument {other} as name => value, as all but the first"
                )));
            }
        }
    }
    Ok((location, options))
}

/// A constant's text.
fn constant(function: &str, argument: &FunctionArgExpr) -> Result<String> {
    let text = match argument {
        FunctionArgExpr::Expr(expr) => constant_text(expr),
        _ => None,
    };
    text.ok_or_else(|| {
        Error::plan(format!(
            "{function}: the argument {argument} is no constant; use a text, a number or a boolean"
        ))
    })
}

fn constant_text(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text)
            | Value::EscapedStringLiteral(text)
            | Value::DollarQuotedString(datafusion::sql::sqlparser::ast::DollarQuotedString {
                value: text,
                ..
            }) => Some(text.clone()),
            Value::Number(number, _) => Some(number.clone()),
            Value::Boolean(value) => Some(value.to_string()),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => {
            constant_text(expr).map(|text| format!("-{text}"))
        }
        Expr::Array(array) => {
            let items: Option<Vec<String>> = array.elem.iter().map(constant_text).collect();
            items.map(|items| items.join(","))
        }
        Expr::Nested(inner) => constant_text(inner),
        _ => None,
    }
}
