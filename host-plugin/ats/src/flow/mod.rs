//! The way of one transaction through the chain of filters.
//!
//! ```text
//!   READ_REQUEST_HDR    filters in order      create context, on_request_headers
//!   SEND_RESPONSE_HDR   filters in reverse    on_response_headers
//!   TXN_CLOSE           filters in reverse    on_done, on_log, on_delete
//! ```
//!
//! A [`Flow`] is touched on its home thread alone; what arrives elsewhere is posted there. It stands at
//! one filter of one stage, or waits for something of that filter. It never re-enables its transaction
//! inside a callback, and always as the last thing: the next hooks run before that returns.

pub(crate) mod answer;
mod debugged;
mod fast;
pub(crate) mod parking;
pub(crate) mod release;
mod state;
pub(crate) mod worker;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmdbg_proxy_wasm::{Action, LocalResponse};

use self::answer::Answer;
use self::fast::response_callback;
use self::state::{Place, Stage, State, Waiting};
use self::worker::Index;
use crate::plugin::Plugin;
use crate::transaction::Framing;
use crate::ts::{self, Access, Event, EventThread, Hook, Next, Parked, Txn, Visit};

/// Transactions that have a flow.
pub(crate) static IN_FLIGHT: AtomicU64 = AtomicU64::new(0);

/// See the module.
pub(crate) struct Flow {
    plugin: &'static Plugin,
    txn: Txn,
    home: EventThread,
    state: Mutex<State>,
    framing: Framing,
}

