//! What names rows that can be fetched: a FlightInfo with a ticket in it, and what a ticket names.

use std::time::SystemTime;

use arrow::datatypes::Schema;
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::sql::{Any, ProstMessageExt, TicketStatementQuery};
use arrow_flight::{FlightDescriptor, FlightEndpoint, FlightInfo, SchemaAsIpc, Ticket};
use prost::Message;
use prost_types::Timestamp;
use tonic::{Request, Response, Status};

use super::client::Client;
use super::query::Query;

/// Where and how long the rows of a query can be fetched.
///
/// # Errors
/// `Internal`.
pub fn info_of(
    client: &Client,
    query: &Query,
    descriptor: FlightDescriptor,
) -> Result<FlightInfo, Status> {
    let expires = SystemTime::now() + client.shared().limits.query_life;
    let endpoint = FlightEndpoint::new()
        .with_ticket(ticket_of(query))
        .with_expiration_time(Timestamp::from(expires));
    info(query.schema(), endpoint, descriptor)
}

/// What the rows of a query are fetched by, and polled for.
pub fn ticket_of(query: &Query) -> Ticket {
    let handle = query.id().as_bytes().to_vec().into();
    Ticket::new(TicketStatementQuery { statement_handle: handle }.as_any().encode_to_vec())
}

fn info(
    schema: &Schema,
    endpoint: FlightEndpoint,
    descriptor: FlightDescriptor,
) -> Result<FlightInfo, Status> {
    let info = FlightInfo::new().try_with_schema(schema);
    let info =
        info.map_err(|cause| Status::internal(format!("a schema cannot be told: {cause}")))?;
    Ok(info.with_endpoint(endpoint).with_descriptor(descriptor).with_ordered(true))
}

/// The answer to a question about tables: its own ticket.
///
/// # Errors
/// `Internal`.
pub fn info_about(
    command: &impl ProstMessageExt,
    schema: &Schema,
    request: Request<FlightDescriptor>,
) -> Result<Response<FlightInfo>, Status> {
    let ticket = Ticket::new(command.as_any().encode_to_vec());
    let endpoint = FlightEndpoint::new().with_ticket(ticket);
    Ok(Response::new(info(schema, endpoint, request.into_inner())?))
}

/// A schema as a message.
///
/// # Errors
/// `Internal`.
pub fn schema_message(schema: &Schema) -> Result<bytes::Bytes, Status> {
    let options = IpcWriteOptions::default();
    let message: arrow_flight::IpcMessage = SchemaAsIpc::new(schema, &options)
        .try_into()
        .map_err(|cause| Status::internal(format!("a schema cannot be told: {cause}")))?;
    Ok(message.0)
}

/// A handle, which is text of ours.
///
/// # Errors
/// `InvalidArgument`.
pub fn handle_of(bytes: &[u8]) -> Result<&str, Status> {
    std::str::from_utf8(bytes).map_err(|_| Status::invalid_argument("no handle of this server"))
}

/// The query of a ticket; `None` for tickets of questions about tables.
///
/// # Errors
/// `InvalidArgument`.
pub fn query_of(ticket: &Ticket) -> Result<Option<String>, Status> {
    let wrong = |_| Status::invalid_argument("no ticket of this server");
    let message = Any::decode(&*ticket.ticket).map_err(wrong)?;
    let unpacked = message.unpack::<TicketStatementQuery>();
    let ticket = unpacked.map_err(|_| Status::invalid_argument("no ticket of this server"))?;
    ticket.map(|ticket| handle_of(&ticket.statement_handle).map(str::to_string)).transpose()
}
