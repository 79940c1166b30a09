//! How many tables a statement reads, once its WITH queries stand wherever they are read.
//!
//! Stage: before DataFusion plans a statement, as it writes out what WITH queries hold while it plans:
//! twenty queries that each read the one before twice read a million tables. In: a statement. Out:
//! nothing, or that it reads too many.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::parser::{CopyToSource, Statement};
use datafusion::sql::sqlparser::ast::{ObjectName, ObjectNamePart, Query, VisitorMut};

use super::folded;
use crate::walk::walk_sql;
use crate::{Error, Result};

/// Tables that a statement may read.
const READS_MAX: u64 = 5000;

/// Refuses statements that read too many tables.
///
/// # Errors
/// `Exhausted`.
pub fn check_reads(statement: &mut Statement) -> Result<()> {
    let mut reads = Reads { frames: vec![Frame::default()] };
    let _ = match statement {
        Statement::Statement(statement) => walk_sql(statement.as_mut(), &mut reads),
        Statement::CopyTo(copy) => match &mut copy.source {
            CopyToSource::Query(query) => walk_sql(query.as_mut(), &mut reads),
            CopyToSource::Relation(_) => ControlFlow::Continue(()),
        },
        Statement::Explain(explain) => return check_reads(&mut explain.statement),
        Statement::CreateExternalTable(_) | Statement::Reset(_) => ControlFlow::Continue(()),
    };
    let total = reads.frames.first().map_or(0, |frame| frame.reads);
    if total > READS_MAX {
        return Err(Error::exhausted(format!(
            "the statement reads {total} tables, and {READS_MAX} are the most; a WITH query counts \
             each time that it is read: make tables of those that are read often (CREATE TABLE … AS)"
        )));
    }
    Ok(())
}

/// A query, and what it has read so far.
#[derive(Default)]
struct Frame {
    /// Its WITH queries, in the order in which they are visited; first of all that it holds.
    names: Vec<String>,
    /// Tables that those read which were left.
    known: HashMap<String, u64>,
    left: usize,
    reads: u64,
}

struct Reads {
    frames: Vec<Frame>,
}

impl VisitorMut for Reads {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let with = query.with.iter().flat_map(|with| &with.cte_tables);
        let names = with.map(|cte| folded(&cte.alias.name)).collect();
        self.frames.push(Frame { names, ..Frame::default() });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        if let Some(ended) = self.frames.pop()
            && let Some(around) = self.frames.last_mut()
        {
            match around.names.get(around.left) {
                Some(name) => {
                    around.known.insert(name.clone(), ended.reads);
                    around.left += 1;
                }
                None => around.reads = around.reads.saturating_add(ended.reads),
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, name: &mut ObjectName) -> ControlFlow<()> {
        let reads = match name.0.as_slice() {
            [ObjectNamePart::Identifier(ident)] => {
                let name = folded(ident);
                self.frames.iter().rev().find_map(|frame| frame.known.get(&name)).copied()
            }
            _ => None,
        };
        if let Some(frame) = self.frames.last_mut() {
            frame.reads = frame.reads.saturating_add(reads.unwrap_or(1));
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse_one;

    fn doubled(times: usize) -> Result<()> {
        let queries: Vec<String> = (1..=times)
            .map(|number| {
                let before = number - 1;
                format!("q{number} AS (SELECT x.a FROM q{before} x JOIN Q{before} y ON x.a = y.a)")
            })
            .collect();
        let queries = queries.join(", ");
        check_reads(&mut parse_one(&format!(
            "WITH q0 AS (SELECT a FROM t), {queries} SELECT a FROM q{times}"
        ))?)
    }

    #[test]
    fn a_with_query_counts_each_time_that_it_is_read() {
        doubled(12).unwrap();
        for (times, reads) in [(13, 8192), (40, 1 << 40), (100, u64::MAX)] {
            let error = doubled(times).unwrap_err();
            assert!(error.message().contains(&format!(" {reads} tables")), "{error}");
        }
    }

    #[test]
    fn an_inner_query_hides_an_outer_one_of_its_name() {
        let inner = "WITH q AS (SELECT 1) SELECT * FROM q, q, q";
        let sql = format!("WITH q AS (SELECT * FROM t) SELECT * FROM q, ({inner})");
        check_reads(&mut parse_one(&sql).unwrap()).unwrap();
    }
}
