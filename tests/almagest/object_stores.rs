//! Files over HTTP and S3, from a small server in this process.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use almagest::{ErrorKind, Session, SessionOptions};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;

pub type Files = HashMap<String, Vec<u8>>;

/// Serves files by path with HEAD, GET and ranges, and lists them as S3 does. Remembers requests.
fn serve(files: Files) -> (String, Arc<Mutex<Vec<String>>>) {
    serve_with(files, |_| None)
}

/// The same, but for requests to which `fault` gives a status, told how many there were before.
pub fn serve_with(
    files: Files,
    fault: impl Fn(usize) -> Option<&'static str> + Send + Sync + 'static,
) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let requests = Arc::new(Mutex::new(vec![]));
    let (files, seen, fault) = (Arc::new(files), Arc::clone(&requests), Arc::new(fault));
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (files, seen) = (Arc::clone(&files), Arc::clone(&seen));
            let fault = Arc::clone(&fault);
            std::thread::spawn(move || {
                while answer(client.as_ref().unwrap(), &files, &seen, fault.as_ref()) {}
            });
        }
    });
    (address, requests)
}

/// Answers one request; `false` when the client has left.
fn answer(
    mut client: &TcpStream,
    files: &Files,
    seen: &Mutex<Vec<String>>,
    fault: &dyn Fn(usize) -> Option<&'static str>,
) -> bool {
    let mut lines = BufReader::new(client).lines();
    let Some(Ok(first)) = lines.next() else { return false };
    let mut range = None;
    for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
        if let Some(value) = line.to_lowercase().strip_prefix("range: bytes=") {
            let (from, to) = value.split_once('-').unwrap();
            range = Some((from.parse::<usize>().unwrap(), to.parse::<usize>().unwrap()));
        }
    }
    let before = {
        let mut seen = seen.lock().unwrap();
        seen.push(first.clone());
        seen.len() - 1
    };
    let mut words = first.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let stamp = "Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\nETag: \"1\"\r\n";
    let fault = fault(before);
    let (status, extra, body) = match files.get(path) {
        _ if fault.is_some() => (fault.unwrap_or_default(), String::new(), vec![]),
        _ if query.contains("list-type=2") => ("200 OK", String::new(), listing(path, files)),
        None => ("404 Not Found", String::new(), vec![]),
        Some(bytes) => match range {
            None => ("200 OK", String::new(), bytes.clone()),
            Some((from, to)) => {
                let to = to.min(bytes.len() - 1);
                let header = format!("Content-Range: bytes {from}-{to}/{}\r\n", bytes.len());
                ("206 Partial Content", header, bytes[from..=to].to_vec())
            }
        },
    };
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{stamp}{extra}\r\n");
    let body = if method == "HEAD" { vec![] } else { body };
    client.write_all(&[head.into_bytes(), body].concat()).is_ok()
}

fn listing(bucket: &str, files: &Files) -> Vec<u8> {
    let prefix = format!("{}/", bucket.trim_end_matches('/'));
    let entries: String = files
        .iter()
        .filter_map(|(path, bytes)| Some((path.strip_prefix(&prefix)?, bytes.len())))
        .map(|(key, size)| {
            format!(
                "<Contents><Key>{key}</Key><Size>{size}</Size><ETag>1</ETag>\
                 <LastModified>2024-01-01T00:00:00.000Z</LastModified></Contents>"
            )
        })
        .collect();
    format!("<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>")
        .into_bytes()
}

async fn sum(session: &Session, sql: &str) -> almagest::Result<i64> {
    let rows = session.sql(sql).await?.collect().await?;
    Ok(rows[0].column(0).as_primitive::<Int64Type>().value(0))
}

/// Two Parquet files of the numbers 1 to 1000 and 1001 to 2000, and a CSV file.
async fn catalog(prefix: &str) -> Files {
    let folder = tempfile::tempdir().unwrap();
    let session = almagest::session(&SessionOptions::default()).unwrap();
    let mut files = HashMap::new();
    for (name, from, to) in [("a.parquet", 1, 1000), ("b.parquet", 1001, 2000), ("c.csv", 1, 10)] {
        let path = folder.path().join(name);
        let numbers = format!("SELECT value AS i FROM generate_series({from}, {to})");
        let copy = format!("COPY ({numbers}) TO '{}'", path.display());
        session.sql(&copy).await.unwrap().collect().await.unwrap();
        files.insert(format!("{prefix}/{name}"), std::fs::read(path).unwrap());
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn files_over_http_need_no_ddl() {
    let (address, requests) = serve(catalog("/data").await);
    let session = almagest::session(&SessionOptions::default()).unwrap();
    let from = |name: &str| format!("SELECT sum(i) FROM 'http://{address}/data/{name}'");
    assert_eq!(sum(&session, &from("a.parquet")).await.unwrap(), 500_500);
    assert_eq!(sum(&session, &from("c.csv")).await.unwrap(), 55);
    assert!(requests.lock().unwrap().iter().any(|request| request.starts_with("HEAD")));
    let error = sum(&session, &from("nix.parquet")).await.unwrap_err();
    assert!(error.to_string().contains("nix.parquet"), "{error}");
    assert_ne!(error.kind(), ErrorKind::Bug, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_takes_options_and_globs_and_hides_secrets() {
    let (address, _) = serve(catalog("/bucket").await);
    let session = almagest::session(&SessionOptions::default()).unwrap();
    let options = |key: &str| {
        format!(
            "OPTIONS ('aws.access_key_id' 'me', '{key}' 'very-secret', 'aws.region' 'eu-west-1', \
             'aws.endpoint' 'http://{address}', 'aws.allow_http' 'true')"
        )
    };
    let create = "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION 's3://bucket/a.parquet'";
    let wrong = format!("{create} {}", options("aws.secret_key_of_mine"));
    let error = session.sql(&wrong).await.unwrap_err();
    assert!(error.to_string().contains("no option 'aws.secret_key_of_mine'"), "{error}");
    assert!(!format!("{error:?}").contains("very-secret"), "{error:?}");
    let right = format!("{create} {}", options("aws.secret_access_key"));
    session.sql(&right).await.unwrap();
    assert_eq!(sum(&session, "SELECT sum(i) FROM t").await.unwrap(), 500_500);
    let glob = "SELECT sum(i) FROM 's3://bucket/*.parquet'";
    assert_eq!(sum(&session, glob).await.unwrap(), 2_001_000);
    for sql in [
        "SHOW CREATE TABLE t",
        "SELECT * FROM information_schema.views",
        "SELECT * FROM information_schema.tables",
        "EXPLAIN VERBOSE SELECT * FROM t",
    ] {
        let rows = session.sql(sql).await.unwrap().collect().await.unwrap();
        let shown = arrow::util::pretty::pretty_format_batches(&rows).unwrap().to_string();
        assert!(!shown.contains("very-secret"), "{sql}: {shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_scheme_names_the_known_ones() {
    let session = almagest::session(&SessionOptions::default()).unwrap();
    let error = session.sql("SELECT * FROM 'ftp://host/a.parquet'").await.unwrap_err();
    assert!(error.to_string().contains("no store for 'ftp://'; use a local path"), "{error}");
}
