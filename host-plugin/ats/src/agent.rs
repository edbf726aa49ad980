//! The agent's thread: serves debugging clients and writes traps to the log. Made once the server
//! runs; knows what the agent cannot know: sockets of clients that may leave, and where files go.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use wasmdbg_control::admission;
use wasmdbg_control::server::{
    Access, ClientHandle, ClientId, Disconnect, Listener, Peer, ServerLoop, Service, Waker,
};
use wasmdbg_control::session::Hello;
use wasmdbg_control::{Request, RequestId};
use wasmdbg_proxy_wasm::TrapReport;
use wasmdbg_proxy_wasm::agent::{Agent, AgentParts};

use crate::flow::{self, errands};
use crate::plugin::{Plugin, plugin};
use crate::statistics::Statistics;
use crate::symbolise::{source_names, symbolise};
use crate::ts;

/// What waits for the thread.
static WAITING: Mutex<Option<Waiting>> = Mutex::new(None);

/// Ends the thread's loop.
static STOP: OnceLock<Waker> = OnceLock::new();

/// The server ends in an orderly way: the socket goes, and clients are told.
pub(crate) fn stop() {
    if let Some(waker) = STOP.get() {
        waker.stop();
    }
}

struct Waiting {
    traps: Receiver<TrapReport>,
    listener: Option<Listener>,
    users: Vec<u32>,
}

/// Opens the socket, while the plugin is loaded: who finds the server serving finds it too, and waits
/// until [`start`]. Keeps `traps` until then.
pub(crate) fn prepare(plugin: &Plugin, traps: Receiver<TrapReport>) {
    let (users, unknown) = admission::numbers(&plugin.runtime.settings().control.users);
    for name in unknown {
        ts::error(&format!("control.users: the system knows no user {name}"));
    }
    // Open to all, and then the peer's credentials decide alone.
    let access = if users.is_empty() { Access::Owner } else { Access::Everybody };
    let listener = plugin.socket.as_deref().and_then(|path| match Listener::bind(path, access) {
        Ok(listener) => Some(listener),
        Err(error) => {
            ts::error(&format!("no debugger can attach: {error}"));
            None
        }
    });
    *WAITING.lock().unwrap_or_else(PoisonError::into_inner) = Some(Waiting { traps, listener, users });
}

/// Starts the thread. The event system must run.
pub(crate) fn start() {
    let Some(plugin) = plugin() else { return };
    let Some(waiting) = WAITING.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
    // Never joined: it lives as long as the process.
    let started = ts::spawn(
        "[WASMDBG_AGENT]",
        Box::new(move || {
            if let Err(message) = serve(plugin, waiting) {
                ts::error(&message);
            }
        }),
    );
    if let Err(error) = started {
        ts::error(&format!("no debugger can attach, and traps are not logged: {error}"));
    }
}

fn serve(plugin: &'static Plugin, waiting: Waiting) -> Result<(), String> {
    let Waiting { traps, listener, users } = waiting;
    let fault = |error: std::io::Error| format!("no debugger can attach, and traps are not logged: {error}");
    let mut server = ServerLoop::new(listener, Agent::welcome(&plugin.lane)).map_err(fault)?;
    plugin.watch.set_waker(server.waker());
    errands::set_waker(server.waker());
    // Set once, by the one thread.
    let _ = STOP.set(server.waker());
    let mut agent = Agent::new(AgentParts {
        lane: Arc::clone(&plugin.lane),
        filters: plugin.filters.clone(),
        traps,
        symbolise: symbolise(),
        users,
        cache_folder: plugin
            .socket
            .as_deref()
            .and_then(Path::parent)
            .map(|folder| folder.join("wasmdbg-code")),
        transactions: Box::new(|| flow::IN_FLIGHT.load(Ordering::Relaxed)),
        waker: server.waker(),
    });
    let mut statistics = Statistics::new(&plugin.filters);
    // Metrics of virtual machines that were made before there was somebody to wake.
    statistics.tick(Instant::now());
    agent.describe_code(source_names());
    server.run(&mut Watching { agent, plugin, looked: Instant::now(), statistics }).map_err(fault)
}

/// The agent, and the sockets of clients that are parked.
struct Watching {
    agent: Agent,
    plugin: &'static Plugin,
    looked: Instant,
    statistics: Statistics,
}

impl Service for Watching {
    fn allow(&mut self, peer: &Peer) -> Result<(), String> {
        self.agent.allow(peer)
    }

    fn refused(&mut self, peer: &Peer, reason: &str) {
        self.agent.refused(peer, reason);
    }

    fn connected(&mut self, client: ClientHandle, peer: Peer, hello: Hello) {
        self.agent.connected(client, peer, hello);
    }

    fn request(&mut self, client: ClientId, id: RequestId, request: Request) {
        self.agent.request(client, id, request);
    }

    fn disconnected(&mut self, client: ClientId, why: &Disconnect) {
        self.agent.disconnected(client, why);
    }

    fn tick(&mut self, now: Instant) {
        if self.plugin.watch.next_look(self.looked).is_some_and(|due| due <= now) {
            self.looked = now;
            self.plugin.watch.look();
        }
        errands::run();
        self.statistics.tick(now);
        self.agent.tick(now);
    }

    fn next_tick(&self) -> Option<Instant> {
        let look = self.plugin.watch.next_look(self.looked);
        look.into_iter().chain(self.agent.next_tick()).chain(self.statistics.next_tick()).min()
    }
}

/// Where the socket is, for messages of others.
#[must_use]
pub(crate) fn default_socket() -> PathBuf {
    ts::runtime_dir().join("wasmdbg.sock")
}
