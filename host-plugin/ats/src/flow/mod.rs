//! The way of one transaction through the chain of filters.
//!
//! ```text
//!   READ_REQUEST_HDR    filters in order      create context, on_request_headers
//!   SEND_RESPONSE_HDR   filters in reverse    on_response_headers
//!   TXN_CLOSE           filters in reverse    on_done, on_log, on_delete
//! ```
//!
//! A [`Flow`] is touched on its home thread alone; what arrives elsewhere is posted there. Where it stands is
//! in its [`chain`]; here it goes from one filter to the next. It never re-enables its transaction inside a
//! callback, and always as the last thing: the next hooks run before that returns.

pub(crate) mod answer;
pub(crate) mod chain;
mod clock;
mod debugged;
pub(crate) mod errands;
mod fast;
pub(crate) mod machines;
pub(crate) mod parking;
pub(crate) mod release;
mod state;
pub(crate) mod walk;
pub(crate) mod watch;
pub(crate) mod worker;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use wasmdbg_proxy_wasm::{Action, LocalResponse, StreamType};

use self::answer::Answer;
use self::chain::{Index, Stage, Step};
use self::fast::response_callback;
use self::state::{Place, State};
use crate::plugin::{Plugin, plugin};
use crate::transaction;
use crate::ts::{self, Access, ArgSlot, Event, EventThread, Hook, Next, Parked, Txn, Visit};

/// Transactions that have a flow.
pub(crate) static IN_FLIGHT: AtomicU64 = AtomicU64::new(0);

/// One transaction on its way through the filters.
pub(crate) struct Flow {
    plugin: &'static Plugin,
    txn: Txn,
    home: EventThread,
    state: Mutex<State>,
}

/// Why a parked transaction may go on.
#[derive(Clone)]
pub(crate) enum Wake {
    /// Something else than its own callback has decided about what a filter parked, in one direction or as a
    /// whole.
    Decided(Index, Option<StreamType>, Action),
    /// A callback has returned in the debug lane.
    Returned(Index, Stage, Action),
    /// A virtual machine of a filter has come, or will not.
    Machine { index: Index, there: bool },
    /// A hook that came on another thread is to be handled.
    Hook(fn(&Arc<Flow>, &mut Access<'_>) -> Option<Event>),
    /// A panic of ours beside the work of a hook.
    #[cfg(test)]
    Fault,
}

/// Where a transaction names its flow, for hooks that come on another thread than the flow's home.
static MARK: OnceLock<ArgSlot<Flow>> = OnceLock::new();

/// Takes a place in transactions from the server, before it serves.
///
/// # Errors
/// The server has none left.
pub(crate) fn reserve_mark() -> Result<(), String> {
    if MARK.get().is_none() {
        // Nobody else sets it: one thread loads the plugin.
        let _ = MARK.set(ArgSlot::reserve()?);
    }
    Ok(())
}

/// The flow that a transaction names.
pub(crate) fn marked(access: &Access<'_>) -> Option<Arc<Flow>> {
    MARK.get()?.get(access)
}

/// Flows that were made before their request was read: nobody else needs to ask for one.
static EARLY: AtomicUsize = AtomicUsize::new(0);

impl Flow {
    /// TXN_START of a stream while somebody is attached.
    pub(crate) fn start(plugin: &'static Plugin, access: &mut Access<'_>, here: EventThread) {
        EARLY.fetch_add(1, Ordering::Relaxed);
        let flow = Self::new(plugin, access, here);
        flow.prepare_parking(access);
    }

    /// READ_REQUEST_HDR: a flow that was made at TXN_START, or a new one.
    pub(crate) fn of_request(plugin: &'static Plugin, access: &Access<'_>, here: EventThread) -> Arc<Self> {
        let early = worker::flow(access.txn())
            .or_else(|| if EARLY.load(Ordering::Relaxed) == 0 { None } else { marked(access) });
        match early.filter(|flow| flow.is_early()) {
            Some(flow) => flow,
            None => Self::new(plugin, access, here),
        }
    }

    /// The flow of a transaction in a later hook; none when its request could not be read.
    pub(crate) fn of(access: &Access<'_>) -> Option<Arc<Self>> {
        worker::flow(access.txn()).or_else(|| marked(access))
    }

    /// The flow of a transaction in a hook, on the calling thread, where it is kept.
    fn new(plugin: &'static Plugin, access: &Access<'_>, home: EventThread) -> Arc<Self> {
        IN_FLIGHT.fetch_add(1, Ordering::Relaxed);
        let state = Mutex::new(State::new(plugin.filters.len()));
        let flow = Arc::new(Self { plugin, txn: access.txn(), home, state });
        if let Some(mark) = MARK.get() {
            mark.set(access, &flow);
        }
        worker::keep(access.txn(), Arc::clone(&flow));
        flow
    }

    /// The transaction stays in its hook until this flow lets it go on.
    pub(crate) fn park<'hook>(&self, visit: Visit<'hook>) -> Next<'hook> {
        let (parked, next) = visit.park();
        self.state().parked = Some(parked);
        next
    }

