//! The way of one transaction through the chain of filters.
//!
//! ```text
//!   READ_REQUEST_HDR    filters in order      create context, on_request_headers
//!   SEND_RESPONSE_HDR   filters in reverse    on_response_headers
//!   TXN_CLOSE           filters in reverse    on_done, on_log, on_delete
//! ```
//!
//! A [`Flow`] is touched on its home thread alone; what arrives elsewhere is posted there. It stands at
//! one filter of one stage, or waits for something of that filter. It re-enables its transaction never
//! inside a callback and always last: the next hooks run before that returns.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmdbg_proxy_wasm::{Action, Callback, LocalResponse};

use crate::answer::{self, Answer};
use crate::plugin::Plugin;
use crate::transaction::{InHook, StreamTransaction, request_ends_here, response_ends_here};
use crate::ts::{Event, EventThread, Txn};
use crate::worker::{self, FastContext, Index};

/// See the module.
pub(crate) struct Flow {
    plugin: &'static Plugin,
    txn: Txn,
    home: EventThread,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    stage: Stage,
    /// The filter whose turn it is; the length of the chain, or `None` going down, ends the stage.
    turn: Option<Index>,
    waiting: Waiting,
    places: Vec<Place>,
    /// The response is one of a filter, and its header fields are still to be set.
    answer: Option<Answer>,
    /// The filters have seen the response, or must not any more.
    response_seen: bool,
}

/// Which hook the transaction stands in, or stood in last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Request,
    Response,
    Close,
}

/// What a parked transaction waits for, always of the filter whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// It does not.
    Nothing,
    /// A virtual machine.
    Vm,
    /// The filter: it returned Pause, or is not done.
    Filter,
}

/// What a filter has of this transaction.
#[derive(Debug)]
enum Place {
    /// Nothing: not its turn yet, or never; or its context is lost.
    Empty,
    /// A context in the fast lane, on the home thread.
    Fast(FastContext),
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
    /// The flow of a transaction that stands in READ_REQUEST_HDR, on the calling thread.
    pub(crate) fn new(plugin: &'static Plugin, txn: Txn, home: EventThread) -> Arc<Self> {
        let mut places = Vec::with_capacity(plugin.filters.len());
        places.resize_with(plugin.filters.len(), || Place::Empty);
        let state = State {
            stage: Stage::Request,
            turn: Some(0),
            waiting: Waiting::Nothing,
            places,
            answer: None,
            response_seen: false,
        };
        Arc::new(Self { plugin, txn, home, state: Mutex::new(state) })
    }

    /// The thread where its hooks come and its fast-lane contexts live.
    pub(crate) fn home(&self) -> EventThread {
        self.home
    }

    /// Never contended, and never held while anything of a filter or of the server runs.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// READ_REQUEST_HDR: with which event to go on; none: parked.
    pub(crate) fn request(self: &Arc<Self>) -> Option<Event> {
        let _hook = InHook::enter(self.txn);
        self.run()
    }

    /// SEND_RESPONSE_HDR, which comes again when a filter has answered in it.
    pub(crate) fn response(self: &Arc<Self>) -> Option<Event> {
        let _hook = InHook::enter(self.txn);
        let seen = {
            let mut state = self.state();
            if let Some(answer) = state.answer.take() {
                answer.set_fields(self.txn);
            }
            state.begin(Stage::Response);
            std::mem::replace(&mut state.response_seen, true)
        };
        if seen { Some(Event::Continue) } else { self.run() }
    }

    /// TXN_CLOSE.
    pub(crate) fn close(self: &Arc<Self>) -> Option<Event> {
        let _hook = InHook::enter(self.txn);
        self.state().begin(Stage::Close);
        self.run()
    }

