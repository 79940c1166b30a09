//! Files that are read line by line have no endless line.
//!
//! In: a store, and how its files are read. Out: the same store, whose large or compressed files end in `DataInvalid`
//! where a line goes on for too long. Readers of CSV and JSON hold a line whole, and one that never ends is as long
//! as the file, or as what a small compressed file expands to. So compressed files are expanded here, and their
//! readers are told that they are not. A quote that is never closed makes one line of all that follows.
//! Files no longer than a line may be are passed on untouched.

use std::fmt;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::error::DataFusionError;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result as StoreResult,
};

use crate::{Error, Result};

/// Bytes that are read at once from a local file.
const CHUNK_BYTES: usize = 1 << 20;

/// How a file's lines are told.
#[derive(Clone, Copy, Debug)]
pub struct Lines {
    /// How the file is compressed.
    pub compression: FileCompressionType,
    /// Between which newlines are no ends of lines, and what stands before one that opens a value; absent where
    /// there are no quotes, or such with escapes.
    pub quote: Option<(u8, u8)>,
    /// Bytes of the longest line.
    pub bytes_max: u64,
}

impl Lines {
    /// Looks for the end of each of the first lines.
    ///
    /// # Errors
    /// `DataInvalid` for a line that is too long, `Unreachable`.
    pub async fn check_beginning(
        &self,
        store: &Arc<dyn ObjectStore>,
        file: &ObjectMeta,
        lines_max: usize,
    ) -> Result<()> {
        if self.passes(file.size) {
            return Ok(());
        }
        let bytes = store.get(&file.location).await?.into_stream();
        let mut bytes = self.expanded(bytes).map_err(Error::from)?;
        let mut line = Line::default();
        while let Some(chunk) = bytes.try_next().await.map_err(Error::from)? {
            if line.is_array(&chunk) {
                return Ok(());
            }
            line.go_on(&chunk, self)?;
            if line.ends >= lines_max {
                return Ok(());
            }
        }
        Ok(())
    }

    fn passes(&self, size: u64) -> bool {
        size <= self.bytes_max && !self.compression.is_compressed()
    }

    fn expanded(
        &self,
        bytes: BoxStream<'static, StoreResult<Bytes>>,
    ) -> Result<BoxStream<'static, Result<Bytes, DataFusionError>>, DataFusionError> {
        self.compression.convert_stream(bytes.map_err(DataFusionError::from).boxed())
    }
}

/// Where in a line what is read has come to.
#[derive(Default)]
struct Line {
    begun: bool,
    bytes: u64,
    ends: usize,
    quoted: bool,
    /// Whether the last quote closed a value; one right behind it opens it again.
    closed: bool,
    last: u8,
}

impl Line {
    /// Whether the file is one JSON array, whose lines mean nothing.
    fn is_array(&self, chunk: &[u8]) -> bool {
        !self.begun && chunk.trim_ascii_start().first() == Some(&b'[')
    }

    fn go_on(&mut self, chunk: &[u8], lines: &Lines) -> Result<()> {
        self.begun = true;
        let (mut rest, mut before) = (chunk, self.last);
        loop {
            let is_mark = |byte: u8| match lines.quote {
                Some((quote, _)) => byte == quote || byte == b'\n' && !self.quoted,
                None => byte == b'\n',
            };
            let mark = rest.iter().position(|byte| is_mark(*byte));
            let passed = mark.map_or(rest.len(), |at| at + 1);
            self.bytes += passed as u64;
            if self.bytes > lines.bytes_max {
                return Err(Error::data_invalid(format!(
                    "a line of the file is longer than {} bytes, which is as much as is held of one; is a quote \
                     not closed, or the file none of lines? A larger memory limit takes longer lines",
                    lines.bytes_max
                )));
            }
            let Some(at) = mark else { break };
            if at > 0 {
                before = rest[at - 1];
            }
            if rest[at] == b'\n' {
                (self.bytes, self.ends) = (0, self.ends + 1);
            } else {
                let delimiter = lines.quote.map_or(b',', |(_, delimiter)| delimiter);
                let opens = matches!(before, b'\n' | b'\r' | 0) || before == delimiter;
                let again = self.closed && before == rest[at];
                (self.quoted, self.closed) = (!self.quoted && (opens || again), self.quoted);
            }
            before = rest[at];
            rest = &rest[at + 1..];
        }
        self.last = chunk.last().copied().unwrap_or(self.last);
        Ok(())
    }
}

