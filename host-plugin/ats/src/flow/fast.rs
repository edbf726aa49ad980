//! A filter's turn in the fast lane: its callbacks run here and now, on the home thread.

use std::sync::Arc;

use wasmdbg_proxy_wasm::{Action, Callback};

use super::state::{Place, Waiting};
use super::worker::{self, FastContext, Index};
use super::{Flow, Then};
use crate::transaction::{StreamTransaction, request_ends_here, response_ends_here};
use crate::ts::{Access, Event, Parked};

impl Flow {
    pub(super) fn fast_request(self: &Arc<Self>, access: &mut Access<'_>, index: Index) -> Then {
        let callback = self.plugin.filters[index].wants_request_headers().then(|| request_callback(access));
        let transaction = Box::new(StreamTransaction::new(access));
        let entered = access.lend(|| {
            worker::enter(index, None, |vm, generation| {
                let (context, mut outcome) = vm.create_context(transaction);
                if let Some(callback) = callback
                    && outcome.action == Action::Continue
                {
                    let mut effects = outcome.effects;
                    outcome = vm.call(context, callback);
                    if !effects.is_empty() {
                        effects.append(&mut outcome.effects);
                        outcome.effects = effects;
                    }
                }
                (FastContext { generation, context }, outcome)
            })
        });
        let Some((context, action)) = entered else {
            self.state().waiting = Waiting::Vm;
            worker::wait(index, Arc::clone(self));
            return Then::Park;
        };
        self.state().places[index] = Place::Fast(context);
        self.after_fast(access, index, context, action)
    }

    pub(super) fn fast_response(
        self: &Arc<Self>,
        access: &mut Access<'_>,
        index: Index,
        context: FastContext,
    ) -> Then {
        let callback = response_callback(access);
        let entered = access.lend(|| {
            worker::enter(index, Some(context.generation), |vm, _| ((), vm.call(context.context, callback)))
        });
        // Without its virtual machine the context is lost.
        let action = entered.map_or(Action::Failed, |((), action)| action);
        self.after_fast(access, index, context, action)
    }

    pub(super) fn fast_close(
        self: &Arc<Self>,
        access: &mut Access<'_>,
        index: Index,
        context: FastContext,
    ) -> Then {
        let entered = access
            .lend(|| worker::enter(index, Some(context.generation), |vm, _| ((), vm.end(context.context))));
        match entered {
            Some(((), Action::Pause)) => self.park_fast(index, context),
            _ => {
                self.state().places[index] = Place::Empty;
                Then::Next
            }
        }
    }

    fn after_fast(
        self: &Arc<Self>,
        access: &mut Access<'_>,
        index: Index,
        context: FastContext,
        action: Action,
    ) -> Then {
        if action == Action::Pause {
            self.park_fast(index, context)
        } else {
            self.follow(access, index, action)
        }
    }

    fn park_fast(self: &Arc<Self>, index: Index, context: FastContext) -> Then {
        self.state().waiting = Waiting::Filter;
        worker::park(index, context, Arc::clone(self));
        Then::Park
    }

    /// A virtual machine that the transaction waited for is there, or will not come.
    pub(super) fn virtual_machine(
        self: &Arc<Self>,
        parked: &mut Option<Parked>,
        index: Index,
        there: bool,
    ) -> Option<Event> {
        if !self.state().end_wait(index, Waiting::Vm) {
            return None;
        }
        if there {
            self.locked(parked, Self::run)
        } else {
            self.locked(parked, |flow, access| flow.go_on(access, index, Action::Failed))
        }
    }
}

/// `proxy_on_request_headers`
pub(super) fn request_callback(access: &Access<'_>) -> Callback {
    let request = access.client_request();
    Callback::RequestHeaders { end_of_stream: request.is_none_or(|request| request_ends_here(&request)) }
}

/// `proxy_on_response_headers`
pub(super) fn response_callback(access: &Access<'_>) -> Callback {
    let response = access.client_response();
    Callback::ResponseHeaders { end_of_stream: response.is_none_or(|response| response_ends_here(&response)) }
}
