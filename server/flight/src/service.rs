//! Flight SQL: what is asked, answered by the client's session.
//!
//! Here are the commands that arrow-flight's server knows how to tell apart; what it answers with
//! Unimplemented is in [`endpoint`](super::endpoint), which also says who asks. Statements that read
//! give a ticket, under which their rows are fetched; all others run when they are sent, once.

use std::pin::Pin;
use std::sync::Arc;

use almagest_engine::Result as OurResult;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow_flight::encode::{DictionaryHandling, FlightDataEncoderBuilder};
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::server::{FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionBeginSavepointRequest, ActionBeginSavepointResult, ActionBeginTransactionRequest,
    ActionBeginTransactionResult, ActionCancelQueryRequest, ActionCancelQueryResult,
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest,
    ActionCreatePreparedStatementResult, ActionCreatePreparedSubstraitPlanRequest,
    ActionEndSavepointRequest, ActionEndTransactionRequest, Any, CommandGetCatalogs,
    CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys, CommandGetImportedKeys,
    CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables,
    CommandGetXdbcTypeInfo, CommandPreparedStatementQuery, CommandPreparedStatementUpdate,
    CommandStatementIngest, CommandStatementQuery, CommandStatementSubstraitPlan,
    CommandStatementUpdate, DoPutPreparedStatementResult, SqlInfo, TableExistsOption,
    TableNotExistOption, TicketStatementQuery,
};
use arrow_flight::{
    Action, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse, Ticket,
};
use futures::stream;
use futures::{Stream, StreamExt, TryStreamExt};
use prost::Message;
use tonic::{Request, Response, Status, Streaming};

use super::client::Client;
use super::metadata;
use super::prepared::{Bound, Prepared};
use super::query::{Query, Rows};
use super::received::received;
use super::status::status_of;
use super::stored::Mode;
use super::tickets::{handle_of, info_about, info_of, query_of, schema_message};

type Data = <Service as FlightService>::DoGetStream;

/// The service behind the question who asks.
#[derive(Clone, Debug, Default)]
pub struct Service;

/// The client that [`endpoint`](super::endpoint) found to ask.
///
/// # Errors
/// `Unauthenticated`, though it never comes so far.
pub fn client_of<T>(request: &Request<T>) -> Result<Arc<Client>, Status> {
    let client = request.extensions().get::<Arc<Client>>().cloned();
    client.ok_or_else(|| Status::unauthenticated("log in first"))
}

/// The answer, or the error in gRPC's words.
pub fn told<T>(client: &Client, outcome: OurResult<T>) -> Result<T, Status> {
    outcome.map_err(|error| status_of(&error, &client.shared().access))
}

/// Rows as messages.
fn sent(client: Arc<Client>, schema: SchemaRef, rows: Rows) -> Response<Data> {
    let rows = rows.map_err(move |error| {
        FlightError::Tonic(Box::new(status_of(&error, &client.shared().access)))
    });
    let messages = FlightDataEncoderBuilder::new()
        .with_schema(schema)
        // dictionaries stay what the schema says
        .with_dictionary_handling(DictionaryHandling::Resend)
        .build(rows);
    let messages = messages.map_err(|error| match error {
        FlightError::Tonic(status) => *status,
        other => Status::internal(other.to_string()),
    });
    Response::new(Box::pin(messages))
}

fn sent_batch(client: Arc<Client>, batch: RecordBatch) -> Response<Data> {
    let schema = batch.schema();
    sent(client, schema, stream::iter([Ok(batch)]).boxed())
}

fn nothing(client: Arc<Client>, schema: SchemaRef) -> Response<Data> {
    sent(client, schema, stream::empty().boxed())
}

fn no_transactions() -> Status {
    Status::unimplemented("there are no transactions: each statement takes effect at once")
}

fn no_substrait() -> Status {
    Status::unimplemented("plans in Substrait are not taken; send SQL")
}

/// Refuses a transaction, which there can be none of.
fn check_transaction(transaction: Option<&bytes::Bytes>) -> Result<(), Status> {
    match transaction {
        Some(id) if !id.is_empty() => Err(no_transactions()),
        _ => Ok(()),
    }
}

#[tonic::async_trait]
impl FlightSqlService for Service {
    type FlightService = Service;

    async fn do_handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<
        Response<Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>>>,
        Status,
    > {
        Err(Status::internal("a handshake is answered where it arrives"))
    }

    // Statements

    async fn get_flight_info_statement(
        &self,
        command: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        check_transaction(command.transaction_id.as_ref())?;
        let client = client_of(&request)?;
        let query = told(&client, client.begin(&command.query).await)?;
        Ok(Response::new(info_of(&client, &query, request.into_inner())?))
    }

