//! Every function of ours describes itself, and every example in a description is true.

use almagest::{Session, SessionOptions};
use arrow::util::pretty::pretty_format_batches;
use datafusion::logical_expr::Documentation;

fn descriptions() -> Vec<(String, Option<Documentation>)> {
    let scalar = almagest_udfs::scalar_functions().unwrap();
    let aggregate = almagest_udfs::aggregate_functions().unwrap();
    let scalar = scalar.iter().map(|f| (f.name().to_string(), f.documentation().cloned()));
    let aggregate = aggregate.iter().map(|f| (f.name().to_string(), f.documentation().cloned()));
    let relations = almagest_udfs::array_relations();
    let relations = relations
        .iter()
        .map(|relation| (relation.name().to_string(), Some(relation.documentation().clone())));
    let arrays = almagest_udfs::array_functions();
    let arrays = arrays
        .iter()
        .map(|function| (function.name().to_string(), Some(function.documentation().clone())));
    scalar.chain(aggregate).chain(relations).chain(arrays).collect()
}

/// Statements after `> ` up to `;`, each followed by its answer.
fn examples(text: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = vec![];
    for line in text.lines().filter(|line| !line.starts_with("```")) {
        match (line.strip_prefix("> "), found.last_mut()) {
            (Some(statement), _) => found.push((statement.to_string(), String::new())),
            (None, Some((statement, _))) if !statement.ends_with(';') => {
                *statement = format!("{statement}\n{line}");
            }
            (None, Some((_, answer))) => *answer = format!("{answer}{line}\n"),
            (None, None) => panic!("an example begins with '> ', not '{line}'"),
        }
    }
    found
}

async fn answer(session: &Session, statement: &str) -> String {
    let rows = session.sql(statement.trim_end_matches(';')).await.unwrap().collect().await.unwrap();
    format!("{}\n", pretty_format_batches(&rows).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_function_has_examples_and_they_are_true() {
    let session = almagest::session(&SessionOptions::default()).unwrap();
    let descriptions = descriptions();
    assert!(descriptions.len() >= 42, "functions are missing from the lists");
    for (name, documentation) in descriptions {
        let documentation = documentation.unwrap_or_else(|| panic!("{name} is not described"));
        let text = documentation.sql_example.unwrap_or_else(|| panic!("{name} has no example"));
        let examples = examples(&text);
        assert!(!examples.is_empty(), "{name} has no example");
        for (statement, expected) in examples {
            assert!(statement.contains(&name), "the example of {name} does not call it");
            assert_eq!(answer(&session, &statement).await, expected, "{name}: {statement}");
        }
        let arguments = documentation.arguments.unwrap_or_default();
        assert!(!arguments.is_empty(), "the arguments of {name} are not described");
    }
}
