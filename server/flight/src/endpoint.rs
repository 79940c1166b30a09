//! The service as it is reached: who asks is found first, then arrow-flight tells Flight SQL's commands
//! apart for [`Service`]; and what it would answer with Unimplemented is
//! answered here: handshakes, polling, schemas, cancelling and renewing, and options of sessions.

use std::sync::Arc;

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::{
    Any, Command, CommandPreparedStatementQuery, CommandStatementQuery, TicketStatementQuery,
};
use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, Criteria,
    Empty, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest,
    HandshakeResponse, PollInfo, PutResult, RenewFlightEndpointRequest, SchemaResult, Ticket,
};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use prost::Message;
use prost_types::Timestamp;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status, Streaming};

use super::client::Client;
use super::gate::Gate;
use super::query::Query;
use super::service::{Service, cancel, told};
use super::session_options::{self, CLOSED, CloseSessionResult, SetSessionOptionsRequest};
use super::tickets::{handle_of, info_of, query_of, schema_message, ticket_of};

/// Actions that are not Flight SQL's but Flight's.
const ACTIONS: [(&str, &str); 5] = [
    ("CancelFlightInfo", "Cancels the query of a FlightInfo"),
    ("RenewFlightEndpoint", "Lets the rows of an endpoint be fetched for longer"),
    ("SetSessionOptions", "Changes settings of the session"),
    ("GetSessionOptions", "Gives the settings of the session"),
    ("CloseSession", "Ends the session"),
];
type Answers<T> = BoxStream<'static, Result<T, Status>>;

/// The service behind a gate.
#[derive(Clone)]
pub struct Endpoint {
    gate: Arc<Gate>,
    service: Service,
}

impl Endpoint {
    /// The service behind this gate.
    pub fn new(gate: Arc<Gate>) -> Self {
        Self { gate, service: Service }
    }

    /// The request, with the client that asks.
    async fn admitted<T>(&self, mut request: Request<T>) -> Result<Request<T>, Status> {
        let client = self.gate.client(&request).await?;
        request.extensions_mut().insert(client);
        Ok(request)
    }

    /// The query that a descriptor asks for: a new one, or one that was polled for before.
    async fn query(
        &self,
        client: &Arc<Client>,
        descriptor: &FlightDescriptor,
    ) -> Result<Arc<Query>, Status> {
        let message = Any::decode(&*descriptor.cmd)
            .map_err(|_| Status::invalid_argument("no command of Flight SQL"))?;
        // its ticket names a query that was polled for before
        if message.is::<TicketStatementQuery>() {
            let id = query_of(&Ticket::new(descriptor.cmd.clone()))?.unwrap_or_default();
            return told(client, client.query(&id));
        }
        let begun = match Command::try_from(message) {
            Ok(Command::CommandStatementQuery(CommandStatementQuery { query, .. })) => {
                client.begin(&query).await
            }
            Ok(Command::CommandPreparedStatementQuery(CommandPreparedStatementQuery {
                prepared_statement_handle: handle,
            })) => {
                let prepared = told(client, client.prepared(handle_of(&handle)?))?;
                prepared.begin(client).await
            }
            _ => return Err(Status::unimplemented("only queries are polled for")),
        };
        told(client, begun)
    }

    async fn schema_of(&self, request: Request<FlightDescriptor>) -> Result<bytes::Bytes, Status> {
        let client = super::service::client_of(&request)?;
        let message = Any::decode(&*request.get_ref().cmd)
            .map_err(|_| Status::invalid_argument("no command of Flight SQL"))?;
        match Command::try_from(message) {
            // nothing runs for the question what its rows would look like
            Ok(Command::CommandStatementQuery(CommandStatementQuery { query, .. })) => {
                let schema = told(&client, client.schema(&query).await)?;
                schema_message(&schema)
            }
            Ok(Command::CommandPreparedStatementQuery(command)) => {
                let handle = command.prepared_statement_handle;
                let prepared = told(&client, client.prepared(handle_of(&handle)?))?;
                schema_message(&prepared.schema())
            }
            _ => {
                let info = FlightService::get_flight_info(&self.service, request).await?;
                Ok(info.into_inner().schema)
            }
        }
    }

    async fn flight_action(
        &self,
        client: Arc<Client>,
        request: &Request<Action>,
    ) -> Result<Option<Vec<u8>>, Status> {
        let body = request.get_ref().body.clone();
        let wrong = |_| Status::invalid_argument("the body of the action is not what it should be");
        let answer = match request.get_ref().r#type.as_str() {
            "CancelFlightInfo" => {
                let asked = CancelFlightInfoRequest::decode(body).map_err(wrong)?;
                let info = asked.info.unwrap_or_default();
                let status = match cancel(&client, &info)? {
                    true => CancelStatus::Cancelled,
                    false => CancelStatus::NotCancellable,
                };
                CancelFlightInfoResult { status: status.into() }.encode_to_vec()
            }
            "RenewFlightEndpoint" => {
                let asked = RenewFlightEndpointRequest::decode(body).map_err(wrong)?;
                renewed(&client, asked)?.encode_to_vec()
            }
            "SetSessionOptions" => {
                let asked = SetSessionOptionsRequest::decode(body).map_err(wrong)?;
                session_options::set(&client, asked).await.encode_to_vec()
            }
            "GetSessionOptions" => session_options::get(&client).encode_to_vec(),
            "CloseSession" => {
                self.gate.close(request);
                CloseSessionResult { status: CLOSED }.encode_to_vec()
            }
            _ => return Ok(None),
        };
        Ok(Some(answer))
    }
}