    /// The chain, from the filter whose turn it is. In a hook of the transaction, or as in
    /// [`Flow::go_on`].
    fn run(self: &Arc<Self>) -> Option<Event> {
        loop {
            let (stage, turn) = {
                let state = self.state();
                (state.stage, state.turn.filter(|turn| *turn < state.places.len()))
            };
            let Some(index) = turn else { return Some(Event::Continue) };
            match self.turn_of(index, stage) {
                Then::Next => self.state().advance(),
                Then::Park => return None,
                Then::Leave(event) => return Some(event),
            }
        }
    }

    fn turn_of(self: &Arc<Self>, index: Index, stage: Stage) -> Then {
        let filter = &self.plugin.filters[index];
        match stage {
            Stage::Request if filter.inactive_reason().is_some() => self.follow(index, Action::Failed),
            Stage::Request => self.fast_request(index),
            Stage::Response => match self.fast_context(index) {
                Some(context) if filter.wants_response_headers() => self.fast_response(index, context),
                _ => Then::Next,
            },
            Stage::Close => match self.fast_context(index) {
                Some(context) => self.fast_close(index, context),
                None => Then::Next,
            },
        }
    }

    fn fast_context(&self, index: Index) -> Option<FastContext> {
        match self.state().places.get(index) {
            Some(Place::Fast(context)) => Some(*context),
            _ => None,
        }
    }

    fn fast_request(self: &Arc<Self>, index: Index) -> Then {
        let wanted = self.plugin.filters[index].wants_request_headers();
        let entered = worker::enter(index, None, |vm, generation| {
            let (context, mut outcome) = vm.create_context(Box::new(StreamTransaction::new(self.txn)));
            if wanted && outcome.action == Action::Continue {
                let end_of_stream = self.txn.client_request().is_none_or(|request| request_ends_here(&request));
                let mut effects = std::mem::take(&mut outcome.effects);
                outcome = vm.call(context, Callback::RequestHeaders { end_of_stream });
                if !effects.is_empty() {
                    effects.append(&mut outcome.effects);
                    outcome.effects = effects;
                }
            }
            (FastContext { generation, context }, outcome)
        });
        let Some((context, action)) = entered else {
            self.state().waiting = Waiting::Vm;
            worker::wait(index, Arc::clone(self));
            return Then::Park;
        };
        self.state().places[index] = Place::Fast(context);
        self.after_fast(index, context, action)
    }

    fn fast_response(self: &Arc<Self>, index: Index, context: FastContext) -> Then {
        let entered = worker::enter(index, Some(context.generation), |vm, _| {
            let response = self.txn.client_response();
            let end_of_stream = response.is_none_or(|response| response_ends_here(&self.txn, &response));
            ((), vm.call(context.context, Callback::ResponseHeaders { end_of_stream }))
        });
        // Without its virtual machine the context is lost.
        let action = entered.map_or(Action::Failed, |((), action)| action);
        self.after_fast(index, context, action)
    }

    fn fast_close(self: &Arc<Self>, index: Index, context: FastContext) -> Then {
        let entered = worker::enter(index, Some(context.generation), |vm, _| ((), vm.end(context.context)));
        match entered {
            Some(((), Action::Pause)) => self.park(index, context),
            _ => {
                self.state().places[index] = Place::Empty;
                Then::Next
            }
        }
    }

    fn after_fast(self: &Arc<Self>, index: Index, context: FastContext, action: Action) -> Then {
        if action == Action::Pause {
            return self.park(index, context);
        }
        self.follow(index, action)
    }

    fn park(self: &Arc<Self>, index: Index, context: FastContext) -> Then {
        self.state().waiting = Waiting::Filter;
        worker::park(index, context, Arc::clone(self));
        Then::Park
    }