/// The store.
#[derive(Debug)]
pub struct WithoutLongLines {
    inner: Arc<dyn ObjectStore>,
    lines: Lines,
}

impl WithoutLongLines {
    /// The store `inner`, of which files of lines are read.
    pub fn new(inner: Arc<dyn ObjectStore>, lines: Lines) -> Self {
        Self { inner, lines }
    }
}

impl fmt::Display for WithoutLongLines {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// The bytes of a part of a local file.
fn chunks(file: std::fs::File, range: Range<u64>) -> BoxStream<'static, StoreResult<Bytes>> {
    let failed = |source: std::io::Error| object_store::Error::Generic {
        store: "LocalFileSystem",
        source: Box::new(source),
    };
    stream::try_unfold((file, range), move |(mut file, range)| async move {
        if range.is_empty() {
            return Ok(None);
        }
        let read = tokio::task::spawn_blocking(move || {
            let length = (range.end - range.start).min(CHUNK_BYTES as u64);
            file.seek(SeekFrom::Start(range.start))?;
            let mut bytes = Vec::with_capacity(length as usize);
            file.by_ref().take(length).read_to_end(&mut bytes)?;
            // a file that was cut meanwhile ends here
            let next = if bytes.is_empty() { range.end } else { range.start + bytes.len() as u64 };
            Ok((Bytes::from(bytes), (file, next..range.end)))
        });
        let read = read.await.map_err(|cause| failed(std::io::Error::other(cause)))?;
        read.map(Some).map_err(failed)
    })
    .boxed()
}

fn in_store(error: DataFusionError) -> object_store::Error {
    object_store::Error::Generic { store: "lines", source: Box::new(error) }
}

#[async_trait]
impl ObjectStore for WithoutLongLines {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        let found = self.inner.get_opts(location, options).await?;
        if self.lines.passes(found.meta.size) {
            return Ok(found);
        }
        let lines = self.lines;
        let GetResult { payload, meta, range, attributes } = found;
        let bytes = match payload {
            GetResultPayload::File(file, _) => chunks(file, range.clone()),
            GetResultPayload::Stream(bytes) => bytes,
        };
        let (mut line, mut array) = (Line::default(), false);
        let bytes = lines.expanded(bytes).map_err(in_store)?.map(move |chunk| {
            let chunk = chunk.map_err(in_store)?;
            array |= line.is_array(&chunk);
            if array {
                return Ok(chunk);
            }
            line.go_on(&chunk, &lines).map_err(|error| in_store(error.into()))?;
            Ok(chunk)
        });
        let payload = GetResultPayload::Stream(bytes.boxed());
        Ok(GetResult { payload, meta, range, attributes })
    }

    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> StoreResult<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, StoreResult<Path>>,
    ) -> BoxStream<'static, StoreResult<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn longest(quote: Option<(u8, u8)>, bytes_max: u64, chunks: &[&str]) -> Result<usize> {
        let compression = FileCompressionType::UNCOMPRESSED;
        let lines = Lines { compression, quote, bytes_max };
        let mut line = Line::default();
        for chunk in chunks {
            line.go_on(chunk.as_bytes(), &lines)?;
        }
        Ok(line.ends)
    }

    #[test]
    fn a_line_ends_at_a_newline_that_is_not_in_quotes() {
        let quote = Some((b'"', b','));
        assert_eq!(longest(None, 4, &["abc\nde", "\n"]).unwrap(), 2);
        assert!(longest(None, 3, &["abc\n"]).is_err());
        assert!(longest(None, 5, &["ab", "cd", "ef"]).is_err());
        let open = ["a,\"b\nc", "\nd\",e\nf\n"];
        assert_eq!(longest(None, 8, &open).unwrap(), 4);
        assert_eq!(longest(quote, 12, &open).unwrap(), 2);
        assert!(longest(quote, 11, &open).is_err());
        // inches in a value without quotes, and quotes in quotes
        assert_eq!(longest(quote, 12, &["1,5\" pipe\n2,6\" pipe\n"]).unwrap(), 2);
        assert_eq!(longest(quote, 12, &["1,5\"\" x\n2,6 x\n"]).unwrap(), 2);
        assert_eq!(longest(quote, 12, &["\"a\"\"", "b\",1\n2,3\n"]).unwrap(), 2);
    }
}
