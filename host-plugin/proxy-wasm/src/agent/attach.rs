//! From an `attach` request to its answer: the module is compiled on a thread of its own, one slot
//! passes configure, and only then are transactions taken. Until then those that match are counted.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use wasmdbg_control::rules::Rule;
use wasmdbg_control::server::ClientId;
use wasmdbg_control::session::{
    Attach, Attached, AttachedFilter, LaneFailed, LanePhase, LaneProgress, LaneStart, Started,
};
use wasmdbg_control::text::{SHOWN, cut};
use wasmdbg_control::{ErrorKind, Event, FilterId, RequestId, SessionId, WireError};

use super::Agent;
use super::audit::rules_in_words;
use super::stops::millis;
use crate::debug::lane::Note;
use crate::debug::rules::{Rules, TOKEN_HEADER};
use crate::debug::session::{Attaching, Session, Wish};
use crate::debug::stop::HARD_CAP;
use crate::filter::Filter;

/// Shortest deadline: below it nobody could resume.
const SHORTEST: Duration = Duration::from_millis(100);

/// Rules of one session: event threads look at them for each request.
const RULES: usize = 64;

/// An attach that has not been answered yet.
pub(super) struct Waiting {
    id: RequestId,
    since: Instant,
    start: LaneStart,
    filters: Vec<Step>,
}

/// How far the lane of one filter is.
struct Step {
    filter: Arc<Filter>,
    /// The code was there before this attach.
    compiled_before: bool,
    told: LanePhase,
    ready: Option<AttachedFilter>,
}

impl Agent {
    /// Starts an attach; it is answered when the lanes are ready.
    pub(super) fn attach(&mut self, client: ClientId, id: RequestId, asked: Attach) -> Result<(), WireError> {
        let Some(asking) = self.clients.get(&client) else { return Ok(()) };
        if asking.session.is_some() {
            let text = "this connection has a session already: detach first, or connect once more";
            return Err(WireError::new(ErrorKind::State, text));
        }
        if asked.rules.len() > RULES {
            let text = format!("{} rules are too many: a session may have {RULES}", asked.rules.len());
            return Err(WireError::new(ErrorKind::State, text));
        }
        let filters = self.wanted_filters(&asked.filters)?;
        let seed = random::<8>().map(u64::from_ne_bytes)?;
        let mut rules = asked.rules;
        if rules.is_empty() && !asked.all {
            rules.push(Rule::Header { name: TOKEN_HEADER.to_owned(), value: token()? });
        }
        let mut wishes = Vec::new();
        for filter in &filters {
            wishes.push(Wish::new(Arc::clone(filter.core()), filter.id(), Rules::new(&rules, seed)?));
        }
        let settings = self.lane.runtime.settings.debug.pause_deadline;
        let deadline = asked.deadline_ms.map_or(settings, Duration::from_millis).clamp(SHORTEST, HARD_CAP);
        let mut steps = Vec::new();
        for filter in filters {
            let compiled_before = self.crew.module(filter.module()).is_some();
            let lane = |text| WireError::new(ErrorKind::Lane, text);
            self.crew.compile(&filter).map_err(lane)?;
            steps.push(Step { filter, compiled_before, told: LanePhase::Compiling, ready: None });
        }
        let session = Arc::new(Session::new(Attaching {
            id: SessionId(self.next_session),
            client: asking.handle.clone(),
            peer: asking.peer,
            name: asking.name.clone(),
            filters: wishes,
            rules,
            deadline,
        }));
        self.next_session += 1;
        for step in steps.iter().filter(|step| !step.compiled_before) {
            session.send(progress(&step.filter, LanePhase::Compiling, Duration::ZERO));
        }
        let names: Vec<&str> = steps.iter().map(|step| step.filter.config().name.as_str()).collect();
        let words = rules_in_words(&session.rules);
        self.audit_session(&session, &format!("attaches to {}, rules {words}", names.join(", ")));
        self.lane.add_session(Arc::clone(&session));
        if let Some(asking) = self.clients.get_mut(&client) {
            asking.session = Some(session);
            asking.waiting = Some(Waiting { id, since: Instant::now(), start: asked.start, filters: steps });
        }
        Ok(())
    }

