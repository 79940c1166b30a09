//! How deep and how long a statement is, counted in its tokens before anything recurses.
//!
//! Stage: between the tokenizer and the parser. In: tokens. Out: nothing, or the limit that a
//! statement passes. What is counted is never less than the depth of the tree that the parser will
//! make: where words may mean two things, the deeper one is taken. Not here: the width and depth of
//! plans, which views make large too ([`crate::planning`]).

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use crate::stacks::for_this_build;
use crate::{Error, Result};

/// Brackets and CASEs in each other.
pub const NESTING_MAX: usize = 100;
/// Operators whose operand is the result of the one before, such as the plus signs of a sum.
const OPERATORS_MAX: usize = for_this_build(1000);
/// What rules write out with an operand twice or more, on each other's results: `a BETWEEN b AND c` reads
/// a twice, so thirty in a row would read the first a billion times.
const COPIES_MAX: usize = 12;
/// Functions that are written out so.
const COPYING: [&str; 10] = [
    "coalesce",
    "nvl",
    "nvl2",
    "ifnull",
    "nullif",
    "regexp_like",
    "date_part",
    "datepart",
    "extract",
    "floor",
];
/// ANDs and ORs in a row: they are put into a balanced tree.
const LOGICAL_MAX: usize = 250_000;
/// UNIONs in a row.
const UNIONS_MAX: usize = 1000;
/// INTERSECTs and EXCEPTs in a row: each is a join.
const INTERSECTIONS_MAX: usize = for_this_build(120);
/// Tables joined in one FROM.
const JOINS_MAX: usize = 400;
/// Columns of one SELECT, and keys that it groups and sorts by. Rules compare each with each.
const COLUMNS_MAX: usize = 10_000;
const GROUP_KEYS_MAX: usize = 1000;
const SORT_KEYS_MAX: usize = 300;
/// Window functions.
const WINDOWS_MAX: usize = 500;
/// WITHs in each other: DataFusion looks for tables in each twice as often as in the one around it.
const WITHS_MAX: usize = 10;
/// SELECTs of one statement.
const QUERIES_MAX: usize = 2000;
/// EXPLAINs before a statement.
const EXPLAINS_MAX: usize = 4;
/// Parts of a name.
const NAME_PARTS_MAX: usize = 50;

/// Refuses statements that are too deep or too long.
///
/// # Errors
/// `Exhausted`, with the place where a limit is passed.
pub fn check(tokens: &[TokenWithSpan]) -> Result<()> {
    let mut count = Count::default();
    let mut tokens = tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_)));
    let mut next = tokens.next();
    while let Some(token) = next {
        next = tokens.next();
        count.take(&token.token, next.map(|token| &token.token), token.span.start)?;
    }
    Ok(())
}

/// What the token before the current one leaves the parser in.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Before {
    /// An operand begins, such as after an operator.
    #[default]
    Operator,
    /// An operand has ended.
    Operand,
}

/// One level of brackets.
#[derive(Debug, Default)]
struct Level {
    is_case: bool,
    /// Operators since the last comma, AND or the like.
    operators: usize,
    /// The deepest brackets among them.
    inner: usize,
    /// The deepest of what ended.
    deepest: usize,
    /// The same of operators whose operands are copied.
    copies: usize,
    inner_copies: usize,
    most_copies: usize,
    /// 1 if the brackets are those of a function that copies.
    is_copied: usize,
    /// Arrows of lambdas since the last comma: their bodies hold ANDs and ORs.
    arrows: usize,
    logical: usize,
    betweens: usize,
    unions: usize,
    intersections: usize,
    joins: usize,
    /// What commas are between.
    clause: Clause,
    columns: usize,
    group_keys: usize,
    sort_keys: usize,
    is_with: bool,
}

/// The part of a query.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Clause {
    #[default]
    Other,
    Select,
    From,
    GroupBy,
    OrderBy,
}

impl Level {
    fn end_part(&mut self) {
        self.deepest = self.depth();
        self.most_copies = self.copied();
        (self.operators, self.inner, self.betweens) = (0, 0, 0);
        (self.copies, self.inner_copies) = (0, 0);
    }

    fn copied(&self) -> usize {
        self.most_copies.max(self.copies + self.inner_copies)
    }

    fn depth(&self) -> usize {
        self.deepest.max(self.operators + self.arrows + self.inner)
    }
}

