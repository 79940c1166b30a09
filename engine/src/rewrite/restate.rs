//! Expressions over a node's output, restated over its input.

use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr_rewriter::unnormalize_col;

use crate::walk::Walk;

/// Replaces each column of `schema` in an expression by the expression that stands for it.
///
/// # Errors
/// `Plan` for a column that `schema` does not have.
pub fn restated(expr: Expr, schema: &DFSchema, given: &[Expr]) -> DfResult<Expr> {
    let changed = expr.change_up(&mut |part| match &part {
        Expr::Column(column) => {
            let index = schema.index_of_column(column)?;
            Ok(Transformed::yes(given[index].clone()))
        }
        _ => Ok(Transformed::no(part)),
    });
    Ok(changed?.data)
}

/// The expression with bare column names.
pub fn unqualified(expr: Expr) -> Expr {
    unnormalize_col(expr)
}
