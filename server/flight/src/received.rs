//! Rows that clients send, looked at before they are decoded.
//!
//! In: the messages of a DoPut. Out: their schema and their batches, or an error that says what is wrong
//! with them. Arrow's decoder believes a message: it asks for as much memory as a compressed buffer
//! claims, which ends the process if there is none, lets LZ4 become 255 times as much whatever was
//! claimed, and panics over a buffer that does not lie in its message. What few bytes may stand for is
//! limited too, as whoever takes the rows lays them out: dictionaries, views, runs, and values that are
//! absent. A panic that comes all the same is an error of who sent the rows, and no lost connection.
//! Not here: what is done with the rows, and files (`engine/src/files/arrow_claims.rs`).

use std::any::Any;
use std::collections::HashMap;
use std::io::BufRead;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use almagest_engine::{Error, Result};
use arrow::array::{Array, ArrayRef, AsArray, make_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::ipc::{CompressionType, Field, RecordBatch as Described, root_as_message};
use arrow::record_batch::RecordBatch;
use arrow_flight::FlightData;
use arrow_flight::decode::{DecodedPayload, FlightDataDecoder};
use arrow_flight::error::FlightError;
use arrow_flight::sql::server::PeekableFlightDataStream;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use lz4_flex::frame::FrameDecoder;

use super::client::Client;
use super::ledger::Held;

/// Bytes that a message may be when it is decoded, and its rows when each value stands for itself.
const BYTES_MAX: u64 = 256 << 20;
/// A compressed byte never stands for more, as for files.
const RATIO_MAX: u64 = 64 << 10;
/// Bytes of the names in a schema, and of what is said of its columns.
const SCHEMA_BYTES_MAX: usize = 16 << 20;
/// Bytes of a column in a schema, beside its name.
const COLUMN_BYTES: usize = 256;
/// Bytes of one value of a type all of whose values are as long: absent ones take as many.
const WIDTH_MAX: u64 = 1 << 20;
/// Bytes of a row, whatever its columns are.
const ROW_BYTES: u64 = 4;
/// Bytes of a value that is absent in a column without a type.
const ABSENT_BYTES: u64 = 16;
/// The letters of a panic's message that are told.
const SHOWN_MAX: usize = 200;

/// Batches, as they arrive.
pub type Batches = BoxStream<'static, Result<RecordBatch>>;

/// The batches that a client sends, and their schema, which alone is waited for. With a `keeper`, what
/// they share counts as kept by the session, and they do not hold the messages in which they came.
///
/// # Errors
/// `DataInvalid` and `Exhausted` for what cannot be decoded, or not in the memory that there is for it.
pub async fn received(
    messages: PeekableFlightDataStream,
    keeper: Option<Arc<Client>>,
) -> Result<(SchemaRef, Batches)> {
    let is_kept = keeper.is_some();
    let mut claims = Claims { keeper, dictionaries: HashMap::new() };
    let messages = messages.map_err(|status| FlightError::Tonic(Box::new(status)));
    // a command without rows comes in a message that has nothing else
    let messages = messages.try_filter(|message| {
        std::future::ready(!message.data_header.is_empty() || !message.data_body.is_empty())
    });
    let messages = messages.map(move |message| {
        let mut message = message?;
        claims.check(&message).map_err(|error| FlightError::ExternalError(Box::new(error)))?;
        if is_kept {
            message.data_body = Bytes::copy_from_slice(&message.data_body);
        }
        Ok(message)
    });
    let mut decoder = FlightDataDecoder::new(messages);
    let first = AssertUnwindSafe(decoder.try_next()).catch_unwind().await;
    let schema = match first.unwrap_or_else(|panic| Err(panicked(panic.as_ref()))).map_err(wrong)? {
        None => return Ok((Arc::new(Schema::empty()), futures::stream::empty().boxed())),
        Some(first) => match first.payload {
            DecodedPayload::Schema(schema) => schema,
            // the decoder refuses a batch
            DecodedPayload::RecordBatch(_) | DecodedPayload::None => {
                return Err(Error::data_invalid("rows were sent without a schema before them"));
            }
        },
    };
    let batches = decoder.try_filter_map(|decoded| {
        let batch = match decoded.payload {
            DecodedPayload::RecordBatch(batch) => Ok(Some(batch)),
            DecodedPayload::None => Ok(None),
            DecodedPayload::Schema(_) => {
                Err(FlightError::protocol("a second schema came among the rows"))
            }
        };
        std::future::ready(batch)
    });
    let batches = batches.map(|batch| {
        let batch = batch.map_err(wrong)?;
        check_plain(&batch)?;
        Ok(batch)
    });
    let batches = AssertUnwindSafe(batches).catch_unwind();
    let batches =
        batches.map(|batch| batch.unwrap_or_else(|panic| Err(wrong(panicked(panic.as_ref())))));
    Ok((schema, batches.boxed()))
}

fn wrong(cause: FlightError) -> Error {
    match cause {
        FlightError::Tonic(status) => Error::cancelled(format!("the client ended: {status}")),
        FlightError::ExternalError(cause) => match cause.downcast::<Error>() {
            Ok(error) => *error,
            Err(cause) => unreadable(&cause),
        },
        cause => unreadable(&cause),
    }
}

fn unreadable(cause: &dyn std::fmt::Display) -> Error {
    Error::data_invalid(format!("the rows that were sent cannot be read: {cause}"))
}

/// The decoder's panic, which is no bug of ours: the message contradicts itself.
fn panicked(panic: &(dyn Any + Send)) -> FlightError {
    let said = panic.downcast_ref::<String>().map(String::as_str);
    let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
    let said: String = said.lines().next().unwrap_or_default().chars().take(SHOWN_MAX).collect();
    FlightError::DecodeError(format!("a message contradicts itself ({said})"))
}

/// What the messages of one stream say of themselves.
struct Claims {
    keeper: Option<Arc<Client>>,
    /// Bytes of the dictionaries that the decoder keeps for the batches to come, by their names.
    dictionaries: HashMap<i64, (u64, Vec<Held>)>,
}

impl Claims {
    fn check(&mut self, data: &FlightData) -> Result<()> {
        let message = root_as_message(&data.data_header).map_err(|cause| unreadable(&cause))?;
        if let Some(schema) = message.header_as_schema() {
            let mut bytes = 0;
            let fields = schema.fields();
            return fields.iter().flatten().try_for_each(|field| check_field(&field, &mut bytes));
        }
        if let Some(dictionary) = message.header_as_dictionary_batch() {
            let values = dictionary.data();
            let values = values.ok_or_else(|| unreadable(&"a dictionary has no values"))?;
            let bytes = claimed(&values, &data.data_body)?.max(data.data_body.len() as u64);
            return self.keep(dictionary.id(), dictionary.isDelta(), bytes);
        }
        match message.header_as_record_batch() {
            Some(batch) => claimed(&batch, &data.data_body).map(drop),
            None => Ok(()),
        }
    }

    /// Counts a dictionary, which replaces one or, as a delta, makes it longer.
    fn keep(&mut self, id: i64, is_delta: bool, bytes: u64) -> Result<()> {
        if !is_delta {
            self.dictionaries.remove(&id);
        }
        let all: u64 = self.dictionaries.values().map(|(bytes, _)| bytes).sum();
        if all.saturating_add(bytes) > BYTES_MAX {
            return Err(Error::exhausted(format!(
                "the dictionaries of the rows that were sent have more than {} MiB; send the rows \
                 without dictionaries",
                BYTES_MAX >> 20
            )));
        }
        let held = self.keeper.as_ref().map(|client| client.keeps(bytes as usize)).transpose()?;
        let (before, kept) = self.dictionaries.entry(id).or_default();
        *before += bytes;
        kept.extend(held);
        Ok(())
    }
}

/// Checks what a schema says, in which one text may stand for many.
fn check_field(field: &Field<'_>, bytes: &mut usize) -> Result<()> {
    let said = field.custom_metadata();
    let said = said.iter().flatten().map(|pair| {
        pair.key().map_or(0, str::len).saturating_add(pair.value().map_or(0, str::len))
    });
    let own = said.fold(field.name().map_or(0, str::len), usize::saturating_add);
    *bytes = bytes.saturating_add(own).saturating_add(COLUMN_BYTES);
    if *bytes > SCHEMA_BYTES_MAX {
        return Err(Error::exhausted(format!(
            "the schema of the rows that were sent has more than {} MiB",
            SCHEMA_BYTES_MAX >> 20
        )));
    }
    let children = field.children();
    children.iter().flatten().try_for_each(|child| check_field(&child, bytes))
}

/// The bytes that the buffers of a batch say they will be, all of which lie in its body.
fn claimed(batch: &Described<'_>, body: &[u8]) -> Result<u64> {
    let codec = batch.compression().map(|compression| compression.codec());
    let mut all = 0_u64;
    let buffers = batch.buffers();
    for buffer in buffers.iter().flatten() {
        let place = usize::try_from(buffer.offset()).ok();
        let place = place.zip(usize::try_from(buffer.length()).ok());
        let bytes = place.and_then(|(start, length)| body.get(start..start.checked_add(length)?));
        let bytes = bytes.ok_or_else(|| {
            Error::data_invalid(format!(
                "the message says that {} bytes of a column stand at byte {}, but it has {}",
                buffer.length(),
                buffer.offset(),
                body.len()
            ))
        })?;
        let length = bytes.len() as u64;
        let (claim, rest) = match (codec, bytes.split_first_chunk()) {
            (Some(_), Some((claim, rest))) => (i64::from_le_bytes(*claim), rest),
            _ => (-1, bytes),
        };
        // -1: as it is
        let claim = if claim == -1 { length } else { claim as u64 };
        if claim > length.saturating_mul(RATIO_MAX) {
            return Err(Error::data_invalid(format!(
                "the message says that {length} compressed bytes are {claim} bytes"
            )));
        }
        all = all.saturating_add(claim);
        if all > BYTES_MAX {
            return Err(too_many());
        }
        if codec == Some(CompressionType::LZ4_FRAME) && rest.len() < bytes.len() && claim > 0 {
            check_lz4(rest, claim)?;
        }
    }
    Ok(all)
}

fn too_many() -> Error {
    Error::exhausted(format!(
        "a batch of the rows that were sent takes more than {} MiB; send smaller batches",
        BYTES_MAX >> 20
    ))
}

/// Checks that LZ4 becomes no more than it claims. The decoder takes all that comes, and looks then.
fn check_lz4(compressed: &[u8], claim: u64) -> Result<()> {
    let mut decoder = FrameDecoder::new(compressed);
    let mut rest = claim;
    loop {
        let some = decoder.fill_buf().map_err(|cause| unreadable(&cause))?.len();
        if some == 0 {
            return Ok(());
        }
        decoder.consume(some);
        rest = rest.checked_sub(some as u64).ok_or_else(|| {
            Error::data_invalid(format!(
                "the message says that {} compressed bytes are {claim} bytes, and they are more",
                compressed.len()
            ))
        })?;
    }
}

/// Checks what a batch is when each value stands for itself.
fn check_plain(batch: &RecordBatch) -> Result<()> {
    let mut all = (batch.num_rows() as u64).saturating_mul(ROW_BYTES);
    for (column, field) in batch.columns().iter().zip(batch.schema_ref().fields()) {
        let width = width_of(field.data_type());
        if width > WIDTH_MAX {
            return Err(Error::exhausted(format!(
                "each value of column '{}' has {width} bytes, and no more than {} MiB are taken",
                field.name(),
                WIDTH_MAX >> 20
            )));
        }
        all = all.saturating_add(plain_bytes(column));
    }
    if all > BYTES_MAX { Err(too_many()) } else { Ok(()) }
}

/// Bytes that each value of a type takes, absent ones too.
pub fn width_of(data_type: &DataType) -> u64 {
    match data_type {
        DataType::FixedSizeBinary(width) => *width as u64,
        DataType::FixedSizeList(item, count) => {
            width_of(item.data_type()).saturating_mul(*count as u64)
        }
        DataType::Struct(fields) => {
            let widths = fields.iter().map(|field| width_of(field.data_type()));
            widths.fold(0, u64::saturating_add)
        }
        other => other.primitive_width().unwrap_or(1) as u64,
    }
}

/// Bytes of a column of which each value stands for itself.
fn plain_bytes(array: &ArrayRef) -> u64 {
    let data = array.to_data();
    let length = array.len() as u64;
    let bytes = match array.data_type() {
        DataType::Null => length.saturating_mul(ABSENT_BYTES),
        DataType::Utf8View => array.as_string_view().lengths().map(u64::from).sum(),
        DataType::BinaryView => array.as_binary_view().lengths().map(u64::from).sum(),
        DataType::Dictionary(..) => {
            let Some(array) = array.as_any_dictionary_opt() else { return u64::MAX };
            let (keys, values) = (array.keys(), array.values());
            if values.is_empty() {
                return 0;
            }
            let sizes = sizes_of(values);
            let keys = array.normalized_keys().into_iter().zip(0..keys.len());
            let known = keys.filter(|(_, row)| array.is_valid(*row)).map(|(key, _)| key);
            known.map(|key| sizes.of(key)).fold(0, u64::saturating_add)
        }
        DataType::RunEndEncoded(..) => {
            let [ends, values] = data.child_data() else { return u64::MAX };
            let sizes = sizes_of(&make_array(values.clone()));
            let Ok(ends) = cast(&make_array(ends.clone()), &DataType::Int64) else {
                return u64::MAX;
            };
            let ends = ends.as_primitive::<arrow::datatypes::Int64Type>();
            let mut begin = 0;
            let runs = ends.values().iter().enumerate().map(|(run, end)| {
                let rows = u64::try_from(end - begin).unwrap_or_default();
                begin = *end;
                sizes.of(run).saturating_mul(rows)
            });
            runs.fold(0, u64::saturating_add)
        }
        // lists that may be parts of each other
        DataType::ListView(_) | DataType::LargeListView(_) => {
            let count = match array.data_type() {
                DataType::ListView(_) => {
                    let sizes = array.as_list_view::<i32>().sizes().iter();
                    sizes.map(|size| *size as u64).fold(0, u64::saturating_add)
                }
                _ => {
                    let sizes = array.as_list_view::<i64>().sizes().iter();
                    sizes.map(|size| *size as u64).fold(0, u64::saturating_add)
                }
            };
            let Some(items) = data.child_data().first() else { return 0 };
            let sizes = sizes_of(&make_array(items.clone()));
            let largest = (0..items.len()).map(|item| sizes.of(item)).max().unwrap_or(0);
            count.saturating_mul(largest)
        }
        _ if !data.child_data().is_empty() => {
            let children =
                data.child_data().iter().map(|child| plain_bytes(&make_array(child.clone())));
            children.fold(length, u64::saturating_add)
        }
        _ => data.get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size()) as u64,
    };
    bytes.saturating_add(length)
}

