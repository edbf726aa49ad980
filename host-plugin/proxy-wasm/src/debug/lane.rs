//! The debug lane as the rest of the plugin sees it: which transactions it takes, and the way their
//! callbacks go to a slot. Owns the tables of sessions, slots and stops; each lock is held for a look or
//! a change of a table, never while a guest runs or anything waits.
//!
//! Event threads come here. They never compile, never wait, and pay one relaxed load while nobody is
//! attached; everything else they do here is measured.
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, mpsc};
use std::time::{Duration, Instant};

use wasmdbg_control::server::Waker;
use wasmdbg_control::status::Histogram;
use wasmdbg_control::stop::ReleaseCause;
use wasmdbg_control::transactions::Missed;
use wasmdbg_control::{Event, FilterId, ModuleHash, SessionId, SlotId, StopId, TransactionId};
use wasmtime::{Engine, InstancePre};

use super::engine::{CompileError, DebugModule};
use super::histogram::{Measuring, WorkHistogram};
use super::rules::Candidate;
use super::session::{Session, Wish};
use super::slot::{Activity, Bound, Job, Slot};
use super::stop::{Command, Standing};
use crate::embedder::{Level, RequestFacts};
use crate::filter::core::FilterCore;
use crate::filter::runtime::Runtime;
use crate::vm::state::VmState;

/// Events about missed transactions that wait; more are only counted.
const MISSED_WAITING: usize = 64;
/// After a slot that could not start, how long transactions get none of their own.
const RETRY: Duration = Duration::from_secs(1);
/// Linear memory that a slot is expected to take before one of the filter has been seen to run.
const EXPECTED_MEMORY: u64 = 2 << 20;

/// See the module.
pub struct DebugLane {
    pub(crate) runtime: Arc<Runtime>,
    attached: AtomicUsize,
    sessions: RwLock<Arc<[Arc<Session>]>>,
    tables: Mutex<Tables>,
    notes: Mutex<Notes>,
    waker: OnceLock<Waker>,
    work: WorkHistogram,
}

/// What slots and stops there are.
#[derive(Default)]
pub(crate) struct Tables {
    pub(crate) slots: Vec<Arc<Slot>>,
    pub(crate) stops: BTreeMap<StopId, Standing>,
    /// Filters whose slots can be made.
    pub(crate) codes: BTreeMap<FilterId, Arc<SlotCode>>,
    /// The last slot of each that could not start: when, and why.
    failures: BTreeMap<FilterId, (Instant, String)>,
    next_slot: u32,
    next_stop: u64,
}

/// What every slot of a filter starts from.
pub(crate) struct SlotCode {
    pub(crate) core: Arc<FilterCore>,
    pub(crate) engine: Engine,
    pub(crate) module: Arc<DebugModule>,
    pub(crate) instance: InstancePre<VmState>,
}

/// What other threads tell the agent.
pub(crate) enum Note {
    /// A compile is over; and what was wrong with the disk cache.
    Compiled(ModuleHash, Result<DebugModule, CompileError>, Option<String>),
    /// A slot needs its thread.
    Spawn(Arc<Slot>, mpsc::Receiver<Job>, Arc<SlotCode>),
    /// A slot has passed configure: an attach may wait for it.
    Ready,
    /// A slot of a filter cannot start (again), and is closing.
    Failed(FilterId, String),
    /// A slot's thread is about to end.
    Gone(SlotId),
}

#[derive(Default)]
struct Notes {
    /// Nobody is left to read them.
    closed: bool,
    notes: Vec<Note>,
    missed: VecDeque<(SessionId, Missed)>,
}

impl DebugLane {
    /// A lane that nobody is attached to.
    pub fn new(runtime: Arc<Runtime>) -> Arc<Self> {
        Arc::new(Self {
            runtime,
            attached: AtomicUsize::new(0),
            sessions: RwLock::new(Arc::from([])),
            tables: Mutex::default(),
            notes: Mutex::default(),
            waker: OnceLock::new(),
            work: WorkHistogram::default(),
        })
    }

