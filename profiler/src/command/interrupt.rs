//! Ctrl-C in every phase: what has made nothing yet, or has the samples already, ends at once, and a recording ends well.

use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, raise};
use wasmdbg_profiler::limits::Cancel;

/// SIGINT, SIGTERM and SIGHUP. A thread of its own takes them, so that they have an effect whatever the others wait
/// for. They end the program, as ever, but for the first one while samples are taken.
pub(crate) struct Interrupt {
    shared: Arc<Shared>,
    /// Readable after a signal that has not ended the program.
    woken: PipeReader,
}

#[derive(Default)]
struct Shared {
    /// The next signal does not end the program.
    held: AtomicBool,
    cancel: Cancel,
}

impl Interrupt {
    /// Takes them from now on. Make it before any other thread: threads inherit what is blocked.
    pub(crate) fn catch() -> Result<Self> {
        let mut set = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            set.add(signal);
        }
        set.thread_block().context("cannot block signals")?;
        let (woken, wake) = io::pipe().context("cannot wait for signals")?;
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || take(&set, &theirs, wake))
            .context("cannot wait for signals")?;
        Ok(Self { shared, woken })
    }

    /// Samples are taken from now on.
    pub(crate) fn hold(&self) {
        self.shared.held.store(true, Ordering::Relaxed);
    }

    /// Samples are taken no more: whoever does not want to wait for the graph has the recording.
    pub(crate) fn release(&self) {
        self.shared.held.store(false, Ordering::Relaxed);
    }

    /// Cancelled by the first signal while samples are taken.
    pub(crate) fn cancel(&self) -> Cancel {
        self.shared.cancel.clone()
    }

    /// Waits for `time`, or until there is something to read from `other`; true when a signal came.
    pub(crate) fn wait(&self, time: Duration, other: Option<BorrowedFd<'_>>) -> bool {
        let woken = self.woken.as_fd();
        let mut fds = [woken, other.unwrap_or(woken)].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        let timeout = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
        // EINTR is as good as the time being over.
        matches!(poll(&mut fds, timeout), Ok(count) if count > 0) && fds[0].any() == Some(true)
    }
}

fn take(set: &SigSet, shared: &Shared, mut wake: PipeWriter) {
    while let Ok(signal) = set.wait() {
        if shared.held.swap(false, Ordering::Relaxed) {
            shared.cancel.cancel();
            let _ = wake.write_all(&[0]);
            continue;
        }
        // As if it had never been blocked: it may well be ignored (nohup).
        let _ = set.thread_unblock();
        let _ = raise(signal);
        let _ = set.thread_block();
    }
}
