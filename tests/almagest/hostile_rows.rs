//! What a client can do with the rows that it sends, of which nothing is to be believed: nothing to others.

use std::sync::Arc;

use almagest::flight::Served;
use arrow::array::{
    ArrayRef, DictionaryArray, Int8Array, Int64Array, NullArray, RecordBatch, StringArray,
};
use arrow::datatypes::Int8Type;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::encode::{DictionaryHandling, FlightDataEncoderBuilder};
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{
    CommandStatementIngest, ProstMessageExt, TableDefinitionOptions, TableExistsOption,
    TableNotExistOption,
};
use arrow_flight::{FlightData, FlightDescriptor};
use futures::{TryStreamExt, stream};
use prost::Message;
use tonic::Code;
use tonic::transport::Channel;

use crate::flight::{channel, client, started, text, writable};
use crate::hostile_clients::answers_are_right;

/// Rows as the messages of a DoPut, without its command.
async fn messages(rows: RecordBatch, codec: Option<CompressionType>) -> Vec<FlightData> {
    let options = IpcWriteOptions::default().try_with_compression(codec).unwrap();
    let messages = FlightDataEncoderBuilder::new()
        .with_dictionary_handling(DictionaryHandling::Resend)
        .with_options(options)
        .with_max_flight_data_size(usize::MAX)
        .build(stream::iter([Ok(rows)]));
    messages.try_collect().await.unwrap()
}

/// The command to write rows into a table.
fn into_table(table: &str) -> FlightDescriptor {
    let command = CommandStatementIngest {
        table: table.into(),
        table_definition_options: Some(TableDefinitionOptions {
            if_not_exist: TableNotExistOption::Create.into(),
            if_exists: TableExistsOption::Append.into(),
        }),
        ..CommandStatementIngest::default()
    };
    FlightDescriptor::new_cmd(command.as_any().encode_to_vec())
}

/// Sends messages behind a command. The error, if it is one.
async fn put(
    channel: &Channel,
    command: FlightDescriptor,
    mut messages: Vec<FlightData>,
) -> Option<tonic::Status> {
    messages[0].flight_descriptor = Some(command);
    let mut client = FlightServiceClient::new(channel.clone());
    match client.do_put(stream::iter(messages)).await {
        Err(status) => Some(status),
        Ok(answer) => answer.into_inner().try_collect::<Vec<_>>().await.err(),
    }
}

fn numbers(columns: usize, rows: i64) -> RecordBatch {
    let column = |name| {
        let values = Int64Array::from_iter_values((0..rows).map(|row| row * row * row % 8191));
        (format!("c{name}"), Arc::new(values) as ArrayRef)
    };
    RecordBatch::try_from_iter((0..columns).map(column)).unwrap()
}

/// The message with other claims in place of all that say `before`.
fn claiming(message: &FlightData, before: i64, claim: i64) -> FlightData {
    let mut body = message.data_body.to_vec();
    let places: Vec<usize> = (0..body.len().saturating_sub(7))
        .step_by(8)
        .filter(|place| body[*place..place + 8] == before.to_le_bytes())
        .collect();
    assert!(!places.is_empty());
    for place in places {
        body[place..place + 8].copy_from_slice(&claim.to_le_bytes());
    }
    FlightData { data_body: body.into(), ..message.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_claim_more_than_they_are_cost_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = started(writable(folder.path())).await;
    let mut honest = client(&server).await;
    let hostile = channel(&server).await;
    for codec in [CompressionType::LZ4_FRAME, CompressionType::ZSTD] {
        let sent = messages(numbers(2, 100_000), Some(codec)).await;
        assert!(put(&hostile, into_table("t"), sent.clone()).await.is_none());
        for (claim, told) in [
            (1 << 46, "compressed bytes are 70368744177664 bytes"),
            (i64::MAX, "compressed bytes are"),
            (-2, "compressed bytes are"),
            // less than they are, which only the decoder of ZSTD finds itself
            (1, ""),
            // one column, and not both
            (150 << 20, "more than 256 MiB"),
        ] {
            let last = claiming(&sent[1], 800_000, claim);
            let error = put(&hostile, into_table("t"), vec![sent[0].clone(), last]).await.unwrap();
            assert!(error.message().contains(told), "{claim}: {error}");
            assert!(
                claim != 1
                    || codec != CompressionType::LZ4_FRAME
                    || error.message().contains("they are more"),
                "{error}"
            );
        }
    }
    // rows without bytes, and few bytes that stand for many
    let absent: ArrayRef = Arc::new(NullArray::new(1 << 40));
    let keys = Int8Array::from(vec![0; 1 << 20]);
    let values: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(1 << 20)]));
    let repeated: ArrayRef = Arc::new(DictionaryArray::<Int8Type>::new(keys, values));
    for column in [absent, repeated] {
        let rows = RecordBatch::try_from_iter([("c0", column)]).unwrap();
        let sent = messages(rows, None).await;
        let error = put(&hostile, into_table("u"), sent).await.unwrap();
        assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
        assert!(error.message().contains("send smaller batches"), "{error}");
    }
    answers_are_right(&mut honest).await;
    assert_eq!(text(&mut honest, "SELECT count(*) FROM t").await, "200000");
    // who may not write is told so before
    let server = started(Served::default()).await;
    let sent = messages(numbers(1, 1000), Some(CompressionType::LZ4_FRAME)).await;
    let last = claiming(&sent[1], 8000, 1 << 46);
    let sent = vec![sent[0].clone(), last];
    let error = put(&channel(&server).await, into_table("t"), sent).await.unwrap();
    assert_eq!(error.code(), Code::PermissionDenied, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_contradict_themselves_are_errors_and_lose_no_connection() {
    let folder = tempfile::tempdir().unwrap();
    let server = started(writable(folder.path())).await;
    let mut honest = client(&server).await;
    let hostile = channel(&server).await;
    let names: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("b")]));
    let keys = Int8Array::from(vec![0, 0, 0]);
    let word: ArrayRef = Arc::new(StringArray::from(vec!["word"]));
    let words: ArrayRef = Arc::new(DictionaryArray::<Int8Type>::new(keys, word));
    let rows = RecordBatch::try_from_iter([("a", names), ("w", words)]).unwrap();
    let sent = messages(rows, None).await;
    assert!(put(&hostile, into_table("t"), sent.clone()).await.is_none());
    let mut refused = 0;
    for message in 0..sent.len() {
        let mut cut = sent.clone();
        cut[message].data_body.truncate(1);
        let is_cut = cut[message].data_body.len() < sent[message].data_body.len();
        assert_eq!(put(&hostile, into_table("t"), cut).await.is_some(), is_cut);
        for place in 0..sent[message].data_header.len() {
            let mut damaged = sent.clone();
            let mut header = sent[message].data_header.to_vec();
            header[place] ^= 0x7f;
            damaged[message].data_header = header.into();
            // what it is then may be rows, too
            let table = format!("t{message}_{place}");
            let Some(error) = put(&hostile, into_table(&table), damaged).await else { continue };
            refused += 1;
            let is_told =
                !matches!(error.code(), Code::Unknown | Code::Unavailable | Code::Internal);
            assert!(is_told, "{message} {place}: {error:?}");
        }
    }
    assert!(refused > 50, "{refused}");
    answers_are_right(&mut honest).await;
}
