//! Walks over plans, expressions and statements, each compiled once.
//!
//! DataFusion's walks are generic over the closure: each closure that is passed to one compiles the whole
//! walk, with all that nodes hold, once more. Those here take `&mut dyn FnMut`, and do the same: the same
//! order, and the same answers to [`TreeNodeRecursion`] and [`Transformed`]. All code of ours walks by them:
//!
//! | DataFusion | here |
//! |---|---|
//! | `apply`, `apply_children`, `exists` | [`Walk::walk`], [`Walk::walk_children`], [`Walk::any`] |
//! | `transform_up` (and `transform`), `transform_down`, `map_children` | [`Walk::change_up`], [`Walk::change_down`], [`Walk::change_children`] |
//! | `apply_expressions`, `map_expressions` | [`WalkPlan::walk_expressions`], [`WalkPlan::change_expressions`] |
//! | `apply_with_subqueries`, `visit_with_subqueries` | [`WalkPlan::walk_with_subqueries`], [`WalkPlan::walk_up_with_subqueries`] |
//! | `transform_up_with_subqueries`, `transform_down_with_subqueries` | [`WalkPlan::change_up_with_subqueries`], [`WalkPlan::change_down_with_subqueries`] |
//!
//! The same holds of syntax trees: [`walk_sql`] takes any visitor as a trait object. Looking goes by it too, as
//! a second walk for what changes nothing would be as large.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion, TreeNodeVisitor};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, ObjectName, Query, Select, Statement, TableFactor, ValueWithSpan, VisitMut,
    VisitorMut,
};

/// What looks at a node, and says where the walk goes on.
pub type Look<'f, N> = dyn FnMut(N) -> Result<TreeNodeRecursion> + 'f;
/// What changes a node.
pub type Change<'f, N> = dyn FnMut(N) -> Result<Transformed<N>> + 'f;

/// Walks over a tree of nodes of one type.
///
/// # Errors
/// All fail with the first error of `f`.
pub trait Walk: Sized {
    /// Looks at this node and all below, each before its children.
    fn walk<'n>(&'n self, f: &mut Look<'_, &'n Self>) -> Result<TreeNodeRecursion>;

    /// Looks at the children.
    fn walk_children<'n>(&'n self, f: &mut Look<'_, &'n Self>) -> Result<TreeNodeRecursion>;

    /// Whether this node or one below is meant; stops at the first.
    fn any(&self, f: &mut dyn FnMut(&Self) -> Result<bool>) -> Result<bool>;

    /// Changes this node and all below, each after its children.
    fn change_up(self, f: &mut Change<'_, Self>) -> Result<Transformed<Self>>;

    /// Changes this node and all below, each before its children.
    fn change_down(self, f: &mut Change<'_, Self>) -> Result<Transformed<Self>>;

    /// Changes the children.
    fn change_children(self, f: &mut Change<'_, Self>) -> Result<Transformed<Self>>;
}

macro_rules! walk {
    ($($node:ty),+) => {$(
        impl Walk for $node {
            fn walk<'n>(&'n self, f: &mut Look<'_, &'n Self>) -> Result<TreeNodeRecursion> {
                self.apply(f)
            }

            fn walk_children<'n>(&'n self, f: &mut Look<'_, &'n Self>) -> Result<TreeNodeRecursion> {
                self.apply_children(f)
            }

            fn any(&self, f: &mut dyn FnMut(&Self) -> Result<bool>) -> Result<bool> {
                let mut found = false;
                self.walk(&mut |node| {
                    found = f(node)?;
                    Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
                })?;
                Ok(found)
            }

            fn change_up(self, f: &mut Change<'_, Self>) -> Result<Transformed<Self>> {
                self.transform_up(f)
            }

            fn change_down(self, f: &mut Change<'_, Self>) -> Result<Transformed<Self>> {
                self.transform_down(f)
            }

            fn change_children(self, f: &mut Change<'_, Self>) -> Result<Transformed<Self>> {
                self.map_children(f)
            }
        }
    )+};
}

walk!(Expr, LogicalPlan, Arc<dyn PhysicalExpr>, Arc<dyn ExecutionPlan>);

