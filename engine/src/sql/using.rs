//! The one column that `JOIN … USING (k)` makes of two.
//!
//! In: a SELECT whose tables are named. Out: the same, where `k` without a table is the column of the table
//! that has it in every row: the left one, the right one under RIGHT JOIN, and `coalesce` of both
//! under FULL JOIN. DataFusion takes the left one, or finds `k` ambiguous, and so gives NULL for
//! rows of the right table alone. Queries within have names of their own and are left alone. Not
//! here: NATURAL, whose columns only the tables know; a RIGHT or FULL one is refused.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    Join, JoinConstraint, JoinOperator, ObjectName, OrderBy, OrderByKind, PipeOperator, Query,
    ReplaceSelectElement, ReplaceSelectItem, Select, SelectItem, SetExpr, TableFactor,
    TableWithJoins, VisitorMut,
};

use super::folded;
use super::join_words::constraint;
use crate::walk::walk_sql;
use crate::{Error, Result};

/// A column that two tables share.
struct Shared {
    name: String,
    /// What it is; `None` if its tables cannot be told.
    is: Option<Expr>,
    /// Whether it is another than DataFusion takes.
    differs: bool,
}

/// Replaces the shared columns in a SELECT.
///
/// # Errors
/// `Unsupported` for joins whose shared columns cannot be told.
pub fn in_select(select: &mut Select) -> Result<()> {
    let shared = shared(&select.from)?;
    if shared.is_empty() {
        return Ok(());
    }
    for item in &mut select.projection {
        named(item, &shared);
    }
    let mut columns = Columns { shared: &shared, queries: 0, parameters: vec![] };
    let _ = walk_sql(select, &mut columns);
    Ok(())
}

/// Replaces them in the ORDER BY of a query, where the SELECT list has no such name.
///
/// # Errors
/// As [`in_select`].
pub fn in_order(query: &mut Query) -> Result<()> {
    for operator in &query.pipe_operators {
        if let PipeOperator::Join(join) = operator
            && matches!(side(join), Side::Right | Side::Both)
            && let Some(JoinConstraint::Using(_) | JoinConstraint::Natural) =
                constraint(&join.join_operator)
        {
            return Err(refused("USING or NATURAL behind |>"));
        }
    }
    let SetExpr::Select(select) = query.body.as_ref() else { return Ok(()) };
    let Some(OrderBy { kind: OrderByKind::Expressions(sorts), .. }) = &mut query.order_by else {
        return Ok(());
    };
    let mut shared = shared(&select.from)?;
    shared.retain(|shared| !select.projection.iter().any(|item| gives(item, &shared.name)));
    if !shared.is_empty() {
        let mut columns = Columns { shared: &shared, queries: 0, parameters: vec![] };
        for sort in sorts {
            let _ = walk_sql(&mut sort.expr, &mut columns);
        }
    }
    Ok(())
}

/// Whether an item of the SELECT list has this name.
fn gives(item: &SelectItem, name: &str) -> bool {
    match item {
        SelectItem::UnnamedExpr(Expr::Identifier(ident)) => folded(ident) == name,
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(idents)) => {
            idents.last().is_some_and(|ident| folded(ident) == name)
        }
        SelectItem::ExprWithAlias { alias, .. } => folded(alias) == name,
        SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => true,
        _ => false,
    }
}

/// The shared columns of a FROM with one table and its joins.
fn shared(tables: &[TableWithJoins]) -> Result<Vec<Shared>> {
    let mut shared: Vec<Shared> = vec![];
    let [TableWithJoins { relation, joins }] = tables else {
        for tables in tables {
            let kept = self::shared(std::slice::from_ref(tables))?;
            // a table beside may have the name too, which DataFusion finds ambiguous
            shared.extend(kept.into_iter().filter(|shared| shared.differs));
        }
        return Ok(shared);
    };
    let others = joins.iter().map(|join| &join.relation);
    for table in std::iter::once(relation).chain(others) {
        if let TableFactor::NestedJoin { table_with_joins, .. } = table {
            let within = self::shared(std::slice::from_ref(table_with_joins.as_ref()))?;
            if within.iter().any(|shared| shared.differs) {
                return Err(refused("USING in parentheses"));
            }
        }
    }
    for (at, join) in joins.iter().enumerate() {
        let names = match constraint(&join.join_operator) {
            Some(JoinConstraint::Using(names)) => names,
            Some(JoinConstraint::Natural) if matches!(side(join), Side::Right | Side::Both) => {
                return Err(refused("NATURAL"));
            }
            _ => continue,
        };
        for name in names {
            let Some(ident) = name.0.last().and_then(|part| part.as_ident()) else { continue };
            let before = shared.iter().position(|shared| shared.name == folded(ident));
            let before = before.map(|at| shared.swap_remove(at));
            if before.as_ref().is_some_and(|before| before.differs) {
                return Err(refused("USING after another one"));
            }
            let left = match before {
                Some(before) => before.is,
                None if at == 0 => column_of(relation, ident),
                None => None,
            };
            let right = column_of(&join.relation, ident);
            let (is, differs) = match side(join) {
                Side::Left => (left, false),
                Side::Either => (left.or(right), false),
                Side::Right => (right, true),
                Side::Both => (left.zip(right).map(|(left, right)| coalesce(left, right)), true),
            };
            if differs && is.is_none() {
                return Err(refused("USING"));
            }
            shared.push(Shared { name: folded(ident), is, differs });
        }
    }
    Ok(shared)
}

