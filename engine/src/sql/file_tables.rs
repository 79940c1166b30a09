//! Tables that have no DDL: `FROM 'path'` and calls in FROM.
//!
//! DataFusion asks for every table name in a statement that is not registered; here the answer is
//! awaited. In: the name. Out: the table behind it, `None` for what is no path, an error for a path
//! that cannot be read.

use std::sync::{Arc, OnceLock, Weak};

use datafusion::catalog::{DynamicFileCatalog, TableProvider, UrlTableFactory};
use datafusion::error::Result as DfResult;
use datafusion::execution::session_state::SessionState;
use datafusion::prelude::SessionContext;
use futures::future::BoxFuture;
use parking_lot::RwLock;

use super::relation_call::RelationCall;
use super::table_call::TableCall;
use crate::files::open_arrays;
use crate::formats::TableOptions;
use crate::planning::PlanningThreads;
use crate::registry::Registry;
use crate::{Error, Result, files};

/// Opens files by name for one session.
#[derive(Debug)]
pub struct FileTables {
    registry: Registry,
    /// Weak, as the session holds this.
    session: OnceLock<Weak<RwLock<SessionState>>>,
}

impl FileTables {
    /// A context like `context` whose names may be files.
    pub fn install(context: SessionContext, registry: Registry) -> SessionContext {
        let catalogs = Arc::clone(context.state().catalog_list());
        let tables = Arc::new(Self { registry, session: OnceLock::new() });
        let factory = Arc::clone(&tables) as Arc<dyn UrlTableFactory>;
        let session_id = context.session_id();
        let context: SessionContext = context
            .into_state_builder()
            .with_session_id(session_id)
            .with_catalog_list(Arc::new(DynamicFileCatalog::new(catalogs, factory)))
            .build()
            .into();
        tables.session.get_or_init(|| context.state_weak_ref());
        context
    }

    fn state(&self) -> Result<SessionState> {
        let session = self.session.get().and_then(Weak::upgrade);
        let session = session.ok_or_else(|| Error::bug("the session has ended"))?;
        let state = session.read().clone();
        Ok(state)
    }

    fn table<'a>(
        &'a self,
        name: &'a str,
    ) -> BoxFuture<'a, DfResult<Option<Arc<dyn TableProvider>>>> {
        Box::pin(async { Ok(self.open(name).await?) })
    }

    async fn open(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let state = self.state()?;
        if let Some(call) = TableCall::from_table_name(name, &state, &self.registry)? {
            return call.open(&state, &self.registry).await.map(Some);
        }
        if let Some(call) = RelationCall::from_table_name(name, &self.registry)? {
            return opened_apart(call, state, self.registry.clone()).await.map(Some);
        }
        if let Some(format) = self.registry.by_path(name) {
            let options = TableOptions::new();
            return open_arrays(&state, format.as_ref(), name, &options).await.map(Some);
        }
        if !files::looks_like_path(name) {
            return Ok(None);
        }
        files::open(&state, name, None, TableOptions::new()).await.map(Some)
    }
}

/// Opens a call where planning belongs: its tables are planned, and may be calls in turn.
async fn opened_apart(
    call: RelationCall,
    state: SessionState,
    registry: Registry,
) -> Result<Arc<dyn TableProvider>> {
    let threads = state.config().get_extension::<PlanningThreads>().unwrap_or_default();
    let opening = async move { Ok(Arc::new(call.open(&state, &registry).await?) as _) };
    threads.run(Box::pin(opening)).await
}

impl UrlTableFactory for FileTables {
    fn try_new<'a, 'b, 'r>(
        &'a self,
        name: &'b str,
    ) -> BoxFuture<'r, DfResult<Option<Arc<dyn TableProvider>>>>
    where
        'a: 'r,
        'b: 'r,
    {
        self.table(name)
    }
}
