//! The Flight SQL endpoint: who comes in, what strangers may do, and how they are told.

use std::time::Duration;

use almagest::SessionOptions;
use almagest::flight::{Entrance, FlightLimits, Served, Users, new_user};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt};
use arrow_flight::{Action, CancelFlightInfoRequest, FlightDescriptor};
use futures::StreamExt;
use prost::Message;
use tonic::Code;

use almagest_tests::served::{
    ENDLESS, Running, asked, channel, client, fetched, open_to_all, refused, running, start,
    started, text, until, writable,
};

/// The code of a refusal, which the client of Flight SQL only has in its text.
async fn code(server: &Running, sql: &str) -> Code {
    let mut client = FlightServiceClient::new(channel(server).await);
    let command = CommandStatementQuery { query: sql.into(), transaction_id: None };
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let info = match client.get_flight_info(descriptor).await {
        Err(status) => return status.code(),
        Ok(info) => info.into_inner(),
    };
    let mut rows = client.do_get(info.endpoint[0].ticket.clone().unwrap()).await;
    match &mut rows {
        Err(status) => status.code(),
        Ok(rows) => {
            let rows = rows.get_mut();
            while let Some(message) = rows.next().await {
                if let Err(status) = message {
                    return status.code();
                }
            }
            Code::Ok
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_users_come_in_where_users_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users.toml");
    let (entry, token) = new_user("ada", "secret").unwrap();
    std::fs::write(&path, entry).unwrap();
    #[cfg(unix)]
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let users = Some(Users::read(&path).unwrap());
    let entrance = Entrance { users, anonymous: false };
    let server = start(writable(folder.path()), FlightLimits::default(), entrance).await;
    let mut ada = client(&server).await;
    assert!(refused(&mut ada, "SELECT 1").await.contains("log in"));
    assert_eq!(code(&server, "SELECT 1").await, Code::Unauthenticated);
    let error = ada.handshake("ada", "wrong").await.unwrap_err().to_string();
    assert!(error.contains("is wrong"), "{error}");
    ada.handshake("ada", "secret").await.unwrap();
    assert_eq!(text(&mut ada, "SELECT 1").await, "1");
    // who is not said to write may only read
    let error = refused(&mut ada, "CREATE TABLE t AS SELECT 1 AS a").await;
    assert!(error.contains("may only read"), "{error}");
    let mut program = client(&server).await;
    program.set_token(token);
    assert_eq!(text(&mut program, "SELECT 2").await, "2");
    program.set_token("another".into());
    assert!(refused(&mut program, "SELECT 2").await.contains("is wrong"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_fails_to_log_in_again_and_again_must_wait() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users.toml");
    std::fs::write(&path, new_user("ada", "secret").unwrap().0).unwrap();
    #[cfg(unix)]
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let users = Some(Users::read(&path).unwrap());
    let entrance = Entrance { users, anonymous: false };
    let server = start(Served::default(), FlightLimits::default(), entrance).await;
    let mut client = client(&server).await;
    let mut last = String::new();
    for _ in 0..6 {
        last = client.handshake("ada", "wrong").await.unwrap_err().to_string();
    }
    assert!(last.contains("too many log-ins failed"), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_over_lock_nobody_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users.toml");
    std::fs::write(&path, new_user("ada", "secret").unwrap().0).unwrap();
    #[cfg(unix)]
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let users = Some(Users::read(&path).unwrap());
    let entrance = Entrance { users, anonymous: false };
    let server = start(Served::default(), FlightLimits::default(), entrance).await;
    let mut program = client(&server).await;
    program.set_token("of yesterday".into());
    for _ in 0..60 {
        assert!(refused(&mut program, "SELECT 1").await.contains("is wrong"));
    }
    let mut ada = client(&server).await;
    ada.handshake("ada", "secret").await.unwrap();
    assert_eq!(text(&mut ada, "SELECT 1").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_read_only_what_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().canonicalize().unwrap();
    let (data, outside) = (whole.join("data"), whole.join("outside"));
    for folder in [&data, &outside] {
        std::fs::create_dir(folder).unwrap();
        std::fs::write(folder.join("a.csv"), "word\nhidden\n").unwrap();
    }
    let session = almagest::session(&SessionOptions::default()).unwrap();
    let copy =
        format!("COPY (SELECT * FROM zeros([4])) TO '{}/a.h5' STORED AS HDF5", outside.display());
    session.sql(&copy).await.unwrap().collect().await.unwrap();
    std::os::unix::fs::symlink(outside.join("a.h5"), data.join("link.h5")).unwrap();
    std::os::unix::fs::symlink(outside.join("a.csv"), data.join("link.csv")).unwrap();
    std::os::unix::fs::symlink(&outside, data.join("folder")).unwrap();
    let served = Served { data: vec![data.clone()], ..Served::default() };
    let server = started(served).await;
    let mut client = client(&server).await;
    let (data, outside) = (data.display(), outside.display());
    assert_eq!(text(&mut client, &format!("SELECT word FROM '{data}/a.csv'")).await, "hidden");
    let places = [
        "/etc/passwd".to_string(),
        "file:///etc/passwd".into(),
        "/etc/*".into(),
        "/etc/*/*".into(),
        "/".into(),
        "/proc/self/environ".into(),
        format!("{outside}/a.csv"),
        format!("{outside}/"),
        format!("{outside}/*.csv"),
        format!("{outside}/**/*.csv"),
        format!("{outside}/a.h5"),
        format!("{outside}/none.h5"),
        format!("{data}/link.h5"),
        format!("{data}/../outside/*.h5"),
        format!("{data}/../outside/a.csv"),
        format!("file://{data}/../outside/a.csv"),
        format!("{data}/%2e%2e/outside/a.csv"),
        format!("{data}/link.csv"),
        format!("{data}/folder/a.csv"),
        format!("{data}/folder/"),
        format!("{data}/*/a.csv"),
        "http://169.254.169.254/a.csv".into(),
        "http://127.0.0.1:1/a.csv".into(),
        "http://[::1]:1/a.parquet".into(),
        "https://localhost/a.h5".into(),
        "s3://bucket/a.parquet".into(),
    ];
    for place in &places {
        for sql in [
            format!("SELECT * FROM '{place}'"),
            format!("EXPLAIN SELECT * FROM '{place}'"),
            format!("CREATE VIEW v AS SELECT * FROM '{place}'"),
            format!("SELECT * FROM read_csv('{place}')"),
            format!("SELECT * FROM read_hdf5('{place}')"),
            format!("SELECT * FROM array_info('{place}')"),
            format!("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{place}'"),
            format!("CREATE EXTERNAL TABLE t STORED AS HDF5 LOCATION '{place}'"),
        ] {
            let error = refused(&mut client, &sql).await;
            assert!(!error.contains("hidden"), "{sql}: {error}");
        }
    }
    for (sql, reason) in [
        ("COPY (SELECT 1) TO '/tmp/x.csv'", "makes no tables"),
        ("SET datafusion.runtime.memory_limit = '100G'", "not a session's to set"),
        ("SET almagest.cluster = 'http://127.0.0.1:1'", "not a session's to set"),
    ] {
        let error = refused(&mut client, sql).await;
        assert!(error.contains("not allowed") && error.contains(reason), "{sql}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_at_the_start_open_what_they_read_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().canonicalize().unwrap();
    std::fs::write(whole.join("a.csv"), "word\nopen\n").unwrap();
    std::fs::write(whole.join("b.csv"), "word\nhidden\n").unwrap();
    let place = whole.display();
    let init = format!(
        "CREATE EXTERNAL TABLE a STORED AS CSV LOCATION '{place}/a.csv'; \
         CREATE VIEW v AS SELECT upper(word) AS w FROM a"
    );
    let server = started(Served { init: Some(init), ..Served::default() }).await;
    let mut client = client(&server).await;
    assert_eq!(text(&mut client, "SELECT a.word, w FROM a, v").await, "open OPEN");
    refused(&mut client, &format!("SELECT * FROM '{place}/b.csv'")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_glob_at_the_start_opens_what_it_matches_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().canonicalize().unwrap();
    std::fs::create_dir(whole.join("below")).unwrap();
    let write = |name: &str, word: &str| {
        std::fs::write(whole.join(name), format!("word\n{word}\n")).unwrap();
    };
    for name in ["a1.csv", "a2.csv", "d1.csv", "e1.csv"] {
        write(name, "open");
    }
    for name in ["b1.csv", "below/a1.csv"] {
        write(name, "hidden");
    }
    let place = whole.display();
    // a table whose columns are declared reads nothing before it is asked
    let init = format!(
        "CREATE EXTERNAL TABLE a STORED AS CSV LOCATION '{place}/a*.csv'; \
         CREATE EXTERNAL TABLE d (word VARCHAR) STORED AS CSV LOCATION '{place}/d*.csv'; \
         CREATE VIEW v AS SELECT upper(word) AS w FROM read_csv('{place}/e*.csv')"
    );
    let server = started(Served { init: Some(init), ..Served::default() }).await;
    let mut client = client(&server).await;
    assert_eq!(text(&mut client, "SELECT count(*), max(word) FROM a").await, "2 open");
    assert_eq!(text(&mut client, "SELECT count(*) > 0 FROM d").await, "true");
    assert_eq!(text(&mut client, "SELECT * FROM v").await, "OPEN");
    // new files that a table would take are its own, and no others
    write("a3.csv", "open");
    write("b2.csv", "hidden");
    assert_eq!(text(&mut client, "SELECT count(*), max(word) FROM a").await, "3 open");
    for name in ["b1.csv", "b2.csv", "b*.csv", "below/a1.csv", "below/", "below/*.csv"] {
        let error = refused(&mut client, &format!("SELECT * FROM '{place}/{name}'")).await;
        assert!(!error.contains("hidden"), "{name}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn arrays_too_are_written_only_where_the_server_writes() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().canonicalize().unwrap();
    let inside = whole.join("in");
    std::fs::create_dir(&inside).unwrap();
    let server = started(writable(&inside)).await;
    let mut client = client(&server).await;
    let (above, place) = (whole.display(), inside.display());
    let places = [
        format!("{place}/../x"),
        format!("file://{place}/../x"),
        format!("file://{place}/%2e%2e/x"),
        format!("file://{place}/a%2f..%2f..%2fx"),
        format!("file://{place}/%78"),
        format!("file://localhost{above}/x"),
        format!("file://host{place}/x"),
        format!("file:{above}/x"),
    ];
    for place in &places {
        for ending in ["h5", "npy", "png", "parquet"] {
            let sql = format!("COPY (SELECT * FROM zeros([4, 4])) TO '{place}.{ending}'");
            let error = refused(&mut client, &sql).await;
            assert!(error.contains("not allowed"), "{sql}: {error}");
        }
    }
    assert_eq!(std::fs::read_dir(&whole).unwrap().count(), 1);
    assert_eq!(std::fs::read_dir(&inside).unwrap().count(), 0);
    for target in [format!("{place}/one.h5"), format!("file://{place}/two.h5")] {
        let sql = format!("COPY (SELECT * FROM zeros([4, 4])) TO '{target}'");
        asked(&mut client, &sql).await.unwrap();
    }
    assert!(inside.join("one.h5").exists() && inside.join("two.h5").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_leaves_alone_what_is_no_table_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().canonicalize().unwrap();
    let place = whole.display();
    let years = [2023, 2024].map(|year| whole.join(format!("years/{year}/a.parquet")));
    {
        let server = started(writable(&whole)).await;
        let mut client = client(&server).await;
        for year in [2023, 2024] {
            let copy = format!("COPY (SELECT {year} AS y) TO '{place}/years/{year}/a.parquet'");
            asked(&mut client, &copy).await.unwrap();
        }
        for sql in [
            "CREATE TABLE t AS SELECT 1 AS a",
            "CREATE OR REPLACE TABLE t AS SELECT 2 AS a",
            "CREATE TABLE damaged AS SELECT 1 AS a",
        ] {
            asked(&mut client, sql).await.unwrap();
        }
    }
    for entry in std::fs::read_dir(whole.join("damaged/1")).unwrap() {
        std::fs::write(entry.unwrap().path(), "no Parquet").unwrap();
    }
    {
        let server = started(writable(&whole)).await;
        assert!(years.iter().all(|file| file.exists()));
        let mut client = client(&server).await;
        assert_eq!(text(&mut client, "SELECT a FROM t").await, "2");
        assert!(refused(&mut client, "SELECT * FROM years").await.contains("no table"));
        // a table that cannot be opened is told, and not lost by another of its name
        let unopened = server.shared.unopened_tables();
        assert!(matches!(&unopened[..], [one] if one.contains("'damaged'")), "{unopened:?}");
        let error = refused(&mut client, "CREATE TABLE damaged AS SELECT 1 AS a").await;
        assert!(error.contains("could not open"), "{error}");
        // and one may have the name of a folder of others
        asked(&mut client, "CREATE TABLE years AS SELECT 7 AS a").await.unwrap();
        asked(&mut client, "CREATE OR REPLACE TABLE years AS SELECT 8 AS a").await.unwrap();
    }
    let server = started(writable(&whole)).await;
    assert!(years.iter().all(|file| file.exists()));
    assert_eq!(text(&mut client(&server).await, "SELECT a FROM years").await, "8");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_was_polled_for_and_cancelled_is_let_go() {
    let server = started(Served::default()).await;
    let mut client = FlightServiceClient::new(channel(&server).await);
    let query = "SELECT * FROM generate_series(1, 1000000000)".into();
    let command = CommandStatementQuery { query, transaction_id: None };
    let mut descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let info = loop {
        let polled = client.poll_flight_info(descriptor).await.unwrap().into_inner();
        match polled.flight_descriptor {
            Some(next) => descriptor = next,
            None => break polled.info.unwrap(),
        }
    };
    assert!(running(&server));
    let request = CancelFlightInfoRequest { info: Some(info) };
    let action = Action { r#type: "CancelFlightInfo".into(), body: request.encode_to_vec().into() };
    client.do_action(action).await.unwrap();
    until("it is still held", || !running(&server)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_for_statements_that_write() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().canonicalize().unwrap();
    let target = whole.join("x.parquet");
    let target = target.display();
    let time =
        FlightLimits { time_max: Some(Duration::from_millis(300)), ..FlightLimits::default() };
    let memory = FlightLimits { query_bytes_max: Some(1 << 20), ..FlightLimits::default() };
    let large = "SELECT array_length(array_agg(value)) AS n FROM generate_series(1, 1000000)";
    for (limits, sql, reason) in [
        (&time, format!("CREATE TABLE t AS {ENDLESS}"), "ran longer"),
        (&time, format!("COPY ({ENDLESS}) TO '{target}'"), "ran longer"),
        (&memory, format!("CREATE TABLE t AS {large}"), "one query may hold"),
        (&memory, format!("COPY ({large}) TO '{target}'"), "one query may hold"),
    ] {
        let server = start(writable(&whole), limits.clone(), open_to_all()).await;
        let mut client = client(&server).await;
        let error = refused(&mut client, &sql).await;
        assert!(error.contains(reason), "{sql}: {error}");
        assert_eq!(text(&mut client, "SELECT 1").await, "1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_a_server_hold() {
    let time =
        FlightLimits { time_max: Some(Duration::from_millis(300)), ..FlightLimits::default() };
    let others = FlightLimits {
        rows_max: Some(100),
        statement_bytes_max: 1000,
        query_bytes_max: Some(1 << 20),
        ..FlightLimits::default()
    };
    for (limits, sql, reason) in [
        (&time, "SELECT sum(value) FROM generate_series(1, 1000000000000)".into(), "ran longer"),
        (&others, "SELECT * FROM generate_series(1, 1000)".into(), "more than the 100 rows"),
        (&others, format!("SELECT '{}'", "x".repeat(1000)), "more than the 1000"),
        (
            &others,
            "SELECT array_length(array_agg(value)) FROM generate_series(1, 1000000)".into(),
            "one query may hold",
        ),
    ] {
        let server = start(Served::default(), limits.clone(), open_to_all()).await;
        let mut client = client(&server).await;
        let error = refused(&mut client, &sql).await;
        assert!(error.contains(reason), "{sql}: {error}");
        assert_eq!(code(&server, &sql).await, Code::ResourceExhausted, "{sql}");
    }
    let server = start(Served::default(), others, open_to_all()).await;
    let mut client = client(&server).await;
    let nested = format!("SELECT {}1{}", "(".repeat(400), ")".repeat(400));
    let error = refused(&mut client, &nested).await;
    assert!(error.contains("levels of brackets"), "{error}");
    assert_eq!(text(&mut client, "SELECT 1").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_spills_no_more_than_it_may() {
    let sort = "SELECT count(*) FROM (SELECT s, lag(s) OVER (ORDER BY s) AS before FROM \
                (SELECT md5(value::VARCHAR) AS s FROM generate_series(1, 1000000))) WHERE before <= s";
    for (spilled, expected) in [(100 << 20, Code::Ok), (4 << 20, Code::ResourceExhausted)] {
        let limits = FlightLimits {
            query_bytes_max: Some(48 << 20),
            query_spill_max: Some(spilled),
            ..FlightLimits::default()
        };
        let server = start(Served::default(), limits, open_to_all()).await;
        let mut client = client(&server).await;
        if expected == Code::Ok {
            assert_eq!(text(&mut client, sort).await, "999999");
        } else {
            let error = refused(&mut client, sort).await;
            assert!(error.contains("that one query on this server may spill"), "{error}");
            assert_eq!(code(&server, sort).await, expected);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_codes_and_our_sentences() {
    let folder = tempfile::tempdir().unwrap();
    let data = vec![folder.path().canonicalize().unwrap()];
    std::fs::write(folder.path().join("bad.csv"), "a\n1\nx\n").unwrap();
    let server = started(Served { data, ..Served::default() }).await;
    for (sql, expected) in [
        ("SELEC 1", Code::InvalidArgument),
        ("SELECT 1; SELECT 2", Code::InvalidArgument),
        ("", Code::InvalidArgument),
        ("SELECT no_such_function(1)", Code::InvalidArgument),
        ("SELECT * FROM nothing", Code::NotFound),
        ("SELECT * FROM '/etc/passwd'", Code::PermissionDenied),
        ("DELETE FROM bad", Code::PermissionDenied),
        ("BEGIN", Code::Unimplemented),
        ("SELECT 1", Code::Ok),
    ] {
        assert_eq!(code(&server, sql).await, expected, "{sql}");
    }
    let mut client = client(&server).await;
    let name = folder.path().canonicalize().unwrap().display().to_string();
    let missing = format!("SELECT * FROM '{name}/nothing.csv'");
    let error = refused(&mut client, &missing).await;
    assert!(error.contains("nothing.csv") && !error.contains(&name), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn views_and_prepared_statements_never_read_a_table_that_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let server = started(writable(folder.path())).await;
    let (mut one, mut two) = (client(&server).await, client(&server).await);
    asked(&mut one, "CREATE TABLE t AS SELECT 1 AS a").await.unwrap();
    asked(&mut two, "CREATE VIEW v AS SELECT * FROM t").await.unwrap();
    asked(&mut two, "CREATE VIEW w AS SELECT max(a) AS m FROM v").await.unwrap();
    let sql = "SELECT sum(a) AS s FROM t WHERE a IN (SELECT a FROM t)";
    let mut prepared = two.prepare(sql.into(), None).await.unwrap();
    let mut copied = two.prepare("INSERT INTO t SELECT a + 1 FROM v".into(), None).await.unwrap();
    assert_eq!(text(&mut two, "SELECT a, m FROM v, w").await, "1 1");
    // a table of the same columns takes its place
    asked(&mut one, "CREATE OR REPLACE TABLE t AS SELECT 2 AS a").await.unwrap();
    assert_eq!(text(&mut two, "SELECT a, m, (SELECT count(*) FROM v) FROM v, w").await, "2 2 1");
    asked(&mut one, "DROP TABLE t").await.unwrap();
    asked(&mut one, "CREATE TABLE t AS SELECT 3 AS a").await.unwrap();
    assert_eq!(text(&mut two, "SELECT a, m FROM v, w").await, "3 3");
    assert_eq!(copied.execute_update().await.unwrap(), 1);
    assert_eq!(text(&mut two, "SELECT sum(a) FROM v").await, "7");
    let info = prepared.execute().await.unwrap();
    let (_, rows) = fetched(&mut two, info).await.unwrap();
    assert_eq!(rows[0].column(0).as_primitive::<Int64Type>().value(0), 7);
    // one of others does not, nor none
    for sql in ["CREATE OR REPLACE TABLE t AS SELECT 'x' AS a", "DROP TABLE t"] {
        asked(&mut one, sql).await.unwrap();
        for reads in [
            "SELECT * FROM v",
            "SELECT 1 WHERE EXISTS (SELECT * FROM w)",
            "CREATE TABLE u AS FROM v",
        ] {
            let error = refused(&mut two, reads).await;
            assert!(error.contains("table 't', which a view"), "{reads}: {error}");
        }
        let error = prepared.execute().await.unwrap_err().to_string();
        assert!(error.contains("table 't', which a view"), "{error}");
    }
}