/// Why a parked transaction may go on.
#[derive(Clone)]
pub(crate) enum Wake {
    /// Something else than its own callback has decided about what a filter parked.
    Decided(Index, Action),
    /// A callback has returned in the debug lane.
    Returned(Index, Action),
    /// A virtual machine of a filter has come, or will not.
    Machine { index: Index, there: bool },
    /// A hook that came on another thread is to be handled.
    Hook(fn(&Arc<Flow>, &mut Access<'_>) -> Option<Event>),
    /// A panic of ours beside the work of a hook.
    #[cfg(test)]
    Fault,
}

/// What follows from a filter's turn.
enum Then {
    /// The next filter's turn.
    Next,
    /// The transaction stays where it is.
    Park,
    /// The transaction leaves the hook at once.
    Leave(Event),
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
            .or_else(|| if EARLY.load(Ordering::Relaxed) == 0 { None } else { plugin.marked(access) });
        match early.filter(|flow| flow.is_early()) {
            Some(flow) => flow,
            None => Self::new(plugin, access, here),
        }
    }

    /// The flow of a transaction in a later hook; none when its request could not be read.
    pub(crate) fn of(plugin: &'static Plugin, access: &Access<'_>) -> Option<Arc<Self>> {
        worker::flow(access.txn()).or_else(|| plugin.marked(access))
    }

    /// The flow of a transaction in a hook, on the calling thread, where it is kept.
    fn new(plugin: &'static Plugin, access: &Access<'_>, home: EventThread) -> Arc<Self> {
        IN_FLIGHT.fetch_add(1, Ordering::Relaxed);
        let state = Mutex::new(State::new(plugin.filters.len()));
        let flow = Arc::new(Self { plugin, txn: access.txn(), home, state, framing: Framing::default() });
        plugin.mark(access, &flow);
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

    /// What filters have written into fields that are the server's.
    pub(crate) fn framing(&self) -> &Framing {
        &self.framing
    }

    /// It was made at TXN_START, and its request has not been read.
    fn is_early(&self) -> bool {
        self.state().stage == Stage::Start
    }

    /// Never contended, and never held while anything of a filter or of the server runs.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// READ_REQUEST_HDR: with which event to go on; none: parked.
    pub(crate) fn request(self: &Arc<Self>, access: &mut Access<'_>) -> Option<Event> {
        let early = {
            let mut state = self.state();
            state.begin(Stage::Request);
            state.early
        };
        if early || self.plugin.lane.any_session() {
            self.choose_lanes(access);
        }
        self.run(access)
    }

    /// SEND_RESPONSE_HDR, which comes again when a filter has answered in it.
    pub(crate) fn response(self: &Arc<Self>, access: &mut Access<'_>) -> Option<Event> {
        let (answer, seen) = {
            let mut state = self.state();
            state.begin(Stage::Response);
            (state.answer.take(), std::mem::replace(&mut state.response_seen, true))
        };
        if let Some(answer) = answer {
            answer.set_fields(access);
        }
        if seen { Some(Event::Continue) } else { self.run(access) }
    }

    /// TXN_CLOSE, after [`Flow::abandon`]: the transaction waits for the slots of the debug lane that have it.
    fn end_debugged(self: &Arc<Self>, access: &mut Access<'_>) -> Option<Event> {
        if self.state().waiting == Waiting::Slot {
            return None;
        }
        self.close(access)
    }

    /// TXN_CLOSE.
    pub(crate) fn close(self: &Arc<Self>, access: &mut Access<'_>) -> Option<Event> {
        self.state().begin(Stage::Close);
        self.run(access)
    }

    /// The chain, from the filter whose turn it is.
    fn run(self: &Arc<Self>, access: &mut Access<'_>) -> Option<Event> {
        let mut state = self.state();
        while let Some(index) = state.turn {
            match self.turn_of(access, index, state) {
                Then::Next => {
                    state = self.state();
                    state.advance();
                }
                Then::Park => return None,
                Then::Leave(event) => return Some(event),
            }
        }
        if state.stage == Stage::Close {
            drop(state);
            worker::forget(self.txn);
        }
        Some(Event::Continue)
    }

    fn turn_of(
        self: &Arc<Self>,
        access: &mut Access<'_>,
        index: Index,
        mut state: MutexGuard<'_, State>,
    ) -> Then {
        let filter = &self.plugin.filters[index];
        let stage = state.stage;
        let place = &mut state.places[index];
        match (stage, &*place) {
            (Stage::Request, Place::Claimed(_)) => {
                let claimed = place.take();
                drop(state);
                match claimed {
                    Place::Claimed(claim) => self.debug_request(access, index, claim),
                    _ => Then::Next,
                }
            }
            (Stage::Request, _) => {
                drop(state);
                match filter.inactive_reason() {
                    Some(_) => self.follow(access, index, Action::Failed),
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
                self.hand_over(access, index, &seat, callback)
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
                    _ => Then::Next,
                }
            }
            _ => Then::Next,
        }
    }

    /// What a filter's decision means for the transaction.
    fn follow(&self, access: &mut Access<'_>, index: Index, action: Action) -> Then {
        match action {
            Action::Continue => Then::Next,
            Action::Pause => Then::Park,
            Action::Respond(response) => self.answer(access, *response),
            Action::Close => {
                self.state().response_seen = true;
                answer::refuse(access);
                Then::Leave(Event::Error)
            }
            Action::Failed => {
                // Dropped after the borrow has ended: the end of a context in the debug lane takes locks.
                let _lost = self.state().places.get_mut(index).map(Place::take);
                if self.plugin.filters[index].config().fail_open {
                    Then::Next
                } else {
                    self.answer(access, answer::unavailable())
                }
            }
        }
    }

    /// Answers instead of the cache or the origin.
    fn answer(&self, access: &mut Access<'_>, response: LocalResponse) -> Then {
        let stage = self.state().stage;
        if stage == Stage::Close {
            // The client has had its response.
            return Then::Next;
        }
        self.drop_claims();
        let answer = Answer::give(access, response);
        if !self.plugin.hooks_responses {
            self.plugin.hook_response(access);
        }
        self.state().answer = Some(answer);
        // In the later hook CONTINUE would ignore the answer; in the first ERROR would close the connection.
        Then::Leave(if stage == Stage::Request { Event::Continue } else { Event::Error })
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
            Wake::Decided(index, action) => self.resume(parked, index, action),
            Wake::Returned(index, action) => self.called(parked, index, action),
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
        let hook = self.state().stage.hook();
        panicked(hook, &mut parked.lock(), reason).ok()
    }

    /// The filter whose turn it is, or something it depends on, has decided about the transaction that
    /// it parked. At home; nothing is borrowed.
    fn resume(self: &Arc<Self>, parked: &mut Option<Parked>, index: Index, action: Action) -> Option<Event> {
        {
            let mut state = self.state();
            if !state.end_wait(index, Waiting::Filter) {
                // The server can run the event that says so before the one of the callback's return.
                if state.waits(index, Waiting::Slot) && state.stage != Stage::Close {
                    state.decided = Some(action);
                }
                return None;
            }
        }
        self.unwatch(index);
        self.locked(parked, |flow, access| flow.go_on(access, index, action))
    }

    /// The chain, from behind a filter that has decided.
    fn go_on(self: &Arc<Self>, access: &mut Access<'_>, index: Index, action: Action) -> Option<Event> {
        match self.follow(access, index, action) {
            Then::Next => {
                self.state().advance();
                self.run(access)
            }
            Then::Park => None,
            Then::Leave(event) => Some(event),
        }
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
            state.response_seen = true;
            // A slot that ends its part in TXN_CLOSE is waited for.
            if (state.stage, state.waiting) != (Stage::Close, Waiting::Slot) {
                state.turn = None;
                state.waiting = Waiting::Nothing;
            }
            let places = state.places.iter_mut().map(|place| match place {
                // Its slot may still use the transaction, so TXN_CLOSE waits for it.
                Place::Debug(_) => Place::Empty,
                _ => place.take(),
            });
            places.collect()
        };
        for (index, place) in ended.into_iter().enumerate() {
            if let Place::Fast(context) = place {
                worker::lose(index, context);
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
    let passes = flow.as_ref().is_none_or(|flow| flow.abandon());
    if hook == Hook::TxnClose {
        return flow.map_or(Ok(Event::Continue), |flow| flow.end_debugged(access).ok_or(flow));
    }
    if passes || hook == Hook::TxnStart {
        return Ok(Event::Continue);
    }
    drop(Answer::give(access, answer::unavailable()));
    Ok(if hook == Hook::ReadRequestHeaders { Event::Continue } else { Event::Error })
}

impl Drop for Flow {
    fn drop(&mut self) {
        IN_FLIGHT.fetch_sub(1, Ordering::Relaxed);
        if self.state().early {
            EARLY.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
