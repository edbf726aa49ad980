//! Whose turn it is in the chain of filters, in each direction, and what a filter's decision means for that.
//! Pure bookkeeping: it knows no server, no virtual machine and no transaction.
//!
//! ```text
//!   request    filters in order      what is parked there holds up the request
//!   response   filters in reverse    what is parked there holds up the response
//!   close      filters in reverse    both directions are over
//! ```

use wasmdbg_proxy_wasm::{Action, LocalResponse, StreamType};

/// Place of a filter in the configuration.
pub(crate) type Index = usize;

/// Which hook the transaction stands in, or stood in last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Waiting {
    /// It does not.
    #[default]
    Nothing,
    /// A virtual machine.
    Machine,
    /// A callback that runs in the debug lane.
    Slot,
    /// The filter: it returned Pause, or is not done.
    Filter,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// This filter's turn.
    Turn(Index),
    /// Nothing until a wait is over.
    Park,
    /// All filters have had their turn.
    Pass,
    /// The transaction is answered here.
    Answer(Box<LocalResponse>),
    /// A filter that must run cannot: the transaction is refused.
    Unavailable,
    /// The connection is closed as far as the server can.
    Refuse,
}

/// Where one pass through the filters has come.
#[derive(Debug, Default)]
struct Cursor {
    /// The filter whose turn it is; none when the pass is over, or has not begun.
    turn: Option<Index>,
    waiting: Waiting,
    /// What was decided before it was known here that the filter has paused.
    decided: Option<Action>,
}

impl Cursor {
    fn at(turn: Option<Index>) -> Self {
        Self { turn, ..Self::default() }
    }

    fn waits(&self, index: Index, what: Waiting) -> bool {
        self.turn == Some(index) && self.waiting == what
    }