    /// Whether anybody is attached: one relaxed load.
    #[inline]
    pub fn any_session(&self) -> bool {
        self.attached.load(Relaxed) != 0
    }

    /// Measures work for the debug lane on an event thread, until the guard is dropped. The functions
    /// here that event threads call do so themselves.
    pub fn measure(&self) -> Measuring<'_> {
        self.work.measure()
    }

    /// What has been measured.
    pub fn event_thread_work(&self) -> Histogram {
        self.work.snapshot()
    }

    /// As [`DebugLane::measure`], for what is done for each transaction while somebody is attached,
    /// wanted or not: see [`WorkHistogram::sample`].
    pub fn sample(&self) -> Option<Measuring<'_>> {
        self.work.sample()
    }

    /// A slot for the transaction, if a session wants it in its debug lane of `filter` and one is free.
    pub(super) fn slot_for(
        &self,
        filter: FilterId,
        transaction: TransactionId,
        request: &Candidate<'_>,
    ) -> Option<Arc<Slot>> {
        let sampling = self.sample();
        let sessions = self.sessions();
        let mut wanting = sessions.iter().filter_map(|session| {
            let wish = session.wish(filter).filter(|wish| !wish.core.role.is_service())?;
            wish.rules.take(transaction, request).then_some((session, wish))
        });
        let first = wanting.next()?;
        drop(sampling);
        let _measuring = self.measure();
        let facts = request.facts();
        for (session, wish) in std::iter::once(first).chain(wanting) {
            let ready = wish.is_ready();
            match self.claim(session, wish, transaction, facts) {
                Ok(slot) => return Some(slot),
                Err(reason) => self.miss(session, wish, facts, reason),
            }
            // One that takes none yet leaves them to others; a slot that is not there is there for nobody.
            if ready {
                break;
            }
        }
        count_missed(first.1);
        None
    }

    /// Whether a session waits for the filter to start in its debug lane: a host whose only purpose is to
    /// be debugged waits as well.
    pub fn is_starting(&self, filter: FilterId) -> bool {
        self.any_session()
            && self.sessions().iter().any(|session| session.wish(filter).is_some_and(Wish::is_starting))
            && self.tables().codes.contains_key(&filter)
    }

    fn claim(
        &self,
        session: &Session,
        wish: &Wish,
        transaction: TransactionId,
        facts: &RequestFacts,
    ) -> Result<Arc<Slot>, String> {
        if !wish.is_ready() {
            let text = match wish.is_starting() {
                true => "the debug lane is not ready yet",
                false => "the debug lane of this filter has failed: attach again",
            };
            return Err(String::from(text));
        }
        let bound = Bound {
            transaction,
            facts: facts.clone(),
            session: session.id,
            since: Instant::now(),
            activity: Activity::Proxy,
            entered: false,
            unstoppable: false,
        };
        let mut tables = self.tables();
        let free =
            |slot: &&Arc<Slot>| slot.filter == wish.filter && slot.is_open() && slot.lock().bound.is_none();
        // One that has started, before one that has yet to.
        let found = tables.slots.iter().filter(free).max_by_key(|slot| slot.lock().ready).cloned();
        if let Some(slot) = found {
            slot.lock().bound = Some(bound);
            return Ok(slot);
        }
        if let Some((_, reason)) =
            tables.failures.get(&wish.filter).filter(|(when, _)| when.elapsed() < RETRY)
        {
            return Err(not_started(reason));
        }
        let (slot, spawn) = self.make_slot(&mut tables, wish.filter)?;
        slot.lock().bound = Some(bound);
        self.note(spawn);
        Ok(slot)
    }

    /// A new slot of `filter`, which gets its thread when the note is given to the agent. Until then it can be
    /// taken back by [`DebugLane::drop_slot`].
    ///
    /// # Errors
    /// Why there can be none.
    pub(crate) fn make_slot(
        &self,
        tables: &mut Tables,
        filter: FilterId,
    ) -> Result<(Arc<Slot>, Note), String> {
        let Some(code) = tables.codes.get(&filter).cloned() else {
            return Err(String::from("the debug lane of this filter is gone"));
        };
        let limits = &self.runtime.settings.debug;
        let used = tables.slots.len();
        if used >= limits.max_vms as usize {
            return Err(format!("no slot was free ({used} of {} in use)", limits.max_vms));
        }
        let image = code.module.image_size();
        let of_filter = tables.slots.iter().filter(|slot| slot.filter == filter);
        let expected = of_filter.map(|slot| slot.memory.load(Relaxed)).max().unwrap_or(0);
        let expected = expected.max(image + EXPECTED_MEMORY);
        let taken: u64 = tables.slots.iter().map(|slot| slot.memory.load(Relaxed)).sum();
        if taken + expected > limits.max_memory {
            return Err(format!(
                "another slot would need {} MB, and {} of {} MB are in use (debug.max_memory)",
                expected.div_ceil(1 << 20),
                taken >> 20,
                limits.max_memory >> 20
            ));
        }
        let id = SlotId(tables.next_slot);
        tables.next_slot = tables.next_slot.wrapping_add(1);
        let about = (filter, code.core.config.name.clone(), code.core.module);
        let (slot, jobs) = Slot::new(id, about, code.engine.weak(), expected);
        let slot = Arc::new(slot);
        tables.slots.push(Arc::clone(&slot));
        Ok((Arc::clone(&slot), Note::Spawn(slot, jobs, code)))
    }

    /// There is no such slot any more; nobody is bound to it.
    pub(crate) fn drop_slot(&self, id: SlotId) {
        self.tables().slots.retain(|slot| slot.id != id);
    }

    /// A slot cannot start (again), and serves no more. Told to the agent, and to the host's log.
    pub(crate) fn slot_failed(&self, slot: &Slot, reason: String) {
        self.warn(slot, &format!("a debug slot cannot start: {reason}"));
        {
            let mut tables = self.tables();
            slot.closing.store(true, Ordering::Release);
            tables.failures.insert(slot.filter, (Instant::now(), reason.clone()));
        }
        self.note(Note::Failed(slot.filter, reason));
    }

    /// Frees a slot from its transaction, which has not entered it.
    pub(super) fn unbind(&self, slot: &Slot) -> Option<Bound> {
        let bound = slot.lock().bound.take();
        self.poke(slot);
        if slot.orphan.load(Ordering::Acquire) {
            self.wake();
        }
        bound
    }

    /// The transaction of a slot that does not begin is no longer there; its session missed it.
    pub(super) fn turn_away(&self, slot: &Slot) {
        let Some(bound) = self.unbind(slot) else { return };
        let reason = match self.tables().failures.get(&slot.filter) {
            Some((_, reason)) => not_started(reason),
            None => String::from("its debug slot ended before it began"),
        };
        let sessions = self.sessions();
        let session = sessions.iter().find(|session| session.id == bound.session);
        if let Some((session, wish)) = session.and_then(|session| Some((session, session.wish(slot.filter)?)))
        {
            self.miss(session, wish, &bound.facts, reason);
            count_missed(wish);
        }
    }

    fn miss(&self, session: &Session, wish: &Wish, facts: &RequestFacts, reason: String) {
        wish.rules.put_back();
        let total = session.missed.fetch_add(1, Relaxed) + 1;
        {
            let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
            if notes.missed.len() < MISSED_WAITING {
                let (method, path) = (facts.shown_method(), facts.shown_path());
                let missed = Missed { filter: wish.filter, method, path, reason, total };
                notes.missed.push_back((session.id, missed));
            }
        }
        self.wake();
    }

    // Sessions.

    pub(crate) fn sessions(&self) -> Arc<[Arc<Session>]> {
        Arc::clone(&self.sessions.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn add_session(&self, session: Arc<Session>) {
        let mut sessions = self.sessions.write().unwrap_or_else(PoisonError::into_inner);
        *sessions = sessions.iter().cloned().chain([session]).collect();
        self.attached.store(sessions.len(), Relaxed);
    }

    /// Ends a session: what it held goes on, and what it wanted is forgotten. Returns how many stops
    /// were released.
    pub(crate) fn remove_session(&self, id: SessionId) -> u32 {
        {
            let mut sessions = self.sessions.write().unwrap_or_else(PoisonError::into_inner);
            *sessions = sessions.iter().filter(|session| session.id != id).cloned().collect();
            self.attached.store(sessions.len(), Relaxed);
        }
        let sessions = self.sessions();
        let mut released = 0;
        let slots = {
            let mut tables = self.tables();
            for stop in tables.stops.values_mut().filter(|stop| stop.controller == id) {
                released += u32::from(stop.release(ReleaseCause::Detached));
            }
            for slot in &tables.slots {
                let wanted = sessions.iter().any(|session| session.wish(slot.filter).is_some());
                slot.closing.fetch_or(!wanted, Ordering::AcqRel);
            }
            let wanted = |filter: &FilterId| sessions.iter().any(|session| session.wish(*filter).is_some());
            tables.codes.retain(|filter, _| wanted(filter));
            tables.failures.retain(|filter, _| wanted(filter));
            tables.slots.clone()
        };
        for slot in slots {
            self.poke(&slot);
        }
        released
    }

    /// Sends an event to every session.
    pub(crate) fn tell(&self, event: &Event) {
        for session in self.sessions().iter() {
            session.send(event.clone());
        }
    }

    // Stops.

    /// Registers a stop of `slot`, unless nobody may control it, or nobody waits for its transaction any more.
    /// `owner`: the session whose breakpoint, step or interrupt it is.
    pub(crate) fn open_stop(
        &self,
        slot: &Slot,
        owner: Option<SessionId>,
        commands: mpsc::Sender<Command>,
    ) -> Option<(StopId, SessionId)> {
        self.enter_stop(slot, owner, commands, |wanted| {
            // Looked at under the lock: a session that ends after this finds the stop in the table.
            let sessions = self.sessions();
            let mut naming = sessions.iter().filter(|session| session.wish(slot.filter).is_some());
            let controller = match wanted {
                Some(id) => naming.find(|session| session.id == id),
                None => naming.next(),
            };
            controller.map(|session| session.id)
        })
    }

    /// `controller` finds the session that shall have the stop; which one, if that is settled.
    fn enter_stop(
        &self,
        slot: &Slot,
        owner: Option<SessionId>,
        commands: mpsc::Sender<Command>,
        controller: impl FnOnce(Option<SessionId>) -> Option<SessionId>,
    ) -> Option<(StopId, SessionId)> {
        let mut tables = self.tables();
        let wanted = slot.lock().serving().map(|bound| bound.session).or(owner);
        let controller = controller(wanted)?;
        tables.next_stop += 1;
        let stop = StopId(tables.next_stop);
        {
            let mut state = slot.lock();
            if state.serving().is_some_and(|bound| bound.unstoppable) {
                return None;
            }
            // Whoever finds it there from now on waits for the table, which has it then.
            state.stop = Some(stop);
        }
        tables.stops.insert(stop, Standing::new(controller, commands));
        drop(tables);
        self.wake();
        Some((stop, controller))
    }

    pub(crate) fn close_stop(&self, slot: &Slot, stop: StopId) {
        self.tables().stops.remove(&stop);
        slot.lock().stop = None;
    }

    // Slots.

    /// Makes a slot look at what has changed, whatever it does.
    pub(crate) fn poke(&self, slot: &Slot) {
        slot.poke();
        let stop = slot.lock().stop;
        if let Some(stop) = stop
            && let Some(standing) = self.tables().stops.get(&stop)
        {
            let _ = standing.commands.send(Command::Look);
        }
    }

    pub(crate) fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn warn(&self, slot: &Slot, text: &str) {
        self.runtime.log(Level::Warn, &slot.filter_name, None, text);
    }

    // The agent.

    /// The agent serves from now on.
    pub(crate) fn set_waker(&self, waker: Waker) {
        let _ = self.waker.set(waker);
    }

    pub(crate) fn note(&self, note: Note) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        // Otherwise it is dropped, and what waits for it with it: a slot that gets no thread takes no jobs.
        if !notes.closed {
            notes.notes.push(note);
        }
        drop(notes);
        self.wake();
    }

    /// The agent serves no more.
    pub(crate) fn close(&self) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        // Dropped without the lock: jobs of slots that got no thread answer themselves.
        drop(self.take_notes());
    }

    /// What has been noted since the last call.
    pub(crate) fn take_notes(&self) -> (Vec<Note>, VecDeque<(SessionId, Missed)>) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut notes.notes), std::mem::take(&mut notes.missed))
    }

    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake();
        }
    }
}

