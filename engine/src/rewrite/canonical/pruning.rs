//! Conditions on float columns of files, for pruning.
//!
//! In: a filter over a scan of files, as the query has it. Out: conditions on plain columns that follow from
//! it, to stand beside it. The filter itself, whose floats are wrapped, prunes nothing and proves nothing:
//! statistics leave NaN out, so that neither "no row matches" nor "every row matches" can be told from
//! a greatest value (<https://github.com/apache/datafusion/issues/15812>).
//!
//! A conjunction that no NaN passes, such as `x < 5` or `x > 2 AND x < 5`, may be tested by least and
//! greatest values. Older writers left a NaN as either of these: `OR x > infinity OR x < -infinity` keeps
//! such row groups. It also keeps Bloom filters out of it, which tell 0.0 from -0.0.

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use datafusion::common::{Column, ScalarValue};
use datafusion::datasource::listing::ListingTable;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    BinaryExpr, Expr, Filter, LogicalPlan, Operator, SubqueryAlias, TableScan, lit,
};

use crate::files::GlobbedTable;

/// Conditions nested deeper than this are not looked into.
const DEPTH_MAX: usize = 32;

/// The conditions that may stand beside the filter's own.
pub fn conditions(filter: &Filter) -> Vec<Expr> {
    if !is_over_files(&filter.input) {
        return vec![];
    }
    // of each column: whether no NaN passes, and all that is said of it
    let mut columns: BTreeMap<&Column, (bool, Vec<&Expr>)> = BTreeMap::new();
    for condition in split_conjunction(&filter.predicate) {
        if let Some(Bound { column, excludes_nan }) = bound(condition, 0) {
            let (excluded, conditions) = columns.entry(column).or_default();
            *excluded |= excludes_nan;
            conditions.push(condition);
        }
    }
    let safe = columns.into_iter().filter(|(_, (excluded, _))| *excluded);
    let conditions = safe.filter_map(|(column, (_, conditions))| {
        let (_, field) = filter.input.schema().qualified_field_from_column(column).ok()?;
        let outside = outside_of_numbers(column, field.data_type())?;
        Some(conditions.into_iter().map(move |c| c.clone().or(outside.clone())))
    });
    conditions.flatten().collect()
}

fn is_over_files(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::SubqueryAlias(SubqueryAlias { input, .. }) => is_over_files(input),
        LogicalPlan::TableScan(TableScan { source, .. }) => source_as_provider(source)
            .is_ok_and(|table| table.is::<ListingTable>() || table.is::<GlobbedTable>()),
        _ => false,
    }
}

/// True for NaN alone, written so that least and greatest values can refute it.
fn outside_of_numbers(column: &Column, data_type: &DataType) -> Option<Expr> {
    let (least, greatest) = match data_type {
        DataType::Float32 => (
            ScalarValue::Float32(Some(f32::NEG_INFINITY)),
            ScalarValue::Float32(Some(f32::INFINITY)),
        ),
        DataType::Float64 => (
            ScalarValue::Float64(Some(f64::NEG_INFINITY)),
            ScalarValue::Float64(Some(f64::INFINITY)),
        ),
        _ => return None,
    };
    let column = Expr::Column(column.clone());
    Some(column.clone().gt(lit(greatest)).or(column.lt(lit(least))))
}

/// What a condition says of one column.
struct Bound<'a> {
    column: &'a Column,
    excludes_nan: bool,
}

/// The column of a condition that compares it with numbers, and nothing else.
fn bound(condition: &Expr, depth: usize) -> Option<Bound<'_>> {
    if depth > DEPTH_MAX {
        return None;
    }
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
            let (left, right) = (bound(left, depth + 1)?, bound(right, depth + 1)?);
            let excludes_nan = match op {
                Operator::And => left.excludes_nan || right.excludes_nan,
                _ => left.excludes_nan && right.excludes_nan,
            };
            (left.column == right.column).then_some(Bound { excludes_nan, ..left })
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (column, op) = match (left.as_ref(), right.as_ref()) {
                (Expr::Column(column), number) if is_number(number) => (column, *op),
                (number, Expr::Column(column)) if is_number(number) => (column, op.swap()?),
                _ => return None,
            };
            match op {
                Operator::Lt | Operator::LtEq | Operator::Eq => {
                    Some(Bound { column, excludes_nan: true })
                }
                Operator::Gt | Operator::GtEq => Some(Bound { column, excludes_nan: false }),
                _ => None,
            }
        }
        Expr::InList(InList { expr, list, negated: false })
            // a list is looked up by bits, and zero has two
            if list.iter().all(|value| is_number(value) && !is_zero(value)) =>
        {
            match expr.as_ref() {
                Expr::Column(column) => Some(Bound { column, excludes_nan: true }),
                _ => None,
            }
        }
        _ => None,
    }
}

fn is_zero(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(ScalarValue::Float32(Some(value)), _) => *value == 0.0,
        Expr::Literal(ScalarValue::Float64(Some(value)), _) => *value == 0.0,
        _ => false,
    }
}

fn is_number(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(ScalarValue::Float32(Some(value)), _) => !value.is_nan(),
        Expr::Literal(ScalarValue::Float64(Some(value)), _) => !value.is_nan(),
        _ => false,
    }
}
