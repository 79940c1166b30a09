//! Object headers: the messages that describe a group, a dataset or a named type.
//!
//! In: an address. Out: the raw messages, continuations followed (HDF5 file format, IV.A). Not here:
//! what a message means; `rust-hdf5` decodes each kind.

use almagest_engine::{Error, Result};
use rust_hdf5::format::messages::{MSG_FLAG_SHARED, MSG_OBJ_HEADER_CONTINUATION};
use rust_hdf5::format::sohm::{SharedLocation, SharedMessagePointer};

use super::metadata::{Fields, Metadata, invalid};

/// Blocks of one header; libhdf5 writes a handful.
const BLOCKS_MAX: usize = 10_000;
const ATTRIBUTE_ORDER: u8 = 0x04;
const ATTRIBUTE_LIMITS: u8 = 0x10;
const TIMES: u8 = 0x20;

/// An object of the file.
#[derive(Debug)]
pub struct Object {
    /// Where its header is.
    pub address: u64,
    messages: Vec<Message>,
}

#[derive(Debug)]
struct Message {
    kind: u8,
    flags: u8,
    body: Vec<u8>,
}

impl Object {
    /// Reads the header at `address`.
    ///
    /// # Errors
    /// `DataInvalid`, `Unreachable`.
    pub fn read(metadata: &mut Metadata, address: u64) -> Result<Self> {
        let mut object = Self { address, messages: vec![] };
        let start = metadata.up_to(address, 4)?;
        if start == *b"OHDR" {
            object.read_version_2(metadata)?;
        } else if start.first() == Some(&1) {
            object.read_version_1(metadata)?;
        } else {
            return Err(invalid(format!("no object header at {address}")));
        }
        Ok(object)
    }

    fn read_version_2(&mut self, metadata: &mut Metadata) -> Result<()> {
        let prefix = metadata.up_to(self.address, 34)?;
        let mut fields = Fields(&prefix);
        fields.take(4)?;
        let (version, flags) = (fields.number(1)?, fields.number(1)? as u8);
        if version != 2 {
            return Err(invalid(format!("an object header of version {version}")));
        }
        fields.take(if flags & TIMES == 0 { 0 } else { 16 })?;
        fields.take(if flags & ATTRIBUTE_LIMITS == 0 { 0 } else { 4 })?;
        let inside = fields.number(1 << (flags & 3))? as usize;
        let before = prefix.len() - fields.0.len();
        let whole = inside.saturating_add(before + 4);
        let block = metadata.checked(self.address, whole, b"OHDR")?;
        let mut next = self.add_version_2(&block[before - 4..], flags, metadata)?;
        let mut count = 0;
        while let Some((address, len)) = next.pop() {
            let block = metadata.checked(address, len, b"OCHK")?;
            next.extend(self.add_version_2(&block, flags, metadata)?);
            count += 1;
            if count > BLOCKS_MAX {
                return Err(invalid("an object header without end"));
            }
        }
        Ok(())
    }

    /// Adds the messages of a block; gives back the blocks that go on from it.
    fn add_version_2(
        &mut self,
        block: &[u8],
        header_flags: u8,
        metadata: &Metadata,
    ) -> Result<Vec<(u64, usize)>> {
        let head = if header_flags & ATTRIBUTE_ORDER == 0 { 4 } else { 6 };
        let mut fields = Fields(block);
        let mut next = vec![];
        while fields.0.len() >= head {
            let (kind, len) = (fields.number(1)? as u8, fields.number(2)? as usize);
            let flags = fields.number(1)? as u8;
            fields.take(head - 4)?;
            next.extend(self.add(kind, flags, fields.take(len)?, metadata)?);
        }
        Ok(next)
    }

    fn read_version_1(&mut self, metadata: &mut Metadata) -> Result<()> {
        let prefix = metadata.exactly(self.address, 16)?;
        let mut fields = Fields(&prefix[2..]);
        let mut left = fields.number(2)?;
        fields.take(4)?;
        let len = fields.number(4)? as usize;
        let mut next = vec![(self.address.saturating_add(16), len)];
        let mut count = 0;
        while let Some((address, len)) = next.pop() {
            let block = metadata.exactly(address, len)?;
            let mut fields = Fields(&block);
            while left > 0 && fields.0.len() >= 8 {
                left -= 1;
                let (kind, len) = (fields.number(2)?, fields.number(2)? as usize);
                let flags = fields.number(1)? as u8;
                fields.take(3)?;
                let body = fields.take(len)?;
                fields.take((len.next_multiple_of(8) - len).min(fields.0.len()))?;
                next.extend(self.add(kind.min(0xff) as u8, flags, body, metadata)?);
            }
            count += 1;
            if count > BLOCKS_MAX {
                return Err(invalid("an object header without end"));
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        kind: u8,
        flags: u8,
        body: &[u8],
        metadata: &Metadata,
    ) -> Result<Option<(u64, usize)>> {
        if kind != MSG_OBJ_HEADER_CONTINUATION {
            self.messages.push(Message { kind, flags, body: body.to_vec() });
            return Ok(None);
        }
        let mut fields = Fields(body);
        let address = fields.number(usize::from(metadata.context.sizeof_addr))?;
        let len = fields.number(usize::from(metadata.context.sizeof_size))?;
        Ok(Some((address, len as usize)))
    }

    /// Whether there is a message of this kind.
    pub fn has(&self, kind: u8) -> bool {
        self.messages.iter().any(|message| message.kind == kind)
    }

    /// The bodies of the messages of this kind that stand in the header itself.
    pub fn all(&self, kind: u8) -> impl Iterator<Item = &[u8]> {
        let own = self.messages.iter();
        own.filter(move |message| message.kind == kind && message.flags & MSG_FLAG_SHARED == 0)
            .map(|message| message.body.as_slice())
    }

    /// The body of the first message of this kind, taken from where it is shared if it is.
    ///
    /// # Errors
    /// `DataInvalid`, `Unsupported`, `Unreachable`.
    pub fn one(&self, kind: u8, metadata: &mut Metadata) -> Result<Option<Vec<u8>>> {
        let Some(message) = self.messages.iter().find(|message| message.kind == kind) else {
            return Ok(None);
        };
        if message.flags & MSG_FLAG_SHARED == 0 {
            return Ok(Some(message.body.clone()));
        }
        let context = metadata.context;
        let pointer = SharedMessagePointer::decode(&message.body, &context)
            .map_err(|cause| metadata.failed(cause))?;
        if pointer.location != SharedLocation::Committed {
            return Err(Error::unsupported("metadata shared in the file's message table"));
        }
        let holder = Self::read(metadata, pointer.oh_addr)?;
        let found = holder.all(kind).next().map(<[u8]>::to_vec);
        found.map(Some).ok_or_else(|| invalid("a shared message that is not where it should be"))
    }
}
