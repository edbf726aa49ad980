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
use crate::{Message, Reply, Request, RequestId, WireError};

/// The bell's flag; in unit tests one whose stores others see late, as processors do it.
#[cfg(not(test))]
type Flag = AtomicBool;
#[cfg(test)]
type Flag = tests::LateFlag;

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
    rung: Flag,
    stop: AtomicBool,
}

impl Waker {
    pub(super) fn new() -> io::Result<Self> {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let bell = Bell { event, rung: Flag::new(false), stop: AtomicBool::new(false) };
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
    ///
    /// No wake is lost, because `rung` is only ever swapped, and swaps of one flag have an order that all threads
    /// agree on. A wake whose swap comes after this one finds `false` and writes: the next poll returns. One that
    /// comes before is read by this swap, directly or through the wakes between, so what was done before it is
    /// seen by the look that follows. A plain store here would not read: the look could miss work whose wake saw
    /// `rung` still set and did not write. Read before the swap: a write that this read takes away belongs to a
    /// wake that comes before, and `rung` is never left set without a write on its way.
    pub(super) fn quiet(&self) {
        let _ = self.bell.event.read();
        self.bell.rung.swap(false, Ordering::AcqRel);
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

#[cfg(test)]
mod tests {
    use std::thread::{self, ThreadId};

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    /// A flag whose plain stores stay in a buffer of the storing thread until its next swap, as x86 and all
    /// weaker processors may keep them.
    #[derive(Debug)]
    pub(super) struct LateFlag {
        memory: AtomicBool,
        buffer: Mutex<Option<(ThreadId, bool)>>,
    }

    impl LateFlag {
        pub(super) fn new(value: bool) -> Self {
            Self { memory: AtomicBool::new(value), buffer: Mutex::new(None) }
        }

        pub(super) fn swap(&self, value: bool, order: Ordering) -> bool {
            if self.buffer.lock().unwrap().is_some_and(|(thread, _)| thread == thread::current().id()) {
                self.drain();
            }
            self.memory.swap(value, order)
        }

        /// What `Waker` must not use.
        #[expect(dead_code, reason = "there for a change of `Waker` that uses it again")]
        pub(super) fn store(&self, value: bool, _: Ordering) {
            *self.buffer.lock().unwrap() = Some((thread::current().id(), value));
        }

        /// The buffer's turn has come.
        fn drain(&self) {
            if let Some((_, value)) = self.buffer.lock().unwrap().take() {
                self.memory.store(value, Ordering::Relaxed);
            }
        }
    }

    fn rings(waker: &Waker) -> bool {
        poll(&mut [PollFd::new(waker.fd(), PollFlags::POLLIN)], PollTimeout::ZERO).unwrap() == 1
    }

    /// On another thread, to its end.
    fn elsewhere(act: impl FnOnce() + Send) {
        thread::scope(|scope| scope.spawn(act).join().unwrap());
    }

    #[test]
    fn a_wake_just_after_the_loop_has_looked_rings_again() {
        let waker = Waker::new().unwrap();
        elsewhere(|| waker.wake());
        assert!(rings(&waker));
        // The loop's turn: it looks, and there is nothing.
        waker.quiet();
        assert!(!waker.stopped());
        elsewhere(|| waker.stop());
        waker.bell.rung.drain();
        assert!(rings(&waker), "the loop would wait for ever");
        waker.quiet();
        assert!(waker.stopped() && !rings(&waker));
    }

    #[test]
    fn many_wakes_before_a_look_ring_once() {
        let waker = Waker::new().unwrap();
        (0..3).for_each(|_| elsewhere(|| waker.wake()));
        waker.quiet();
        assert!(!rings(&waker));
        elsewhere(|| waker.wake());
        assert!(rings(&waker));
    }
}