#[derive(Debug)]
struct Count {
    levels: Vec<Level>,
    before: Before,
    name_parts: usize,
    explains: usize,
    queries: usize,
    windows: usize,
    /// Whether a function that copies is called by the next bracket.
    calls_copying: bool,
    /// Whether the last words were IS or IS NOT, or one of them and DISTINCT.
    is_of_operator: bool,
    distinct_of_is: bool,
}

impl Default for Count {
    fn default() -> Self {
        Self {
            levels: vec![Level::default()],
            before: Before::Operator,
            name_parts: 0,
            explains: 0,
            queries: 0,
            windows: 0,
            calls_copying: false,
            is_of_operator: false,
            distinct_of_is: false,
        }
    }
}

impl Count {
    fn take(&mut self, token: &Token, next: Option<&Token>, at: Location) -> Result<()> {
        let before = self.before;
        if !matches!(token, Token::Period | Token::Word(_)) {
            self.name_parts = 0;
        }
        if !matches!(token, Token::Word(_)) {
            (self.is_of_operator, self.distinct_of_is) = (false, false);
        }
        self.before = Before::Operator;
        match token {
            Token::SemiColon if self.levels.len() == 1 => *self = Self::default(),
            Token::LParen | Token::LBrace => self.open(false, at)?,
            Token::LBracket => {
                if before == Before::Operand {
                    self.operator(at)?;
                }
                self.open(false, at)?;
            }
            Token::RParen | Token::RBracket | Token::RBrace => self.close(false),
            Token::Comma => self.comma(at)?,
            Token::Period => {
                self.name_parts += 1;
                within("parts in a name", self.name_parts, NAME_PARTS_MAX, at)?;
            }
            Token::Word(word) if word.quote_style.is_some() => self.before = Before::Operand,
            Token::Word(word) => {
                let name = word.value.as_str();
                if matches!(next, Some(Token::LParen))
                    && COPYING.iter().any(|copying| copying.eq_ignore_ascii_case(name))
                {
                    self.calls_copying = true;
                }
                self.word(word.keyword, before, next, at)?;
            }
            Token::Tilde
            | Token::TildeAsterisk
            | Token::ExclamationMarkTilde
            | Token::ExclamationMarkTildeAsterisk
                if before == Before::Operand =>
            {
                self.operator(at)?;
                self.copy(2, at)?;
            }
            Token::Arrow => self.arrow(at)?,
            token if is_operand(token) => self.before = Before::Operand,
            _ => self.operator(at)?,
        }
        Ok(())
    }

    fn level(&mut self) -> &mut Level {
        if self.levels.is_empty() {
            self.levels.push(Level::default());
        }
        let last = self.levels.len() - 1;
        &mut self.levels[last]
    }

    fn open(&mut self, is_case: bool, at: Location) -> Result<()> {
        let is_copied = usize::from(std::mem::take(&mut self.calls_copying));
        self.levels.push(Level { is_case, is_copied, ..Level::default() });
        if is_copied > 0 {
            self.copy(0, at)?;
        }
        within("levels of brackets and CASEs", self.levels.len() - 1, NESTING_MAX, at)
    }

    fn close(&mut self, case: bool) {
        // a bracket also ends a CASE that has no END
        while self.levels.len() > 1 {
            let Some(level) = self.levels.pop() else { break };
            let (depth, copies) = (level.depth() + 1, level.copied() + level.is_copied);
            let around = self.level();
            around.inner = around.inner.max(depth);
            around.inner_copies = around.inner_copies.max(copies);
            if level.is_case == case || case {
                break;
            }
        }
        self.before = Before::Operand;
    }

    fn comma(&mut self, at: Location) -> Result<()> {
        let level = self.level();
        level.end_part();
        level.arrows = 0;
        let (what, seen, most) = match level.clause {
            Clause::Other => return Ok(()),
            Clause::From => return self.join(at),
            Clause::Select => ("columns in one SELECT", &mut level.columns, COLUMNS_MAX),
            Clause::GroupBy => ("keys in one GROUP BY", &mut level.group_keys, GROUP_KEYS_MAX),
            Clause::OrderBy => ("keys in one ORDER BY", &mut level.sort_keys, SORT_KEYS_MAX),
        };
        *seen += 1;
        within(what, *seen + 1, most, at)
    }

    /// Begins a part of a query; behind an operand, which is then the last of its part.
    fn clause(&mut self, clause: Clause, ended: bool) {
        let level = self.level();
        if ended {
            level.end_part();
        }
        level.clause = clause;
    }

    fn join(&mut self, at: Location) -> Result<()> {
        let level = self.level();
        level.joins += 1;
        within("joins in one FROM", level.joins, JOINS_MAX, at)
    }

