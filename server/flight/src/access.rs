//! What queries on a server may read and write.
//!
//! Queries come from strangers, and the files of the machine are not theirs. So every object store of
//! a server's sessions stands behind [`Access`], which lets through what lies in the folders (local)
//! or below the URLs that its operator named, and refuses the rest by name. Local paths are compared
//! after symbolic links are followed, so that none leads out.
//!
//! While the operator's own statements run (`--init`), the files that they read are remembered and may be
//! read from then on; so may those that the tables they made will find ([`NamedFiles`]). Folders that
//! they list are only listed from then on, without what may not be read.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::ops::Range;
use std::path::{Path as LocalPath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use almagest_engine::formats::TableOptions;
use almagest_engine::registry::Stores;
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

use super::named_files::{NamedFiles, Place};
use super::paths::{followed, is_same_host, plain_path, reaches};
use super::places::hidden;

/// What may be read and written.
#[derive(Debug, Default)]
pub struct Access {
    /// Folders and files, without symbolic links.
    readable: Vec<PathBuf>,
    writable: Option<PathBuf>,
    /// Beginnings of URLs.
    urls: Vec<Url>,
    /// What the operator's statements opened.
    opened: RwLock<Opened>,
    /// Whether what is read now may be read from now on.
    learns: AtomicBool,
}

/// What the operator's statements opened beside what was named.
#[derive(Debug, Default)]
struct Opened {
    /// Files without symbolic links, and URLs, that were read: these and nothing below them.
    files: HashSet<PathBuf>,
    urls: HashSet<Url>,
    /// What was listed, and may be listed.
    listed_folders: Vec<PathBuf>,
    listed_urls: Vec<Url>,
    /// What their tables read, which may be new files.
    named: Vec<NamedFiles>,
    /// Folders that clients neither read nor are told.
    secret: Vec<PathBuf>,
}

/// What of a list is given on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listing {
    /// All of it.
    Whole,
    /// All of it, and what may not be read is an error: a link leads out.
    Checked,
    /// What may be read: the rest of the folder is nobody's business.
    Readable,
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
            readable,
            writable,
            urls: urls.collect::<Result<_>>()?,
            opened: RwLock::default(),
            learns: AtomicBool::new(false),
        })
    }

    /// The folder in which tables are made.
    pub fn writable(&self) -> Option<&LocalPath> {
        self.writable.as_deref()
    }

    /// A message without the folders of the server: files are named as from the folder they are in.
    pub fn hide(&self, message: &str) -> String {
        hidden(message, &self.folders())
    }

    /// The folders that clients are not told, the longest first.
    pub fn folders(&self) -> Vec<String> {
        let opened = self.opened.read();
        let around = opened.files.iter().filter_map(|file| file.parent());
        let named = opened.listed_folders.iter().map(PathBuf::as_path).chain(around);
        let is_inside =
            |folder: &LocalPath| self.readable.iter().any(|all| folder.starts_with(all));
        let all = self.readable.iter().map(PathBuf::as_path);
        let all = all.chain(named.filter(|folder: &&LocalPath| !is_inside(folder)));
        let all = all.chain(opened.secret.iter().map(PathBuf::as_path));
        let all = all.filter(|folder| folder.parent().is_some());
        let all = all.collect::<BTreeSet<_>>();
        let mut folders: Vec<_> = all.iter().map(|folder| folder.display().to_string()).collect();
        folders.sort_by_key(|folder| std::cmp::Reverse(folder.len()));
        folders
    }

    /// Lets be read what a table reads, new files that fit it too.
    pub fn allow(&self, files: NamedFiles) {
        let mut opened = self.opened.write();
        match files.only() {
            // many tables are of files that were named one by one
            Some(Place::File(path)) => {
                opened.files.insert(followed(&path));
            }
            Some(Place::Url(url)) => {
                opened.urls.insert(url);
            }
            None => opened.named.push(files),
        }
    }

    /// Tells no client where this file is, which is the server's own.
    pub fn keep_secret(&self, file: &LocalPath) {
        let folder = file.parent().filter(|folder| folder.is_absolute());
        self.opened.write().secret.extend(folder.map(LocalPath::to_path_buf));
    }

    /// Begins or ends to allow whatever is read.
    pub fn learn(&self, learns: bool) {
        self.learns.store(learns, Ordering::Relaxed);
    }

    fn learns(&self) -> bool {
        self.learns.load(Ordering::Relaxed)
    }

    /// Refuses a place where COPY and CREATE EXTERNAL TABLE may not write. A URL must say the path of the
    /// file as it is: array formats decode it themselves, and what is checked here must be what they open.
    ///
    /// # Errors
    /// `Denied`.
    pub fn check_write(&self, place: &str) -> Result<()> {
        let Some(folder) = &self.writable else {
            return Err(Error::denied(
                "this server writes nothing; fetch the rows and write them yourself",
            ));
        };
        let path = match Url::parse(place) {
            Err(_) => PathBuf::from(place),
            Ok(url) if url.scheme() == "file" => plain_path(place, &url)?,
            Ok(_) => return Err(outside(place)),
        };
        match followed(&path).starts_with(folder) {
            true => Ok(()),
            false => Err(outside(place)),
        }
    }

    fn may_read(&self, path: &LocalPath) -> bool {
        let whole = followed(path);
        if self.is_in_readable(&whole) || self.opened.read().files.contains(&whole) {
            return true;
        }
        if self.learns() {
            self.opened.write().files.insert(whole);
        }
        self.learns()
    }

    fn is_in_readable(&self, whole: &LocalPath) -> bool {
        self.readable.iter().any(|folder| whole.starts_with(folder))
    }

    fn may_reach(&self, url: &Url) -> bool {
        if self.is_below_allowed(url) || self.opened.read().urls.contains(url) {
            return true;
        }
        if self.learns() {
            self.opened.write().urls.insert(url.clone());
        }
        self.learns()
    }

    fn is_below_allowed(&self, url: &Url) -> bool {
        self.urls.iter().any(|allowed| reaches(allowed, url))
    }

    /// Whether a table of the operator's reads a file: of the store at `base`, or of this machine.
    fn is_of_table(&self, base: Option<&Url>, path: &Path) -> bool {
        let opened = self.opened.read();
        opened.named.iter().any(|files| match base {
            None => files.of_machine(path).is_some_and(|folder| {
                // no link leads out of where the table looks
                followed(LocalPath::new(&format!("/{path}"))).starts_with(followed(&folder))
            }),
            Some(base) => files.of_store(base, path),
        })
    }

    /// What may be listed of a folder; `None` for nothing.
    fn may_list(&self, folder: &LocalPath) -> Option<Listing> {
        let whole = followed(folder);
        if self.is_in_readable(&whole) {
            return Some(Listing::Checked);
        }
        if self.learns() {
            self.opened.write().listed_folders.push(whole);
            return Some(Listing::Whole);
        }
        let opened = self.opened.read();
        let is_below = opened.listed_folders.iter().any(|folder| whole.starts_with(folder));
        // a file that is gone is looked for as a folder
        (is_below || opened.files.contains(&whole)).then_some(Listing::Readable)
    }

    /// The same below a URL.
    fn may_list_url(&self, url: &Url) -> Option<Listing> {
        if self.is_below_allowed(url) {
            return Some(Listing::Checked);
        }
        if self.learns() {
            self.opened.write().listed_urls.push(url.clone());
            return Some(Listing::Whole);
        }
        let opened = self.opened.read();
        let is_below = opened.listed_urls.iter().any(|listed| reaches(listed, url));
        (is_below || opened.urls.contains(url)).then_some(Listing::Readable)
    }

    /// Whether there is anything to read at the scheme and host of a URL.
    fn knows_host(&self, url: &Url) -> bool {
        let opened = self.opened.read();
        let named = opened.named.iter().map(NamedFiles::url);
        let mut known =
            self.urls.iter().chain(&opened.urls).chain(&opened.listed_urls).chain(named);
        self.learns() || known.any(|known| is_same_host(known, url))
    }
}

