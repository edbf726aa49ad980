//! A filter's turn in the fast lane: its callbacks run here and now, on the home thread.

use std::sync::Arc;

use wasmdbg_proxy_wasm::{Action, Callback};

use super::state::{Place, Waiting};
use super::worker::{self, FastContext, Index};
use super::{Flow, Then};
use crate::transaction::{StreamTransaction, request_ends_here, response_ends_here};
use crate::ts::Event;

impl Flow {
    pub(super) fn fast_request(self: &Arc<Self>, index: Index) -> Then {
        let wanted = self.plugin.filters[index].wants_request_headers();
        let entered = worker::enter(index, None, |vm, generation| {
            let (context, mut outcome) = vm.create_context(Box::new(StreamTransaction::new(self.txn)));
            if wanted && outcome.action == Action::Continue {
                let mut effects = outcome.effects;
                outcome = vm.call(context, self.request_callback());
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

    pub(super) fn fast_response(self: &Arc<Self>, index: Index, context: FastContext) -> Then {
        let entered = worker::enter(index, Some(context.generation), |vm, _| {
            ((), vm.call(context.context, self.response_callback()))
        });
        // Without its virtual machine the context is lost.
        let action = entered.map_or(Action::Failed, |((), action)| action);
        self.after_fast(index, context, action)
    }

    pub(super) fn fast_close(self: &Arc<Self>, index: Index, context: FastContext) -> Then {
        let entered = worker::enter(index, Some(context.generation), |vm, _| ((), vm.end(context.context)));
        match entered {
            Some(((), Action::Pause)) => self.park_fast(index, context),
            _ => {
                self.state().places[index] = Place::Empty;
                Then::Next
            }
        }
    }

    fn after_fast(self: &Arc<Self>, index: Index, context: FastContext, action: Action) -> Then {
        if action == Action::Pause { self.park_fast(index, context) } else { self.follow(index, action) }
    }

    fn park_fast(self: &Arc<Self>, index: Index, context: FastContext) -> Then {
        self.state().waiting = Waiting::Filter;
        worker::park(index, context, Arc::clone(self));
        Then::Park
    }

    pub(super) fn request_callback(&self) -> Callback {
        let request = self.txn.client_request();
        Callback::RequestHeaders { end_of_stream: request.is_none_or(|request| request_ends_here(&request)) }
    }

    pub(super) fn response_callback(&self) -> Callback {
        let response = self.txn.client_response();
        let end_of_stream = response.is_none_or(|response| response_ends_here(&self.txn, &response));
        Callback::ResponseHeaders { end_of_stream }
    }

    /// A virtual machine that the transaction waited for is there, or will not come.
    pub(super) fn virtual_machine(self: &Arc<Self>, index: Index, there: bool) -> Option<Event> {
        if !self.state().end_wait(index, Waiting::Vm) {
            return None;
        }
        if there { self.locked(Self::run) } else { self.locked(|flow| flow.go_on(index, Action::Failed)) }
    }
}
