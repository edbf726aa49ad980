//! The proxy's end of a connection in memory, for what is tested without a proxy.

use crate::messages::message::{Message, Reply, Request, WireError};
use crate::wire::connection::Connection;

/// Answers one client's requests in their order with what `answer` makes of each, until the client is gone. A
/// request for which there is nothing stays without an answer.
///
/// The other end is [`Connection::memory`]'s first one; a clone of this one's `sender` sends events meanwhile.
pub fn answer_each(
    connection: Connection,
    mut answer: impl FnMut(Request) -> Option<Result<Reply, WireError>>,
) {
    let Connection { sender, receiver } = connection;
    for message in receiver {
        let Ok((Message::Request { id, body }, _)) = message else { return };
        let message = match answer(body) {
            Some(Ok(body)) => Message::Response { id, body },
            Some(Err(error)) => Message::Error { id, error },
            None => continue,
        };
        if sender.send(&message).is_err() {
            return;
        }
    }
}
