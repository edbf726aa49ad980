//! One end of a control connection: whole messages in and out, over a unix socket or in memory.
//!
//! Owns the thread that reads the socket. It knows frames and nothing of what they mean: requests and
//! replies are paired in [`crate::client`]. Blocking; the plugin uses [`crate::server`] instead.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use crate::messages::message::Message;
use crate::text::seconds;
use crate::wire::address::Address;
use crate::wire::codec::MAX_FRAME;
use crate::wire::codec::{Decoder, EncodeError, FrameError, encode};

/// How long a write may wait for a peer that does not read.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);

/// Why a connection could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is no file of this name.
    #[error(
        "there is no socket {path}: is the proxy running, with wasmdbg.so loaded and `control` enabled in its \
         settings?"
    )]
    Absent {
        /// The socket.
        path: PathBuf,
    },
    /// The file is there, the process that made it is not.
    #[error("nobody listens at {path}: the proxy that made this socket is gone, or its plugin has shut down")]
    Dead {
        /// The socket.
        path: PathBuf,
    },
    /// The socket's mode or a directory's keeps this user out.
    #[error(
        "no permission to connect to {path}: run as the proxy's user or root, or have yourself named in \
         `control.users` of the plugin's settings"
    )]
    Permission {
        /// The socket.
        path: PathBuf,
    },
    /// There is a listener, and it does not accept.
    #[error(
        "{path} accepts no connections: its proxy is stopped or hangs, or too many wait for it already (waited \
         {} s)", seconds(*waited)
    )]
    Busy {
        /// The socket.
        path: PathBuf,
        /// How long it was tried.
        waited: Duration,
    },
    /// Anything else.
    #[error("cannot connect to {path}: {source}")]
    Other {
        /// The socket.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl ConnectError {
    fn new(path: &Path, source: io::Error, waited: Duration) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Absent { path },
            io::ErrorKind::ConnectionRefused => Self::Dead { path },
            io::ErrorKind::PermissionDenied => Self::Permission { path },
            io::ErrorKind::WouldBlock => Self::Busy { path, waited },
            _ => Self::Other { path, source },
        }
    }
}

/// Why a connection is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionError {
    /// The peer closed it or died.
    #[error("the connection is closed: the other side ended it or is gone")]
    Closed,
    /// The peer sent what no peer of this protocol sends.
    #[error("the other side broke the protocol: {0}")]
    Frame(#[from] FrameError),
    /// The system says so.
    #[error("the connection failed: {0}")]
    Io(String),
    /// The peer sends events without end.
    #[error(
        "the proxy sends events faster than they are taken, {} MB are waiting: attach to fewer requests (`--when`)",
        bytes >> 20
    )]
    Flooded {
        /// What may wait ([`crate::events::EVENTS_LIMIT`]).
        bytes: usize,
    },
    /// The peer ended it and said why, with an error that answers no request.
    #[error("{0}")]
    Refused(crate::WireError),
}

/// Why a message was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The message itself; the connection lives.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The peer has not read for a while and the socket's buffer is full.
    #[error("the other side has not read for {} s", WRITE_PATIENCE.as_secs())]
    Stuck,
    /// The connection.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
}

/// A message and its bytes on the wire, or the one last reason why none will follow.
pub type Received = Result<(Message, usize), ConnectionError>;

/// Messages that wait for the receiver; while there are so many nothing is read.
const READ_AHEAD: usize = 16;

/// One end of a connection. Dropping both halves ends it.
#[derive(Debug)]
pub struct Connection {
    /// Sends messages; clone it for other threads.
    pub sender: Sender,
    /// Gives messages in the order in which they came, an error last.
    pub receiver: mpsc::Receiver<Received>,
}

