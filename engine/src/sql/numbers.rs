//! Numbers that run into a word: `1abc` would be 1 under the name `abc`.
//!
//! In: a text. Out: its tokens, of which no number touches a word. `1_000` is one number already, by the
//! dialect; `1e5_0`, `0b11`, `1__0` and the like are not, and were a number with an alias.

use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::AlmagestDialect;
use crate::{Error, Result};

/// The tokens of a text.
///
/// # Errors
/// `Syntax` for what cannot be cut into tokens, and for numbers that are read otherwise elsewhere.
pub fn tokens(text: &str) -> Result<Vec<TokenWithSpan>> {
    let tokens = Tokenizer::new(&AlmagestDialect, text).tokenize_with_location();
    let tokens = tokens.map_err(|cause| DataFusionError::from(ParserError::from(cause)))?;
    for (at, token) in tokens.iter().enumerate() {
        let next = tokens.get(at + 1).map(|next| &next.token);
        let place = || {
            let start = token.span.start;
            format!("at Line: {}, Column: {}", start.line, start.column)
        };
        match (&token.token, next) {
            (Token::Number(number, _), Some(Token::Word(word))) if word.quote_style.is_none() => {
                return Err(Error::syntax(format!(
                    "'{number}{word}' is no number, and would be {number} under the name {word}; \
                     put a space between them, or write the number in decimal digits {}",
                    place()
                )));
            }
            (Token::HexStringLiteral(digits), _) if !is_text(token, digits) => {
                return Err(Error::syntax(format!(
                    "0x{digits} is a number in PostgreSQL and bytes in DataFusion; write the \
                     number in decimal digits, or X'{digits}' for bytes {}",
                    place()
                )));
            }
            _ => {}
        }
    }
    Ok(tokens)
}

/// Whether hexadecimal digits stood in quotes: `X'10'`, not `0x10`.
fn is_text(token: &TokenWithSpan, digits: &str) -> bool {
    let width = token.span.end.column.saturating_sub(token.span.start.column);
    token.span.start.line != token.span.end.line || width != digits.len() as u64 + 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_touch_words_are_refused() {
        let refused = [
            "SELECT 1abc",
            "SELECT 1e",
            "SELECT 1.5x",
            "SELECT 0b11",
            "SELECT 0o17",
            "SELECT 1__0",
            "SELECT 1e5_0",
            "SELECT 1_a",
            "SELECT 0x10",
            "SELECT 1_",
            "SELECT 2Lx",
            "SELECT 0x1g",
            "SELECT 1FROM t",
            "SELECT a.1b",
        ];
        for text in refused {
            assert!(tokens(text).is_err(), "{text}");
        }
        let taken = [
            "SELECT 1_000",
            "SELECT 1 abc",
            "SELECT 1.5 AS x",
            "SELECT 1/**/x",
            "SELECT .5",
            "SELECT 1.",
            "SELECT 1e5",
            "SELECT 1.e3",
            "SELECT X'10'",
            "SELECT x'0A'",
            "SELECT '1abc'",
            "SELECT \"1a\"",
            "SELECT a1",
            "SELECT 1::INT",
            "SELECT a[1:2]",
            "SELECT 2L",
            "SELECT 1\"x\"",
            "SELECT $1",
        ];
        for text in taken {
            assert!(tokens(text).is_ok(), "{text}");
        }
    }
}
