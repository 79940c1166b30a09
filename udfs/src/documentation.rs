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

/// What the parameters mean that many functions of arrays have.
const FILTER_PARAMETERS: &[(&str, &str)] = &[
    ("size", "Length of the window, or a list of one for each axis."),
    ("sigma", "Standard deviation in elements, or a list of one for each axis."),
    ("order", "0 for the Gaussian itself, 1 for its first derivative, and so on; or a list."),
    ("truncate", "The standard deviations at which the Gaussian is cut off; 4 without it."),
    (
        "radius",
        "The elements on either side at which it is cut off, instead of truncate; or a list.",
    ),
    ("footprint", "A nested list of booleans in the shape of the window, instead of size."),
    ("structure", "A nested list of heights in the shape of the window, added or taken off."),
    (
        "mode",
        "reflect (the default), mirror, nearest, wrap or constant, or a list of one for each axis.",
    ),
    ("cval", "The value beyond the ends for mode constant; 0 without it."),
    ("origin", "How far the window is shifted, or a list of one for each axis."),
    ("axes", "The axes that are filtered; all without it."),
    (
        "dtype",
        "'same' keeps an integer type and cuts results to it, as SciPy does; without it integers \
         give DOUBLE. REAL stays REAL.",
    ),
    (
        "nan",
        "'ignore' leaves NaN out of windows; without it a window with a NaN gives NaN. NULL is \
         always left out; a window without elements gives NULL, and so does one that lacks an \
         element under weights of both signs.",
    ),
];

/// The description of a filter. `call` is one over `value` of a small image, and `answer` what it
/// gives at one element of it; `own` describes the parameters that only few functions have.
pub fn filter(
    name: &str,
    parameters: &[&str],
    description: &str,
    call: &str,
    answer: &str,
    own: &[(&str, &str)],
) -> Documentation {
    let syntax = format!("{name}(value, {})", parameters.join(", "));
    let example = format!(
        "SELECT {call} AS filtered FROM read_hdf5('data/image.h5') WHERE y = 33 AND x = 17;"
    );
    let width = answer.len().max("filtered".len());
    let rule = format!("+{}+", "-".repeat(width + 2));
    let table = format!("{rule}\n| {:<width$} |\n{rule}\n| {answer:<width$} |\n{rule}", "filtered");
    let documented = section("Array Functions", description, &syntax, &example, &table);
    let documented = documented.with_argument("value", "A column of an array.");
    let text = |name: &str| own.iter().chain(FILTER_PARAMETERS).find(|(known, _)| *known == name);
    let described = parameters.iter().filter_map(|name| text(name));
    described.fold(documented, |all, (name, text)| all.with_argument(*name, *text)).build()
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
