//! A place in a statement, and how it is drawn: the line of SQL with carets under it.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::Paint;
use crate::statements::Statement;

/// Columns of a line of SQL that are shown at most.
const SHOWN_MAX: usize = 110;

/// Characters of one line of a statement: lines and columns from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line in the statement.
    pub line: u64,
    /// The first column.
    pub start: u64,
    /// One past the last column.
    pub end: u64,
}

impl Place {
    /// The place of the word, quoted name or text that begins at a line and column; the place after
    /// the end if there is none.
    pub fn of_word_at(text: &str, line: u64, column: u64) -> Self {
        let rest: Vec<char> = line_of(text, line).chars().skip(column as usize - 1).collect();
        let length = match rest.first() {
            Some(quote @ ('"' | '\'')) => {
                rest[1..].iter().position(|c| c == quote).map_or(rest.len(), |at| at + 2)
            }
            Some(c) if c.is_alphanumeric() || *c == '_' => {
                rest.iter().take_while(|c| c.is_alphanumeric() || **c == '_').count()
            }
            _ => 1,
        };
        Self { line, start: column, end: column + length.max(1) as u64 }
    }

    /// The place just after the last character of a statement.
    pub fn at_end_of(text: &str) -> Self {
        let line = text.lines().count().max(1) as u64;
        let column = line_of(text, line).chars().count() as u64 + 1;
        Self { line, start: column, end: column + 1 }
    }

    /// The first place where a text stands by itself, but for ASCII case.
    pub fn of_text(text: &str, wanted: &str) -> Option<Self> {
        let wanted = wanted.to_ascii_lowercase();
        let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        for (index, line) in text.lines().enumerate() {
            let line = line.to_ascii_lowercase();
            for (at, found) in line.match_indices(&wanted) {
                let (before, after) = (&line[..at], &line[at + found.len()..]);
                if !is_word(before.chars().next_back()) && !is_word(after.chars().next()) {
                    let start = before.chars().count() as u64 + 1;
                    let end = start + wanted.chars().count() as u64;
                    return Some(Self { line: index as u64 + 1, start, end });
                }
            }
        }
        None
    }

    /// The lines of a report that show the place.
    pub fn drawn(&self, statement: &Statement, source: &str, paint: &Paint) -> String {
        let line = statement.line + self.line - 1;
        let before = if self.line == 1 { statement.column - 1 } else { 0 };
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        let text: Vec<char> = line_of(&statement.text, self.line).chars().collect();
        let start = (self.start as usize - 1).min(text.len());
        let end = (self.end as usize - 1).clamp(start, text.len());
        // A long line is shown from a little before the place.
        let from = if text.len() > SHOWN_MAX { start.saturating_sub(40) } else { 0 };
        let shown: String = text[from..].iter().take(SHOWN_MAX).map(|c| blank(*c)).collect();
        let lead: usize = text[from..start].iter().map(|c| blank(*c).width().unwrap_or(0)).sum();
        let marked: String = text[start..end].iter().map(|c| blank(*c)).collect();
        let carets = "^".repeat(marked.width().clamp(1, SHOWN_MAX));
        let (cut_left, cut_right) =
            (if from > 0 { "…" } else { "" }, if text.len() > from + SHOWN_MAX { "…" } else { "" });
        let lead = " ".repeat(lead + usize::from(from > 0));
        let at = match source {
            "" => String::new(),
            source => format!("{margin}--> {source}:{line}:{}\n", before + self.start),
        };
        format!(
            "{at}{margin} |\n{number} | {cut_left}{shown}{cut_right}\n{margin} | {lead}{}\n",
            paint.red(&carets)
        )
    }
}

fn line_of(text: &str, line: u64) -> &str {
    text.split('\n').nth(line as usize - 1).unwrap_or("").trim_end_matches('\r')
}

/// Tabs and other control characters take one column.
fn blank(c: char) -> char {
    if c.is_control() { ' ' } else { c }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Paint = Paint { enabled: false };

    #[test]
    fn a_caret_stands_under_the_word() {
        let statement = Statement { text: "SELECT a,\n\tvlue\nFROM t".into(), line: 7, column: 3 };
        let place = Place::of_word_at(&statement.text, 2, 2);
        assert_eq!(
            place.drawn(&statement, "q.sql", &PLAIN),
            " --> q.sql:8:2\n  |\n8 |  vlue\n  |  ^^^^\n"
        );
    }

    #[test]
    fn the_column_in_the_file_counts_what_stands_before_the_statement() {
        let statement = Statement { text: "SELCT 2".into(), line: 1, column: 11 };
        let drawn = Place::of_word_at(&statement.text, 1, 1).drawn(&statement, "q.sql", &PLAIN);
        assert!(drawn.starts_with(" --> q.sql:1:11\n"), "{drawn}");
    }

    #[test]
    fn wide_characters_and_ends_are_met() {
        let statement = Statement::alone("SELECT '星', x +");
        let drawn = Place::at_end_of(&statement.text).drawn(&statement, "", &PLAIN);
        assert_eq!(drawn, "  |\n1 | SELECT '星', x +\n  |                 ^\n");
        assert_eq!(Place::at_end_of(""), Place { line: 1, start: 1, end: 2 });
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let statement = Statement::alone(format!("{}bad {}", "x ".repeat(200), "y".repeat(200)));
        let place = Place::of_text(&statement.text, "BAD").unwrap();
        let drawn = place.drawn(&statement, "", &PLAIN);
        let lines: Vec<&str> = drawn.lines().collect();
        assert!(lines.iter().all(|line| line.chars().count() < 125));
        assert_eq!(lines[1].find("bad").map(|at| lines[1][..at].width()), lines[2].find('^'));
    }
}
