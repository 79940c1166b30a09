//! What a hostile client can do to others: nothing. Each test has one that does its worst in one way, and
//! beside it an honest one, whose answers are right and arrive.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use almagest::flight::{Entrance, FlightLimits, Served, Users, new_user};
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow_flight::HandshakeRequest;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::client::FlightSqlServiceClient;
use futures::TryStreamExt;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::Channel;

use almagest_tests::served::{
    Running, asked, channel, client, open_to_all, refused, running, start, started, text, until,
    writable,
};

/// Answers that an honest client waits for.
const ANSWERS: usize = 20;
/// How HTTP/2 begins: its preface, and settings without any.
const BEGIN: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

pub async fn answers_are_right(honest: &mut FlightSqlServiceClient<Channel>) {
    for value in 0..ANSWERS {
        let sql = format!("SELECT sum(value) + {value} FROM generate_series(1, 1000)");
        assert_eq!(text(honest, &sql).await, (500_500 + value).to_string());
    }
}

/// Asks for what never ends, and is gone when it is dropped.
async fn sent(server: &Running, sql: &str) -> tokio::task::JoinHandle<Result<(), String>> {
    let (mut hostile, sql) = (client(server).await, sql.to_string());
    tokio::spawn(async move { asked(&mut hostile, &sql).await.map(drop) })
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_that_never_look_up_keep_no_honest_client_waiting() {
    let pairs = "generate_series(1, 1000000) a, generate_series(1, 1000000) b";
    let costly = "levenshtein(repeat(value::VARCHAR, 100), repeat('ab', 300))";
    for sql in [
        format!("SELECT count(*) FROM {pairs} WHERE a.value * 3 < b.value - 9000000"),
        format!("SELECT count(*) FROM {pairs} WHERE a.value % 2 = b.value % 2 AND a.value > b.value + 9999999"),
        format!("SELECT sum({costly}) FROM generate_series(1, 1000000)"),
        format!("SELECT count(*) FROM generate_series(1, 1000000) WHERE {costly} < 3"),
        "SELECT sum(m) FROM (SELECT median(value) OVER (ORDER BY value ROWS BETWEEN 10000 PRECEDING \
         AND 10000 FOLLOWING) AS m FROM generate_series(1, 1000000))"
            .into(),
        "SELECT sum(value) FROM random_normal([100000, 1000000])".into(),
        "SELECT count(*) FROM (SELECT unnest(range(value)) AS u FROM generate_series(1000000, 2000000))".into(),
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r".into(),
    ] {
        let server = started(Served::default()).await;
        let mut honest = client(&server).await;
        let all = [sent(&server, &sql).await, sent(&server, &sql).await, sent(&server, &sql).await];
        until("it does not begin", || running(&server)).await;
        answers_are_right(&mut honest).await;
        for one in &all {
            assert!(!one.is_finished(), "{sql} ended");
            one.abort();
        }
        until(&format!("{sql} does not stop"), || !running(&server)).await;
        answers_are_right(&mut honest).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_computed_while_planning_keeps_nobody_waiting_and_ends_in_time() {
    let limits = FlightLimits { time_max: Some(Duration::from_secs(2)), ..FlightLimits::default() };
    let server = start(Served::default(), limits, open_to_all()).await;
    let mut honest = client(&server).await;
    // folded, as nothing in it depends on rows
    let folded = "SELECT levenshtein(repeat('ab', 5000), repeat('ba', 5000))";
    let all =
        [sent(&server, folded).await, sent(&server, folded).await, sent(&server, folded).await];
    answers_are_right(&mut honest).await;
    for one in all {
        let told = one.await.unwrap();
        assert!(told.is_ok() || told.as_ref().is_err_and(|e| e.contains("ran longer")), "{told:?}");
    }
    answers_are_right(&mut honest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_views_and_parameters_count_in_bytes() {
    let limits =
        FlightLimits { kept_session_max: 5 << 20, kept_max: 64 << 20, ..FlightLimits::default() };
    let server = start(Served::default(), limits, open_to_all()).await;
    let mut honest = client(&server).await;
    let mut hostile = client(&server).await;
    let long = "x".repeat(1_000_000);
    // prepared ones
    let mut prepared = vec![];
    let error = loop {
        match hostile.prepare(format!("SELECT '{long}'"), None).await {
            Ok(statement) => prepared.push(statement),
            Err(error) => break error.to_string(),
        }
        assert!(prepared.len() < 6);
    };
    assert!(error.contains("this session keeps") && error.contains("close prepared"), "{error}");
    assert!(!prepared.is_empty());
    assert!(refused(&mut hostile, &format!("SELECT length('{long}')")).await.contains("keeps"));
    answers_are_right(&mut honest).await;
    for statement in prepared {
        statement.close().await.unwrap();
    }
    assert_eq!(text(&mut hostile, &format!("SELECT length('{long}') AS n")).await, "1000000");
    // views, and statements that SQL prepares
    for what in ["CREATE VIEW v{} AS", "PREPARE p{} AS"] {
        let mut hostile = client(&server).await;
        let statement =
            |n: usize| format!("{} SELECT '{long}' AS a", what.replace("{}", &n.to_string()));
        let mut kept = 0;
        let error = loop {
            match asked(&mut hostile, &statement(kept)).await {
                Ok(_) => kept += 1,
                Err(error) => break error,
            }
            assert!(kept < 6, "{what}");
        };
        assert!(kept > 0 && error.contains("this session keeps"), "{kept} {error}");
        let drop = if what.contains("VIEW") { "DROP VIEW v0" } else { "DEALLOCATE p0" };
        asked(&mut hostile, drop).await.unwrap();
        asked(&mut hostile, &statement(0)).await.unwrap();
    }
    // values of parameters
    let mut statement = hostile.prepare("SELECT length($1)".into(), None).await.unwrap();
    let values: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(6 << 20)]));
    statement.set_parameters(RecordBatch::try_from_iter([("$1", values)]).unwrap()).unwrap();
    let error = statement.execute().await.unwrap_err().to_string();
    assert!(error.contains("keeps"), "{error}");
    // all sessions of one address have half of what all have
    let mut all = vec![];
    let error = loop {
        let mut another = client(&server).await;
        match another.prepare(format!("SELECT '{long}'"), None).await {
            Ok(statement) => all.push((another, statement)),
            Err(error) => break error.to_string(),
        }
        assert!(all.len() < 40);
    };
    assert!(error.contains("this user or address keeps"), "{error}");
    drop(all);
    answers_are_right(&mut honest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_does_not_take_all_sessions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users.toml");
    let (entry, token) = new_user("ada", "secret").unwrap();
    std::fs::write(&path, entry).unwrap();
    #[cfg(unix)]
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let entrance = Entrance { users: Some(Users::read(&path).unwrap()), anonymous: true };
    let limits = FlightLimits { client_sessions_max: 3, ..FlightLimits::default() };
    let server = start(Served::default(), limits, entrance).await;
    let mut all = vec![];
    for _ in 0..3 {
        let mut hostile = client(&server).await;
        assert_eq!(text(&mut hostile, "SELECT 1").await, "1");
        all.push(hostile);
    }
    let mut another = client(&server).await;
    let error = refused(&mut another, "SELECT 1").await;
    assert!(error.contains("3 sessions of this user or address are open"), "{error}");
    // who has a name has a share of its own
    let mut honest = another;
    honest.set_token(token);
    answers_are_right(&mut honest).await;
    drop(all);
    let mut later = client(&server).await;
    loop {
        match asked(&mut later, "SELECT 1").await {
            Ok(_) => break,
            Err(error) => assert!(error.contains("are open"), "{error}"),
        }
    }
}

/// What a server does with a connection on which these bytes come, and then nothing more: it ends it.
async fn ends(address: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(bytes).await;
    let mut answer = vec![0; 4096];
    loop {
        match stream.read(&mut answer).await {
            Ok(0) => return,
            Err(error) if error.kind() != ErrorKind::Interrupted => return,
            _ => {}
        }
    }
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, body: &[u8]) -> Vec<u8> {
    let mut frame = (body.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(body);
    frame
}

/// The headers of a request, and so many bytes of one that nobody knows.
fn headers(more: usize) -> Vec<u8> {
    let mut headers = vec![0x83, 0x86, 0x84, 0x01, 9];
    headers.extend(b"localhost");
    if more > 0 {
        headers.extend([0x00, 1, b'x', 0x7f]);
        // a length in seven bits for each byte, behind the first 127
        let mut rest = more - 127;
        while rest >= 128 {
            headers.push((rest % 128) as u8 | 128);
            rest /= 128;
        }
        headers.push(rest as u8);
        headers.extend(vec![b'a'; more]);
    }
    headers
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_on_which_nothing_is_asked_end() {
    let limits =
        FlightLimits { first_request: Duration::from_millis(300), ..FlightLimits::default() };
    let server = start(Served::default(), limits, open_to_all()).await;
    let mut honest = client(&server).await;
    answers_are_right(&mut honest).await;
    let ping = frame(6, 0, 0, &[7; 8]);
    let unfinished = frame(1, 1, 1, &headers(0)[..3]);
    for bytes in [
        vec![],
        b"PRI * HTTP/2.0\r\n".to_vec(),
        b"GET / HTTP/1.1\r\n".to_vec(),
        BEGIN.to_vec(),
        [BEGIN, BEGIN].concat(),
        [BEGIN, &ping, &ping].concat(),
        // headers without their end
        [BEGIN, &unfinished].concat(),
    ] {
        ends(server.address, &bytes).await;
        // the honest one asked before, and stays
        answers_are_right(&mut honest).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_does_not_take_all_connections() {
    let limits = FlightLimits { client_sessions_max: 3, ..FlightLimits::default() };
    let server = start(Served::default(), limits, open_to_all()).await;
    let mut honest = client(&server).await;
    answers_are_right(&mut honest).await;
    let mut held = vec![];
    for _ in 0..5 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(BEGIN).await.unwrap();
        held.push(stream);
    }
    for _ in 0..20 {
        ends(server.address, BEGIN).await;
    }
    answers_are_right(&mut honest).await;
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_frames_stop_nobody() {
    let server = started(Served::default()).await;
    let mut honest = client(&server).await;
    let ping = frame(6, 0, 0, &[7; 8]).repeat(50_000);
    let settings = frame(4, 0, 0, &[]).repeat(50_000);
    let window = frame(8, 0, 0, &[0, 0, 0, 1]).repeat(50_000);
    let streams = |flags: u8, more: usize, then: &[u8]| -> Vec<u8> {
        let one = |number: u32| {
            let stream = 2 * number + 1;
            let mut frames = frame(1, flags, stream, &headers(more));
            if !then.is_empty() {
                frames.extend(frame(3, 0, stream, then));
            }
            frames
        };
        (0..2_000).flat_map(one).collect()
    };
    let continued = || {
        let mut frames = frame(1, 0, 1, &headers(0));
        // headers that go on and on
        frames.extend(frame(9, 0, 1, &[0x00, 1, b'x', 1, b'y'].repeat(1000)).repeat(200));
        frames
    };
    for flood in [
        ping,
        settings,
        window,
        // begun and left open; begun and broken off; with large headers
        streams(4, 0, &[]),
        streams(4, 0, &[0, 0, 0, 8]),
        streams(5, 15_000, &[]),
        continued(),
        frame(0, 0, 1, &[0; 16_000]).repeat(500),
        [frame(1, 4, 1, &headers(0)), frame(0, 0, 1, &[0; 16_000]).repeat(500)].concat(),
        vec![0xff; 1 << 20],
    ] {
        let address = server.address;
        let hostile = tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let (mut from, mut to) = stream.split();
            let read = async {
                let mut bytes = vec![0; 1 << 16];
                while from.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
            };
            let write = async {
                let _ = to.write_all(BEGIN).await;
                let _ = to.write_all(&flood).await;
                tokio::time::sleep(Duration::from_millis(200)).await;
            };
            tokio::select! {
                () = read => {}
                () = write => {}
            }
        });
        answers_are_right(&mut honest).await;
        hostile.await.unwrap();
        answers_are_right(&mut honest).await;
    }
}

fn pipe(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_over_pipes_starts_and_refuses_them() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().canonicalize().unwrap();
    std::fs::create_dir(whole.join("many")).unwrap();
    std::fs::write(whole.join("a.csv"), "a\n7\n").unwrap();
    std::fs::write(whole.join("many/a.csv"), "a\n8\n").unwrap();
    for name in ["p.csv", "p2.parquet", "p3.h5", "many/p.csv", "p5.json.gz"] {
        pipe(&whole.join(name));
    }
    let writable = tempfile::tempdir().unwrap();
    pipe(&writable.path().join("p.csv"));
    pipe(&writable.path().join("p.npy"));
    let served = Served {
        data: vec![whole.clone()],
        writable: Some(writable.path().to_path_buf()),
        ..Served::default()
    };
    let server = started(served).await;
    let mut client = client(&server).await;
    assert_eq!(text(&mut client, "SELECT a.a, m.a FROM a, many m").await, "7 8");
    let place = whole.display();
    assert_eq!(text(&mut client, &format!("SELECT a FROM '{place}/*.csv'")).await, "7");
    for name in ["p.csv", "p2.parquet", "p3.h5", "many/p.csv", "p5.json.gz"] {
        let error = refused(&mut client, &format!("SELECT * FROM '{place}/{name}'")).await;
        assert!(error.contains("pipe, socket or device"), "{name}: {error}");
    }
    for name in ["p.csv", "p.npy"] {
        let target = writable.path().join(name);
        let copy = format!("COPY (SELECT * FROM zeros([2])) TO '{}'", target.display());
        let error = refused(&mut client, &copy).await;
        assert!(error.contains("pipe, socket or device"), "{name}: {error}");
    }
    // DataFusion's tables without an end read and write past everything
    for (sql, told) in [
        (
            "CREATE UNBOUNDED EXTERNAL TABLE t (a VARCHAR) STORED AS CSV LOCATION '/etc/passwd'",
            "UNBOUNDED",
        ),
        (
            "CREATE EXTERNAL TABLE t (a VARCHAR) STORED AS CSV LOCATION '/etc/passwd' \
             OPTIONS ('unbounded' 'true')",
            "not among what this server reads",
        ),
    ] {
        let error = refused(&mut client, sql).await;
        assert!(error.contains(told), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_a_name_counts_as_long_as_it_is_there_and_no_longer() {
    let limits =
        FlightLimits { kept_session_max: 5 << 20, kept_max: 64 << 20, ..FlightLimits::default() };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.csv"), "a\n7\n").unwrap();
    let place = folder.path().canonicalize().unwrap();
    let served = Served { data: vec![place.clone()], ..Served::default() };
    let server = start(served, limits, open_to_all()).await;
    let long = "x".repeat(1_000_000);
    let view = |name: &str| format!("CREATE VIEW {name} AS SELECT '{long}' AS a");
    // statements that do nothing to the view of this name
    let external = format!("STORED AS CSV LOCATION '{}/a.csv'", place.display());
    for (schema, nothing) in [
        ("public", "DROP TABLE IF EXISTS {}".to_string()),
        ("public", format!("CREATE EXTERNAL TABLE IF NOT EXISTS {{}} {external}")),
        ("public", format!("CREATE EXTERNAL TABLE {{}} {external}")),
        ("public", "CREATE VIEW {} AS SELECT 1 AS a".into()),
        ("mine", "DROP VIEW IF EXISTS public.{}".into()),
        ("mine", "DROP TABLE IF EXISTS datafusion.mine.{}".into()),
    ] {
        let mut hostile = client(&server).await;
        asked(&mut hostile, "CREATE SCHEMA mine").await.unwrap();
        let set = format!("SET datafusion.catalog.default_schema = '{schema}'");
        asked(&mut hostile, &set).await.unwrap();
        let mut kept = 0;
        let error = loop {
            let name = format!("v{kept}");
            match asked(&mut hostile, &view(&name)).await {
                Ok(_) => kept += 1,
                Err(error) => break error,
            }
            let _ = asked(&mut hostile, &nothing.replace("{}", &name)).await;
            assert!(kept < 6, "{nothing}");
        };
        assert!(kept > 0 && error.contains("this session keeps"), "{nothing}: {error}");
        asked(&mut hostile, "DROP VIEW v0").await.unwrap();
        asked(&mut hostile, &view("v0")).await.unwrap();
        assert!(refused(&mut hostile, &view("another")).await.contains("this session keeps"));
    }
    // settings
    let mut hostile = client(&server).await;
    let names = ["null", "date_format", "datetime_format", "timestamp_format", "time_format"];
    let set = |name: &str| format!("SET datafusion.format.{name} = '{long}'");
    for name in names {
        asked(&mut hostile, &set(name)).await.unwrap();
    }
    let error = refused(&mut hostile, &set("timestamp_tz_format")).await;
    assert!(error.contains("this session keeps"), "{error}");
    asked(&mut hostile, "RESET datafusion.format.null").await.unwrap();
    asked(&mut hostile, &set("timestamp_tz_format")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_written_apart_from_who_answers() {
    let folder = tempfile::tempdir().unwrap();
    let server = started(writable(folder.path())).await;
    let mut honest = client(&server).await;
    let costly = "SELECT levenshtein(repeat(value::VARCHAR, 100), repeat('ab', 300)) AS n \
                  FROM generate_series(1, 1000000)";
    // as many inputs as would take all threads that answer
    let sql = format!("CREATE TABLE t AS {}", [costly; 32].join(" UNION ALL "));
    let hostile = sent(&server, &sql).await;
    until("it does not begin", || folder.path().join("t").exists()).await;
    answers_are_right(&mut honest).await;
    assert!(!hostile.is_finished());
    hostile.abort();
    until("it does not stop", || !folder.path().join("t").exists()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_sessions_that_begin_at_once_no_more_are_made_than_may_be() {
    let limits = FlightLimits { client_sessions_max: 3, ..FlightLimits::default() };
    let server = start(Served::default(), limits, open_to_all()).await;
    let one = FlightServiceClient::new(channel(&server).await);
    let all = (0..20).map(|_| {
        let mut one = one.clone();
        let request = futures::stream::iter([HandshakeRequest::default()]);
        tokio::spawn(async move { one.handshake(request).await.map(drop) })
    });
    let (mut made, mut refused) = (0, 0);
    for handshake in all.collect::<Vec<_>>() {
        match handshake.await.unwrap() {
            Ok(()) => made += 1,
            Err(error) => {
                assert!(error.to_string().contains("3 sessions of this user"), "{error}");
                refused += 1;
            }
        }
    }
    assert_eq!((made, refused), (3, 17));
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_whose_counts_were_told_do_not_pile_up() {
    let server = started(Served::default()).await;
    let mut one = client(&server).await;
    for _ in 0..1100 {
        let sql = "SET datafusion.execution.batch_size = 17".into();
        assert_eq!(one.execute_update(sql, None).await.unwrap(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_no_rows_does_not_keep_a_query_for_ever() {
    let limits = FlightLimits { query_life: Duration::from_millis(300), ..FlightLimits::default() };
    let server = start(Served::default(), limits, open_to_all()).await;
    let mut hostile = client(&server).await;
    let sql = "SELECT repeat(value::VARCHAR, 1000) AS a FROM generate_series(1, 100000000)";
    let info = hostile.execute(sql.into(), None).await.unwrap();
    let mut rows = hostile.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
    rows.try_next().await.unwrap();
    assert!(running(&server));
    until("the query is kept", || !running(&server)).await;
    // whoever goes on is told
    let error = loop {
        match rows.try_next().await {
            Ok(rows) => assert!(rows.is_some(), "the rows have an end"),
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("taken for too long"), "{error}");
    answers_are_right(&mut hostile).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bare_names_are_where_the_session_says() {
    let folder = tempfile::tempdir().unwrap();
    let server = started(writable(folder.path())).await;
    let (mut one, mut two) = (client(&server).await, client(&server).await);
    asked(&mut two, "CREATE TABLE t AS SELECT 1 AS a").await.unwrap();
    asked(&mut one, "CREATE SCHEMA mine").await.unwrap();
    asked(&mut one, "SET datafusion.catalog.default_schema = 'mine'").await.unwrap();
    asked(&mut one, "CREATE TABLE t AS SELECT 2 AS a").await.unwrap();
    asked(&mut one, "CREATE TABLE u AS SELECT 3 AS a").await.unwrap();
    asked(&mut one, "INSERT INTO t VALUES (20)").await.unwrap();
    assert_eq!(text(&mut one, "SELECT sum(t.a), max(u.a) FROM t, u").await, "22 3");
    assert_eq!(text(&mut one, "SELECT a FROM public.t").await, "1");
    asked(&mut one, "DROP TABLE t").await.unwrap();
    assert_eq!(text(&mut two, "SELECT sum(a) FROM t").await, "1");
    assert!(refused(&mut two, "SELECT * FROM u").await.contains("no table"));
}