impl Connection {
    /// Connects to the socket at `path`, which may be of any length; waits at most for `patience`.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub fn unix(path: &Path, patience: Duration) -> Result<Self, ConnectError> {
        let open = || Self::over(Address::of(path)?.connect(patience)?);
        open().map_err(|error| ConnectError::new(path, error, patience))
    }

    /// Two ends of a connection inside this process: client side and server side.
    ///
    /// # Errors
    /// The system has no more file descriptors or threads.
    pub fn memory() -> io::Result<(Self, Self)> {
        let (client, server) = UnixStream::pair()?;
        Ok((Self::over(client)?, Self::over(server)?))
    }

    /// Speaks over a connected stream, such as one from [`crate::server::Remote::connect`].
    ///
    /// # Errors
    /// The system has no more file descriptors or threads.
    pub fn over(stream: UnixStream) -> io::Result<Self> {
        stream.set_write_timeout(Some(WRITE_PATIENCE))?;
        let reading = stream.try_clone()?;
        let (into, receiver) = mpsc::sync_channel(READ_AHEAD);
        std::thread::Builder::new().name("wasmdbg-read".into()).spawn(move || read(reading, &into))?;
        Ok(Self { sender: Sender { half: Arc::new(Half { stream, writing: Mutex::new(()) }) }, receiver })
    }
}

/// Reads until the end, an error, or until nobody wants the messages.
fn read(mut stream: UnixStream, into: &mpsc::SyncSender<Received>) {
    let mut decoder = Decoder::new();
    let mut chunk = vec![0; 64 * 1024];
    let fault = 'stream: loop {
        match stream.read(&mut chunk) {
            Ok(0) => break decoder.finish().err().map_or(ConnectionError::Closed, Into::into),
            Ok(count) => decoder.push(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break ConnectionError::Closed,
            Err(error) => break ConnectionError::Io(error.to_string()),
        }
        loop {
            let before = decoder.undecoded();
            match decoder.next_message() {
                Ok(None) => break,
                Ok(Some(message)) => {
                    if into.send(Ok((message, before - decoder.undecoded()))).is_err() {
                        break 'stream ConnectionError::Closed;
                    }
                }
                Err(error) => break 'stream error.into(),
            }
        }
    };
    // The peer must not wait for a reader that is gone.
    let _ = stream.shutdown(Shutdown::Both);
    let _ = into.send(Err(fault));
}

/// The sending half of a [`Connection`]; the last clone to go ends the connection.
#[derive(Debug, Clone)]
pub struct Sender {
    half: Arc<Half>,
}

#[derive(Debug)]
struct Half {
    stream: UnixStream,
    /// Held for a whole frame, so that frames of several threads do not mix.
    writing: Mutex<()>,
}

impl Drop for Half {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

impl Sender {
    /// Sends one message; waits while the peer's buffer is full.
    ///
    /// # Errors
    /// After anything but [`SendError::Encode`] the connection is of no more use.
    pub fn send(&self, message: &Message) -> Result<(), SendError> {
        let frame = encode(message)?;
        debug_assert!(frame.len() <= MAX_FRAME + 4);
        let _writing = self.half.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = (&self.half.stream).write_all(&frame);
        sent.map_err(|error| {
            // Half a frame may be out: nothing can follow it.
            self.close();
            match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => SendError::Stuck,
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => ConnectionError::Closed.into(),
                _ => ConnectionError::Io(error.to_string()).into(),
            }
        })
    }

    /// The process that listens at the other end, by its id here; none when it is in a pid namespace that
    /// is not seen from here.
    pub fn peer(&self) -> Option<u32> {
        let credentials = getsockopt(&self.half.stream, PeerCredentials).ok()?;
        u32::try_from(credentials.pid()).ok().filter(|pid| *pid != 0)
    }

    /// Ends the connection for both sides.
    pub fn close(&self) {
        let _ = self.half.stream.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_does_not_read_is_not_waited_for_without_end() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let connection = Connection::over(ours).unwrap();
        // Ten seconds are not spent on seeing it.
        assert_eq!(connection.sender.half.stream.write_timeout().unwrap(), Some(WRITE_PATIENCE));
    }
}
