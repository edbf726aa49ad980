//! The contexts of one virtual machine: whose callback runs, on whose behalf host functions act, who is
//! parked, and what callbacks have decided. Pure bookkeeping: never enters the guest.

use std::collections::{HashMap, hash_map};
use std::time::{Duration, Instant};

use rustc_hash::FxBuildHasher;
use wasmdbg_control::{ContextId, TransactionId};

use crate::config::Limits;
use crate::embedder::{HeaderMap, Status, Transaction};
use crate::outcome::{Action, Effect, StreamType};
use crate::vm::entry::{Entry, NO_CONTEXT, ROOT_CONTEXT};
use crate::vm::lent::{Lent, Write, Written};
use crate::vm::mailbox::Letter;
use crate::vm::waits::{Wait, Waiting, Waits};

/// A transaction's context.
struct Stream {
    transaction: Box<dyn Transaction>,
    waits: Waits,
    /// What host functions decided during the callback that runs.
    decided: Option<Action>,
    /// What the filter has written into each header map.
    written: [Written; 4],
    /// What it has written into properties.
    properties: Written,
}

/// What a context waited for longer than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// The filter paused its transaction.
    Pause,
    /// `proxy_on_done` returned false.
    Done,
}

/// See the module.
pub(crate) struct Contexts {
    streams: HashMap<u32, Stream, FxBuildHasher>,
    last: u32,
    current: ContextId,
    effective: ContextId,
    /// The running callback's result can be overruled by host functions.
    decides: bool,
    /// The direction that the running callback is about.
    direction: Option<StreamType>,
    /// The map that the running callback is about, with the number of its fields when it began.
    counted: Option<(HeaderMap, u32)>,
    letter: Option<Letter>,
    effects: Vec<Effect>,
    ended: Vec<ContextId>,
    waiting: Waiting,
}

