//! What queries on a server may read and write.
//!
//! Queries come from strangers, and the files of the machine are not theirs. So every object store of
//! a server's sessions stands behind [`Access`], which lets through what lies in the folders (local)
//! or below the URLs that its operator named, and refuses the rest by name. Local paths are compared
//! after symbolic links are followed, so that none leads out.
//!
//! While the operator's own statements run (`--init`), what they read is remembered and may be read
//! from then on: the tables that they make.

use std::fmt;
use std::ops::Range;
use std::path::{Path as LocalPath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use almagest_engine::registry::{Stores, TableOptions};
use almagest_engine::{Error, Result};
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::error::Result as DfResult;
use datafusion::execution::object_store::ObjectStoreRegistry;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result as StoreResult,
};
use parking_lot::RwLock;
use url::Url;

/// What may be read and written.
#[derive(Debug, Default)]
pub struct Access {
    /// Folders and files, without symbolic links.
    readable: RwLock<Vec<PathBuf>>,
    writable: Option<PathBuf>,
    /// Beginnings of URLs.
    urls: RwLock<Vec<Url>>,
    /// Whether what is read now may be read from now on.
    learns: AtomicBool,
}

impl Access {
    /// Reads from these folders and URLs, and reads and writes below `writable`.
    ///
    /// # Errors
    /// `NotFound` for a folder that is not there, `Plan` for what is no URL.
    pub fn try_new(
        readable: &[PathBuf],
        writable: Option<&LocalPath>,
        urls: &[String],
    ) -> Result<Self> {
        let whole = |folder: &LocalPath| {
            std::fs::canonicalize(folder).map_err(|cause| {
                Error::not_found(format!("the folder cannot be opened: {cause}"))
                    .with("folder", folder.display())
            })
        };
        let writable = writable.map(whole).transpose()?;
        let readable = readable.iter().map(|folder| whole(folder));
        let mut readable = readable.collect::<Result<Vec<_>>>()?;
        readable.extend(writable.clone());
        let urls = urls.iter().map(|text| {
            let url = Url::parse(text).ok().filter(|url| url.has_host());
            url.ok_or_else(|| {
                Error::plan(format!("'{text}' is no URL; write for example s3://bucket/folder/"))
            })
        });
        Ok(Self {
            readable: RwLock::new(readable),
            writable,
            urls: RwLock::new(urls.collect::<Result<_>>()?),
            learns: AtomicBool::new(false),
        })
    }

    /// The folder in which tables are made.
    pub fn writable(&self) -> Option<&LocalPath> {
        self.writable.as_deref()
    }

    /// A message without the folders of the server: files are named as from the folder they are in.
    pub fn hide(&self, message: &str) -> String {
        let mut folders: Vec<String> =
            self.readable.read().iter().map(|folder| folder.display().to_string()).collect();
        // the longest first, as one may lie in another
        folders.sort_by_key(|folder| std::cmp::Reverse(folder.len()));
        let hidden = folders.iter().fold(message.to_string(), |message, folder| {
            message.replace(&format!("{folder}/"), "").replace(&format!("{}/", &folder[1..]), "")
        });
        // what lies beside a folder is told as whoever writes `../` has written it
        folders.iter().fold(hidden, |message, folder| {
            let above = LocalPath::new(folder).ancestors().skip(1);
            let above = above.filter(|above| above.parent().is_some());
            above.enumerate().fold(message, |message, (depth, above)| {
                let quoted = format!("'{}/", above.display());
                message.replace(&quoted, &format!("'{}", "../".repeat(depth + 1)))
            })
        })
    }

    /// Begins or ends to allow whatever is read.
    pub fn learn(&self, learns: bool) {
        self.learns.store(learns, Ordering::Relaxed);
    }

    fn learns(&self) -> bool {
        self.learns.load(Ordering::Relaxed)
    }

    /// Refuses a place where COPY and CREATE EXTERNAL TABLE may not write.
    ///
    /// # Errors
    /// `Plan`.
    pub fn check_write(&self, place: &str) -> Result<()> {
        let path = place.strip_prefix("file://").unwrap_or(place);
        let path = LocalPath::new(path);
        let is_within =
            self.writable.as_ref().is_some_and(|folder| followed(path).starts_with(folder));
        if is_within && !place.trim_start_matches("file://").contains("://") {
            return Ok(());
        }
        Err(match &self.writable {
            None => {
                Error::denied("this server writes nothing; fetch the rows and write them yourself")
            }
            Some(_) => Error::denied(format!(
                "'{place}' lies outside of the folder in which this server writes; name a file in it"
            )),
        })
    }

