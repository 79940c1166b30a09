//! Servers of Flight SQL in the test's process, and a client of them.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use almagest::flight::{Entrance, FlightLimits, FlightOptions, FlightServer, Served, Shared, open};
use almagest::{AlmagestOptions, SessionOptions};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::util::pretty::pretty_format_batches;
use arrow_flight::FlightInfo;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::client::FlightSqlServiceClient;
use futures::TryStreamExt;
use tokio::sync::oneshot;
use tonic::transport::Channel;

/// A statement that runs for as long as one lets it.
pub const ENDLESS: &str = "SELECT sum(a.value * b.value) FROM generate_series(1, 100000000) a, \
                       generate_series(1, 100000000) b";

/// A server that ends with the test.
pub struct Running {
    pub address: SocketAddr,
    pub shared: Arc<Shared>,
    end: Option<oneshot::Sender<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.end.take().map(|end| end.send(()));
    }
}

pub async fn start(served: Served, limits: FlightLimits, entrance: Entrance) -> Running {
    start_at(None, served, limits, entrance).await
}

/// The same, whose queries run at `place`.
pub async fn start_at(
    place: Option<AlmagestOptions>,
    served: Served,
    limits: FlightLimits,
    entrance: Entrance,
) -> Running {
    let options = SessionOptions { threads: Some(2), ..Default::default() };
    let shared = open(&options, place, &served, limits).await.unwrap();
    let bind = FlightOptions {
        bind: "127.0.0.1:0".parse().unwrap(),
        http: None,
        tls: None,
        grace: Duration::from_secs(1),
    };
    let server = FlightServer::bind(&bind, Arc::clone(&shared), entrance).await.unwrap();
    let address = server.address().unwrap();
    let (end, ended) = oneshot::channel();
    tokio::spawn(server.run(Box::pin(async {
        let _ = ended.await;
    })));
    Running { address, shared, end: Some(end) }
}

pub fn open_to_all() -> Entrance {
    Entrance { users: None, anonymous: true }
}

pub async fn started(served: Served) -> Running {
    start(served, FlightLimits::default(), open_to_all()).await
}

pub async fn channel(server: &Running) -> Channel {
    let url = format!("http://{}", server.address);
    Channel::from_shared(url).unwrap().connect().await.unwrap()
}

pub async fn client(server: &Running) -> FlightSqlServiceClient<Channel> {
    let inner = FlightServiceClient::new(channel(server).await);
    let inner = inner.max_decoding_message_size(usize::MAX);
    FlightSqlServiceClient::new_from_inner(inner)
}

pub async fn fetched(
    client: &mut FlightSqlServiceClient<Channel>,
    info: FlightInfo,
) -> Result<(SchemaRef, Vec<RecordBatch>), String> {
    let told = Arc::new(info.clone().try_decode_schema().unwrap());
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let mut stream = client.do_get(ticket).await.map_err(|error| error.to_string())?;
    let mut batches = vec![];
    while let Some(batch) = stream.try_next().await.map_err(|error| error.to_string())? {
        batches.push(batch);
    }
    // what was promised is what came
    assert_eq!(stream.schema().unwrap().fields(), told.fields());
    for batch in &batches {
        assert_eq!(batch.schema().fields(), told.fields());
    }
    Ok((told, batches))
}

pub async fn asked(
    client: &mut FlightSqlServiceClient<Channel>,
    sql: &str,
) -> Result<Vec<RecordBatch>, String> {
    let info = client.execute(sql.into(), None).await.map_err(|error| error.to_string())?;
    fetched(client, info).await.map(|(_, batches)| batches)
}

pub async fn text(client: &mut FlightSqlServiceClient<Channel>, sql: &str) -> String {
    let batches = asked(client, sql).await.unwrap();
    let batches: Vec<_> = batches.into_iter().filter(|batch| batch.num_rows() > 0).collect();
    let lines = pretty_format_batches(&batches).unwrap().to_string();
    let lines = lines.lines().filter(|line| line.starts_with('|')).skip(1);
    let cells = lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect());
    cells.map(|cells: Vec<&str>| cells.join(" ")).collect::<Vec<_>>().join("\n")
}

pub async fn refused(client: &mut FlightSqlServiceClient<Channel>, sql: &str) -> String {
    match asked(client, sql).await {
        Err(error) => error,
        Ok(rows) => panic!("{sql} gave {rows:?}"),
    }
}

pub fn writable(folder: &Path) -> Served {
    Served { writable: Some(folder.to_path_buf()), ..Served::default() }
}

pub async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waited = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waited).await.expect(what);
}

pub fn running(server: &Running) -> bool {
    !server.shared.metrics_text().lines().any(|line| line == "almagest_queries_running 0")
}
