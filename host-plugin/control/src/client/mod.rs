//! The client's view of a connection: typed calls and a stream of events.
//!
//! Owns request ids, the greeting, and the pairing of replies with requests. It neither understands
//! nor keeps what it carries.

pub mod events;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use self::events::{EVENTS_LIMIT, Events};
use crate::messages::ids::StopId;
use crate::messages::message::{Call, ErrorKind, Message, Reply, Request, RequestId, WireError};
use crate::messages::session::{Hello, Welcome};
use crate::messages::state::{MAX_GLOBALS, ReadGlobals, Value};
use crate::text::seconds;
use crate::wire::codec::EncodeError;
use crate::wire::connection::{ConnectError, Connection, ConnectionError, Received, SendError, Sender};
use crate::wire::version::{PROTOCOL_VERSION, Side, version_mismatch};

/// How long [`Client::call`] waits for a reply.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the proxy may take to greet.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait for the reason behind a failed write.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Bytes of all globals of a module: the most of the longest numbers.
const GLOBALS_BYTES: usize = MAX_GLOBALS as usize * 64;

/// Why a call has no reply.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// The proxy says no; the connection lives.
    #[error(transparent)]
    Refused(#[from] WireError),
    /// The connection is over.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The request was not sent; the connection lives.
    #[error(transparent)]
    Request(#[from] EncodeError),
    /// Nothing came in time; a late reply is dropped.
    #[error("the proxy has not answered `{method}` within {} s", seconds(*waited))]
    Timeout {
        /// The request's name on the wire.
        method: &'static str,
        /// How long the caller waited.
        waited: Duration,
    },
    /// A reply to another question.
    #[error("the proxy answered `{asked}` with a reply to `{answered}`: this is a fault of the plugin")]
    Mismatch {
        /// The request's name on the wire.
        asked: &'static str,
        /// The reply's.
        answered: &'static str,
    },
    /// More than a module can have.
    #[error(
        "the proxy says that this module has {count} globals, {bytes} bytes so far: this is a fault of the plugin"
    )]
    Globals {
        /// How many the proxy says there are.
        count: u32,
        /// What it has sent of them, as [`Value::wire_size`] counts.
        bytes: usize,
    },
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Another protocol version.
    #[error("{0}")]
    Version(String),
    /// The proxy let nobody of this user in, or did not greet.
    #[error(transparent)]
    Call(#[from] CallError),
    /// There is nothing to connect to.
    #[error("the proxy has no socket")]
    NoSocket,
}

impl AttachError {
    /// Whether the proxy knows this user and will not have him.
    pub fn denied(&self) -> bool {
        match self {
            Self::Connect(ConnectError::Permission { .. }) => true,
            Self::Call(
                CallError::Refused(error) | CallError::Connection(ConnectionError::Refused(error)),
            ) => error.kind == ErrorKind::Denied,
            _ => false,
        }
    }

    /// Whether it is a plugin that answered.
    pub(crate) fn knows_protocol(&self) -> bool {
        let refused = matches!(
            self,
            Self::Call(CallError::Refused(_) | CallError::Connection(ConnectionError::Refused(_)))
        );
        refused || matches!(self, Self::Version(_))
    }
}

/// A greeted connection. Clones share it; the last one to go ends it.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    sender: Sender,
    shared: Arc<Shared>,
    next: AtomicU64,
    welcome: Welcome,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    calls: HashMap<RequestId, mpsc::Sender<Result<Reply, CallError>>>,
    fault: Option<ConnectionError>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection is over: whoever waits learns why, and so does whoever asks later.
    fn fail(&self, fault: ConnectionError) {
        let mut waiting = self.lock();
        let fault = waiting.fault.get_or_insert(fault).clone();
        for (_, call) in waiting.calls.drain() {
            let _ = call.send(Err(fault.clone().into()));
        }
    }

    fn answer(&self, id: RequestId, result: Result<Reply, CallError>) {
        if let Some(call) = self.lock().calls.remove(&id) {
            let _ = call.send(result);
        }
    }
}