impl Tables {
    /// Why a slot of `filter` could not start after `since`, if one could not.
    pub(crate) fn failure(&self, filter: FilterId, since: Instant) -> Option<&str> {
        self.failures.get(&filter).filter(|(when, _)| *when >= since).map(|(_, reason)| reason.as_str())
    }
}

/// The fast lane serves what a session wanted.
fn count_missed(wish: &Wish) {
    wish.core.counters.debug_missed.fetch_add(1, Relaxed);
}

/// What its session reads of a transaction for which there could be no slot.
fn not_started(reason: &str) -> String {
    format!("another debug slot cannot start: {reason}")
}

#[cfg(test)]
mod tests {
    use wasmdbg_control::ContextId;
    use wasmdbg_control::stop::Context;

    use super::super::slot::Running;
    use super::*;
    use crate::config::Settings;
    use crate::embedder::{Embedder, ThreadHandle};

    struct Nobody;

    impl Embedder for Nobody {
        fn host_name(&self) -> String {
            String::from("nobody")
        }

        fn log(&self, _: Level, _: &str, _: Option<TransactionId>, _: &str) {}

        fn task(&self, _: Box<dyn FnOnce() + Send>) {}

        fn spawn(&self, _: &str, _: Box<dyn FnOnce() + Send>) -> Result<Box<dyn ThreadHandle>, String> {
            Err(String::from("there are no threads"))
        }
    }

