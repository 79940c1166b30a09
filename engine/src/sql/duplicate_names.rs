//! Refuses a name that stands for two columns of a query within, a view or a WITH query.
//!
//! In: a plan as DataFusion's planner makes it. Out: an error if `id` is read from
//! `(SELECT a.id, b.id FROM …) s`. DataFusion calls the second one `id:1` and takes the first in
//! silence. All of them at once, as `SELECT *` takes them, are fine.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Column, TableReference};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Expr, LogicalPlan, SubqueryAlias};

use crate::walk::{Walk, WalkPlan};
use crate::{Error, Result};

/// Refuses names that stand for two columns.
///
/// # Errors
/// `Plan`, naming the table and the column.
pub fn refuse(plan: &LogicalPlan) -> Result<()> {
    let mut names = Names::default();
    plan.walk_up_with_subqueries(&mut |node| names.node(node))?;
    match names.wrong {
        None => Ok(()),
        Some(error) => Err(error),
    }
}

/// Columns that had one name, by the first of them: what DataFusion calls the others.
#[derive(Default)]
struct Names {
    others: BTreeMap<Column, BTreeSet<Column>>,
    wrong: Option<Error>,
}

impl Names {
    /// Looks at a node whose children it has seen; stops once a name is wrong.
    fn node(&mut self, node: &LogicalPlan) -> DfResult<TreeNodeRecursion> {
        match node {
            LogicalPlan::SubqueryAlias(alias) => self.alias(alias),
            other => self.check(other)?,
        }
        Ok(match self.wrong {
            Some(_) => TreeNodeRecursion::Stop,
            None => TreeNodeRecursion::Continue,
        })
    }

    /// Notes what an alias hides.
    fn alias(&mut self, alias: &SubqueryAlias) {
        let columns = alias.input.schema().columns();
        let renamed = |place: usize| renamed_from(&alias.input, place);
        for (place, column) in columns.iter().enumerate() {
            let mut hidden: BTreeSet<&str> = match self.others.get(column) {
                Some(others) => others.iter().map(|other| other.name.as_str()).collect(),
                None => BTreeSet::new(),
            };
            hidden.retain(|name| columns.iter().any(|column| column.name == *name));
            let same = (place + 1..columns.len())
                .filter(|other| renamed(*other).is_some_and(|name| name == column.name));
            hidden.extend(same.map(|other| columns[other].name.as_str()));
            let of = |name: &str| Column::new(Some(alias.alias.clone()), name);
            if !hidden.is_empty() {
                let hidden = hidden.into_iter().map(of).collect();
                self.others.insert(of(&column.name), hidden);
            }
        }
    }

    /// Looks for a name that stands for several columns.
    fn check(&mut self, node: &LogicalPlan) -> DfResult<()> {
        let mut read: BTreeSet<Column> = BTreeSet::new();
        node.walk_expressions(&mut |expr| {
            expr.walk(&mut |part| {
                if let Expr::Column(column) | Expr::OuterReferenceColumn(_, column) = part {
                    read.insert(column.clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        let inputs = node.inputs();
        for column in &read {
            let Some(others) = self.others.get(column) else { continue };
            // another table may have had this name elsewhere in the statement
            let is_here = |column: &Column| {
                inputs.is_empty() || inputs.iter().any(|input| input.schema().has_column(column))
            };
            if others.iter().all(is_here) && !others.is_subset(&read) {
                let table = column.relation.as_ref().map_or("", TableReference::table);
                self.wrong = Some(Error::plan(format!(
                    "column {name} of {table} stands there {count} times; give each a name of its own, \
                     such as a.{name} AS {name}_a, in {table}",
                    name = column.name,
                    count = others.len() + 1
                )));
            }
        }
        Ok(())
    }
}

/// The name that a column of an alias' input had, if DataFusion gave it a number.
fn renamed_from(input: &LogicalPlan, place: usize) -> Option<&str> {
    let LogicalPlan::Projection(projection) = input else { return None };
    let Expr::Alias(alias) = projection.expr.get(place)? else { return None };
    let Expr::Column(column) = alias.expr.as_ref() else { return None };
    let number = alias.name.strip_prefix(&column.name)?.strip_prefix(':')?;
    let numbered = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
    (numbered && alias.relation == column.relation).then_some(column.name.as_str())
}