    /// The thread where its hooks come and its fast-lane contexts live.
    pub(crate) fn home(&self) -> EventThread {
        self.home
    }

    /// It was made at TXN_START, and its request has not been read.
    fn is_early(&self) -> bool {
        self.state().chain.stage() == Stage::Start
    }

    /// Never contended, and never held while anything of a filter or of the server runs.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// READ_REQUEST_HDR: with which event to go on; none: parked.
    pub(crate) fn request(self: &Arc<Self>, access: &mut Access<'_>) -> Option<Event> {
        let early = {
            let mut state = self.state();
            state.chain.begin(Stage::Request);
            state.early
        };
        if early || self.plugin.lane.any_session() {
            self.choose_lanes(access);
        }
        self.run(access, Stage::Request)
    }

    /// SEND_RESPONSE_HDR, which comes again when a filter has answered in it.
    pub(crate) fn response(self: &Arc<Self>, access: &mut Access<'_>) -> Option<Event> {
        let answer = {
            let mut state = self.state();
            state.chain.begin(Stage::Response);
            state.answer.take()
        };
        if let Some(answer) = answer {
            answer.set_fields(access);
        }
        self.run(access, Stage::Response)
    }

    /// TXN_CLOSE, after [`Flow::abandon`]: the transaction waits for the slots of the debug lane that have it.
    fn end_debugged(self: &Arc<Self>, access: &mut Access<'_>) -> Option<Event> {
        if self.state().chain.ends_in_slot() {
            return None;
        }
        self.close(access)
    }

    /// TXN_CLOSE.
    pub(crate) fn close(self: &Arc<Self>, access: &mut Access<'_>) -> Option<Event> {
        self.state().chain.begin(Stage::Close);
        self.run(access, Stage::Close)
    }

    /// The chain, from the filter whose turn it is.
    fn run(self: &Arc<Self>, access: &mut Access<'_>, stage: Stage) -> Option<Event> {
        let step = self.state().chain.step(stage);
        self.walk(access, stage, step)
    }

    /// The chain, from behind a filter that has decided.
    fn go_on(
        self: &Arc<Self>,
        access: &mut Access<'_>,
        stage: Stage,
        index: Index,
        action: Action,
    ) -> Option<Event> {
        let step = self.follow(stage, index, action);
        self.walk(access, stage, step)
    }

    fn walk(self: &Arc<Self>, access: &mut Access<'_>, stage: Stage, mut step: Step) -> Option<Event> {
        while let Step::Turn(index) = step {
            step = self.turn_of(access, stage, index);
        }
        match step {
            Step::Turn(_) | Step::Park => None,
            Step::Pass => {
                if stage == Stage::Close {
                    worker::forget(self.txn);
                    transaction::end(self.txn);
                }
                Some(Event::Continue)
            }
            Step::Answer(response) => Some(self.answer(access, stage, *response)),
            Step::Unavailable => Some(self.answer(access, stage, answer::unavailable())),
            Step::Refuse => {
                self.drop_claims();
                answer::refuse(access);
                Some(Event::Error)
            }
        }
    }

