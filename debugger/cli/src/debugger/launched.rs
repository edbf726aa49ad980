//! The proxy, when it is of this process: its filter starts when the breakpoints of the command line stand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wasmdbg_session::Session;

use crate::terminal::console::Console;

/// What starts the filter.
pub(crate) type Start = Box<dyn FnOnce(&Session, &mut Console) -> anyhow::Result<()>>;

/// A proxy that `wasmdbg run` has made.
pub(crate) struct LaunchedProxy {
    start: Option<Start>,
    played: Arc<AtomicBool>,
    plays: bool,
}

impl LaunchedProxy {
    /// `played` is set when all requests that it plays have been played, and [`Input::Wake`] follows; `plays`:
    /// there are such requests.
    ///
    /// [`Input::Wake`]: crate::terminal::input::Input::Wake
    pub(crate) fn new(start: Start, played: Arc<AtomicBool>, plays: bool) -> Self {
        Self { start: Some(start), played, plays }
    }

    /// Whether it plays requests, which it does once.
    pub(super) fn plays(&self) -> bool {
        self.plays
    }

    /// Whether all requests have been played.
    pub(super) fn is_played(&self) -> bool {
        self.played.load(Ordering::Acquire)
    }

    /// Starts the filter, the first time.
    pub(super) fn start(&mut self, session: &Session, console: &mut Console) -> anyhow::Result<()> {
        self.start.take().map_or(Ok(()), |start| start(session, console))
    }
}
