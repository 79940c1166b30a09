//! Text to statements, in steps that are bounded.
//!
//! In: text. Out: statements whose depth is bounded ([`limits`], [`balance`]). The parser tries
//! several readings of some places and begins each anew if another fails; within each other that
//! doubles with every level, so its steps are counted. Runs on planning threads
//! ([`crate::planning`]): the parser recurses.

use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use datafusion::error::DataFusionError;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{TokenWithSpan, Tokenizer};

use super::{AlmagestDialect, balance, join_words, limits, numbers};
use crate::{Error, Result, planning};

/// Calls of the parser's functions in each other; a level of brackets takes up to four.
const RECURSION_MAX: usize = 5 * limits::NESTING_MAX;
/// Steps of the parser for each token; without trying again it needs about one.
const STEPS_PER_TOKEN: usize = 50;
/// Steps of the parser for any statement.
const STEPS_MIN: usize = 200_000;
/// Steps between two looks at whether anybody waits for the statement.
const STEPS_UNWATCHED: usize = 4096;

/// The statements in a text, which are separated by semicolons.
///
/// # Errors
/// `Syntax`, with line and column; `Exhausted` for what is too deep or too long.
pub fn parse(text: &str) -> Result<VecDeque<Statement>> {
    let tokens = tokens(text)?;
    let parsed = counting_steps(tokens.len(), || {
        let parser = DFParserBuilder::new(tokens).with_dialect(&AlmagestDialect);
        parser.with_recursion_limit(RECURSION_MAX).build()?.parse_statements()
    })?;
    let mut statements = parsed.map_err(explained)?;
    statements.iter_mut().for_each(balance::balance);
    Ok(statements)
}

/// The one statement in a text.
///
/// # Errors
/// As [`parse`], and `Syntax` if there is none or more than one.
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

/// The expression that a text is; `None` if it is none.
///
/// # Errors
/// `Exhausted` for what is too deep or too long.
pub fn parse_expression(text: &str) -> Result<Option<Expr>> {
    let Ok(tokens) = Tokenizer::new(&AlmagestDialect, text).tokenize_with_location() else {
        return Ok(None);
    };
    limits::check(&tokens)?;
    let parsed = counting_steps(tokens.len(), || {
        Parser::new(&AlmagestDialect)
            .with_recursion_limit(RECURSION_MAX)
            .with_tokens_with_locations(tokens)
            .parse_expr()
    })?;
    let Ok(mut expr) = parsed else { return Ok(None) };
    balance::balance_expression(&mut expr);
    Ok(Some(expr))
}

fn tokens(text: &str) -> Result<Vec<TokenWithSpan>> {
    let tokens = numbers::tokens(text)?;
    limits::check(&tokens)?;
    Ok(tokens)
}

/// The parser's own limit in a sentence.
fn explained(cause: DataFusionError) -> Error {
    match cause.find_root() {
        DataFusionError::SQL(parser, _)
            if matches!(parser.as_ref(), ParserError::RecursionLimitExceeded) =>
        {
            Error::exhausted(format!(
                "the statement nests expressions or queries more than {RECURSION_MAX} times; name \
                 inner ones in WITH queries or views"
            ))
        }
        _ => join_words::explained(cause),
    }
}

thread_local! {
    /// The steps that the parser of this thread may still take; `None` while there is none.
    static STEPS: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Why the parser was left.
enum Left {
    TooManySteps,
    Stopped(Error),
}

/// The parser takes a step. Asked by the dialect, which has no other way to end the parser than to
/// leave it as a panic would.
pub(super) fn step() {
    let Some(left) = STEPS.get() else { return };
    if left == 0 {
        resume_unwind(Box::new(Left::TooManySteps));
    }
    if left.is_multiple_of(STEPS_UNWATCHED)
        && let Err(error) = planning::check()
    {
        resume_unwind(Box::new(Left::Stopped(error)));
    }
    STEPS.set(Some(left - 1));
}

fn counting_steps<T>(tokens: usize, work: impl FnOnce() -> T) -> Result<T> {
    let around = STEPS.replace(Some(STEPS_MIN + tokens * STEPS_PER_TOKEN));
    let outcome = catch_unwind(AssertUnwindSafe(work));
    STEPS.set(around);
    outcome.or_else(|panic| match panic.downcast::<Left>() {
        Ok(left) => Err(match *left {
            Left::Stopped(error) => error,
            Left::TooManySteps => Error::syntax(
                "the statement cannot be parsed in reasonable time; it is nested deeply, and there \
                 is most likely a mistake in the innermost part: try that part alone",
            ),
        }),
        Err(panic) => resume_unwind(panic),
    })
}

#[cfg(test)]
mod tests {
    use super::{Result, Statement, VecDeque, limits};
    use crate::ErrorKind;

    /// Parses on a stack such as planning threads have.
    fn parse(text: &str) -> Result<VecDeque<Statement>> {
        let text = text.to_string();
        let thread = std::thread::Builder::new().stack_size(64 << 20);
        thread.spawn(move || super::parse(&text)).unwrap().join().unwrap()
    }

    fn nested(times: usize, open: &str, inner: &str, close: &str) -> String {
        format!("SELECT {}{inner}{}", open.repeat(times), close.repeat(times))
    }

    #[test]
    fn nesting_is_followed_up_to_its_limit() {
        let shapes = [("(", ")"), ("CAST(", " AS INT)"), ("abs(", ")"), ("[", "]"), ("NOT (", ")")];
        for (open, close) in shapes {
            let text = nested(limits::NESTING_MAX, open, "1", close);
            assert_eq!(parse(&text).unwrap().len(), 1, "{open}");
            let error = parse(&nested(limits::NESTING_MAX + 1, open, "1", close)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Exhausted, "{open} {error}");
        }
    }

    #[test]
    fn a_mistake_deep_within_ends_the_parser() {
        for (open, close) in
            [("CAST(", " AS INT)"), ("trim(", ")"), ("f(x => ", ")"), ("(x) -> (", ")")]
        {
            let error = parse(&nested(90, open, "1 +", close)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Syntax, "{open} {error}");
        }
        let tables = nested(30, "* FROM ((SELECT ", "* FROM ]", ") a JOIN b)");
        assert_eq!(parse(&tables).unwrap_err().kind(), ErrorKind::Syntax);
    }
}
