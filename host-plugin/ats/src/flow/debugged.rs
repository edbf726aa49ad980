//! A filter's turn in the debug lane: the transaction is parked, the callback runs on the thread of its
//! slot, and what comes of it is posted home. Event threads only hand over and take back; that work is
//! measured.

use std::sync::Arc;

use wasmdbg_control::TransactionId;
use wasmdbg_proxy_wasm::debug::{Candidate, Claim, Ending};
use wasmdbg_proxy_wasm::{Action, Callback};

use super::chain::{Index, Stage, Step, Waiting};
use super::fast::request_callback;
use super::parking::{self, Timeouts};
use super::release;
use super::state::Place;
use super::watch::Seat;
use super::{Flow, Wake};
use crate::transaction::{StreamTransaction, facts};
use crate::ts::{self, Access, Event, Parked};

impl Flow {
    /// What may be parked must be kept alive from here on.
    pub(super) fn prepare_parking(&self, access: &mut Access<'_>) {
        let _sampling = self.plugin.lane.sample();
        let timeouts = Timeouts::raise(access);
        let mut state = self.state();
        state.early = true;
        state.timeouts = Some(timeouts);
    }

    /// READ_REQUEST_HDR: the lane is chosen once, for all filters, by the request as the client sent it.
    pub(super) fn choose_lanes(&self, access: &mut Access<'_>) {
        let lane = &self.plugin.lane;
        let mut claimed = false;
        if lane.any_session() {
            let (find_facts, header) =
                (|| facts(access), |name: &str, value: &mut Vec<u8>| request_header(access, name, value));
            let request = Candidate::new(&find_facts, &header);
            let id = TransactionId(access.id());
            for (index, filter) in self.plugin.filters.iter().enumerate() {
                if filter.inactive_reason().is_some() {
                    continue;
                }
                if let Some(claim) = lane.choose(filter.id(), id, &request) {
                    self.state().places[index] = Place::Claimed(claim);
                    claimed = true;
                }
            }
        }
        let raised = self.state().timeouts.take();
        match raised {
            Some(timeouts) if !claimed => timeouts.put_back(access),
            None if claimed => {
                let _measuring = lane.measure();
                Timeouts::raise(access);
            }
            _ => {}
        }
    }

    pub(super) fn debug_request(
        self: &Arc<Self>,
        access: &mut Access<'_>,
        index: Index,
        claim: Claim,
    ) -> Step {
        // Not measured here: the lane measures its own part.
        let flow = Arc::clone(self);
        let sink = Box::new(move |stream, action| {
            let flow = Arc::clone(&flow);
            ts::post(flow.home, Box::new(move || release::wake(flow, Wake::Decided(index, stream, action))));
        });
        let seat = Seat::new(claim.enter(Box::new(StreamTransaction::new(access)), sink));
        self.state().places[index] = Place::Debug(Arc::clone(&seat));
        let callback = request_callback(access);
        self.hand_over(access, Stage::Request, index, &seat, callback)
    }

    /// Parks the transaction and queues a callback of it.
    pub(super) fn hand_over(
        self: &Arc<Self>,
        access: &Access<'_>,
        stage: Stage,
        index: Index,
        seat: &Arc<Seat>,
        callback: Callback,
    ) -> Step {
        {
            let _measuring = self.plugin.lane.measure();
            parking::hold(access);
            self.plugin.watch.add(access, seat);
            self.state().chain.wait(stage, Waiting::Slot);
        }
        let flow = Arc::clone(self);
        seat.with(|context| {
            context.call(
                callback,
                Box::new(move |outcome| {
                    // A slot holds one transaction: there are no effects on others.
                    let action = outcome.action;
                    ts::post(
                        flow.home,
                        Box::new(move || release::wake(flow, Wake::Returned(index, stage, action))),
                    );
                }),
            );
        });
        Step::Park
    }

    /// A callback has returned in the debug lane. At home.
    pub(super) fn called(
        self: &Arc<Self>,
        parked: &mut Option<Parked>,
        index: Index,
        stage: Stage,
        action: Action,
    ) -> Option<Event> {
        let (action, seat) = {
            let _measuring = self.plugin.lane.measure();
            let mut state = self.state();
            let action = state.chain.returned(stage, index, action)?;
            let seat = match state.places.get(index) {
                Some(Place::Debug(seat)) => Some(Arc::clone(seat)),
                _ => None,
            };
            if let Some(seat) = &seat {
                self.plugin.watch.remove(seat);
            }
            (action, seat)
        };
        if action == Action::Failed && seat.is_some_and(|seat| seat.take_back()) {
            // As if no slot had been free.
            self.state().places[index] = Place::Empty;
            return self.locked(parked, |flow, access| flow.run(access, stage));
        }
        self.locked(parked, |flow, access| flow.go_on(access, stage, index, action))
    }

    /// TXN_CLOSE: the hook is held until the filter has finished on its slot.
    pub(super) fn debug_close(self: &Arc<Self>, access: &Access<'_>, index: Index, seat: &Seat) -> Step {
        let _measuring = self.plugin.lane.measure();
        let Some(context) = seat.take() else {
            return self.follow(Stage::Close, index, Action::Continue);
        };
        let status = access.client_response().map(|response| u32::from(response.status()));
        let ending = Ending { status: status.filter(|status| *status != 0), aborted: access.is_aborted() };
        self.state().chain.wait(Stage::Close, Waiting::Slot);
        let flow = Arc::clone(self);
        let done = Box::new(move || {
            let home = flow.home;
            ts::post(
                home,
                Box::new(move || release::wake(flow, Wake::Returned(index, Stage::Close, Action::Continue))),
            );
        });
        context.end(ending, done);
        Step::Park
    }

    /// Frees the slots of filters whose turn does not come.
    pub(super) fn drop_claims(&self) {
        let claims: Vec<Place> = {
            let mut state = self.state();
            let claimed = state.places.iter_mut().filter(|place| matches!(place, Place::Claimed(_)));
            claimed.map(Place::take).collect()
        };
        drop(claims);
    }

    /// The parked transaction goes on, so its client needs no watch.
    pub(super) fn unwatch(&self, index: Index) {
        let state = self.state();
        if let Some(Place::Debug(seat)) = state.places.get(index)
            && state.chain.stage() != Stage::Close
        {
            self.plugin.watch.remove(seat);
        }
    }
}

/// Appends the value of a request header field; whether there is one.
fn request_header(access: &Access<'_>, name: &str, value: &mut Vec<u8>) -> bool {
    let Some(request) = access.client_request() else { return false };
    let Some(field) = request.find(name.as_bytes()) else { return false };
    value.extend_from_slice(field.value());
    true
}
