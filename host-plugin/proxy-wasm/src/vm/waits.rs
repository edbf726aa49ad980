//! What contexts wait for of their filter: in each direction that it paused, and in the end until it is done.
//! Pure bookkeeping.

use std::time::{Duration, Instant};

use wasmdbg_control::ContextId;

use super::deadlines::{Deadline, Deadlines};
use crate::config::Limits;
use crate::outcome::StreamType;

/// What a context can wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The filter paused the request.
    Request,
    /// The filter paused the response.
    Response,
    /// `proxy_on_done` returned false; `proxy_done` ends it.
    Done,
}

const ALL: [Wait; 3] = [Wait::Request, Wait::Response, Wait::Done];

impl Wait {
    /// A pause in this direction; none where a filter cannot pause.
    pub(crate) fn of_stream(stream: StreamType) -> Option<Self> {
        match stream {
            StreamType::Request => Some(Self::Request),
            StreamType::Response => Some(Self::Response),
            StreamType::Downstream | StreamType::Upstream => None,
        }
    }
}

/// What one context waits for.
#[derive(Debug, Default)]
pub(crate) struct Waits([Option<Until>; 3]);

/// The end of a wait's time; none without a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Until(Option<Deadline>);

impl Waits {
    pub(crate) fn contains(&self, wait: Wait) -> bool {
        self.0[wait as usize].is_some()
    }

    /// Its transaction is parked by the filter.
    pub(crate) fn paused(&self) -> bool {
        self.contains(Wait::Request) || self.contains(Wait::Response)
    }
}

/// The waits of all contexts of a virtual machine.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// Contexts that wait in one direction at least.
    paused: u64,
    pause_limit: Option<Duration>,
    done_limit: Option<Duration>,
    deadlines: Deadlines,
}

impl Waiting {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { pause_limit: limits.pause, done_limit: limits.done, ..Self::default() }
    }

    /// `context` begins to wait, at `now`.
    pub(crate) fn begin(&mut self, context: ContextId, waits: &mut Waits, wait: Wait, now: Instant) {
        self.end(context, waits, wait);
        let limit = if wait == Wait::Done { self.done_limit } else { self.pause_limit };
        let deadline = limit.and_then(|limit| self.deadlines.add(context, now, limit));
        let paused = waits.paused();
        waits.0[wait as usize] = Some(Until(deadline));
        self.paused += u64::from(!paused && waits.paused());
    }

    /// Whether it waited so: it does no more.
    pub(crate) fn end(&mut self, context: ContextId, waits: &mut Waits, wait: Wait) -> bool {
        let paused = waits.paused();
        let Some(until) = waits.0[wait as usize].take() else { return false };
        self.paused -= u64::from(paused && !waits.paused());
        // Two waits of one context that end at once are one entry.
        if let Until(Some(deadline)) = until
            && !waits.0.contains(&Some(until))
        {
            self.deadlines.remove(context, deadline);
        }
        true
    }

    /// It waits for nothing any more.
    #[inline]
    pub(crate) fn end_all(&mut self, context: ContextId, waits: &mut Waits) {
        if waits.0.iter().any(Option::is_some) {
            for wait in ALL {
                self.end(context, waits, wait);
            }
        }
    }

    /// Contexts that are parked by the filter.
    pub(crate) fn paused(&self) -> u64 {
        self.paused
    }

    /// When [`Waiting::overdue`] has something; `None`: nothing waits.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// A context waits, and not for ever.
    #[inline]
    pub(crate) fn any_deadline(&self) -> bool {
        !self.deadlines.is_empty()
    }

    /// A context that has waited as long as it may; its waits are still to be ended.
    pub(crate) fn overdue(&mut self, now: Instant) -> Option<ContextId> {
        self.deadlines.overdue(now)
    }

    /// A debugger held the virtual machine for `time`, which is not the filter's.
    pub(crate) fn hold(&mut self, time: Duration) {
        self.deadlines.hold(time);
    }

    /// There are no contexts any more.
    pub(crate) fn clear(&mut self) {
        self.paused = 0;
        self.deadlines.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXT: ContextId = ContextId(2);
    const LIMIT: Duration = Duration::from_secs(60);

    fn waiting() -> Waiting {
        Waiting { pause_limit: Some(LIMIT), done_limit: Some(2 * LIMIT), ..Waiting::default() }
    }

    #[test]
    fn directions_pause_and_go_on_by_themselves() {
        let (mut all, mut one, now) = (waiting(), Waits::default(), Instant::now());
        all.begin(CONTEXT, &mut one, Wait::Request, now);
        all.begin(CONTEXT, &mut one, Wait::Response, now + LIMIT);
        assert_eq!((all.paused(), all.next_deadline()), (1, Some(now + LIMIT)));
        assert!(all.end(CONTEXT, &mut one, Wait::Request));
        assert!(!all.end(CONTEXT, &mut one, Wait::Request));
        assert_eq!((all.paused(), all.next_deadline()), (1, Some(now + 2 * LIMIT)), "the response waits on");
        assert!(all.end(CONTEXT, &mut one, Wait::Response));
        assert_eq!((all.paused(), all.next_deadline()), (0, None));
    }

    #[test]
    fn the_time_of_one_direction_holds_when_the_other_goes_on() {
        let (mut all, mut one, now) = (waiting(), Waits::default(), Instant::now());
        all.begin(CONTEXT, &mut one, Wait::Request, now);
        all.begin(CONTEXT, &mut one, Wait::Response, now);
        all.end(CONTEXT, &mut one, Wait::Response);
        assert_eq!(all.next_deadline(), Some(now + LIMIT));
        assert_eq!(all.overdue(now + LIMIT), Some(CONTEXT));
        all.end_all(CONTEXT, &mut one);
        assert_eq!((all.paused(), all.any_deadline(), one.paused()), (0, false, false));
    }

    #[test]
    fn the_end_is_no_pause() {
        let (mut all, mut one, now) = (waiting(), Waits::default(), Instant::now());
        all.begin(CONTEXT, &mut one, Wait::Done, now);
        assert_eq!((all.paused(), one.paused(), all.next_deadline()), (0, false, Some(now + 2 * LIMIT)));
        all.end_all(CONTEXT, &mut one);
        assert!(!all.any_deadline());
    }

    #[test]
    fn a_pause_that_begins_again_has_its_time_anew() {
        let (mut all, mut one, now) = (waiting(), Waits::default(), Instant::now());
        all.begin(CONTEXT, &mut one, Wait::Request, now);
        all.begin(CONTEXT, &mut one, Wait::Request, now + LIMIT);
        assert_eq!((all.paused(), all.next_deadline()), (1, Some(now + 2 * LIMIT)));
    }
}
