//! The folder of what tasks have written and nobody should read yet.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use datafusion::datasource::listing::ListingTableUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::{Error, Result};

/// How long tasks of a cancelled query may still write.
const STRAGGLERS: Duration = Duration::from_secs(2);

/// Files that wait to be moved. Dropped, they are removed.
#[derive(Debug)]
pub struct Unfinished {
    store: Arc<dyn ObjectStore>,
    /// Where they are.
    from: Path,
    /// Where they belong.
    to: Path,
    /// The same as a folder of this machine, which object stores do not have.
    local: Option<PathBuf>,
}

impl Unfinished {
    /// The files below `from`, which belong to `to`.
    ///
    /// # Errors
    /// `Plan` if there is no such store.
    pub fn try_new(from: &str, to: &str, runtime: &RuntimeEnv) -> Result<Self> {
        let [from, to] = [ListingTableUrl::parse(from)?, ListingTableUrl::parse(to)?];
        Ok(Self {
            store: runtime.object_store(&from)?,
            local: from.get_url().to_file_path().ok().filter(|_| from.scheme() == "file"),
            from: from.prefix().clone(),
            to: to.prefix().clone(),
        })
    }

    /// Moves the files in `folders`, given as URLs. If one cannot be moved, those before it are
    /// removed again.
    ///
    /// # Errors
    /// `Unreachable` if storage refuses.
    pub async fn finish(self, folders: &[String]) -> Result<()> {
        let mut moved = vec![];
        for folder in folders {
            let folder = ListingTableUrl::parse(folder)?.prefix().clone();
            if let Err(error) = self.move_all(&folder, &mut moved).await {
                for file in &moved {
                    let _ = self.store.delete(file).await;
                }
                return Err(error);
            }
        }
        // what lost tasks left: the process may end before a task that nobody awaits
        remove(self.store.as_ref(), &self.from, self.local.as_ref()).await;
        Ok(())
    }

    async fn move_all(&self, folder: &Path, moved: &mut Vec<Path>) -> Result<()> {
        let failed = |cause: object_store::Error| {
            Error::unreachable("the files that were written cannot be moved to their folder")
                .with("folder", &self.to)
                .caused_by(cause)
        };
        let files: Vec<_> = self.store.list(Some(folder)).try_collect().await.map_err(failed)?;
        for file in files {
            let within = file.location.prefix_match(folder);
            let within = within.ok_or_else(|| Error::bug("a file outside its folder"))?;
            let to: Path = self.to.parts().chain(within).collect();
            self.store.rename(&file.location, &to).await.map_err(failed)?;
            moved.push(to);
        }
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let (store, from, local) = (Arc::clone(&self.store), self.from.clone(), self.local.take());
        if let Some(local) = &local {
            let _ = std::fs::remove_dir_all(local);
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            remove(store.as_ref(), &from, local.as_ref()).await;
            tokio::time::sleep(STRAGGLERS).await;
            remove(store.as_ref(), &from, local.as_ref()).await;
        });
    }
}

/// Removes what there is. What cannot be removed disturbs nobody: no table reads it.
async fn remove(store: &dyn ObjectStore, folder: &Path, local: Option<&PathBuf>) {
    if let Some(local) = local {
        let _ = tokio::fs::remove_dir_all(local).await;
        return;
    }
    let files: Vec<_> = store.list(Some(folder)).try_collect().await.unwrap_or_default();
    for file in files {
        let _ = store.delete(&file.location).await;
    }
}
