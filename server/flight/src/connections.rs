//! The connections that clients make: how many, from where, and whether they ask for anything.
//!
//! A connection costs a socket and memory though nothing is asked on it, and there are not many sockets.
//! So one address has a share of them; one on which no request comes ends after a short while, and one
//! on which none comes any more when a session would. That a client answers pings is no request.
//! Encrypted connections begin to count before they are.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::{self, Stream};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep};
use tonic::transport::server::Connected;

use super::gate::Gate;

/// KiB of messages that arrive at once, from all and from one address: others wait.
const ARRIVING_KIB_MAX: (usize, usize) = (512 << 10, 256 << 10);

/// How many connections there may be, and how long one may ask for nothing.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// From all addresses.
    pub count_max: usize,
    /// From one.
    pub of_address_max: usize,
    /// Until the first request.
    pub first_request: Duration,
    /// After the last.
    pub idle_max: Duration,
}

/// Who comes in, and how many are there.
#[derive(Debug)]
pub struct Door {
    limits: ConnectionLimits,
    last: AtomicU64,
    known: Mutex<Known>,
    arriving: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Known {
    count: usize,
    of_address: HashMap<String, OfAddress>,
}

#[derive(Debug)]
struct OfAddress {
    count: usize,
    arriving: Arc<Semaphore>,
}

impl Door {
    /// Nobody is there yet.
    pub fn new(limits: ConnectionLimits) -> Self {
        let arriving = Arc::new(Semaphore::new(ARRIVING_KIB_MAX.0));
        Self { limits, last: AtomicU64::new(0), known: Mutex::default(), arriving }
    }

    /// A connection from an address; none if it has its share, or there are too many.
    fn admit(self: &Arc<Self>, address: SocketAddr) -> Option<Peer> {
        let name = name_of(address.ip());
        let mut known = self.known.lock();
        let has = known.of_address.get(&name).map_or(0, |of| of.count);
        if known.count >= self.limits.count_max || has >= self.limits.of_address_max {
            return None;
        }
        known.count += 1;
        let of_address = known.of_address.entry(name.clone()).or_insert_with(|| OfAddress {
            count: 0,
            arriving: Arc::new(Semaphore::new(ARRIVING_KIB_MAX.1)),
        });
        of_address.count += 1;
        let arriving = [Arc::clone(&of_address.arriving), Arc::clone(&self.arriving)];
        drop(known);
        let (door, use_) = (Arc::clone(self), Mutex::new(Use::new()));
        let line = Line { name, door, use_, arriving, is_over: AtomicBool::new(false) };
        let id = self.last.fetch_add(1, Ordering::Relaxed);
        Some(Peer { id, line: Arc::new(line) })
    }
}

/// How messages and limits name who is at an address: not by the port, which changes.
fn name_of(ip: IpAddr) -> String {
    match ip.to_canonical() {
        // whoever has one address has the whole block
        IpAddr::V6(ip) => format!("peer {:x?}", &ip.segments()[..4]),
        IpAddr::V4(ip) => format!("peer {ip}"),
    }
}

/// A connection, as requests know it.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The number of the connection.
    pub id: u64,
    line: Arc<Line>,
}

/// What is known of a connection.
#[derive(Debug)]
struct Line {
    name: String,
    door: Arc<Door>,
    use_: Mutex<Use>,
    arriving: [Arc<Semaphore>; 2],
    is_over: AtomicBool,
}

#[derive(Debug)]
struct Use {
    /// Requests that are not answered.
    open: usize,
    /// When it began, or the last request ended.
    since: Instant,
    any: bool,
}

impl Use {
    fn new() -> Self {
        Self { open: 0, since: Instant::now(), any: false }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let mut known = self.door.known.lock();
        known.count -= 1;
        if let Some(of_address) = known.of_address.get_mut(&self.name) {
            of_address.count -= 1;
            if of_address.count == 0 {
                known.of_address.remove(&self.name);
            }
        }
    }
}

impl Peer {
    /// The address by which it is counted.
    pub fn name(&self) -> &str {
        &self.line.name
    }

    /// A request begins, which ends with what is given back.
    pub fn request(&self) -> Open {
        let mut use_ = self.line.use_.lock();
        use_.open += 1;
        use_.any = true;
        drop(use_);
        Open(Arc::clone(&self.line))
    }

