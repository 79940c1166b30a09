//! Rows that a repartitioning spills, packed into a few files.
//!
//! Stage: running. In: a disk manager. Out: one whose files for repartitioned rows are parts of larger
//! files. `RepartitionExec` of DataFusion 55 stands still for ever if two of its tasks spill at once
//! (apache/datafusion#24883): each opens a file, the reader waits for more of the older one, and what it
//! was told of is in the newer. With a file for each batch (`max_spill_file_size_bytes = 1`, see
//! `fit_sorts`) every file is whole when its turn comes. So many files would each keep a descriptor: here
//! they are parts. It also stands still after a write fails, as the reader waits for the rest: here the
//! reader is told. Both can go with DataFusion 56; the last test here tells when.
//!
//! Not here: how much may lie on disk (`spill_quota.rs`). A pack counts there until all of it is read.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::disk_manager::{DiskManager, DiskManagerBuilder};
use datafusion::execution::{SpillFile, SpillWriter, TempFileFactory};
use futures::Stream;
use parking_lot::Mutex;

use crate::Error;

/// What a repartitioning asks for.
const OF_REPARTITIONING: &str = "SpillPool";
/// A pack takes no more parts from so many bytes on.
const PACK_BYTES: u64 = 32 << 20;
/// A part is written when it has so many bytes.
const WRITTEN_BYTES: usize = 1 << 20;

/// Files whose parts are given as files.
pub struct PackedSpills {
    files: Arc<DiskManager>,
    /// The pack that takes more; gone when all that it holds is read.
    open: Mutex<Weak<Pack>>,
}

impl PackedSpills {
    /// A disk manager like `files`, with less files for repartitioned rows.
    ///
    /// # Errors
    /// Those of making a disk manager.
    pub fn over(files: Arc<DiskManager>) -> DfResult<DiskManager> {
        let merged_max = files.max_spill_merge_fan_in();
        DiskManagerBuilder::default()
            .with_temp_file_factory(Arc::new(Self { files, open: Mutex::new(Weak::new()) }))
            .with_max_spill_merge_fan_in(merged_max)
            .build()
    }

    /// The pack that takes more; `None` if files have no path here.
    fn pack(&self) -> DfResult<Option<Arc<Pack>>> {
        let mut open = self.open.lock();
        if let Some(pack) = open.upgrade().filter(|pack| pack.end.lock().bytes < PACK_BYTES) {
            return Ok(Some(pack));
        }
        let file = self.files.create_tmp_file("repartitioned rows")?;
        let Some(path) = file.path().map(PathBuf::from) else { return Ok(None) };
        let end = Mutex::new(End { writer: file.open_writer()?, bytes: 0 });
        let pack = Arc::new(Pack { path, end, _file: file });
        *open = Arc::downgrade(&pack);
        Ok(Some(pack))
    }
}

impl TempFileFactory for PackedSpills {
    fn create_temp_file(&self, description: &str) -> DfResult<Arc<dyn SpillFile>> {
        let pack = if description == OF_REPARTITIONING { self.pack()? } else { None };
        match pack {
            Some(pack) => Ok(Arc::new(Part { pack, state: Arc::default() })),
            None => self.files.create_tmp_file(description),
        }
    }
}

/// A file of many parts.
struct Pack {
    path: PathBuf,
    end: Mutex<End>,
    /// Removed when it is dropped.
    _file: Arc<dyn SpillFile>,
}

struct End {
    writer: Box<dyn SpillWriter>,
    bytes: u64,
}

impl Pack {
    /// Appends bytes, and says where.
    fn append(&self, bytes: &[u8]) -> io::Result<Extent> {
        let mut end = self.end.lock();
        let start = end.bytes;
        // counted before, as a write that fails may have written some
        end.bytes += bytes.len() as u64;
        end.writer.write_all(bytes)?;
        end.writer.flush()?;
        Ok(Extent { start, length: bytes.len() })
    }

    fn read(&self, extents: &[Extent]) -> io::Result<Vec<u8>> {
        let mut file = File::open(&self.path)?;
        let mut bytes = vec![0; extents.iter().map(|extent| extent.length).sum()];
        let mut rest = bytes.as_mut_slice();
        for extent in extents {
            let (now, later) = rest.split_at_mut(extent.length);
            file.seek(SeekFrom::Start(extent.start))?;
            file.read_exact(now)?;
            rest = later;
        }
        Ok(bytes)
    }
}