    async fn do_get_statement(
        &self,
        ticket: TicketStatementQuery,
        request: Request<Ticket>,
    ) -> Result<Response<Data>, Status> {
        let client = client_of(&request)?;
        let query = told(&client, client.query(handle_of(&ticket.statement_handle)?))?;
        let rows = told(&client, query.rows(&client).await)?;
        Ok(sent(client, Arc::clone(query.schema()), rows))
    }

    async fn do_put_statement_update(
        &self,
        command: CommandStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        check_transaction(command.transaction_id.as_ref())?;
        let client = client_of(&request)?;
        let query = told(&client, client.begin(&command.query).await)?;
        updated(&client, &query).await
    }

    async fn do_action_cancel_query(
        &self,
        command: ActionCancelQueryRequest,
        request: Request<Action>,
    ) -> Result<ActionCancelQueryResult, Status> {
        let client = client_of(&request)?;
        let info = FlightInfo::decode(command.info)
            .map_err(|_| Status::invalid_argument("no FlightInfo to cancel"))?;
        const CANCELLED: i32 = 1;
        const NOT_CANCELLABLE: i32 = 3;
        let result = if cancel(&client, &info)? { CANCELLED } else { NOT_CANCELLABLE };
        Ok(ActionCancelQueryResult { result })
    }

    // Prepared statements

