//! What a client can do with the rows that it sends, of which nothing is to be believed: nothing to others.

use std::sync::Arc;

use almagest::flight::{FlightLimits, Served};
use arrow::array::{
    ArrayRef, DictionaryArray, Int8Array, Int64Array, NullArray, RecordBatch, StringArray,
};
use arrow::datatypes::Int8Type;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::encode::{DictionaryHandling, FlightDataEncoderBuilder};
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest,
    ActionCreatePreparedStatementResult, Any, CommandPreparedStatementQuery,
    CommandStatementIngest, ProstMessageExt, TableDefinitionOptions, TableExistsOption,
    TableNotExistOption,
};
use arrow_flight::{Action, FlightData, FlightDescriptor};
use futures::{StreamExt, TryStreamExt, stream};
use prost::Message;
use prost::bytes::Bytes;
use tonic::Code;
use tonic::transport::Channel;

use crate::hostile_clients::answers_are_right;
use almagest_tests::served::{channel, client, open_to_all, start, started, text, writable};

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

/// Prepares a statement. What it is called.
async fn prepared(channel: &Channel, query: &str) -> Result<Bytes, tonic::Status> {
    let request =
        ActionCreatePreparedStatementRequest { query: query.into(), transaction_id: None };
    let body = request.as_any().encode_to_vec().into();
    let action = Action { r#type: "CreatePreparedStatement".into(), body };
    let mut client = FlightServiceClient::new(channel.clone());
    let mut answer = client.do_action(action).await?.into_inner();
    let answer = answer.message().await?.unwrap();
    let answer = Any::decode(answer.body).unwrap();
    let answer: ActionCreatePreparedStatementResult = answer.unpack().unwrap().unwrap();
    Ok(answer.prepared_statement_handle)
}

fn bound_to(handle: Bytes) -> FlightDescriptor {
    let command = CommandPreparedStatementQuery { prepared_statement_handle: handle };
    FlightDescriptor::new_cmd(command.as_any().encode_to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_parameters_are_held_once_and_while_they_arrive() {
    let limits =
        FlightLimits { kept_session_max: 5 << 20, kept_max: 64 << 20, ..FlightLimits::default() };
    let server = start(Served::default(), limits, open_to_all()).await;
    let mut honest = client(&server).await;
    let hostile = channel(&server).await;
    // columns of one message share its bytes
    let long: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(1 << 20)]));
    let columns = ["$1", "$2", "$3"].map(|name| (name, Arc::clone(&long)));
    let three = messages(RecordBatch::try_from_iter(columns).unwrap(), None).await;
    let statement =
        prepared(&hostile, "SELECT length($1) + length($2) + length($3)").await.unwrap();
    // and they replace those before them
    for _ in 0..3 {
        assert_eq!(
            put(&hostile, bound_to(statement.clone()), three.clone()).await.map(|e| e.to_string()),
            None
        );
    }
    // a statement of a megabyte is not made a thousand times and weighed then
    let text = format!("SELECT '{}' || $1", "x".repeat(1_000_000));
    let hostile = channel(&server).await;
    let statement = prepared(&hostile, &text).await.unwrap();
    let many = messages(numbers(2, 1000), None).await;
    assert!(put(&hostile, bound_to(statement.clone()), many).await.is_none());
    let mut client = FlightServiceClient::new(hostile.clone());
    let error = client.get_flight_info(bound_to(statement)).await.unwrap_err();
    assert!(error.message().contains("this session keeps"), "{error}");
    // what has come counts, though there is more to come
    let hostile = channel(&server).await;
    let statement = prepared(&hostile, "SELECT length($1)").await.unwrap();
    let value: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(2 << 20)]));
    let mut rests = messages(RecordBatch::try_from_iter([("$1", value)]).unwrap(), None).await;
    rests.push(rests[1].clone());
    rests[0].flight_descriptor = Some(bound_to(statement));
    let mut client = FlightServiceClient::new(hostile.clone());
    let rests = stream::iter(rests).chain(stream::pending());
    let mut resting = tokio::spawn(async move { client.do_put(rests).await.map(drop) });
    let more = format!("SELECT '{}'", "x".repeat(1_000_000));
    let error = loop {
        let statement = match prepared(&hostile, &more).await {
            Err(error) => break error,
            Ok(statement) => statement,
        };
        // they may have come just now
        if resting.is_finished() {
            break (&mut resting).await.unwrap().unwrap_err();
        }
        let request = ActionClosePreparedStatementRequest { prepared_statement_handle: statement };
        let body = request.as_any().encode_to_vec().into();
        let action = Action { r#type: "ClosePreparedStatement".into(), body };
        FlightServiceClient::new(hostile.clone()).do_action(action).await.unwrap();
    };
    assert!(error.message().contains("this session keeps"), "{error}");
    resting.abort();
    answers_are_right(&mut honest).await;
}
