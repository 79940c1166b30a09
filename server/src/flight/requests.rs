//! What stands between a connection and the service: requests are counted while they are open, and what
//! arrives of them is limited in time and memory.
//!
//! A request costs memory before anybody has looked at it: a message is kept until it is whole, and may
//! have 64 MiB. So a message has a time in which it must arrive, and all that arrive at once share a
//! number of bytes, of which one address has a part: who finds none left is read no further until there
//! is. Not here: what a request asks for.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures::FutureExt;
use futures::future::BoxFuture;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic::transport::server::TlsConnectInfo;

use super::connections::{Open, Peer};

/// How long a message may take to arrive.
const MESSAGE_TIME: Duration = Duration::from_secs(120);
/// How long until it begins to, where one is sure to come.
const BEGIN_TIME: Duration = Duration::from_secs(30);
/// Bytes of a message that are not counted while they arrive.
const UNCOUNTED_MAX: usize = 8 << 10;
/// Bytes before each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;
/// Calls to which a client sends as many messages as it likes, whenever it does.
const STREAMS: [&str; 3] = ["/DoPut", "/DoExchange", "/Handshake"];

/// A service behind this.
#[derive(Clone, Debug)]
pub struct Watched<S> {
    service: S,
    /// How long a client may take between messages of a stream.
    idle_max: Duration,
}

impl<S> Watched<S> {
    /// The service `service`.
    pub fn new(service: S, idle_max: Duration) -> Self {
        Self { service, idle_max }
    }
}

impl<S: NamedService> NamedService for Watched<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Watched<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Some(peer) = peer_of(request.extensions()) else {
            return self.service.call(request).boxed();
        };
        let open = peer.request();
        let is_stream = STREAMS.iter().any(|call| request.uri().path().ends_with(call));
        let between = if is_stream { self.idle_max } else { BEGIN_TIME };
        let request = request.map(|body| Body::new(Arriving::new(body, &peer, between)));
        let answer = self.service.call(request);
        async move {
            let answer = answer.await?;
            Ok(answer.map(|body| Body::new(Answering { body, _open: open })))
        }
        .boxed()
    }
}

/// Who is at the other end of a request's connection.
pub fn peer_of(extensions: &http::Extensions) -> Option<Peer> {
    let plain = extensions.get::<Peer>().cloned();
    let encrypted = || extensions.get::<TlsConnectInfo<Peer>>().map(|info| info.get_ref().clone());
    plain.or_else(encrypted)
}

/// What is answered. The request ends with it.
struct Answering {
    body: Body,
    _open: Open,
}

impl HttpBody for Answering {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What a client sends.
struct Arriving {
    body: Body,
    /// Room for bytes, of its address and of all.
    rooms: [Arc<Semaphore>; 2],
    wanted: Option<BoxFuture<'static, [Option<OwnedSemaphorePermit>; 2]>>,
    /// What of the room is taken.
    taken: [Option<OwnedSemaphorePermit>; 2],
    message: Message,
    between: Duration,
    overdue: Pin<Box<Sleep>>,
}

impl Arriving {
    fn new(body: Body, peer: &Peer, between: Duration) -> Self {
        Self {
            body,
            rooms: peer.arriving().clone(),
            wanted: None,
            taken: [None, None],
            message: Message::default(),
            between,
            overdue: Box::pin(tokio::time::sleep(between)),
        }
    }

    /// Looks at what has arrived: which message it is of, what is still to come, and how long it may take.
    fn arrived(&mut self, bytes: &Bytes) {
        let began = self.message.count(bytes.clone());
        if self.message.is_between() {
            self.taken = [None, None];
            self.overdue.as_mut().reset(Instant::now() + self.between);
        } else if began {
            self.taken = [None, None];
            self.overdue.as_mut().reset(Instant::now() + MESSAGE_TIME);
            let rest = self.message.rest;
            if rest > UNCOUNTED_MAX {
                self.wanted = Some(room(self.rooms.clone(), rest).boxed());
            }
        }
    }
}

/// Waits for room for so many bytes. Who wants more than there ever is gets all of it.
async fn room(rooms: [Arc<Semaphore>; 2], bytes: usize) -> [Option<OwnedSemaphorePermit>; 2] {
    const MOST: u32 = 64 << 10;
    let kib = u32::try_from(bytes >> 10).unwrap_or(MOST).clamp(1, MOST);
    let [of_address, of_all] = rooms;
    // that of the address first, so that who waits for it takes nothing from others
    let first = of_address.acquire_many_owned(kib).await.ok();
    [first, of_all.acquire_many_owned(kib).await.ok()]
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.overdue.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(Status::deadline_exceeded(
                "the request took too long to arrive; send it anew",
            ))));
        }
        if let Some(wanted) = &mut self.wanted {
            self.taken = ready!(wanted.poll_unpin(context));
            self.wanted = None;
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(bytes) = frame.data_ref()
        {
            self.arrived(bytes);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Where in its messages a stream of bytes is.
#[derive(Debug, Default)]
struct Message {
    /// What has come of the bytes before a message.
    prefix: [u8; PREFIX_BYTES],
    come: usize,
    /// Bytes of the message that are still to come.
    rest: usize,
}

impl Message {
    /// Counts what came. Whether a message has begun that is not whole.
    fn count(&mut self, mut bytes: Bytes) -> bool {
        let mut began = false;
        while bytes.has_remaining() {
            if self.rest > 0 {
                let some = self.rest.min(bytes.len());
                bytes.advance(some);
                self.rest -= some;
                continue;
            }
            began = false;
            if let Some(byte) = self.prefix.get_mut(self.come) {
                *byte = bytes.get_u8();
                self.come += 1;
                began = true;
            }
            if self.come == PREFIX_BYTES {
                let [_, length @ ..] = self.prefix;
                self.rest = u32::from_be_bytes(length) as usize;
                self.come = 0;
            }
        }
        began && !self.is_between()
    }

    /// Whether the last message is whole and no other has begun.
    fn is_between(&self) -> bool {
        self.rest == 0 && self.come == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(bytes: &[u8]) -> Vec<u8> {
        let mut message = vec![0];
        message.extend((bytes.len() as u32).to_be_bytes());
        message.extend(bytes);
        message
    }

    #[test]
    fn messages_are_told_apart_however_they_are_cut() {
        let two = [framed(b"first"), framed(b""), framed(b"second one")].concat();
        for cut in 1..two.len() {
            let mut message = Message::default();
            message.count(Bytes::copy_from_slice(&two[..cut]));
            let is_end = [10, 15].contains(&cut);
            assert_eq!(message.is_between(), is_end, "{cut}");
            message.count(Bytes::copy_from_slice(&two[cut..]));
            assert!(message.is_between(), "{cut}");
        }
        let mut message = Message::default();
        assert!(message.count(Bytes::copy_from_slice(&two[..7])));
        assert_eq!(message.rest, 3);
        // more of the same
        assert!(!message.count(Bytes::copy_from_slice(&two[7..9])));
        // its end, and the beginning of another
        assert!(message.count(Bytes::copy_from_slice(&two[9..24])));
        assert_eq!(message.rest, 6);
    }

    #[tokio::test]
    async fn who_finds_no_room_waits_for_it() {
        let rooms = [100, 150].map(|kib| Arc::new(Semaphore::new(kib)));
        let first = room(rooms.clone(), 80 << 10).await;
        let second = room(rooms.clone(), 40 << 10);
        tokio::pin!(second);
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        drop(second.await);
        assert_eq!(rooms.map(|room| room.available_permits()), [100, 150]);
    }
}
