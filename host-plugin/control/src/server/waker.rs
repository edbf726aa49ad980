//! The bell that wakes the loop, from any thread.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// The bell's flag; in unit tests one whose stores others see late, as processors do it.
#[cfg(not(test))]
type Flag = AtomicBool;
#[cfg(test)]
type Flag = tests::LateFlag;

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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
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
