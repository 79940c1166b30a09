//! Puts the arguments of a call in the order of the function's parameters.
//!
//! In: arguments as written, some as `name => value`. Out: one place per parameter up to the last
//! one given, `None` where an optional parameter was passed over. Used for functions in expressions
//! (a place left out becomes NULL, which functions read as "the default") and for tables functions.

use datafusion::sql::sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr, Ident};

use crate::{Error, Result};

/// Whether a call needs [`bind`] at all.
pub fn any_named(arguments: &[FunctionArg]) -> bool {
    arguments.iter().any(|argument| !matches!(argument, FunctionArg::Unnamed(_)))
}

/// The arguments of `function` by position.
///
/// # Errors
/// `Plan` for an unknown or repeated name, a positional argument after a named one, or too many.
pub fn bind(
    function: &str,
    parameters: &[&str],
    arguments: &[FunctionArg],
) -> Result<Vec<Option<FunctionArgExpr>>> {
    let mut bound: Vec<Option<FunctionArgExpr>> = vec![];
    let mut named_before = false;
    for argument in arguments {
        let (position, value) = match argument {
            FunctionArg::Unnamed(value) if named_before => {
                return Err(Error::plan(format!(
                    "{function}: the argument {value} without a name stands after named ones; put \
                     it before them or name it; {}",
                    known(parameters)
                )));
            }
            FunctionArg::Unnamed(value) => (bound.len(), value),
            FunctionArg::Named { name, arg, .. } => (position_of(function, parameters, name)?, arg),
            FunctionArg::ExprNamed { name: Expr::Identifier(name), arg, .. } => {
                (position_of(function, parameters, name)?, arg)
            }
            FunctionArg::ExprNamed { name, .. } => {
                return Err(Error::plan(format!("{function}: {name} is no name of an argument")));
            }
        };
        named_before |= !matches!(argument, FunctionArg::Unnamed(_));
        if position >= parameters.len() {
            return Err(Error::plan(format!(
                "{function} takes at most {} arguments; {}",
                parameters.len(),
                known(parameters)
            )));
        }
        if bound.len() <= position {
            bound.resize(position + 1, None);
        }
        if bound[position].replace(value.clone()).is_some() {
            return Err(Error::plan(format!(
                "{function}: argument {} is given twice",
                parameters[position]
            )));
        }
    }
    Ok(bound)
}

fn position_of(function: &str, parameters: &[&str], name: &Ident) -> Result<usize> {
    let found = parameters.iter().position(|parameter| name.value.eq_ignore_ascii_case(parameter));
    found.ok_or_else(|| {
        Error::plan(format!(
            "{function} has no argument named '{}'; {}",
            name.value,
            known(parameters)
        ))
    })
}

fn known(parameters: &[&str]) -> String {
    format!("its arguments are {}", parameters.join(", "))
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::ast::{FunctionArguments, Value};
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;
    use crate::sql::AlmagestDialect;

    fn call(text: &str) -> Result<String> {
        let expr = Parser::new(&AlmagestDialect).try_with_sql(text).unwrap().parse_expr().unwrap();
        let Expr::Function(function) = expr else { panic!("{text} is no call") };
        let FunctionArguments::List(list) = function.args else { panic!("no arguments") };
        let null = FunctionArgExpr::Expr(Expr::Value(Value::Null.into()));
        let bound = bind("f", &["value", "edges", "labels", "right"], &list.args)?;
        let shown: Vec<String> =
            bound.into_iter().map(|place| place.unwrap_or(null.clone()).to_string()).collect();
        Ok(shown.join("|"))
    }

    #[test]
    fn named_arguments_find_their_places() {
        assert_eq!(call("f(1, edges => 2)").unwrap(), "1|2");
        assert_eq!(call("f(1, 2, right => true)").unwrap(), "1|2|NULL|true");
        assert_eq!(call("f(LABELS => 3, value => 1, edges => 2)").unwrap(), "1|2|3");
    }

    #[test]
    fn wrong_names_are_answered_with_the_known_ones() {
        for (text, expected) in [
            ("f(1, edge => 2)", "no argument named 'edge'; its arguments are value, edges"),
            ("f(1, value => 2)", "argument value is given twice"),
            ("f(edges => 1, 2)", "stands after named ones"),
            ("f(1, 2, 3, 4, 5)", "takes at most 4 arguments"),
        ] {
            let error = call(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