    fn operator(&mut self, at: Location) -> Result<()> {
        self.level().operators += 1;
        self.check_operators(at)
    }

    /// An operator or call whose operands are copied.
    fn copy(&mut self, times: usize, at: Location) -> Result<()> {
        self.level().copies += times;
        let around = self.levels.iter().map(|level| level.copies + level.is_copied).sum::<usize>();
        let copies = around + self.level().inner_copies;
        within("BETWEENs, COALESCEs or the like on each other's results", copies, COPIES_MAX, at)
    }

    fn arrow(&mut self, at: Location) -> Result<()> {
        self.level().arrows += 1;
        self.check_operators(at)
    }

    /// The depth so far: what encloses this place, and what lies under it.
    fn check_operators(&mut self, at: Location) -> Result<()> {
        let around = self.levels.iter().map(|level| level.operators + level.arrows).sum::<usize>();
        let depth = around + self.level().inner;
        within("operators on each other's results", depth, OPERATORS_MAX, at)
    }

    fn word(
        &mut self,
        keyword: Keyword,
        before: Before,
        next: Option<&Token>,
        at: Location,
    ) -> Result<()> {
        let ended = before == Before::Operand;
        let behind_is = self.behind_is(keyword);
        match keyword {
            Keyword::CASE => self.open(true, at),
            Keyword::END if ended => {
                if self.level().is_case {
                    self.close(true);
                }
                self.before = Before::Operand;
                Ok(())
            }
            Keyword::AND | Keyword::OR if ended => self.logical(keyword, at),
            // IS DISTINCT FROM
            Keyword::FROM if behind_is => self.operator(at),
            Keyword::LAMBDA => self.arrow(at),
            Keyword::BETWEEN => {
                self.level().betweens += 1;
                self.operator(at)?;
                self.copy(1, at)
            }
            Keyword::SIMILAR | Keyword::RLIKE | Keyword::REGEXP if ended => {
                self.operator(at)?;
                self.copy(2, at)
            }
            Keyword::OVER if ended => {
                self.windows += 1;
                within("window functions", self.windows, WINDOWS_MAX, at)
            }
            Keyword::EXPLAIN => {
                self.explains += 1;
                within("EXPLAINs before it", self.explains, EXPLAINS_MAX, at)
            }
            Keyword::WHEN | Keyword::THEN | Keyword::ELSE if ended => {
                if self.level().is_case {
                    self.level().end_part();
                }
                Ok(())
            }
            keyword => self.clause_word(keyword, ended, next, at),
        }
    }

    /// Whether a word continues IS DISTINCT or IS NOT DISTINCT. Remembers it.
    fn behind_is(&mut self, keyword: Keyword) -> bool {
        let behind = self.distinct_of_is;
        self.distinct_of_is = keyword == Keyword::DISTINCT && self.is_of_operator;
        self.is_of_operator =
            keyword == Keyword::IS || (keyword == Keyword::NOT && self.is_of_operator);
        behind
    }

    /// A word that may begin a part of a query.
    fn clause_word(
        &mut self,
        keyword: Keyword,
        ended: bool,
        next: Option<&Token>,
        at: Location,
    ) -> Result<()> {
        let next_is = |wanted: &[Keyword]| match next {
            Some(Token::Word(word)) => wanted.contains(&word.keyword),
            Some(Token::LParen) => wanted.contains(&Keyword::NoKeyword),
            _ => false,
        };
        match keyword {
            Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT | Keyword::MINUS
                if ended && next_is(SET_FOLLOWERS) =>
            {
                return self.set_operator(keyword, at);
            }
            Keyword::JOIN | Keyword::APPLY => {
                if ended {
                    self.level().end_part();
                }
                return self.join(at);
            }
            Keyword::SELECT => {
                self.clause(Clause::Select, ended);
                self.queries += 1;
                return within("queries in it", self.queries, QUERIES_MAX, at);
            }
            Keyword::WITH if !ended => {
                self.level().is_with = true;
                let withs = self.levels.iter().filter(|level| level.is_with).count();
                return within("WITHs in each other", withs, WITHS_MAX, at);
            }
            Keyword::ON if ended => self.level().end_part(),
            Keyword::FROM => self.clause(Clause::From, ended),
            Keyword::WHERE | Keyword::HAVING | Keyword::LIMIT if ended => {
                self.clause(Clause::Other, ended);
            }
            Keyword::GROUP if ended && next_is(&[Keyword::BY]) => {
                self.clause(Clause::GroupBy, ended);
            }
            Keyword::ORDER if next_is(&[Keyword::BY]) => self.clause(Clause::OrderBy, ended),
            keyword if OPERATORS.contains(&keyword) => return self.operator(at),
            _ => self.before = Before::Operand,
        }
        Ok(())
    }

