//! The file that takes chunks which do not fit in memory: slots of one size.
//!
//! In: bytes at places of a slot, from many threads. Out: the same. The file lies in the session's
//! folder for spilling, within its limit, and is gone when this is dropped. Not here: what a slot
//! holds ([`super::chunk`]).

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, OnceLock};

use almagest_engine::{Error, Result};
use datafusion::execution::disk_manager::DiskManager;
use datafusion::execution::{SpillFile, SpillWriter};
use parking_lot::Mutex;

/// The slots of a file.
pub struct SpillSlots {
    disk: Arc<DiskManager>,
    slot_bytes: u64,
    file: OnceLock<(File, Arc<dyn SpillFile>)>,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    count: u64,
    free: Vec<u64>,
    /// Makes the file longer.
    writer: Option<Box<dyn SpillWriter>>,
}

/// A place for one chunk.
pub struct Slot(u64);

impl SpillSlots {
    /// No slots yet; the file is made for the first.
    pub fn new(disk: Arc<DiskManager>, slot_bytes: u64) -> Self {
        Self { disk, slot_bytes, file: OnceLock::new(), slots: Mutex::default() }
    }

    /// A slot that nobody uses.
    ///
    /// # Errors
    /// `Exhausted` if spilling is off or its limit is reached.
    pub fn slot(&self) -> Result<Slot> {
        let mut slots = self.slots.lock();
        if let Some(slot) = slots.free.pop() {
            return Ok(Slot(slot));
        }
        if self.file.get().is_none() {
            let made = self.make_file()?;
            slots.writer = Some(made.1.open_writer()?);
            self.file.get_or_init(|| made);
        }
        if let Some(writer) = &mut slots.writer {
            // its place counts as what others spill does, and is there when it is written to
            io::copy(&mut io::repeat(0).take(self.slot_bytes), writer).map_err(too_much)?;
        }
        slots.count += 1;
        Ok(Slot(slots.count - 1))
    }

    /// Makes a slot free.
    pub fn give_back(&self, slot: Slot) {
        self.slots.lock().free.push(slot.0);
    }

    /// Writes at a place of a slot.
    ///
    /// # Errors
    /// `Exhausted` for a full disk, `Unreachable`.
    pub fn write(&self, slot: &Slot, at: u64, bytes: &[u8]) -> Result<()> {
        let at = slot.0 * self.slot_bytes + at;
        self.opened()?.write_all_at(bytes, at).map_err(failed)
    }

    /// Reads from a place of a slot.
    ///
    /// # Errors
    /// `Unreachable`.
    pub fn read(&self, slot: &Slot, at: u64, bytes: &mut [u8]) -> Result<()> {
        let at = slot.0 * self.slot_bytes + at;
        self.opened()?.read_exact_at(bytes, at).map_err(failed)
    }

    fn opened(&self) -> Result<&File> {
        let opened = self.file.get().ok_or_else(|| Error::bug("a slot without a file"))?;
        Ok(&opened.0)
    }

    fn make_file(&self) -> Result<(File, Arc<dyn SpillFile>)> {
        let made = self.disk.create_tmp_file("COPY of an array")?;
        let path = made.path().ok_or_else(|| {
            Error::unsupported(
                "COPY of an array spills to local files only; raise the memory limit",
            )
        })?;
        let file = File::options().read(true).write(true).open(path).map_err(failed)?;
        Ok((file, made))
    }
}

fn too_much(cause: io::Error) -> Error {
    cause.downcast::<Error>().unwrap_or_else(|cause| {
        let message = format!(
            "the chunks that wait for cells do not fit on disk: {cause}; give the rows in the order of \
             the array, or allow more memory or disk"
        );
        Error::exhausted(message).caused_by(cause)
    })
}

fn failed(cause: io::Error) -> Error {
    let message = format!("cannot spill: {cause}");
    match cause.kind() {
        io::ErrorKind::StorageFull => Error::exhausted(message),
        _ => Error::unreachable(message),
    }
    .caused_by(cause)
}
