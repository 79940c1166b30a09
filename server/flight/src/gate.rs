//! Who asks: from the words in a request to the session of its client.
//!
//! A log-in with user and password gives a token, and a session that belongs to it. Tokens that were
//! made beforehand, and anonymous clients where these may come, have a session for each connection,
//! so that what one sets is not seen by another.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::OnceCell;
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request, Status};

use super::client::{Client, Identity};
use super::connections::Peer;
use super::credentials::Credentials;
use super::failures::Failures;
use super::logins::Logins;
use super::query::Query;
use super::requests::peer_of;
use super::seats::Seats;
use super::shared::Shared;
use super::status::status_of;
use super::users::{User, Users};

const AUTHORIZATION: &str = "authorization";
const ANONYMOUS: &str = "anonymous";
/// How long a token that a log-in gave is good at most.
const TOKEN_LIFE: Duration = Duration::from_secs(24 * 3600);
/// Failed log-ins, within a minute of each other, after which a user at an address must wait; and an
/// address, whoever it names.
const FAILURES_FREE: u32 = 5;
const PEER_FAILURES_FREE: u32 = 50;
/// Passwords that are checked at once: each takes a core for tens of milliseconds, and memory.
const CHECKS_MAX: usize = 4;

/// Who may come in.
#[derive(Debug)]
pub struct Entrance {
    /// Those with a name; none without.
    pub users: Option<Users>,
    /// Whether others may, too.
    pub anonymous: bool,
}

/// The gate.
pub struct Gate {
    shared: Arc<Shared>,
    users: Option<Arc<Users>>,
    anonymous: bool,
    logins: Logins<Client>,
    /// Sessions without a token of their own.
    connected: Mutex<HashMap<(String, u64), Connected>>,
    /// Queries that were begun by asking how far they are, by the connection of who asks.
    polled: Mutex<HashMap<u64, Vec<Weak<Query>>>>,
    /// Of a user at an address; and of an address, where many may work behind one.
    failures: Failures,
    peer_failures: Failures,
    checks: tokio::sync::Semaphore,
    seats: Arc<Seats>,
}

struct Connected {
    /// Made by the first who asks, while others on the same connection wait for it.
    client: Arc<OnceCell<Arc<Client>>>,
    used: Instant,
}

impl Connected {
    /// Whether it is used, though nothing more is asked.
    fn is_used(&self) -> bool {
        match self.client.get() {
            Some(client) => client.is_running(),
            None => Arc::strong_count(&self.client) > 1,
        }
    }
}

impl Gate {
    /// The gate to what is shared.
    pub fn new(shared: Arc<Shared>, entrance: Entrance) -> Self {
        let limits = &shared.limits;
        Self {
            users: entrance.users.map(Arc::new),
            anonymous: entrance.anonymous,
            logins: Logins::new(
                limits.idle_max,
                TOKEN_LIFE,
                limits.sessions_max,
                Client::is_running,
            ),
            connected: Mutex::default(),
            polled: Mutex::default(),
            failures: Failures::new(FAILURES_FREE),
            peer_failures: Failures::new(PEER_FAILURES_FREE),
            checks: tokio::sync::Semaphore::new(CHECKS_MAX),
            seats: Seats::new(limits.sessions_max, limits.client_sessions_max),
            shared,
        }
    }

    /// Logs in with the words of a request: the token for all that follow.
    ///
    /// # Errors
    /// `Unauthenticated` for wrong words, `ResourceExhausted` for too many attempts or sessions.
    pub async fn log_in<T>(&self, request: &Request<T>) -> Result<String, Status> {
        let header = header_of(request.metadata())?;
        let identity = match header.map(Credentials::parse).transpose() {
            Err(problem) => return Err(Status::unauthenticated(problem)),
            Ok(None) if self.anonymous => anonymous(request.extensions()),
            Ok(None) => return Err(no_credentials()),
            Ok(Some(Credentials::Basic { user, password })) => {
                self.check_password(&user, password, peer(request.extensions())).await?
            }
            // a token that is good needs no other
            Ok(Some(Credentials::Bearer(token))) => {
                if self.logins.find(&token, Instant::now()).is_some() {
                    return Ok(token);
                }
                self.check_token(&token)?
            }
        };
        let client = self.made(identity).await?;
        self.logins.issue(client, Instant::now()).map_err(Status::resource_exhausted)
    }

