//! Ctrl-C as something to wait for: a recording ends well, whatever ends it.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// SIGINT, SIGTERM and SIGHUP, caught as long as it lives. One that comes after that ends the program, as
/// ever.
pub(crate) struct Interrupt {
    set: SigSet,
    signals: SignalFd,
}

impl Interrupt {
    /// Catches them from now on. Make it before any thread: threads inherit it.
    pub(crate) fn catch() -> Result<Self> {
        let mut set = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            set.add(signal);
        }
        set.thread_block().context("cannot block signals")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&set, flags).context("cannot wait for signals")?;
        Ok(Self { set, signals })
    }

    /// Waits for `time`, or until there is something to read from `other`; true when a signal came.
    pub(crate) fn wait(&mut self, time: Duration, other: Option<BorrowedFd<'_>>) -> bool {
        let signals = self.signals.as_fd();
        let mut fds = [signals, other.unwrap_or(signals)].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        let timeout = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
        // EINTR is as good as the time being over.
        matches!(poll(&mut fds, timeout), Ok(count) if count > 0) && fds[0].any() == Some(true)
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        // Those that came have had their effect.
        while matches!(self.signals.read_signal(), Ok(Some(_))) {}
        let _ = self.set.thread_unblock();
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::raise;

    use super::*;

    #[test]
    fn signals_are_caught_until_it_is_dropped() {
        let mut interrupt = Interrupt::catch().unwrap();
        assert!(!interrupt.wait(Duration::ZERO, None));
        for signal in [Signal::SIGINT, Signal::SIGHUP] {
            raise(signal).unwrap();
        }
        assert!(interrupt.wait(Duration::ZERO, None));
        // They would end this program if they were still to come.
        drop(interrupt);
        let blocked = SigSet::thread_get_mask().unwrap();
        assert!(!blocked.contains(Signal::SIGINT) && !blocked.contains(Signal::SIGTERM));
    }
}
