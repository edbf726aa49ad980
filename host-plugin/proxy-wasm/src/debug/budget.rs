//! The CPU time of a guest in the debug lane: what it runs, not what it stands, and more of it while
//! somebody debugs. Once nobody does, the plain budget holds again.
use std::time::Duration;

use crate::vm::limits::thread_cpu;
use crate::vm::trap::Stop as Halt;

/// Code compiled for debugging is up to 14 times slower.
const FACTOR: u32 = 10;
/// And at least this while a session is attached.
const AT_LEAST: Duration = Duration::from_secs(10);

/// The time of one entry into the guest.
#[derive(Debug, Default)]
pub(crate) struct GuestTime {
    plain: Duration,
    used: Duration,
    /// The thread's clock when the guest last went on; none while it stands.
    since: Option<Duration>,
}

impl GuestTime {
    /// An entry begins.
    pub(crate) fn begin(&mut self, plain: Duration) {
        *self = Self { plain, used: Duration::ZERO, since: Some(thread_cpu()) };
    }

    /// The guest stands.
    pub(crate) fn pause(&mut self) {
        if let Some(since) = self.since.take() {
            self.used += thread_cpu().saturating_sub(since);
        }
    }

    /// It goes on.
    pub(crate) fn resume(&mut self) {
        self.since = Some(thread_cpu());
    }

    /// `free`: the time since the last look is not charged.
    pub(crate) fn check(&mut self, attached: bool, free: bool) -> Result<(), Halt> {
        if free {
            self.since = Some(thread_cpu());
            return Ok(());
        }
        self.pause();
        self.resume();
        let budget = if attached { self.plain.saturating_mul(FACTOR).max(AT_LEAST) } else { self.plain };
        if self.used > budget { Err(Halt::Cpu(budget)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spin(time: Duration) {
        let until = thread_cpu() + time;
        while thread_cpu() < until {}
    }

    const TICK: Duration = Duration::from_millis(5);

    #[test]
    fn standing_is_not_running() {
        let mut time = GuestTime::default();
        time.begin(TICK);
        time.pause();
        spin(2 * TICK);
        time.resume();
        assert_eq!(time.check(false, false), Ok(()));
        spin(2 * TICK);
        assert!(matches!(time.check(false, false), Err(Halt::Cpu(budget)) if budget == TICK));
    }

    #[test]
    fn a_session_makes_it_generous_and_its_end_takes_that_back() {
        let mut time = GuestTime::default();
        time.begin(TICK);
        spin(2 * TICK);
        assert_eq!(time.check(true, false), Ok(()));
        assert!(time.check(false, false).is_err());
    }

    #[test]
    fn what_is_stepped_is_free() {
        let mut time = GuestTime::default();
        time.begin(TICK);
        spin(2 * TICK);
        assert_eq!(time.check(false, true), Ok(()));
        assert_eq!(time.check(false, false), Ok(()));
    }
}