    fn wanted_filters(&self, names: &[String]) -> Result<Vec<Arc<Filter>>, WireError> {
        let lane = |text: String| WireError::new(ErrorKind::Lane, text);
        let wanted: Vec<Arc<Filter>> = if names.is_empty() {
            self.filters.iter().filter(|filter| filter.inactive_reason().is_none()).cloned().collect()
        } else {
            for name in names {
                if !self.filters.iter().any(|filter| filter.config().name == *name) {
                    let known: Vec<&str> =
                        self.filters.iter().map(|filter| filter.config().name.as_str()).collect();
                    let text = format!("there is no filter {name:?} here; there are: {}", known.join(", "));
                    return Err(WireError::new(ErrorKind::NotFound, text));
                }
            }
            self.filters.iter().filter(|filter| names.contains(&filter.config().name)).cloned().collect()
        };
        if wanted.is_empty() {
            return Err(lane(String::from("no filter of this proxy is active: its log says why")));
        }
        for filter in &wanted {
            if let Some(reason) = filter.inactive_reason() {
                return Err(lane(format!("filter {:?} is inactive: {reason}", filter.config().name)));
            }
        }
        let most = self.lane.runtime.settings.debug.max_vms as usize;
        if wanted.len() > most {
            let text = format!(
                "{} filters need a debug VM each, and {most} may exist: name fewer, or raise debug.max_vms",
                wanted.len()
            );
            return Err(lane(text));
        }
        Ok(wanted)
    }

    /// Goes on with every attach that can.
    pub(super) fn advance_attaches(&mut self) {
        let waiting: Vec<ClientId> =
            self.clients.iter().filter(|(_, client)| client.waiting.is_some()).map(|(id, _)| *id).collect();
        for client in waiting {
            if let Err(reason) = self.advance(client) {
                self.refuse_attach(client, &reason);
            }
        }
        self.advance_starts();
    }

    fn advance(&mut self, id: ClientId) -> Result<(), String> {
        let Some(client) = self.clients.get_mut(&id) else { return Ok(()) };
        let (Some(waiting), Some(session)) = (&mut client.waiting, &client.session) else { return Ok(()) };
        for step in waiting.filters.iter_mut().filter(|step| step.ready.is_none()) {
            let Some(module) = self.crew.module(step.filter.module()).cloned() else { continue };
            let filter = step.filter.id();
            if !self.lane.tables().codes.contains_key(&filter) {
                self.crew.prepare(&step.filter)?;
            }
            let slot = {
                let mut tables = self.lane.tables();
                let open = tables.slots.iter().find(|slot| slot.filter == filter && slot.is_open());
                let failed = tables.failure(filter, waiting.since).map(str::to_owned);
                match (open.cloned(), failed) {
                    (Some(slot), _) => Some(slot),
                    (None, Some(reason)) => return Err(reason),
                    (None, None) => match self.lane.make_slot(&mut tables, filter) {
                        Ok((slot, spawn)) if waiting.start == LaneStart::Held => {
                            slot.held.store(true, Ordering::Release);
                            client.held.push(spawn);
                            Some(slot)
                        }
                        Ok((slot, spawn)) => {
                            self.lane.note(spawn);
                            Some(slot)
                        }
                        // Those of an earlier session are about to end.
                        Err(_) if tables.slots.iter().any(|slot| slot.is_closing()) => None,
                        Err(reason) => return Err(reason),
                    },
                }
            };
            if step.told == LanePhase::Compiling && waiting.start == LaneStart::AtOnce {
                step.told = LanePhase::Starting;
                session.send(progress(&step.filter, LanePhase::Starting, waiting.since.elapsed()));
            }
            let held = waiting.start == LaneStart::Held;
            let Some(slot) = slot.filter(|slot| held || slot.lock().ready) else { continue };
            if !held {
                if let Some(wish) = session.wish(filter) {
                    wish.set_ready();
                }
                session.send(progress(&step.filter, LanePhase::Ready, waiting.since.elapsed()));
            }
            step.ready = Some(AttachedFilter {
                filter,
                name: step.filter.config().name.clone(),
                module: step.filter.module(),
                slot: slot.id,
                compile_ms: if step.compiled_before { 0 } else { millis(module.took) },
                cached: step.compiled_before || module.cached,
            });
        }
        let filters: Option<Vec<AttachedFilter>> =
            waiting.filters.iter().map(|step| step.ready.clone()).collect();
        if let Some(filters) = filters {
            let attached = Attached {
                session: session.id,
                rules: session.rules.clone(),
                deadline_ms: millis(session.deadline),
                filters,
                missed: session.missed.load(Ordering::Relaxed),
            };
            let _ = client.handle.reply(waiting.id, attached);
            client.waiting = None;
        }
        Ok(())
    }