/// Which table has the shared column in every row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
    Either,
    Both,
}

fn side(join: &Join) -> Side {
    match join.join_operator {
        JoinOperator::Join(_) | JoinOperator::Inner(_) => Side::Either,
        JoinOperator::Right(_)
        | JoinOperator::RightOuter(_)
        | JoinOperator::RightSemi(_)
        | JoinOperator::RightAnti(_) => Side::Right,
        JoinOperator::FullOuter(_) => Side::Both,
        _ => Side::Left,
    }
}

fn refused(what: &str) -> Error {
    Error::unsupported(format!(
        "RIGHT and FULL JOIN with {what}: which table the shared columns come from cannot be told; \
         give the tables names, write ON a.k = b.k, and coalesce(a.k, b.k) AS k for the column"
    ))
}

/// A column of a table that has a name.
fn column_of(table: &TableFactor, column: &Ident) -> Option<Expr> {
    let (name, alias) = match table {
        TableFactor::Table { name, alias, .. } => (Some(name), alias),
        TableFactor::Derived { alias, .. }
        | TableFactor::Function { alias, .. }
        | TableFactor::UNNEST { alias, .. } => (None, alias),
        _ => return None,
    };
    let mut idents: Vec<Ident> = match (alias, name) {
        (Some(alias), _) => vec![alias.name.clone()],
        (None, Some(name)) => {
            let idents = name.0.iter().map(|part| part.as_ident().cloned());
            idents.collect::<Option<_>>()?
        }
        (None, None) => return None,
    };
    idents.push(column.clone());
    Some(Expr::CompoundIdentifier(idents))
}

fn coalesce(left: Expr, right: Expr) -> Expr {
    let args = [left, right].map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)));
    let args =
        FunctionArgumentList { duplicate_treatment: None, args: args.into(), clauses: vec![] };
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new("coalesce")]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(args),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

/// Keeps the name of a shared column that becomes an expression.
fn named(item: &mut SelectItem, shared: &[Shared]) {
    let differing = |name: &str| shared.iter().find(|other| other.differs && other.name == name);
    match item {
        SelectItem::UnnamedExpr(Expr::Identifier(ident)) => {
            if let Some(Shared { is: Some(expr), .. }) = differing(&folded(ident)) {
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: ident.clone() };
            }
        }
        SelectItem::Wildcard(options) => {
            let replaced = options.opt_replace.get_or_insert(ReplaceSelectItem { items: vec![] });
            for shared in shared.iter().filter(|shared| shared.differs) {
                let mut there = replaced.items.iter().map(|item| folded(&item.column_name));
                let is_there = there.any(|name| name == shared.name);
                let (Some(expr), false) = (&shared.is, is_there) else { continue };
                let column_name = Ident::with_quote('"', shared.name.clone());
                let expr = expr.clone();
                let element = ReplaceSelectElement { expr, column_name, as_keyword: true };
                replaced.items.push(Box::new(element));
            }
            if replaced.items.is_empty() {
                options.opt_replace = None;
            }
        }
        _ => {}
    }
}

/// Replaces names of shared columns outside of queries within.
struct Columns<'a> {
    shared: &'a [Shared],
    queries: usize,
    /// Names that lambdas around the place give to their arguments.
    parameters: Vec<Vec<String>>,
}

impl VisitorMut for Columns<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Lambda(lambda) = expr {
            self.parameters.push(lambda.params.iter().map(|param| folded(&param.name)).collect());
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Lambda(_) => {
                self.parameters.pop();
            }
            Expr::Identifier(ident) if self.queries == 0 => {
                let name = folded(ident);
                let hidden = self.parameters.iter().flatten().any(|parameter| *parameter == name);
                let shared = self.shared.iter().find(|shared| shared.name == name);
                if let (Some(Shared { is: Some(is), .. }), false) = (shared, hidden) {
                    *expr = is.clone();
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
