//! What an error of the cluster was, from the text that is left of it.
//!
//! Errors cross processes as text: `Job 4f… failed: Task failed due to … (invalid data: … (file …))`.
//! Ours begin with their kind, which is how they are found again.

use almagest_engine::{Error, ErrorKind};

/// The error behind the text of a failed query.
pub fn error_of(text: &str) -> Error {
    let kinds = ErrorKind::ALL.iter();
    let found = kinds.filter_map(|kind| {
        let place = text.find(&format!("{}: ", kind.label()))?;
        Some((place, *kind))
    });
    match found.min_by_key(|(place, _)| *place) {
        Some((place, kind)) => {
            let message = &text[place + kind.label().len() + 2..];
            Error::new(kind, plain(message))
        }
        None => Error::new(kind_of(text), plain(innermost(last_cause(text)))),
    }
}

/// A text without what Ballista's debug output adds to it.
fn plain(message: &str) -> String {
    // DataFusion shows the operator that could not be written
    let message = message.split("]. Plan: ").next().unwrap_or(message);
    let unquoted = message.replace("\\n", "\n").replace("\\\"", "\"").replace("\\'", "'");
    let mut rest = unquoted.trim();
    // quotes and brackets that were opened before the message began
    while let Some(shorter) = rest.strip_suffix(['"', ' ']).or_else(|| unopened(rest)) {
        rest = shorter;
    }
    rest.to_string()
}

/// The text without a last bracket that nothing in it opens.
fn unopened(text: &str) -> Option<&str> {
    let (shorter, close) = match text.char_indices().last()? {
        (place, close @ (')' | '}' | ']')) => (&text[..place], close),
        _ => return None,
    };
    let open = match close {
        ')' => '(',
        '}' => '{',
        _ => '[',
    };
    let count = |wanted: char| text.chars().filter(|seen| *seen == wanted).count();
    (count(close) > count(open)).then_some(shorter)
}

/// DataFusion's own errors name their kind too.
fn kind_of(text: &str) -> ErrorKind {
    let names = [
        ("ResourcesExhausted", ErrorKind::Exhausted),
        ("Resources exhausted", ErrorKind::Exhausted),
        ("NotImplemented", ErrorKind::Unsupported),
        ("not implemented", ErrorKind::Unsupported),
        ("Error during planning", ErrorKind::Plan),
        ("Schema error", ErrorKind::Plan),
        ("Config value", ErrorKind::Plan),
        ("Cancelled", ErrorKind::Cancelled),
        ("IoError", ErrorKind::Unreachable),
        ("Object Store error", ErrorKind::Unreachable),
        ("ArrowError", ErrorKind::DataInvalid),
        ("Arrow error", ErrorKind::DataInvalid),
        ("ParquetError", ErrorKind::DataInvalid),
        ("Execution", ErrorKind::Plan),
    ];
    let found = names.iter().find(|(name, _)| text.contains(name));
    found.map_or(ErrorKind::Unreachable, |(_, kind)| *kind)
}

/// An error as Rust's debug output shows it, `DataFusionError(Shared(Execution("why")))`: its words.
fn innermost(text: &str) -> &str {
    if !text.starts_with("DataFusionError(") {
        return text;
    }
    if text.contains("DivideByZero") {
        return "Divide by zero error";
    }
    let Some(words) = text.find("(\"").and_then(|start| text.get(start + 2..)) else { return text };
    // quotes within are shown behind a backslash
    let mut is_escaped = false;
    let end = words.find(|seen| {
        let ends = seen == '"' && !is_escaped;
        is_escaped = seen == '\\' && !is_escaped;
        ends
    });
    end.and_then(|end| words.get(..end)).unwrap_or(text)
}

/// What stands innermost.
fn last_cause(text: &str) -> &str {
    let marks = ["runtime execution error: ", "Execution error: ", "failed: "];
    let ends = marks.iter().filter_map(|mark| Some(text.rfind(mark)? + mark.len()));
    ends.max().map_or(text, |end| &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_and_the_sentence_are_found_again() {
        let text = "Job 7f failed: Task failed due to runtime execution error: \
                    DataFusionError(External(invalid data: the chunk is cut short (file /a.h5)))";
        let error = error_of(text);
        assert_eq!(error.kind(), ErrorKind::DataInvalid);
        assert_eq!(error.message(), "the chunk is cut short (file /a.h5)");
    }

    #[test]
    fn what_is_not_ours_keeps_its_last_cause() {
        let error =
            error_of("Job 7f failed: Task failed due to runtime execution error: Divide by zero");
        assert_eq!(error.message(), "Divide by zero");
        let error = error_of(
            "Job 7f failed: Task failed due to runtime execution error: \
             DataFusionError(Shared(External(ArrowError(DivideByZero))))",
        );
        assert_eq!(error.to_string(), "invalid data: Divide by zero error");
        let error = error_of(
            "Job 7f failed: Task failed due to runtime execution error: \
             DataFusionError(ArrowError(CastError(\"no number: 'x'\"), None))",
        );
        assert_eq!(error.message(), "no number: 'x'");
        let error = error_of(
            "Job 7f failed: Task failed due to runtime execution error: DataFusionError(\
             ArrowError(InvalidArgumentError(\"no \\\"rows\\\" here\"), Some(\"a backtrace\")))",
        );
        assert_eq!(error.message(), "no \"rows\" here");
    }
}
