//! The proxy's side: one thread, one poll loop, any number of clients.
//!
//! Owns the listening socket, the clients' sockets, the greeting and the limits. It never waits for a
//! client: reads and writes do not block, what cannot be sent is queued, and a client that does not
//! read is dropped when its queue is over [`OUTBOX_LIMIT`]. What requests mean is the [`Service`]'s
//! business. It starts no thread: the host runs [`ServerLoop::run`] on one of its own.

mod connected;
mod disconnect;
mod listener;
mod memory;
mod outbox;
mod peer;
mod remote;
mod server_loop;
mod service;
mod waker;

pub use self::disconnect::{ClientId, Disconnect};
pub use self::listener::{Access, BindError, Listener};
pub use self::memory::answer_each;
pub use self::outbox::{ClientHandle, OUTBOX_LIMIT, QueueError};
pub use self::peer::Peer;
pub use self::remote::Remote;
pub use self::server_loop::{MAX_CLIENTS, ServerLoop};
pub use self::service::Service;
pub use self::waker::Waker;

#[cfg(test)]
mod tests;
