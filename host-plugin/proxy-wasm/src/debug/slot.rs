//! A slot as other threads see it: what it is, whom it serves, and the ways to reach its thread. The
//! thread itself is [`super::worker`].
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Instant;

use wasmdbg_control::breakpoints::{Breakpoint, Planted, PlantedBreakpoints};
use wasmdbg_control::server::ClientHandle;
use wasmdbg_control::status::SlotInfo;
use wasmdbg_control::stop::Context;
use wasmdbg_control::transactions::{TransactionInfo, TransactionState};
use wasmdbg_control::{FilterId, ModuleHash, ModulePc, RequestId, SessionId, SlotId, StopId, TransactionId};
use wasmtime::EngineWeak;

use crate::embedder::{RequestFacts, Transaction};
use crate::outcome::{Action, Outcome, StreamType};
use crate::vm::entry::Callback;
use crate::vm::mailbox::Letter;

/// Called on the slot's thread with the result of a callback, as the last thing the slot does for it.
pub type Done = Box<dyn FnOnce(Outcome) + Send>;

/// Called on the slot's thread when something else (a tick) decided about the parked transaction, in one direction
/// or as a whole. Never
/// gets [`Action::Pause`].
pub type EffectSink = Box<dyn FnMut(Option<StreamType>, Action) + Send>;

/// How a transaction of the debug lane ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ending {
    /// The status that the client got, when there was one.
    pub status: Option<u32>,
    /// The client had gone before the end.
    pub aborted: bool,
}

/// The answer to work that was handed over. Dropped without one, it says that the callback failed: no
/// transaction waits for a thread that is gone.
pub(crate) struct Reply(Option<Done>);

impl Reply {
    pub(crate) fn new(done: Done) -> Self {
        Self(Some(done))
    }

    pub(crate) fn send(mut self, action: Action) {
        self.answer(action);
    }

    fn answer(&mut self, action: Action) {
        if let Some(done) = self.0.take() {
            done(Outcome { action, effects: Vec::new() });
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.answer(Action::Failed);
    }
}

/// What a slot's thread does, one after the other.
pub(crate) enum Job {
    /// A transaction begins.
    Bind { transaction: Box<dyn Transaction>, effects: EffectSink },
    /// A callback of the bound transaction.
    Call { callback: Callback, done: Reply },
    /// Something for the root context.
    Post { letter: Letter, done: Reply },
    /// The bound transaction is over: done, log, delete.
    End { ending: Ending, done: Reply },
    /// Something in [`Slot`] has changed.
    Look,
}

/// See the module.
pub(crate) struct Slot {
    pub(crate) id: SlotId,
    pub(crate) filter: FilterId,
    pub(crate) filter_name: String,
    pub(crate) module: ModuleHash,
    jobs: mpsc::Sender<Job>,
    engine: EngineWeak,
    /// The thread shall look at breakpoints, at interrupts, and at whether it is still wanted.
    attention: AtomicBool,
    /// No new transaction; the thread ends with the bound one.
    pub(crate) closing: AtomicBool,
    /// No thread could be made: the agent answers its jobs.
    pub(crate) orphan: AtomicBool,
    /// It has no thread yet: its session says when it starts. Others have nothing of it until then.
    pub(crate) held: AtomicBool,
    /// Bytes: code image and linear memory.
    pub(crate) memory: AtomicU64,
    state: Mutex<SlotState>,
}

/// What changes in a slot's life.
#[derive(Debug, Default)]
pub(crate) struct SlotState {
    /// It has passed configure.
    pub(crate) ready: bool,
    pub(crate) bound: Option<Bound>,
    /// The entry under way.
    pub(crate) running: Option<Running>,
    pub(crate) stop: Option<StopId>,
    /// Who wants the running callback stopped.
    pub(crate) interrupt: Option<SessionId>,
    /// Who waits for breakpoints to be planted.
    pub(crate) planting: Vec<Arc<PlantReply>>,
}

/// A transaction and whose it is.
#[derive(Debug, Clone)]
pub(crate) struct Bound {
    pub(crate) transaction: TransactionId,
    pub(crate) facts: RequestFacts,
    /// The session whose rule took it controls its stops.
    pub(crate) session: SessionId,
    pub(crate) since: Instant,
    pub(crate) activity: Activity,
    /// The slot has taken it.
    pub(crate) entered: bool,
    /// Its client is gone: nobody waits for it any more.
    pub(crate) unstoppable: bool,
}

/// What a bound transaction does between callbacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activity {
    Proxy,
    Queued(&'static str),
    Paused(&'static str),
}

/// An entry into the guest under way.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    pub(crate) context: Context,
    /// The export's name.
    pub(crate) callback: &'static str,
}

impl SlotState {
    /// The bound transaction, while a callback of it is under way.
    pub(crate) fn serving(&self) -> Option<&Bound> {
        let running = self.running.as_ref()?;
        self.bound.as_ref().filter(|_| matches!(running.context, Context::Stream { .. }))
    }
}

impl Slot {
    pub(crate) fn new(
        id: SlotId,
        filter: (FilterId, String, ModuleHash),
        engine: EngineWeak,
        memory: u64,
    ) -> (Self, mpsc::Receiver<Job>) {
        let (jobs, receiver) = mpsc::channel();
        let (filter, filter_name, module) = filter;
        let slot = Self {
            id,
            filter,
            filter_name,
            module,
            jobs,
            engine,
            attention: AtomicBool::new(true),
            closing: AtomicBool::new(false),
            orphan: AtomicBool::new(false),
            held: AtomicBool::new(false),
            memory: AtomicU64::new(memory),
            state: Mutex::default(),
        };
        (slot, receiver)
    }

