//! How tightly operators bind, and the few that the parser reads wrongly.
//!
//! In: the parser before an operator. Out: how tightly it binds, and the expression for operators
//! that are read here. The order is PostgreSQL's, and DuckDB's: the parser's own has `||` bind as
//! `*` does, `&` before `|`, LIKE after `=`, and BETWEEN and IN as `=` does. It also takes all that
//! follows IS DISTINCT FROM for its right side, and ISNULL for a name.

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::dialect::Precedence;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

/// All operators that PostgreSQL does not name one by one, which bind from left to right.
const OTHER: u8 = 25;
const IS: u8 = 17;

/// How tightly a kind of operator binds.
pub fn value(kind: Precedence) -> u8 {
    match kind {
        Precedence::Period => 100,
        Precedence::DoubleColon => 50,
        Precedence::AtTz => 41,
        Precedence::MulDivModOp => 40,
        Precedence::PlusMinus => 30,
        Precedence::Ampersand
        | Precedence::Caret
        | Precedence::Pipe
        | Precedence::PgOther
        | Precedence::Xor => OTHER,
        Precedence::Colon => 23,
        Precedence::Between | Precedence::Like => 22,
        Precedence::Eq => 20,
        Precedence::Is => IS,
        Precedence::UnaryNot => 15,
        Precedence::And => 10,
        Precedence::Or => 5,
    }
}

/// How tightly the next operator binds, where the parser would say otherwise.
pub fn of_next(parser: &Parser<'_>) -> Option<u8> {
    match &parser.peek_token_ref().token {
        Token::StringConcat
        | Token::Tilde
        | Token::TildeAsterisk
        | Token::ExclamationMarkTilde
        | Token::ExclamationMarkTildeAsterisk
        | Token::DoubleTilde
        | Token::DoubleTildeAsterisk
        | Token::ExclamationMarkDoubleTilde
        | Token::ExclamationMarkDoubleTildeAsterisk => Some(OTHER),
        token if is_isnull(token) => Some(IS),
        _ => None,
    }
}

/// The expression that the next operator makes of `left`, for operators that are read here.
pub fn infix(
    parser: &mut Parser<'_>,
    left: &Expr,
    precedence: u8,
) -> Option<Result<Expr, ParserError>> {
    if is_isnull(&parser.peek_token_ref().token) {
        parser.advance_token();
        return Some(Ok(Expr::IsNull(Box::new(left.clone()))));
    }
    let distinct = [Keyword::IS, Keyword::DISTINCT, Keyword::FROM];
    let not_distinct = [Keyword::IS, Keyword::NOT, Keyword::DISTINCT, Keyword::FROM];
    let make = if parser.parse_keywords(&distinct) {
        Expr::IsDistinctFrom
    } else if parser.parse_keywords(&not_distinct) {
        Expr::IsNotDistinctFrom
    } else {
        return None;
    };
    let right = parser.parse_subexpr(precedence);
    Some(right.map(|right| make(Box::new(left.clone()), Box::new(right))))
}