/// The endpoint, whose rows can be fetched for longer.
fn renewed(client: &Client, asked: RenewFlightEndpointRequest) -> Result<FlightEndpoint, Status> {
    let endpoint = asked.endpoint.unwrap_or_default();
    let ticket = endpoint.ticket.as_ref();
    let id = ticket.map(query_of).transpose()?.flatten();
    let id = id.ok_or_else(|| Status::invalid_argument("no endpoint of a query"))?;
    let life = client.shared().limits.query_life;
    told(client, client.query(&id))?.renew(life);
    let expires = Timestamp::from(std::time::SystemTime::now() + life);
    Ok(endpoint.with_expiration_time(expires))
}

#[tonic::async_trait]
impl FlightService for Endpoint {
    type HandshakeStream = Answers<HandshakeResponse>;
    type ListFlightsStream = Answers<FlightInfo>;
    type DoGetStream = <Service as FlightService>::DoGetStream;
    type DoPutStream = Answers<PutResult>;
    type DoActionStream = Answers<arrow_flight::Result>;
    type ListActionsStream = Answers<ActionType>;
    type DoExchangeStream = Answers<FlightData>;

    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        let token = self.gate.log_in(&request).await?;
        let answer = HandshakeResponse { protocol_version: 0, payload: token.clone().into() };
        let mut response = Response::new(stream::iter([Ok(answer)]).boxed());
        let bearer = MetadataValue::try_from(format!("Bearer {token}"));
        let bearer = bearer.map_err(|_| Status::internal("a token that is no header"))?;
        response.metadata_mut().insert("authorization", bearer);
        Ok(response)
    }

    async fn list_flights(
        &self,
        request: Request<Criteria>,
    ) -> Result<Response<Self::ListFlightsStream>, Status> {
        self.admitted(request).await?;
        // what there is, is told by Flight SQL's GetTables
        Ok(Response::new(stream::empty().boxed()))
    }

    async fn get_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let request = self.admitted(request).await?;
        FlightService::get_flight_info(&self.service, request).await
    }

    async fn poll_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<PollInfo>, Status> {
        let request = self.admitted(request).await?;
        let client = super::service::client_of(&request)?;
        let query = self.query(&client, request.get_ref()).await?;
        self.gate.polls(&query, request.extensions());
        let descriptor = request.into_inner();
        let far = told(&client, query.how_far(&client).await)?;
        let next = ticket_of(&query).ticket;
        let expires = std::time::SystemTime::now() + client.shared().limits.query_life;
        Ok(Response::new(PollInfo {
            info: Some(info_of(&client, &query, descriptor)?),
            flight_descriptor: (!far.ready).then(|| FlightDescriptor::new_cmd(next)),
            progress: far.fraction,
            expiration_time: Some(Timestamp::from(expires)),
        }))
    }

    async fn get_schema(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<SchemaResult>, Status> {
        let request = self.admitted(request).await?;
        Ok(Response::new(SchemaResult { schema: self.schema_of(request).await? }))
    }

    async fn do_get(
        &self,
        request: Request<Ticket>,
    ) -> Result<Response<Self::DoGetStream>, Status> {
        let request = self.admitted(request).await?;
        FlightService::do_get(&self.service, request).await
    }

    async fn do_put(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        let request = self.admitted(request).await?;
        let response = FlightService::do_put(&self.service, request).await?;
        Ok(response.map(StreamExt::boxed))
    }

    async fn do_action(
        &self,
        request: Request<Action>,
    ) -> Result<Response<Self::DoActionStream>, Status> {
        let request = self.admitted(request).await?;
        let client = super::service::client_of(&request)?;
        if let Some(body) = self.flight_action(client, &request).await? {
            let answer = arrow_flight::Result { body: body.into() };
            return Ok(Response::new(stream::iter([Ok(answer)]).boxed()));
        }
        let response = FlightService::do_action(&self.service, request).await?;
        Ok(response.map(StreamExt::boxed))
    }

    async fn list_actions(
        &self,
        request: Request<Empty>,
    ) -> Result<Response<Self::ListActionsStream>, Status> {
        let request = self.admitted(request).await?;
        let others = FlightService::list_actions(&self.service, request).await?.into_inner();
        let ours = ACTIONS
            .map(|(name, about)| Ok(ActionType { r#type: name.into(), description: about.into() }));
        Ok(Response::new(others.chain(stream::iter(ours)).boxed()))
    }

    async fn do_exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        self.admitted(request).await?;
        Err(Status::unimplemented("rows are exchanged by queries and by ingesting"))
    }
}