    fn turn_of(self: &Arc<Self>, access: &mut Access<'_>, stage: Stage, index: Index) -> Step {
        let filter = &self.plugin.filters[index];
        let mut state = self.state();
        let place = &mut state.places[index];
        match (stage, &*place) {
            (Stage::Request, Place::Claimed(_)) => {
                let claimed = place.take();
                drop(state);
                match claimed {
                    Place::Claimed(claim) => self.debug_request(access, index, claim),
                    _ => self.follow(stage, index, Action::Continue),
                }
            }
            (Stage::Request, _) => {
                drop(state);
                match filter.inactive_reason() {
                    Some(_) => self.follow(stage, index, Action::Failed),
                    None if filter.is_service() => self.follow(stage, index, Action::Continue),
                    None => self.fast_request(access, index),
                }
            }
            (Stage::Response, Place::Fast(context)) if filter.wants_response_headers() => {
                let context = *context;
                drop(state);
                self.fast_response(access, index, context)
            }
            (Stage::Response, Place::Debug(seat)) if filter.wants_response_headers() => {
                let seat = Arc::clone(seat);
                drop(state);
                let callback = response_callback(access);
                self.hand_over(access, stage, index, &seat, callback)
            }
            (Stage::Close, Place::Fast(context)) => {
                let context = *context;
                drop(state);
                self.fast_close(access, index, context)
            }
            (Stage::Close, Place::Debug(_)) => {
                let debugged = place.take();
                drop(state);
                match debugged {
                    Place::Debug(seat) => self.debug_close(access, index, &seat),
                    _ => self.follow(stage, index, Action::Continue),
                }
            }
            _ => state.chain.follow(stage, Action::Continue, true),
        }
    }

    /// What a filter's decision means for the transaction.
    fn follow(&self, stage: Stage, index: Index, action: Action) -> Step {
        let mut state = self.state();
        if !matches!(action, Action::Failed) {
            return state.chain.follow(stage, action, true);
        }
        // Dropped after the borrow has ended: the end of a context in the debug lane takes locks.
        let lost = state.places[index].take();
        let step = state.chain.follow(stage, action, self.plugin.filters[index].config().fail_open);
        drop(state);
        drop(lost);
        step
    }

    /// Answers instead of the cache or the origin.
    fn answer(&self, access: &mut Access<'_>, stage: Stage, response: LocalResponse) -> Event {
        self.drop_claims();
        let answer = Answer::give(access, response);
        if !self.plugin.hooks_responses {
            self.plugin.continuation.add(access, Hook::SendResponseHeaders);
        }
        self.state().answer = Some(answer);
        // In the later hook CONTINUE would ignore the answer; in the first ERROR would close the connection.
        if stage == Stage::Request { Event::Continue } else { Event::Error }
    }

    /// What it waits for may have come: re-enables the transaction if so, after a panic of ours by the fail
    /// policy. At home, and only from [`crate::flow::release`].
    pub(crate) fn wake(self: Arc<Self>, wake: Wake) {
        // None: it stands in no hook, and nobody but the server lets it go on.
        let mut parked = self.state().parked.take();
        let event = catch_unwind(AssertUnwindSafe(|| self.woken(&mut parked, wake)))
            .unwrap_or_else(|panic| self.failed(parked.as_mut(), &ts::reason(&panic)));
        match (parked, event) {
            (Some(parked), Some(event)) => {
                // Its next hooks run before this returns.
                drop(self);
                parked.reenable(event);
            }
            (Some(parked), None) => self.state().parked = Some(parked),
            (None, _) => {}
        }
    }

    fn woken(self: &Arc<Self>, parked: &mut Option<Parked>, wake: Wake) -> Option<Event> {
        match wake {
            Wake::Decided(index, stream, action) => self.resume(parked, index, stream, action),
            Wake::Returned(index, stage, action) => self.called(parked, index, stage, action),
            Wake::Machine { index, there } => self.virtual_machine(parked, index, there),
            Wake::Hook(stage) => self.locked(parked, stage),
            #[cfg(test)]
            Wake::Fault => panic!("a fault of ours"),
        }
    }

