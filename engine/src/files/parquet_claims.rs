//! What Parquet pages say of their sizes, before memory is taken for them.
//!
//! In: the reader of a Parquet file. Out: the same reader, which looks at the headers of the pages that it has fetched:
//! a page that would be larger than what a thread may hold is `Exhausted`, and one whose numbers cannot be is
//! `DataInvalid`. A header of some bytes may claim 2 GiB, and the decoder takes them for each column at once. The
//! header is Thrift's compact protocol, of which three numbers are read and all else is passed over; what cannot be
//! read is left to the decoder to refuse.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::error::Result as DfResult;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

use super::thrift::Compact;
use crate::{Error, Result};

/// Pages that are no larger count nothing.
const PAGE_BYTES_FREE: u64 = 8 << 20;
/// The numbers of encodings by differences: of numbers, of lengths, of texts.
const DELTAS: [i64; 3] = [5, 6, 7];
/// The number of a dictionary's page among the kinds of pages.
const DICTIONARY: i64 = 2;

/// Makes readers that look at pages.
pub struct CheckedPages {
    inner: Arc<dyn ParquetFileReaderFactory>,
    bytes_max: u64,
}

impl CheckedPages {
    /// The readers of `inner`, whose pages may take `bytes_max` bytes.
    pub fn new(inner: Arc<dyn ParquetFileReaderFactory>, bytes_max: u64) -> Self {
        Self { inner, bytes_max }
    }
}

impl fmt::Debug for CheckedPages {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl ParquetFileReaderFactory for CheckedPages {
    fn create_reader(
        &self,
        partition: usize,
        file: PartitionedFile,
        metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> DfResult<Box<dyn AsyncFileReader + Send>> {
        let inner = self.inner.create_reader(partition, file, metadata_size_hint, metrics)?;
        Ok(Box::new(Reader { inner, bytes_max: self.bytes_max, metadata: None }))
    }
}

struct Reader {
    inner: Box<dyn AsyncFileReader + Send>,
    bytes_max: u64,
    metadata: Option<Arc<ParquetMetaData>>,
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        self.inner.get_bytes(range)
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, parquet::errors::Result<Vec<Bytes>>> {
        let starts: Vec<u64> = ranges.iter().map(|range| range.start).collect();
        async move {
            let found = self.inner.get_byte_ranges(ranges).await?;
            let pages = starts.into_iter().zip(&found);
            check(pages, self.metadata.as_deref(), self.bytes_max)
                .map_err(|error| ParquetError::External(Box::new(error)))?;
            Ok(found)
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        async move {
            let metadata = self.inner.get_metadata(options).await?;
            self.metadata = Some(Arc::clone(&metadata));
            Ok(metadata)
        }
        .boxed()
    }
}

/// Looks at the pages in some bytes of a file, each with where it begins.
fn check<'a>(
    found: impl Iterator<Item = (u64, &'a Bytes)>,
    metadata: Option<&ParquetMetaData>,
    bytes_max: u64,
) -> Result<()> {
    // a decoder holds one page of each column, or two
    let mut largest: HashMap<u64, u64> = HashMap::new();
    for (start, bytes) in found {
        let column = metadata.and_then(|metadata| column_at(metadata, start));
        for (page, body) in pages(bytes) {
            page.check()?;
            if let Some(column) = column {
                page.check_deltas(bytes.get(body).unwrap_or_default(), column)?;
            }
            if page.uncompressed > PAGE_BYTES_FREE {
                let place = column.map_or(start, first_byte);
                let most = largest.entry(place).or_default();
                *most = page.uncompressed.max(*most);
            }
        }
    }
    let all = largest.values().copied().fold(0, u64::saturating_add);
    if all > bytes_max {
        return Err(Error::exhausted(format!(
            "pages of the file would take {all} bytes, and at most {bytes_max} are taken for them; let the memory \
             limit be larger, or write the file with smaller pages"
        )));
    }
    Ok(())
}

/// Where a column begins.
fn first_byte(column: &ColumnChunkMetaData) -> u64 {
    let first = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
    u64::try_from(first.min(column.data_page_offset())).unwrap_or(0)
}

/// The column in which some bytes lie.
fn column_at(metadata: &ParquetMetaData, place: u64) -> Option<&ColumnChunkMetaData> {
    let mut columns = metadata.row_groups().iter().flat_map(|group| group.columns());
    let holds = |column: &&ColumnChunkMetaData| {
        let length = u64::try_from(column.compressed_size()).unwrap_or(0);
        let first = first_byte(column);
        (first..first.saturating_add(length)).contains(&place)
    };
    columns.find(holds)
}

/// What a page says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Page {
    kind: i64,
    uncompressed: u64,
    compressed: u64,
    values: u64,
    encoding: i64,
    /// The bytes of levels before the values, where the header says it.
    level_bytes: Option<u64>,
}

impl Page {
    fn check(&self) -> Result<()> {
        // each entry of a dictionary takes a byte at least
        if self.kind == DICTIONARY && self.values > self.uncompressed.max(1) {
            return Err(Error::data_invalid(format!(
                "a page of the file says that it holds a dictionary of {} values in {} bytes",
                self.values, self.uncompressed
            )));
        }
        Ok(())
    }

