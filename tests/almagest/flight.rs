//! The Flight SQL endpoint, by arrow-flight's own client: a server in this process, on a free port.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use almagest::cluster::{Limits, Place};
use almagest::flight::{Entrance, FlightLimits, FlightOptions, FlightServer, Served, Shared, open};
use almagest::{AlmagestOptions, SessionOptions};
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::util::pretty::pretty_format_batches;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{
    Any, CommandGetDbSchemas, CommandGetTables, CommandGetXdbcTypeInfo, CommandStatementIngest,
    CommandStatementQuery, ProstMessageExt, SqlInfo, TableDefinitionOptions, TableExistsOption,
    TableNotExistOption,
};
use arrow_flight::{Action, CancelFlightInfoRequest, FlightDescriptor, FlightInfo};
use futures::{StreamExt, TryStreamExt};
use prost::Message;
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

async fn start_at(
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
    tokio::spawn(server.run(async {
        let _ = ended.await;
    }));
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

#[tokio::test(flavor = "multi_thread")]
async fn a_query_gives_its_rows_under_the_schema_that_was_told() {
    let server = started(Served::default()).await;
    let mut client = client(&server).await;
    assert_eq!(text(&mut client, "SELECT 1 + 1 AS two, 'x' AS s").await, "2 x");
    let sql = "SELECT i, CASE WHEN i > 1 THEN arrow_cast('a', 'Utf8View') END AS v, \
               arrow_cast('d', 'Dictionary(Int32, Utf8)') AS d, [i, 2] AS l, \
               {a: i, b: arrow_cast('x', 'Utf8View')} AS s, TIMESTAMP '2020-01-01' AS t \
               FROM generate_series(1, 3) t(i)";
    let info = client.execute(sql.into(), None).await.unwrap();
    let (schema, rows) = fetched(&mut client, info).await.unwrap();
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 3);
    // kinds of text that every client knows
    assert_eq!(schema.field(1).data_type(), &DataType::Utf8);
    assert!(matches!(schema.field(2).data_type(), DataType::Dictionary(..)));
    // an answer without rows has its schema, too
    let info = client.execute("SELECT 1 AS a WHERE false".into(), None).await.unwrap();
    let (schema, rows) = fetched(&mut client, info).await.unwrap();
    assert_eq!(schema.field(0).name(), "a");
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_of_data_are_tables() {
    let folder = tempfile::tempdir().unwrap();
    let session = almagest::session(&SessionOptions::default()).unwrap();
    for (part, first) in [("a", 1), ("b", 11)] {
        let sql = format!(
            "COPY (SELECT i AS id FROM generate_series({first}, {first} + 9) t(i)) \
             TO '{}/stars/{part}.parquet' STORED AS PARQUET",
            folder.path().display()
        );
        session.sql(&sql).await.unwrap().collect().await.unwrap();
    }
    std::fs::write(folder.path().join("names.csv"), "id,name\n3,Vega\n").unwrap();
    std::fs::write(folder.path().join("notes.txt"), "no table").unwrap();
    std::fs::write(folder.path().join("broken.parquet"), "no Parquet").unwrap();
    let data = vec![folder.path().canonicalize().unwrap()];
    let server = started(Served { data, ..Served::default() }).await;
    let mut client = client(&server).await;
    let sql = "SELECT count(*), max(name) FROM stars LEFT JOIN names USING (id)";
    assert_eq!(text(&mut client, sql).await, "20 Vega");
    let tables = text(
        &mut client,
        "SELECT table_name FROM information_schema.tables \
                                    WHERE table_schema = 'public' ORDER BY 1",
    )
    .await;
    assert_eq!(tables, "names\nstars");
    assert!(refused(&mut client, "DROP TABLE stars").await.contains("is the server's"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_do_not_see_each_other() {
    let server = started(Served::default()).await;
    let (mut one, mut two) = (client(&server).await, client(&server).await);
    let show = "SELECT value FROM information_schema.df_settings \
                WHERE name = 'datafusion.execution.batch_size'";
    asked(&mut one, "SET datafusion.execution.batch_size = 17").await.unwrap();
    asked(&mut one, "CREATE VIEW v AS SELECT 7 AS seven").await.unwrap();
    assert_eq!(text(&mut one, show).await, "17");
    assert_eq!(text(&mut one, "SELECT * FROM v").await, "7");
    assert_eq!(text(&mut two, show).await, "8192");
    assert!(refused(&mut two, "SELECT * FROM v").await.contains("no table 'v'"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_its_connection() {
    let server = started(Served::default()).await;
    let mut one = client(&server).await;
    assert_eq!(text(&mut one, "SELECT 1").await, "1");
    let sessions =
        || server.shared.metrics_text().lines().any(|line| line == "almagest_sessions 1");
    assert!(sessions());
    drop(one);
    until("the session stays", || !sessions()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_made_for_all_and_stay() {
    let folder = tempfile::tempdir().unwrap();
    {
        let server = started(writable(folder.path())).await;
        let (mut one, mut two) = (client(&server).await, client(&server).await);
        asked(
            &mut one,
            "CREATE TABLE t AS SELECT i AS a, 'x' AS b FROM generate_series(1, 5) s(i)",
        )
        .await
        .unwrap();
        assert_eq!(text(&mut two, "SELECT sum(a), max(b) FROM t").await, "15 x");
        assert_eq!(text(&mut two, "INSERT INTO t VALUES (10, 'y'), (NULL, NULL)").await, "2");
        let insert = "INSERT INTO t SELECT a + 100, b FROM t WHERE a = 1";
        assert_eq!(two.execute_update(insert.into(), None).await.unwrap(), 1);
        assert_eq!(text(&mut one, "SELECT count(*), sum(a), max(b) FROM t").await, "8 126 y");
        let error = refused(&mut two, "CREATE TABLE t AS SELECT 1 AS a").await;
        assert!(error.contains("is there already"), "{error}");
        asked(&mut two, "CREATE TABLE IF NOT EXISTS t AS SELECT 1 AS a").await.unwrap();
        asked(&mut one, "CREATE TABLE gone AS SELECT 1 AS a").await.unwrap();
        asked(&mut one, "DROP TABLE gone").await.unwrap();
        assert!(refused(&mut two, "SELECT * FROM gone").await.contains("no table"));
        asked(&mut one, "CREATE TABLE empty (a INT, b VARCHAR)").await.unwrap();
    }
    std::fs::create_dir(folder.path().join("t/.unfinished-1")).unwrap();
    let server = started(writable(folder.path())).await;
    let mut again = client(&server).await;
    assert_eq!(text(&mut again, "SELECT count(*), sum(a), max(b) FROM t").await, "8 126 y");
    assert_eq!(text(&mut again, "SELECT count(*), count(b) FROM empty").await, "0 0");
    assert!(!folder.path().join("t/.unfinished-1").exists());
    assert!(!folder.path().join("gone").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_dropped_makes_room_for_another_and_stays_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let server = started(writable(folder.path())).await;
    let mut client = client(&server).await;
    // each is held by the query that read it
    for value in ["1", "2"] {
        let create = format!("CREATE TABLE t AS SELECT {value} AS a");
        asked(&mut client, &create).await.unwrap();
        assert_eq!(text(&mut client, "SELECT * FROM t").await, value);
        asked(&mut client, "DROP TABLE t").await.unwrap();
    }
    assert!(folder.path().join("t/2").exists());
    // as a server finds it after one that was killed
    let again = started(writable(folder.path())).await;
    let error = refused(&mut self::client(&again).await, "SELECT * FROM t").await;
    assert!(error.contains("no table"), "{error}");
    assert!(!folder.path().join("t").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_reads_on_though_its_table_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let server = started(writable(folder.path())).await;
    let mut client = client(&server).await;
    asked(&mut client, "CREATE TABLE t AS SELECT 1 AS a").await.unwrap();
    let info = client.execute("SELECT a FROM t".into(), None).await.unwrap();
    asked(&mut client, "CREATE OR REPLACE TABLE t AS SELECT 2 AS a").await.unwrap();
    let (_, rows) = fetched(&mut client, info).await.unwrap();
    let column = rows[0].column(0).as_any().downcast_ref::<Int64Array>().unwrap();
    assert_eq!(column.value(0), 1);
    assert_eq!(text(&mut client, "SELECT a FROM t").await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_statements_take_values() {
    let folder = tempfile::tempdir().unwrap();
    let server = started(writable(folder.path())).await;
    let mut client = client(&server).await;
    let row = |columns: Vec<(&str, ArrayRef)>| RecordBatch::try_from_iter(columns).unwrap();
    let numbers = |values: Vec<Option<i64>>| Arc::new(Int64Array::from(values)) as ArrayRef;
    let texts = |values: Vec<&str>| Arc::new(StringArray::from(values)) as ArrayRef;

    let mut query = client.prepare("SELECT ? + 1 AS a, ? AS s".into(), None).await.unwrap();
    assert_eq!(query.parameter_schema().unwrap().fields().len(), 2);
    query
        .set_parameters(row(vec![("0", numbers(vec![Some(4)])), ("1", texts(vec!["it's; --"]))]))
        .unwrap();
    let info = query.execute().await.unwrap();
    let (_, rows) = fetched(&mut client, info).await.unwrap();
    let shown = pretty_format_batches(&rows).unwrap().to_string();
    assert!(shown.contains("| 5 | it's; -- |"), "{shown}");
    query.close().await.unwrap();

    // several rows of values: the rows of each, one after the other
    let mut query = client.prepare("SELECT $1 * 2 AS a".into(), None).await.unwrap();
    query.set_parameters(row(vec![("a", numbers(vec![Some(1), None, Some(3)]))])).unwrap();
    let info = query.execute().await.unwrap();
    let (_, rows) = fetched(&mut client, info).await.unwrap();
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 3);

    // without values it says what is missing
    let mut query = client.prepare("SELECT $1 + $2".into(), None).await.unwrap();
    let error = query.execute().await.unwrap_err().to_string();
    assert!(error.contains("has 2 parameters"), "{error}");
    query.set_parameters(row(vec![("a", numbers(vec![Some(1)]))])).unwrap();
    let error = query.execute().await.unwrap_err().to_string();
    assert!(error.contains("1 values are bound") || error.contains("and 1 "), "{error}");

    // an insertion of many rows is one
    asked(&mut client, "CREATE TABLE t (a BIGINT, b VARCHAR)").await.unwrap();
    let mut insert =
        client.prepare("INSERT INTO t VALUES ($1, upper($2))".into(), None).await.unwrap();
    insert
        .set_parameters(row(vec![
            ("a", numbers(vec![Some(1), None, Some(3)])),
            ("b", texts(vec!["x", "y", "z"])),
        ]))
        .unwrap();
    assert_eq!(insert.execute_update().await.unwrap(), 3);
    assert_eq!(text(&mut client, "SELECT count(*), sum(a), max(b) FROM t").await, "3 4 Z");
    let files = || std::fs::read_dir(folder.path().join("t/1")).unwrap().count();
    assert_eq!(files(), 2);
}

fn ingestion(
    table: &str,
    missing: TableNotExistOption,
    existing: TableExistsOption,
) -> CommandStatementIngest {
    CommandStatementIngest {
        table: table.into(),
        table_definition_options: Some(TableDefinitionOptions {
            if_not_exist: missing.into(),
            if_exists: existing.into(),
        }),
        ..CommandStatementIngest::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_ingested_in_four_modes() {
    use TableExistsOption::{Append, Fail as FailExists, Replace};
    use TableNotExistOption::{Create, Fail as FailMissing};
    let folder = tempfile::tempdir().unwrap();
    let server = started(writable(folder.path())).await;
    let mut client = client(&server).await;
    let values = |first: f64| {
        let column = Float64Array::from(vec![first, first + 1.0]);
        RecordBatch::try_from_iter([("v", Arc::new(column) as ArrayRef)]).unwrap()
    };
    let sum = "SELECT count(*), sum(v) FROM t";
    let mut put = async |missing, existing, first| {
        let rows = futures::stream::iter([values(first), values(first + 10.0)]).map(Ok);
        client.execute_ingest(ingestion("t", missing, existing), rows).await
    };
    assert!(put(FailMissing, Append, 0.0).await.unwrap_err().to_string().contains("no table 't'"));
    assert_eq!(put(Create, FailExists, 1.0).await.unwrap(), 4);
    let error = put(Create, FailExists, 1.0).await.unwrap_err().to_string();
    assert!(error.contains("is there already"), "{error}");
    assert_eq!(put(FailMissing, Append, 100.0).await.unwrap(), 4);
    let mut other = self::client(&server).await;
    assert_eq!(text(&mut other, sum).await, "8 448.0");
    assert_eq!(put(Create, Replace, 1.0).await.unwrap(), 4);
    assert_eq!(text(&mut other, sum).await, "4 26.0");
    assert_eq!(put(Create, Append, 1.0).await.unwrap(), 4);
    assert_eq!(text(&mut other, sum).await, "8 52.0");
    let wrong =
        RecordBatch::try_from_iter([("w", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]);
    let rows = futures::stream::iter([Ok(wrong.unwrap())]);
    let error = client.execute_ingest(ingestion("t", FailMissing, Append), rows).await.unwrap_err();
    assert!(error.to_string().contains("do not fit table 't'"), "{error}");
    assert_eq!(text(&mut other, sum).await, "8 52.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_browse() {
    let folder = tempfile::tempdir().unwrap();
    let server = started(writable(folder.path())).await;
    let mut client = client(&server).await;
    asked(&mut client, "CREATE TABLE stars AS SELECT 1 AS id, 'Vega' AS name").await.unwrap();
    asked(&mut client, "CREATE VIEW bright AS SELECT * FROM stars").await.unwrap();
    let shown = async |client: &mut FlightSqlServiceClient<Channel>, info: FlightInfo| {
        let (_, rows) = fetched(client, info).await.unwrap();
        pretty_format_batches(&rows).unwrap().to_string()
    };
    let info = client.get_catalogs().await.unwrap();
    assert!(shown(&mut client, info).await.contains("datafusion"));
    let info = client.get_db_schemas(CommandGetDbSchemas::default()).await.unwrap();
    assert!(shown(&mut client, info).await.contains("public"));
    // no catalog given, with and without schemas and patterns
    let info = client.get_tables(CommandGetTables::default()).await.unwrap();
    let tables = shown(&mut client, info).await;
    assert!(tables.contains("stars") && tables.contains("| VIEW"), "{tables}");
    let query = CommandGetTables {
        table_name_filter_pattern: Some("st%".into()),
        include_schema: true,
        ..CommandGetTables::default()
    };
    let info = client.get_tables(query).await.unwrap();
    let (_, rows) = fetched(&mut client, info).await.unwrap();
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
    let query =
        CommandGetTables { table_types: vec!["VIEW".into()], ..CommandGetTables::default() };
    let info = client.get_tables(query).await.unwrap();
    let views = shown(&mut client, info).await;
    assert!(views.contains("bright") && !views.contains("stars"), "{views}");
    let info = client.get_table_types().await.unwrap();
    assert!(shown(&mut client, info).await.contains("TABLE"));
    for codes in [vec![], vec![SqlInfo::FlightSqlServerName]] {
        let info = client.get_sql_info(codes).await.unwrap();
        assert!(shown(&mut client, info).await.contains("Almagest"));
    }
    let info = client.get_xdbc_type_info(CommandGetXdbcTypeInfo::default()).await.unwrap();
    assert!(shown(&mut client, info).await.contains("BIGINT"));
    let info = client.get_primary_keys(Default::default()).await.unwrap();
    assert!(!shown(&mut client, info).await.contains("stars"));
    let info = client.get_cross_reference(Default::default()).await.unwrap();
    assert!(!shown(&mut client, info).await.contains("stars"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_may_ask_for_as_long_as_it_likes_if_it_fetches() {
    let server = started(Served::default()).await;
    let mut client = client(&server).await;
    for number in 0..1100 {
        assert_eq!(text(&mut client, &format!("SELECT {number}")).await, number.to_string());
    }
    // what nobody fetches is kept, but not without end
    for _ in 0..1000 {
        client.execute("SELECT 1".into(), None).await.unwrap();
    }
    let error = client.execute("SELECT 1".into(), None).await.unwrap_err().to_string();
    assert!(error.contains("1000 queries of this session wait to be fetched"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_no_rows_lets_others_have_their_turn() {
    let queries = Limits { running_max: 1, ..Limits::default() };
    let limits = FlightLimits { queries, ..FlightLimits::default() };
    let server = start(Served::default(), limits, open_to_all()).await;
    let (mut slow, mut other) = (client(&server).await, client(&server).await);
    let rows = "SELECT * FROM generate_series(1, 100000000)".to_string();
    let info = slow.execute(rows, None).await.unwrap();
    let mut rows = slow.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
    let first = rows.try_next().await.unwrap().unwrap().num_rows();
    // the only turn is taken, and given back after a while
    assert_eq!(text(&mut other, "SELECT 1").await, "1");
    // and who was slow goes on
    let mut taken = first;
    while taken < 5_000_000 {
        taken += rows.try_next().await.unwrap().unwrap().num_rows();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_says_of_itself_is_true_of_its_options() {
    let folder = tempfile::tempdir().unwrap();
    let time_max = Some(Duration::from_millis(1500));
    let limits = FlightLimits { time_max, ..FlightLimits::default() };
    let limited = start(Served::default(), limits, open_to_all()).await;
    let free = started(writable(folder.path())).await;
    for (server, read_only, milliseconds) in [(&limited, "true", "1500"), (&free, "false", "0")] {
        let mut client = client(server).await;
        let mut told = async |code| {
            let info = client.get_sql_info(vec![code]).await.unwrap();
            let (_, batches) = fetched(&mut client, info).await.unwrap();
            pretty_format_batches(&batches).unwrap().to_string()
        };
        assert!(told(SqlInfo::FlightSqlServerReadOnly).await.contains(read_only));
        let timeout = told(SqlInfo::FlightSqlServerStatementTimeout).await;
        assert!(timeout.contains(&format!("={milliseconds}}}")), "{timeout}");
    }
}

/// A server whose queries run on executors gives the same answers.
#[tokio::test(flavor = "multi_thread")]
async fn queries_of_a_server_run_on_a_cluster() {
    let cluster = crate::processes::local_cluster(2, 1).await;
    let folder = tempfile::tempdir().unwrap();
    let place = Place::At(cluster.address().clone());
    let served = Served { data: vec!["data".into()], ..writable(folder.path()) };
    let server =
        start_at(Some(place.settings()), served, FlightLimits::default(), open_to_all()).await;
    let mut client = client(&server).await;
    let sql = "SELECT count(*), max(gaussian_filter(value, 1.5)) FROM image";
    let here = started(Served { data: vec!["data".into()], ..Served::default() }).await;
    let mut other = self::client(&here).await;
    assert_eq!(text(&mut client, sql).await, text(&mut other, sql).await);
    text(&mut client, "CREATE TABLE kept AS SELECT x, count(*) AS n FROM image GROUP BY x").await;
    let joined = "SELECT sum(a.n * b.n) > 0 FROM kept a JOIN kept b ON a.x = b.x";
    assert_eq!(text(&mut client, joined).await, "true");
    let plan = text(&mut client, &format!("EXPLAIN ANALYZE {joined}")).await;
    assert!(plan.contains("stage 1 on "), "{plan}");
    // what a stranger must not read is refused before it is sent
    let error = refused(&mut client, "SELECT * FROM '/etc/passwd'").await;
    assert!(error.contains("PermissionDenied") || error.contains("permission"), "{error}");
    // and whoever leaves ends what runs there
    let info = client.execute(ENDLESS.into(), None).await.unwrap();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let fetching = tokio::spawn(async move {
        let mut rows = client.do_get(ticket).await.unwrap();
        rows.next().await.is_some()
    });
    until("it does not begin", || running(&server)).await;
    fetching.abort();
    until("it still runs", || !running(&server)).await;
}

pub fn running(server: &Running) -> bool {
    !server.shared.metrics_text().lines().any(|line| line == "almagest_queries_running 0")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_ends_when_it_is_cancelled_and_when_its_client_leaves() {
    let server = started(Served::default()).await;
    let mut client = client(&server).await;
    // cancelled by another connection of nobody: refused, as it is another session
    let info = client.execute(ENDLESS.into(), None).await.unwrap();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let mut fetching = self::client(&server).await;
    assert!(fetching.do_get(ticket.clone()).await.is_err());
    // cancelled by its own
    let mut same = FlightSqlServiceClient::new_from_inner(client.inner().clone());
    let rows = tokio::spawn(async move {
        let mut rows = same.do_get(ticket).await.map_err(|error| error.to_string())?;
        rows.try_next().await.map_err(|error| error.to_string())
    });
    until("it does not run", || running(&server)).await;
    let request = CancelFlightInfoRequest { info: Some(info) };
    let action = Action { r#type: "CancelFlightInfo".into(), body: request.encode_to_vec().into() };
    let mut answer = client.do_action(arrow_flight_request(action)).await.unwrap();
    let answer = answer.message().await.unwrap().unwrap();
    let result = arrow_flight::CancelFlightInfoResult::decode(answer.body).unwrap();
    assert_eq!(result.status, i32::from(arrow_flight::CancelStatus::Cancelled));
    let error = rows.await.unwrap().unwrap_err();
    assert!(error.contains("cancelled"), "{error}");
    until("it still runs", || !running(&server)).await;
    // a client that leaves
    let mut other = self::client(&server).await;
    let fetch = tokio::spawn(async move { asked(&mut other, ENDLESS).await });
    until("it does not run", || running(&server)).await;
    fetch.abort();
    until("it still runs", || !running(&server)).await;
}

fn arrow_flight_request(action: Action) -> tonic::Request<Action> {
    tonic::Request::new(action)
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_while_the_query_runs_and_no_faster_than_they_are_taken() {
    let server = started(Served::default()).await;
    let mut client = client(&server).await;
    let sql =
        "SELECT value, 'some text that takes place' AS s FROM generate_series(1, 1000000000000)";
    let info = client.execute(sql.into(), None).await.unwrap();
    let mut rows = client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
    let first = rows.try_next().await.unwrap().unwrap();
    assert!(first.num_rows() > 0);
    drop(rows);
    until("it still runs", || !running(&server)).await;
    let sent = server.shared.metrics_text();
    let sent = sent.lines().find_map(|line| line.strip_prefix("almagest_sent_bytes_total "));
    // what was made waited in windows and queues, all of which are bounded
    assert!(sent.unwrap().parse::<u64>().unwrap() < 64 << 20, "{sent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn polling_tells_how_far_a_query_is() {
    let server = started(Served::default()).await;
    let mut client = FlightServiceClient::new(channel(&server).await);
    let query = "SELECT count(value) FROM random_normal([6000, 6000], seed => 1)";
    let command = CommandStatementQuery { query: query.into(), transaction_id: None };
    let mut descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let (mut last, mut waits) = (0.0, 0);
    let info = loop {
        let polled = client.poll_flight_info(descriptor).await.unwrap().into_inner();
        if let Some(progress) = polled.progress {
            assert!((last..=1.0).contains(&progress), "{progress} after {last}");
            last = progress;
        }
        match polled.flight_descriptor {
            Some(next) => descriptor = next,
            None => break polled.info.unwrap(),
        }
        waits += 1;
    };
    assert_eq!(last, 1.0);
    assert!(waits > 1, "it was done before anyone could ask");
    // whoever asks while or after rows are fetched does not begin the query anew
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let mut client = FlightSqlServiceClient::new_from_inner(client);
    let (_, rows) = fetched(&mut client, info).await.unwrap();
    let count = rows[0].column(0).as_any().downcast_ref::<Int64Array>().unwrap().value(0);
    assert_eq!(count, 36_000_000);
    let again = FlightDescriptor::new_cmd(ticket.ticket);
    let polled = client.inner_mut().poll_flight_info(again).await.unwrap().into_inner();
    assert_eq!((polled.flight_descriptor, polled.progress), (None, Some(1.0)));
    assert!(!running(&server));
}

#[tokio::test(flavor = "multi_thread")]
async fn schemas_are_told_without_running() {
    let server = started(Served::default()).await;
    let mut client = FlightServiceClient::new(channel(&server).await);
    let command = CommandStatementQuery { query: ENDLESS.into(), transaction_id: None };
    let message: Any = command.as_any();
    let descriptor = FlightDescriptor::new_cmd(message.encode_to_vec());
    let schema = client.get_schema(descriptor).await.unwrap().into_inner();
    let schema = arrow::datatypes::Schema::try_from(&schema).unwrap();
    assert_eq!(schema.fields().len(), 1);
    assert!(!running(&server));
}

/// The niceness of this process's threads with a name.
#[cfg(target_os = "linux")]
fn nice_of(name: &str) -> Vec<i32> {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let stat = |thread: std::fs::DirEntry| std::fs::read_to_string(thread.path().join("stat")).ok();
    let stats = threads.filter_map(|thread| stat(thread.ok()?));
    let nice = stats.filter_map(|stat| {
        let (start, rest) = stat.rsplit_once(") ")?;
        // the 19th field, of which the name is the second
        start.ends_with(name).then(|| rest.split(' ').nth(16)?.parse().ok())?
    });
    nice.collect()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn queries_let_answers_go_first() {
    let server = started(Served::default()).await;
    assert_eq!(text(&mut client(&server).await, "SELECT 1").await, "1");
    let are_nice = || {
        let nice = nice_of("(queries");
        !nice.is_empty() && nice.iter().all(|nice| *nice == 10)
    };
    until("threads of queries are at nice 10", are_nice).await;
    assert!(nice_of("").contains(&0), "others are not");
}
