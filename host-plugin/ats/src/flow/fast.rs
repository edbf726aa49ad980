//! A filter's turn in the fast lane: its callbacks run here and now, on the home thread.

use std::sync::Arc;

use wasmdbg_proxy_wasm::{Action, Callback};

use super::chain::{Index, Stage, Step, Waiting};
use super::state::Place;
use super::worker::{self, FastContext};
use super::{Flow, machines};
use crate::transaction::{StreamTransaction, request_ends_here, response_ends_here};
use crate::ts::{Access, Event, Parked};

impl Flow {
    pub(super) fn fast_request(self: &Arc<Self>, access: &mut Access<'_>, index: Index) -> Step {
        let callback = self.plugin.filters[index].wants_request_headers().then(|| request_callback(access));
        let transaction = Box::new(StreamTransaction::new(access));
        let entered = access.lend(|| {
            machines::enter(index, None, |vm, generation| {
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
            self.state().chain.wait(Stage::Request, Waiting::Machine);
            machines::wait(index, Arc::clone(self));
            return Step::Park;
        };
        self.state().places[index] = Place::Fast(context);
        self.after_fast(Stage::Request, index, context, action)
    }

    pub(super) fn fast_response(
        self: &Arc<Self>,
        access: &mut Access<'_>,
        index: Index,
        context: FastContext,
    ) -> Step {
        let callback = response_callback(access);
        let entered = access.lend(|| {
            machines::enter(index, Some(context.generation), |vm, _| ((), vm.call(context.context, callback)))
        });
        // Without its virtual machine the context is lost.
        let action = entered.map_or(Action::Failed, |((), action)| action);
        self.after_fast(Stage::Response, index, context, action)
    }

    pub(super) fn fast_close(
        self: &Arc<Self>,
        access: &mut Access<'_>,
        index: Index,
        context: FastContext,
    ) -> Step {
        let entered = access
            .lend(|| machines::enter(index, Some(context.generation), |vm, _| ((), vm.end(context.context))));
        let action = match entered {
            Some(((), Action::Pause)) => Action::Pause,
            _ => {
                self.state().places[index] = Place::Empty;
                Action::Continue
            }
        };
        self.after_fast(Stage::Close, index, context, action)
    }

    fn after_fast(
        self: &Arc<Self>,
        stage: Stage,
        index: Index,
        context: FastContext,
        action: Action,
    ) -> Step {
        if action == Action::Pause {
            worker::park(index, context, Arc::clone(self));
        }
        self.follow(stage, index, action)
    }

    /// A virtual machine that the transaction waited for is there, or will not come.
    pub(super) fn virtual_machine(
        self: &Arc<Self>,
        parked: &mut Option<Parked>,
        index: Index,
        there: bool,
    ) -> Option<Event> {
        if !self.state().chain.end_wait(Stage::Request, index, Waiting::Machine) {
            return None;
        }
        if there {
            self.locked(parked, |flow, access| flow.run(access, Stage::Request))
        } else {
            self.locked(parked, |flow, access| flow.go_on(access, Stage::Request, index, Action::Failed))
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
