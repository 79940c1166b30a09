//! Our table functions for `SessionContext::sql`, where no pass runs: positional arguments only.
//!
//! DataFusion plans table functions without awaiting, on whatever thread plans. Opening a file
//! awaits, and the runtime of that thread may have no other thread, so the file is opened on a
//! thread and runtime of its own while the planning thread waits. `Session::sql` does not come here.

use std::sync::Arc;

use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as DfResult;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::Expr;
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, FunctionArg, FunctionArgExpr, Value};

use super::relation_call::open_relation;
use super::table_call::{READ_PREFIX, TELLING, TableCall};
use crate::array::Arguments;
use crate::catalog::{ArrayRelation, RelationInputs, value_of};
use crate::registry::Registry;
use crate::{Error, Result, files};

/// Registers `read_…` for every format, those that tell of files, and the table functions of arrays.
pub fn register_table_functions(context: &SessionContext, registry: &Registry) {
    let formats = registry.formats().iter().map(|format| format.name().to_lowercase());
    let readers = formats
        .chain(files::FILE_TYPES.iter().map(|name| (*name).to_string()))
        .map(|name| format!("{READ_PREFIX}{name}"));
    for name in readers.chain(TELLING.iter().map(|function| function.name.to_string())) {
        let function = OpeningFunction { name: name.clone(), registry: registry.clone() };
        context.register_udtf(&name, Arc::new(function));
    }
    for relation in registry.relations() {
        let function =
            RelationFunction { relation: Arc::clone(relation), registry: registry.clone() };
        context.register_udtf(relation.name(), Arc::new(function));
    }
}

#[derive(Debug)]
struct RelationFunction {
    relation: Arc<dyn ArrayRelation>,
    registry: Registry,
}

impl TableFunctionImpl for RelationFunction {
    /// Tables stand in quotes here: DataFusion takes names for columns.
    fn call_with_args(&self, args: TableFunctionArgs) -> DfResult<Arc<dyn TableProvider>> {
        let state = state_of(&args)?;
        let mut tables = vec![];
        let mut values = vec![];
        for (place, expr) in args.exprs().iter().enumerate() {
            let is_table = match self.relation.inputs() {
                RelationInputs::None => false,
                RelationInputs::One => place == 0,
                RelationInputs::Many => true,
            };
            let physical = state.create_physical_expr(expr.clone(), &DFSchema::empty())?;
            let value = value_of(&physical)?;
            match value.try_as_str() {
                Some(Some(name)) if is_table => {
                    tables.push(format!("'{}'", name.replace('\'', "''")));
                }
                _ if is_table => {
                    return Err(Error::plan(format!(
                        "{}: {expr} is no table; write its name in quotes, or query with \
                         Session::sql",
                        self.relation.name()
                    ))
                    .into());
                }
                _ => values.push(value),
            }
        }
        let (relation, registry) = (Arc::clone(&self.relation), &self.registry);
        let arguments = Arguments::try_new(relation.name(), relation.parameters(), values)?;
        let opening = async {
            let table = open_relation(relation.as_ref(), &tables, &arguments, state, registry);
            Ok(Arc::new(table.await?) as Arc<dyn TableProvider>)
        };
        Ok(wait_for(opening)?)
    }
}

fn state_of<'a>(args: &TableFunctionArgs<'_, 'a>) -> Result<&'a SessionState> {
    let state = args.session().as_any().downcast_ref::<SessionState>();
    state.ok_or_else(|| Error::bug("a session without a state"))
}

#[derive(Debug)]
struct OpeningFunction {
    name: String,
    registry: Registry,
}

impl TableFunctionImpl for OpeningFunction {
    fn call_with_args(&self, args: TableFunctionArgs) -> DfResult<Arc<dyn TableProvider>> {
        let state = state_of(&args)?;
        let arguments =
            args.exprs().iter().map(|expr| self.argument(expr)).collect::<Result<Vec<_>>>()?;
        let call = TableCall::try_new(&self.name, &arguments, &self.registry)?;
        Ok(wait_for(call.open(state, &self.registry))?)
    }
}

impl OpeningFunction {
    fn argument(&self, expr: &Expr) -> Result<FunctionArg> {
        let text = match expr {
            Expr::Literal(value, _) if !value.is_null() => match value {
                ScalarValue::Utf8(_) | ScalarValue::LargeUtf8(_) | ScalarValue::Utf8View(_) => {
                    Some(value.to_string())
                }
                value if value.data_type().is_primitive() => Some(value.to_string()),
                ScalarValue::Boolean(_) => Some(value.to_string()),
                _ => None,
            },
            _ => None,
        };
        let text = text.ok_or_else(|| {
            Error::plan(format!(
                "{}: the argument {expr} is no constant; use a text, a number or a boolean",
                self.name
            ))
        })?;
        let value = SqlExpr::Value(Value::SingleQuotedString(text).into());
        Ok(FunctionArg::Unnamed(FunctionArgExpr::Expr(value)))
    }
}

fn wait_for(
    opening: impl Future<Output = Result<Arc<dyn TableProvider>>> + Send,
) -> Result<Arc<dyn TableProvider>> {
    let open = || -> Result<Arc<dyn TableProvider>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|cause| {
            Error::exhausted(format!("no thread for opening a file: {cause}")).caused_by(cause)
        })?;
        runtime.block_on(opening)
    };
    std::thread::scope(|scope| scope.spawn(open).join())
        .map_err(|_| Error::bug("opening a file panicked"))?
}