/// Walks that logical plans have besides: over expressions, and into the plans within these.
///
/// # Errors
/// All fail with the first error of `f`.
pub trait WalkPlan: Sized {
    /// Looks at the expressions of this node, not at what is in them.
    fn walk_expressions(
        &self,
        f: &mut dyn FnMut(&Expr) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion>;

    /// Changes the expressions of this node.
    fn change_expressions(self, f: &mut Change<'_, Expr>) -> Result<Transformed<Self>>;

    /// Looks at this node and all below, also in subqueries, each before its children.
    fn walk_with_subqueries(
        &self,
        f: &mut dyn FnMut(&Self) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion>;

    /// The same, each after its children.
    fn walk_up_with_subqueries(
        &self,
        f: &mut dyn FnMut(&Self) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion>;

    /// Changes this node and all below, also in subqueries, each after its children.
    fn change_up_with_subqueries(self, f: &mut Change<'_, Self>) -> Result<Transformed<Self>>;

    /// The same, each before its children.
    fn change_down_with_subqueries(self, f: &mut Change<'_, Self>) -> Result<Transformed<Self>>;
}

impl WalkPlan for LogicalPlan {
    fn walk_expressions(
        &self,
        f: &mut dyn FnMut(&Expr) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.apply_expressions(f)
    }

    fn change_expressions(self, f: &mut Change<'_, Expr>) -> Result<Transformed<Self>> {
        self.map_expressions(f)
    }

    fn walk_with_subqueries(
        &self,
        f: &mut dyn FnMut(&Self) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.apply_with_subqueries(f)
    }

    fn walk_up_with_subqueries(
        &self,
        f: &mut dyn FnMut(&Self) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.visit_with_subqueries(&mut Up(f))
    }

    fn change_up_with_subqueries(self, f: &mut Change<'_, Self>) -> Result<Transformed<Self>> {
        self.transform_up_with_subqueries(f)
    }

    fn change_down_with_subqueries(self, f: &mut Change<'_, Self>) -> Result<Transformed<Self>> {
        self.transform_down_with_subqueries(f)
    }
}

/// Looks at plans after their children.
struct Up<'f>(&'f mut dyn FnMut(&LogicalPlan) -> Result<TreeNodeRecursion>);

impl<'n> TreeNodeVisitor<'n> for Up<'_> {
    type Node = LogicalPlan;

    fn f_up(&mut self, node: &'n LogicalPlan) -> Result<TreeNodeRecursion> {
        (self.0)(node)
    }
}

/// Shows all of a statement's part to a visitor, which may change it.
pub(crate) fn walk_sql(
    part: &mut impl VisitMut,
    visitor: &mut dyn VisitorMut<Break = ()>,
) -> ControlFlow<()> {
    part.visit(&mut Shown(visitor))
}

/// Looks at all expressions of a statement's part, each before what is in it.
pub(crate) fn walk_sql_expressions(
    part: &mut impl VisitMut,
    f: &mut dyn FnMut(&SqlExpr) -> ControlFlow<()>,
) -> ControlFlow<()> {
    walk_sql(part, &mut Expressions(f))
}

/// Looks at the names of all relations of a statement's part.
pub(crate) fn walk_sql_relations(
    part: &mut impl VisitMut,
    f: &mut dyn FnMut(&ObjectName) -> ControlFlow<()>,
) -> ControlFlow<()> {
    walk_sql(part, &mut Relations(f))
}

struct Expressions<'f>(&'f mut dyn FnMut(&SqlExpr) -> ControlFlow<()>);

impl VisitorMut for Expressions<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut SqlExpr) -> ControlFlow<()> {
        (self.0)(expr)
    }
}

struct Relations<'f>(&'f mut dyn FnMut(&ObjectName) -> ControlFlow<()>);

impl VisitorMut for Relations<'_> {
    type Break = ();

    fn pre_visit_relation(&mut self, name: &mut ObjectName) -> ControlFlow<()> {
        (self.0)(name)
    }
}

/// The one visitor for which the walk over syntax trees is compiled; it passes on all that it is shown.
struct Shown<'v>(&'v mut dyn VisitorMut<Break = ()>);

macro_rules! pass_on {
    ($($method:ident($part:ty)),+) => {
        impl VisitorMut for Shown<'_> {
            type Break = ();

            $(fn $method(&mut self, part: &mut $part) -> ControlFlow<()> {
                self.0.$method(part)
            })+
        }
    };
}

pass_on!(
    pre_visit_query(Query),
    post_visit_query(Query),
    pre_visit_select(Select),
    post_visit_select(Select),
    pre_visit_relation(ObjectName),
    post_visit_relation(ObjectName),
    pre_visit_table_factor(TableFactor),
    post_visit_table_factor(TableFactor),
    pre_visit_expr(SqlExpr),
    post_visit_expr(SqlExpr),
    pre_visit_statement(Statement),
    post_visit_statement(Statement),
    pre_visit_value(ValueWithSpan),
    post_visit_value(ValueWithSpan)
);
