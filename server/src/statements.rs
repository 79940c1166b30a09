//! Cuts SQL text into statements, as the text arrives.
//!
//! In: pieces of text, from a file, a pipe or the shell's editor. Out: [`Statement`]s, each with
//! its place in the whole. The parser's own tokenizer finds the semicolons, so those in strings,
//! quoted names and comments do not count. Not here: parsing or running a statement.

use std::collections::VecDeque;

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

/// One statement, without its semicolon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The text, from its first word to its last.
    pub text: String,
    /// The line of the first character in the source, from 1.
    pub line: u64,
    /// The column of the first character in the source, from 1.
    pub column: u64,
}

impl Statement {
    /// A statement that is a source of its own.
    pub fn alone(text: impl Into<String>) -> Self {
        Self { text: text.into(), line: 1, column: 1 }
    }
}

/// Cuts text that may arrive in pieces.
#[derive(Debug, Default)]
pub struct Splitter {
    pending: String,
    lines_before: u64,
    columns_before: u64,
    ready: VecDeque<Statement>,
}

impl Splitter {
    /// Adds text.
    pub fn push(&mut self, text: &str) {
        self.pending.push_str(text);
        if text.contains(';') {
            self.cut();
        }
    }

    /// The next statement that is complete.
    pub fn next_complete(&mut self) -> Option<Statement> {
        self.ready.pop_front()
    }

    /// What is left after the last semicolon, if it is more than blanks and comments.
    pub fn rest(&mut self) -> Option<Statement> {
        let text = std::mem::take(&mut self.pending);
        let (tokens, whole) = tokens_of(&text);
        let first = tokens.iter().find(|token| !is_blank(&token.token));
        let start = match first {
            Some(token) => token.span.start,
            None if whole => return None,
            // Nothing but the beginning of a string, a quoted name or a comment without an end.
            None => tokens.last().map_or(Location { line: 1, column: 1 }, |last| last.span.end),
        };
        let statement = self.statement(&text, &mut Cursor::new(&text), start, text.len());
        (!statement.text.is_empty()).then_some(statement)
    }

    /// Bytes that wait for their semicolon.
    pub fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    fn cut(&mut self) {
        let text = std::mem::take(&mut self.pending);
        let (tokens, _) = tokens_of(&text);
        let mut cursor = Cursor::new(&text);
        let (mut first, mut consumed, mut end) = (None, 0, Location { line: 1, column: 1 });
        for TokenWithSpan { token, span } in &tokens {
            if *token == Token::SemiColon {
                if let Some(start) = first.take() {
                    let stop = Cursor::new_at(&cursor, span.start).at;
                    let statement = self.statement(&text, &mut cursor, start, stop);
                    self.ready.push_back(statement);
                }
                consumed = cursor.go(span.end);
                end = span.end;
            } else if !is_blank(token) {
                first.get_or_insert(span.start);
            }
        }
        self.pending = text[consumed..].to_string();
        self.lines_before += end.line - 1;
        self.columns_before = match end.line {
            1 => self.columns_before + end.column - 1,
            _ => end.column - 1,
        };
    }

    fn statement(
        &self,
        text: &str,
        cursor: &mut Cursor<'_>,
        start: Location,
        stop: usize,
    ) -> Statement {
        let first = cursor.go(start);
        let columns_before = if start.line == 1 { self.columns_before } else { 0 };
        Statement {
            text: text[first..stop].trim_end().to_string(),
            line: self.lines_before + start.line,
            column: columns_before + start.column,
        }
    }
}

/// Whether text is blank, or ends with a semicolon that ends a statement.
pub fn is_complete(text: &str) -> bool {
    let (tokens, whole) = tokens_of(text);
    whole
        && tokens
            .iter()
            .rev()
            .find(|token| !is_blank(&token.token))
            .is_none_or(|token| token.token == Token::SemiColon)
}

/// The tokens of SQL text with their places, and whether they are all of it: after the beginning of
/// a string, a quoted name or a comment without an end, they are not.
pub fn tokens_of(text: &str) -> (Vec<TokenWithSpan>, bool) {
    let mut tokens = vec![];
    let whole =
        Tokenizer::new(&GenericDialect {}, text).tokenize_with_location_into_buf(&mut tokens);
    (tokens, whole.is_ok())
}

