//! Threads as the client counts them: a debugged transaction, a root context that runs, and the proxy. Owns
//! their ids, which are never reused.

use std::collections::HashMap;
use std::sync::Arc;

use wasmdbg_control::stop::Context;
use wasmdbg_control::{FilterId, SlotId, StopId, TransactionId};
use wasmdbg_session::{Session, Stop};

use crate::adapter::{Adapter, Answer, Phase};
use crate::protocol::{Body, Thread, ThreadsBody};

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
}

impl Adapter {
    pub(crate) fn thread_list(&mut self) -> Answer {
        let proxy = if let Phase::Waiting(_) = self.phase { "proxy (gone)" } else { "proxy (always runs)" };
        let mut threads = vec![Thread { id: PROXY, name: proxy.into() }];
        if let Phase::Live(session) = &self.phase {
            let many = session.attached().filters.len() > 1;
            let name_of = |id: FilterId| {
                let named = session.attached().filters.iter().find(|filter| filter.filter == id);
                named.filter(|_| many).map_or_else(String::new, |filter| format!(" ({})", filter.name))
            };
            for stop in self.stops() {
                let (id, _) = self.threads.id(Who::of_stop(&stop));
                threads.push(Thread { id, name: stop.summary().thread + &name_of(stop.info().filter) });
            }
            // A proxy that does not answer has its own message.
            let list = session.transactions().map(|list| list.transactions).unwrap_or_default();
            for transaction in list {
                let (id, _) = self.threads.id(Who::Stream(transaction.id, transaction.filter));
                let name = format!("{} {} #{}", transaction.method, transaction.path, transaction.id);
                if threads.iter().all(|known| known.id != id) {
                    threads.push(Thread { id, name: name + &name_of(transaction.filter) });
                }
            }
            threads.sort_by_key(|thread| thread.id);
        }
        Ok(Some(Body::from(ThreadsBody { threads })))
    }

    /// The stop of a thread.
    pub(crate) fn stop_of(&mut self, thread: i64) -> Result<Arc<Stop>, String> {
        let who = self.threads.who(thread);
        self.session()?;
        let found = self.stops().into_iter().find(|stop| Some(Who::of_stop(stop)) == who);
        found.ok_or_else(|| match (thread, who) {
            (PROXY, _) => "the proxy always runs: choose a request that is stopped".into(),
            (_, None) => format!("there is no thread {thread}: its request is over"),
            (_, Some(_)) => "this request is not stopped".into(),
        })
    }
}