#[derive(Clone, Copy)]
struct Extent {
    start: u64,
    length: usize,
}

/// What is written of a part.
#[derive(Default)]
struct State {
    extents: Vec<Extent>,
    failed: Option<io::Error>,
}

/// A part of a pack.
struct Part {
    pack: Arc<Pack>,
    state: Arc<Mutex<State>>,
}

impl SpillFile for Part {
    fn size(&self) -> Option<u64> {
        Some(self.state.lock().extents.iter().map(|extent| extent.length as u64).sum())
    }

    fn read_stream(&self) -> DfResult<Pin<Box<dyn Stream<Item = DfResult<Bytes>> + Send>>> {
        let (pack, state) = (Arc::clone(&self.pack), Arc::clone(&self.state));
        let bytes = futures::stream::try_unfold(0, move |begun| {
            let (pack, state) = (Arc::clone(&pack), Arc::clone(&state));
            async move {
                let extents = after(&state, begun)?;
                if extents.is_empty() {
                    return Ok(None);
                }
                let next = begun + extents.len();
                let read = tokio::task::spawn_blocking(move || pack.read(&extents)).await;
                let read = read.map_err(|_| Error::bug("reading spilled rows panicked"))?;
                Ok(Some((Bytes::from(read.map_err(DataFusionError::IoError)?), next)))
            }
        });
        Ok(Box::pin(bytes))
    }

    fn open_writer(&self) -> DfResult<Box<dyn SpillWriter>> {
        let (pack, state) = (Arc::clone(&self.pack), Arc::clone(&self.state));
        Ok(Box::new(PartWriter { pack, state, waiting: vec![] }))
    }
}

/// The next extents after the first `begun`, or why there will be none.
fn after(state: &Mutex<State>, begun: usize) -> DfResult<Vec<Extent>> {
    let mut state = state.lock();
    if let Some(cause) = state.failed.take() {
        return Err(DataFusionError::IoError(cause));
    }
    let mut bytes = 0;
    let next = state.extents[begun..].iter().take_while(|extent| {
        let fits = bytes < WRITTEN_BYTES;
        bytes += extent.length;
        fits
    });
    Ok(next.copied().collect())
}

/// Writes a part. It never fails: who reads is told instead.
struct PartWriter {
    pack: Arc<Pack>,
    state: Arc<Mutex<State>>,
    waiting: Vec<u8>,
}

impl PartWriter {
    fn write_out(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let written = self.pack.append(&self.waiting);
        self.waiting.clear();
        let mut state = self.state.lock();
        match written {
            Ok(extent) => state.extents.push(extent),
            Err(cause) => state.failed = Some(cause),
        }
    }
}

impl io::Write for PartWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= WRITTEN_BYTES {
            self.write_out();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_out();
        Ok(())
    }
}

impl SpillWriter for PartWriter {
    fn finish(&mut self) -> DfResult<()> {
        self.write_out();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::time::Duration;

    use arrow::array::{Int32Array, RecordBatch};
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, SpillMetrics};
    use datafusion::physical_plan::spill::{SpillManager, spill_pool};
    use futures::{StreamExt, TryStreamExt};

    use super::*;
    use crate::exec::SpillQuota;

    async fn all_of(file: &Arc<dyn SpillFile>) -> DfResult<Vec<u8>> {
        let pieces: Vec<_> = file.read_stream()?.try_collect().await?;
        Ok(pieces.concat())
    }

    #[tokio::test]
    async fn parts_written_in_turn_are_read_apart_and_go_with_the_last() {
        let files = Arc::new(DiskManagerBuilder::default().build().unwrap());
        let packed = Arc::new(PackedSpills::over(Arc::clone(&files)).unwrap());
        let parts = [(); 3].map(|()| packed.create_tmp_file(OF_REPARTITIONING).unwrap());
        let mut writers: Vec<_> = parts.iter().map(|part| part.open_writer().unwrap()).collect();
        for round in 0..3_u8 {
            for (writer, number) in writers.iter_mut().zip(1_u8..) {
                writer.write_all(&vec![10 * number + round; 600_000]).unwrap();
                writer.flush().unwrap();
            }
        }
        for (part, number) in parts.iter().zip(1_u8..) {
            let expected: Vec<_> =
                (0..3).flat_map(|round| vec![10 * number + round; 600_000]).collect();
            assert!(all_of(part).await.unwrap() == expected, "part {number}");
            assert_eq!(part.size(), Some(1_800_000));
        }
        assert_eq!(files.spilling_progress().active_files_count, 1);
        drop((writers, parts));
        assert_eq!(files.spilling_progress().active_files_count, 0);
        let sorted = packed.create_tmp_file("Sorting").unwrap();
        assert!(sorted.path().is_some(), "a file of its own");
    }