    /// A panic of ours while the transaction was to go on, if it is parked: as in the hook where it stands.
    #[cold]
    fn failed(&self, parked: Option<&mut Parked>, reason: &str) -> Option<Event> {
        let Some(parked) = parked else {
            ts::error(&format!(
                "a fault of this plugin, please report it: a panic beside a transaction: {reason}"
            ));
            return None;
        };
        let hook = hook_of(self.state().chain.stage());
        panicked(hook, &mut parked.lock(), reason).ok()
    }

    /// Something else than its own callback has decided about the transaction that a filter parked. At home;
    /// nothing is borrowed.
    fn resume(
        self: &Arc<Self>,
        parked: &mut Option<Parked>,
        index: Index,
        stream: Option<StreamType>,
        action: Action,
    ) -> Option<Event> {
        let (stage, action) = {
            let mut state = self.state();
            let decided = state.chain.decided(index, stream, action);
            if let Place::Fast(context) = state.places[index]
                && state.chain.waits_for(index)
            {
                // The other direction.
                worker::park(index, context, Arc::clone(self));
            }
            decided?
        };
        self.unwatch(index);
        self.locked(parked, |flow, access| flow.go_on(access, stage, index, action))
    }

    /// Does `work` with the mutex of the transaction, which is parked.
    fn locked(
        self: &Arc<Self>,
        parked: &mut Option<Parked>,
        work: impl FnOnce(&Arc<Self>, &mut Access<'_>) -> Option<Event>,
    ) -> Option<Event> {
        work(self, &mut parked.as_mut()?.lock())
    }

    /// A hook arrived on another thread than the home thread: counted, then handed over.
    pub(crate) fn hop(&self) {
        for (filter, place) in self.plugin.filters.iter().zip(&self.state().places) {
            if matches!(place, Place::Fast(_)) {
                filter.counters().hops.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// After a panic of ours: no filter sees this transaction again. Whether it may pass.
    pub(crate) fn abandon(&self) -> bool {
        let ended: Vec<Place> = {
            let mut state = self.state();
            state.chain.abandon();
            let places = state.places.iter_mut().map(|place| match place {
                // Its slot may still use the transaction, so TXN_CLOSE waits for it.
                Place::Debug(_) => Place::Empty,
                _ => place.take(),
            });
            places.collect()
        };
        for (index, place) in ended.into_iter().enumerate() {
            if let Place::Fast(context) = place {
                machines::lose(index, context);
            }
        }
        self.plugin.filters.iter().all(|filter| filter.config().fail_open)
    }
}

/// A panic of ours in a hook of the transaction, or while it was parked there: no filter sees it again. With
/// which event it goes on.
///
/// # Errors
/// Its flow, for which it stays parked: a slot of the debug lane has it.
pub(crate) fn panicked(hook: Hook, access: &mut Access<'_>, reason: &str) -> Result<Event, Arc<Flow>> {
    // What was decided about others before: this thread may have no further hook or event.
    release::run_later();
    ts::error(&format!("a fault of this plugin, please report it: a panic in {hook:?}: {reason}"));
    let flow = worker::flow(access.txn());
    let passes = match (&flow, plugin()) {
        (Some(flow), _) => flow.abandon(),
        // Before it had one: no filter has seen it.
        (None, Some(plugin)) => plugin.filters.iter().all(|filter| filter.config().fail_open),
        (None, None) => true,
    };
    if hook == Hook::TxnClose {
        return flow.map_or(Ok(Event::Continue), |flow| flow.end_debugged(access).ok_or(flow));
    }
    if passes || hook == Hook::TxnStart {
        return Ok(Event::Continue);
    }
    drop(Answer::give(access, answer::unavailable()));
    Ok(if hook == Hook::ReadRequestHeaders { Event::Continue } else { Event::Error })
}

fn hook_of(stage: Stage) -> Hook {
    match stage {
        Stage::Start => Hook::TxnStart,
        Stage::Request => Hook::ReadRequestHeaders,
        Stage::Response => Hook::SendResponseHeaders,
        Stage::Close => Hook::TxnClose,
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        IN_FLIGHT.fetch_sub(1, Ordering::Relaxed);
        if self.state().early {
            EARLY.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