fn is_blank(token: &Token) -> bool {
    matches!(token, Token::Whitespace(_) | Token::EOF)
}

/// Turns lines and columns into byte offsets, forward only.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    text: &'a str,
    at: usize,
    place: Location,
}

impl<'a> Cursor<'a> {
    /// At the start of the text.
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0, place: Location { line: 1, column: 1 } }
    }

    fn new_at(other: &Self, place: Location) -> Self {
        let mut cursor = other.clone();
        cursor.go(place);
        cursor
    }

    /// The byte offset of a place not before the last one asked for; the text's end at most.
    pub fn go(&mut self, place: Location) -> usize {
        for c in self.text[self.at..].chars() {
            if (self.place.line, self.place.column) >= (place.line, place.column) {
                break;
            }
            self.at += c.len_utf8();
            if c == '\n' {
                self.place = Location { line: self.place.line + 1, column: 1 };
            } else {
                self.place.column += 1;
            }
        }
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(pieces: &[&str]) -> Vec<String> {
        let mut splitter = Splitter::default();
        let mut found = vec![];
        for piece in pieces {
            splitter.push(piece);
            found.extend(std::iter::from_fn(|| splitter.next_complete()).map(|s| s.text));
        }
        found.extend(splitter.rest().map(|s| s.text));
        found
    }

    #[test]
    fn semicolons_end_statements() {
        assert_eq!(split(&["SELECT 1; SELECT 2"]), ["SELECT 1", "SELECT 2"]);
        assert_eq!(split(&["SELECT 1;;\n ; SELECT 2;\n"]), ["SELECT 1", "SELECT 2"]);
        assert_eq!(split(&["", "  \n-- nothing\n/* ; */"]), [""; 0]);
    }

    #[test]
    fn semicolons_in_strings_names_and_comments_do_not_count() {
        assert_eq!(split(&["SELECT 'a;b''c;', \"x;y\", E'\\';' ; X"]).len(), 2);
        assert_eq!(split(&["SELECT 1 -- one; two\n + 2; SELECT 3"]).len(), 2);
        assert_eq!(split(&["SELECT /* a; /* nested; */ b; */ 1; SELECT 3"]).len(), 2);
        assert_eq!(split(&["SELECT $$a;b$$, $t$c;$$;d$t$; SELECT 3"]).len(), 2);
    }

    #[test]
    fn a_string_may_arrive_in_pieces() {
        assert_eq!(split(&["SELECT 'a;", "b", "c;'", ";SELECT 2"]), ["SELECT 'a;bc;'", "SELECT 2"]);
    }

    #[test]
    fn an_unfinished_string_is_a_last_statement() {
        assert_eq!(split(&["SELECT 1; SELECT 'oh; no"]), ["SELECT 1", "SELECT 'oh; no"]);
        assert_eq!(split(&["'oh"]), ["'oh"]);
        assert_eq!(split(&["/* oh"]), ["/* oh"]);
    }

    #[test]
    fn a_statement_knows_its_place() {
        let mut splitter = Splitter::default();
        splitter.push("-- é\nSELECT 'é'; SELECT\n2;");
        splitter.push(" SELECT 3;\n  SELECT 4");
        let places: Vec<(u64, u64)> =
            std::iter::from_fn(|| splitter.next_complete()).map(|s| (s.line, s.column)).collect();
        assert_eq!(places, [(2, 1), (2, 13), (3, 4)]);
        assert_eq!(splitter.rest().map(|s| (s.line, s.column)), Some((4, 3)));
    }

    #[test]
    fn completeness_for_the_editor() {
        for complete in ["", "  ", "SELECT 1;", "SELECT 1; -- done", "SELECT ';';\n"] {
            assert!(is_complete(complete), "{complete}");
        }
        for incomplete in ["SELECT 1", "SELECT ';", "SELECT 1 -- ;", "SELECT 1; /*", "a; b"] {
            assert!(!is_complete(incomplete), "{incomplete}");
        }
    }
}
