//! A call of a table function of arrays: `crop(sky, y => [0, 100])`.
//!
//! As a file's call ([`super::table_call`]) it becomes a quoted table name with its text, and is read
//! back where DataFusion awaits tables by name. Its tables are planned there, each as a query of its
//! own, so that a name, a file, a view, another call and a query are all one thing.

use std::fmt;
use std::sync::Arc;

use datafusion::common::{DFSchema, ScalarValue};
use datafusion::execution::session_state::SessionState;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, ExprWithAlias, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Value,
};

use super::arguments::bind;
use super::visible_ctes::{VisibleCtes, drop_unread};
use super::{explain_missing, folded, parse_expression, parse_one, prepare};
use crate::array::Arguments;
use crate::catalog::{ArrayRelation, ArrayTable, Recorded, RelationInputs, TableRecipe, value_of};
use crate::planning::check_size;
use crate::registry::Registry;
use crate::rewrite::array_table_of;
use crate::{Error, Result};

/// A call as it was written.
#[derive(Debug)]
pub struct RelationCall {
    relation: Arc<dyn ArrayRelation>,
    /// What stands in FROM for each table: a name, a call, a query in parentheses.
    tables: Vec<String>,
    /// For each parameter up to the last one given.
    arguments: Vec<Option<Expr>>,
    /// Arguments named by a dimension.
    named: Vec<(Ident, Expr)>,
}

impl RelationCall {
    /// The call of `relation` with these arguments, among these WITH queries.
    ///
    /// # Errors
    /// `Plan` for wrong or missing arguments, naming the known ones.
    pub fn try_new(
        relation: &Arc<dyn ArrayRelation>,
        arguments: &[FunctionArg],
        ctes: &VisibleCtes,
    ) -> Result<Self> {
        let name = relation.name();
        let unnamed = |argument: &&FunctionArg| matches!(argument, FunctionArg::Unnamed(_));
        let leading = arguments.iter().take_while(unnamed).count();
        let count = match relation.inputs() {
            RelationInputs::None => 0,
            RelationInputs::One => 1,
            RelationInputs::Many => leading,
        };
        if leading < count.max(usize::from(relation.inputs() != RelationInputs::None)) {
            return Err(Error::plan(format!(
                "{name} needs a table as its first argument; for example {}",
                relation.documentation().syntax_example
            )));
        }
        let (tables, rest) = arguments.split_at(count);
        let tables = tables.iter().map(|table| from_text(name, table, ctes));
        let tables = tables.collect::<Result<Vec<_>>>()?;
        if relation.takes_dimensions()
            && let Some(more) = rest.iter().filter(unnamed).nth(relation.parameters().len())
        {
            return Err(Error::plan(format!(
                "{name}: say which dimension {more} is of: dimension => {more}"
            )));
        }
        let is_parameter = |argument: &FunctionArg| match name_of(argument) {
            Some(ident) if relation.takes_dimensions() => {
                relation.parameters().iter().any(|known| ident.value.eq_ignore_ascii_case(known))
            }
            _ => true,
        };
        let (known, others): (Vec<FunctionArg>, Vec<FunctionArg>) =
            rest.iter().cloned().partition(is_parameter);
        let bound = bind(name, relation.parameters(), &known)?.into_iter();
        let arguments = bound.map(|place| place.map(|value| expression(name, &value)).transpose());
        let arguments = arguments.collect::<Result<_>>()?;
        let mut named: Vec<(Ident, Expr)> = vec![];
        for argument in others {
            let (Some(ident), Some(value)) = (name_of(&argument), value_in(&argument)) else {
                return Err(Error::bug(format!("the argument {argument} was not sorted")));
            };
            if named.iter().any(|(seen, _)| folded(seen) == folded(ident)) {
                return Err(Error::plan(format!("{name}: argument {ident} is given twice")));
            }
            named.push((ident.clone(), expression(name, value)?));
        }
        Ok(Self { relation: Arc::clone(relation), tables, arguments, named })
    }

    /// The call in a table name, if there is one.
    ///
    /// # Errors
    /// As [`RelationCall::try_new`].
    pub fn from_table_name(name: &str, registry: &Registry) -> Result<Option<Self>> {
        let Some((function, _)) = name.split_once('(').filter(|_| name.ends_with(')')) else {
            return Ok(None);
        };
        let Some(relation) = registry.relation(function) else { return Ok(None) };
        let Some(Expr::Function(call)) = parse_expression(name)? else { return Ok(None) };
        let FunctionArguments::List(list) = &call.args else { return Ok(None) };
        Self::try_new(relation, &list.args, &VisibleCtes::default()).map(Some)
    }

    /// The table that the call gives.
    ///
    /// # Errors
    /// Those of the function, of planning its tables, and of arguments that are no constants.
    pub async fn open(&self, state: &SessionState, registry: &Registry) -> Result<ArrayTable> {
        let name = self.relation.name();
        let value = |parameter: &str, expr: &Expr| constant(name, parameter, expr, state);
        let arguments = self.arguments.iter().zip(self.relation.parameters());
        let values = arguments.map(|(argument, parameter)| match argument {
            Some(expr) => value(parameter, expr),
            None => Ok(ScalarValue::Null),
        });
        let values = values.collect::<Result<Vec<_>>>()?;
        let named = self.named.iter().map(|(ident, expr)| {
            let dimension = folded(ident);
            value(&dimension, expr).map(|value| (dimension, value))
        });
        let named = named.collect::<Result<Vec<_>>>()?;
        let arguments = Arguments::try_new(name, self.relation.parameters(), values)?;
        let arguments = arguments.with_named(named);
        open_relation(self.relation.as_ref(), &self.tables, &arguments, state, registry).await
    }
}

