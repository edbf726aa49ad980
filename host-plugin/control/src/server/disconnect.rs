//! How clients are named, and why they go.

use crate::wire::codec::FrameError;

/// Names a client of a [`super::ServerLoop`]; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub u64);

/// Why a client is gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Disconnect {
    /// It closed its socket, or its process ended.
    #[error("it hung up")]
    HungUp,
    /// The host asked for it: [`super::ClientHandle::close`].
    #[error("closed by the plugin")]
    Closed,
    /// It broke the protocol.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// It sent a message that only a proxy sends.
    #[error("it sent a message that is no request")]
    NoRequest,
    /// It did not read.
    #[error("it does not read: {bytes} bytes were waiting for it")]
    Unread {
        /// What had piled up.
        bytes: usize,
    },
    /// It did not greet in time, or greeted with another version, or asked before it greeted.
    #[error("it did not greet: {0}")]
    NoGreeting(String),
    /// The system's reason.
    #[error("its socket failed: {0}")]
    Io(String),
}