    /// The session of whoever asks.
    ///
    /// # Errors
    /// As [`Gate::log_in`].
    pub async fn client<T>(&self, request: &Request<T>) -> Result<Arc<Client>, Status> {
        let header = header_of(request.metadata())?;
        let identity = match header.map(Credentials::parse).transpose() {
            Err(problem) => return Err(Status::unauthenticated(problem)),
            Ok(None) if self.anonymous => anonymous(request.extensions()),
            Ok(None) => return Err(no_credentials()),
            Ok(Some(Credentials::Basic { user, password })) => {
                self.check_password(&user, password, peer(request.extensions())).await?
            }
            Ok(Some(Credentials::Bearer(token))) => {
                if let Some(client) = self.logins.find(&token, Instant::now()) {
                    return Ok(client);
                }
                self.check_token(&token)?
            }
        };
        self.connected(identity, request.extensions()).await
    }

    /// Ends the session of whoever asks.
    pub fn close<T>(&self, request: &Request<T>) {
        let header = header_of(request.metadata()).ok().flatten();
        if let Some(Ok(Credentials::Bearer(token))) = header.map(Credentials::parse) {
            let client = self.logins.find(&token, Instant::now());
            if self.logins.close(&token) {
                client.iter().for_each(|client| client.close());
                return;
            }
        }
        if let Some(connection) = connection_of(request.extensions()) {
            self.close_connected(|(_, of), _| *of == connection);
        }
    }

    /// Ends the sessions without a token of their own that are such.
    fn close_connected(&self, mut is_such: impl FnMut(&(String, u64), &Connected) -> bool) {
        let mut connected = self.connected.lock();
        let closed = connected.extract_if(|key, session| is_such(key, session));
        let closed: Vec<_> = closed.map(|(_, session)| session.client).collect();
        drop(connected);
        closed.iter().filter_map(|client| client.get()).for_each(|client| client.close());
    }

    /// Remembers who asks how far a query is, as it ends with them until its rows are fetched.
    pub fn polls(&self, query: &Arc<Query>, extensions: &Extensions) {
        let Some(peer) = peer_of(extensions) else { return };
        let mut polled = self.polled.lock();
        if peer.is_over() {
            // nobody would end it any more
            query.abandon_soon();
            return;
        }
        let queries = polled.entry(peer.id).or_default();
        queries.retain(|known| known.strong_count() > 0);
        if !queries.iter().any(|known| known.as_ptr() == Arc::as_ptr(query)) {
            queries.push(Arc::downgrade(query));
        }
    }

    /// Ends the sessions of a connection that has ended, and what it polled for.
    pub fn disconnected(&self, connection: u64) {
        self.close_connected(|(_, of), _| *of == connection);
        for query in self.polled.lock().remove(&connection).unwrap_or_default() {
            if let Some(query) = query.upgrade() {
                query.abandon_soon();
            }
        }
    }

