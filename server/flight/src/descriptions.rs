//! What sessions are told of tables and settings: nothing of the server's folders.
//!
//! `information_schema` has definitions of views and values of settings, which name them. In: a plan. Out:
//! the same, in which texts of that schema are hidden where they are read. Later would be too late: a text
//! that was turned round, cut or compared is none any more in which a folder can be found. Not here: how a
//! text is hidden ([`super::places`]).

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use almagest_engine::Result;
use almagest_engine::sql::tells_of_files;
use almagest_engine::walk::WalkPlan;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, TableScan, Volatility,
};

use super::access::Access;
use super::places::hidden_column;

/// What hides. No statement can name it: it is registered nowhere.
const NAME: &str = "without_folders";

/// The plan, in which what it reads of tables and settings is hidden. A plan that is only shown reads
/// nothing.
///
/// # Errors
/// `Bug` if a plan cannot be changed.
pub fn with_hidden_descriptions(plan: LogicalPlan, access: &Arc<Access>) -> Result<LogicalPlan> {
    if matches!(plan, LogicalPlan::Explain(_)) {
        return Ok(plan);
    }
    let hides = ScalarUDF::from(WithoutFolders {
        access: Arc::clone(access),
        signature: Signature::any(1, Volatility::Stable),
    });
    let changed = plan.change_down_with_subqueries(&mut |node| match &node {
        // a view keeps a plan that was changed already
        LogicalPlan::Projection(projection) if projection.expr.iter().any(is_hidden) => {
            Ok(Transformed::new(node, false, TreeNodeRecursion::Jump))
        }
        LogicalPlan::TableScan(scan) if describes(scan) => {
            let columns: Vec<Expr> = node
                .schema()
                .iter()
                .map(|(table, field)| {
                    let column = Expr::Column(Column::new(table.cloned(), field.name()));
                    match field.data_type() {
                        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                            let hidden = hides.call(vec![column]);
                            hidden.alias_qualified(table.cloned(), field.name())
                        }
                        _ => column,
                    }
                })
                .collect();
            let hidden = LogicalPlanBuilder::from(node).project(columns)?.build()?;
            Ok(Transformed::new(hidden, true, TreeNodeRecursion::Jump))
        }
        _ => Ok(Transformed::no(node)),
    });
    Ok(changed.data()?)
}

/// Whether a scan is of the tables that DataFusion makes of what it knows, or of what files say of themselves. The
/// first by what they are: a name says little, as a session may have another schema where bare names are looked up.
fn describes(scan: &TableScan) -> bool {
    if tells_of_files(scan.table_name.table()) {
        return true;
    }
    let table = source_as_provider(&scan.source);
    table.is_ok_and(|table| (table.as_ref() as &dyn std::any::Any).is::<StreamingTable>())
}

fn is_hidden(expression: &Expr) -> bool {
    let expression = match expression {
        Expr::Alias(alias) => &alias.expr,
        other => other,
    };
    matches!(expression, Expr::ScalarFunction(call) if call.func.name() == NAME)
}

/// The function that gives a text without folders.
#[derive(Debug)]
struct WithoutFolders {
    access: Arc<Access>,
    signature: Signature,
}

impl PartialEq for WithoutFolders {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.access, &other.access)
    }
}

impl Eq for WithoutFolders {}

impl Hash for WithoutFolders {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.access).hash(state);
    }
}

impl ScalarUDFImpl for WithoutFolders {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        Ok(types.first().cloned().unwrap_or(DataType::Null))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DfResult<FieldRef> {
        let given = args.arg_fields.first();
        // as it was: what stands above was planned for that
        Ok(given.map_or_else(
            || Arc::new(Field::new(NAME, DataType::Null, true)),
            |given| Arc::new(Field::clone(given).with_name(NAME)),
        ))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let texts = ColumnarValue::values_to_arrays(&args.args)?;
        let hidden = texts.first().map(|texts| hidden_column(texts, &self.access));
        hidden.map(ColumnarValue::Array).ok_or_else(|| {
            datafusion::error::DataFusionError::Internal("a text to hide is missing".into())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn where_the_key_of_a_cluster_is_stays_secret() {
        let access = Access::default();
        access.keep_secret(Path::new("/home/someone/keys/key"));
        assert_eq!(access.hide("cluster_key = /home/someone/keys/key"), "cluster_key = key");
        access.keep_secret(Path::new("key"));
        assert_eq!(access.hide("/a/b"), "/a/b");
    }
}
