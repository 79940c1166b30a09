//! The WITH queries that can be named at a place in a statement.
//!
//! DataFusion resolves them while it plans, but the tables in a table function's call are planned
//! before. So a query in a call brings along the WITH queries around it. In: queries as the pass
//! enters and leaves them. Out: text that means the same outside of the statement.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Cte, ObjectNamePart, Query, Statement, VisitorMut, With};

use super::folded;
use crate::walk::{walk_sql, walk_sql_relations};

/// The WITH queries around the current place.
#[derive(Debug, Default)]
pub struct VisibleCtes {
    frames: Vec<Frame>,
}

#[derive(Debug, Default)]
struct Frame {
    ctes: Vec<Cte>,
    recursive: bool,
    /// Queries directly inside that the pass has left; the WITH queries come first, in order.
    left: usize,
}

impl VisibleCtes {
    /// The pass enters a query.
    pub fn enter(&mut self, query: &Query) {
        self.frames.push(match &query.with {
            Some(with) => {
                Frame { ctes: with.cte_tables.clone(), recursive: with.recursive, left: 0 }
            }
            None => Frame::default(),
        });
    }

    /// The pass leaves the query it entered last.
    pub fn leave(&mut self) {
        self.frames.pop();
        if let Some(around) = self.frames.last_mut() {
            around.left += 1;
        }
    }

    /// The query that gives the table `table` (a name, a call, a query in parentheses), and is whole
    /// in itself; `None` if the table does so already.
    pub fn whole_query(&self, table: &str) -> Option<String> {
        let mut query = None;
        for frame in self.frames.iter().rev() {
            // A query is visible in those behind it and in the body, not in itself.
            let visible = &frame.ctes[..frame.left.min(frame.ctes.len())];
            if visible.is_empty() {
                continue;
            }
            let visible: Vec<String> = visible.iter().map(Cte::to_string).collect();
            let recursive = if frame.recursive { "RECURSIVE " } else { "" };
            let inner = query.map_or_else(|| table.to_string(), |query| format!("({query})"));
            query = Some(format!("WITH {recursive}{} SELECT * FROM {inner}", visible.join(", ")));
        }
        query
    }
}

/// Drops WITH queries that nothing reads. A call's query brings along more than it reads, and each of
/// them may hold calls that do so in turn.
pub fn drop_unread(statement: &mut Statement) {
    let _ = walk_sql(statement, &mut DropUnread);
}

struct DropUnread;

impl VisitorMut for DropUnread {
    type Break = ();

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let Some(mut with) = query.with.take() else { return ControlFlow::Continue(()) };
        let mut read = names_in(query);
        let mut is_read = vec![false; with.cte_tables.len()];
        // once is enough, unless RECURSIVE lets queries read later ones
        loop {
            let before = read.len();
            for (cte, is_read) in with.cte_tables.iter_mut().zip(&mut is_read).rev() {
                if !*is_read && read.contains(&folded(&cte.alias.name)) {
                    *is_read = true;
                    read.extend(names_in(&mut cte.query));
                }
            }
            if read.len() == before {
                break;
            }
        }
        let ctes = with.cte_tables.into_iter().zip(is_read).filter(|(_, is_read)| *is_read);
        let cte_tables: Vec<Cte> = ctes.map(|(cte, _)| cte).collect();
        query.with = (!cte_tables.is_empty()).then_some(With { cte_tables, ..with });
        ControlFlow::Continue(())
    }
}

/// The names without qualifiers that stand in FROM in a query.
fn names_in(query: &mut Query) -> HashSet<String> {
    let mut names = HashSet::new();
    let _ = walk_sql_relations(query, &mut |name| {
        if let [ObjectNamePart::Identifier(ident)] = name.0.as_slice() {
            names.insert(folded(ident));
        }
        ControlFlow::Continue(())
    });
    names
}