    /// Ends what nobody has used for long.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.logins.sweep(now).iter().for_each(|client| client.close());
        let idle_max = self.shared.limits.idle_max;
        let mut connected = self.connected.lock();
        // when what runs ends, it has been used until now
        let used = connected.values_mut().filter(|session| session.is_used());
        used.for_each(|session| session.used = now);
        drop(connected);
        self.close_connected(|_, session| now.duration_since(session.used) >= idle_max);
        let mut clients = self.logins.all();
        let connected = self.connected.lock();
        clients.extend(connected.values().filter_map(|session| session.client.get().cloned()));
        drop(connected);
        clients.iter().for_each(|client| client.sweep());
    }

    async fn connected(
        &self,
        identity: Identity,
        extensions: &Extensions,
    ) -> Result<Arc<Client>, Status> {
        let peer = peer_of(extensions);
        let peer = peer.ok_or_else(|| Status::internal("a request without a connection"))?;
        let key = (identity.name.clone(), peer.id);
        let client = self.place(key, &peer)?;
        let made = client.get_or_try_init(|| self.made(identity)).await?;
        match peer.is_over() {
            // it was made too late for the end of the connection to end it
            true => Err(over()),
            false => Ok(Arc::clone(made)),
        }
    }

    /// Where the session of a user on a connection is, or will be once it is made.
    fn place(&self, key: (String, u64), peer: &Peer) -> Result<Arc<OnceCell<Arc<Client>>>, Status> {
        let mut connected = self.connected.lock();
        if peer.is_over() {
            // nobody would end what is made now
            return Err(over());
        }
        let now = Instant::now();
        let session = connected.entry(key);
        let session = session.or_insert_with(|| Connected { client: Arc::default(), used: now });
        session.used = now;
        Ok(Arc::clone(&session.client))
    }

    /// A new session for who may have one more.
    async fn made(&self, identity: Identity) -> Result<Arc<Client>, Status> {
        // taken before anything is waited for
        let seat = self.seats.take(&identity.share).map_err(Status::resource_exhausted)?;
        let shared = Arc::clone(&self.shared);
        let making =
            self.shared.plan(async move { Client::try_new(shared, identity, seat).map(Arc::new) });
        let made = making.join().await;
        let made = made.map_err(|_| Status::internal("making a session failed"))?;
        made.map_err(|error| status_of(&error, &self.shared.access))
    }

    async fn check_password(
        &self,
        name: &str,
        password: String,
        peer: String,
    ) -> Result<Identity, Status> {
        let key = format!("{name} at {peer}");
        self.check_failures(&key, &peer)?;
        let Some(users) = self.users.clone() else { return Err(no_users()) };
        let _turn = self.checks.acquire().await.map_err(|_| Status::unavailable("it ends"))?;
        // others of the same name may have failed while this one waited for its turn
        self.check_failures(&key, &peer)?;
        let owned = name.to_string();
        let checking =
            tokio::task::spawn_blocking(move || users.verify_password(&owned, &password));
        let found = checking.await.map_err(|_| Status::internal("checking a password failed"))?;
        match found {
            Some(user) => {
                self.failures.succeeded(&key);
                Ok(identity_of(user))
            }
            None => {
                self.failures.failed(&key, Instant::now());
                self.peer_failures.failed(&peer, Instant::now());
                Err(self.refused())
            }
        }
    }

    /// Who has a token. One that is wrong is no failure of its address: nobody guesses 256 random bits,
    /// and a program that goes on with one that is over must not lock out those beside it.
    fn check_token(&self, token: &str) -> Result<Identity, Status> {
        let found = self.users.as_ref().and_then(|users| users.verify_token(token));
        found.map(identity_of).ok_or_else(|| self.refused())
    }

    fn check_failures(&self, key: &str, peer: &str) -> Result<(), Status> {
        let now = Instant::now();
        let wait = self.failures.check(key, now).err();
        let wait = wait.max(self.peer_failures.check(peer, now).err());
        match wait {
            None => Ok(()),
            Some(wait) => Err(Status::resource_exhausted(format!(
                "too many log-ins failed; wait for {} s",
                wait.as_secs() + 1
            ))),
        }
    }

    fn refused(&self) -> Status {
        self.shared.metrics.refused.inc();
        Status::unauthenticated("the user, password or token is wrong")
    }
}

fn identity_of(user: User) -> Identity {
    Identity { share: user.name.clone(), name: user.name, writes: user.writable }
}

fn anonymous(extensions: &Extensions) -> Identity {
    // whoever lets strangers in and names a folder to write in means them; without names, they are told
    // apart by where they are
    Identity { name: ANONYMOUS.into(), share: peer(extensions), writes: true }
}

fn over() -> Status {
    Status::cancelled("the connection has ended")
}

fn no_credentials() -> Status {
    Status::unauthenticated("log in with user and password, or send a token")
}

fn no_users() -> Status {
    Status::unauthenticated("this server knows no users; come without a name")
}

fn header_of(metadata: &MetadataMap) -> Result<Option<&str>, Status> {
    let header = metadata.get(AUTHORIZATION);
    let text = header.map(|value| value.to_str()).transpose();
    text.map_err(|_| Status::unauthenticated("the authorization is no text"))
}

/// Who is at the other end, for counting what it has and what fails.
fn peer(extensions: &Extensions) -> String {
    peer_of(extensions).map_or_else(|| "peer".into(), |peer| peer.name().into())
}

fn connection_of(extensions: &Extensions) -> Option<u64> {
    peer_of(extensions).map(|peer| peer.id)
}
