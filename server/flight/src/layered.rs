//! The tables that a session sees: its own, before those of all.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider, TableProvider};
use datafusion::error::Result as DfResult;

/// A schema whose names are looked up in several, one after the other; changes concern the first.
#[derive(Debug)]
pub struct Layered {
    own: MemorySchemaProvider,
    shared: Vec<Arc<dyn SchemaProvider>>,
}

impl Layered {
    /// Nothing of its own yet.
    pub fn new(shared: Vec<Arc<dyn SchemaProvider>>) -> Self {
        Self { own: MemorySchemaProvider::new(), shared }
    }
}

impl Layered {
    /// Whether a name is of this layer, which hides the shared ones.
    pub fn has_own(&self, name: &str) -> bool {
        self.own.table_exist(name)
    }
}

#[async_trait]
impl SchemaProvider for Layered {
    fn table_names(&self) -> Vec<String> {
        let mut names = self.own.table_names();
        names.extend(self.shared.iter().flat_map(|schema| schema.table_names()));
        names.sort();
        names.dedup();
        names
    }

    async fn table(&self, name: &str) -> DfResult<Option<Arc<dyn TableProvider>>> {
        if let Some(table) = self.own.table(name).await? {
            return Ok(Some(table));
        }
        for schema in &self.shared {
            if let Some(table) = schema.table(name).await? {
                return Ok(Some(table));
            }
        }
        Ok(None)
    }

    fn register_table(
        &self,
        name: String,
        table: Arc<dyn TableProvider>,
    ) -> DfResult<Option<Arc<dyn TableProvider>>> {
        self.own.register_table(name, table)
    }

    fn deregister_table(&self, name: &str) -> DfResult<Option<Arc<dyn TableProvider>>> {
        self.own.deregister_table(name)
    }

    fn table_exist(&self, name: &str) -> bool {
        self.own.table_exist(name) || self.shared.iter().any(|schema| schema.table_exist(name))
    }
}
