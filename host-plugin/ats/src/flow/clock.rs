//! When a virtual machine of this thread has something to do of itself: a tick, a letter for its root context, a
//! context that has waited too long. One timer for each filter, started only while there is something.

use std::time::{Duration, Instant};

use super::chain::Index;
use crate::ts::{Timer, TimerHandler};

/// See the module.
pub(super) struct Clock {
    timer: Timer,
    /// None: nothing until it is armed again.
    due: Option<Instant>,
    /// Events that are on their way, each for an earlier time than the one before it.
    coming: Vec<Instant>,
}

/// An event comes within this time, also where there is nothing to do before much later: a guest that asks for
/// less and less has at most one event for each millisecond of it.
const LONGEST: Duration = Duration::from_secs(1);
/// The server's events come no more exactly.
const EXACT: Duration = Duration::from_millis(1);

impl Clock {
    /// There is something to do at `due`, unless there is before.
    pub(super) fn arm<H: TimerHandler>(clock: &mut Option<Self>, index: Index, due: Instant) {
        if clock.is_none() {
            *clock = Timer::new::<H>(index as u64).map(|timer| Self { timer, due: None, coming: Vec::new() });
        }
        let Some(clock) = clock else { return };
        if clock.due.is_none_or(|before| due < before) {
            clock.due = Some(due);
            clock.start(due);
        }
    }

    /// Sees to an event at `due`, or to an earlier one.
    fn start(&mut self, due: Instant) {
        let now = Instant::now();
        let due = due.min(now + LONGEST);
        if self.coming.last().is_some_and(|event| *event <= due + EXACT) {
            return;
        }
        self.coming.push(due);
        // Rounded up: an early event would only start another.
        let milliseconds = due.saturating_duration_since(now).as_nanos().div_ceil(1_000_000);
        self.timer.start(u32::try_from(milliseconds).unwrap_or(u32::MAX).max(1));
    }

    /// An event has come: up to which time things are to be done now. None: it is for something later, or for
    /// nothing any more.
    pub(super) fn fired(&mut self, now: Instant) -> Option<Instant> {
        self.coming.pop();
        let due = self.due?;
        if due.saturating_duration_since(now) > EXACT {
            self.start(due);
            return None;
        }
        self.due = None;
        Some(now.max(due))
    }
}
