//! What the host of a loop brings with it.

use std::time::Instant;

use super::disconnect::{ClientId, Disconnect};
use super::outbox::ClientHandle;
use super::peer::Peer;
use crate::messages::message::{Request, RequestId};
use crate::messages::session::Hello;

/// What the host does with clients. All calls come from the loop's thread; none may wait.
pub trait Service {
    /// Whether this peer may use the socket.
    ///
    /// # Errors
    /// Why not; the peer is told.
    fn allow(&mut self, peer: &Peer) -> Result<(), String>;

    /// A peer was turned away, for the host's log. It never was a client.
    fn refused(&mut self, peer: &Peer, reason: &str);

    /// A client has greeted; its version is right and its [`Welcome`](crate::messages::session::Welcome) is on its way.
    fn connected(&mut self, client: ClientHandle, peer: Peer, hello: Hello);

    /// A client asks. Answer through its handle, now or later, from any thread.
    fn request(&mut self, client: ClientId, id: RequestId, request: Request);

    /// A client that had greeted is gone.
    fn disconnected(&mut self, client: ClientId, why: &Disconnect);

    /// Once in each turn of the loop, after the messages of that turn.
    fn tick(&mut self, now: Instant);

    /// When the next turn must come if nothing else happens.
    fn next_tick(&self) -> Option<Instant>;
}
