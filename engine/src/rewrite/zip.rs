//! A join of arrays of one shape on all their dimensions becomes one scan of both.
//!
//! Stage: analyzer, before everything else about arrays. Before and after:
//!
//! ```text
//! Join: a.y = b.y AND a.x = b.x       Projection: y AS a.y, x AS a.x, value AS a.value, y AS b.y, …
//!   TableScan: a (ArrayTable)    ─▶     TableScan: a with b (ArrayTable with the columns of both)
//!   TableScan: b (ArrayTable)
//! ```
//!
//! Matches inner joins, and outer ones without other conditions, over chains of projections, aliases
//! and (inner only) filters on array tables. Arrays of different shapes, and dimensions joined
//! crosswise, stay a plain join. Running twice changes nothing: no such join is left.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, JoinType, NullEquality, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    BinaryExpr, Expr, Filter, Join, LogicalPlan, LogicalPlanBuilder, Operator, Projection,
};
use datafusion::optimizer::AnalyzerRule;

use super::restate::restated;
use super::source::Source;
use crate::catalog::ArrayTable;
use crate::walk::{Walk, WalkPlan};

/// The rule.
#[derive(Debug)]
pub struct Zip;

impl AnalyzerRule for Zip {
    fn name(&self) -> &str {
        "array_zip"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        let zipped = plan.change_up_with_subqueries(&mut |plan| match &plan {
            LogicalPlan::Join(join) => Ok(match zipped(join)? {
                Some(zipped) => Transformed::yes(zipped),
                None => Transformed::no(plan),
            }),
            _ => Ok(Transformed::no(plan)),
        })?;
        Ok(zipped.data)
    }
}

/// One side of a join: its table, and its columns over the table's.
struct Side {
    source: Source,
    schema: Arc<DFSchema>,
}

impl Side {
    fn find(plan: &LogicalPlan) -> DfResult<Option<Self>> {
        let columns = plan.schema().columns().into_iter().map(Expr::Column).collect();
        let source = Source::find(plan, columns)?;
        Ok(source.map(|source| Self { source, schema: Arc::clone(plan.schema()) }))
    }

    /// The axis that an expression over the side's columns is the index of.
    fn axis(&self, expr: &Expr) -> DfResult<Option<usize>> {
        let columns = expr.column_refs();
        if columns.is_empty() || !columns.iter().all(|column| self.schema.has_column(column)) {
            return Ok(None);
        }
        Ok(match restated(expr.clone(), &self.schema, &self.source.expressions)? {
            Expr::Column(column) => {
                self.source.table.dims().iter().position(|dim| *dim == column.name)
            }
            _ => None,
        })
    }
}

fn zipped(join: &Join) -> DfResult<Option<LogicalPlan>> {
    let outer = matches!(join.join_type, JoinType::Left | JoinType::Right | JoinType::Full);
    if !(outer || join.join_type == JoinType::Inner)
        || join.null_equality != NullEquality::NullEqualsNothing
    {
        return Ok(None);
    }
    let (Some(left), Some(right)) = (Side::find(&join.left)?, Side::find(&join.right)?) else {
        return Ok(None);
    };
    if left.source.table.shape() != right.source.table.shape() {
        return Ok(None);
    }
    let Some(rest) = conditions_beside(join, &left, &right)? else { return Ok(None) };
    let filtered = !(left.source.filters.is_empty() && right.source.filters.is_empty());
    if outer && (filtered || !rest.is_empty()) {
        return Ok(None);
    }
    one_scan(join, &left, &right, rest).map(Some)
}

