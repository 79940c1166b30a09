//! A database that a server keeps: statements go to `almagest serve` over Flight SQL.
//!
//! In: `--connect` and who asks. Out: rows as they arrive, how far the server is, and errors as the
//! server tells them. Whatever ends a statement here (Ctrl-C, an answer that is long enough, the end
//! of the shell) ends it there.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use almagest::{Error, ErrorKind, Result, Session};
use almagest_engine::exec::progress::Work;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt};
use arrow_flight::{
    Action, CancelFlightInfoRequest, FlightDescriptor, FlightInfo, HandshakeRequest, PollInfo,
};
use datafusion::common::runtime::SpawnedTask;
use futures::{TryStreamExt, stream};
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::mpsc;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};

use crate::arguments::ConnectArguments;
use crate::names::Names;
use crate::progress::Meter;
use crate::rows::{BATCHES_WAITING, Rows};

/// How long a server may take to answer the first knock.
const CONNECT_WAIT: Duration = Duration::from_secs(10);
/// A server that is silent for this long, and for as long again when asked, is gone.
const SILENT_MAX: Duration = Duration::from_secs(20);
/// How often it is asked how far it is while rows arrive.
const ASK_EVERY: Duration = Duration::from_millis(300);
/// Names of tables are taken for known so long, as others may make some.
const NAMES_LIFE: Duration = Duration::from_secs(60);
/// Columns whose names are fetched for completion and "did you mean".
const COLUMNS_MAX: usize = 20_000;

/// A database on a server.
pub struct Remote {
    link: Arc<Link>,
    /// What explains functions and completes their names: those of this program.
    own: Session,
    names: Mutex<Option<(Instant, Names)>>,
}

struct Link {
    address: String,
    client: FlightServiceClient<Channel>,
    /// How to log in, which is done again when the server has forgotten us.
    credentials: Option<MetadataValue<Ascii>>,
    token: Mutex<Option<MetadataValue<Ascii>>>,
}

impl Remote {
    /// Connects and logs in. `own` explains functions.
    ///
    /// # Errors
    /// `Plan` for a URL that is none, `NotFound` for files, `Unreachable`, `Denied`.
    pub async fn connect(arguments: &ConnectArguments, own: Session) -> Result<Self> {
        let url = arguments.connect.clone().unwrap_or_default();
        let (endpoint, is_private) = endpoint(&url, arguments)?;
        let is_encrypted = is_encrypted(&url);
        let credentials = credentials(arguments)?;
        if credentials.is_some() && !is_private && !arguments.insecure {
            return Err(Error::plan(format!(
                "{url} is another machine, and without TLS everyone on the way can read the \
                 password; write grpc+tls://, or say --insecure"
            )));
        }
        let channel = endpoint.connect().await.map_err(|cause| {
            let error = Error::unreachable(format!("no answer: {}", innermost(&cause)));
            error.with("server", &url)
        })?;
        let link = Link {
            address: url,
            client: FlightServiceClient::new(channel)
                // a server that one logs in to may send an image in one row
                .max_decoding_message_size(usize::MAX),
            credentials,
            token: Mutex::default(),
        };
        link.log_in().await.map_err(|error| match error.kind() {
            ErrorKind::Unreachable if !is_encrypted => Error::unreachable(format!(
                "{}; a server with TLS is reached by grpc+tls://",
                error.message()
            ))
            .with("server", &link.address),
            _ => error,
        })?;
        Ok(Self { link: Arc::new(link), own, names: Mutex::default() })
    }

    /// The session of this program, whose functions the server has too.
    pub fn own(&self) -> &Session {
        &self.own
    }

    /// Runs a statement; rows follow if it has some.
    ///
    /// # Errors
    /// What the server answers.
    pub async fn begin(&self, sql: &str, meter: &Meter) -> Result<Option<Rows>> {
        if changes_names(sql) {
            *self.names.lock() = None;
        }
        let far = Arc::new(Mutex::new(Work { fraction: None, rows: 0 }));
        let shown = Arc::clone(&far);
        meter.watch(move || *shown.lock());
        let mut running = Running { link: Arc::clone(&self.link), info: None };
        let mut descriptor = command(sql);
        let info = loop {
            let polled = self.link.poll(descriptor).await?;
            far.lock().fraction = polled.progress;
            if running.info.is_none() {
                running.info.clone_from(&polled.info);
            }
            match (polled.flight_descriptor, polled.info) {
                (Some(next), _) => descriptor = next,
                (None, Some(info)) => break info,
                (None, None) => return Err(strange("an end without rows to fetch")),
            }
        };
        let schema = info.clone().try_decode_schema();
        let schema = Arc::new(schema.map_err(|cause| strange(&cause.to_string()))?);
        if schema.fields().is_empty() {
            running.info = None;
            return Ok(None);
        }
        let (sender, batches) = mpsc::channel(BATCHES_WAITING);
        let producer = SpawnedTask::spawn(fetch(running, info, far, sender));
        Ok(Some(Rows { schema, batches, producer }))
    }

