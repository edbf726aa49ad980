//! One attached session as the debug lane sees it: which transactions it wants, where it wants to stop,
//! and when its user was last heard of. Sends events; decides nothing.
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use wasmdbg_control::breakpoints::Breakpoint;
use wasmdbg_control::rules::Rule;
use wasmdbg_control::server::{ClientHandle, Peer};
use wasmdbg_control::{Event, FilterId, Message, ModuleHash, SessionId};

use super::rules::Rules;
use crate::filter::core::FilterCore;

/// See the module.
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) client: ClientHandle,
    pub(crate) peer: Peer,
    /// As the client named itself.
    pub(crate) name: String,
    pub(crate) filters: Vec<Wish>,
    /// As they are in force.
    pub(crate) rules: Vec<Rule>,
    pub(crate) deadline: Duration,
    pub(crate) missed: AtomicU64,
    breakpoints: Mutex<BTreeMap<ModuleHash, Vec<Breakpoint>>>,
    since: Instant,
    /// Nanoseconds after `since` of the last sign of life.
    alive: AtomicU64,
}

/// What a session wants of one filter.
pub(crate) struct Wish {
    pub(crate) filter: FilterId,
    pub(crate) core: Arc<FilterCore>,
    pub(crate) rules: Rules,
    /// Its lane takes transactions.
    ready: AtomicBool,
    /// Its lane has failed.
    failed: AtomicBool,
}

impl Wish {
    pub(crate) fn new(core: Arc<FilterCore>, filter: FilterId, rules: Rules) -> Self {
        Self { filter, core, rules, ready: AtomicBool::new(false), failed: AtomicBool::new(false) }
    }

    /// Whether transactions are taken.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Acquire)
    }

    /// Whether they are not taken yet.
    pub(crate) fn is_starting(&self) -> bool {
        !self.is_ready() && !self.failed.load(Acquire)
    }

    pub(crate) fn set_ready(&self) {
        self.failed.store(false, Release);
        self.ready.store(true, Release);
    }

    /// Transactions are not taken any more.
    pub(crate) fn set_failed(&self) {
        self.failed.store(true, Release);
        self.ready.store(false, Release);
    }
}

/// Who attaches; see [`Session`].
pub(crate) struct Attaching {
    pub(crate) id: SessionId,
    pub(crate) client: ClientHandle,
    pub(crate) peer: Peer,
    pub(crate) name: String,
    pub(crate) filters: Vec<Wish>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) deadline: Duration,
}

impl Session {
    pub(crate) fn new(attaching: Attaching) -> Self {
        let Attaching { id, client, peer, name, filters, rules, deadline } = attaching;
        Self {
            id,
            client,
            peer,
            name,
            filters,
            rules,
            deadline,
            missed: AtomicU64::new(0),
            breakpoints: Mutex::default(),
            since: Instant::now(),
            alive: AtomicU64::new(0),
        }
    }

    pub(crate) fn wish(&self, filter: FilterId) -> Option<&Wish> {
        self.filters.iter().find(|wish| wish.filter == filter)
    }

    /// How long ago it began.
    pub(crate) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// The user is at work.
    pub(crate) fn sign_of_life(&self) {
        let nanoseconds = u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.alive.fetch_max(nanoseconds, Relaxed);
    }

    pub(crate) fn last_sign_of_life(&self) -> Instant {
        self.since + Duration::from_nanos(self.alive.load(Relaxed))
    }

    pub(crate) fn set_breakpoints(&self, module: ModuleHash, breakpoints: Vec<Breakpoint>) {
        self.lock().insert(module, breakpoints);
    }

    pub(crate) fn breakpoints(&self, module: ModuleHash) -> Vec<Breakpoint> {
        self.lock().get(&module).cloned().unwrap_or_default()
    }

    /// Queues an event. A client that is gone is noticed elsewhere.
    pub(crate) fn send(&self, event: Event) {
        let _ = self.client.send(&Message::Event(event));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ModuleHash, Vec<Breakpoint>>> {
        self.breakpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