/// The bytes of each value.
enum Sizes {
    Each(Vec<u64>),
    /// At most so many.
    All(u64),
}

impl Sizes {
    fn of(&self, position: usize) -> u64 {
        match self {
            Self::Each(sizes) => sizes.get(position).copied().unwrap_or_default(),
            Self::All(size) => *size,
        }
    }
}

fn sizes_of(values: &ArrayRef) -> Sizes {
    let lengths = |offsets: &mut dyn Iterator<Item = u64>| {
        let mut before = offsets.next().unwrap_or_default();
        let sizes = offsets.map(|offset| offset - std::mem::replace(&mut before, offset));
        Sizes::Each(sizes.collect())
    };
    match values.data_type() {
        DataType::Utf8 => {
            lengths(&mut values.as_string::<i32>().offsets().iter().map(|at| *at as u64))
        }
        DataType::LargeUtf8 => {
            lengths(&mut values.as_string::<i64>().offsets().iter().map(|at| *at as u64))
        }
        DataType::Binary => {
            lengths(&mut values.as_binary::<i32>().offsets().iter().map(|at| *at as u64))
        }
        DataType::LargeBinary => {
            lengths(&mut values.as_binary::<i64>().offsets().iter().map(|at| *at as u64))
        }
        DataType::Utf8View => {
            Sizes::Each(values.as_string_view().lengths().map(u64::from).collect())
        }
        DataType::BinaryView => {
            Sizes::Each(values.as_binary_view().lengths().map(u64::from).collect())
        }
        DataType::FixedSizeBinary(width) => Sizes::All(*width as u64),
        other => match other.primitive_width() {
            Some(width) => Sizes::All(width as u64),
            None => Sizes::All(plain_bytes(values)),
        },
    }
}
