//! A cluster with a key answers those who hold it, and nobody else.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use almagest::cluster::{Address, ClusterKey, LocalCluster, LocalOptions, session};
use almagest::{AlmagestOptions, ErrorKind, Scheduler, Session, SessionOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::shuffled_join::{JOIN, LONGEST, answer, outcome, with_tables, write_tables};
use almagest_tests::processes::{command, local_options};

const QUERIES: [&str; 2] = [
    "SELECT count(*), max(gaussian_filter(value, 1.5)) FROM 'data/image.h5'",
    "SELECT y / 100, count(*), avg(value) FROM 'data/image.h5' GROUP BY 1 ORDER BY 1",
];

fn key(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    ClusterKey::create(&path).unwrap();
    path
}

fn client(address: &Address, key: Option<&Path>) -> Session {
    let cluster_key = key.map(|path| path.display().to_string()).unwrap_or_default();
    let own = AlmagestOptions {
        scheduler: Scheduler::Cluster,
        cluster: address.url(),
        cluster_key,
        ..AlmagestOptions::default()
    };
    session(&SessionOptions { own, ..SessionOptions::default() }).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_the_key_is_answered_and_nobody_else_is() {
    let folder = tempfile::tempdir().unwrap();
    let right = key(folder.path(), "right");
    let options = LocalOptions { key_file: Some(right.clone()), ..local_options(2, 1) };
    let cluster = LocalCluster::start(&options).await.unwrap();

    let holder = client(cluster.address(), Some(&right));
    let here = session(&SessionOptions::default()).unwrap();
    for sql in QUERIES {
        let there = tokio::time::timeout(LONGEST, outcome(&holder, sql)).await.unwrap();
        assert_eq!(there.unwrap(), outcome(&here, sql).await.unwrap(), "{sql}");
    }

    write_tables(folder.path(), 20_000).await;
    let (holder, here) =
        (with_tables(holder, folder.path()).await, with_tables(here, folder.path()).await);
    assert_eq!(answer(&holder, JOIN).await, answer(&here, JOIN).await);

    let wrong = key(folder.path(), "wrong");
    for other in [None, Some(wrong.as_path())] {
        let stranger = client(cluster.address(), other);
        let told = tokio::time::timeout(LONGEST, outcome(&stranger, QUERIES[0])).await.unwrap();
        let told = told.unwrap_err();
        assert_eq!(told.kind(), ErrorKind::Unreachable, "{told}");
        assert!(told.message().contains("--cluster-key"), "{told}");
    }

    // Whoever connects to a port of theirs without the key is sent away, with nothing but an alert
    // of TLS; but for the one that this machine alone can reach, whose tasks need a secret.
    let own: Vec<SocketAddr> =
        cluster.process_ids().into_iter().flatten().flat_map(listening).collect();
    let (private, public): (Vec<_>, Vec<_>) =
        own.into_iter().partition(|address| address.ip() == IpAddr::from([127, 0, 0, 2]));
    assert_eq!((private.len(), public.len()), (2, 4), "{private:?} {public:?}");
    let scheduler = format!("127.0.0.1:{}", cluster.address().port).parse().unwrap();
    for address in public.into_iter().chain([scheduler]) {
        let said = first_byte(address).await;
        assert!(matches!(said, None | Some(TLS_ALERT)), "{address}: {said:?}");
    }
    assert_eq!(
        first_byte(private[0]).await,
        Some(0),
        "the settings of HTTP/2, of a length below 2^16"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_needs_the_key_of_its_scheduler() {
    let folder = tempfile::tempdir().unwrap();
    let right = key(folder.path(), "right");
    let options = LocalOptions { key_file: Some(right.clone()), ..local_options(1, 1) };
    let cluster = LocalCluster::start(&options).await.unwrap();
    let plain = LocalCluster::start(&local_options(1, 1)).await.unwrap();
    let wrong = key(folder.path(), "wrong");
    let cases = [
        (cluster.address(), None),
        (cluster.address(), Some(wrong.as_path())),
        (plain.address(), Some(right.as_path())),
    ];
    for (address, key) in cases {
        let mut command = Command::new(command());
        command.args(["executor", "--scheduler", &address.url(), "--cores", "1"]);
        command.args(key.iter().flat_map(|path| [Path::new("--cluster-key"), path]));
        let ended = command.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(said.contains("--cluster-key"), "{said}");
    }
}

const TLS_ALERT: u8 = 0x15;

/// What a server says first to someone who begins with HTTP/2 in the clear.
async fn first_byte(address: SocketAddr) -> Option<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut byte = [0];
    let read = tokio::time::timeout(Duration::from_secs(30), stream.read(&mut byte)).await;
    read.unwrap().ok().filter(|count| *count == 1).map(|_| byte[0])
}

/// The addresses at which a process listens.
fn listening(process: u32) -> Vec<SocketAddr> {
    let links = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap();
    let links = links.filter_map(|link| std::fs::read_link(link.unwrap().path()).ok());
    let sockets: Vec<String> = links
        .filter_map(|link| {
            Some(link.to_str()?.strip_prefix("socket:[")?.trim_end_matches(']').into())
        })
        .collect();
    const LISTENS: &str = "0A";
    let table = std::fs::read_to_string(format!("/proc/{process}/net/tcp")).unwrap();
    let rows = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
    let own = rows.filter(|row| row[3] == LISTENS && sockets.iter().any(|inode| inode == row[9]));
    own.map(|row| {
        let (ip, port) = row[1].split_once(':').unwrap();
        let ip = u32::from_str_radix(ip, 16).unwrap().to_ne_bytes();
        SocketAddr::from((ip, u16::from_str_radix(port, 16).unwrap()))
    })
    .collect()
}
