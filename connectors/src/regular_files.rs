//! The files of this machine, without pipes, sockets and devices.
//!
//! In: the store of local files. Out: the same, which opens and lists regular files and nothing else.
//! Whoever opens a pipe waits until somebody writes into it, on a thread that nobody gets back; and a
//! device has no end. So they are refused by name where one is named, and passed over in folders and
//! globs, as what is no file. Ranges of bytes beyond a file's end are refused before memory is taken for them.
//! What is written is on the disk before it is said to be written. Not here: what a server lets its clients read.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path as LocalPath, PathBuf};
use std::sync::Arc;

use almagest_engine::write::sync_folder;
use almagest_engine::{Error, Result};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result as StoreResult,
    UploadPart,
};

/// Refuses what is there and neither a file nor a folder.
///
/// # Errors
/// `Unsupported`.
pub fn check_regular(path: &LocalPath) -> Result<()> {
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() && !found.is_dir() => Err(Error::unsupported(format!(
            "'{}' is a pipe, socket or device, where a file was expected; write what it gives into a \
             file first",
            path.display()
        ))),
        // that it is not there is told by whoever opens it
        _ => Ok(()),
    }
}

/// The store.
#[derive(Debug)]
pub struct RegularFiles {
    inner: Arc<dyn ObjectStore>,
}

impl RegularFiles {
    /// That of `inner`, whose paths begin at the root of the machine.
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner }
    }
}

impl fmt::Display for RegularFiles {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// Looks what is at a path. A look at it is quick where a file system answers at all, and opening it
/// follows.
fn check(path: &Path) -> StoreResult<()> {
    let local = format!("/{path}");
    check_regular(LocalPath::new(&local))
        .map_err(|error| object_store::Error::NotSupported { source: error.into() })
}

/// Refuses ranges that do not lie in the file. The inner store takes memory for what is asked before it looks
/// how much there is (object_store 0.13, `read_range`), and damaged files ask for terabytes.
fn check_ranges(path: &Path, ranges: &[Range<u64>]) -> StoreResult<()> {
    // that it is not there is told by whoever opens it
    let Ok(found) = std::fs::metadata(format!("/{path}")) else { return Ok(()) };
    match ranges.iter().find(|range| range.start > range.end || range.end > found.len()) {
        None => Ok(()),
        Some(range) => {
            let error = Error::data_invalid(format!(
                "bytes {} to {} are asked for of a file that has {}; it is damaged or was cut short",
                range.start,
                range.end,
                found.len()
            ));
            Err(object_store::Error::Generic { store: "local files", source: error.into() })
        }
    }
}

/// Writes a file that has just got its name to the disk, and the name too: the inner store leaves both
/// to the system (object_store 0.13).
async fn make_last(location: &Path) -> StoreResult<()> {
    let path = PathBuf::from(format!("/{location}"));
    let written = tokio::task::spawn_blocking(move || -> io::Result<()> {
        File::open(&path)?.sync_all()?;
        path.parent().map_or(Ok(()), sync_folder)
    });
    let written = written.await.unwrap_or_else(|cause| Err(io::Error::other(cause)));
    let failed = |cause: io::Error| object_store::Error::Generic {
        store: "local files",
        source: cause.into(),
    };
    written.map_err(failed)
}

/// A file that is written in parts.
#[derive(Debug)]
struct Upload {
    inner: Box<dyn MultipartUpload>,
    location: Path,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> StoreResult<PutResult> {
        let result = self.inner.complete().await?;
        make_last(&self.location).await?;
        Ok(result)
    }

