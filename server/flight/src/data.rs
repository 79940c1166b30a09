//! The tables with which a server begins: what lies in its folders, and what its operator's statements
//! make.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use almagest_engine::files::looks_like_path;
use almagest_engine::formats::TableOptions;
use almagest_engine::{Error, Result, Session, files};
use datafusion::common::TableReference;
use datafusion::logical_expr::{DdlStatement, LogicalPlan};
use futures::FutureExt;

/// Folders in a folder of data are tables of the files in them; deeper ones are partitions.
const DEPTH_MAX: usize = 8;

/// Registers a table for each file of a folder that is one, under its name without ending, and for
/// each folder in it that has such files.
///
/// # Errors
/// `Plan` if two have the same name; `Unreachable` if the folder cannot be read. A file that cannot
/// be opened is told on the log and is no table.
pub async fn register_folder(session: &Session, folder: &Path) -> Result<()> {
    let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
    let whole = std::fs::canonicalize(folder).map_err(|cause| {
        Error::not_found(format!("the folder cannot be opened: {cause}"))
            .with("folder", folder.display())
    })?;
    for path in entries(folder)? {
        let Some(file) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if file.starts_with(['.', '_']) {
            continue;
        }
        if !std::fs::canonicalize(&path).is_ok_and(|path| path.starts_with(&whole)) {
            log::warn!("{} is a link that leads out of the folder, and no table", path.display());
            continue;
        }
        if !path.is_dir() && !path.is_file() {
            log::warn!("{} is a pipe, socket or device, and no table", path.display());
            continue;
        }
        let name = match path.is_dir() {
            // a folder that is itself a file, such as x.zarr, is known by its ending
            true if !looks_like_path(file) && !has_data(&path, DEPTH_MAX) => continue,
            true => file,
            false if !is_data(session, file) => continue,
            false => without_ending(file),
        };
        if let Some(other) = found.insert(name.to_string(), path.clone()) {
            return Err(Error::plan(format!(
                "{} and {} would both be table '{name}'; rename one",
                other.display(),
                path.display()
            )));
        }
    }
    for (name, path) in found {
        if session.context().table_exist(TableReference::bare(name.as_str()))? {
            return Err(Error::plan(format!(
                "two folders of data have a table '{name}'; rename one"
            ))
            .with("file", path.display()));
        }
        match opened(session, &path).await {
            Ok(table) => {
                session.context().register_table(TableReference::bare(name.as_str()), table)?;
            }
            Err(error) => log::warn!("no table '{name}': {error}"),
        }
    }
    Ok(())
}

async fn opened(
    session: &Session,
    path: &Path,
) -> Result<std::sync::Arc<dyn datafusion::catalog::TableProvider>> {
    let state = session.context().state();
    let place = match path.is_dir() {
        true => format!("{}/", path.display()),
        false => path.display().to_string(),
    };
    let options = TableOptions::new();
    match session.registry().by_path(&path.display().to_string()) {
        Some(format) => {
            files::open_arrays(&state, format.as_ref(), &path.display().to_string(), &options).await
        }
        None => files::open(&state, &place, None, options).await,
    }
}

/// Runs the statements of an operator, each after the one before it.
///
/// # Errors
/// The first that fails, with its number.
pub async fn run_init(session: &Session, text: &str) -> Result<()> {
    for (position, statement) in session.statements(text).await?.into_iter().enumerate() {
        let ran = async {
            let plan = without_text(session.plan(statement).await?);
            let context = session.context().clone();
            let work =
                async move { Ok(context.execute_logical_plan(plan).await?.collect().await?) };
            session.planning().run_long(work.boxed()).await
        };
        let ran: Result<Vec<_>> = ran.await;
        ran.map_err(|error: Error| error.with("statement", position + 1))?;
    }
    Ok(())
}

/// The statement without its text, which clients would be shown, with the places that it names.
fn without_text(plan: LogicalPlan) -> LogicalPlan {
    match plan {
        LogicalPlan::Ddl(DdlStatement::CreateExternalTable(mut table)) => {
            table.definition = None;
            LogicalPlan::Ddl(DdlStatement::CreateExternalTable(table))
        }
        LogicalPlan::Ddl(DdlStatement::CreateView(mut view)) => {
            view.definition = None;
            LogicalPlan::Ddl(DdlStatement::CreateView(view))
        }
        plan => plan,
    }
}

/// The name of a file without its ending, and without that of a compression.
fn without_ending(file: &str) -> &str {
    let plain = [".gz", ".zst", ".bz2", ".xz"].iter().find_map(|ending| file.strip_suffix(ending));
    let plain = plain.unwrap_or(file);
    plain.rsplit_once('.').map_or(plain, |(name, _)| name)
}

fn is_data(session: &Session, file: &str) -> bool {
    // with the ending of a data file; a slash alone would do for `looks_like_path`
    looks_like_path(file) || session.registry().by_path(file).is_some()
}

fn has_data(folder: &Path, depth: usize) -> bool {
    let Ok(entries) = entries(folder) else { return false };
    entries.iter().any(|path| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        match name {
            Some(name) if name.starts_with(['.', '_']) => false,
            Some(_) if path.is_dir() => depth > 0 && has_data(path, depth - 1),
            Some(name) => looks_like_path(&name) && path.is_file(),
            None => false,
        }
    })
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = std::fs::read_dir(folder).and_then(|entries| {
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<_>>>()
    });
    let mut paths = read.map_err(|cause| {
        Error::unreachable(format!("the folder of data cannot be read: {cause}"))
            .with("folder", folder.display())
    })?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_named_like_their_files() {
        for (file, name) in
            [("a.parquet", "a"), ("gaia.dr3.csv.gz", "gaia.dr3"), ("image.h5", "image")]
        {
            assert_eq!(without_ending(file), name);
        }
    }
}
