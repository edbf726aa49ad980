//! The stops of all slots: who may resume each, and the channel on which the standing thread waits. A
//! stop's channel lives exactly as long as the stop, so that a late command finds nothing.
use std::sync::mpsc;
use std::time::{Duration, Instant};

use wasmdbg_control::server::ClientHandle;
use wasmdbg_control::stop::{ReleaseCause, ResumeMode};
use wasmdbg_control::{ErrorKind, Request, RequestId, SessionId, StopId, WireError};

/// Longest stop, whatever its controller does.
pub(crate) const HARD_CAP: Duration = Duration::from_secs(600);
/// How long before its end a stop is warned of, unless its deadline is short.
const WARNING: Duration = Duration::from_secs(10);

/// What a standing thread is told.
pub(crate) enum Command {
    /// Answer this at once: a request about the stop that does not end it.
    Query(ClientHandle, RequestId, Request),
    /// Go on.
    Resume(ClientHandle, RequestId, ResumeMode),
    /// Go on; nobody asked for it.
    Release(ReleaseCause),
    /// Something in the slot has changed.
    Look,
}

impl Command {
    /// Answers what reaches nobody.
    pub(crate) fn too_late(self, stop: StopId) {
        if let Self::Query(client, id, _) | Self::Resume(client, id, _) = self {
            let _ = client.refuse(id, gone(stop));
        }
    }
}

/// The error for a stop that is over.
pub(crate) fn gone(stop: StopId) -> WireError {
    WireError::new(ErrorKind::NotFound, format!("stop {stop} is over: its slot runs again"))
}

/// A slot that stands.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) controller: SessionId,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) opened: Instant,
    /// The sign of life after which the warning was sent.
    warned: Option<Instant>,
    released: bool,
}

/// What time demands of a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing before then.
    Later(Instant),
    /// Tell the controller; so much is left.
    Warn(Duration),
    /// Its time is up.
    Release(ReleaseCause),
    /// It has been told to go on.
    Over,
}

impl Standing {
    pub(crate) fn new(controller: SessionId, commands: mpsc::Sender<Command>) -> Self {
        Self { controller, commands, opened: Instant::now(), warned: None, released: false }
    }

    /// Lets the slot go on; once.
    pub(crate) fn release(&mut self, cause: ReleaseCause) -> bool {
        !std::mem::replace(&mut self.released, true) && self.commands.send(Command::Release(cause)).is_ok()
    }

    /// `alive`: the controller's last sign of life. However late this is asked, the warning comes before the
    /// release.
    pub(crate) fn due(&mut self, now: Instant, alive: Instant, deadline: Duration) -> Due {
        if self.released {
            return Due::Over;
        }
        let alive = alive.max(self.opened);
        let (by_silence, by_cap) = (alive + deadline, self.opened + HARD_CAP);
        let end = by_silence.min(by_cap);
        if self.warned != Some(alive) {
            let warning = end - WARNING.min(deadline / 3);
            if now < warning {
                return Due::Later(warning);
            }
            self.warned = Some(alive);
            return Due::Warn(end.saturating_duration_since(now));
        }
        if now < end {
            return Due::Later(end);
        }
        let capped = by_cap < by_silence;
        Due::Release(if capped { ReleaseCause::HardCap } else { ReleaseCause::Deadline })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing() -> (Standing, mpsc::Receiver<Command>) {
        let (sender, receiver) = mpsc::channel();
        (Standing::new(SessionId(1), sender), receiver)
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_sign_of_life_restarts_the_deadline_and_the_warning() {
        let (mut stop, _receiver) = standing();
        let opened = stop.opened;
        let deadline = 60 * SECOND;
        assert_eq!(stop.due(opened, opened, deadline), Due::Later(opened + 50 * SECOND));
        assert_eq!(stop.due(opened + 51 * SECOND, opened, deadline), Due::Warn(9 * SECOND));
        assert_eq!(stop.due(opened + 52 * SECOND, opened, deadline), Due::Later(opened + 60 * SECOND));
        let alive = opened + 55 * SECOND;
        assert_eq!(stop.due(opened + 61 * SECOND, alive, deadline), Due::Later(alive + 50 * SECOND));
        assert_eq!(stop.due(alive + 50 * SECOND, alive, deadline), Due::Warn(10 * SECOND));
        assert_eq!(stop.due(alive + 60 * SECOND, alive, deadline), Due::Release(ReleaseCause::Deadline));
    }

    #[test]
    fn a_short_deadline_warns_at_its_last_third() {
        let (mut stop, _receiver) = standing();
        let opened = stop.opened;
        let deadline = Duration::from_millis(300);
        let warning = opened + Duration::from_millis(200);
        assert_eq!(stop.due(opened, opened, deadline), Due::Later(warning));
        assert_eq!(stop.due(warning, opened, deadline), Due::Warn(Duration::from_millis(100)));
    }

    #[test]
    fn no_life_prolongs_a_stop_beyond_the_cap() {
        let (mut stop, receiver) = standing();
        let opened = stop.opened;
        let alive = opened + HARD_CAP - SECOND;
        assert_eq!(
            stop.due(opened + HARD_CAP, alive, 60 * SECOND),
            Due::Warn(Duration::ZERO),
            "late, but first"
        );
        let due = stop.due(opened + HARD_CAP, alive, 60 * SECOND);
        assert_eq!(due, Due::Release(ReleaseCause::HardCap));
        assert!(stop.release(ReleaseCause::HardCap));
        assert!(!stop.release(ReleaseCause::Detached), "only once");
        assert_eq!(stop.due(opened + HARD_CAP, alive, 60 * SECOND), Due::Over);
        assert!(matches!(receiver.try_recv(), Ok(Command::Release(ReleaseCause::HardCap))));
        assert!(receiver.try_recv().is_err());
    }
}
