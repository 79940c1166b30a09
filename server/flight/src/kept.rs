//! What a session keeps under names of its own: views and tables, schemas, prepared statements, settings.
//!
//! In: a statement that may make or drop one; schemas are not dropped. Out: what it weighs, which the session's ledger holds as long
//! as the thing is there. Statements say less than they seem to: `IF NOT EXISTS` may make nothing, and
//! `DROP TABLE IF EXISTS` a view drops nothing. So what was there before a statement and is there after it
//! is compared, in the same breath in which the statement takes effect. Not here: the ledger
//! ([`super::ledger`]), and tables that all see ([`super::stored`]).

use std::collections::HashMap;
use std::sync::Arc;

use almagest_engine::Result;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::common::{ResolvedTableReference, TableReference};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{DdlStatement, LogicalPlan, Statement};
use datafusion::prelude::SessionContext;
use futures::FutureExt;
use parking_lot::Mutex;

use super::ledger::{Held, weight_of};

/// Bytes of what has a name, beside its plan.
const OWN_BYTES: usize = 4 << 10;

/// What has names in one session.
#[derive(Debug, Default)]
pub struct Kept {
    held: Mutex<HashMap<Name, Held>>,
    /// One statement at a time makes or drops something: before and after are its own.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// What something is called, with where it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Name {
    Table { catalog: String, schema: String, table: String },
    Schema { catalog: String, schema: String },
    Prepared(String),
    Setting(String),
}

/// What a statement makes or drops.
#[derive(Debug)]
pub struct Naming {
    name: Name,
    /// What it makes weighs so much; none if it drops.
    bytes: Option<usize>,
}

/// A statement that is about to take effect.
pub struct Change {
    kept: Arc<Kept>,
    naming: Naming,
    held: Option<Held>,
    before: Option<Thing>,
    _turn: tokio::sync::OwnedMutexGuard<()>,
}

impl Naming {
    /// That of a statement; none if it names nothing that a session keeps.
    ///
    /// # Errors
    /// `Bug` if a plan cannot be walked.
    pub fn of(plan: &LogicalPlan, state: &SessionState) -> Result<Option<Self>> {
        let table = |name: &TableReference| {
            let name = resolved(name, state);
            let [catalog, schema, table] =
                [name.catalog, name.schema, name.table].map(|part| part.to_string());
            Name::Table { catalog, schema, table }
        };
        let (name, bytes) = match plan {
            LogicalPlan::Ddl(DdlStatement::CreateView(view)) => {
                let text = view.definition.as_ref().map_or(0, String::len);
                (table(&view.name), Some(text + weight_of(&view.input)?))
            }
            LogicalPlan::Ddl(DdlStatement::CreateExternalTable(external)) => {
                let text = external.definition.as_ref().map_or(0, String::len);
                let options = external.options.iter().map(|(key, value)| key.len() + value.len());
                (table(&external.name), Some(text + options.sum::<usize>() + weight_of(plan)?))
            }
            LogicalPlan::Ddl(DdlStatement::DropView(view)) => (table(&view.name), None),
            LogicalPlan::Ddl(DdlStatement::DropTable(dropped)) => (table(&dropped.name), None),
            LogicalPlan::Ddl(DdlStatement::CreateCatalogSchema(made)) => {
                // as DataFusion tells the two apart
                let name = match made.schema_name.split_once('.') {
                    Some((catalog, schema)) => schema_name(Some(catalog), schema, state),
                    None => schema_name(None, &made.schema_name, state),
                };
                (name, Some(made.schema_name.len()))
            }
            LogicalPlan::Statement(Statement::Prepare(prepare)) => {
                (Name::Prepared(prepare.name.clone()), Some(weight_of(&prepare.input)?))
            }
            LogicalPlan::Statement(Statement::Deallocate(gone)) => {
                (Name::Prepared(gone.name.clone()), None)
            }
            LogicalPlan::Statement(Statement::SetVariable(set)) => {
                (Name::Setting(set.variable.to_lowercase()), Some(set.value.len()))
            }
            LogicalPlan::Statement(Statement::ResetVariable(reset)) => {
                (Name::Setting(reset.variable.to_lowercase()), None)
            }
            _ => return Ok(None),
        };
        Ok(Some(Self { name, bytes: bytes.map(|bytes| bytes + OWN_BYTES) }))
    }

    /// Bytes of what it makes.
    pub fn bytes(&self) -> Option<usize> {
        self.bytes
    }
}

impl Kept {
    /// Waits until no other statement of the session makes or drops something.
    pub async fn begin(
        self: &Arc<Self>,
        naming: Naming,
        held: Option<Held>,
        context: &SessionContext,
    ) -> Change {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let before = Thing::under(&naming.name, context);
        Change { kept: Arc::clone(self), naming, held, before, _turn: turn }
    }
}

impl Change {
    /// Says that the statement took effect, or failed.
    pub fn done(self, context: &SessionContext, is_ok: bool) {
        let name = self.naming.name;
        let after = Thing::under(&name, context);
        let mut all = self.kept.held.lock();
        match &name {
            Name::Prepared(_) | Name::Setting(_) if !is_ok => {}
            Name::Prepared(_) | Name::Setting(_) => match self.held {
                Some(held) => drop(all.insert(name, held)),
                None => drop(all.remove(&name)),
            },
            _ => match (after, self.before, self.held) {
                // one that fails may have dropped what it was to replace
                (None, ..) => drop(all.remove(&name)),
                (Some(after), Some(before), _) if after.is(&before) => {}
                (Some(_), _, Some(held)) => drop(all.insert(name, held)),
                (Some(_), _, None) => drop(all.remove(&name)),
            },
        }
    }
}

/// Where a session takes a table to be.
pub fn resolved(name: &TableReference, state: &SessionState) -> ResolvedTableReference {
    let catalog = &state.config_options().catalog;
    name.clone().resolve(&catalog.default_catalog, &catalog.default_schema)
}

fn schema_name(catalog: Option<&str>, schema: &str, state: &SessionState) -> Name {
    let catalog = catalog.unwrap_or(&state.config_options().catalog.default_catalog);
    Name::Schema { catalog: catalog.into(), schema: schema.into() }
}

/// What is under a name. Held while a statement runs, so that nothing else gets its place in memory.
enum Thing {
    Table(Arc<dyn TableProvider>),
    Schema(Arc<dyn SchemaProvider>),
}

impl Thing {
    fn under(name: &Name, context: &SessionContext) -> Option<Self> {
        match name {
            Name::Table { catalog, schema, table } => {
                let schema = context.catalog(catalog)?.schema(schema)?;
                // those of sessions and of all are in memory, and are had at once
                schema.table(table).now_or_never()?.ok()?.map(Self::Table)
            }
            Name::Schema { catalog, schema } => {
                context.catalog(catalog)?.schema(schema).map(Self::Schema)
            }
            Name::Prepared(_) | Name::Setting(_) => None,
        }
    }

    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Table(one), Self::Table(other)) => Arc::ptr_eq(one, other),
            (Self::Schema(one), Self::Schema(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}