    /// A lane, and a slot that runs a callback of a transaction.
    fn serving() -> (Arc<DebugLane>, Slot) {
        let (runtime, _) = Runtime::new(Arc::new(Nobody), Settings::default(), 1 << 20).expect("a runtime");
        let about = (FilterId(0), String::from("filter"), ModuleHash([0; 32]));
        let (slot, _) = Slot::new(SlotId(0), about, Engine::default().weak(), 0);
        let (transaction, [method, path]) = (TransactionId(7), ["GET", "/"].map(String::from));
        let facts = RequestFacts { method, path, client: None, client_port: 0 };
        let (method, path) = (facts.shown_method(), facts.shown_path());
        let context = Context::Stream { id: ContextId(2), transaction, method, path };
        {
            let mut state = slot.lock();
            state.running = Some(Running { context, callback: "proxy_on_request_headers" });
            state.bound = Some(Bound {
                transaction,
                facts,
                session: SessionId(3),
                since: Instant::now(),
                activity: Activity::Proxy,
                entered: true,
                unstoppable: false,
            });
        }
        (DebugLane::new(runtime), slot)
    }

    /// The watch over clients tells of each one once.
    #[test]
    fn a_client_that_goes_while_its_stop_is_made_leaves_none() {
        let (lane, slot) = serving();
        let open = |goes: bool| {
            let (commands, _) = mpsc::channel();
            lane.enter_stop(&slot, None, commands, |wanted| {
                let mut state = slot.lock();
                assert_eq!(state.stop, None, "it would be released");
                state.bound.as_mut().expect("a transaction").unstoppable = goes;
                wanted
            })
        };
        let stop = open(false);
        assert_eq!((stop, slot.lock().stop), (Some((StopId(1), SessionId(3))), Some(StopId(1))));
        lane.close_stop(&slot, StopId(1));
        assert_eq!(open(true), None);
        assert!(lane.tables().stops.is_empty() && slot.lock().stop.is_none());
    }
}