    /// Starts the slots that a client's attach held back.
    pub(super) fn start(&mut self, id: ClientId) -> Result<Started, WireError> {
        let Some(client) = self.clients.get_mut(&id).filter(|client| client.session.is_some()) else {
            return Err(super::requests::no_session());
        };
        client.starting = true;
        let slots = u32::try_from(client.held.len()).unwrap_or(u32::MAX);
        for note in client.held.drain(..) {
            if let Note::Spawn(slot, ..) = &note {
                slot.held.store(false, Ordering::Release);
            }
            self.lane.note(note);
        }
        Ok(Started { slots })
    }

    /// Takes transactions for sessions whose filters have started by now.
    fn advance_starts(&mut self) {
        for client in self.clients.values_mut().filter(|client| client.starting) {
            let Some(session) = &client.session else { continue };
            for wish in session.filters.iter().filter(|wish| wish.is_starting()) {
                let slots = self.lane.tables().slots.clone();
                if !slots.iter().any(|slot| slot.filter == wish.filter && slot.lock().ready) {
                    continue;
                }
                wish.set_ready();
                if let Some(filter) = self.filters.iter().find(|filter| filter.id() == wish.filter) {
                    session.send(progress(filter, LanePhase::Ready, session.age()));
                }
            }
            client.starting = session.filters.iter().any(Wish::is_starting);
        }
    }

    /// A slot of a filter could not start (again). The lane goes on while there is another one: who misses a
    /// transaction for want of this one is told why.
    pub(super) fn slot_failed(&mut self, filter: FilterId, reason: &str) {
        if self.lane.tables().slots.iter().any(|slot| slot.filter == filter && slot.is_open()) {
            return;
        }
        if let Some(failed) = self.filter(filter) {
            let (name, reason) = (failed.config().name.clone(), cut(reason, SHOWN).into_owned());
            let event = Event::LaneFailed(LaneFailed { filter, name, reason });
            for session in self.lane.sessions().iter().filter(|session| session.wish(filter).is_some()) {
                session.send(event.clone());
            }
        }
        self.fail_lane(filter, reason);
    }

    /// The lane of a filter cannot be made, or cannot go on.
    pub(super) fn fail_lane(&mut self, filter: FilterId, reason: &str) {
        self.lane.tables().codes.remove(&filter);
        for session in self.lane.sessions().iter() {
            if let Some(wish) = session.wish(filter) {
                wish.set_failed();
            }
        }
        let waits = |waiting: &Waiting| waiting.filters.iter().any(|step| step.filter.id() == filter);
        let refused: Vec<ClientId> = self
            .clients
            .iter()
            .filter(|(_, client)| client.waiting.as_ref().is_some_and(waits))
            .map(|(id, _)| *id)
            .collect();
        for client in refused {
            self.refuse_attach(client, reason);
        }
    }

    fn refuse_attach(&mut self, id: ClientId, reason: &str) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        let (handle, waiting) = (client.handle.clone(), client.waiting.take());
        self.end_session(id, &format!("the debug lane cannot be made: {reason}"));
        if let Some(waiting) = waiting {
            let _ = handle.refuse(waiting.id, WireError::new(ErrorKind::Lane, reason));
        }
    }
}

fn progress(filter: &Filter, phase: LanePhase, elapsed: Duration) -> Event {
    let (id, name) = (filter.id(), filter.config().name.clone());
    Event::LaneProgress(LaneProgress { filter: id, name, phase, elapsed_ms: millis(elapsed) })
}

fn random<const N: usize>() -> Result<[u8; N], WireError> {
    let mut bytes = [0; N];
    let error =
        |error| WireError::new(ErrorKind::Internal, format!("the system gives no random bytes: {error}"));
    getrandom::fill(&mut bytes).map_err(error)?;
    Ok(bytes)
}

/// What strangers cannot guess.
fn token() -> Result<String, WireError> {
    let bytes = random::<16>()?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
