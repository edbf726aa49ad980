//! What reaches the root context of a virtual machine from outside of its transactions. Each letter waits here, in
//! the order in which they came, until the thread that owns the virtual machine delivers it: also while the virtual
//! machine has started and no thread owns it yet. Pure bookkeeping: the time is an argument, and nothing enters the
//! guest.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::entry::Entry;

/// So many letters wait at most.
const LIMIT: usize = 1024;

/// Something for a root context. Each kind carries what its callback needs, and `Letter::entry` says which callback
/// that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Letter {
    /// The time of `proxy_set_tick_period_milliseconds` has passed.
    Tick,
    /// A message has come in a queue that the filter has registered.
    QueueReady {
        /// Its number.
        queue: u32,
    },
    /// The host calls a function of the filter, by a number that both know.
    ForeignFunction {
        /// Which.
        function: u32,
        /// What the filter reads as buffer 8 meanwhile.
        arguments: Vec<u8>,
    },
}

impl Letter {
    /// The callback that it is delivered to.
    pub(crate) fn entry(&self) -> Entry {
        match self {
            Self::Tick => Entry::Tick,
            Self::QueueReady { queue } => Entry::QueueReady { queue: *queue },
            Self::ForeignFunction { function, arguments } => Entry::ForeignFunction {
                function: *function,
                size: u32::try_from(arguments.len()).unwrap_or(u32::MAX),
            },
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    /// With the time since when it waits.
    waiting: VecDeque<(Instant, Letter)>,
    period: Option<Duration>,
    /// When the next tick is posted; none: never, or after the one that waits.
    tick: Option<Instant>,
}

impl Mailbox {
    /// `letter` is delivered after those that wait. False: it is left out, because too many wait.
    #[must_use]
    pub(crate) fn post(&mut self, letter: Letter, now: Instant) -> bool {
        self.admit(letter, now).is_ok()
    }

    /// How often it ticks.
    pub(crate) fn period(&self) -> Option<Duration> {
        self.period
    }

    /// `proxy_set_tick_period_milliseconds` at `now`: a shorter period than before takes effect at once, a longer one
    /// after the next tick. `None`: no tick comes any more.
    pub(crate) fn set_period(&mut self, period: Option<Duration>, now: Instant) {
        self.period = period;
        let next = period.and_then(|period| now.checked_add(period));
        self.tick = next.map(|next| self.tick.map_or(next, |tick| tick.min(next)));
        if period.is_none() {
            self.waiting.retain(|(_, letter)| *letter != Letter::Tick);
        }
    }

    /// Whether [`Mailbox::next_due`] has something.
    #[inline]
    pub(crate) fn is_due_ever(&self) -> bool {
        self.tick.is_some() || !self.waiting.is_empty()
    }

    /// When [`Mailbox::take`] has something; `None`: never.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let waiting = self.waiting.front().map(|(since, _)| *since);
        waiting.into_iter().chain(self.tick).min()
    }

    /// The letter that is delivered now: [`Mailbox::delivered`] follows.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Letter> {
        // A tick that finds the mailbox full comes later, so none is ever left out; and at most one waits.
        if self.tick.is_some_and(|tick| tick <= now) && self.post(Letter::Tick, now) {
            self.tick = None;
        }
        self.waiting.pop_front().map(|(_, letter)| letter)
    }

    /// The callback of a letter has returned, at `now`. The next tick comes a period after the last one has ended,
    /// however long that took.
    pub(crate) fn delivered(&mut self, now: Instant) {
        let waits = || self.waiting.iter().any(|(_, letter)| *letter == Letter::Tick);
        if self.tick.is_none() && !waits() {
            self.tick = self.period.and_then(|period| now.checked_add(period));
        }
    }

    /// Nobody reads it any more: what waits.
    pub(crate) fn close(&mut self) -> impl Iterator<Item = Letter> + use<> {
        std::mem::take(self).waiting.into_iter().map(|(_, letter)| letter)
    }

    /// As [`Mailbox::post`]. It comes back when too many wait.
    pub(crate) fn admit(&mut self, letter: Letter, now: Instant) -> Result<(), Letter> {
        if self.waiting.len() < LIMIT {
            self.waiting.push_back((now, letter));
            return Ok(());
        }
        Err(letter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(5);

    fn ticking(now: Instant) -> Mailbox {
        let mut mailbox = Mailbox::default();
        mailbox.set_period(Some(PERIOD), now);
        mailbox
    }

    #[test]
    fn a_tick_comes_a_period_after_the_last_one_has_ended() {
        let now = Instant::now();
        let mut mailbox = ticking(now);
        assert_eq!(mailbox.next_due(), Some(now + PERIOD));
        assert_eq!(mailbox.take(now + PERIOD - Duration::from_nanos(1)), None);
        // It comes late, and those that were missed are this one.
        assert_eq!(mailbox.take(now + 3 * PERIOD), Some(Letter::Tick));
        assert_eq!(mailbox.take(now + 3 * PERIOD), None);
        mailbox.delivered(now + 4 * PERIOD);
        assert_eq!(mailbox.next_due(), Some(now + 5 * PERIOD));
    }

    #[test]
    fn a_shorter_period_takes_effect_at_once_and_a_longer_one_after_the_next_tick() {
        let now = Instant::now();
        let mut mailbox = ticking(now);
        mailbox.set_period(Some(2 * PERIOD), now);
        assert_eq!(mailbox.next_due(), Some(now + PERIOD));
        mailbox.set_period(Some(PERIOD / 5), now);
        assert_eq!(mailbox.next_due(), Some(now + PERIOD / 5));
        mailbox.set_period(Some(2 * PERIOD), now);
        assert_eq!(mailbox.take(now + PERIOD), Some(Letter::Tick));
        mailbox.delivered(now + PERIOD);
        assert_eq!(mailbox.next_due(), Some(now + 3 * PERIOD));
    }

    #[test]
    fn no_period_ends_the_ticks_also_the_one_that_waits() {
        let now = Instant::now();
        let mut mailbox = ticking(now);
        assert!(mailbox.post(Letter::Tick, now));
        assert!(mailbox.is_due_ever());
        mailbox.set_period(None, now);
        assert_eq!((mailbox.is_due_ever(), mailbox.next_due()), (false, None));
        assert_eq!(mailbox.take(now + 9 * PERIOD), None);
        mailbox.delivered(now);
        assert_eq!(mailbox.next_due(), None);
    }

    #[test]
    fn what_waits_is_due_since_it_came_and_has_a_limit() {
        let now = Instant::now();
        let mut mailbox = ticking(now);
        let posted = (0..=LIMIT).filter(|_| mailbox.post(Letter::Tick, now + PERIOD / 2)).count();
        assert_eq!((posted, mailbox.next_due()), (LIMIT, Some(now + PERIOD / 2)));
        // The tick that finds it full is not lost: it comes after those that were there.
        for _ in 0..LIMIT {
            assert_eq!(mailbox.take(now + PERIOD), Some(Letter::Tick));
            mailbox.delivered(now + PERIOD);
        }
        assert_eq!(mailbox.take(now + PERIOD), Some(Letter::Tick));
        assert_eq!(mailbox.take(now + PERIOD), None);
        assert!(mailbox.post(Letter::Tick, now));
        assert_eq!(mailbox.close().collect::<Vec<_>>(), [Letter::Tick]);
        assert_eq!((mailbox.take(now + 9 * PERIOD), mailbox.period()), (None, None));
    }
}