    /// The schema of what a query would give.
    ///
    /// # Errors
    /// What the server answers.
    pub async fn schema(&self, sql: &str) -> Result<SchemaRef> {
        let told = self.link.client.clone().get_schema(self.link.request(command(sql))).await;
        let told = told.map_err(|status| self.link.error(&status))?.into_inner();
        let schema = Schema::try_from(&told).map_err(|cause| strange(&cause.to_string()))?;
        Ok(Arc::new(schema))
    }

    /// The names that the server knows. Those that it does not tell now are missing.
    pub async fn names(&self) -> Names {
        if let Some((when, names)) = &*self.names.lock()
            && when.elapsed() < NAMES_LIFE
        {
            return names.clone();
        }
        let mut names = Names::of(&self.own).await;
        names.tables.clear();
        names.columns.clear();
        let told = async {
            let sql = format!(
                "SELECT table_catalog, table_schema, table_name, column_name \
                 FROM information_schema.columns \
                 WHERE table_schema <> 'information_schema' LIMIT {COLUMNS_MAX}"
            );
            let quiet = Meter::silent();
            let Some(mut rows) = self.begin(&sql, &quiet).await? else { return Ok(()) };
            while let Some(batch) = rows.batches.recv().await {
                learn(&mut names, &batch);
            }
            rows.end().await
        };
        if told.await.is_ok() {
            *self.names.lock() = Some((Instant::now(), names.clone()));
        }
        names
    }

    /// Ends the session on the server, as nobody will use it any more.
    pub async fn close(&self) {
        let _ = self.link.action("CloseSession", vec![]).await;
    }
}

impl Link {
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &*self.token.lock() {
            request.metadata_mut().insert("authorization", token.clone());
        }
        request
    }

    /// Gets the token of a new session.
    async fn log_in(&self) -> Result<()> {
        let asked = HandshakeRequest::default();
        let mut request = Request::new(stream::iter([asked]));
        if let Some(credentials) = &self.credentials {
            request.metadata_mut().insert("authorization", credentials.clone());
        }
        let answer = self.client.clone().handshake(request).await;
        let answer = answer.map_err(|status| self.error(&status))?;
        let token = answer.metadata().get("authorization").cloned();
        *self.token.lock() = Some(token.ok_or_else(|| strange("a log-in without a token"))?);
        Ok(())
    }

    /// Asks how far a statement is, which begins it; in a new session if the old one is over.
    async fn poll(&self, descriptor: FlightDescriptor) -> Result<PollInfo> {
        let asked = self.client.clone().poll_flight_info(self.request(descriptor.clone())).await;
        match asked {
            Err(status) if status.code() == Code::Unauthenticated => {
                self.log_in().await?;
                eprintln!(
                    "note: the session was over and a new one has begun; its settings and views \
                     are gone"
                );
                let asked = self.client.clone().poll_flight_info(self.request(descriptor)).await;
                asked.map(tonic::Response::into_inner).map_err(|status| self.error(&status))
            }
            asked => asked.map(tonic::Response::into_inner).map_err(|status| self.error(&status)),
        }
    }

    async fn action(&self, name: &str, body: Vec<u8>) -> Result<()> {
        let action = Action { r#type: name.into(), body: body.into() };
        let done = self.client.clone().do_action(self.request(action)).await;
        let answers = done.map_err(|status| self.error(&status))?.into_inner();
        answers.try_collect::<Vec<_>>().await.map_err(|status| self.error(&status))?;
        Ok(())
    }

    /// The server's error: ours, whose text begins with its kind, or gRPC's.
    fn error(&self, status: &Status) -> Error {
        let text = status.message();
        let ours = ErrorKind::ALL.into_iter().find_map(|kind| {
            let message = text.strip_prefix(kind.label())?.strip_prefix(": ")?;
            Some(Error::new(kind, message))
        });
        if let Some(error) = ours {
            return error;
        }
        let kind = match status.code() {
            Code::InvalidArgument => ErrorKind::Plan,
            Code::NotFound => ErrorKind::NotFound,
            Code::AlreadyExists => ErrorKind::Exists,
            Code::Unauthenticated | Code::PermissionDenied => ErrorKind::Denied,
            Code::Unimplemented => ErrorKind::Unsupported,
            Code::DataLoss => ErrorKind::DataInvalid,
            Code::ResourceExhausted => ErrorKind::Exhausted,
            // what the user cancels is told in our words
            _ => ErrorKind::Unreachable,
        };
        let text = if text.is_empty() { status.code().description() } else { text };
        Error::new(kind, text).with("server", &self.address)
    }
}

