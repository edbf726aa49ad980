//! Where a transaction stands: the hook, the filter whose turn it is, what it waits for, and what each
//! filter has of it.

use std::sync::Arc;

use wasmdbg_proxy_wasm::Action;
use wasmdbg_proxy_wasm::debug::Claim;

use super::answer::Answer;
use super::parking::{Seat, Timeouts};
use super::worker::{FastContext, Index};
use crate::ts::{Hook, Parked};

pub(super) struct State {
    pub(super) stage: Stage,
    /// The filter whose turn it is; none when the stage is over.
    pub(super) turn: Option<Index>,
    pub(super) waiting: Waiting,
    /// What was decided about a transaction before it was known here that the filter has parked it.
    pub(super) decided: Option<Action>,
    pub(super) places: Vec<Place>,
    /// The response is one of a filter, and its header fields are still to be set.
    pub(super) answer: Option<Answer>,
    /// The filters have seen the response, or must not any more.
    pub(super) response_seen: bool,
    /// It was made at TXN_START.
    pub(super) early: bool,
    /// The right to let it go on, while it is parked.
    pub(super) parked: Option<Parked>,
    /// What the server's timeouts were, while they may still be put back.
    pub(super) timeouts: Option<Timeouts>,
}

/// Which hook the transaction stands in, or stood in last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// TXN_START, and what comes before the request can be read.
    Start,
    /// READ_REQUEST_HDR
    Request,
    /// SEND_RESPONSE_HDR
    Response,
    /// TXN_CLOSE
    Close,
}

/// What a parked transaction waits for, always of the filter whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    /// It does not.
    Nothing,
    /// A virtual machine.
    Vm,
    /// A callback that runs in the debug lane.
    Slot,
    /// The filter: it returned Pause, or is not done.
    Filter,
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

impl Stage {
    pub(super) fn hook(self) -> Hook {
        match self {
            Self::Start => Hook::TxnStart,
            Self::Request => Hook::ReadRequestHeaders,
            Self::Response => Hook::SendResponseHeaders,
            Self::Close => Hook::TxnClose,
        }
    }
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
        Self {
            stage: Stage::Start,
            turn: None,
            waiting: Waiting::Nothing,
            decided: None,
            places,
            answer: None,
            response_seen: false,
            early: false,
            parked: None,
            timeouts: None,
        }
    }

    /// The transaction has come to a hook.
    pub(super) fn begin(&mut self, stage: Stage) {
        self.stage = stage;
        self.waiting = Waiting::Nothing;
        self.decided = None;
        self.turn = match stage {
            Stage::Start => None,
            Stage::Request => Some(0).filter(|_| !self.places.is_empty()),
            Stage::Response | Stage::Close => self.places.len().checked_sub(1),
        };
    }

    /// The next filter's turn.
    pub(super) fn advance(&mut self) {
        self.turn = match self.stage {
            Stage::Start => None,
            Stage::Request => self.turn.map(|turn| turn + 1).filter(|turn| *turn < self.places.len()),
            Stage::Response | Stage::Close => self.turn.and_then(|turn| turn.checked_sub(1)),
        };
    }

    /// Whether the transaction waits for `what` of this filter.
    pub(super) fn waits(&self, index: Index, what: Waiting) -> bool {
        self.turn == Some(index) && self.waiting == what
    }

    /// The wait is over, if it was for `what` of this filter.
    pub(super) fn end_wait(&mut self, index: Index, what: Waiting) -> bool {
        let waited = self.waits(index, what);
        if waited {
            self.waiting = Waiting::Nothing;
        }
        waited
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(filters: usize, stage: Stage) -> Vec<Index> {
        let mut state = State::new(filters);
        state.begin(stage);
        let mut turns = Vec::new();
        while let Some(turn) = state.turn {
            turns.push(turn);
            state.advance();
        }
        turns
    }

    #[test]
    fn requests_go_down_the_chain_and_responses_up() {
        assert_eq!(turns(3, Stage::Request), [0, 1, 2]);
        assert_eq!(turns(3, Stage::Response), [2, 1, 0]);
        assert_eq!(turns(3, Stage::Close), [2, 1, 0]);
        assert!(turns(0, Stage::Request).is_empty());
        assert!(turns(0, Stage::Close).is_empty());
    }

    #[test]
    fn only_what_is_waited_for_ends_a_wait() {
        let mut state = State::new(2);
        state.begin(Stage::Request);
        state.waiting = Waiting::Filter;
        assert!(!state.end_wait(1, Waiting::Filter));
        assert!(!state.end_wait(0, Waiting::Vm));
        assert!(state.end_wait(0, Waiting::Filter));
        assert!(!state.end_wait(0, Waiting::Filter));
    }
}