impl Client {
    /// Connects to the socket at `path` and greets; `name` is the client's name and version for the
    /// proxy's audit log (`wasmdbg 0.1.0`).
    ///
    /// # Errors
    /// See [`AttachError`].
    pub fn unix(path: &Path, name: &str) -> Result<(Self, Events), AttachError> {
        Self::unix_within(path, name, HELLO_TIMEOUT)
    }

    /// As [`Client::unix`], with another limit than the usual ten seconds for the connection and the greeting
    /// together.
    ///
    /// # Errors
    /// As [`Client::unix`].
    pub fn unix_within(path: &Path, name: &str, patience: Duration) -> Result<(Self, Events), AttachError> {
        let start = Instant::now();
        let connection = Connection::unix(path, patience)?;
        let left = patience.saturating_sub(start.elapsed());
        Self::greet_within(connection, name, left).map_err(|error| match error {
            AttachError::Call(CallError::Timeout { method, .. }) => {
                CallError::Timeout { method, waited: patience }.into()
            }
            other => other,
        })
    }

    /// Greets over `connection`. [`Client::fault`] says why there are no further events.
    ///
    /// # Errors
    /// Another protocol version, a refusal, or silence.
    pub fn greet(connection: Connection, name: &str) -> Result<(Self, Events), AttachError> {
        Self::greet_within(connection, name, HELLO_TIMEOUT)
    }

    fn greet_within(
        connection: Connection,
        name: &str,
        patience: Duration,
    ) -> Result<(Self, Events), AttachError> {
        let Connection { sender, receiver } = connection;
        let shared = Arc::new(Shared::default());
        let (queue, events) = events::channel();
        let dispatcher = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("wasmdbg-events".into())
            .spawn(move || dispatch(&receiver, &dispatcher, &queue))
            .map_err(|error| CallError::from(ConnectionError::Io(error.to_string())))?;
        let hello = Hello { protocol: PROTOCOL_VERSION, client: name.to_owned() };
        let welcome = match call(&sender, &shared, 1, hello, patience) {
            Ok(welcome) => welcome,
            Err(CallError::Refused(error)) if error.kind == ErrorKind::Version => {
                return Err(AttachError::Version(error.message));
            }
            Err(error) => return Err(error.into()),
        };
        if welcome.protocol != PROTOCOL_VERSION {
            return Err(AttachError::Version(version_mismatch(
                Side::Client(name),
                PROTOCOL_VERSION,
                Side::Plugin(&welcome.plugin),
                welcome.protocol,
            )));
        }
        let inner = Inner { sender, shared, next: AtomicU64::new(2), welcome };
        Ok((Self { inner: Arc::new(inner) }, events))
    }

    /// What the proxy said of itself.
    pub fn welcome(&self) -> &Welcome {
        &self.inner.welcome
    }

    /// The proxy's process id here. [`Welcome::pid`] is the one in its own pid namespace.
    pub fn pid(&self) -> u32 {
        self.inner.sender.peer().unwrap_or(self.inner.welcome.pid)
    }

    /// Asks and waits for the reply, at most [`CALL_TIMEOUT`]. Any number of threads may call at once.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn call<R: Call>(&self, request: R) -> Result<R::Reply, CallError> {
        self.call_within(request, CALL_TIMEOUT)
    }

    /// [`Client::call`] with a limit of its own.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn call_within<R: Call>(&self, request: R, timeout: Duration) -> Result<R::Reply, CallError> {
        let id = self.inner.next.fetch_add(1, Ordering::Relaxed);
        call(&self.inner.sender, &self.inner.shared, id, request, timeout)
    }

    /// All globals of a stopped slot, by index.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn globals(&self, stop: StopId) -> Result<Vec<Value>, CallError> {
        let (mut globals, mut bytes) = (Vec::new(), 0);
        loop {
            let first = u32::try_from(globals.len()).unwrap_or(u32::MAX);
            let read = self.call(ReadGlobals { stop, first })?;
            bytes += read.globals.iter().map(Value::wire_size).sum::<usize>();
            if read.count > MAX_GLOBALS || bytes > GLOBALS_BYTES {
                return Err(CallError::Globals { count: read.count, bytes });
            }
            let more = !read.globals.is_empty();
            globals.extend(read.globals);
            // A plugin that does not tell how many there are has sent all of them.
            if !more || globals.len() >= read.count as usize {
                return Ok(globals);
            }
        }
    }

    /// Why the connection is over, if it is.
    pub fn fault(&self) -> Option<ConnectionError> {
        self.inner.shared.lock().fault.clone()
    }

    /// Ends the connection; calls under way fail.
    pub fn close(&self) {
        self.inner.sender.close();
    }
}

