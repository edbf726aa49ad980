//! Until when contexts may wait for their filter, which has paused their transaction or is not done with
//! it. Pure bookkeeping: the time is an argument. Free while nothing waits.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use wasmdbg_control::ContextId;

/// The contexts of one virtual machine that wait, by the end of their time. Their clock stands still while
/// a debugger holds the virtual machine.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    waiting: BTreeSet<(Deadline, u32)>,
    /// How long the clock has stood still.
    held: Duration,
}

/// The end of a context's time, on the clock of [`Deadlines`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline(Instant);

impl Deadlines {
    /// `context` waits from `now` on for at most `limit`. `None`: that is for ever.
    pub(crate) fn add(&mut self, context: ContextId, now: Instant, limit: Duration) -> Option<Deadline> {
        let deadline = Deadline(now.checked_sub(self.held)?.checked_add(limit)?);
        self.waiting.insert((deadline, context.0));
        Some(deadline)
    }

    /// `context` waits no more.
    pub(crate) fn remove(&mut self, context: ContextId, deadline: Deadline) {
        self.waiting.remove(&(deadline, context.0));
    }

    /// When the next one's time is over.
    pub(crate) fn next(&self) -> Option<Instant> {
        let (Deadline(next), _) = self.waiting.first()?;
        next.checked_add(self.held)
    }

    /// Nothing waits.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The context whose time was over first. It waits no more.
    pub(crate) fn overdue(&mut self, now: Instant) -> Option<ContextId> {
        self.next().filter(|next| *next <= now)?;
        let (_, context) = self.waiting.pop_first()?;
        Some(ContextId(context))
    }

    /// A debugger held the virtual machine for `time`.
    pub(crate) fn hold(&mut self, time: Duration) {
        self.held = self.held.saturating_add(time);
    }

    /// Nothing waits any more.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const ONE: ContextId = ContextId(2);
    const OTHER: ContextId = ContextId(3);

    #[test]
    fn the_shortest_time_is_over_first_whatever_the_order() {
        let (mut deadlines, now) = (Deadlines::default(), Instant::now());
        assert_eq!((deadlines.next(), deadlines.overdue(now)), (None, None));
        let one = deadlines.add(ONE, now, 60 * SECOND).unwrap();
        deadlines.add(OTHER, now + SECOND, 30 * SECOND).unwrap();
        assert_eq!(deadlines.next(), Some(now + 31 * SECOND));
        assert_eq!(deadlines.overdue(now + 31 * SECOND - Duration::from_nanos(1)), None);
        assert_eq!(deadlines.overdue(now + 31 * SECOND), Some(OTHER));
        assert_eq!(deadlines.next(), Some(now + 60 * SECOND));
        assert_eq!(deadlines.overdue(now + 59 * SECOND), None);
        deadlines.remove(ONE, one);
        assert_eq!((deadlines.next(), deadlines.overdue(now + 61 * SECOND)), (None, None));
    }

    #[test]
    fn the_clock_stands_still_while_a_debugger_holds_the_machine() {
        let (mut deadlines, now) = (Deadlines::default(), Instant::now());
        deadlines.add(ONE, now, 60 * SECOND).unwrap();
        deadlines.hold(300 * SECOND);
        assert_eq!(deadlines.overdue(now + 301 * SECOND), None);
        assert_eq!(deadlines.next(), Some(now + 360 * SECOND));
        // One that comes afterwards has no more time than its own.
        deadlines.add(OTHER, now + 300 * SECOND, 10 * SECOND).unwrap();
        assert_eq!(deadlines.next(), Some(now + 310 * SECOND));
        assert_eq!(deadlines.overdue(now + 310 * SECOND), Some(OTHER));
    }

    #[test]
    fn a_limit_beyond_all_clocks_is_none() {
        let (mut deadlines, now) = (Deadlines::default(), Instant::now());
        assert_eq!(deadlines.add(ONE, now, Duration::MAX), None);
        assert_eq!(deadlines.next(), None);
    }
}