    fn may_read(&self, path: &LocalPath) -> bool {
        let whole = followed(path);
        if self.readable.read().iter().any(|folder| whole.starts_with(folder)) {
            return true;
        }
        if self.learns() {
            self.readable.write().push(whole);
        }
        self.learns()
    }

    fn may_reach(&self, url: &Url) -> bool {
        let reaches = self.urls.read().iter().any(|allowed| {
            allowed.scheme() == url.scheme()
                && allowed.host_str() == url.host_str()
                && allowed.port_or_known_default() == url.port_or_known_default()
                && is_below(url.path(), allowed.path())
        });
        if !reaches && self.learns() {
            self.urls.write().push(url.clone());
        }
        reaches || self.learns()
    }

    /// Whether there is anything to read at the scheme and host of a URL.
    fn knows_host(&self, url: &Url) -> bool {
        self.learns()
            || self.urls.read().iter().any(|allowed| {
                allowed.scheme() == url.scheme()
                    && allowed.host_str() == url.host_str()
                    && allowed.port_or_known_default() == url.port_or_known_default()
            })
    }
}

/// Whether a path lies at or below another, by whole names.
fn is_below(path: &str, above: &str) -> bool {
    let above = above.trim_end_matches('/');
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The path without symbolic links, as far as it exists; what does not exist yet is appended.
fn followed(path: &LocalPath) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut missing = vec![];
    let mut existing = absolute.as_path();
    loop {
        if let Ok(whole) = std::fs::canonicalize(existing) {
            let rest = missing.iter().rev();
            return rest.fold(whole, |path, name| match name {
                // of a folder that does not exist
                std::path::Component::ParentDir => {
                    path.parent().map_or_else(PathBuf::new, LocalPath::to_path_buf)
                }
                name => path.join(name),
            });
        }
        let mut components = existing.components();
        match components.next_back() {
            Some(name) if !components.as_path().as_os_str().is_empty() => {
                missing.push(name);
                existing = components.as_path();
            }
            _ => return absolute,
        }
    }
}

/// The stores of a server's sessions.
#[derive(Debug)]
pub struct GuardedStores {
    inner: Arc<dyn Stores>,
    access: Arc<Access>,
}

impl GuardedStores {
    /// The same stores, as far as `access` lets through.
    pub fn new(inner: Arc<dyn Stores>, access: Arc<Access>) -> Self {
        Self { inner, access }
    }
}

impl ObjectStoreRegistry for GuardedStores {
    fn register_store(
        &self,
        url: &Url,
        store: Arc<dyn ObjectStore>,
    ) -> Option<Arc<dyn ObjectStore>> {
        self.inner.register_store(url, store)
    }

    fn deregister_store(&self, url: &Url) -> DfResult<Arc<dyn ObjectStore>> {
        self.inner.deregister_store(url)
    }

    fn get_store(&self, url: &Url) -> DfResult<Arc<dyn ObjectStore>> {
        let base = match url.scheme() {
            "file" => None,
            _ if self.access.knows_host(url) => Some(url.clone()),
            _ => return Err(refused(url.as_str()).into()),
        };
        let inner = self.inner.get_store(url)?;
        Ok(Arc::new(Guarded { inner, base, access: Arc::clone(&self.access) }))
    }
}

impl Stores for GuardedStores {
    fn option_prefixes(&self) -> &'static [&'static str] {
        self.inner.option_prefixes()
    }

    fn configure(&self, url: &Url, options: &TableOptions) -> Result<()> {
        if self.access.learns() {
            return self.inner.configure(url, options);
        }
        // all sessions share the stores
        Err(Error::denied(
            "a server's sessions give no options for stores; its operator sets them in the \
             environment or in the statements of --init",
        ))
    }
}

fn refused(place: &str) -> Error {
    Error::denied(format!(
        "'{place}' is not among what this server reads; ask its operator for --data or --allow-url"
    ))
}