fn call<R: Call>(
    sender: &Sender,
    shared: &Shared,
    id: RequestId,
    request: R,
    timeout: Duration,
) -> Result<R::Reply, CallError> {
    let body: Request = request.into();
    let method = body.method();
    let (answer, receiver) = mpsc::channel();
    {
        let mut waiting = shared.lock();
        if let Some(fault) = &waiting.fault {
            return Err(fault.clone().into());
        }
        waiting.calls.insert(id, answer);
    }
    let patience = match sender.send(&Message::Request { id, body }) {
        Ok(()) => timeout,
        Err(SendError::Encode(error)) => {
            shared.lock().calls.remove(&id);
            return Err(error.into());
        }
        // The peer may have said why before it hung up: the reader knows.
        Err(SendError::Connection(_) | SendError::Stuck) => LAST_WORDS,
    };
    let reply = match receiver.recv_timeout(patience) {
        Ok(result) => result?,
        Err(RecvTimeoutError::Timeout) => {
            shared.lock().calls.remove(&id);
            return Err(CallError::Timeout { method, waited: timeout });
        }
        Err(RecvTimeoutError::Disconnected) => return Err(ConnectionError::Closed.into()),
    };
    reply
        .try_into()
        .map_err(|other: Box<Reply>| CallError::Mismatch { asked: method, answered: other.method() })
}

/// Hands on what comes in until the connection is over.
fn dispatch(receiver: &mpsc::Receiver<Received>, shared: &Shared, events: &events::Queue) {
    for received in receiver {
        match received {
            Ok((Message::Response { id, body }, _)) => shared.answer(id, Ok(body)),
            Ok((Message::Error { id: 0, error }, _)) => shared.fail(ConnectionError::Refused(error)),
            Ok((Message::Error { id, error }, _)) => shared.answer(id, Err(error.into())),
            Ok((Message::Event(event), bytes)) => {
                if !events.push(event, bytes) {
                    // Without a receiver the reader ends the connection.
                    shared.fail(ConnectionError::Flooded { bytes: EVENTS_LIMIT });
                    return;
                }
            }
            Ok((Message::Request { .. }, _)) => {
                let text = "the proxy sent a request: it is not a wasmdbg plugin, or another version of it";
                shared.fail(ConnectionError::Refused(WireError::new(ErrorKind::Malformed, text)));
            }
            Err(fault) => shared.fail(fault),
        }
    }
    shared.fail(ConnectionError::Closed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::session::Activity;

    /// The reader says that the connection is closed whatever it has said before.
    #[test]
    fn the_first_reason_for_an_end_is_kept() {
        let shared = Shared::default();
        let flooded = ConnectionError::Flooded { bytes: 7 };
        shared.fail(flooded.clone());
        shared.fail(ConnectionError::Closed);
        assert_eq!(shared.lock().fault, Some(flooded));
    }

    #[test]
    fn a_call_that_is_not_answered_leaves_nothing_behind() {
        let (ours, _theirs) = Connection::memory().unwrap();
        let shared = Shared::default();
        let error = call(&ours.sender, &shared, 7, Activity {}, Duration::ZERO).unwrap_err();
        assert!(matches!(error, CallError::Timeout { method: "activity", .. }), "{error}");
        assert!(shared.lock().calls.is_empty());
    }
}