fn outside(place: &str) -> Error {
    Error::denied(format!(
        "'{place}' lies outside of the folder in which this server writes; name a file in it"
    ))
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
        match may || self.access.is_of_table(self.base.as_ref(), path) {
            true => Ok(()),
            false => Err(denied(path, refused(&name))),
        }
    }

    /// What may be listed.
    fn check_list(&self, path: &Path) -> StoreResult<Listing> {
        let name = self.name_of(path);
        let listing = match &self.base {
            None => self.access.may_list(LocalPath::new(&name)),
            Some(_) => Url::parse(&name).ok().and_then(|url| self.access.may_list_url(&url)),
        };
        listing.ok_or_else(|| denied(path, refused(&name)))
    }

    fn check_write(&self, path: &Path) -> StoreResult<()> {
        let written = self.access.check_write(&self.name_of(path));
        written.map_err(|error| denied(path, error))
    }

    /// What a list gave, if it is given on.
    fn listed(&self, listing: Listing, meta: ObjectMeta) -> StoreResult<Option<ObjectMeta>> {
        match listing {
            Listing::Whole => Ok(Some(meta)),
            Listing::Checked => self.check_read(&meta.location).map(|()| Some(meta)),
            Listing::Readable => Ok(self.check_read(&meta.location).is_ok().then_some(meta)),
        }
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
        let listing = match this.check_list(prefix.unwrap_or(&Path::default())) {
            Ok(listing) => listing,
            Err(error) => return futures::stream::once(async { Err(error) }).boxed(),
        };
        let listed = self.inner.list(prefix);
        let given =
            listed.try_filter_map(move |meta| std::future::ready(this.listed(listing, meta)));
        given.boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        let listing = self.check_list(prefix.unwrap_or(&Path::default()))?;
        let mut all = self.inner.list_with_delimiter(prefix).await?;
        let mut given = vec![];
        for meta in std::mem::take(&mut all.objects) {
            given.extend(self.listed(listing, meta)?);
        }
        all.objects = given;
        Ok(all)
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
    async fn what_is_listed_while_it_learns_is_not_read_later() {
        let folder = tempfile::tempdir().unwrap();
        let whole = folder.path().canonicalize().unwrap();
        std::fs::write(whole.join("a"), "x").unwrap();
        std::fs::write(whole.join("b"), "x").unwrap();
        let stores = guarded(&[], None, &[]);
        let store = stores.get_store(&Url::parse("file:///").unwrap()).unwrap();
        let prefix = Path::from_absolute_path(&whole).unwrap();
        let listed = || store.list(Some(&prefix)).try_collect::<Vec<_>>();
        stores.access.learn(true);
        assert_eq!(listed().await.unwrap().len(), 2);
        read(&stores, &whole.join("a")).await.unwrap();
        stores.access.learn(false);
        assert_eq!(listed().await.unwrap().len(), 1);
        let delimited = store.list_with_delimiter(Some(&prefix)).await.unwrap();
        assert_eq!(delimited.objects.len(), 1);
        assert!(read(&stores, &whole.join("b")).await.is_err());
        let above = Path::from_absolute_path(whole.parent().unwrap()).unwrap();
        assert!(store.list(Some(&above)).try_collect::<Vec<_>>().await.is_err());
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
        let inside = inside.display();
        for place in [format!("{inside}/a"), format!("file://{inside}/a"), format!("{inside}/%2e")]
        {
            access.check_write(&place).unwrap();
        }
        for place in [
            format!("file://{inside}/%2e%2e/b"),
            format!("file://{inside}/x%2f..%2f..%2fb"),
            format!("file://{inside}/../in/a"),
            format!("file://{inside}/%61"),
            format!("file://{inside}/a?b"),
            format!("file://localhost{inside}/a"),
            format!("file://host{inside}/a"),
            format!("file:{inside}/a"),
            format!("FILE://{inside}/a"),
        ] {
            assert!(access.check_write(&place).is_err(), "{place}");
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