impl fmt::Display for RelationCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given = self.arguments.iter().zip(self.relation.parameters());
        let given = given.filter_map(|(argument, parameter)| {
            argument.as_ref().map(|value| format!("{parameter} => {value}"))
        });
        let named = self.named.iter().map(|(name, value)| format!("{name} => {value}"));
        let parts: Vec<String> = self.tables.iter().cloned().chain(given).chain(named).collect();
        write!(f, "{}({})", self.relation.name(), parts.join(", "))
    }
}

/// The table that a table function gives of what stands in FROM as `tables`.
///
/// # Errors
/// As [`RelationCall::open`].
pub async fn open_relation(
    relation: &dyn ArrayRelation,
    tables: &[String],
    arguments: &Arguments,
    state: &SessionState,
    registry: &Registry,
) -> Result<ArrayTable> {
    let mut inputs = vec![];
    for text in tables {
        let (table, in_order) = input(relation.name(), text, state, registry).await?;
        if !in_order && arguments.values().iter().any(|value| value.data_type().is_list()) {
            return Err(Error::plan(format!(
                "{} takes a list with an item for each axis, and the query gives the dimensions in \
                 another order than the array's, {}; select them in that order",
                relation.name(),
                table.dims().join(", ")
            ))
            .with("table", text));
        }
        inputs.push(table);
    }
    let table = relation.build(inputs.clone(), arguments, state)?;
    let recipe = TableRecipe::Relation {
        function: relation.name(),
        tables: inputs,
        arguments: arguments.clone(),
    };
    Ok(Recorded::table(table, recipe))
}

fn name_of(argument: &FunctionArg) -> Option<&Ident> {
    match argument {
        FunctionArg::Named { name, .. } => Some(name),
        FunctionArg::ExprNamed { name: Expr::Identifier(name), .. } => Some(name),
        _ => None,
    }
}

fn value_in(argument: &FunctionArg) -> Option<&FunctionArgExpr> {
    match argument {
        FunctionArg::Named { arg, .. } | FunctionArg::ExprNamed { arg, .. } => Some(arg),
        FunctionArg::Unnamed(_) => None,
    }
}

fn expression(function: &str, argument: &FunctionArgExpr) -> Result<Expr> {
    match argument {
        FunctionArgExpr::Expr(expr) => Ok(expr.clone()),
        other => Err(Error::plan(format!("{function}: the argument {other} is no constant"))),
    }
}

/// What stands in FROM for a table that is an argument.
fn from_text(function: &str, argument: &FunctionArg, ctes: &VisibleCtes) -> Result<String> {
    let expr = match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    };
    let text = match expr {
        Some(Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Function(_)) => {
            expr.map(Expr::to_string)
        }
        Some(Expr::Value(value)) if matches!(value.value, Value::SingleQuotedString(_)) => {
            expr.map(Expr::to_string)
        }
        Some(Expr::Subquery(query)) => Some(format!("({query})")),
        _ => None,
    };
    let text = text.ok_or_else(|| {
        Error::plan(format!(
            "{function}: {argument} is no table; name one, or a file in quotes, or write a query in \
             parentheses"
        ))
    })?;
    Ok(ctes.whole_query(&text).map_or(text, |query| format!("({query})")))
}

/// The array table that stands in FROM as `table`.
async fn input(
    function: &str,
    table: &str,
    state: &SessionState,
    registry: &Registry,
) -> Result<(ArrayTable, bool)> {
    let statement = parse_one(&format!("SELECT * FROM {table}"))?;
    let mut statement = prepare(statement, state, registry)?;
    if let Statement::Statement(query) = &mut statement {
        drop_unread(query);
    }
    let plan = match state.statement_to_plan(statement).await {
        Ok(plan) => plan,
        Err(cause) => return Err(explain_missing(cause, state)),
    };
    check_size(&plan)?;
    array_table_of(plan, state).map_err(|error| {
        let message = format!("{function} takes arrays: {}", error.message());
        Error::new(error.kind(), message).with("table", table).caused_by(error)
    })
}

/// The value of an argument that reads no column.
fn constant(
    function: &str,
    parameter: &str,
    expr: &Expr,
    state: &SessionState,
) -> Result<ScalarValue> {
    let columns = DFSchema::empty();
    let expr = ExprWithAlias { expr: expr.clone(), alias: None };
    let shown = expr.expr.to_string();
    let physical = state
        .create_logical_expr_from_sql_expr(expr, &columns)
        .and_then(|expr| state.create_physical_expr(expr, &columns))
        .map_err(|cause| {
            Error::plan(format!("{function}: {parameter} must be a constant, not {shown}"))
                .caused_by(cause)
        })?;
    value_of(&physical)
}
