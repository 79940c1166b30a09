//! Which versions of clients' tables plans read.
//!
//! A view keeps the plan of its statement, and a prepared statement its own: with the tables as they were
//! when it was made. One that was replaced or dropped since has no files any more, and a scan that finds
//! none gives no rows, which is a wrong answer. In: plans that are about to run. Out: the same over the
//! tables as they are now, and the versions that must stay until they have run; or a refusal, if a table is
//! gone or has other columns. Not here: the tables and their files ([`super::stored`]).

use std::sync::{Arc, Weak};

use almagest_engine::walk::WalkPlan;
use almagest_engine::{Error, Result};
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::logical_expr::LogicalPlan;
use parking_lot::Mutex;

use super::stored::{StoredTables, Version};

/// What plans have of tables, as long as any does.
#[derive(Debug, Default)]
pub struct KnownVersions(Mutex<Vec<Known>>);

#[derive(Debug)]
struct Known {
    table: Weak<dyn TableProvider>,
    version: Weak<Version>,
    name: String,
}

impl KnownVersions {
    /// Remembers what reads a version of a table.
    pub fn add(&self, name: &str, table: &Arc<dyn TableProvider>, version: &Arc<Version>) {
        let (table, version) = (Arc::downgrade(table), Arc::downgrade(version));
        let mut known = self.0.lock();
        known.retain(|one| one.table.strong_count() > 0);
        known.push(Known { table, version, name: name.into() });
    }

    /// The name of a table, and the version of it that this reads, if that is still there. `None` for what
    /// is no table of clients.
    fn find(&self, table: &Arc<dyn TableProvider>) -> Option<(String, Option<Arc<Version>>)> {
        let known = self.0.lock();
        let of = Arc::as_ptr(table).cast::<()>();
        let found = known.iter().find(|one| one.table.as_ptr().cast::<()>() == of)?;
        Some((found.name.clone(), found.version.upgrade()))
    }
}

/// The plans over tables as they are now, or as they were when `held` was taken; and with it all versions
/// that may be read.
///
/// # Errors
/// `Plan` if a table is gone that a view or a prepared statement reads, or has other columns.
pub fn settled(
    stored: &StoredTables,
    plans: Vec<LogicalPlan>,
    mut held: Vec<Arc<Version>>,
) -> Result<(Vec<LogicalPlan>, Vec<Arc<Version>>)> {
    held.extend(stored.held());
    let (mut settled, mut gone) = (vec![], None);
    for plan in plans {
        let plan = plan.change_up_with_subqueries(&mut |node| {
            let LogicalPlan::TableScan(mut scan) = node else { return Ok(Transformed::no(node)) };
            let table = source_as_provider(&scan.source).ok();
            let known = table.and_then(|table| Some((stored.known().find(&table)?, table)));
            let Some(((name, version), before)) = known else {
                return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
            };
            if version.is_some_and(|version| held.iter().any(|one| Arc::ptr_eq(one, &version))) {
                return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
            }
            let now = stored.current(&name);
            match now.filter(|(now, _)| now.schema().fields() == before.schema().fields()) {
                Some((now, version)) => {
                    held.push(version);
                    scan.source = provider_as_source(now);
                    Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
                }
                None => {
                    gone = Some(name);
                    Ok(Transformed::no(LogicalPlan::TableScan(scan)))
                }
            }
        });
        settled.push(plan.data()?);
    }
    match gone {
        None => Ok((settled, held)),
        Some(name) => Err(Error::plan(format!(
            "table '{name}', which a view or prepared statement reads, was dropped or replaced by one \
             with other columns; make the view or statement anew"
        ))),
    }
}
