//! `SHOW COLUMNS FROM 'file'`, which DataFusion looks up among the tables that have names.
//!
//! In: a statement. Out: the plan of its answer if it asks for the columns of a file, with the columns that
//! such an answer has for a table. Not here: tables with names, which are left to DataFusion.

use datafusion::common::TableReference;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    DescribeAlias, Ident, ObjectName, ObjectNamePart, ShowStatementIn, ShowStatementOptions,
    Statement as Sql,
};

use super::{explain_missing, folded};
use crate::{Error, Result};

/// The columns of the answer.
const ANSWER: [&str; 6] =
    ["table_catalog", "table_schema", "table_name", "column_name", "data_type", "is_nullable"];

/// The plan of the answer, if a statement asks for the columns of a file.
///
/// # Errors
/// `NotFound` without such a file, `Unsupported` for SHOW FULL COLUMNS.
pub async fn of_file(statement: &Statement, state: &SessionState) -> Result<Option<LogicalPlan>> {
    let Some((name, more)) = asked(statement, state) else { return Ok(None) };
    let table = name.to_string();
    let describe = Sql::ExplainTable {
        describe_alias: DescribeAlias::Describe,
        hive_format: None,
        has_table_keyword: false,
        table_name: ObjectName::from(vec![name.clone()]),
    };
    let plan = state.statement_to_plan(Statement::Statement(Box::new(describe))).await;
    let plan = plan.map_err(|cause| explain_missing(cause, state))?;
    let LogicalPlan::DescribeTable(described) = &plan else { return Ok(None) };
    if more {
        return Err(Error::unsupported(format!(
            "SHOW FULL and EXTENDED COLUMNS of a file; use SHOW COLUMNS FROM {table}"
        )));
    }
    let catalog = &state.config_options().catalog;
    let rows = described.schema.fields().iter().map(|field| {
        vec![
            lit(catalog.default_catalog.as_str()),
            lit(catalog.default_schema.as_str()),
            lit(name.value.as_str()),
            lit(field.name().as_str()),
            lit(field.data_type().to_string()),
            lit(if field.is_nullable() { "YES" } else { "NO" }),
        ]
    });
    let rows = LogicalPlanBuilder::values(rows.collect())?;
    let columns = rows.schema().columns().into_iter().zip(ANSWER);
    let columns: Vec<Expr> =
        columns.map(|(column, name)| Expr::Column(column).alias(name)).collect();
    Ok(Some(rows.project(columns)?.build()?))
}

/// The name that a statement asks for, if it is no table's; and whether it asks for more.
fn asked<'a>(statement: &'a Statement, state: &SessionState) -> Option<(&'a Ident, bool)> {
    let Statement::Statement(statement) = statement else { return None };
    let Sql::ShowColumns { extended, full, show_options } = statement.as_ref() else { return None };
    let ShowStatementOptions {
        show_in: Some(ShowStatementIn { parent_name: Some(name), .. }),
        starts_with: None,
        limit: None,
        limit_from: None,
        filter_position: None,
    } = show_options
    else {
        return None;
    };
    let [ObjectNamePart::Identifier(ident)] = name.0.as_slice() else { return None };
    let name = folded(ident);
    let schema = state.schema_for_ref(TableReference::bare(name.as_str())).ok()?;
    // a path is found there too, so only the list tells
    let is_table = schema.table_names().contains(&name);
    (!is_table && crate::files::looks_like_path(&name)).then_some((ident, *extended || *full))
}
