//! What a proxy says unasked, between the thread that reads it and the one that works on it.
//!
//! Owns the order of events and the bound on them. The reader never waits here: a reply that somebody waits
//! for can be behind events that the same somebody has yet to take. So a proxy that sends more than is taken
//! loses its connection.

use std::collections::VecDeque;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::messages::message::Event;

/// Bytes of events on the wire that may wait to be taken; as many as a proxy lets wait for a client
/// ([`crate::server::OUTBOX_LIMIT`]).
pub const EVENTS_LIMIT: usize = 16 << 20;

/// Called on the reader's thread, so it must not wait.
type Notify = Box<dyn Fn() + Send>;

/// The events of a connection in the proxy's order, and at last its end. Dropped, it has the rest thrown away.
#[derive(Debug)]
pub struct Events {
    shared: Arc<Shared>,
}

/// The reader's end.
#[derive(Debug)]
pub(crate) struct Queue {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    /// Each with its bytes on the wire.
    waiting: VecDeque<(usize, Event)>,
    bytes: usize,
    /// No more will come.
    over: bool,
    /// Nobody takes them.
    unwanted: bool,
    notify: Option<Notify>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("waiting", &self.waiting.len()).field("over", &self.over).finish()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Both ends.
pub(crate) fn channel() -> (Queue, Events) {
    let shared = Arc::<Shared>::default();
    (Queue { shared: Arc::clone(&shared) }, Events { shared })
}

impl Queue {
    /// Adds an event that had `bytes` on the wire; false when too much waits.
    pub(crate) fn push(&self, event: Event, bytes: usize) -> bool {
        let mut state = self.shared.lock();
        if state.unwanted {
            return true;
        }
        if state.bytes + bytes > EVENTS_LIMIT {
            return false;
        }
        state.bytes += bytes;
        state.waiting.push_back((bytes, event));
        self.shared.arrived.notify_all();
        // Who was notified of one event takes all there are.
        if state.waiting.len() == 1
            && let Some(notify) = &state.notify
        {
            notify();
        }
        true
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.over = true;
        self.shared.arrived.notify_all();
        if let Some(notify) = &state.notify {
            notify();
        }
    }
}

impl Events {
    /// The next event.
    ///
    /// # Errors
    /// None came within `timeout`, or the connection is over and none is left.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Event, RecvTimeoutError> {
        self.next_of(|_| true, timeout)
    }

    /// The next event that `wanted` accepts; others keep their places.
    ///
    /// # Errors
    /// As [`Events::recv_timeout`].
    pub fn next_of(
        &self,
        wanted: impl Fn(&Event) -> bool,
        timeout: Duration,
    ) -> Result<Event, RecvTimeoutError> {
        let end = Instant::now().checked_add(timeout);
        let mut state = self.shared.lock();
        // Those before this place have been looked at: nobody else takes any.
        let mut seen = 0;
        loop {
            if let Some(found) = (seen..state.waiting.len()).find(|&at| wanted(&state.waiting[at].1))
                && let Some((bytes, event)) = state.waiting.remove(found)
            {
                state.bytes -= bytes;
                return Ok(event);
            }
            seen = state.waiting.len();
            if state.over {
                return Err(RecvTimeoutError::Disconnected);
            }
            let left = end.map_or(timeout, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Err(RecvTimeoutError::Timeout);
            }
            let waited = self.shared.arrived.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for one event after the other, to the end of the connection.
    pub fn iter(&self) -> impl Iterator<Item = Event> + '_ {
        std::iter::from_fn(|| self.recv_timeout(Duration::MAX).ok())
    }

    /// The events that are there.
    pub fn try_iter(&self) -> impl Iterator<Item = Event> + '_ {
        std::iter::from_fn(|| self.recv_timeout(Duration::ZERO).ok())
    }

    /// Has `notify` called when an event comes while none waits, and at the end: who is notified takes all that
    /// there are. It is called at once too, for what came before, and must neither wait nor take events itself.
    pub fn on_arrival(&self, notify: impl Fn() + Send + 'static) {
        let mut state = self.shared.lock();
        notify();
        state.notify = Some(Box::new(notify));
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.unwanted = true;
        state.waiting = VecDeque::new();
        state.notify = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::messages::ids::{SlotId, StopId};
    use crate::messages::stop::{DeadlineWarning, ReleaseCause, Released};

    fn warning(stop: u64) -> Event {
        Event::DeadlineWarning(DeadlineWarning { stop: StopId(stop), remaining_ms: 0 })
    }

    fn released(stop: u64) -> Event {
        Event::Released(Released { stop: StopId(stop), slot: SlotId(0), cause: ReleaseCause::Resumed })
    }

    #[test]
    fn some_are_taken_before_others_and_the_others_keep_their_order() {
        let (queue, events) = channel();
        for event in [warning(1), released(1), warning(2), released(2)] {
            assert!(queue.push(event, 10));
        }
        let next = || events.next_of(|event| matches!(event, Event::Released(_)), Duration::ZERO);
        assert_eq!((next(), next()), (Ok(released(1)), Ok(released(2))));
        assert_eq!(next(), Err(RecvTimeoutError::Timeout));
        drop(queue);
        assert_eq!(next(), Err(RecvTimeoutError::Disconnected));
        assert_eq!(events.try_iter().collect::<Vec<_>>(), [warning(1), warning(2)]);
        assert_eq!(events.recv_timeout(Duration::MAX), Err(RecvTimeoutError::Disconnected));
    }

    #[test]
    fn too_many_are_refused_until_some_are_taken_and_none_once_nobody_takes_them() {
        let (queue, events) = channel();
        for stop in 0..16 {
            assert!(queue.push(warning(stop), 1 << 20));
        }
        assert!(!queue.push(warning(16), 1));
        assert_eq!(events.recv_timeout(Duration::ZERO), Ok(warning(0)));
        assert!(queue.push(warning(16), 1 << 20));
        drop(events);
        assert!((0..100).all(|stop| queue.push(warning(stop), 1 << 20)));
        assert!(queue.shared.lock().waiting.is_empty());
    }

    #[test]
    fn one_notice_is_given_for_all_that_wait_and_one_at_the_end() {
        let (queue, events) = channel();
        let notices = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&notices);
        events.on_arrival(move || _ = counter.fetch_add(1, Ordering::SeqCst));
        let count = || notices.load(Ordering::SeqCst);
        assert_eq!(count(), 1, "for what came before");
        (0..5).for_each(|stop| assert!(queue.push(warning(stop), 10)));
        assert_eq!(count(), 2);
        assert_eq!(events.try_iter().count(), 5);
        queue.push(warning(5), 10);
        assert_eq!(count(), 3);
        drop(queue);
        assert_eq!(count(), 4);
    }
}
