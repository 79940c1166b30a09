//! Subqueries in a SELECT list without names are told apart.
//!
//! Stage: pass over the syntax tree. DataFusion calls each of them `(<subquery>)`, and refuses two of a name.
//! In: the list of a SELECT. Out: the same; where several hold subqueries and have no name, each is called
//! as it is written.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Ident, Select, SelectItem};

use crate::walk::walk_sql_expressions;

/// Names what would not be told apart.
pub fn tell_apart(select: &mut Select) {
    let unnamed = |item: &mut SelectItem| match item {
        SelectItem::UnnamedExpr(expr) => holds_subquery(expr),
        _ => false,
    };
    if select.projection.iter_mut().map(unnamed).filter(|unnamed| *unnamed).count() < 2 {
        return;
    }
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) = item
            && holds_subquery(expr)
        {
            let alias = Ident::with_quote('"', expr.to_string());
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        }
    }
}

fn holds_subquery(expr: &mut Expr) -> bool {
    let mut is_one = |part: &Expr| match part {
        Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    walk_sql_expressions(expr, &mut is_one).is_break()
}
