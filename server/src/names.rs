//! The names that a session knows: what completion offers and what "did you mean" compares.
//!
//! In: a session. Out: a snapshot, taken after each statement (the shell) or after an error.

use std::collections::BTreeSet;

use almagest::Session;
use almagest_engine::bounds::is_operator;
use datafusion::sql::sqlparser::keywords::ALL_KEYWORDS;

/// A snapshot of names.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Tables and views, qualified unless they are in the default schema.
    pub tables: BTreeSet<String>,
    /// Columns of those tables.
    pub columns: BTreeSet<String>,
    /// Functions of every kind.
    pub functions: BTreeSet<String>,
    /// Functions that stand in FROM.
    pub table_functions: BTreeSet<String>,
    /// What `SET` knows.
    pub settings: BTreeSet<String>,
    /// What `STORED AS` knows, in capitals.
    pub formats: BTreeSet<String>,
}

impl Names {
    /// The names of a session, as they are now.
    pub async fn of(session: &Session) -> Self {
        let mut names = Self::of_tables(session).await;
        let state = session.context().state();
        let named = state.scalar_functions().keys().filter(|name| !is_operator(name));
        names.functions.extend(named.cloned());
        names.functions.extend(state.aggregate_functions().keys().cloned());
        names.functions.extend(state.window_functions().keys().cloned());
        names.functions.extend(state.higher_order_functions().keys().cloned());
        names.table_functions = state.table_functions().keys().cloned().collect();
        names.functions.extend(names.table_functions.iter().cloned());
        names.settings = state.config_options().entries().into_iter().map(|e| e.key).collect();
        names.formats = state.table_factories().keys().map(|name| name.to_uppercase()).collect();
        names
    }

    async fn of_tables(session: &Session) -> Self {
        let mut names = Self::default();
        let state = session.context().state();
        let default = &state.config_options().catalog;
        let catalogs = state.catalog_list();
        for catalog_name in catalogs.catalog_names() {
            let Some(catalog) = catalogs.catalog(&catalog_name) else { continue };
            for schema_name in catalog.schema_names() {
                let Some(schema) = catalog.schema(&schema_name) else { continue };
                for table_name in schema.table_names() {
                    if let Ok(Some(table)) = schema.table(&table_name).await {
                        let schema = table.schema();
                        names.columns.extend(schema.fields().iter().map(|f| f.name().clone()));
                    }
                    names.tables.insert(if catalog_name != default.default_catalog {
                        format!("{catalog_name}.{schema_name}.{table_name}")
                    } else if schema_name != default.default_schema {
                        format!("{schema_name}.{table_name}")
                    } else {
                        table_name
                    });
                }
            }
        }
        names
    }
}

/// The keywords that people use, in capitals: what completion offers and colours show.
pub const COMMON_KEYWORDS: [&str; 102] = [
    "ALL",
    "ALTER",
    "ANALYZE",
    "AND",
    "ANY",
    "ARRAY",
    "AS",
    "ASC",
    "BETWEEN",
    "BIGINT",
    "BOOLEAN",
    "BY",
    "CASE",
    "CAST",
    "COPY",
    "CREATE",
    "CROSS",
    "CSV",
    "CURRENT",
    "DATE",
    "DECIMAL",
    "DELETE",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "DOUBLE",
    "DROP",
    "ELSE",
    "END",
    "EXCEPT",
    "EXISTS",
    "EXPLAIN",
    "EXTERNAL",
    "FALSE",
    "FILTER",
    "FIRST",
    "FLOAT",
    "FOLLOWING",
    "FROM",
    "FULL",
    "FUNCTIONS",
    "GROUP",
    "GROUPING",
    "HAVING",
    "IF",
    "ILIKE",
    "IN",
    "INNER",
    "INSERT",
    "INT",
    "INTERSECT",
    "INTERVAL",
    "INTO",
    "IS",
    "JOIN",
    "LAST",
    "LATERAL",
    "LEFT",
    "LIKE",
    "LIMIT",
    "LOCATION",
    "NATURAL",
    "NOT",
    "NULL",
    "NULLS",
    "OFFSET",
    "ON",
    "OPTIONS",
    "OR",
    "ORDER",
    "OUTER",
    "OVER",
    "PARTITION",
    "PARTITIONED",
    "PRECEDING",
    "QUALIFY",
    "RECURSIVE",
    "REPLACE",
    "RIGHT",
    "ROW",
    "ROWS",
    "SELECT",
    "SET",
    "SHOW",
    "STORED",
    "TABLE",
    "TABLES",
    "THEN",
    "TIMESTAMP",
    "TO",
    "TRUE",
    "UNBOUNDED",
    "UNION",
    "UNNEST",
    "USING",
    "VALUES",
    "VARCHAR",
    "VIEW",
    "WHEN",
    "WHERE",
    "WINDOW",
    "WITH",
];

/// Every word of the SQL grammar, in capitals.
pub fn keywords() -> &'static [&'static str] {
    ALL_KEYWORDS
}

/// A name as it must stand in SQL: in double quotes unless it is plain and in lower case.
pub fn quoted(name: &str) -> String {
    let plain = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain { name.to_string() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// The candidates nearest to a word, best first: at most three, none too far to be meant.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let word = word.to_lowercase();
    let far = match word.chars().count() {
        0..=2 => 1,
        3..=5 => 2,
        _ => 3,
    };
    let mut found: Vec<(usize, &str)> = candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= far && *distance < candidate.len())
        .collect();
    found.sort();
    found.dedup();
    let best = found.first().map_or(0, |(distance, _)| *distance);
    found
        .into_iter()
        .filter(|(distance, _)| *distance <= best + 1)
        .take(3)
        .map(|(_, c)| c)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_is_what_a_typist_meant() {
        let functions = ["stddev", "stddev_pop", "sum", "avg", "median"];
        assert_eq!(nearest("stdev", functions), ["stddev"]);
        assert_eq!(nearest("AVGG", functions), ["avg"]);
        assert_eq!(nearest("medain", functions), ["median"]);
        assert!(nearest("quaternion", functions).is_empty());
        assert!(nearest("x", ["y", "z"]).is_empty());
    }

    #[test]
    fn names_are_quoted_if_they_must_be() {
        assert_eq!(quoted("tic_id"), "tic_id");
        assert_eq!(quoted("TIC"), "\"TIC\"");
        assert_eq!(quoted("a b\"c"), "\"a b\"\"c\"");
        assert_eq!(quoted("2mass"), "\"2mass\"");
    }
}
