//! What stands between a connection and the service: requests are counted while they are open, and what
//! arrives of them is limited in time and memory.
//!
//! A request costs memory before anybody has looked at it: a message is kept until it is whole, and may
//! have 64 MiB. So a client is waited for only so long, which is less for one that claims much and brings
//! little, and all messages that arrive at once share a number of bytes, of which one address has a
//! part: who finds none left is read no further until there is. That the server is slow is not counted
//! against a client. Not here: what a request asks for.

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

/// How long a message may be waited for in all.
const MESSAGE_TIME: Duration = Duration::from_secs(120);
/// How long before it must have brought anything, and bytes that it must bring in each second after.
const MESSAGE_PACE: (Duration, u32) = (Duration::from_secs(10), 64 << 10);
/// Who looks so long after the time was over did not wait: it was busy elsewhere.
const LATE: Duration = Duration::from_secs(1);
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
        let request =
            request.map(|body| Body::new(Arriving::new(body, peer.arriving().clone(), between)));
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
    /// The beginning of a message for which room is wanted: who gets it takes the room at once.
    kept: Option<Frame<Bytes>>,
    /// What of the room is taken.
    taken: [Option<OwnedSemaphorePermit>; 2],
    message: Message,
    between: Duration,
    patience: Patience,
    overdue: Pin<Box<Sleep>>,
}

impl Arriving {
    fn new(body: Body, rooms: [Arc<Semaphore>; 2], between: Duration) -> Self {
        Self {
            body,
            rooms,
            wanted: None,
            kept: None,
            taken: [None, None],
            message: Message::default(),
            between,
            patience: Patience::new(Some(between)),
            overdue: Box::pin(tokio::time::sleep(between)),
        }
    }

