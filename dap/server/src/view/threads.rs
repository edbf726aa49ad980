//! Threads as the client counts them: a debugged transaction, a root context that runs, and the proxy. Owns
//! their ids, which are never reused.

use std::collections::HashMap;
use std::sync::Arc;

use wasmdbg_control::stop::Context;
use wasmdbg_control::{FilterId, SlotId, StopId, TransactionId};
use wasmdbg_session::{Session, Stop};

/// The thread that stands for all that is not debugged. It always runs.
pub(crate) const PROXY: i64 = 1;

/// Who a thread is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    /// A transaction in one filter.
    Stream(TransactionId, FilterId),
    /// The filter itself, in one of its virtual machines.
    Root(SlotId),
}

impl Who {
    pub(crate) fn of(context: &Context, filter: FilterId, slot: SlotId) -> Self {
        match context {
            Context::Stream { transaction, .. } => Self::Stream(*transaction, filter),
            Context::Root { .. } => Self::Root(slot),
        }
    }

    pub(crate) fn of_stop(stop: &Stop) -> Self {
        let info = stop.info();
        Self::of(&info.context, info.filter, info.slot)
    }
}

/// The ids.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    ids: HashMap<Who, i64>,
    last: i64,
    /// Who stood last in a slot.
    slots: HashMap<SlotId, Who>,
    /// The thread that stopped last and stands.
    focus: Option<StopId>,
}

impl Threads {
    /// The id, and whether it is a new one.
    pub(crate) fn id(&mut self, who: Who) -> (i64, bool) {
        if let Some(id) = self.ids.get(&who) {
            return (*id, false);
        }
        self.last = self.last.max(PROXY) + 1;
        self.ids.insert(who, self.last);
        (self.last, true)
    }

    pub(crate) fn known(&self, who: Who) -> Option<i64> {
        self.ids.get(&who).copied()
    }

    /// The thread whose stop was in a slot.
    pub(crate) fn of_slot(&self, slot: SlotId) -> Option<i64> {
        self.slots.get(&slot).and_then(|who| self.known(*who))
    }

    /// A thread stands in a slot.
    pub(crate) fn stands(&mut self, slot: SlotId, who: Who) {
        self.slots.insert(slot, who);
    }

    pub(crate) fn remove(&mut self, who: Who) -> Option<i64> {
        self.ids.remove(&who)
    }

    /// All are over. Returns their ids.
    pub(crate) fn clear(&mut self) -> Vec<i64> {
        self.slots.clear();
        self.focus = None;
        let mut ids: Vec<_> = self.ids.drain().map(|(_, id)| id).collect();
        ids.sort_unstable();
        ids
    }

    pub(crate) fn who(&self, id: i64) -> Option<Who> {
        self.ids.iter().find(|(_, known)| **known == id).map(|(who, _)| *who)
    }

    pub(crate) fn focus_on(&mut self, stop: StopId) {
        self.focus = Some(stop);
    }

    /// The stop that the user looks at, as far as it stands.
    pub(crate) fn focus(&self, session: &Session) -> Option<Arc<Stop>> {
        let focus = self.focus.and_then(|stop| session.stop(stop).ok());
        focus.or_else(|| session.stops().into_iter().rfind(|stop| stop.info().control))
    }

    /// The same for a command that needs one.
    pub(crate) fn focus_or_why_not(&self, session: &Session) -> Result<Arc<Stop>, String> {
        self.focus(session).ok_or_else(|| "nothing is stopped: send a request that matches".into())
    }

    /// The stop of a thread.
    pub(crate) fn stop_of(&self, session: &Session, thread: i64) -> Result<Arc<Stop>, String> {
        let who = self.who(thread);
        let found = controlled(session).into_iter().find(|stop| Some(Who::of_stop(stop)) == who);
        found.ok_or_else(|| match (thread, who) {
            (PROXY, _) => "the proxy always runs: choose a request that is stopped".into(),
            (_, None) => format!("there is no thread {thread}: its request is over"),
            (_, Some(_)) => "this request is not stopped".into(),
        })
    }
}

/// What is stopped and this session's to let go, oldest first.
pub(crate) fn controlled(session: &Session) -> Vec<Arc<Stop>> {
    session.stops().into_iter().filter(|stop| stop.info().control).collect()
}
