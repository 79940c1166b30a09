//! Statements of every shape, at doubling sizes: each ends with an answer or a sentence.
//!
//! Grammar by grammar rule, as deep or as long as asked. What a statement answers is checked where it
//! is known. ALMAGEST_LONG=1 goes on to statements of a megabyte.

use datafusion::arrow::util::display::array_value_to_string;

use crate::registry::Registry;
use crate::{Error, ErrorKind, Result, Session, SessionOptions};

/// The longest statement that is tried, in bytes.
fn bytes_max() -> usize {
    let long = std::env::var_os("ALMAGEST_LONG").is_some();
    if long { 1 << 20 } else { 1 << 10 }
}

/// `n` things with something between them.
fn joined(n: usize, between: &str, thing: impl Fn(usize) -> String) -> String {
    (0..n).map(thing).collect::<Vec<_>>().join(between)
}

/// Something in `n` pairs of brackets.
fn nested(n: usize, open: &str, inner: &str, close: &str) -> String {
    format!("{}{inner}{}", open.repeat(n), close.repeat(n))
}

/// A statement of a shape, and what it answers, if that is known.
type Shape = (&'static str, fn(usize) -> (String, Option<String>));

fn known(sql: String, answer: impl ToString) -> (String, Option<String>) {
    (sql, Some(answer.to_string()))
}

fn open(sql: String) -> (String, Option<String>) {
    (sql, None)
}

const CHAINS: &[Shape] = &[
    ("OR", |n| known(format!("SELECT {} FROM t", joined(n, " OR ", |_| "b".into())), "false")),
    ("AND", |n| known(format!("SELECT {} FROM t", joined(n, " AND ", |_| "NOT b".into())), "true")),
    ("OR in WHERE", |n| {
        let any = joined(n, " OR ", |i| format!("a = {i}"));
        known(format!("SELECT count(*) FROM t WHERE {any}"), 1)
    }),
    ("AND in WHERE", |n| {
        let all = joined(n, " AND ", |i| format!("a <> {}", i + 7));
        known(format!("SELECT count(*) FROM t WHERE {all}"), 1)
    }),
    ("AND of ORs", |n| {
        let all = joined(n, " AND ", |i| format!("(a <> {} OR b)", i + 7));
        known(format!("SELECT count(*) FROM t WHERE {all}"), 1)
    }),
    ("IN", |n| {
        known(
            format!("SELECT count(*) FROM t WHERE a IN ({})", joined(n, ",", |i| i.to_string())),
            1,
        )
    }),
    ("NOT IN", |n| {
        let list = joined(n, ",", |i| format!("'{i}'"));
        known(format!("SELECT count(*) FROM t WHERE s NOT IN ({list})"), 1)
    }),
    ("IN of columns", |n| {
        open(format!("SELECT a IN ({}) FROM t", joined(n, ",", |i| format!("a + {i}"))))
    }),
    ("+ of literals", |n| known(format!("SELECT {}", joined(n, "+", |_| "1".into())), n)),
    ("+ of columns", |n| known(format!("SELECT {} FROM t", joined(n, "+", |_| "a".into())), 0)),
    ("- of floats", |n| open(format!("SELECT {} FROM t", joined(n, "-", |_| "f".into())))),
    ("* of decimals", |n| open(format!("SELECT {}", joined(n, "*", |_| "1.0".into())))),
    ("||", |n| known(format!("SELECT length({}) FROM t", joined(n, "||", |_| "s".into())), n)),
    ("::", |n| open(format!("SELECT a{} FROM t", "::BIGINT".repeat(n)))),
    ("IS NULL", |n| open(format!("SELECT a{} FROM t", " IS NULL".repeat(n)))),
    ("NOT", |n| open(format!("SELECT {} b FROM t", "NOT ".repeat(n)))),
    ("unary minus", |n| open(format!("SELECT {} a FROM t", "- ".repeat(n)))),
    ("comparisons", |n| open(format!("SELECT {} FROM t", joined(n, " = ", |_| "b".into())))),
    ("BETWEEN", |n| open(format!("SELECT b {} FROM t", "BETWEEN b AND b ".repeat(n)))),
    ("regular expressions", |n| {
        open(format!("SELECT {}s{} FROM t", "(".repeat(n), " ~ '^(a|b|c)$')::VARCHAR".repeat(n)))
    }),
    ("COALESCE", |n| open(format!("SELECT {} FROM t", nested(n, "coalesce(", "a", ", 1)")))),
    ("LIKE", |n| open(format!("SELECT {} FROM t", joined(n, " LIKE ", |_| "s".into())))),
    ("IS DISTINCT FROM", |n| {
        open(format!("SELECT {} FROM t", joined(n, " IS DISTINCT FROM ", |_| "b".into())))
    }),
    ("AT TIME ZONE", |n| open(format!("SELECT now(){} FROM t", " AT TIME ZONE 'UTC'".repeat(n)))),
    ("INTERVAL", |n| {
        open(format!("SELECT {} FROM t", joined(n, " + ", |_| "INTERVAL '1 day'".into())))
    }),
    ("subscripts", |n| open(format!("SELECT a{} FROM t", "['a']".repeat(n)))),
    ("dots", |n| open(format!("SELECT a{} FROM t", ".a".repeat(n)))),
    ("words that are columns", |n| {
        open(format!("SELECT {} FROM t", joined(n, " + ", |_| "or".into())))
    }),
];

const NESTED: &[Shape] = &[
    ("parentheses", |n| open(format!("SELECT {}", nested(n, "(", "1", ")")))),
    ("parentheses that stay open", |n| open(format!("SELECT {}", "(".repeat(n)))),
    ("CAST", |n| open(format!("SELECT {}", nested(n, "CAST(", "1", " AS INT)")))),
    ("CAST with a mistake", |n| open(format!("SELECT {}", nested(n, "CAST(", "1 +", " AS INT)")))),
    ("functions", |n| open(format!("SELECT {} FROM t", nested(n, "abs(", "a", ")")))),
    ("functions with a mistake", |n| {
        open(format!("SELECT {} FROM t", nested(n, "abs(x => ", "a +", ")")))
    }),
    ("CASE in ELSE", |n| {
        open(format!("SELECT {} FROM t", nested(n, "CASE WHEN b THEN 1 ELSE ", "2", " END")))
    }),
    ("CASE in WHEN", |n| {
        open(format!("SELECT {} FROM t", nested(n, "CASE WHEN ", "b", " THEN b ELSE b END")))
    }),
    ("arrays", |n| open(format!("SELECT {}", nested(n, "[", "1", "]")))),
    ("structs", |n| open(format!("SELECT {}", nested(n, "{'a': ", "1", "}")))),
    ("lambdas", |n| open(format!("SELECT f({}1)", "x -> ".repeat(n)))),
    ("lambdas in parentheses", |n| {
        open(format!("SELECT f({})", nested(n, "(x) -> (", "1 +", ")")))
    }),
    ("scalar subqueries", |n| open(format!("SELECT {}", nested(n, "(SELECT ", "1", ")")))),
    ("EXISTS", |n| open(nested(n, "SELECT a FROM t WHERE EXISTS (", "SELECT a FROM t", ")"))),
    ("IN subqueries", |n| open(nested(n, "SELECT a FROM t WHERE a IN (", "SELECT a FROM t", ")"))),
    ("tables in FROM", |n| open(nested(n, "SELECT * FROM (", "SELECT * FROM t", ")"))),
    ("joins in parentheses", |n| {
        open(format!("SELECT * FROM {}", nested(n, "(", "t", " CROSS JOIN t)")))
    }),
    ("joins of queries in parentheses", |n| {
        open(nested(n, "SELECT 1 FROM ((", "SELECT 1", ") a CROSS JOIN t)"))
    }),
    ("queries in parentheses", |n| open(nested(n, "(", "SELECT 1", ")"))),
    ("WITH in WITH", |n| open(nested(n, "WITH q AS (", "SELECT 1 AS a", ") SELECT a FROM q"))),
    ("types of lists", |n| open(format!("SELECT NULL::INT{}", "[]".repeat(n)))),
    ("types in angles", |n| {
        open(format!("SELECT CAST(NULL AS {})", nested(n, "ARRAY<", "INT", ">")))
    }),
    ("comments", |n| open(format!("SELECT 1 {}", nested(n, "/* ", "x", " */")))),
    ("EXPLAIN", |n| open(format!("{}SELECT 1", "EXPLAIN ".repeat(n)))),
    ("PREPARE", |n| open(format!("{}SELECT 1", "PREPARE p AS ".repeat(n)))),
];

const LONG: &[Shape] = &[
    ("UNION ALL", |n| {
        let all = joined(n, " UNION ALL ", |_| "SELECT a FROM t".into());
        known(format!("SELECT count(*) FROM ({all})"), n)
    }),
    ("UNION", |n| {
        let all = joined(n, " UNION ", |i| format!("SELECT {i} AS a"));
        known(format!("SELECT count(*) FROM ({all})"), n)
    }),
    ("INTERSECT", |n| open(joined(n, " INTERSECT ", |_| "SELECT a FROM t".into()))),
    ("EXCEPT", |n| open(joined(n, " EXCEPT ", |_| "SELECT a FROM t".into()))),
    ("JOIN ON", |n| {
        let joins = joined(n, "", |i| format!(" JOIN t t{i} ON t{i}.a = t.a"));
        known(format!("SELECT count(*) FROM t{joins}"), 1)
    }),
    ("JOIN USING", |n| {
        let joins = joined(n, "", |i| format!(" JOIN t t{i} USING (a)"));
        open(format!("SELECT a FROM t{joins}"))
    }),
    ("LEFT JOIN", |n| {
        let joins = joined(n, "", |i| format!(" LEFT JOIN t t{i} ON t{i}.a = t.a"));
        open(format!("SELECT count(*) FROM t{joins}"))
    }),
    ("comma joins", |n| {
        open(format!("SELECT count(*) FROM {}", joined(n, ", ", |i| format!("t t{i}"))))
    }),
    ("WITH queries on each other", |n| {
        let queries = joined(n, ", ", |i| match i {
            0 => "q0 AS (SELECT a FROM t)".into(),
            i => format!("q{i} AS (SELECT a + 1 AS a FROM q{})", i - 1),
        });
        known(format!("WITH {queries} SELECT a FROM q{}", n - 1), n - 1)
    }),
    ("WITH queries read twice", |n| {
        let queries = joined(n, ", ", |i| match i {
            0 => "q0 AS (SELECT a FROM t)".into(),
            i => format!("q{i} AS (SELECT x.a FROM q{0} x JOIN q{0} y ON x.a = y.a)", i - 1),
        });
        open(format!("WITH {queries} SELECT a FROM q{}", n - 1))
    }),
    ("WHEN", |n| {
        let branches = joined(n, " ", |i| format!("WHEN a = {} THEN {i}", i + 1));
        known(format!("SELECT CASE {branches} ELSE -1 END FROM t"), -1)
    }),
    ("columns", |n| known(format!("SELECT {}", joined(n, ", ", |i| format!("{i} AS c{i}"))), 0)),
    ("columns of a table", |n| {
        known(format!("SELECT {} FROM t", joined(n, ", ", |i| format!("a AS c{i}"))), 0)
    }),
    ("columns of columns", |n| {
        let columns = joined(n, ", ", |i| format!("a + {i} AS c{i}"));
        known(format!("SELECT * FROM (SELECT {columns} FROM t) WHERE c0 = 0"), 0)
    }),
    ("aggregates", |n| {
        known(format!("SELECT {} FROM t", joined(n, ", ", |i| format!("sum(a + {i}) AS c{i}"))), 0)
    }),
    ("windows", |n| {
        open(format!(
            "SELECT {} FROM t",
            joined(n, ", ", |i| format!("sum(a) OVER (ORDER BY a + {i})"))
        ))
    }),
    ("GROUP BY", |n| {
        open(format!("SELECT count(*) FROM t GROUP BY {}", joined(n, ", ", |i| format!("a + {i}"))))
    }),
    ("GROUPING SETS", |n| {
        let sets = joined(n, ", ", |_| "(a)".into());
        open(format!("SELECT count(*) FROM t GROUP BY GROUPING SETS ({sets})"))
    }),
    ("ORDER BY", |n| {
        open(format!("SELECT a FROM t ORDER BY {}", joined(n, ", ", |i| format!("a + {i}"))))
    }),
    ("scalar subqueries in a row", |n| {
        open(format!("SELECT {}", joined(n, ", ", |i| format!("(SELECT a + {i} FROM t)"))))
    }),
    ("VALUES", |n| {
        known(format!("SELECT count(*) FROM (VALUES {})", joined(n, ",", |i| format!("({i})"))), n)
    }),
    ("arguments", |n| open(format!("SELECT concat({}) FROM t", joined(n, ",", |_| "s".into())))),
    ("elements of a list", |n| {
        known(format!("SELECT cardinality([{}])", joined(n, ",", |i| i.to_string())), n)
    }),
    ("a text", |n| known(format!("SELECT length('{}')", "x".repeat(n)), n)),
    ("a name", |n| open(format!("SELECT {}", "x".repeat(n)))),
    ("digits", |n| open(format!("SELECT 1{}", "0".repeat(n)))),
    ("columns of a new table", |n| {
        open(format!(
            "CREATE OR REPLACE TABLE u AS SELECT {}",
            joined(n, ", ", |i| format!("{i} AS c{i}"))
        ))
    }),
    ("statements", |n| open("SELECT 1;".repeat(n))),
    ("semicolons", |n| open(format!("SELECT 1{}", ";".repeat(n)))),
];

async fn session() -> Session {
    let options = SessionOptions { threads: Some(2), ..SessionOptions::default() };
    let session = Session::try_new(&Registry::default(), &options).unwrap();
    let table = "CREATE TABLE t AS SELECT 0 AS a, false AS b, 'x' AS s, 0.5::DOUBLE AS f";
    session.sql(table).await.unwrap();
    session
}

/// The first value of what a statement answers.
async fn answer(session: &Session, sql: &str) -> Result<Option<String>> {
    let frame = session.sql(sql).await?;
    let context = std::sync::Arc::new(frame.task_ctx());
    let plan = session.physical_plan(frame).await?;
    let batches = datafusion::physical_plan::collect(plan, context).await?;
    let first = batches.iter().find(|batch| batch.num_rows() > 0 && batch.num_columns() > 0);
    let text = first.map(|batch| array_value_to_string(batch.column(0), 0));
    text.transpose().map_err(|cause| Error::bug("a value cannot be shown").caused_by(cause))
}

async fn all_end(shapes: &[Shape]) {
    let only = std::env::var("ALMAGEST_SHAPE").ok();
    for (name, shape) in shapes {
        if only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        let session = session().await;
        for power in 1.. {
            let (sql, expected) = shape(1 << power);
            if sql.len() > bytes_max() {
                break;
            }
            let begun = std::time::Instant::now();
            let outcome = answer(&session, &sql).await;
            if std::env::var_os("ALMAGEST_TOLD").is_some() {
                let told = outcome.as_ref().map_or_else(Error::to_string, |_| "answered".into());
                let told: String = told.chars().take(100).collect();
                eprintln!("{name} {}: {:.3} s {told}", 1 << power, begun.elapsed().as_secs_f64());
            }
            match outcome {
                Ok(answer) => {
                    if let Some(expected) = expected {
                        assert_eq!(answer, Some(expected), "{name} {}", 1 << power);
                    }
                }
                Err(error) => {
                    assert_ne!(error.kind(), ErrorKind::Bug, "{name} {}: {error:?}", 1 << power);
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chains_of_every_kind_end() {
    all_end(CHAINS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nesting_of_every_kind_ends() {
    all_end(NESTED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_long_in_every_way_end() {
    all_end(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn views_on_each_other_end() {
    let session = session().await;
    session.sql("CREATE VIEW v0 AS SELECT a FROM t").await.unwrap();
    for number in 1..2000 {
        let sql = format!("CREATE VIEW v{number} AS SELECT a FROM v{}", number - 1);
        if let Err(error) = session.sql(&sql).await {
            assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
            let sql = format!("SELECT a FROM v{}", number - 1);
            assert_eq!(answer(&session, &sql).await.unwrap().as_deref(), Some("0"));
            return;
        }
    }
    panic!("two thousand views on each other");
}
