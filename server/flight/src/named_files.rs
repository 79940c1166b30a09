//! Which files the tables read that the operator's statements made.
//!
//! A table over a folder or a glob looks for its files whenever it is read, and may find new ones. What it
//! would take is what clients may read there: neither the rest of the folder nor what a glob leaves out.

use std::path::PathBuf;
use std::sync::Arc;

use almagest_engine::Result;
use almagest_engine::walk::WalkPlan;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::listing::{ListingTable, ListingTableUrl};
use datafusion::datasource::source_as_provider;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::LogicalPlan;
use object_store::path::Path;
use url::Url;

use super::paths::is_same_host;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On this machine.
    File(PathBuf),
    /// Elsewhere.
    Url(Url),
}

/// The files at a location of a table.
#[derive(Clone, Debug)]
pub struct NamedFiles {
    url: ListingTableUrl,
    /// How their names end.
    extension: String,
    /// Whether those in folders below are left out.
    ignores_folders: bool,
}

impl NamedFiles {
    /// Where they are looked for.
    pub fn url(&self) -> &Url {
        self.url.get_url()
    }

    /// The file, if it can only be one.
    pub fn only(&self) -> Option<Place> {
        if self.url.is_collection() || self.url.get_glob().is_some() {
            return None;
        }
        let url = self.url();
        match url.scheme() {
            "file" => url.to_file_path().ok().filter(|path| !path.is_dir()).map(Place::File),
            _ => Some(Place::Url(url.clone())),
        }
    }

    /// Where the table looks for a file of this machine, if it would take it.
    pub fn of_machine(&self, path: &Path) -> Option<PathBuf> {
        let folder = self.url().to_file_path().ok()?;
        (self.url.scheme() == "file" && self.takes(path)).then_some(folder)
    }

    /// Whether the table would take a file of the store with this scheme and host.
    pub fn of_store(&self, base: &Url, path: &Path) -> bool {
        is_same_host(self.url(), base) && self.takes(path)
    }

    fn takes(&self, path: &Path) -> bool {
        path.as_ref().ends_with(&self.extension) && self.url.contains(path, self.ignores_folders)
    }
}

/// The files of all tables of a schema, and of those that its views read.
///
/// # Errors
/// Those of finding a table.
pub async fn named_files(
    tables: &dyn SchemaProvider,
    ignores_folders: bool,
) -> Result<Vec<NamedFiles>> {
    let mut found = vec![];
    for name in tables.table_names() {
        if let Some(table) = tables.table(&name).await? {
            collect(&table, ignores_folders, &mut found)?;
        }
    }
    Ok(found)
}

fn collect(
    table: &Arc<dyn TableProvider>,
    ignores_folders: bool,
    found: &mut Vec<NamedFiles>,
) -> DfResult<()> {
    if let Some(listing) = table.downcast_ref::<ListingTable>() {
        let extension = &listing.options().file_extension;
        found.extend(listing.table_paths().iter().map(|url| NamedFiles {
            url: url.clone(),
            extension: extension.clone(),
            ignores_folders,
        }));
        return Ok(());
    }
    let Some(view) = table.get_logical_plan() else { return Ok(()) };
    view.walk_with_subqueries(&mut |node| {
        // what is no table of the catalog reads no files
        if let LogicalPlan::TableScan(scan) = node
            && let Ok(table) = source_as_provider(&scan.source)
        {
            collect(&table, ignores_folders, found)?;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}