/// One store behind the check.
#[derive(Debug)]
struct Guarded {
    inner: Arc<dyn ObjectStore>,
    /// The scheme and host of a remote store; absent for local files.
    base: Option<Url>,
    access: Arc<Access>,
}

impl fmt::Display for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl Guarded {
    /// How messages name a place in the store.
    fn name_of(&self, path: &Path) -> String {
        match &self.base {
            None => format!("/{path}"),
            Some(base) => format!("{}/{path}", base.as_str().trim_end_matches('/')),
        }
    }

    fn check_read(&self, path: &Path) -> StoreResult<()> {
        let name = self.name_of(path);
        let may = match &self.base {
            None => self.access.may_read(LocalPath::new(&name)),
            Some(_) => Url::parse(&name).is_ok_and(|url| self.access.may_reach(&url)),
        };
        if may { Ok(()) } else { Err(denied(path, refused(&name))) }
    }

    fn check_write(&self, path: &Path) -> StoreResult<()> {
        let written = self.access.check_write(&self.name_of(path));
        written.map_err(|error| denied(path, error))
    }

    /// What a list gave, as far as it may be read: a symbolic link may lead out.
    fn checked(&self, meta: ObjectMeta) -> StoreResult<ObjectMeta> {
        self.check_read(&meta.location).map(|()| meta)
    }

    fn again(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            base: self.base.clone(),
            access: Arc::clone(&self.access),
        }
    }
}

fn denied(path: &Path, error: Error) -> object_store::Error {
    object_store::Error::PermissionDenied { path: path.to_string(), source: error.into() }
}

#[async_trait]
impl ObjectStore for Guarded {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> StoreResult<PutResult> {
        self.check_write(location)?;
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.check_write(location)?;
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        self.check_read(location)?;
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> StoreResult<Vec<Bytes>> {
        self.check_read(location)?;
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, StoreResult<Path>>,
    ) -> BoxStream<'static, StoreResult<Path>> {
        let this = self.again();
        let checked = locations.map(move |path| {
            let path = path?;
            this.check_write(&path).map(|()| path)
        });
        self.inner.delete_stream(checked.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        let this = self.again();
        if let Err(error) = this.check_read(prefix.unwrap_or(&Path::default())) {
            return futures::stream::once(async { Err(error) }).boxed();
        }
        let listed = self.inner.list(prefix);
        listed.and_then(move |meta| std::future::ready(this.checked(meta))).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.check_read(prefix.unwrap_or(&Path::default()))?;
        let listed = self.inner.list_with_delimiter(prefix).await?;
        for meta in &listed.objects {
            self.check_read(&meta.location)?;
        }
        Ok(listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.check_read(from)?;
        self.check_write(to)?;
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> StoreResult<()> {
        self.check_write(from)?;
        self.check_write(to)?;
        self.inner.rename_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::ObjectStoreExt;

    fn guarded(readable: &[PathBuf], writable: Option<&LocalPath>, urls: &[&str]) -> GuardedStores {
        let urls: Vec<String> = urls.iter().map(|url| (*url).to_string()).collect();
        let access = Access::try_new(readable, writable, &urls).unwrap();
        GuardedStores::new(almagest_connectors::stores(), Arc::new(access))
    }

    async fn read(stores: &GuardedStores, path: &LocalPath) -> StoreResult<Bytes> {
        let store = stores.get_store(&Url::parse("file:///").unwrap()).unwrap();
        let path = Path::from_absolute_path(path).unwrap();
        store.get(&path).await?.bytes().await
    }

    #[tokio::test]
    async fn only_what_lies_in_a_named_folder_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let whole = folder.path().canonicalize().unwrap();
        let (inside, outside) = (whole.join("in"), whole.join("in-too"));
        for folder in [&inside, &outside] {
            std::fs::create_dir(folder).unwrap();
            std::fs::write(folder.join("a"), "x").unwrap();
        }
        std::os::unix::fs::symlink(outside.join("a"), inside.join("link")).unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("folder")).unwrap();
        let stores = guarded(std::slice::from_ref(&inside), None, &[]);
        assert_eq!(read(&stores, &inside.join("a")).await.unwrap(), "x");
        for path in ["in-too/a", "in/link", "in/folder/a"] {
            let error = read(&stores, &whole.join(path)).await.unwrap_err();
            assert!(error.to_string().contains("not among what this server reads"), "{error}");
        }
        let store = stores.get_store(&Url::parse("file:///").unwrap()).unwrap();
        let listed = |folder: &LocalPath| {
            let folder = Path::from_absolute_path(folder).unwrap();
            store.list(Some(&folder)).try_collect::<Vec<_>>()
        };
        assert!(listed(&outside).await.is_err());
        // a link that leads out is told, not passed over
        assert!(listed(&inside).await.is_err());
    }

    #[tokio::test]
    async fn what_is_read_while_it_learns_may_be_read_later() {
        let folder = tempfile::tempdir().unwrap();
        let whole = folder.path().canonicalize().unwrap();
        std::fs::write(whole.join("a"), "x").unwrap();
        std::fs::write(whole.join("b"), "x").unwrap();
        let stores = guarded(&[], None, &[]);
        assert!(read(&stores, &whole.join("a")).await.is_err());
        stores.access.learn(true);
        read(&stores, &whole.join("a")).await.unwrap();
        stores.access.learn(false);
        read(&stores, &whole.join("a")).await.unwrap();
        assert!(read(&stores, &whole.join("b")).await.is_err());
    }

    #[tokio::test]
    async fn writing_stays_in_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let whole = folder.path().canonicalize().unwrap();
        let inside = whole.join("in");
        std::fs::create_dir(&inside).unwrap();
        let stores = guarded(std::slice::from_ref(&whole), Some(&inside), &[]);
        let store = stores.get_store(&Url::parse("file:///").unwrap()).unwrap();
        let put = |path: PathBuf| {
            let (store, path) = (Arc::clone(&store), Path::from_absolute_path(path).unwrap());
            async move { store.put(&path, "x".into()).await }
        };
        put(inside.join("new/a")).await.unwrap();
        let error = put(whole.join("a")).await.unwrap_err();
        assert!(error.to_string().contains("outside of the folder"), "{error}");
        let access = &stores.access;
        for place in ["in/../b", "b", "in/new/../../b"] {
            assert!(
                access.check_write(&whole.join(place).display().to_string()).is_err(),
                "{place}"
            );
        }
        for place in ["s3://bucket/a", "http://host/a", "/etc/x", "relative"] {
            assert!(access.check_write(place).is_err(), "{place}");
        }
    }