    fn logical(&mut self, keyword: Keyword, at: Location) -> Result<()> {
        let level = self.level();
        if keyword == Keyword::AND && level.betweens > 0 {
            level.betweens -= 1;
            return self.operator(at);
        }
        level.end_part();
        level.logical += 1;
        within("ANDs and ORs in a row", level.logical, LOGICAL_MAX, at)
    }

    fn set_operator(&mut self, keyword: Keyword, at: Location) -> Result<()> {
        let level = self.level();
        level.end_part();
        level.arrows = 0;
        (level.columns, level.joins, level.group_keys) = (0, 0, 0);
        level.clause = Clause::Other;
        if keyword == Keyword::UNION {
            level.unions += 1;
            return within("UNIONs in a row", level.unions, UNIONS_MAX, at);
        }
        level.intersections += 1;
        within("INTERSECTs and EXCEPTs in a row", level.intersections, INTERSECTIONS_MAX, at)
    }
}

/// What may follow a set operator; `NoKeyword` stands for a bracket.
const SET_FOLLOWERS: &[Keyword] = &[
    Keyword::ALL,
    Keyword::DISTINCT,
    Keyword::BY,
    Keyword::SELECT,
    Keyword::VALUES,
    Keyword::FROM,
    Keyword::TABLE,
    Keyword::NoKeyword,
];

/// Words that stand before, between or behind operands.
const OPERATORS: &[Keyword] = &[
    Keyword::NOT,
    Keyword::AND,
    Keyword::OR,
    Keyword::XOR,
    Keyword::IS,
    Keyword::NOTNULL,
    Keyword::DISTINCT,
    Keyword::IN,
    Keyword::LIKE,
    Keyword::ILIKE,
    Keyword::SIMILAR,
    Keyword::RLIKE,
    Keyword::REGEXP,
    Keyword::ESCAPE,
    Keyword::DIV,
    Keyword::COLLATE,
    Keyword::AT,
    Keyword::AS,
    Keyword::INTERVAL,
    Keyword::EXISTS,
    Keyword::OPERATOR,
    Keyword::OVERLAPS,
    Keyword::PRIOR,
    Keyword::CONNECT_BY_ROOT,
    Keyword::UNION,
    Keyword::INTERSECT,
    Keyword::EXCEPT,
    Keyword::MINUS,
    Keyword::MEMBER,
    Keyword::ARRAY,
    Keyword::STRUCT,
];

fn is_operand(token: &Token) -> bool {
    matches!(
        token,
        Token::Number(..)
            | Token::Char(_)
            | Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::TripleSingleQuotedString(_)
            | Token::TripleDoubleQuotedString(_)
            | Token::DollarQuotedString(_)
            | Token::SingleQuotedByteStringLiteral(_)
            | Token::DoubleQuotedByteStringLiteral(_)
            | Token::TripleSingleQuotedByteStringLiteral(_)
            | Token::TripleDoubleQuotedByteStringLiteral(_)
            | Token::SingleQuotedRawStringLiteral(_)
            | Token::DoubleQuotedRawStringLiteral(_)
            | Token::TripleSingleQuotedRawStringLiteral(_)
            | Token::TripleDoubleQuotedRawStringLiteral(_)
            | Token::NationalStringLiteral(_)
            | Token::QuoteDelimitedStringLiteral(_)
            | Token::NationalQuoteDelimitedStringLiteral(_)
            | Token::EscapedStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::HexStringLiteral(_)
            | Token::Placeholder(_)
            | Token::EOF
    )
}