    /// Room for messages that arrive: of its address, and of all.
    pub fn arriving(&self) -> &[Arc<Semaphore>; 2] {
        &self.line.arriving
    }

    /// Whether the connection has ended, though a request of it goes on.
    pub fn is_over(&self) -> bool {
        self.line.is_over.load(Ordering::Acquire)
    }

    /// When it will have asked for nothing too long.
    fn ends(&self) -> Instant {
        let use_ = self.line.use_.lock();
        let limits = &self.line.door.limits;
        match (use_.open, use_.any) {
            (0, false) => use_.since + limits.first_request,
            (0, true) => use_.since + limits.idle_max,
            _ => Instant::now() + limits.idle_max,
        }
    }
}

/// A request that is not answered yet.
#[derive(Debug)]
pub struct Open(Arc<Line>);

impl Drop for Open {
    fn drop(&mut self) {
        let mut use_ = self.0.use_.lock();
        use_.open -= 1;
        use_.since = Instant::now();
    }
}

/// The connections that come and are let in.
pub fn connections(
    listener: TcpListener,
    gate: Arc<Gate>,
    door: Arc<Door>,
) -> impl Stream<Item = io::Result<Connection>> {
    stream::unfold((listener, gate, door), |(listener, gate, door)| async move {
        loop {
            let (stream, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(cause) => {
                    // too many open files, perhaps: not as fast as possible
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    return Some((Err(cause), (listener, gate, door)));
                }
            };
            // whoever has too many is told so by the end of the connection: words would need a session
            let Some(peer) = door.admit(address) else { continue };
            // small answers go out at once
            let _ = stream.set_nodelay(true);
            let ends = Box::pin(tokio::time::sleep_until(peer.ends()));
            let connection = Connection { stream, peer, ends, gate: Arc::clone(&gate) };
            return Some((Ok(connection), (listener, gate, door)));
        }
    })
}

/// A connection, whose sessions end with it.
pub struct Connection {
    stream: TcpStream,
    peer: Peer,
    ends: Pin<Box<Sleep>>,
    gate: Arc<Gate>,
}

impl Connection {
    /// Whether nothing has been asked for too long.
    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        while self.ends.as_mut().poll(context).is_ready() {
            let ends = self.peer.ends();
            if ends <= Instant::now() {
                return true;
            }
            self.ends.as_mut().reset(ends);
        }
        false
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // before its sessions end, so that whoever makes one sees it then
        self.peer.line.is_over.store(true, Ordering::Release);
        self.gate.disconnected(self.peer.id);
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_over(context) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn door(count_max: usize, of_address_max: usize) -> Arc<Door> {
        let (first_request, idle_max) = (SECOND, 60 * SECOND);
        Arc::new(Door::new(ConnectionLimits { count_max, of_address_max, first_request, idle_max }))
    }

    fn from(ip: &str) -> SocketAddr {
        SocketAddr::new(ip.parse().unwrap(), 1)
    }

    #[tokio::test]
    async fn one_address_has_a_share_and_leaves_the_rest() {
        let door = door(3, 2);
        let first = door.admit(from("10.0.0.1")).unwrap();
        let second = door.admit(from("10.0.0.1")).unwrap();
        assert!(door.admit(from("10.0.0.1")).is_none());
        assert!(door.admit(from("::ffff:10.0.0.1")).is_none());
        let other = door.admit(from("2001:db8::1")).unwrap();
        assert!(door.admit(from("10.0.0.3")).is_none());
        drop(second);
        let third = door.admit(from("2001:db8::2")).unwrap();
        assert_eq!(third.name(), other.name());
        drop((first, other, third));
        let known = door.known.lock();
        assert_eq!((known.count, known.of_address.len()), (0, 0));
    }

    #[tokio::test]
    async fn a_connection_ends_that_asks_for_nothing() {
        let door = door(3, 2);
        let (before, peer) = (Instant::now(), door.admit(from("10.0.0.1")).unwrap());
        let is_between = |from: Instant, ends: Instant, time: Duration| {
            (from + time..=Instant::now() + time).contains(&ends)
        };
        assert!(is_between(before, peer.ends(), SECOND));
        let request = peer.request();
        let before = Instant::now();
        assert!(is_between(before, peer.ends(), 60 * SECOND));
        drop(request);
        let ends = peer.ends();
        assert!(is_between(before, ends, 60 * SECOND));
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert_eq!(peer.ends(), ends);
    }
}