    async fn abort(&mut self) -> StoreResult<()> {
        self.inner.abort().await
    }
}

#[async_trait]
impl ObjectStore for RegularFiles {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> StoreResult<PutResult> {
        check(location)?;
        let result = self.inner.put_opts(location, payload, options).await?;
        make_last(location).await?;
        Ok(result)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        check(location)?;
        let inner = self.inner.put_multipart_opts(location, options).await?;
        Ok(Box::new(Upload { inner, location: location.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        check(location)?;
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> StoreResult<Vec<Bytes>> {
        check(location)?;
        check_ranges(location, ranges)?;
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, StoreResult<Path>>,
    ) -> BoxStream<'static, StoreResult<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        // lists nothing but files
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        let mut listed = self.inner.list_with_delimiter(prefix).await?;
        // pipes and devices have no size
        listed.objects.retain(|meta| meta.size > 0 || check(&meta.location).is_ok());
        Ok(listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        check(from)?;
        check(to)?;
        self.inner.copy_opts(from, to, options).await?;
        make_last(to).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> StoreResult<()> {
        check(from)?;
        check(to)?;
        self.inner.rename_opts(from, to, options).await?;
        make_last(to).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::TryStreamExt;
    use object_store::ObjectStoreExt;
    use object_store::local::LocalFileSystem;

    #[tokio::test]
    async fn ranges_beyond_the_end_take_no_memory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap().join("file");
        std::fs::write(&path, "abc").unwrap();
        let store = RegularFiles::new(Arc::new(LocalFileSystem::new()));
        let at = Path::from_absolute_path(&path).unwrap();
        let found = store.get_ranges(&at, &[0..2, 3..3]).await.unwrap();
        assert_eq!((&found[0][..], found[1].len()), (&b"ab"[..], 0));
        #[allow(clippy::reversed_empty_ranges)]
        for range in [0..1 << 50, 2..4, 3..1] {
            let error = store.get_ranges(&at, &[0..1, range]).await.unwrap_err();
            assert!(error.to_string().contains("a file that has 3"), "{error}");
        }
    }

    #[tokio::test]
    async fn files_arrive_whole_in_one_piece_and_in_parts() {
        let folder = tempfile::tempdir().unwrap();
        let whole = folder.path().canonicalize().unwrap();
        let at = |name: &str| Path::from_absolute_path(whole.join(name)).unwrap();
        let store = RegularFiles::new(Arc::new(LocalFileSystem::new()));
        store.put(&at("new folder/a%b"), "ab".into()).await.unwrap();
        let mut upload = store.put_multipart(&at("parts")).await.unwrap();
        upload.put_part("c".into()).await.unwrap();
        upload.put_part("d".into()).await.unwrap();
        assert!(!whole.join("parts").exists());
        upload.complete().await.unwrap();
        store.rename(&at("parts"), &at("renamed")).await.unwrap();
        store.copy(&at("renamed"), &at("copied")).await.unwrap();
        let mut left = store.put_multipart(&at("left")).await.unwrap();
        left.put_part("e".into()).await.unwrap();
        left.abort().await.unwrap();
        for (name, expected) in [("new folder/a%b", "ab"), ("renamed", "cd"), ("copied", "cd")] {
            assert_eq!(std::fs::read_to_string(whole.join(name)).unwrap(), expected);
        }
        assert!(!whole.join("left").exists() && !whole.join("parts").exists());
    }

    #[tokio::test]
    async fn pipes_and_devices_are_neither_opened_nor_listed() {
        let folder = tempfile::tempdir().unwrap();
        let whole = folder.path().canonicalize().unwrap();
        let (pipe, link, socket) = (whole.join("p"), whole.join("link"), whole.join("s"));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        std::os::unix::fs::symlink(&pipe, &link).unwrap();
        let _listens = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        std::fs::write(whole.join("file"), "x").unwrap();
        std::fs::write(whole.join("empty"), "").unwrap();
        let store = RegularFiles::new(Arc::new(LocalFileSystem::new()));
        for path in [&pipe, &link, &socket, LocalPath::new("/dev/zero")] {
            let at = Path::from_absolute_path(path).unwrap();
            for error in [
                store.get(&at).await.map(drop).unwrap_err(),
                store.head(&at).await.map(drop).unwrap_err(),
                store.put(&at, "x".into()).await.map(drop).unwrap_err(),
                store.get_range(&at, 0..1).await.map(drop).unwrap_err(),
            ] {
                assert!(error.to_string().contains("pipe, socket or device"), "{error}");
            }
        }
        let at = |name: &str| Path::from_absolute_path(whole.join(name)).unwrap();
        assert_eq!(store.get(&at("file")).await.unwrap().bytes().await.unwrap(), "x");
        let missing = store.get(&at("missing")).await.unwrap_err();
        assert!(matches!(missing, object_store::Error::NotFound { .. }), "{missing}");
        let prefix = Path::from_absolute_path(&whole).unwrap();
        let names = |metas: Vec<ObjectMeta>| {
            let mut names: Vec<_> =
                metas.iter().map(|m| m.location.filename().unwrap().to_string()).collect();
            names.sort();
            names
        };
        let all = store.list(Some(&prefix)).try_collect::<Vec<_>>().await.unwrap();
        assert_eq!(names(all), ["empty", "file"]);
        let some = store.list_with_delimiter(Some(&prefix)).await.unwrap();
        assert_eq!(names(some.objects), ["empty", "file"]);
    }
}