/// `a ISNULL`, for which the parser has no keyword.
fn is_isnull(token: &Token) -> bool {
    match token {
        Token::Word(word) => {
            word.quote_style.is_none() && word.value.eq_ignore_ascii_case("isnull")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::parser::Statement;
    use datafusion::sql::sqlparser::ast::{SelectItem, SetExpr, Statement as Sql};

    use super::super::parse_one;
    use super::*;

    /// The same expression in parentheses must be read the same.
    #[test]
    fn operators_bind_as_in_postgresql() {
        let cases = [
            ("'1' || 2 + 3", "'1' || (2 + 3)"),
            ("2 * 3 || 'x'", "(2 * 3) || 'x'"),
            ("5 | 3 & 2", "(5 | 3) & 2"),
            ("1 | 2 << 1", "(1 | 2) << 1"),
            ("1 << 1 + 1", "1 << (1 + 1)"),
            ("6 & 3 = 2", "(6 & 3) = 2"),
            ("a = b IN (true)", "a = (b IN (true))"),
            ("a = b NOT IN (true)", "a = (b NOT IN (true))"),
            ("p = a BETWEEN 1 AND 2", "p = (a BETWEEN 1 AND 2)"),
            ("a BETWEEN 1 AND 2 = p", "(a BETWEEN 1 AND 2) = p"),
            ("a BETWEEN 1 + 1 AND 2 | 4 AND p", "(a BETWEEN (1 + 1) AND (2 | 4)) AND p"),
            ("s LIKE 'a%' = p", "(s LIKE 'a%') = p"),
            ("p = s NOT LIKE 'a' || '%'", "p = (s NOT LIKE ('a' || '%'))"),
            ("p = s ~ 'a'", "p = (s ~ 'a')"),
            ("s || 'x' ~ 'a'", "(s || 'x') ~ 'a'"),
            ("a @> b = p", "(a @> b) = p"),
            ("a IS DISTINCT FROM b AND q", "(a IS DISTINCT FROM b) AND q"),
            ("a IS NOT DISTINCT FROM b OR q", "(a IS NOT DISTINCT FROM b) OR q"),
            ("p IS DISTINCT FROM q = r", "p IS DISTINCT FROM (q = r)"),
            ("a IS DISTINCT FROM b IS NULL", "(a IS DISTINCT FROM b) IS NULL"),
            ("NOT a IS DISTINCT FROM b", "NOT (a IS DISTINCT FROM b)"),
            ("a < b IS NULL", "(a < b) IS NULL"),
            ("a < b ISNULL", "(a < b) IS NULL"),
            ("a + 1 NOTNULL AND q", "((a + 1) IS NOT NULL) AND q"),
            ("NOT a = b", "NOT (a = b)"),
            ("NOT a IN (1)", "NOT (a IN (1))"),
            ("p IS NULL = true", "(p IS NULL) = true"),
            ("-a * b", "(-a) * b"),
            ("-a::TEXT", "-(a::TEXT)"),
            ("a OR b AND NOT c", "a OR (b AND (NOT c))"),
        ];
        let tree = |text: &str| shown(&expression(text));
        for (plain, clear) in cases {
            assert_eq!(tree(plain), tree(clear), "{plain}");
        }
    }

    fn expression(text: &str) -> Expr {
        let Ok(Statement::Statement(statement)) = parse_one(&format!("SELECT {text}")) else {
            panic!("cannot be parsed: {text}")
        };
        let Sql::Query(query) = *statement else { unreachable!() };
        let SetExpr::Select(select) = *query.body else { unreachable!() };
        let [SelectItem::UnnamedExpr(expr)] = select.projection.as_slice() else {
            panic!("no one expression: {text}")
        };
        expr.clone()
    }

    /// An expression with parentheses around every operator, and no others.
    fn shown(expr: &Expr) -> String {
        match expr {
            Expr::Nested(inner) => shown(inner),
            Expr::BinaryOp { left, op, right } => {
                format!("({} {op} {})", shown(left), shown(right))
            }
            Expr::UnaryOp { op, expr } => format!("({op} {})", shown(expr)),
            Expr::IsNull(expr) => format!("({} IS NULL)", shown(expr)),
            Expr::IsNotNull(expr) => format!("({} IS NOT NULL)", shown(expr)),
            Expr::IsDistinctFrom(left, right) => format!("({} <> {})", shown(left), shown(right)),
            Expr::IsNotDistinctFrom(left, right) => {
                format!("({} == {})", shown(left), shown(right))
            }
            Expr::InList { expr, negated, .. } => format!("({} IN {negated})", shown(expr)),
            Expr::Between { expr, low, high, .. } => {
                format!("({} BETWEEN {} AND {})", shown(expr), shown(low), shown(high))
            }
            Expr::Like { expr, pattern, .. } => {
                format!("({} LIKE {})", shown(expr), shown(pattern))
            }
            Expr::Cast { expr, data_type, .. } => format!("({}::{data_type})", shown(expr)),
            other => other.to_string(),
        }
    }
}
