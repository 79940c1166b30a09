//! What would be left out, or taken for something else than it says.
//!
//! In: nodes of the syntax tree. Out: the same nodes, said plainly (`FROM t` is `SELECT * FROM t`), or a
//! refusal that names the other way. Words before JOIN: [`super::join_words`].

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, GroupByExpr, OrderBy, OrderByKind, Query, Select, SelectFlavor,
    SelectItem, TableFactor, UnaryOperator, Value, WildcardAdditionalOptions,
};

use crate::{Error, Result};

/// Characters of an expression that a message shows.
const SHOWN_MAX: usize = 40;

/// A query: what follows its SELECT.
///
/// # Errors
/// `Unsupported` for clauses that DataFusion leaves out, `Plan` for constants in ORDER BY.
pub fn query(query: &mut Query) -> Result<()> {
    if query.for_clause.is_some() {
        return Err(Error::unsupported(
            "FOR XML and FOR JSON; COPY (query) TO 'x.json' writes JSON",
        ));
    }
    if let Some(OrderBy { kind: OrderByKind::Expressions(sorts), .. }) = &mut query.order_by {
        for sort in sorts {
            place(&mut sort.expr, "ORDER BY")?;
        }
    }
    Ok(())
}

/// A SELECT, without its tables.
///
/// # Errors
/// `Unsupported` and `Plan` for what has another meaning than it seems.
pub fn select(select: &mut Select) -> Result<()> {
    if select.flavor == SelectFlavor::FromFirstNoSelect {
        select.flavor = SelectFlavor::Standard;
        select.projection = vec![SelectItem::Wildcard(WildcardAdditionalOptions::default())];
    }
    if select.value_table_mode.is_some() {
        return Err(Error::unsupported("SELECT AS STRUCT and AS VALUE; use named_struct(…)"));
    }
    select.projection.iter().try_for_each(item)?;
    match &mut select.group_by {
        GroupByExpr::All(_) => Ok(()),
        GroupByExpr::Expressions(keys, _) => {
            keys.iter_mut().try_for_each(|key| place(key, "GROUP BY"))
        }
    }
}

fn item(item: &SelectItem) -> Result<()> {
    match item {
        SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options)
            if options.opt_ilike.is_some() =>
        {
            // DataFusion takes all columns
            Err(Error::unsupported("* ILIKE; name the columns, or use * EXCLUDE (…)"))
        }
        SelectItem::ExprWithAlias { expr: Expr::Value(value), alias }
            if alias.quote_style == Some('\'')
                && matches!(value.value, Value::SingleQuotedString(_)) =>
        {
            Err(Error::plan(format!(
                "{value} {alias} would be {value} under the name {}; write AS \"{}\" for the name, \
                 or || between two texts",
                alias.value, alias.value
            )))
        }
        _ => Ok(()),
    }
}

/// A place in the SELECT list may stand in parentheses; any other constant has no effect.
fn place(key: &mut Expr, clause: &str) -> Result<()> {
    let mut inner: &Expr = key;
    while let Expr::Nested(nested) = inner {
        inner = nested;
    }
    let constant = match inner {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse::<u64>().is_err(),
            Value::Null | Value::Placeholder(_) => false,
            _ => true,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr } => {
            matches!(expr.as_ref(), Expr::Value(_))
        }
        _ => return Ok(()),
    };
    if constant {
        return Err(Error::plan(format!(
            "{clause} {inner} is the same for every row; name a column, without quotes or in \
             double ones, or its place from 1 on"
        )));
    }
    *key = inner.clone();
    Ok(())
}

/// A table in FROM.
///
/// # Errors
/// `Unsupported` for what DataFusion parses and leaves out.
pub fn table(table: &TableFactor) -> Result<()> {
    let left_out = match table {
        TableFactor::Table { version: Some(_), .. } => "a version of a table",
        TableFactor::Table { with_ordinality: true, .. } => {
            "WITH ORDINALITY; number the rows with row_number() OVER ()"
        }
        TableFactor::Table { with_hints, partitions, index_hints, json_path, .. }
            if !with_hints.is_empty()
                || !partitions.is_empty()
                || !index_hints.is_empty()
                || json_path.is_some() =>
        {
            "hints, partitions and paths behind the name of a table; leave them out"
        }
        TableFactor::Derived { sample: Some(_), .. } => {
            "TABLESAMPLE; WHERE random() < 0.01 takes about one row of a hundred"
        }
        _ => return Ok(()),
    };
    Err(Error::unsupported(left_out))
}

/// An expression.
///
/// # Errors
/// `Plan` for operators that other databases read otherwise.
pub fn expr(expr: &Expr) -> Result<()> {
    let Expr::BinaryOp { left, op, right } = expr else { return Ok(()) };
    if *op == BinaryOperator::BitwiseXor {
        return Err(Error::plan(format!(
            "^ is a power in PostgreSQL and DuckDB, and XOR in DataFusion; write \
             power({left}, {right}), or {left} XOR {right} for the bits",
            left = short(left),
            right = short(right)
        )));
    }
    let Expr::BinaryOp { op: inner, .. } = left.as_ref() else { return Ok(()) };
    if compares(op) && compares(inner) {
        return Err(Error::plan(format!(
            "{left} {op} {right} compares a truth value with {right}; write AND between two \
             comparisons, or ({left}) {op} {right}",
            left = short(left),
            right = short(right)
        )));
    }
    if *op == BinaryOperator::StringConcat && matches(inner) {
        return Err(Error::plan(format!(
            "{left} || {right} is ({left}) || {right} in PostgreSQL; put parentheses where they are \
             meant",
            left = short(left),
            right = short(right)
        )));
    }
    Ok(())
}

/// As much of an expression as fits into a message.
fn short(expr: &Expr) -> String {
    let text = expr.to_string();
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn compares(op: &BinaryOperator) -> bool {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq, Spaceship};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | Spaceship)
}

/// Whether an operator takes a pattern on its right, which `||` might be meant to make.
fn matches(op: &BinaryOperator) -> bool {
    use BinaryOperator as Op;
    matches!(
        op,
        Op::PGRegexMatch
            | Op::PGRegexIMatch
            | Op::PGRegexNotMatch
            | Op::PGRegexNotIMatch
            | Op::PGLikeMatch
            | Op::PGILikeMatch
            | Op::PGNotLikeMatch
            | Op::PGNotILikeMatch
    )
}