fn within(what: &str, seen: usize, most: usize, at: Location) -> Result<()> {
    if seen <= most {
        return Ok(());
    }
    let Location { line, column } = at;
    Err(Error::exhausted(format!(
        "the statement has more than {most} {what} (at line {line}, column {column}); put long lists \
         into a table and join it, and make tables of parts (CREATE TABLE … AS)"
    )))
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    use super::*;
    use crate::sql::AlmagestDialect;

    fn checked(text: &str) -> Result<()> {
        let tokens = Tokenizer::new(&AlmagestDialect, text).tokenize_with_location().unwrap();
        check(&tokens)
    }

    #[track_caller]
    fn refused(text: &str, reason: &str) {
        let error = checked(text).unwrap_err();
        assert!(error.message().contains(reason), "{error}");
    }

    #[test]
    fn operators_count_up_to_the_end_of_their_expression() {
        let sum = vec!["a"; OPERATORS_MAX].join(" + ");
        checked(&format!(
            "SELECT {sum}, {sum} FROM t WHERE {sum} = 1 AND {sum} = 2 ORDER BY {sum}"
        ))
        .unwrap();
        refused(&format!("SELECT {sum} + a + a"), "operators on each other's results");
        refused(&format!("SELECT f({sum}) + a + a"), "operators on each other's results");
        refused(&format!("SELECT a + a + f({sum})"), "operators on each other's results");
    }

    #[test]
    fn words_that_may_be_columns_end_no_expression() {
        for word in ["or", "and", "union", "from", "where", "select", "end", "on", "when", "join"] {
            let sum = vec![word; OPERATORS_MAX + 2].join(" + ");
            checked(&format!("SELECT {sum}")).unwrap_err();
        }
        let between = vec!["a BETWEEN 1 AND"; OPERATORS_MAX].join(" ");
        refused(&format!("SELECT {between} 1"), "on each other's results");
        let lambdas = vec!["x -> x OR"; OPERATORS_MAX + 2].join(" ");
        refused(&format!("SELECT f({lambdas} x)"), "operators on each other's results");
    }

    #[test]
    fn what_stands_in_a_row_is_counted_by_its_kind() {
        let sets = |op: &str, times: usize| vec!["SELECT a FROM t"; times + 1].join(op);
        checked(&sets(" UNION ALL ", UNIONS_MAX)).unwrap();
        refused(&sets(" UNION ALL ", UNIONS_MAX + 1), "UNIONs in a row");
        refused(&sets(" EXCEPT ", INTERSECTIONS_MAX + 1), "INTERSECTs and EXCEPTs");
        refused(&format!("SELECT * FROM t {}", "JOIN t USING (a) ".repeat(JOINS_MAX + 1)), "joins");
        refused(&format!("SELECT * FROM {}", vec!["t AS where"; JOINS_MAX + 2].join(",")), "joins");
        refused(&format!("SELECT {}", "a, ".repeat(COLUMNS_MAX)), "columns in one SELECT");
        refused(&format!("SELECT a FROM t ORDER BY {}", "a, ".repeat(SORT_KEYS_MAX)), "ORDER BY");
        refused(&format!("SELECT a FROM t GROUP BY {}", "a, ".repeat(GROUP_KEYS_MAX)), "GROUP BY");
        checked(&format!("SELECT a IS NOT DISTINCT FROM b, {}", "a, ".repeat(JOINS_MAX * 2)))
            .unwrap();
        checked(&"EXPLAIN SELECT 1;".repeat(EXPLAINS_MAX + 1)).unwrap();
        refused(&format!("{}SELECT 1", "EXPLAIN ".repeat(EXPLAINS_MAX + 1)), "EXPLAINs");
        refused(&"WITH q AS (".repeat(WITHS_MAX + 1), "WITHs in each other");
    }

    #[test]
    fn what_copies_its_operands_is_counted_apart() {
        let nested =
            |times: usize| format!("SELECT {}a{}", "coalesce(".repeat(times), ", 1)".repeat(times));
        checked(&nested(COPIES_MAX)).unwrap();
        refused(&nested(COPIES_MAX + 1), "BETWEENs, COALESCEs");
        let betweens = "BETWEEN b AND b ".repeat(COPIES_MAX);
        checked(&format!("SELECT a {betweens}, b {betweens} FROM t")).unwrap();
        refused(&format!("SELECT (a {betweens}) BETWEEN a AND b"), "BETWEENs, COALESCEs");
        let beside = vec!["coalesce(a BETWEEN 1 AND 2, b)"; 100];
        checked(&format!("SELECT {}", beside.join(", "))).unwrap();
        checked(&format!("SELECT {}", beside.join(" AND "))).unwrap();
        checked(&format!("SELECT {}", vec!["coalesce(a, 0)"; 100].join(" + "))).unwrap();
    }

    #[test]
    fn long_lists_pass() {
        let list = vec!["1"; 100_000].join(",");
        checked(&format!("SELECT a FROM t WHERE a IN ({list})")).unwrap();
        checked(&format!("INSERT INTO t VALUES {}", vec!["(1, -2)"; 100_000].join(","))).unwrap();
        checked(&format!("SELECT a FROM t WHERE {}", vec!["a = -1"; 100_000].join(" OR ")))
            .unwrap();
    }
}
