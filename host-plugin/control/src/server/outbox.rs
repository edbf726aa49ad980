//! What waits to be sent to a client, and the bell that wakes the loop: the two things that other
//! threads touch. Nothing here blocks longer than a queue operation.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::{ClientId, Disconnect};
use crate::codec::{EncodeError, encode};
use crate::{Message, Reply, RequestId, WireError};

/// A client that lets more than this many bytes pile up does not read; it is dropped.
pub const OUTBOX_LIMIT: usize = 16 << 20;

/// Wakes the loop's thread, from any thread.
#[derive(Debug, Clone)]
pub struct Waker {
    bell: Arc<Bell>,
}

#[derive(Debug)]
struct Bell {
    event: EventFd,
    /// Saves the system call when a wake is under way.
    rung: AtomicBool,
    stop: AtomicBool,
}

impl Waker {
    pub(super) fn new() -> io::Result<Self> {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let bell = Bell { event, rung: AtomicBool::new(false), stop: AtomicBool::new(false) };
        Ok(Self { bell: Arc::new(bell) })
    }

    /// Makes the loop take a turn soon; [`super::Service::tick`] is part of it.
    pub fn wake(&self) {
        if !self.bell.rung.swap(true, Ordering::AcqRel) {
            // Fails only when the counter is full: then the loop is about to wake anyway.
            let _ = self.bell.event.write(1);
        }
    }

    /// Makes [`super::ServerLoop::run`] return, after it has flushed what it can without waiting.
    pub fn stop(&self) {
        self.bell.stop.store(true, Ordering::Release);
        self.wake();
    }

    pub(super) fn stopped(&self) -> bool {
        self.bell.stop.load(Ordering::Acquire)
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.bell.event.as_fd()
    }

    /// Before the loop looks for work, so that work which comes later rings again.
    pub(super) fn quiet(&self) {
        let _ = self.bell.event.read();
        self.bell.rung.store(false, Ordering::Release);
    }
}

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
    ending: Option<Disconnect>,
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
        let frame = encode(message)?;
        let mut outbox = self.lock();
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
