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
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmdbg_proxy_wasm::{Action, LocalResponse};

use self::answer::Answer;
use self::state::{Place, Stage, State, Waiting};
use self::worker::Index;
use crate::hooks::{self, Hooks};
use crate::plugin::Plugin;
use crate::transaction::{Framing, InHook};
use crate::ts::{self, Event, EventThread, Hook, HookHandler, Txn};

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
    Hook(fn(&Arc<Flow>) -> Option<Event>),
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

impl Flow {
    /// The flow of a transaction in a hook, on the calling thread.
    pub(crate) fn new(plugin: &'static Plugin, txn: Txn, home: EventThread) -> Arc<Self> {
        IN_FLIGHT.fetch_add(1, Ordering::Relaxed);
        let state = Mutex::new(State::new(plugin.filters.len()));
        Arc::new(Self { plugin, txn, home, state, framing: Framing::default() })
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
    pub(crate) fn is_early(&self) -> bool {
        self.state().stage == Stage::Start
    }

    /// Never contended, and never held while anything of a filter or of the server runs.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// READ_REQUEST_HDR: with which event to go on; none: parked.
    pub(crate) fn request(self: &Arc<Self>) -> Option<Event> {
        let _hook = InHook::enter(self.txn);
        let early = {
            let mut state = self.state();
            state.begin(Stage::Request);
            state.early
        };
        if early || self.plugin.lane.any_session() {
            self.choose_lanes();
        }
        self.run()
    }

    /// SEND_RESPONSE_HDR, which comes again when a filter has answered in it.
    pub(crate) fn response(self: &Arc<Self>) -> Option<Event> {
        let _hook = InHook::enter(self.txn);
        let (answer, seen) = {
            let mut state = self.state();
            state.begin(Stage::Response);
            (state.answer.take(), std::mem::replace(&mut state.response_seen, true))
        };
        if let Some(answer) = answer {
            answer.set_fields(self.txn);
        }
        if seen { Some(Event::Continue) } else { self.run() }
    }

    /// TXN_CLOSE, after [`Flow::abandon`]: the transaction waits for the slots of the debug lane that have it.
    pub(crate) fn end_debugged(self: &Arc<Self>) -> Option<Event> {
        if self.state().waiting == Waiting::Slot {
            return None;
        }
        self.close()
    }

    /// TXN_CLOSE.
    pub(crate) fn close(self: &Arc<Self>) -> Option<Event> {
        let _hook = InHook::enter(self.txn);
        self.state().begin(Stage::Close);
        self.run()
    }

    /// The chain, from the filter whose turn it is. With the transaction's mutex held.
    fn run(self: &Arc<Self>) -> Option<Event> {
        let mut state = self.state();
        while let Some(index) = state.turn {
            match self.turn_of(index, state) {
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

    fn turn_of(self: &Arc<Self>, index: Index, mut state: MutexGuard<'_, State>) -> Then {
        let filter = &self.plugin.filters[index];
        let stage = state.stage;
        let place = &mut state.places[index];
        match (stage, &*place) {
            (Stage::Request, Place::Claimed(_)) => {
                let claimed = place.take();
                drop(state);
                match claimed {
                    Place::Claimed(claim) => self.debug_request(index, claim),
                    _ => Then::Next,
                }
            }
            (Stage::Request, _) => {
                drop(state);
                match filter.inactive_reason() {
                    Some(_) => self.follow(index, Action::Failed),
                    None => self.fast_request(index),
                }
            }
            (Stage::Response, Place::Fast(context)) if filter.wants_response_headers() => {
                let context = *context;
                drop(state);
                self.fast_response(index, context)
            }
            (Stage::Response, Place::Debug(seat)) if filter.wants_response_headers() => {
                let seat = Arc::clone(seat);
                drop(state);
                let callback = self.response_callback();
                self.hand_over(index, &seat, callback)
            }
            (Stage::Close, Place::Fast(context)) => {
                let context = *context;
                drop(state);
                self.fast_close(index, context)
            }
            (Stage::Close, Place::Debug(_)) => {
                let debugged = place.take();
                drop(state);
                match debugged {
                    Place::Debug(seat) => self.debug_close(index, &seat),
                    _ => Then::Next,
                }
            }
            _ => Then::Next,
        }
    }

    /// What a filter's decision means for the transaction.
    fn follow(&self, index: Index, action: Action) -> Then {
        match action {
            Action::Continue => Then::Next,
            Action::Pause => Then::Park,
            Action::Respond(response) => self.answer(*response),
            Action::Close => {
                self.state().response_seen = true;
                answer::refuse(self.txn);
                Then::Leave(Event::Error)
            }
            Action::Failed => {
                // Dropped after the borrow has ended: the end of a context in the debug lane takes locks.
                let _lost = self.state().places.get_mut(index).map(Place::take);
                if self.plugin.filters[index].config().fail_open {
                    Then::Next
                } else {
                    self.answer(answer::unavailable())
                }
            }
        }
    }

    /// Answers instead of the cache or the origin.
    fn answer(&self, response: LocalResponse) -> Then {
        let stage = self.state().stage;
        if stage == Stage::Close {
            // The client has had its response.
            return Then::Next;
        }
        self.drop_claims();
        let answer = Answer::give(self.txn, response);
        if !self.plugin.hooks_responses {
            self.plugin.hook_response(self.txn);
        }
        self.state().answer = Some(answer);
        // In the later hook CONTINUE would ignore the answer; in the first ERROR would close the connection.
        Then::Leave(if stage == Stage::Request { Event::Continue } else { Event::Error })
    }

    /// What it waits for may have come: re-enables the transaction if so, after a panic of ours by the fail
    /// policy. At home, and only from [`crate::flow::release`].
    pub(crate) fn wake(self: Arc<Self>, wake: Wake) {
        let (txn, hook) = (self.txn, self.held_in(&wake));
        // The flow is dropped in there: the next hooks run before a transaction is re-enabled.
        let event = catch_unwind(AssertUnwindSafe(move || self.woken(wake)))
            .unwrap_or_else(|panic| failed(txn, hook, &ts::reason(&panic)));
        if let Some(event) = event {
            txn.reenable(event);
        }
    }

    /// The hook where the transaction stands, if it does: nobody else re-enables it.
    fn held_in(&self, wake: &Wake) -> Option<Hook> {
        let state = self.state();
        let held = matches!(wake, Wake::Hook(_)) || state.waiting != Waiting::Nothing;
        held.then(|| state.stage.hook())
    }

    fn woken(self: Arc<Self>, wake: Wake) -> Option<Event> {
        match wake {
            Wake::Decided(index, action) => self.resume(index, action),
            Wake::Returned(index, action) => self.called(index, action),
            Wake::Machine { index, there } => self.virtual_machine(index, there),
            Wake::Hook(stage) => self.locked(stage),
            #[cfg(test)]
            Wake::Fault => panic!("a fault of ours"),
        }
    }

    /// The filter whose turn it is, or something it depends on, has decided about the transaction that
    /// it parked. At home; nothing is borrowed.
    fn resume(self: &Arc<Self>, index: Index, action: Action) -> Option<Event> {
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
        self.locked(|flow| flow.go_on(index, action))
    }

    /// The chain, from behind a filter that has decided.
    fn go_on(self: &Arc<Self>, index: Index, action: Action) -> Option<Event> {
        match self.follow(index, action) {
            Then::Next => {
                self.state().advance();
                self.run()
            }
            Then::Park => None,
            Then::Leave(event) => Some(event),
        }
    }

    /// Does `work` with the transaction's mutex: the transaction is parked.
    fn locked(self: &Arc<Self>, work: impl FnOnce(&Arc<Self>) -> Option<Event>) -> Option<Event> {
        let _guard = self.txn.lock();
        let _hook = InHook::enter(self.txn);
        work(self)
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

/// A panic of ours while `txn` was to go on from `hook`, if it stands in one: as in a hook of it.
#[cold]
fn failed(txn: Txn, hook: Option<Hook>, reason: &str) -> Option<Event> {
    let Some(hook) = hook else {
        ts::error(&format!(
            "a fault of this plugin, please report it: a panic beside a transaction: {reason}"
        ));
        return None;
    };
    let _guard = txn.lock();
    let _hook = InHook::enter(txn);
    // The hook that it was in, unless another has begun.
    let hook = worker::flow(txn).map_or(hook, |flow| flow.state().stage.hook());
    Hooks::panicked(hook, txn, reason)
}

impl Drop for Flow {
    fn drop(&mut self) {
        IN_FLIGHT.fetch_sub(1, Ordering::Relaxed);
        if self.state().early {
            hooks::early_ended();
        }
    }
}