    async fn do_action_create_prepared_statement(
        &self,
        command: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        check_transaction(command.transaction_id.as_ref())?;
        let client = client_of(&request)?;
        let prepared = told(&client, Prepared::try_new(&client, &command.query).await)?;
        let dataset_schema = schema_message(&prepared.schema())?;
        let parameter_schema = schema_message(prepared.parameters())?;
        let handle = told(&client, client.keep(prepared))?;
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: handle.into_bytes().into(),
            dataset_schema,
            parameter_schema,
        })
    }

    async fn do_action_close_prepared_statement(
        &self,
        command: ActionClosePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<(), Status> {
        client_of(&request)?.forget(handle_of(&command.prepared_statement_handle)?);
        Ok(())
    }

    async fn do_put_prepared_statement_query(
        &self,
        command: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        let client = client_of(&request)?;
        let handle = command.prepared_statement_handle;
        let prepared = told(&client, client.prepared(handle_of(&handle)?))?;
        prepared.bind(bound_rows(&client, &prepared, request).await?);
        Ok(DoPutPreparedStatementResult { prepared_statement_handle: Some(handle) })
    }

    async fn do_put_prepared_statement_update(
        &self,
        command: CommandPreparedStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let client = client_of(&request)?;
        let handle = command.prepared_statement_handle;
        let prepared = told(&client, client.prepared(handle_of(&handle)?))?;
        let rows = bound_rows(&client, &prepared, request).await?;
        if rows.has_columns() {
            prepared.bind(rows);
        }
        told(&client, prepared.update(&client).await)
    }

    async fn get_flight_info_prepared_statement(
        &self,
        command: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let client = client_of(&request)?;
        let handle = command.prepared_statement_handle;
        let prepared = told(&client, client.prepared(handle_of(&handle)?))?;
        let query = told(&client, prepared.begin(&client).await)?;
        Ok(Response::new(info_of(&client, &query, request.into_inner())?))
    }

    async fn do_get_prepared_statement(
        &self,
        command: CommandPreparedStatementQuery,
        request: Request<Ticket>,
    ) -> Result<Response<Data>, Status> {
        let client = client_of(&request)?;
        let handle = command.prepared_statement_handle;
        let prepared = told(&client, client.prepared(handle_of(&handle)?))?;
        let query = told(&client, prepared.begin(&client).await)?;
        let rows = told(&client, query.rows(&client).await)?;
        Ok(sent(client, Arc::clone(query.schema()), rows))
    }

    // Rows into tables

    async fn do_put_statement_ingest(
        &self,
        command: CommandStatementIngest,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        check_transaction(command.transaction_id.as_ref())?;
        let client = client_of(&request)?;
        let mode = mode_of(&command)?;
        if command.temporary {
            return Err(Status::unimplemented("there are no temporary tables"));
        }
        let place = (command.catalog.as_deref(), command.schema.as_deref());
        if !matches!(place, (None | Some("" | "datafusion"), None | Some("" | "public"))) {
            return Err(Status::invalid_argument(
                "tables are made in the schema datafusion.public",
            ));
        }
        // before a byte of the rows is looked at
        told(&client, client.policy().check_writes())?;
        told(&client, client.check_free(&command.table, mode))?;
        let (schema, rows) = told(&client, received(request.into_inner(), None).await)?;
        let count = client.ingest(&command.table, mode, schema, rows).await;
        told(&client, count).map(|count| count as i64)
    }

    // What there is

    async fn get_flight_info_catalogs(
        &self,
        query: CommandGetCatalogs,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        info_about(&query, &query.into_builder().schema(), request)
    }

    async fn do_get_catalogs(
        &self,
        query: CommandGetCatalogs,
        request: Request<Ticket>,
    ) -> Result<Response<Data>, Status> {
        let client = client_of(&request)?;
        let batch = told(&client, metadata::catalogs(&client, query))?;
        Ok(sent_batch(client, batch))
    }

    async fn get_flight_info_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        info_about(&query, &query.clone().into_builder().schema(), request)
    }

    async fn do_get_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<Ticket>,
    ) -> Result<Response<Data>, Status> {
        let client = client_of(&request)?;
        let batch = told(&client, metadata::schemas(&client, query))?;
        Ok(sent_batch(client, batch))
    }

    async fn get_flight_info_tables(
        &self,
        query: CommandGetTables,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        info_about(&query, &query.clone().into_builder().schema(), request)
    }

    async fn do_get_tables(
        &self,
        query: CommandGetTables,
        request: Request<Ticket>,
    ) -> Result<Response<Data>, Status> {
        let client = client_of(&request)?;
        let batch = told(&client, metadata::tables(&client, query).await)?;
        Ok(sent_batch(client, batch))
    }

    async fn get_flight_info_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        info_about(&query, &query.into_builder().schema(), request)
    }

    async fn do_get_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<Ticket>,
    ) -> Result<Response<Data>, Status> {
        let client = client_of(&request)?;
        let batch = told(&client, metadata::table_types(query))?;
        Ok(sent_batch(client, batch))
    }

    async fn get_flight_info_sql_info(
        &self,
        query: CommandGetSqlInfo,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let client = client_of(&request)?;
        let schema = told(&client, metadata::info(&client, query.clone()))?.schema();
        info_about(&query, &schema, request)
    }

    async fn do_get_sql_info(
        &self,
        query: CommandGetSqlInfo,
        request: Request<Ticket>,
    ) -> Result<Response<Data>, Status> {
        let client = client_of(&request)?;
        let batch = told(&client, metadata::info(&client, query))?;
        Ok(sent_batch(client, batch))
    }

    async fn get_flight_info_xdbc_type_info(
        &self,
        query: CommandGetXdbcTypeInfo,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let client = client_of(&request)?;
        let schema = told(&client, metadata::types(query))?.schema();
        info_about(&query, &schema, request)
    }

    async fn do_get_xdbc_type_info(
        &self,
        query: CommandGetXdbcTypeInfo,
        request: Request<Ticket>,
    ) -> Result<Response<Data>, Status> {
        let client = client_of(&request)?;
        let batch = told(&client, metadata::types(query))?;
        Ok(sent_batch(client, batch))
    }

    async fn get_flight_info_primary_keys(
        &self,
        query: CommandGetPrimaryKeys,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        info_about(&query, &metadata::primary_keys(), request)
    }

    async fn do_get_primary_keys(
        &self,
        _: CommandGetPrimaryKeys,
        request: Request<Ticket>,
    ) -> Result<Response<Data>, Status> {
        Ok(nothing(client_of(&request)?, metadata::primary_keys()))
    }

    async fn get_flight_info_exported_keys(
        &self,
        query: CommandGetExportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        info_about(&query, &metadata::foreign_keys(), request)
    }

    async fn do_get_exported_keys(
        &self,
        _: CommandGetExportedKeys,
        request: Request<Ticket>,
    ) -> Result<Response<Data>, Status> {
        Ok(nothing(client_of(&request)?, metadata::foreign_keys()))
    }

    async fn get_flight_info_imported_keys(
        &self,
        query: CommandGetImportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        info_about(&query, &metadata::foreign_keys(), request)
    }

    async fn do_get_imported_keys(
        &self,
        _: CommandGetImportedKeys,
        request: Request<Ticket>,
    ) -> Result<Response<Data>, Status> {
        Ok(nothing(client_of(&request)?, metadata::foreign_keys()))
    }

    async fn get_flight_info_cross_reference(
        &self,
        query: CommandGetCrossReference,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        info_about(&query, &metadata::foreign_keys(), request)
    }

    async fn do_get_cross_reference(
        &self,
        _: CommandGetCrossReference,
        request: Request<Ticket>,
    ) -> Result<Response<Data>, Status> {
        Ok(nothing(client_of(&request)?, metadata::foreign_keys()))
    }

    // What there is not

    async fn get_flight_info_substrait_plan(
        &self,
        _: CommandStatementSubstraitPlan,
        _: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        Err(no_substrait())
    }

    async fn do_put_substrait_plan(
        &self,
        _: CommandStatementSubstraitPlan,
        _: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        Err(no_substrait())
    }

    async fn do_action_create_prepared_substrait_plan(
        &self,
        _: ActionCreatePreparedSubstraitPlanRequest,
        _: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        Err(no_substrait())
    }

    async fn do_action_begin_transaction(
        &self,
        _: ActionBeginTransactionRequest,
        _: Request<Action>,
    ) -> Result<ActionBeginTransactionResult, Status> {
        Err(no_transactions())
    }

    async fn do_action_end_transaction(
        &self,
        _: ActionEndTransactionRequest,
        _: Request<Action>,
    ) -> Result<(), Status> {
        Err(no_transactions())
    }

    async fn do_action_begin_savepoint(
        &self,
        _: ActionBeginSavepointRequest,
        _: Request<Action>,
    ) -> Result<ActionBeginSavepointResult, Status> {
        Err(no_transactions())
    }

    async fn do_action_end_savepoint(
        &self,
        _: ActionEndSavepointRequest,
        _: Request<Action>,
    ) -> Result<(), Status> {
        Err(no_transactions())
    }

    async fn do_action_fallback(
        &self,
        request: Request<Action>,
    ) -> Result<Response<<Self as FlightService>::DoActionStream>, Status> {
        Err(Status::unimplemented(format!("no action '{}' here", request.get_ref().r#type)))
    }

    async fn do_get_fallback(
        &self,
        _: Request<Ticket>,
        message: Any,
    ) -> Result<Response<Data>, Status> {
        Err(Status::invalid_argument(format!("no ticket of this server: {}", message.type_url)))
    }

    async fn register_sql_info(&self, _: i32, _: &SqlInfo) {}
}

/// The rows of parameters that a client sends, which are held. What they replace is let go first.
async fn bound_rows(
    client: &Arc<Client>,
    prepared: &Prepared,
    request: Request<PeekableFlightDataStream>,
) -> Result<Bound, Status> {
    let messages = request.into_inner();
    let (_, mut rows) = told(client, received(messages, Some(Arc::clone(client))).await)?;
    let mut bound = Bound::default();
    while let Some(batch) = rows.next().await {
        let batch = told(client, batch)?;
        // rows without columns come where there are no values, and replace none
        if batch.num_columns() > 0 && !bound.has_columns() {
            prepared.unbind();
        }
        told(client, bound.push(client, batch))?;
    }
    Ok(bound)
}

/// The rows that a statement wrote. One that reads is run to its end.
async fn updated(client: &Arc<Client>, query: &Arc<Query>) -> Result<i64, Status> {
    if let Some(count) = query.rows_written() {
        client.told(query);
        return Ok(count);
    }
    let mut rows = told(client, query.rows(client).await)?;
    while let Some(batch) = rows.next().await {
        told(client, batch)?;
    }
    Ok(0)
}

/// Cancels the queries whose rows a FlightInfo offers.
///
/// # Errors
/// `InvalidArgument`.
pub fn cancel(client: &Client, info: &FlightInfo) -> Result<bool, Status> {
    let mut any = false;
    for endpoint in &info.endpoint {
        let Some(ticket) = &endpoint.ticket else { continue };
        if let Some(id) = query_of(ticket)? {
            any |= client.cancel(&id);
        }
    }
    Ok(any)
}

fn mode_of(command: &CommandStatementIngest) -> Result<Mode, Status> {
    let options = command.table_definition_options.as_ref();
    let (missing, existing) = match options {
        None => (TableNotExistOption::Unspecified, TableExistsOption::Unspecified),
        Some(options) => (options.if_not_exist(), options.if_exists()),
    };
    match (missing, existing) {
        (TableNotExistOption::Create, TableExistsOption::Replace) => Ok(Mode::Replace),
        (TableNotExistOption::Create, TableExistsOption::Append) => Ok(Mode::CreateOrAppend),
        (TableNotExistOption::Create, _) => Ok(Mode::Create),
        (_, TableExistsOption::Append) => Ok(Mode::Append),
        (
            TableNotExistOption::Fail | TableNotExistOption::Unspecified,
            TableExistsOption::Replace,
        ) => Err(Status::unimplemented("a table is replaced whether it is there or not")),
        (TableNotExistOption::Fail, TableExistsOption::Fail) => {
            Err(Status::invalid_argument("whether the table is there or not, this would fail"))
        }
        _ => Ok(Mode::Create),
    }
}
