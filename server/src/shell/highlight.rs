//! Colours in the line that is being typed.

use std::borrow::Cow;

use datafusion::sql::sqlparser::tokenizer::{Token, Whitespace};
use rustyline::highlight::{CmdKind, Highlighter};

use crate::names::COMMON_KEYWORDS;
use crate::statements::{Cursor, tokens_of};

/// A longer text is left plain, so that typing stays quick.
const COLOURED_BYTES_MAX: usize = 16 << 10;

const KEYWORD: &str = "1;34";
const TEXT: &str = "32";
const NUMBER: &str = "36";
const COMMENT: &str = "2";
const PROMPT: &str = "1;35";

/// Colours SQL, if colours are wanted.
pub struct Painter {
    /// Whether they are.
    pub colours: bool,
}

impl Painter {
    /// The text with colours; what it shows is unchanged.
    pub fn painted(&self, sql: &str) -> String {
        let (tokens, whole) = tokens_of(sql);
        let mut cursor = Cursor::new(sql);
        let mut painted = String::with_capacity(sql.len() * 2);
        let mut done = 0;
        for token in &tokens {
            let (start, end) = (cursor.go(token.span.start), cursor.go(token.span.end));
            push(&mut painted, colour_of(&token.token), &sql[start..end]);
            done = end;
        }
        let rest = &sql[done..];
        if !whole {
            push(&mut painted, Some(if rest.starts_with('/') { COMMENT } else { TEXT }), rest);
        } else {
            painted.push_str(rest);
        }
        painted
    }
}

fn colour_of(token: &Token) -> Option<&'static str> {
    match token {
        Token::Word(word) if word.quote_style.is_none() => {
            let upper = word.value.to_ascii_uppercase();
            COMMON_KEYWORDS.contains(&upper.as_str()).then_some(KEYWORD)
        }
        Token::Number(..) => Some(NUMBER),
        Token::SingleQuotedString(_)
        | Token::EscapedStringLiteral(_)
        | Token::NationalStringLiteral(_)
        | Token::HexStringLiteral(_)
        | Token::DollarQuotedString(_) => Some(TEXT),
        Token::Whitespace(
            Whitespace::SingleLineComment { .. } | Whitespace::MultiLineComment(_),
        ) => Some(COMMENT),
        _ => None,
    }
}

fn push(painted: &mut String, colour: Option<&str>, text: &str) {
    match colour {
        Some(colour) => painted.push_str(&format!("\x1b[{colour}m{text}\x1b[0m")),
        None => painted.push_str(text),
    }
}

impl Highlighter for super::Assistant {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        if !self.painter.colours || line.len() > COLOURED_BYTES_MAX {
            return Cow::Borrowed(line);
        }
        Cow::Owned(self.painter.painted(line))
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        if self.painter.colours {
            Cow::Owned(format!("\x1b[{PROMPT}m{prompt}\x1b[0m"))
        } else {
            Cow::Borrowed(prompt)
        }
    }

    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        self.painter.colours && kind != CmdKind::MoveCursor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(painted: &str) -> String {
        let mut text = String::new();
        let mut parts = painted.split('\x1b');
        text.push_str(parts.next().unwrap());
        parts.for_each(|part| text.push_str(part.split_once('m').unwrap().1));
        text
    }

    #[test]
    fn colours_change_nothing_but_colours() {
        let painter = Painter { colours: true };
        for sql in [
            "SELECT 'é', 1.5 -- done\nFROM \"T x\";",
            "SELECT 'no end",
            "/* no end",
            "select a from t where x = $$a$$",
            "",
            "\\d sky",
        ] {
            assert_eq!(plain(&painter.painted(sql)), sql);
        }
    }

    #[test]
    fn keywords_and_texts_have_colours() {
        let painted = Painter { colours: true }.painted("select 'a'");
        assert_eq!(painted, "\x1b[1;34mselect\x1b[0m \x1b[32m'a'\x1b[0m");
    }
}