/// The conditions of a join beside the equality of each dimension; `None` if one is not equated.
fn conditions_beside(join: &Join, left: &Side, right: &Side) -> DfResult<Option<Vec<Expr>>> {
    let mut equated = vec![false; left.source.table.dims().len()];
    let mut rest = vec![];
    let pairs = join.on.iter().map(|(one, other)| one.clone().eq(other.clone()));
    let others = join.filter.iter().flat_map(split_conjunction).cloned();
    for condition in pairs.chain(others) {
        let axes = match &condition {
            Expr::BinaryExpr(BinaryExpr { left: one, op: Operator::Eq, right: other }) => {
                let there = (left.axis(one)?, right.axis(other)?);
                let back = (left.axis(other)?, right.axis(one)?);
                if there.0.is_some() { there } else { back }
            }
            _ => (None, None),
        };
        match axes {
            (Some(one), Some(other)) if one == other => equated[one] = true,
            _ => rest.push(condition),
        }
    }
    Ok((!equated.is_empty() && equated.iter().all(|equated| *equated)).then_some(rest))
}

/// The join as a scan of both tables' columns.
fn one_scan(join: &Join, left: &Side, right: &Side, rest: Vec<Expr>) -> DfResult<LogicalPlan> {
    let (one, other) = (&left.source.table, &right.source.table);
    let (table, renamed) = one.zip(other)?;
    let name = TableReference::bare(format!("{} with {}", left.source.name, right.source.name));
    let qualified = |expr: &Expr, rename: &dyn Fn(&str) -> String| -> DfResult<Expr> {
        let changed = expr.clone().change_up(&mut |part| match part {
            Expr::Column(column) => {
                let column = Column::new(Some(name.clone()), rename(&column.name));
                Ok(Transformed::yes(Expr::Column(column)))
            }
            part => Ok(Transformed::no(part)),
        })?;
        Ok(changed.data)
    };
    let same = |name: &str| name.to_string();
    let of_right = |name: &str| {
        let found = renamed.iter().find(|(before, _)| before == name);
        found.map_or_else(|| name.to_string(), |(_, after)| after.clone())
    };
    let mut outputs = vec![];
    for expr in &left.source.expressions {
        outputs.push(qualified(expr, &same)?);
    }
    for expr in &right.source.expressions {
        outputs.push(qualified(expr, &of_right)?);
    }
    let mut filters = vec![];
    for filter in &left.source.filters {
        filters.push(qualified(filter, &same)?);
    }
    for filter in &right.source.filters {
        filters.push(qualified(filter, &of_right)?);
    }
    for condition in rest {
        filters.push(restated(condition, &join.schema, &outputs)?);
    }
    let source = provider_as_source(Arc::new(table));
    let mut plan = LogicalPlanBuilder::scan(name, source, None)?.build()?;
    if let Some(condition) = conjunction(filters) {
        plan = LogicalPlan::Filter(Filter::try_new(condition, Arc::new(plan))?);
    }
    let outputs = join.schema.iter().zip(outputs);
    let outputs = outputs
        .map(|((qualifier, field), expr)| expr.alias_qualified(qualifier.cloned(), field.name()));
    Ok(LogicalPlan::Projection(Projection::try_new(outputs.collect(), Arc::new(plan))?))
}

impl ArrayTable {
    /// A table with the columns of both, and the names that columns of `other` have in it, where
    /// they have others. The shapes are the same.
    fn zip(&self, other: &Self) -> crate::Result<(Self, Vec<(String, String)>)> {
        let mut variables: Vec<(String, _)> =
            self.variables().map(|(name, source)| (name.to_string(), Arc::clone(source))).collect();
        let dims = other.dims().iter().zip(self.dims());
        let mut renamed: Vec<(String, String)> =
            dims.map(|(theirs, ours)| (theirs.clone(), ours.clone())).collect();
        for (name, source) in other.variables() {
            let mut free = name.to_string();
            while self.dims().contains(&free) || variables.iter().any(|(taken, _)| *taken == free) {
                free.push('\'');
            }
            renamed.push((name.to_string(), free.clone()));
            variables.push((free, Arc::clone(source)));
        }
        let mut table = Self::try_new(self.name(), variables)?;
        table.set_dims(self.dims());
        Ok((table, renamed))
    }
}
