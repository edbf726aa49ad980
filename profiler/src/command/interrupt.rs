//! Ctrl-C as something to wait for: a recording ends well, whatever ends it.

use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// SIGINT, SIGTERM and SIGHUP, caught.
pub(crate) struct Interrupt {
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
        Ok(Self { signals })
    }

    /// Waits for `time`; true when a signal came.
    pub(crate) fn wait(&mut self, time: Duration) -> bool {
        let mut fds = [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
        // EINTR is as good as the time being over.
        matches!(poll(&mut fds, timeout), Ok(count) if count > 0)
    }
}
