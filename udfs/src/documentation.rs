//! How functions describe themselves: one text, from which `\h`, `SHOW FUNCTIONS` and a test that
//! runs every example are fed.

use datafusion::logical_expr::{DocSection, Documentation, DocumentationBuilder};

/// The description of a function for catalogs. `example` is a statement and `answer` the table that
/// it prints.
pub fn catalog(
    description: &str,
    syntax: &str,
    example: &str,
    answer: &str,
) -> DocumentationBuilder {
    section("Catalog Functions", description, syntax, example, answer)
}

/// The description of a statistic.
pub fn statistics(
    description: &str,
    syntax: &str,
    example: &str,
    answer: &str,
) -> DocumentationBuilder {
    section("Statistical Functions", description, syntax, example, answer)
}

/// The description of a function of arrays.
pub fn array(description: &str, syntax: &str, example: &str, answer: &str) -> DocumentationBuilder {
    section("Array Functions", description, syntax, example, answer)
}

/// The description of a table function of arrays.
pub fn relation(
    description: &str,
    syntax: &str,
    example: &str,
    answer: &str,
) -> DocumentationBuilder {
    section("Table Functions", description, syntax, example, answer)
}

fn section(
    label: &'static str,
    description: &str,
    syntax: &str,
    example: &str,
    answer: &str,
) -> DocumentationBuilder {
    let section = DocSection { include: true, label, description: None };
    Documentation::builder(section, description, syntax)
        .with_sql_example(format!("```sql\n> {example}\n{answer}\n```"))
}
