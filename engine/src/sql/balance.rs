//! Long chains of AND, of OR and of UNION as balanced trees.
//!
//! Stage: after the parser. In: a statement, where `a OR b OR c …` is a tree as deep as it is long.
//! Out: the same operands in the same order, in a tree as deep as the logarithm of that. AND and OR
//! are associative also with NULL, so nothing changes but the depth; nor do rows of a UNION. Not here: sums and `||`, whose
//! results may depend on their grouping; they are bounded ([`super::limits`]).

use std::mem;
use std::ops::ControlFlow;

use datafusion::sql::parser::{CopyToSource, Statement};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Query, SetExpr, SetOperator, SetQuantifier, Value, Values, VisitorMut,
};

use crate::walk::walk_sql;

/// Shorter chains stay as they are, so that plans of ordinary statements do too.
const LONG: usize = 64;

/// Balances all long chains of a statement.
pub fn balance(statement: &mut Statement) {
    let _ = match statement {
        Statement::Statement(statement) => walk_sql(statement.as_mut(), &mut Balance),
        Statement::CopyTo(copy) => match &mut copy.source {
            CopyToSource::Query(query) => walk_sql(query.as_mut(), &mut Balance),
            CopyToSource::Relation(_) => ControlFlow::Continue(()),
        },
        Statement::Explain(explain) => {
            balance(&mut explain.statement);
            ControlFlow::Continue(())
        }
        Statement::CreateExternalTable(table) => {
            let _ = walk_sql(&mut table.columns, &mut Balance);
            walk_sql(&mut table.order_exprs, &mut Balance)
        }
        Statement::Reset(_) => ControlFlow::Continue(()),
    };
}

/// The same for an expression.
pub fn balance_expression(expr: &mut Expr) {
    let _ = walk_sql(expr, &mut Balance);
}

struct Balance;

impl VisitorMut for Balance {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(op) = long_chain(expr) {
            let whole = mem::replace(expr, Expr::Value(Value::Null.into()));
            let joined = joined(operands(whole, &op), |left, right| {
                let (left, right) = (Box::new(left), Box::new(right));
                Expr::BinaryOp { left, op: op.clone(), right }
            });
            if let Some(balanced) = joined {
                *expr = balanced;
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        balance_sets(&mut query.body);
        ControlFlow::Continue(())
    }
}

/// The operator of a long chain.
fn long_chain(expr: &Expr) -> Option<BinaryOperator> {
    let Expr::BinaryOp { op: op @ (BinaryOperator::And | BinaryOperator::Or), .. } = expr else {
        return None;
    };
    let (mut length, mut rest) = (0, expr);
    while let Expr::BinaryOp { left, op: next, .. } = rest
        && next == op
    {
        (length, rest) = (length + 1, left);
        if length > LONG {
            return Some(op.clone());
        }
    }
    None
}

/// The operands from left to right. Takes the tree apart without recursion.
fn operands(whole: Expr, chained: &BinaryOperator) -> Vec<Expr> {
    let (mut found, mut rest) = (vec![], whole);
    loop {
        match rest {
            Expr::BinaryOp { left, op, right } if op == *chained => {
                found.push(*right);
                rest = *left;
            }
            first => {
                found.push(first);
                found.reverse();
                return found;
            }
        }
    }
}

/// How a UNION treats equal rows; `None` for what is none, or goes by names.
fn union_of(body: &SetExpr) -> Option<SetQuantifier> {
    match body {
        SetExpr::SetOperation {
            op: SetOperator::Union,
            set_quantifier:
                kind @ (SetQuantifier::All | SetQuantifier::Distinct | SetQuantifier::None),
            ..
        } => Some(*kind),
        _ => None,
    }
}

/// Balances chains of UNION in a query, also those within chains of other kinds.
fn balance_sets(body: &mut SetExpr) {
    balance_unions(body);
    if let SetExpr::SetOperation { left, right, .. } = body {
        balance_sets(left);
        balance_sets(right);
    }
}

fn balance_unions(body: &mut SetExpr) {
    let Some(kind) = union_of(body) else { return };
    let (mut length, mut rest) = (0, &*body);
    while let SetExpr::SetOperation { left, .. } = rest
        && union_of(rest) == Some(kind)
    {
        (length, rest) = (length + 1, left);
    }
    if length <= LONG {
        return;
    }
    let empty = SetExpr::Values(Values { explicit_row: false, rows: vec![], value_keyword: false });
    let (mut found, mut rest) = (vec![], mem::replace(body, empty));
    while union_of(&rest) == Some(kind) {
        let SetExpr::SetOperation { left, right, .. } = rest else { return };
        found.push(*right);
        rest = *left;
    }
    found.push(rest);
    found.reverse();
    let joined = joined(found, |left, right| SetExpr::SetOperation {
        op: SetOperator::Union,
        set_quantifier: kind,
        left: Box::new(left),
        right: Box::new(right),
    });
    if let Some(balanced) = joined {
        *body = balanced;
    }
}

/// Neighbours joined two by two until one is left.
fn joined<T>(mut operands: Vec<T>, join: impl Fn(T, T) -> T) -> Option<T> {
    while operands.len() > 1 {
        let mut pairs = Vec::with_capacity(operands.len().div_ceil(2));
        let mut rest = operands.into_iter();
        while let Some(left) = rest.next() {
            pairs.push(match rest.next() {
                Some(right) => join(left, right),
                None => left,
            });
        }
        operands = pairs;
    }
    operands.pop()
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::ast::Statement as SqlStatement;

    use super::*;
    use crate::sql::parse_expression;

    fn depth(expr: &Expr) -> usize {
        match expr {
            Expr::BinaryOp { left, right, .. } => 1 + depth(left).max(depth(right)),
            _ => 0,
        }
    }

    #[test]
    fn a_long_chain_keeps_the_order_of_its_operands() {
        let names: Vec<String> = (0..1000).map(|number| format!("c{number}")).collect();
        for op in [" OR ", " AND "] {
            let text = names.join(op);
            let expr = parse_expression(&text).unwrap().unwrap();
            assert_eq!(depth(&expr), 10);
            assert_eq!(expr.to_string(), text);
        }
    }

    #[test]
    fn chains_of_each_other_are_balanced_apart() {
        let all = vec!["a AND b"; 500].join(" OR ");
        let expr = parse_expression(&all).unwrap().unwrap();
        assert_eq!(depth(&expr), 10);
        assert_eq!(expr.to_string(), all);
    }

    #[test]
    fn unions_of_one_kind_are_balanced() {
        fn height(body: &SetExpr) -> usize {
            match body {
                SetExpr::SetOperation { left, right, .. } => 1 + height(left).max(height(right)),
                _ => 0,
            }
        }
        let all = (0..200).map(|number| format!("SELECT {number}")).collect::<Vec<_>>();
        let all = format!("{} UNION {}", all.join(" UNION "), all.join(" UNION ALL "));
        let mut statement = crate::sql::parse_one(&all).unwrap();
        assert_eq!(statement.to_string(), all);
        let Statement::Statement(statement) = &mut statement else { panic!("no query") };
        let SqlStatement::Query(query) = statement.as_ref() else { panic!("no query") };
        assert!(height(&query.body) < 20, "{}", height(&query.body));
    }

    #[test]
    fn short_chains_and_sums_stay_as_they_are() {
        let text = vec!["a"; 60].join(" OR ");
        assert_eq!(depth(&parse_expression(&text).unwrap().unwrap()), 59);
        let text = vec!["a"; 300].join(" + ");
        assert_eq!(depth(&parse_expression(&text).unwrap().unwrap()), 299);
    }
}