impl Contexts {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            streams: HashMap::default(),
            last: ROOT_CONTEXT.0,
            current: NO_CONTEXT,
            effective: NO_CONTEXT,
            decides: false,
            direction: None,
            counted: None,
            letter: None,
            effects: Vec::new(),
            ended: Vec::new(),
            waiting: Waiting::new(limits),
        }
    }

    /// Numbers upward and never reuses a number that is still alive.
    pub(crate) fn add(&mut self, transaction: Box<dyn Transaction>) -> ContextId {
        loop {
            self.last = self.last.checked_add(1).unwrap_or(ROOT_CONTEXT.0 + 1);
            if let hash_map::Entry::Vacant(free) = self.streams.entry(self.last) {
                free.insert(Stream {
                    transaction,
                    waits: Waits::default(),
                    decided: None,
                    written: Default::default(),
                    properties: Written::default(),
                });
                return ContextId(self.last);
            }
        }
    }

    pub(crate) fn remove(&mut self, context: ContextId) {
        if let Some(mut stream) = self.streams.remove(&context.0) {
            self.waiting.end_all(context, &mut stream.waits);
        }
    }

    /// When [`Contexts::overdue`] has something; `None`: nothing waits.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.waiting.next_deadline()
    }

    /// Whether a context waits for its filter, and not for ever.
    #[inline]
    pub(crate) fn waits(&self) -> bool {
        self.waiting.any_deadline()
    }

    /// A context that has waited for its filter as long as it may. It does not wait any more.
    pub(crate) fn overdue(&mut self, now: Instant) -> Option<(ContextId, Overdue)> {
        let context = self.waiting.overdue(now)?;
        let stream = self.streams.get_mut(&context.0)?;
        let overdue = if stream.waits.contains(Wait::Done) { Overdue::Done } else { Overdue::Pause };
        self.waiting.end_all(context, &mut stream.waits);
        Some((context, overdue))
    }

    /// A debugger held the virtual machine for `time`, which is not the filter's.
    pub(crate) fn hold(&mut self, time: Duration) {
        self.waiting.hold(time);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    pub(crate) fn is_alive(&self, context: ContextId) -> bool {
        self.streams.contains_key(&context.0)
    }

    /// Contexts parked by the filter.
    pub(crate) fn paused(&self) -> u64 {
        self.waiting.paused()
    }

    /// The root context is about to get `letter`; `None`: it has had the one that is returned.
    pub(crate) fn open(&mut self, letter: Option<Letter>) -> Option<Letter> {
        std::mem::replace(&mut self.letter, letter)
    }

    /// What the callback that runs has brought. Callbacks of other contexts can follow from it: they have nothing.
    pub(crate) fn letter(&self) -> Option<&Letter> {
        self.letter.as_ref().filter(|_| self.current == ROOT_CONTEXT)
    }

    /// Before an entry into the guest.
    pub(crate) fn begin(&mut self, entry: Entry) {
        self.current = entry.context();
        self.effective = self.current;
        self.decides = entry.decides();
        (self.direction, self.counted) = match entry {
            Entry::Stream { callback, size, .. } => {
                (Some(callback.stream()), Some((callback.sized_by(), size)))
            }
            _ => (None, None),
        };
    }

    /// After an entry into the guest: what it means for the context it was made for.
    #[inline]
    pub(crate) fn finish(&mut self, entry: Entry, result: i32) -> Action {
        // Nothing can have been decided in the others.
        if std::mem::replace(&mut self.decides, false) {
            self.decision(entry, result)
        } else {
            Action::Continue
        }
    }

    fn decision(&mut self, entry: Entry, result: i32) -> Action {
        let Some(stream) = self.streams.get_mut(&self.current.0) else { return Action::Continue };
        if let Some(action) = stream.decided.take() {
            if action != Action::Continue {
                // Neither direction goes on.
                self.waiting.end_all(self.current, &mut stream.waits);
            }
            return action;
        }
        match entry {
            // 2 (continue and end the stream) is what older SDKs return.
            Entry::Stream { callback, .. } if result != 0 && result != 2 => {
                if let Some(wait) = Wait::of_stream(callback.stream()) {
                    self.waiting.begin(self.current, &mut stream.waits, wait, Instant::now());
                }
                Action::Pause
            }
            _ => Action::Continue,
        }
    }

    /// What the last entry did to other contexts.
    pub(crate) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// It has happened to the transaction of `context` as a whole.
    pub(crate) fn push_effect(&mut self, context: ContextId, action: Action) {
        self.effects.push(Effect { context, stream: None, action });
    }

    /// The transaction is over: it is not parked any more, and nothing can be decided for it. Whether there
    /// is such a context.
    pub(crate) fn closing(&mut self, context: ContextId) -> bool {
        let Some(stream) = self.streams.get_mut(&context.0) else { return false };
        self.waiting.end_all(context, &mut stream.waits);
        true
    }

    /// `proxy_on_done` returned false.
    pub(crate) fn ending(&mut self, context: ContextId) {
        if let Some(stream) = self.streams.get_mut(&context.0) {
            self.waiting.end_all(context, &mut stream.waits);
            self.waiting.begin(context, &mut stream.waits, Wait::Done, Instant::now());
        }
    }

    /// A context whose `proxy_done` has been called; its log and delete are due.
    pub(crate) fn next_ended(&mut self) -> Option<ContextId> {
        self.ended.pop()
    }

    /// `proxy_done`
    pub(crate) fn done(&mut self) -> Result<(), Status> {
        let stream = self.streams.get_mut(&self.effective.0).ok_or(Status::NotFound)?;
        if !self.waiting.end(self.effective, &mut stream.waits, Wait::Done) {
            return Err(Status::NotFound);
        }
        self.ended.push(self.effective);
        Ok(())
    }

    /// `proxy_set_effective_context`
    pub(crate) fn set_effective(&mut self, context: ContextId) -> Result<(), Status> {
        if context != ROOT_CONTEXT && !self.is_alive(context) {
            return Err(Status::BadArgument);
        }
        self.effective = context;
        Ok(())
    }

    /// The transaction that host functions act on.
    pub(crate) fn transaction(&mut self) -> Result<&mut (dyn Transaction + 'static), Status> {
        let stream = self.streams.get_mut(&self.effective.0).ok_or(Status::BadArgument)?;
        Ok(&mut *stream.transaction)
    }

    /// A header map of that transaction.
    #[inline]
    pub(crate) fn headers(&mut self, map: HeaderMap) -> Result<Lent<'_>, Status> {
        // Since the running callback began, only its filter can have changed the map that it is about.
        let counted = self.counted.filter(|(counted, _)| *counted == map && self.effective == self.current);
        let stream = self.streams.get_mut(&self.effective.0).ok_or(Status::BadArgument)?;
        Ok(Lent {
            headers: stream.transaction.headers(map)?,
            written: &mut stream.written[map as usize],
            counted: counted.map(|(_, count)| count),
        })
    }

    /// Whether `write` may be done to properties of that transaction that are not in a header map: see
    /// [`Written::admit`].
    pub(crate) fn admit_property(&mut self, write: Write, limits: &Limits) -> Result<bool, Status> {
        let stream = self.streams.get_mut(&self.effective.0).ok_or(Status::BadArgument)?;
        Ok(stream.properties.admit(write, limits).is_some())
    }

    pub(crate) fn transaction_of(&mut self, context: ContextId) -> Option<&mut (dyn Transaction + 'static)> {
        Some(&mut *self.streams.get_mut(&context.0)?.transaction)
    }

    /// The transaction that host functions act on, for logs.
    pub(crate) fn transaction_id(&self) -> Option<TransactionId> {
        self.streams.get(&self.effective.0).map(|stream| stream.transaction.id())
    }

    /// `proxy_continue_stream`: an answer or a close that was decided before stays.
    pub(crate) fn resume(&mut self, stream_type: StreamType) -> Result<(), Status> {
        let own = self.decides && self.effective == self.current;
        let stream = self.streams.get_mut(&self.effective.0).ok_or(Status::BadArgument)?;
        if own && self.direction.is_none_or(|direction| direction == stream_type) {
            stream.decided.get_or_insert(Action::Continue);
        } else if let Some(wait) = Wait::of_stream(stream_type)
            && self.waiting.end(self.effective, &mut stream.waits, wait)
        {
            let stream = Some(stream_type);
            self.effects.push(Effect { context: self.effective, stream, action: Action::Continue });
        }
        Ok(())
    }

    /// A local response or a close for the effective context. The first one counts.
    pub(crate) fn decide(&mut self, action: Action) -> Result<(), Status> {
        let own = self.decides && self.effective == self.current;
        let stream = self.streams.get_mut(&self.effective.0).ok_or(Status::BadArgument)?;
        if own {
            if matches!(stream.decided, None | Some(Action::Continue)) {
                stream.decided = Some(action);
            }
            return Ok(());
        }
        if !stream.waits.paused() {
            return Err(Status::BadArgument);
        }
        self.waiting.end_all(self.effective, &mut stream.waits);
        self.push_effect(self.effective, action);
        Ok(())
    }

    /// The virtual machine died: every context fails but `called`, whose callback's result says so. What
    /// the callback had decided for others before it died does not count, unless their context has ended
    /// already. Returns how many others there were.
    pub(crate) fn fail_all(&mut self, called: ContextId) -> u64 {
        self.effects.retain(|effect| !self.streams.contains_key(&effect.context.0));
        self.streams.remove(&called.0);
        self.ended.clear();
        self.waiting.clear();
        let mut lost: Vec<u32> = self.streams.drain().map(|(id, _)| id).collect();
        lost.sort_unstable();
        let count = lost.len() as u64;
        lost.into_iter().for_each(|id| self.push_effect(ContextId(id), Action::Failed));
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_without_its_context_is_over_once() {
        let limit = Duration::from_secs(1);
        let mut contexts = Contexts::new(&Limits { pause: Some(limit), ..Limits::default() });
        let now = Instant::now();
        contexts.waiting.begin(ContextId(2), &mut Waits::default(), Wait::Request, now);
        assert_eq!(contexts.next_deadline(), Some(now + limit));
        assert_eq!(contexts.overdue(now + limit), None);
        assert_eq!(contexts.next_deadline(), None);
    }
}