    /// Looks at what has arrived: which message it is of, what is still to come, and how long it may take.
    fn arrived(&mut self, bytes: &Bytes) {
        let began = self.message.count(bytes.clone());
        if self.message.is_between() {
            self.taken = [None, None];
            self.patience = Patience::new(Some(self.between));
        } else if !began {
            self.patience.brings(bytes.len());
        } else {
            self.taken = [None, None];
            self.patience = Patience::new(None);
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
        loop {
            if let Some(wanted) = &mut self.wanted {
                self.taken = ready!(wanted.poll_unpin(context));
                self.wanted = None;
            }
            if let Some(frame) = self.kept.take() {
                return Poll::Ready(Some(Ok(frame)));
            }
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
                let until = self.patience.waits(Instant::now());
                if self.overdue.deadline() != until {
                    self.overdue.as_mut().reset(until);
                }
                ready!(self.overdue.as_mut().poll(context));
                return Poll::Ready(Some(Err(Status::deadline_exceeded(
                    "the request took too long to arrive; send it anew",
                ))));
            };
            self.patience.stops(Instant::now());
            if let Some(Ok(frame)) = &frame
                && let Some(bytes) = frame.data_ref()
            {
                self.arrived(bytes);
            }
            match frame {
                Some(Ok(frame)) if self.wanted.is_some() => self.kept = Some(frame),
                frame => return Poll::Ready(frame),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.kept.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.kept {
            Some(_) => SizeHint::default(),
            None => self.body.size_hint(),
        }
    }
}

/// How long a client has been waited for, and may be. Only the time counts in which there was nothing of
/// it to be read: not that in which nobody read.
#[derive(Debug)]
struct Patience {
    /// The time between messages; none within one.
    between: Option<Duration>,
    /// Bytes that have come.
    come: usize,
    waited: Duration,
    since: Option<Instant>,
}

impl Patience {
    fn new(between: Option<Duration>) -> Self {
        Self { between, come: 0, waited: Duration::ZERO, since: None }
    }

    fn brings(&mut self, bytes: usize) {
        self.come += bytes;
    }

    fn allowed(&self) -> Duration {
        self.between.unwrap_or_else(|| {
            let (first, pace) = MESSAGE_PACE;
            let earned = Duration::from_secs(self.come as u64) / pace;
            (first + earned).min(MESSAGE_TIME)
        })
    }

    /// There is nothing to be read. Until when that may be so.
    fn waits(&mut self, now: Instant) -> Instant {
        let left = self.allowed().saturating_sub(self.waited);
        let until = *self.since.get_or_insert(now) + left;
        if now <= until + LATE {
            return until;
        }
        (self.waited, self.since) = (Duration::ZERO, Some(now));
        now + self.allowed()
    }

    /// There is something.
    fn stops(&mut self, now: Instant) {
        let Some(since) = self.since.take() else { return };
        self.waited += now - since;
        if self.waited > self.allowed() + LATE {
            self.waited = Duration::ZERO;
        }
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

    #[test]
    fn a_client_is_waited_for_while_it_brings_something_and_nobody_else_keeps_it() {
        let (begin, second) = (Instant::now(), Duration::from_secs(1));
        let at = |seconds: u32| begin + second * seconds;
        // five bytes that claim much
        let mut claims = Patience::new(None);
        assert_eq!(claims.waits(at(0)), at(10));
        assert_eq!(claims.waits(at(9)), at(10));
        // what comes gives time, but not for ever
        claims.stops(at(9));
        claims.brings(128 << 10);
        assert_eq!(claims.waits(at(9)), at(12));
        claims.stops(at(12));
        claims.brings(64 << 20);
        assert_eq!(claims.waits(at(12)), at(120));
        // time in which nobody reads does not count
        claims.stops(at(13));
        assert_eq!(claims.waits(at(1000)), at(1107));
        // nor that in which nobody looked whether something came
        assert_eq!(claims.waits(at(2000)), at(2120));
        claims.stops(at(4000));
        assert_eq!(claims.waits(at(4000)), at(4120));
        let mut idle = Patience::new(Some(30 * second));
        idle.brings(1 << 30);
        assert_eq!(idle.waits(at(0)), at(30));
    }

    /// What is sent, frame by frame.
    struct Frames(tokio::sync::mpsc::UnboundedReceiver<Bytes>);

    impl HttpBody for Frames {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
        }

        fn is_end_stream(&self) -> bool {
            self.0.is_closed() && self.0.is_empty()
        }
    }

    async fn next(arriving: &mut Arriving) -> usize {
        let frame =
            std::future::poll_fn(|context| Pin::new(&mut *arriving).poll_frame(context)).await;
        frame.map_or(0, |frame| frame.unwrap().data_ref().unwrap().len())
    }

    #[tokio::test]
    async fn a_message_begins_when_there_is_room_for_it() {
        let rooms = [100, 100].map(|kib| Arc::new(Semaphore::new(kib)));
        let free = || rooms.each_ref().map(|room| room.available_permits());
        let message = Bytes::from(framed(&vec![7; 60 << 10]));
        // whole, and broken off before its end
        for end in [message.len(), 100] {
            let taken = room(rooms.clone(), 50 << 10).await;
            let (sender, frames) = tokio::sync::mpsc::unbounded_channel();
            let body = Body::new(Frames(frames));
            let mut arriving = Arriving::new(body, rooms.clone(), Duration::from_secs(600));
            for frame in [message.slice(..PREFIX_BYTES), message.slice(PREFIX_BYTES..end)] {
                sender.send(frame).unwrap();
            }
            drop(sender);
            assert!(next(&mut arriving).now_or_never().is_none());
            assert!(!arriving.is_end_stream());
            drop(taken);
            assert_eq!(next(&mut arriving).await, PREFIX_BYTES);
            assert_eq!(free(), [40, 40]);
            assert_eq!(next(&mut arriving).await, end - PREFIX_BYTES);
            assert!(arriving.is_end_stream());
            assert_eq!(next(&mut arriving).await, 0);
            drop(arriving);
            assert_eq!(free(), [100, 100]);
        }
    }

    #[tokio::test]
    async fn a_body_does_not_end_while_its_last_frame_waits_for_room() {
        let rooms = [100, 100].map(|kib| Arc::new(Semaphore::new(kib)));
        let taken = room(rooms.clone(), 50 << 10).await;
        let (sender, frames) = tokio::sync::mpsc::unbounded_channel();
        let mut arriving =
            Arriving::new(Body::new(Frames(frames)), rooms, Duration::from_secs(600));
        sender.send(Bytes::from(framed(&vec![7; 60 << 10])).slice(..100)).unwrap();
        drop(sender);
        assert!(next(&mut arriving).now_or_never().is_none());
        assert!(!arriving.is_end_stream());
        drop(taken);
        assert_eq!(next(&mut arriving).await, 100);
        assert!(arriving.is_end_stream());
    }
}
