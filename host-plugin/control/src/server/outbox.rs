//! What waits to be sent to a client, and what is being worked on for it: any thread answers. Nothing here blocks
//! longer than a queue operation.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disconnect::{ClientId, Disconnect};
use super::waker::Waker;
use crate::messages::message::{Message, Reply, Request, RequestId, WireError};
use crate::wire::codec::{EncodeError, encode};

/// A client that lets more than this many bytes pile up does not read; it is dropped.
pub const OUTBOX_LIMIT: usize = 16 << 20;

/// Why a message was not queued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// The client is gone, or is about to be.
    #[error("the client is gone")]
    Gone,
    /// The message does not fit a frame; the client lives.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// A client to send to, from any thread, without waiting. Clones name the same client.
#[derive(Debug, Clone)]
pub struct ClientHandle {
    id: ClientId,
    outbox: Arc<Mutex<Outbox>>,
    waker: Waker,
}

#[derive(Debug, Default)]
struct Outbox {
    frames: VecDeque<Vec<u8>>,
    /// Bytes of the first frame that were sent.
    sent: usize,
    /// Bytes in all frames.
    bytes: usize,
    /// Requests that were handed to the service and have no answer yet. Their answers can come from any thread
    /// and all at once: what they will take counts before it is here.
    in_work: Vec<RequestId>,
    ending: Option<Disconnect>,
}

/// Whether a request takes long by its nature, so that it says nothing of a client's appetite.
fn takes_long(request: &Request) -> bool {
    matches!(request, Request::Attach(_) | Request::SetBreakpoints(_))
}

impl ClientHandle {
    pub(super) fn new(id: ClientId, waker: Waker) -> Self {
        Self { id, outbox: Arc::default(), waker }
    }

    /// Names the client in [`super::Service`]'s calls.
    pub fn id(&self) -> ClientId {
        self.id
    }

    /// Queues an answer.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub fn reply(&self, id: RequestId, reply: impl Into<Reply>) -> Result<(), QueueError> {
        self.send(&Message::Response { id, body: reply.into() })
    }

    /// Queues a refusal.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub fn refuse(&self, id: RequestId, error: WireError) -> Result<(), QueueError> {
        self.send(&Message::Error { id, error })
    }

    /// Queues any message.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub fn send(&self, message: &Message) -> Result<(), QueueError> {
        let frame = encode(message);
        let mut outbox = self.lock();
        outbox.answered(message);
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                drop(outbox);
                // Requests that were held back may be served now.
                self.waker.wake();
                return Err(error.into());
            }
        };
        if outbox.ending.is_some() {
            return Err(QueueError::Gone);
        }
        outbox.bytes += frame.len();
        if outbox.bytes > OUTBOX_LIMIT {
            outbox.ending = Some(Disconnect::Unread { bytes: outbox.bytes });
            outbox.frames.clear();
            outbox.bytes = 0;
        } else {
            outbox.frames.push_back(frame);
        }
        let gone = outbox.ending.is_some();
        drop(outbox);
        self.waker.wake();
        if gone { Err(QueueError::Gone) } else { Ok(()) }
    }

    /// Ends the connection once what is queued has been sent, or at once if the client does not read.
    pub fn close(&self) {
        self.end(Disconnect::Closed);
        self.waker.wake();
    }

    pub(super) fn end(&self, why: Disconnect) {
        self.lock().ending.get_or_insert(why);
    }

    pub(super) fn ending(&self) -> Option<Disconnect> {
        self.lock().ending.clone()
    }

    /// Bytes that wait.
    pub(super) fn backlog(&self) -> usize {
        self.lock().bytes
    }

    /// Requests that are being worked on.
    pub(super) fn in_work(&self) -> usize {
        self.lock().in_work.len()
    }

    /// A request goes to the service.
    pub(super) fn begin(&self, id: RequestId, request: &Request) {
        if !takes_long(request) {
            self.lock().in_work.push(id);
        }
    }

    /// Sends what the socket takes now. Only the loop's thread calls this; the queue is not locked during
    /// a write.
    pub(super) fn flush(&self, mut stream: &UnixStream) -> io::Result<()> {
        loop {
            let (frame, mut sent) = {
                let mut outbox = self.lock();
                let Some(frame) = outbox.frames.pop_front() else { return Ok(()) };
                (frame, std::mem::take(&mut outbox.sent))
            };
            let written = stream.write(&frame[sent..]);
            sent += *written.as_ref().unwrap_or(&0);
            let mut outbox = self.lock();
            if sent == frame.len() {
                outbox.bytes = outbox.bytes.saturating_sub(sent);
            } else if outbox.bytes > 0 {
                outbox.frames.push_front(frame);
                outbox.sent = sent;
            }
            match written {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outbox {
    /// Takes a request off the list when `message` answers it.
    fn answered(&mut self, message: &Message) {
        if let Message::Response { id, .. } | Message::Error { id, .. } = message
            && let Some(place) = self.in_work.iter().position(|known| known == id)
        {
            self.in_work.swap_remove(place);
        }
    }
}
