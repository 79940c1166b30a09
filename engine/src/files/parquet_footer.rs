//! What a Parquet file's footer says of how many things it holds, before memory is taken for them.
//!
//! In: a file. Out: nothing, or `DataInvalid`. Parquet's reader takes memory for as many row groups, and places of
//! pages in an index, as a list says that it has (apache/arrow-rs bounds its other lists by the bytes that are left;
//! this goes when it bounds these). Of two billion that is more than a machine has, and the process ends. And the rows
//! of the file must be those of its row groups: `count(*)` is answered by them, and sizes are multiplied with them.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use super::thrift::Compact;
use crate::{Error, Result};

/// The footer's length, and the magic.
const TAIL_BYTES: u64 = 8;
/// Bytes that are fetched at first, in which most footers lie whole.
const FIRST_BYTES: u64 = 64 << 10;
/// More rows than any file has; a value has 16 bytes at the most where sizes are multiplied.
const ROWS_MAX: i64 = 1 << 56;
/// Types of values in Thrift's compact protocol.
const I32: u8 = 5;
const I64: u8 = 6;
const LIST: u8 = 9;
const STRUCTURE: u8 = 12;

/// Looks at the counts in the footer, and in the indexes of pages. What is no Parquet file is left to the reader.
///
/// # Errors
/// `DataInvalid` for a count that cannot be, `Unreachable`.
pub async fn check(store: &Arc<dyn ObjectStore>, file: &ObjectMeta) -> Result<()> {
    let Some(footer) = footer(store, file).await? else { return Ok(()) };
    let indexes = indexes_of(&footer)?;
    let inside: Vec<Range<u64>> =
        indexes.into_iter().filter(|range| !range.is_empty() && range.end <= file.size).collect();
    let (Some(begin), Some(end)) =
        (inside.iter().map(|range| range.start).min(), inside.iter().map(|range| range.end).max())
    else {
        return Ok(());
    };
    // they stand one behind the other, as writers write them
    let length: u64 = inside.iter().map(|range| range.end - range.start).sum();
    let found: Vec<Bytes> = match end - begin <= length.saturating_mul(2) {
        true => {
            let all = store.get_range(&file.location, begin..end).await?;
            let part = |range: &Range<u64>| {
                all.slice((range.start - begin) as usize..(range.end - begin) as usize)
            };
            if all.len() as u64 == end - begin { inside.iter().map(part).collect() } else { vec![] }
        }
        false => store.get_ranges(&file.location, &inside).await?,
    };
    found.iter().try_for_each(|index| check_index(index))
}

/// The bytes of the footer, if the file has one.
async fn footer(store: &Arc<dyn ObjectStore>, file: &ObjectMeta) -> Result<Option<Bytes>> {
    let size = file.size;
    let Some(footer_end) = size.checked_sub(TAIL_BYTES) else { return Ok(None) };
    let start = size.saturating_sub(FIRST_BYTES);
    let last = store.get_range(&file.location, start..size).await?;
    let Some(tail) = last.len().checked_sub(TAIL_BYTES as usize).map(|at| &last[at..]) else {
        return Ok(None);
    };
    let length = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
    let Some(begin) = footer_end.checked_sub(length) else { return Ok(None) };
    if !tail.ends_with(b"PAR1") {
        return Ok(None);
    }
    if begin >= start {
        return Ok(Some(last.slice((begin - start) as usize..(footer_end - start) as usize)));
    }
    Ok(Some(store.get_range(&file.location, begin..footer_end).await?))
}

fn too_many(what: &str, count: u64, bytes: usize) -> Error {
    Error::data_invalid(format!("the file says that it has {count} {what} in {bytes} bytes"))
}

fn unreadable() -> Error {
    Error::data_invalid("the description at the file's end cannot be read; it is damaged")
}

/// Where the indexes of pages stand that the footer names.
fn indexes_of(footer: &[u8]) -> Result<Vec<Range<u64>>> {
    let mut found = vec![];
    let mut reader = Compact::new(footer);
    let mut last = 0;
    let (mut rows, mut of_groups) = (None, 0_i64);
    loop {
        let Some(field) = reader.field(&mut last) else { return Err(unreadable()) };
        match field {
            None => break,
            Some((3, I64)) => rows = Some(reader.integer().ok_or_else(unreadable)?),
            Some((4, LIST)) => {
                let (count, kind) = reader.list().ok_or_else(unreadable)?;
                if count > reader.left() as u64 {
                    return Err(too_many("row groups", count, reader.left()));
                }
                if kind != STRUCTURE && count > 0 {
                    return Err(unreadable());
                }
                for _ in 0..count {
                    let rows = row_group(&mut reader, &mut found)?.ok_or_else(unreadable)?;
                    of_groups = of_groups.saturating_add(rows);
                }
            }
            Some((_, kind)) => reader.pass_over(kind, 0).ok_or_else(unreadable)?,
        }
    }
    match rows {
        Some(rows) if rows != of_groups || rows > ROWS_MAX => Err(Error::data_invalid(format!(
            "the file says that it has {rows} rows, and its row groups have {of_groups}; it is damaged"
        ))),
        _ => Ok(found),
    }
}