    /// Whether values that are written as differences are as many as the page says. Parquet's decoder takes memory
    /// for as many as stand before them. Of compressed pages it cannot be told without expanding them.
    fn check_deltas(&self, body: &[u8], column: &ColumnChunkMetaData) -> Result<()> {
        let is_plain = column.compression() == Compression::UNCOMPRESSED;
        if !is_plain || !DELTAS.contains(&self.encoding) || self.kind == DICTIONARY {
            return Ok(());
        }
        let levels = [column.column_descr().max_rep_level(), column.column_descr().max_def_level()];
        let mut at = self.level_bytes.unwrap_or(0) as usize;
        if self.level_bytes.is_none() {
            for _ in levels.iter().filter(|level| **level > 0) {
                let Some([a, b, c, d]) = body.get(at..at.saturating_add(4)) else { return Ok(()) };
                let length = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
                at = at.saturating_add(4).saturating_add(length);
            }
        }
        let mut values = Compact::new(body.get(at..).unwrap_or_default());
        // before the count stand the lengths of blocks
        let count = values.varint().and_then(|_| values.varint()).and_then(|_| values.varint());
        if count.is_some_and(|count| count > self.values) {
            return Err(Error::data_invalid(format!(
                "a page of the file says that it has {} values, and that {} are written as differences",
                self.values,
                count.unwrap_or(0)
            )));
        }
        Ok(())
    }
}

/// The pages that follow each other from the beginning of some bytes, as far as they can be read.
fn pages(bytes: &[u8]) -> Vec<(Page, Range<usize>)> {
    let (mut pages, mut at) = (vec![], 0);
    while at < bytes.len() {
        let mut header = Compact::new(&bytes[at..]);
        let Some(page) = page(&mut header) else { break };
        let body = at.saturating_add(header.at());
        at = body.saturating_add(page.compressed as usize);
        pages.push((page, body..at.min(bytes.len()).max(body)));
    }
    pages
}

/// A page's header.
fn page(header: &mut Compact) -> Option<Page> {
    let (mut page, mut last) = (Page::default(), 0);
    while let Some((number, kind)) = header.field(&mut last)? {
        match (number, kind) {
            (1, 5) => page.kind = header.integer()?,
            (2, 5) => page.uncompressed = u64::try_from(header.integer()?).ok()?,
            (3, 5) => page.compressed = u64::try_from(header.integer()?).ok()?,
            (5 | 7 | 8, 12) => of_kind(header, number, &mut page)?,
            (_, kind) => header.pass_over(kind, 0)?,
        }
    }
    Some(page)
}

/// What the header says that belongs to pages of a kind: of data, of a dictionary, of data in the second version.
fn of_kind(header: &mut Compact, number: i64, page: &mut Page) -> Option<()> {
    let (mut last, is_second) = (0, number == 8);
    while let Some((field, kind)) = header.field(&mut last)? {
        match (field, kind) {
            (1, 5) => page.values = u64::try_from(header.integer()?).ok()?,
            (2, 5) if !is_second => page.encoding = header.integer()?,
            (4, 5) if is_second => page.encoding = header.integer()?,
            (5 | 6, 5) if is_second => {
                let bytes = u64::try_from(header.integer()?).ok()?;
                page.level_bytes = Some(page.level_bytes.unwrap_or(0).saturating_add(bytes));
            }
            (_, kind) => header.pass_over(kind, 0)?,
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header as the standard has it: type, sizes, and a data page's header with statistics.
    const HEADER: [u8; 19] = [
        0x15, 0x00, // 1: type 0
        0x15, 0x80, 0x08, // 2: uncompressed 512
        0x15, 0x06, // 3: compressed 3
        0x2c, // 5: a structure
        0x15, 0x14, // 1: values 10
        0x15, 0x00, 0x15, 0x06, 0x15, 0x06, // 2, 3, 4: encodings
        0x00, 0x00, // ends
        0x07, // a byte of the page
    ];

    #[test]
    fn headers_are_read_one_behind_the_other() {
        let mut bytes = HEADER.to_vec();
        bytes.extend([7, 7]);
        bytes.extend(HEADER);
        let page = Page { uncompressed: 512, compressed: 3, values: 10, ..Page::default() };
        assert_eq!(pages(&bytes), [(page, 18..21), (page, 39..40)]);
        assert_eq!(pages(&[0xff; 40]), []);
        assert_eq!(pages(&[]), []);
    }

    #[test]
    fn pages_of_all_columns_together_are_counted() {
        let claims = |size: u64| {
            let mut bytes = vec![0x15, 0x00, 0x15];
            let mut left = size << 1;
            while left > 0x7f {
                bytes.push((left & 0x7f) as u8 | 0x80);
                left >>= 7;
            }
            bytes.extend([left as u8, 0x15, 0x00, 0x00]);
            Bytes::from(bytes)
        };
        let found = [claims(10 << 20), claims(20 << 20), claims(1 << 20)];
        let places = || [4_u64, 100, 200].into_iter().zip(&found);
        check(places(), None, 30 << 20).unwrap();
        let error = check(places(), None, (30 << 20) - 1).unwrap_err().to_string();
        assert!(error.contains("would take 31457280 bytes"), "{error}");
    }
}
