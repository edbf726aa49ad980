//! Serves the clients of the control protocol: who is attached, what each may do, how long a stop may
//! last. Owns the threads of slots and the engine of the debug lane, and takes all of it down after the
//! last session. Reads no DWARF itself and never waits for a client or for a guest.
//!
//! Runs on one thread of its own, never on an event thread: the host gives it to
//! [`ServerLoop::run`](wasmdbg_control::server::ServerLoop::run).
mod attach;
mod audit;
mod code;
mod refusals;
mod requests;
mod slots;
mod stops;
mod traps;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use wasmdbg_control::admission;
use wasmdbg_control::server::{ClientHandle, ClientId, Disconnect, Peer, Service, Waker};
use wasmdbg_control::session::{Hello, Welcome};
use wasmdbg_control::{Event, FilterId, Request, RequestId, SessionId};

use self::attach::Waiting;
use self::refusals::Refusals;
use self::slots::Crew;
pub use self::traps::Symbolise;
use self::traps::TrapLog;
use crate::code::CodeMaps;
use crate::debug::DebugLane;
use crate::debug::lane::Note;
use crate::debug::session::Session;
use crate::filter::Filter;
use crate::vm::trap::TrapReport;

/// Events about missed transactions that a session gets in a second; more are only counted.
const MISSED_PER_SECOND: u32 = 20;

/// What the host gives to the agent.
pub struct AgentParts {
    /// The lane that event threads ask.
    pub lane: Arc<DebugLane>,
    /// The filters in the order of the configuration.
    pub filters: Vec<Arc<Filter>>,
    /// From [`Runtime::new`](crate::Runtime::new).
    pub traps: Receiver<TrapReport>,
    /// Finds source lines for the log.
    pub symbolise: Symbolise,
    /// User ids that may connect besides the proxy's own user and root.
    pub users: Vec<u32>,
    /// Where compiled code of the debug lane is kept; `None`: nowhere.
    pub cache_folder: Option<PathBuf>,
    /// How many transactions in flight have a context of any filter.
    pub transactions: Box<dyn Fn() -> u64 + Send>,
    /// Of the loop that the agent serves on.
    pub waker: Waker,
}

/// See the module.
pub struct Agent {
    lane: Arc<DebugLane>,
    filters: Vec<Arc<Filter>>,
    users: Vec<u32>,
    transactions: Box<dyn Fn() -> u64 + Send>,
    traps: TrapLog,
    code: CodeMaps,
    crew: Crew,
    clients: BTreeMap<ClientId, Client>,
    refusals: Refusals,
    next_session: u64,
    started: Instant,
    wake_at: Option<Instant>,
}

/// A client that has greeted.
struct Client {
    handle: ClientHandle,
    peer: Peer,
    name: String,
    session: Option<Arc<Session>>,
    /// Its attach has not been answered yet.
    waiting: Option<Waiting>,
    /// Slots that start when it says so.
    held: Vec<Note>,
    /// It has said so, and not all of them have started.
    starting: bool,
    /// When the second of [`MISSED_PER_SECOND`] began, and how many there were.
    missed: (Instant, u32),
}

impl Agent {
    /// An agent without clients. Make it before the loop runs.
    pub fn new(parts: AgentParts) -> Self {
        let AgentParts { lane, filters, traps, symbolise, users, cache_folder, transactions, waker } = parts;
        lane.set_waker(waker.clone());
        let _ = lane.runtime.bell.set(waker);
        Self {
            crew: Crew::new(Arc::clone(&lane), cache_folder),
            lane,
            filters,
            users,
            transactions,
            traps: TrapLog::new(traps, symbolise),
            code: CodeMaps::default(),
            clients: BTreeMap::new(),
            refusals: Refusals::default(),
            next_session: 1,
            started: Instant::now(),
            wake_at: None,
        }
    }

