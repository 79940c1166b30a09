//! The WITH queries that can be named at a place in a statement.
//!
//! DataFusion resolves them while it plans, but the tables in a table function's call are planned
//! before. So a query in a call brings along the WITH queries around it. In: queries as the pass
//! enters and leaves them. Out: text that means the same outside of the statement.

use datafusion::sql::sqlparser::ast::{Cte, Query};

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