    /// The wait is over, if it was for `what` of this filter.
    fn end_wait(&mut self, index: Index, what: Waiting) -> bool {
        let waited = self.waits(index, what);
        if waited {
            self.waiting = Waiting::Nothing;
        }
        waited
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Chain {
    filters: usize,
    stage: Stage,
    request: Cursor,
    response: Cursor,
    close: Cursor,
    /// The filters have seen the response, or must not any more.
    response_seen: bool,
}

impl Chain {
    /// For so many filters.
    pub(crate) fn new(filters: usize) -> Self {
        Self {
            filters,
            stage: Stage::Start,
            request: Cursor::default(),
            response: Cursor::default(),
            close: Cursor::default(),
            response_seen: false,
        }
    }

    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }

    /// The transaction has come to a hook. The response's comes again when a filter has answered in it, which
    /// no filter sees.
    pub(crate) fn begin(&mut self, stage: Stage) {
        self.stage = stage;
        let (first, last) = (Some(0).filter(|_| self.filters > 0), self.filters.checked_sub(1));
        match stage {
            Stage::Start => {}
            Stage::Request => self.request = Cursor::at(first),
            Stage::Response => {
                let seen = std::mem::replace(&mut self.response_seen, true);
                self.response = Cursor::at(last.filter(|_| !seen));
            }
            Stage::Close => {
                self.stop();
                self.close = Cursor::at(last);
            }
        }
    }

    fn cursor(&mut self, stage: Stage) -> &mut Cursor {
        match stage {
            Stage::Start | Stage::Request => &mut self.request,
            Stage::Response => &mut self.response,
            Stage::Close => &mut self.close,
        }
    }

    /// Neither direction goes on.
    fn stop(&mut self) {
        self.request = Cursor::default();
        self.response = Cursor::default();
    }

    /// What is next where a pass stands.
    pub(crate) fn step(&mut self, stage: Stage) -> Step {
        self.cursor(stage).turn.map_or(Step::Pass, Step::Turn)
    }

    /// What follows from what the filter whose turn it is has decided. `fail_open`: it may be left out when
    /// it cannot run.
    pub(crate) fn follow(&mut self, stage: Stage, action: Action, fail_open: bool) -> Step {
        // At the end the client has had its response: nothing but a wait stops the pass.
        let over = stage == Stage::Close;
        match action {
            Action::Pause => {
                self.cursor(stage).waiting = Waiting::Filter;
                Step::Park
            }
            Action::Respond(response) if !over => {
                self.stop();
                Step::Answer(response)
            }
            Action::Close if !over => {
                self.stop();
                self.response_seen = true;
                Step::Refuse
            }
            Action::Failed if !over && !fail_open => {
                self.stop();
                Step::Unavailable
            }
            _ => self.advance(stage),
        }
    }

    /// The next filter's turn.
    fn advance(&mut self, stage: Stage) -> Step {
        let filters = self.filters;
        let cursor = self.cursor(stage);
        cursor.turn = cursor.turn.and_then(|turn| match stage {
            Stage::Start => None,
            Stage::Request => Some(turn + 1).filter(|turn| *turn < filters),
            Stage::Response | Stage::Close => turn.checked_sub(1),
        });
        self.step(stage)
    }

    /// A pass waits for something of the filter whose turn it is.
    pub(crate) fn wait(&mut self, stage: Stage, what: Waiting) {
        self.cursor(stage).waiting = what;
    }

    /// Whether the wait of a pass was for `what` of this filter: it is over.
    pub(crate) fn end_wait(&mut self, stage: Stage, index: Index, what: Waiting) -> bool {
        self.cursor(stage).end_wait(index, what)
    }

    /// Something else than its own callback has decided about what a filter paused: in one direction, or for the
    /// transaction as a whole, which ends the waits of both when it is asked again. With which stage it goes
    /// on, if it waits for that.
    pub(crate) fn decided(
        &mut self,
        index: Index,
        stream: Option<StreamType>,
        action: Action,
    ) -> Option<(Stage, Action)> {
        let stages: &[Stage] = match stream {
            Some(StreamType::Request) => &[Stage::Request],
            Some(StreamType::Response) => &[Stage::Response],
            Some(StreamType::Downstream | StreamType::Upstream) => &[],
            None => &[Stage::Close, Stage::Response, Stage::Request],
        };
        if let Some(stage) = stages.iter().find(|stage| self.end_wait(**stage, index, Waiting::Filter)) {
            return Some((*stage, action));
        }
        // The event that says so can come before the one of the callback's return.
        let overtaken = |stage: &&Stage| **stage != Stage::Close;
        for stage in stages.iter().filter(overtaken) {
            let cursor = self.cursor(*stage);
            if cursor.waits(index, Waiting::Slot) {
                cursor.decided = Some(action);
                break;
            }
        }
        None
    }

    /// A callback has returned in the debug lane: what goes on with, if it does not wait for the filter now.
    pub(crate) fn returned(&mut self, stage: Stage, index: Index, action: Action) -> Option<Action> {
        let cursor = self.cursor(stage);
        if !cursor.end_wait(index, Waiting::Slot) {
            return None;
        }
        let decided = cursor.decided.take();
        if action != Action::Pause {
            return Some(action);
        }
        if decided.is_none() {
            cursor.waiting = Waiting::Filter;
        }
        decided
    }

    /// Whether a direction still waits for this filter's word.
    pub(crate) fn waits_for(&self, index: Index) -> bool {
        [&self.request, &self.response].iter().any(|cursor| cursor.waits(index, Waiting::Filter))
    }

    /// No filter sees the transaction again. A slot that ends its part in TXN_CLOSE is waited for.
    pub(crate) fn abandon(&mut self) {
        self.response_seen = true;
        self.stop();
        if !self.ends_in_slot() {
            self.close = Cursor::default();
        }
    }

    /// TXN_CLOSE is held until a slot of the debug lane is done.
    pub(crate) fn ends_in_slot(&self) -> bool {
        self.stage == Stage::Close && self.close.waiting == Waiting::Slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIRECTIONS: [(Stage, StreamType); 2] =
        [(Stage::Request, StreamType::Request), (Stage::Response, StreamType::Response)];
    const OTHER: [(Stage, StreamType); 2] =
        [(Stage::Response, StreamType::Response), (Stage::Request, StreamType::Request)];

    fn respond() -> Action {
        let (details, body, headers) = Default::default();
        Action::Respond(Box::new(LocalResponse { status: 403, details, body, headers }))
    }

    fn answer() -> Step {
        match respond() {
            Action::Respond(response) => Step::Answer(response),
            _ => Step::Pass,
        }
    }

    /// Three filters, and the turn of the second.
    fn second(stage: Stage) -> Chain {
        let mut chain = Chain::new(3);
        chain.begin(stage);
        chain.follow(stage, Action::Continue, true);
        assert_eq!(chain.step(stage), Step::Turn(1));
        chain
    }

    #[test]
    fn requests_go_down_the_chain_and_responses_up() {
        let turns = |filters: usize, stage: Stage| {
            let mut chain = Chain::new(filters);
            chain.begin(stage);
            let (mut turns, mut step) = (Vec::new(), chain.step(stage));
            while let Step::Turn(index) = step {
                turns.push(index);
                step = chain.follow(stage, Action::Continue, false);
            }
            assert_eq!(step, Step::Pass);
            turns
        };
        for (filters, stage, expected) in [
            (3, Stage::Request, &[0, 1, 2][..]),
            (3, Stage::Response, &[2, 1, 0]),
            (3, Stage::Close, &[2, 1, 0]),
            (1, Stage::Request, &[0]),
            (0, Stage::Request, &[]),
            (0, Stage::Response, &[]),
            (0, Stage::Close, &[]),
        ] {
            assert_eq!(turns(filters, stage), expected, "{filters} filters, {stage:?}");
        }
    }

    #[test]
    fn a_decision_leads_to_what_it_says() {
        for (stage, action, fail_open, expected) in [
            (Stage::Request, Action::Continue, false, Step::Turn(2)),
            (Stage::Request, Action::Pause, false, Step::Park),
            (Stage::Request, respond(), true, answer()),
            (Stage::Request, Action::Close, true, Step::Refuse),
            (Stage::Request, Action::Failed, true, Step::Turn(2)),
            (Stage::Request, Action::Failed, false, Step::Unavailable),
            (Stage::Response, Action::Continue, false, Step::Turn(0)),
            (Stage::Response, Action::Pause, false, Step::Park),
            (Stage::Response, respond(), true, answer()),
            (Stage::Response, Action::Close, true, Step::Refuse),
            (Stage::Response, Action::Failed, true, Step::Turn(0)),
            (Stage::Response, Action::Failed, false, Step::Unavailable),
            (Stage::Close, Action::Continue, false, Step::Turn(0)),
            (Stage::Close, Action::Pause, false, Step::Park),
            (Stage::Close, respond(), true, Step::Turn(0)),
            (Stage::Close, Action::Close, true, Step::Turn(0)),
            (Stage::Close, Action::Failed, false, Step::Turn(0)),
        ] {
            let said = format!("{action:?} in {stage:?}, fail_open {fail_open}");
            assert_eq!(second(stage).follow(stage, action, fail_open), expected, "{said}");
        }
    }

    #[test]
    fn filters_see_a_response_once_and_none_after_a_refusal() {
        for (ended, again, seen) in [
            // An answer in the request: its response is seen, and that alone.
            (respond(), Stage::Request, true),
            (Action::Failed, Stage::Request, true),
            (Action::Close, Stage::Request, false),
            // In the response: the hook comes again for the answer.
            (respond(), Stage::Response, false),
            (Action::Close, Stage::Response, false),
        ] {
            let said = format!("{ended:?} in {again:?}");
            let mut chain = second(again);
            chain.follow(again, ended, false);
            assert_eq!(chain.step(again), Step::Pass, "{said}: no further filter");
            chain.begin(Stage::Response);
            let expected = if seen { Step::Turn(2) } else { Step::Pass };
            assert_eq!(chain.step(Stage::Response), expected, "{said}");
            chain.begin(Stage::Close);
            assert_eq!(chain.step(Stage::Close), Step::Turn(2), "{said}");
        }
    }

    #[test]
    fn only_what_is_waited_for_ends_a_wait() {
        for (waits, index, what, ended) in [
            (Waiting::Filter, 1, Waiting::Filter, true),
            (Waiting::Filter, 0, Waiting::Filter, false),
            (Waiting::Filter, 1, Waiting::Machine, false),
            (Waiting::Machine, 1, Waiting::Machine, true),
            (Waiting::Machine, 1, Waiting::Slot, false),
            (Waiting::Nothing, 1, Waiting::Filter, false),
        ] {
            let mut chain = second(Stage::Request);
            chain.wait(Stage::Request, waits);
            assert_eq!(chain.end_wait(Stage::Request, index, what), ended, "{waits:?}: {what:?} of {index}");
            assert!(!chain.end_wait(Stage::Request, index, what), "once");
        }
    }

    #[test]
    fn each_direction_pauses_and_goes_on_by_itself() {
        for ((stage, stream), (other, other_stream)) in DIRECTIONS.into_iter().zip(OTHER) {
            // Both bodies are on their way, and the same filter holds both.
            let mut chain = Chain::new(1);
            chain.begin(Stage::Request);
            chain.begin(Stage::Response);
            for stage in [Stage::Request, Stage::Response] {
                assert_eq!(chain.follow(stage, Action::Pause, false), Step::Park);
            }
            let decided = chain.decided(0, Some(stream), Action::Continue);
            assert_eq!(decided, Some((stage, Action::Continue)));
            assert!(chain.waits_for(0), "{other:?} stays parked");
            assert_eq!(chain.decided(0, Some(stream), Action::Continue), None, "once");
            assert_eq!(chain.follow(stage, Action::Continue, false), Step::Pass);
            assert_eq!(chain.step(other), Step::Turn(0));
            assert!(chain.decided(0, Some(other_stream), Action::Continue).is_some());
            assert!(!chain.waits_for(0));
        }
    }

    #[test]
    fn what_is_for_the_whole_transaction_reaches_both_directions() {
        let both = || {
            let mut chain = Chain::new(1);
            chain.begin(Stage::Request);
            chain.begin(Stage::Response);
            chain.follow(Stage::Request, Action::Pause, false);
            chain.follow(Stage::Response, Action::Pause, false);
            chain
        };
        let mut chain = both();
        assert_eq!(chain.decided(0, None, Action::Failed), Some((Stage::Response, Action::Failed)));
        assert_eq!(chain.follow(Stage::Response, Action::Failed, true), Step::Pass);
        assert_eq!(chain.decided(0, None, Action::Failed), Some((Stage::Request, Action::Failed)));
        let mut chain = both();
        assert!(chain.decided(0, None, respond()).is_some());
        assert_eq!(chain.follow(Stage::Response, respond(), true), answer());
        assert_eq!(chain.decided(0, None, respond()), None, "one answer");
        assert!(!chain.waits_for(0));
    }

    #[test]
    fn a_decision_that_overtakes_its_callback_counts_for_its_direction() {
        for (stage, stream) in DIRECTIONS {
            for (decided, returned, expected, waits) in [
                (Some(stream), Action::Pause, Some(Action::Continue), false),
                (None, Action::Pause, Some(Action::Continue), false),
                (Some(StreamType::Upstream), Action::Pause, None, true),
                (Some(stream), Action::Failed, Some(Action::Failed), false),
            ] {
                let mut chain = second(stage);
                chain.wait(stage, Waiting::Slot);
                assert_eq!(chain.decided(1, decided, Action::Continue), None, "its callback is under way");
                assert_eq!(chain.returned(stage, 1, returned), expected, "{stage:?}, {decided:?}");
                assert_eq!(chain.waits_for(1), waits, "{stage:?}, {decided:?}");
            }
        }
        let mut chain = second(Stage::Close);
        chain.wait(Stage::Close, Waiting::Slot);
        assert_eq!(chain.decided(1, None, Action::Failed), None);
        assert_eq!(chain.returned(Stage::Close, 1, Action::Continue), Some(Action::Continue));
    }

    #[test]
    fn the_end_stops_both_directions() {
        let mut chain = second(Stage::Request);
        chain.follow(Stage::Request, Action::Pause, false);
        chain.begin(Stage::Close);
        assert_eq!(chain.decided(1, Some(StreamType::Request), Action::Continue), None);
        assert_eq!((chain.step(Stage::Request), chain.step(Stage::Close)), (Step::Pass, Step::Turn(2)));
        // A filter that is not done.
        chain.follow(Stage::Close, Action::Pause, false);
        assert_eq!(chain.decided(2, None, Action::Continue), Some((Stage::Close, Action::Continue)));
        assert_eq!(chain.follow(Stage::Close, Action::Continue, false), Step::Turn(1));
    }

    #[test]
    fn what_is_abandoned_waits_for_nothing_but_a_slot_at_its_end() {
        for (stage, waits, kept) in [
            (Stage::Request, Waiting::Filter, false),
            (Stage::Request, Waiting::Slot, false),
            (Stage::Response, Waiting::Filter, false),
            (Stage::Close, Waiting::Filter, false),
            (Stage::Close, Waiting::Slot, true),
        ] {
            let mut chain = second(stage);
            chain.wait(stage, waits);
            chain.abandon();
            assert_eq!(chain.end_wait(stage, 1, waits), kept, "{stage:?}, {waits:?}");
            chain.begin(Stage::Response);
            assert_eq!(chain.step(Stage::Response), Step::Pass, "no filter sees a response");
        }
    }
}