    /// What a filter's decision means for the transaction.
    fn follow(&self, index: Index, action: Action) -> Then {
        match action {
            Action::Continue => Then::Next,
            Action::Pause => Then::Park,
            Action::Respond(response) => self.answer(response),
            Action::Close => {
                self.state().response_seen = true;
                answer::refuse(self.txn);
                Then::Leave(Event::Error)
            }
            Action::Failed => {
                let mut state = self.state();
                if let Some(place) = state.places.get_mut(index) {
                    *place = Place::Empty;
                }
                drop(state);
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
        let fields = Answer::give(self.txn, response);
        if !fields.is_empty() && !self.plugin.hooks_responses {
            self.plugin.hook_response(self.txn);
        }
        let mut state = self.state();
        state.answer = Some(fields);
        // Elsewhere than here CONTINUE would ignore the answer, and ERROR here would close the connection.
        Then::Leave(if stage == Stage::Request { Event::Continue } else { Event::Error })
    }

    /// The filter whose turn it is, or something it depends on, has decided about the parked
    /// transaction. On the home thread, outside of the transaction's own hooks or in them; nothing is
    /// borrowed.
    pub(crate) fn resume(self: Arc<Self>, index: Index, action: Action) {
        {
            let mut state = self.state();
            if state.waiting != Waiting::Filter || state.turn != Some(index) {
                return;
            }
            state.waiting = Waiting::Nothing;
            if state.stage == Stage::Close {
                state.places[index] = Place::Empty;
            }
        }
        self.go_on(index, action);
    }

    /// A virtual machine that the transaction waited for is there, or will not come.
    pub(crate) fn virtual_machine(self: Arc<Self>, index: Index, there: bool) {
        {
            let mut state = self.state();
            if state.waiting != Waiting::Vm || state.turn != Some(index) {
                return;
            }
            state.waiting = Waiting::Nothing;
        }
        if there {
            self.leave(|flow| flow.run());
        } else {
            self.go_on(index, Action::Failed);
        }
    }

    fn go_on(self: Arc<Self>, index: Index, action: Action) {
        self.leave(|flow| match flow.follow(index, action) {
            Then::Next => {
                flow.state().advance();
                flow.run()
            }
            Then::Park => None,
            Then::Leave(event) => Some(event),
        });
    }

    /// Does `work` with the transaction's mutex, and then re-enables it as `work` says.
    fn leave(self: Arc<Self>, work: impl FnOnce(&Arc<Self>) -> Option<Event>) {
        let event = {
            let _guard = self.txn.lock();
            let _hook = InHook::enter(self.txn);
            work(&self)
        };
        let (txn, close) = (self.txn, self.state().stage == Stage::Close);
        if event.is_some() && close {
            self.plugin.forget(txn);
        }
        drop(self);
        if let Some(event) = event {
            txn.reenable(event);
        }
    }

    /// A hook's work that arrived elsewhere.
    pub(crate) fn at_home(self: Arc<Self>, stage: fn(&Arc<Self>) -> Option<Event>) {
        self.leave(stage);
        worker::deliver();
    }

    /// A hook arrived on another thread than the home thread: counted, then handed over.
    pub(crate) fn hop(self: &Arc<Self>) {
        for (filter, place) in self.plugin.filters.iter().zip(&self.state().places) {
            if matches!(place, Place::Fast(_)) {
                filter.counters().hops.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// After a panic of ours: no filter sees this transaction again. Whether it may pass.
    pub(crate) fn abandon(&self) -> bool {
        let mut state = self.state();
        state.response_seen = true;
        state.turn = None;
        for (index, place) in state.places.iter_mut().enumerate() {
            if let Place::Fast(context) = std::mem::replace(place, Place::Empty) {
                worker::unpark(index, context);
            }
        }
        self.plugin.filters.iter().all(|filter| filter.config().fail_open)
    }
}

impl State {
    fn begin(&mut self, stage: Stage) {
        self.stage = stage;
        self.waiting = Waiting::Nothing;
        self.turn = match stage {
            Stage::Request => Some(0),
            Stage::Response | Stage::Close => self.places.len().checked_sub(1),
        };
    }

    /// The next filter's turn.
    fn advance(&mut self) {
        self.turn = match self.stage {
            Stage::Request => self.turn.map(|turn| turn + 1),
            Stage::Response | Stage::Close => self.turn.and_then(|turn| turn.checked_sub(1)),
        };
    }
}