    #[test]
    fn only_named_urls_are_reached() {
        let stores = guarded(&[], None, &["https://example.org/open/"]);
        let reached = |url: &str| {
            let url = Url::parse(url).unwrap();
            stores.access.may_reach(&url)
        };
        assert!(reached("https://example.org/open/a.parquet"));
        for url in [
            "https://example.org/opened/a.parquet",
            "https://example.org/open/../closed",
            "http://example.org/open/a",
            "https://example.org:444/open/a",
            "https://example.com/open/a",
        ] {
            assert!(!reached(url), "{url}");
        }
        for url in ["http://169.254.169.254", "http://127.0.0.1:1", "http://[::1]", "s3://bucket"] {
            let error = stores.get_store(&Url::parse(url).unwrap()).unwrap_err();
            assert!(error.to_string().contains("--allow-url"), "{error}");
        }
    }

    #[test]
    fn messages_name_no_folder_of_the_server() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(place.join("a/data")).unwrap();
        let access = Access::try_new(&[place.join("a/data")], None, &[]).unwrap();
        let place = place.display();
        for (message, told) in [
            (format!("'{place}/a/data/x.csv' is damaged"), "'x.csv' is damaged"),
            (format!("'{place}/a/other.csv' is not among"), "'../other.csv' is not among"),
            (format!("'{place}/x.csv' is not among"), "'../../x.csv' is not among"),
            ("'/etc/passwd' is not among".into(), "'/etc/passwd' is not among"),
        ] {
            assert_eq!(access.hide(&message), told);
        }
    }

    #[test]
    fn sessions_give_no_credentials() {
        let stores = guarded(&[], None, &["s3://bucket/"]);
        let options = TableOptions::from([("aws.region".into(), "eu-west-1".into())]);
        assert!(stores.configure(&Url::parse("s3://bucket/").unwrap(), &options).is_err());
    }
}