/// A statement that runs on the server until its rows have come, or this is dropped.
struct Running {
    link: Arc<Link>,
    info: Option<FlightInfo>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(info) = self.info.take() else { return };
        let link = Arc::clone(&self.link);
        let cancel = CancelFlightInfoRequest { info: Some(info) }.encode_to_vec();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { link.action("CancelFlightInfo", cancel).await });
        }
    }
}

/// Passes on rows, and how far they are.
async fn fetch(
    mut running: Running,
    info: FlightInfo,
    far: Arc<Mutex<Work>>,
    sender: mpsc::Sender<RecordBatch>,
) -> Result<()> {
    let link = Arc::clone(&running.link);
    for endpoint in info.endpoint {
        let Some(ticket) = endpoint.ticket else { continue };
        let descriptor = FlightDescriptor::new_cmd(ticket.ticket.clone());
        let mut client = link.client.clone();
        let messages = client.do_get(link.request(ticket)).await;
        let messages = messages.map_err(|status| link.error(&status))?.into_inner();
        let messages = messages.map_err(|status| FlightError::Tonic(Box::new(status)));
        let mut rows = FlightRecordBatchStream::new_from_flight_data(messages);
        let mut asked = Instant::now();
        while let Some(batch) = rows.try_next().await.map_err(|error| match error {
            FlightError::Tonic(status) => link.error(&status),
            other => strange(&other.to_string()),
        })? {
            far.lock().rows += batch.num_rows() as u64;
            if sender.send(batch).await.is_err() {
                return Ok(());
            }
            if asked.elapsed() > ASK_EVERY {
                asked = Instant::now();
                let polled = client.poll_flight_info(link.request(descriptor.clone())).await;
                if let Ok(polled) = polled {
                    far.lock().fraction = polled.into_inner().progress;
                }
            }
        }
    }
    running.info = None;
    Ok(())
}

fn command(sql: &str) -> FlightDescriptor {
    let command = CommandStatementQuery { query: sql.into(), transaction_id: None };
    FlightDescriptor::new_cmd(command.as_any().encode_to_vec())
}

fn is_encrypted(url: &str) -> bool {
    ["grpc+tls://", "https://"].iter().any(|scheme| url.starts_with(scheme))
}

/// Where to, and whether nobody else can read along.
fn endpoint(url: &str, arguments: &ConnectArguments) -> Result<(Endpoint, bool)> {
    let wrong = |why: &str| {
        Error::plan(format!(
            "'{url}' is no server: {why}; write grpc+tls://HOST:PORT, or grpc://HOST:PORT without \
             TLS"
        ))
    };
    let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("it has no scheme"))?;
    let rest = rest.trim_end_matches('/');
    let tls = is_encrypted(url);
    if !tls && !matches!(scheme, "grpc" | "grpc+tcp" | "http") {
        return Err(wrong(&format!("'{scheme}' is no scheme of Flight SQL")));
    }
    let host = rest.rsplit_once(':').map(|(host, _)| host).ok_or_else(|| wrong("no port"))?;
    let address = format!("{}://{rest}", if tls { "https" } else { "http" });
    let endpoint = Endpoint::from_shared(address).map_err(|cause| wrong(&cause.to_string()))?;
    let mut endpoint = endpoint
        .connect_timeout(CONNECT_WAIT)
        .http2_keep_alive_interval(SILENT_MAX)
        .keep_alive_timeout(SILENT_MAX)
        .keep_alive_while_idle(true)
        .user_agent(concat!("almagest/", env!("CARGO_PKG_VERSION")))
        .map_err(|cause| wrong(&cause.to_string()))?;
    let files = [&arguments.tls_ca, &arguments.tls_client_cert];
    if !tls && files.iter().any(|file| file.is_some()) {
        return Err(wrong("it is without TLS, and certificates were given"));
    }
    if tls {
        let mut config = ClientTlsConfig::new();
        config = match &arguments.tls_ca {
            Some(file) => config.ca_certificate(Certificate::from_pem(read(file)?)),
            None => config.with_native_roots(),
        };
        if let (Some(cert), Some(key)) = (&arguments.tls_client_cert, &arguments.tls_client_key) {
            config = config.identity(Identity::from_pem(read(cert)?, read(key)?));
        }
        endpoint = endpoint.tls_config(config).map_err(|cause| {
            Error::plan(format!("the certificates cannot be used: {}", innermost(&cause)))
        })?;
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address = host.parse::<std::net::IpAddr>();
    let is_here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    Ok((endpoint, tls || is_here))
}

