//! Words before JOIN that name a join of another database, and joins without a condition.
//!
//! In: the tables of a SELECT. Out: the same, where `SEMI JOIN` is `LEFT SEMI JOIN`; or a refusal. The
//! parser takes a word that it does not know for the name of the table before it, so that
//! `a POSITIONAL JOIN b` would be all pairs of `a` and `b`.

use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::ast::{
    Join, JoinConstraint, JoinOperator, TableAlias, TableFactor, TableWithJoins,
};

use crate::{Error, Result};

/// What some database writes before JOIN. As a name of a table such a word needs AS or quotes there.
const KINDS: &[&str] = &[
    "all",
    "any",
    "anti",
    "approx",
    "asof",
    "broadcast",
    "cross",
    "exact",
    "global",
    "hash",
    "horizon",
    "interval",
    "inverted",
    "lateral",
    "local",
    "lookup",
    "loop",
    "lt",
    "mark",
    "merge",
    "nearest",
    "nested",
    "outer",
    "paste",
    "positional",
    "range",
    "remote",
    "replicated",
    "semi",
    "shuffle",
    "single",
    "skewed",
    "spatial",
    "splice",
    "straight",
    "temporal",
    "union",
    "window",
    "zip",
];

/// Checks the tables of a SELECT and their joins.
///
/// # Errors
/// `Unsupported` for joins that there are not, `Plan` for a join of all pairs that does not say so.
pub fn check(tables: &mut [TableWithJoins]) -> Result<()> {
    tables.iter_mut().try_for_each(check_one)
}

fn check_one(tables: &mut TableWithJoins) -> Result<()> {
    nested(&mut tables.relation)?;
    let mut before = Some(&tables.relation);
    for join in &mut tables.joins {
        if let Some(alias) = before.and_then(alias_of).filter(|alias| is_kind(alias)) {
            return Err(no_such_join(&alias.name.value));
        }
        if join.global {
            return Err(no_such_join("global"));
        }
        nested(&mut join.relation)?;
        plain(&mut join.join_operator)?;
        conditioned(join)?;
        // a condition stands between this table and the next JOIN
        let ends = matches!(constraint(&join.join_operator), None | Some(JoinConstraint::None))
            || matches!(constraint(&join.join_operator), Some(JoinConstraint::Natural));
        before = ends.then_some(&join.relation);
    }
    Ok(())
}

fn nested(table: &mut TableFactor) -> Result<()> {
    match table {
        TableFactor::NestedJoin { table_with_joins, .. } => check_one(table_with_joins),
        _ => Ok(()),
    }
}

fn is_kind(alias: &TableAlias) -> bool {
    let word = alias.name.value.to_lowercase();
    !alias.explicit
        && alias.name.quote_style.is_none()
        && alias.columns.is_empty()
        && KINDS.contains(&word.as_str())
}

fn alias_of(table: &TableFactor) -> Option<&TableAlias> {
    match table {
        TableFactor::Table { alias, .. }
        | TableFactor::Derived { alias, .. }
        | TableFactor::TableFunction { alias, .. }
        | TableFactor::Function { alias, .. }
        | TableFactor::UNNEST { alias, .. }
        | TableFactor::NestedJoin { alias, .. } => alias.as_ref(),
        _ => None,
    }
}

fn no_such_join(word: &str) -> Error {
    let word = word.to_uppercase();
    let instead = match word.as_str() {
        "POSITIONAL" | "PASTE" | "ZIP" => {
            "number the rows of both with row_number() OVER (ORDER BY …) and join on the numbers"
        }
        "ASOF" | "NEAREST" | "EXACT" | "APPROX" | "LT" | "SPLICE" | "WINDOW" | "HORIZON" => {
            "join on a range, and keep the nearest with row_number() OVER (PARTITION BY … ORDER BY …) = 1"
        }
        "ANY" | "SINGLE" => "use SEMI JOIN, or DISTINCT ON (…) of the other table",
        _ => "leave the word out",
    };
    Error::unsupported(format!(
        "{word} JOIN; {instead}. If {word} is the name of a table, write AS before it"
    ))
}

/// The parser knows the ASOF JOIN of Snowflake alone, and asks for its words.
pub fn explained(cause: DataFusionError) -> Error {
    match cause.to_string().contains("MATCH_CONDITION") {
        true => no_such_join("asof").caused_by(cause),
        false => cause.into(),
    }
}

/// SEMI and ANTI joins in the words that DataFusion knows.
fn plain(operator: &mut JoinOperator) -> Result<()> {
    let known = match operator {
        JoinOperator::Semi(constraint) => JoinOperator::LeftSemi(constraint.clone()),
        JoinOperator::Anti(constraint) => JoinOperator::LeftAnti(constraint.clone()),
        JoinOperator::StraightJoin(_) => return Err(no_such_join("straight")),
        JoinOperator::AsOf { .. } => return Err(no_such_join("asof")),
        JoinOperator::ArrayJoin | JoinOperator::LeftArrayJoin | JoinOperator::InnerArrayJoin => {
            return Err(Error::unsupported("ARRAY JOIN; use unnest(…)"));
        }
        _ => return Ok(()),
    };
    *operator = known;
    Ok(())
}

/// Refuses a join that gives all pairs because its condition was forgotten.
fn conditioned(join: &Join) -> Result<()> {
    let is_lateral = match &join.relation {
        TableFactor::Derived { lateral, .. } => *lateral,
        TableFactor::Function { .. } | TableFactor::UNNEST { .. } => true,
        _ => false,
    };
    let open = matches!(constraint(&join.join_operator), Some(JoinConstraint::None));
    if open && !is_lateral && !matches!(join.join_operator, JoinOperator::CrossJoin(_)) {
        return Err(Error::plan(
            "JOIN without ON or USING would be all pairs of rows; add the condition, or write CROSS JOIN",
        ));
    }
    Ok(())
}

/// The condition of a join; `None` for those that have none by their nature.
pub fn constraint(operator: &JoinOperator) -> Option<&JoinConstraint> {
    match operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint)
        | JoinOperator::CrossJoin(constraint)
        | JoinOperator::Semi(constraint)
        | JoinOperator::LeftSemi(constraint)
        | JoinOperator::RightSemi(constraint)
        | JoinOperator::Anti(constraint)
        | JoinOperator::LeftAnti(constraint)
        | JoinOperator::RightAnti(constraint)
        | JoinOperator::StraightJoin(constraint)
        | JoinOperator::AsOf { constraint, .. } => Some(constraint),
        JoinOperator::CrossApply
        | JoinOperator::OuterApply
        | JoinOperator::ArrayJoin
        | JoinOperator::LeftArrayJoin
        | JoinOperator::InnerArrayJoin => None,
    }
}
