//! Names of tables as they survive the way to a cluster.
//!
//! In: a plan that is to be written. Out: the same, whose columns name their tables in quotes where these
//! need them. DataFusion 55 writes the table of a column as plain text and parses it when it reads: the
//! file `'rb.parquet'` would be the table `parquet` of the schema `rb`, and `"Sky"` be `sky`
//! (`datafusion-proto-common`, `From<Column>`). The plan is for writing only: its columns are no more
//! those of its tables. The test below fails when DataFusion quotes them.

use std::sync::Arc;

use almagest_engine::walk::{Walk, WalkPlan};
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{Column, DFSchema, TableReference};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Expr, LogicalPlan, Unnest};

/// The plan with names that are read as they were.
///
/// # Errors
/// `Bug` if a node does not take its expressions back.
pub fn quoted(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    let mut columns = |expr: Expr| {
        expr.change_up(&mut |part| match part {
            Expr::Column(column) => Ok(with_quotes(column).update_data(Expr::Column)),
            Expr::OuterReferenceColumn(field, column) => {
                let column = with_quotes(column);
                Ok(column.update_data(|column| Expr::OuterReferenceColumn(field, column)))
            }
            other => Ok(Transformed::no(other)),
        })
    };
    let named = plan.change_down_with_subqueries(&mut |node| {
        node.change_expressions(&mut columns)?.map_data(|node| match node {
            LogicalPlan::Unnest(unnest) => {
                let schema = Arc::new(of_schema(&unnest.schema)?);
                Ok(LogicalPlan::Unnest(Unnest { schema, ..unnest }))
            }
            node => Ok(node),
        })
    });
    named.data()
}

/// A schema whose columns are so named: the one node that is written with it keeps it.
fn of_schema(schema: &DFSchema) -> DfResult<DFSchema> {
    let fields = schema.iter().map(|(table, field)| {
        let column = with_quotes(Column::new(table.cloned(), field.name())).data;
        (column.relation, Arc::clone(field))
    });
    DFSchema::new_with_metadata(fields.collect(), schema.metadata().clone())
}

/// A column whose table is written so that it is read as it is.
fn with_quotes(mut column: Column) -> Transformed<Column> {
    let survives = |table: &TableReference| {
        TableReference::parse_str_normalized(&table.to_string(), true) == *table
    };
    match column.relation.take() {
        Some(table) if !survives(&table) => {
            column.relation = Some(TableReference::bare(table.to_quoted_string()));
            Transformed::yes(column)
        }
        table => {
            column.relation = table;
            Transformed::no(column)
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion_proto::generated::datafusion_common as protobuf;

    use super::*;

    fn travelled(column: Column) -> Column {
        protobuf::Column::from(column).into()
    }

    #[test]
    fn names_of_tables_survive() {
        let tables = [
            TableReference::bare("rb.parquet"),
            TableReference::bare("Sky"),
            TableReference::bare("a"),
            TableReference::bare("a.b.c.d.parquet"),
            TableReference::bare("/tmp/x.parquet"),
            TableReference::bare("it\"s.csv"),
            TableReference::bare("two words"),
            TableReference::bare("crop('a.h5', y => [0, 1])"),
            TableReference::partial("s", "T.x"),
            TableReference::full("C", "s", "t"),
        ];
        for table in tables {
            let column = Column::new(Some(table.clone()), "k.K");
            let read = travelled(with_quotes(column.clone()).data);
            assert_eq!(read, column, "{table}");
        }
    }

    /// When this fails, DataFusion writes the names in quotes, and the plan can stay as it is.
    #[test]
    fn datafusion_still_writes_names_without_quotes() {
        let column = Column::new(Some(TableReference::bare("rb.parquet")), "k");
        assert_ne!(travelled(column.clone()), column);
    }
}