/// The words of a log-in, if there are any.
fn credentials(arguments: &ConnectArguments) -> Result<Option<MetadataValue<Ascii>>> {
    use base64::Engine;
    let header = if let Some(file) = &arguments.token_file {
        format!("Bearer {}", String::from_utf8_lossy(&read(file)?).trim())
    } else if let Some(user) = &arguments.user {
        let password = match std::env::var("ALMAGEST_PASSWORD") {
            Ok(password) => password,
            Err(_) => crate::password::ask(user)?,
        };
        let words = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        format!("Basic {words}")
    } else {
        return Ok(None);
    };
    let mut header = MetadataValue::try_from(header)
        .map_err(|_| Error::plan("the token has characters that no token has"))?;
    header.set_sensitive(true);
    Ok(Some(header))
}

fn read(file: &PathBuf) -> Result<Vec<u8>> {
    std::fs::read(file).map_err(|cause| {
        Error::not_found(format!("cannot be read: {cause}")).with("file", file.display())
    })
}

/// The words that say most: gRPC's own are "transport error".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}

fn strange(what: &str) -> Error {
    Error::unreachable(format!("the server answers what is not understood: {what}"))
}

/// Whether tables or columns may be others after a statement.
fn changes_names(sql: &str) -> bool {
    let first = sql.split_whitespace().next().unwrap_or("").to_ascii_uppercase();
    !matches!(first.as_str(), "SELECT" | "WITH" | "SHOW" | "EXPLAIN" | "VALUES" | "DESCRIBE")
}

fn learn(names: &mut Names, batch: &RecordBatch) {
    let columns: Vec<_> =
        batch.columns().iter().filter_map(|column| column.as_string_opt::<i32>()).collect();
    let [catalogs, schemas, tables, columns] = columns.as_slice() else { return };
    for row in 0..batch.num_rows() {
        if !columns.is_null(row) {
            names.columns.insert(columns.value(row).into());
        }
        let table = tables.value(row);
        names.tables.insert(match (catalogs.value(row), schemas.value(row)) {
            ("datafusion", "public") => table.to_string(),
            ("datafusion", schema) => format!("{schema}.{table}"),
            (catalog, schema) => format!("{catalog}.{schema}.{table}"),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_whether_others_can_read_along() {
        let arguments = ConnectArguments::default();
        let private = |url: &str| endpoint(url, &arguments).map(|(_, private)| private);
        assert!(private("grpc://localhost:32010").unwrap());
        assert!(private("grpc://127.0.0.1:32010").unwrap());
        assert!(private("grpc://[::1]:32010/").unwrap());
        assert!(!private("grpc://survey.example:32010").unwrap());
        assert!(private("grpc+tls://survey.example:32010").unwrap());
        for wrong in ["survey:32010", "ftp://survey:1", "grpc://survey", "grpc://a b:1"] {
            let error = private(wrong).unwrap_err();
            assert!(error.message().contains("write grpc+tls://HOST:PORT"), "{error}");
        }
    }

    #[test]
    fn what_may_change_tables_is_known_by_its_first_word() {
        assert!(!changes_names(" select 1") && !changes_names("WITH a AS (SELECT 1) SELECT 1"));
        assert!(changes_names("CREATE VIEW v AS SELECT 1") && changes_names("drop table t"));
    }
}
