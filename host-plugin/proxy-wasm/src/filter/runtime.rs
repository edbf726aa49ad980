//! What all filters of a process share. Owns the engine of the fast lane and the way traps take to
//! the agent; knows no single filter.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};

use wasmdbg_control::TransactionId;
use wasmdbg_control::server::Waker;
use wasmdbg_control::text::escaped;

use super::engine::{EngineError, EpochThread, FastEngine};
use crate::config::Settings;
use crate::debug::WorkHistogram;
use crate::embedder::{Embedder, Level};
use crate::foreign::ForeignFunctions;
use crate::shared::Shared;
use crate::vm::trap::TrapReport;

/// Reports that may wait for the agent. More are logged without source lines.
const TRAPS_WAITING: usize = 256;

/// Settings, host and engine of the process.
pub struct Runtime {
    pub(crate) embedder: Arc<dyn Embedder>,
    pub(crate) settings: Settings,
    pub(crate) fast: FastEngine,
    pub(crate) shared: Shared,
    pub(crate) foreign: ForeignFunctions,
    traps: SyncSender<TrapReport>,
    /// Wakes the agent when a trap is there.
    pub(crate) bell: OnceLock<Waker>,
    releases: WorkHistogram,
}

impl Runtime {
    /// `thread_stack`: stack size in bytes of the host's threads that run callbacks. The receiver gets
    /// every trap: the agent's thread resolves it to source lines and logs it.
    ///
    /// # Errors
    /// No engine can be made on this machine or with this stack size.
    pub fn new(
        embedder: Arc<dyn Embedder>,
        settings: Settings,
        thread_stack: usize,
    ) -> Result<(Arc<Self>, Receiver<TrapReport>), EngineError> {
        let (traps, receiver) = sync_channel(TRAPS_WAITING);
        let fast = FastEngine::new(thread_stack, settings.debug.native)?;
        let (bell, releases, shared) = (OnceLock::new(), WorkHistogram::default(), Shared::default());
        let mut foreign = ForeignFunctions::usual();
        embedder.foreign_functions(&mut foreign);
        Ok((Arc::new(Self { embedder, settings, fast, shared, foreign, traps, bell, releases }), receiver))
    }

    /// The process-wide settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The host.
    pub fn embedder(&self) -> &Arc<dyn Embedder> {
        &self.embedder
    }

    /// What the thread is at that makes callbacks look at their CPU time.
    pub fn epoch_thread(&self) -> EpochThread {
        self.fast.epoch_thread()
    }

    /// How long event threads let parked transactions go on, in one piece. The host measures it, if it has
    /// such threads.
    pub fn releases(&self) -> &WorkHistogram {
        &self.releases
    }

    /// Writes one line to the host's log. Line ends and other control characters of `message` are shown and
    /// not obeyed: guests and clients choose parts of it.
    pub fn log(&self, level: Level, filter: &str, transaction: Option<TransactionId>, message: &str) {
        self.embedder.log(level, filter, transaction, &escaped(message));
    }

    /// Hands a trap to the agent. Never blocks: it is called on event threads.
    pub fn report(&self, report: TrapReport) {
        if let Err(TrySendError::Full(report) | TrySendError::Disconnected(report)) =
            self.traps.try_send(report)
        {
            let text = report.to_string();
            self.log(Level::Error, &report.filter_name, report.transaction, &text);
        } else {
            self.wake_agent();
        }
    }

    /// The agent looks at what is new, if there is one. Never blocks.
    pub(crate) fn wake_agent(&self) {
        if let Some(bell) = self.bell.get() {
            bell.wake();
        }
    }
}