    /// Never held while anything else is locked or runs.
    pub(crate) fn lock(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a job. The thread lives while a transaction is bound; a job that it does not get answers
    /// itself.
    pub(crate) fn send(&self, job: Job) {
        let _ = self.jobs.send(job);
    }

    /// Makes the thread look at once, whether it waits for a job or runs an endless loop. One that
    /// stands is told on its stop's own channel.
    pub(crate) fn poke(&self) {
        self.attention.store(true, Ordering::Release);
        self.send(Job::Look);
        // The next epoch check of the guest calls the debug handler.
        if let Some(engine) = self.engine.upgrade() {
            engine.increment_epoch();
        }
    }

    /// Whether there is something to look at; asked at each event, so cheap.
    pub(crate) fn take_attention(&self) -> bool {
        self.attention.load(Ordering::Relaxed) && self.attention.swap(false, Ordering::Acquire)
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Whether it serves, or is about to.
    pub(crate) fn is_open(&self) -> bool {
        !self.is_closing() && !self.held.load(Ordering::Acquire)
    }

    pub(crate) fn info(&self) -> SlotInfo {
        let state = self.lock();
        let (busy, stopped) = (state.bound.is_some(), state.stop.is_some());
        SlotInfo { id: self.id, filter: self.filter, busy, stopped }
    }

    /// The bound transaction as clients see it.
    pub(crate) fn transaction(&self) -> Option<TransactionInfo> {
        let state = self.lock();
        let bound = state.bound.as_ref()?;
        let name = |callback: &str| callback.to_owned();
        let running =
            state.running.as_ref().filter(|running| matches!(running.context, Context::Stream { .. }));
        let shown = match (running, state.stop, bound.activity) {
            (Some(running), Some(stop), _) => {
                TransactionState::Stopped { stop, callback: name(running.callback) }
            }
            (Some(running), None, _) => TransactionState::Running { callback: name(running.callback) },
            (None, _, Activity::Proxy) => TransactionState::Proxy,
            (None, _, Activity::Queued(callback)) => TransactionState::Queued { callback: name(callback) },
            (None, _, Activity::Paused(callback)) => TransactionState::Paused { callback: name(callback) },
        };
        Some(TransactionInfo {
            id: bound.transaction,
            method: bound.facts.shown_method(),
            path: bound.facts.shown_path(),
            client: client_of(&bound.facts),
            filter: self.filter,
            slot: self.id,
            state: shown,
            age_ms: u64::try_from(bound.since.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }
}

fn client_of(facts: &RequestFacts) -> String {
    match facts.client {
        Some(address) => std::net::SocketAddr::new(address, facts.client_port).to_string(),
        None => String::from("unknown"),
    }
}

/// The answer that a `set_breakpoints` request waits for. The first slot that has planted them gives it;
/// when all slots go before that, dropping it does.
#[derive(Debug)]
pub(crate) struct PlantReply {
    client: ClientHandle,
    id: RequestId,
    asked: Vec<Breakpoint>,
    answered: AtomicBool,
}

impl PlantReply {
    pub(crate) fn new(client: ClientHandle, id: RequestId, asked: Vec<Breakpoint>) -> Self {
        Self { client, id, asked, answered: AtomicBool::new(false) }
    }

    /// `resolve` says where a breakpoint stands.
    pub(crate) fn answer(&self, resolve: impl Fn(ModulePc) -> Result<ModulePc, String>) {
        if self.answered.swap(true, Ordering::AcqRel) {
            return;
        }
        let planted = |breakpoint: &Breakpoint| match resolve(breakpoint.pc) {
            Ok(pc) => Planted::Bound { id: breakpoint.id, pc },
            Err(reason) => Planted::Refused { id: breakpoint.id, reason },
        };
        let breakpoints = self.asked.iter().map(planted).collect();
        let _ = self.client.reply(self.id, PlantedBreakpoints { breakpoints });
    }
}

impl Drop for PlantReply {
    fn drop(&mut self) {
        self.answer(|_| Err(String::from("the debug lane of this module is gone: attach again")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_nobody_does_has_failed() {
        let (sender, receiver) = mpsc::channel();
        let reply =
            |sender: mpsc::Sender<Outcome>| Reply::new(Box::new(move |outcome| _ = sender.send(outcome)));
        drop(reply(sender.clone()));
        reply(sender).send(Action::Continue);
        let actions: Vec<Action> = receiver.iter().map(|outcome| outcome.action).collect();
        assert_eq!(actions, [Action::Failed, Action::Continue], "each once");
    }
}
