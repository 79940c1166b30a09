//! What becomes of queries and executors when the scheduler is lost, and comes back.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use almagest::cluster::{Address, Place, session_at};
use almagest::{ErrorKind, SessionOptions};

use crate::processes::command;
use crate::shuffled_join::{LONGEST, outcome};

/// A process that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn scheduler(port: u16) -> (Running, Address) {
    let mut child = Command::new(command())
        .args(["scheduler", "--quiet", "--port", &port.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
    (Running(child), url.trim().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_told_at_once_that_its_scheduler_is_gone_and_can_ask_its_next() {
    let (lost, address) = scheduler(0);
    let executor = Command::new(command())
        .args(["executor", "--quiet", "--heartbeat", "1", "--cores", "1"])
        .args(["--scheduler", &address.url()])
        .spawn();
    let _executor = Running(executor.unwrap());
    let session = session_at(&SessionOptions::default(), &Place::At(address.clone())).unwrap();
    let small = "SELECT count(*), sum(i) FROM generate_series(1, 1000) t(i)";
    let before = outcome(&session, small).await.unwrap();

    // long enough not to be done
    let long = "SELECT sum(sin(a.i * b.i)) FROM generate_series(1, 100000) a(i), \
                generate_series(1, 100000) b(i)";
    let asking = session.clone();
    let asked = tokio::spawn(async move { outcome(&asking, long).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    drop(lost);
    let told = tokio::time::timeout(LONGEST, asked).await.unwrap().unwrap().unwrap_err();
    assert_eq!(told.kind(), ErrorKind::Unreachable, "{told}");
    assert!(told.message().contains("run the statement again"), "{told}");

    let (_next, _) = scheduler(address.port);
    // what the executor still computed for the lost one is in nobody's way
    let again = tokio::time::timeout(LONGEST, outcome(&session, small)).await;
    assert_eq!(again.unwrap().unwrap(), before);
}
