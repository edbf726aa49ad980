//! What a flow keeps of its transaction beside its place in the chain: what each filter has of it, an answer on
//! its way, and what is due when it goes on.

use std::sync::Arc;

use wasmdbg_proxy_wasm::debug::Claim;

use super::answer::Answer;
use super::chain::Chain;
use super::parking::Timeouts;
use super::watch::Seat;
use super::worker::FastContext;
use crate::ts::Parked;

pub(super) struct State {
    pub(super) chain: Chain,
    pub(super) places: Vec<Place>,
    /// The response is one of a filter, and its header fields are still to be set.
    pub(super) answer: Option<Answer>,
    /// It was made at TXN_START.
    pub(super) early: bool,
    /// The right to let it go on, while it is parked.
    pub(super) parked: Option<Parked>,
    /// What the server's timeouts were, while they may still be put back.
    pub(super) timeouts: Option<Timeouts>,
}

/// What a filter has of this transaction.
pub(super) enum Place {
    /// Nothing: not its turn yet, or never; or its context is lost.
    Empty,
    /// A context in the fast lane, on the home thread.
    Fast(FastContext),
    /// A slot of the debug lane is kept for it; its turn has not come.
    Claimed(Claim),
    /// A context in the debug lane.
    Debug(Arc<Seat>),
}

impl Place {
    pub(super) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Empty)
    }
}

impl State {
    pub(super) fn new(filters: usize) -> Self {
        let mut places = Vec::with_capacity(filters);
        places.resize_with(filters, || Place::Empty);
        Self { chain: Chain::new(filters), places, answer: None, early: false, parked: None, timeouts: None }
    }
}
