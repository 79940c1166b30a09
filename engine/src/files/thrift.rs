//! Thrift's compact protocol, as far as sizes in Parquet files are looked for.
//!
//! In: bytes. Out: numbers of the fields that are asked for; all else is passed over. Nothing takes memory by what the
//! bytes say, and what cannot be read is absent.

/// How deep structures may be nested.
const DEPTH_MAX: usize = 16;

/// Bytes that are read from the front.
pub struct Compact<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Compact<'a> {
    /// These bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes have been read.
    pub fn at(&self) -> usize {
        self.at
    }

    /// How many are left.
    pub fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied();
        self.at += 1;
        byte
    }

    /// A number without a sign.
    pub fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A number.
    pub fn integer(&mut self) -> Option<i64> {
        let zigzag = self.varint()?;
        Some((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
    }

    /// The number and type of the next field of a structure, `last` being the one before; absent at its end.
    pub fn field(&mut self, last: &mut i64) -> Option<Option<(i64, u8)>> {
        let head = self.byte()?;
        if head == 0 {
            return Some(None);
        }
        *last = match head >> 4 {
            0 => self.integer()?,
            more => last.checked_add(i64::from(more))?,
        };
        Some(Some((*last, head & 0x0f)))
    }

    /// How many values of what type a list says that it holds.
    pub fn list(&mut self) -> Option<(u64, u8)> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => self.varint()?,
            count => u64::from(count),
        };
        Some((count, head & 0x0f))
    }

    /// Passes over a value of a type.
    pub fn pass_over(&mut self, kind: u8, depth: usize) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        match kind {
            1 | 2 => Some(()), // a truth value, in the field's head
            3 => self.byte().map(drop),
            4..=6 => self.varint().map(drop),
            7 => {
                self.at = self.at.checked_add(8)?;
                Some(())
            }
            8 => {
                let length = usize::try_from(self.varint()?).ok()?;
                self.at = self.at.checked_add(length)?;
                Some(())
            }
            12 => {
                let mut last = 0;
                while let Some((_, kind)) = self.field(&mut last)? {
                    self.pass_over(kind, depth + 1)?;
                }
                Some(())
            }
            9 | 10 => {
                let (count, kind) = self.list()?;
                // a truth value in a list takes a byte
                let kind = if matches!(kind, 1 | 2) { 3 } else { kind };
                (0..count).try_for_each(|_| self.pass_over(kind, depth + 1))
            }
            // no structure of Parquet has maps
            _ => None,
        }
    }
}