    #[tokio::test]
    async fn a_write_that_fails_is_told_to_who_reads() {
        let files = Arc::new(DiskManagerBuilder::default().build().unwrap());
        let files = Arc::new(SpillQuota::over(files, "one query", 100).unwrap());
        let packed = Arc::new(PackedSpills::over(files).unwrap());
        let part = packed.create_tmp_file(OF_REPARTITIONING).unwrap();
        let mut writer = part.open_writer().unwrap();
        writer.write_all(&[1; 101]).unwrap();
        writer.flush().unwrap();
        let error = all_of(&part).await.unwrap_err().to_string();
        assert!(error.contains("of the 100 that one query may spill"), "{error}");
    }

    /// Files of which two are written at the same time.
    struct Together {
        files: Arc<DiskManager>,
        both: Arc<Barrier>,
    }

    struct TogetherFile(Arc<dyn SpillFile>, Arc<Barrier>);

    struct TogetherWriter(Box<dyn SpillWriter>, Option<Arc<Barrier>>);

    impl TempFileFactory for Together {
        fn create_temp_file(&self, description: &str) -> DfResult<Arc<dyn SpillFile>> {
            let file = self.files.create_tmp_file(description)?;
            Ok(Arc::new(TogetherFile(file, Arc::clone(&self.both))))
        }
    }

    impl SpillFile for TogetherFile {
        fn size(&self) -> Option<u64> {
            self.0.size()
        }

        fn read_stream(&self) -> DfResult<Pin<Box<dyn Stream<Item = DfResult<Bytes>> + Send>>> {
            self.0.read_stream()
        }

        fn open_writer(&self) -> DfResult<Box<dyn SpillWriter>> {
            Ok(Box::new(TogetherWriter(self.0.open_writer()?, Some(Arc::clone(&self.1)))))
        }
    }

    impl io::Write for TogetherWriter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Some(both) = self.1.take() {
                both.wait();
            }
            self.0.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.flush()
        }
    }

    impl SpillWriter for TogetherWriter {
        fn finish(&mut self) -> DfResult<()> {
            self.0.finish()
        }
    }

    /// The batches that can be read of two that two tasks spilled at once, while both tasks live on.
    async fn readable(file_bytes_max: usize) -> usize {
        let files = Arc::new(DiskManagerBuilder::default().build().unwrap());
        let files = Arc::new(PackedSpills::over(files).unwrap());
        let files = Arc::new(Together { files, both: Arc::new(Barrier::new(2)) });
        let files = DiskManagerBuilder::default().with_temp_file_factory(files).build().unwrap();
        let mut runtime = RuntimeEnvBuilder::new().build().unwrap();
        runtime.disk_manager = Arc::new(files);
        let column = Arc::new(Int32Array::from(vec![7; 100])) as _;
        let batch = RecordBatch::try_from_iter([("a", column)]).unwrap();
        let metrics = SpillMetrics::new(&ExecutionPlanMetricsSet::new(), 0);
        let spills = SpillManager::new(Arc::new(runtime), metrics, batch.schema());
        let (writer, mut reader) = spill_pool::mpsc_channel(file_bytes_max, Arc::new(spills));
        let tasks = [(); 2].map(|()| {
            let (sink, batch) = (writer.new_sink(), batch.clone());
            std::thread::spawn(move || {
                sink.push_batch(&batch).unwrap();
                sink
            })
        });
        let _living = tasks.map(|task| task.join().unwrap());
        let mut count = 0;
        while let Ok(Some(read)) =
            tokio::time::timeout(Duration::from_millis(500), reader.next()).await
        {
            assert_eq!(read.unwrap(), batch);
            count += 1;
        }
        count
    }

    /// apache/datafusion#24883: a reader that knows of two batches must get both.
    #[tokio::test]
    async fn what_two_tasks_spill_at_once_is_read_while_they_live() {
        assert_eq!(readable(1).await, 2);
        assert_eq!(
            readable(128 << 20).await,
            1,
            "DataFusion has mended #24883: PackedSpills and with_whole_spills can go"
        );
    }
}