    /// The greeting of this plugin, for the loop.
    pub fn welcome(lane: &DebugLane) -> Welcome {
        let mut capabilities = ["code", "read_code", "start", "stream"].map(String::from).to_vec();
        if lane.runtime.settings.debug.native {
            capabilities.push(String::from("native"));
        }
        Welcome {
            protocol: wasmdbg_control::PROTOCOL_VERSION,
            plugin: env!("CARGO_PKG_VERSION").to_owned(),
            host: lane.runtime.embedder.host_name(),
            pid: std::process::id(),
            capabilities,
        }
    }

    fn filter(&self, id: FilterId) -> Option<&Arc<Filter>> {
        self.filters.iter().find(|filter| filter.id() == id)
    }

    /// Ends the session of a client, if it has one. Returns how many stops that released.
    fn end_session(&mut self, client: ClientId, why: &str) -> Option<u32> {
        let client = self.clients.get_mut(&client)?;
        client.waiting = None;
        client.starting = false;
        // Nobody else has anything of them.
        for note in client.held.drain(..) {
            if let Note::Spawn(slot, ..) = note {
                self.lane.drop_slot(slot.id);
            }
        }
        let session = client.session.take()?;
        let released = self.lane.remove_session(session.id);
        self.audit_session(&session, &format!("ended: {why}"));
        Some(released)
    }

    /// Sends what clients have missed, not more than they can read.
    fn send_missed(
        &mut self,
        now: Instant,
        missed: impl IntoIterator<Item = (SessionId, wasmdbg_control::transactions::Missed)>,
    ) {
        for (session, missed) in missed {
            let of_session =
                |client: &&mut Client| client.session.as_ref().is_some_and(|own| own.id == session);
            let Some(client) = self.clients.values_mut().find(of_session) else { continue };
            let (since, count) = &mut client.missed;
            if now.saturating_duration_since(*since) >= Duration::from_secs(1) {
                (*since, *count) = (now, 0);
            }
            *count += 1;
            if *count <= MISSED_PER_SECOND
                && let Some(session) = &client.session
            {
                session.send(Event::Missed(missed));
            }
        }
    }
}

impl Service for Agent {
    fn allow(&mut self, peer: &Peer) -> Result<(), String> {
        admission::may_debug(peer, &self.users)
    }

    fn refused(&mut self, peer: &Peer, reason: &str) {
        if self.refusals.take(peer.uid, Instant::now()) {
            self.audit(&format!("refused a connection of {peer}: {reason}"));
        }
    }

    fn connected(&mut self, client: ClientHandle, peer: Peer, hello: Hello) {
        let missed = (Instant::now(), 0);
        let id = client.id();
        let client = Client {
            handle: client,
            peer,
            name: hello.client,
            session: None,
            waiting: None,
            held: Vec::new(),
            starting: false,
            missed,
        };
        self.clients.insert(id, client);
    }

    fn request(&mut self, client: ClientId, id: RequestId, request: Request) {
        self.serve(client, id, request);
    }

    fn disconnected(&mut self, client: ClientId, why: &Disconnect) {
        self.end_session(client, &why.to_string());
        self.clients.remove(&client);
        // Who was reading it may be gone; another one's next part is made anew.
        self.code.forget_image();
    }

    fn tick(&mut self, now: Instant) {
        let (notes, missed) = self.lane.take_notes();
        for note in notes {
            self.heed(note);
        }
        self.send_missed(now, missed);
        self.advance_attaches();
        for (uid, count) in self.refusals.left_out(now) {
            self.audit(&format!("refused {count} more connections of uid {uid}"));
        }
        let stops = self.pass_time(now);
        self.wake_at = stops.into_iter().chain(self.refusals.next()).min();
        let filters = &self.filters;
        self.traps.write(&self.lane.runtime, |module| {
            let filter = filters.iter().find(|filter| filter.module() == module)?;
            Some(Arc::clone(filter.module_bytes()))
        });
        self.crew.tidy();
    }

    fn next_tick(&self) -> Option<Instant> {
        self.wake_at
    }
}

impl Drop for Agent {
    /// Nobody is left to release a stop or to give a slot its thread: all go on.
    fn drop(&mut self) {
        for session in self.lane.sessions().iter() {
            self.lane.remove_session(session.id);
        }
        self.lane.close();
    }
}