/// How many rows a group has.
fn row_group(reader: &mut Compact, found: &mut Vec<Range<u64>>) -> Result<Option<i64>> {
    let (mut last, mut rows, mut fewest) = (0, 0, i64::MAX);
    loop {
        match reader.field(&mut last) {
            None => return Ok(None),
            // a row has a value in each column, or several
            Some(None) if !(0..=fewest).contains(&rows) => {
                return Err(Error::data_invalid(format!(
                    "the file says that it has {rows} rows in a row group, and {fewest} values in a column of it; it \
                     is damaged"
                )));
            }
            Some(None) => return Ok(Some(rows)),
            Some(Some((3, I64))) => match reader.integer() {
                Some(count) => rows = count,
                None => return Ok(None),
            },
            Some(Some((1, LIST))) => {
                let list = reader.list().filter(|(count, kind)| *count == 0 || *kind == STRUCTURE);
                let Some((count, _)) = list else { return Ok(None) };
                if count > reader.left() as u64 {
                    return Err(too_many("columns", count, reader.left()));
                }
                for _ in 0..count {
                    let Some((index, values)) = column(reader) else { return Ok(None) };
                    found.extend(index);
                    fewest = fewest.min(values.unwrap_or(i64::MAX));
                }
            }
            Some(Some((_, kind))) => {
                if reader.pass_over(kind, 0).is_none() {
                    return Ok(None);
                }
            }
        }
    }
}

/// Where the index of a column's pages stands, and how many values it has, if it says so.
fn column(reader: &mut Compact) -> Option<(Option<Range<u64>>, Option<i64>)> {
    let (mut last, mut offset, mut length, mut values) = (0, None, None, None);
    while let Some((number, kind)) = reader.field(&mut last)? {
        match (number, kind) {
            (3, STRUCTURE) => values = values_of(reader)?,
            (4, I64) => offset = u64::try_from(reader.integer()?).ok(),
            (5, I32) => length = u64::try_from(reader.integer()?).ok(),
            (_, kind) => reader.pass_over(kind, 0)?,
        }
    }
    let index = offset.zip(length);
    Some((index.and_then(|(offset, length)| Some(offset..offset.checked_add(length)?)), values))
}

/// How many values a column's description says that it has.
fn values_of(reader: &mut Compact) -> Option<Option<i64>> {
    let (mut last, mut values) = (0, None);
    while let Some((number, kind)) = reader.field(&mut last)? {
        match (number, kind) {
            (5, I64) => values = Some(reader.integer()?),
            (_, kind) => reader.pass_over(kind, 1)?,
        }
    }
    Some(values)
}

/// The places of pages are the index's first field.
fn check_index(index: &[u8]) -> Result<()> {
    let mut reader = Compact::new(index);
    let Some(Some((1, LIST))) = reader.field(&mut 0) else { return Ok(()) };
    match reader.list() {
        Some((count, _)) if count > reader.left() as u64 => {
            Err(too_many("pages of a column", count, reader.left()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_beyond_the_bytes_are_refused() {
        // row groups: two billion, and two that say nothing
        let footer = [0x15, 0x02, 0x39, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07, 0x00];
        let error = indexes_of(&footer).unwrap_err().to_string();
        assert!(error.contains("2147483647 row groups in 1 bytes"), "{error}");
        assert_eq!(indexes_of(&[0x15, 0x02, 0x39, 0x2c, 0x00, 0x00, 0x00]).unwrap(), []);
        let index = [0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07, 0x16, 0x08];
        assert!(check_index(&index).is_err());
        check_index(&[0x19, 0x1c, 0x16, 0x08, 0x15, 0x64, 0x16, 0x00, 0x00, 0x00]).unwrap();
    }

    #[test]
    fn rows_are_those_of_the_row_groups() {
        // rows 3; one row group of one column with so many values, and so many rows
        let footer = |rows: u8, values: u8, of_group: u8| {
            vec![
                0x36,
                rows << 1,
                0x19,
                0x1c,
                0x19,
                0x1c,
                0x3c,
                0x56,
                values << 1,
                0x00,
                0x00,
                0x16,
                0x00,
                0x16,
                of_group << 1,
                0x00,
                0x00,
            ]
        };
        indexes_of(&footer(3, 3, 3)).unwrap();
        indexes_of(&footer(3, 5, 3)).unwrap();
        let error = indexes_of(&footer(4, 5, 3)).unwrap_err().to_string();
        assert!(error.contains("4 rows, and its row groups have 3"), "{error}");
        let error = indexes_of(&footer(4, 3, 4)).unwrap_err().to_string();
        assert!(error.contains("4 rows in a row group, and 3 values"), "{error}");
    }

    #[test]
    fn the_index_of_a_column_is_found() {
        // one row group of one column: file_offset 0, offset_index_offset 100, offset_index_length 10
        let footer = [
            0x49, 0x1c, // 4: a list of one structure
            0x19, 0x1c, // 1: a list of one structure
            0x26, 0x00, // 2: 0
            0x26, 0xc8, 0x01, // 4: 100
            0x15, 0x14, // 5: 10
            0x00, 0x16, 0x02, 0x00, // ends; the row group's 2: 1; ends
            0x00,
        ];
        let found = indexes_of(&footer).unwrap();
        assert_eq!(found.first(), Some(&(100..110)));
        assert_eq!(found.len(), 1);
    }
}
