//! The agent's thread: serves debugging clients, in this process and at a socket if there is one.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wasmdbg_control::admission;
use wasmdbg_control::server::{Access, Listener, Remote, ServerLoop, Waker};
use wasmdbg_proxy_wasm::{Agent, AgentParts, Level, TrapReport};

use crate::process::error::Error;
use crate::process::shared::Shared;
use crate::process::symbolise::symbolise;

/// How long the end of a process may wait for its socket to go.
const END: Duration = Duration::from_secs(1);

/// Ends the host's control socket from any thread, for a process that a signal ends.
#[derive(Debug, Clone)]
pub struct Ending {
    waker: Waker,
    /// Its other end goes with the socket.
    closed: Arc<Mutex<Receiver<Infallible>>>,
}

impl Ending {
    /// Disconnects debuggers and removes the socket. It waits until that is done, a second at most.
    pub fn end(&self) {
        self.waker.stop();
        let _ = self.closed.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(END);
    }
}

/// See the module; ends when dropped.
pub(crate) struct AgentThread {
    pub(crate) remote: Remote,
    pub(crate) ending: Ending,
    thread: Option<JoinHandle<()>>,
}

impl AgentThread {
    pub(crate) fn start(
        shared: &Arc<Shared>,
        traps: Receiver<TrapReport>,
        cache_folder: Option<PathBuf>,
    ) -> Result<Self, Error> {
        let control = &shared.runtime.settings().control;
        let (users, unknown) = admission::numbers(&control.users);
        for name in unknown {
            let text = format!("control.users: the system knows no user {name}");
            shared.runtime.embedder().log(Level::Error, "wasmdbg", None, &text);
        }
        // Open to all, and then the peer's credentials decide alone.
        let access = if users.is_empty() { Access::Owner } else { Access::Everybody };
        let listener = match &control.socket {
            Some(path) if control.enabled => Some(Listener::bind(path, access)?),
            _ => None,
        };
        let lane = Arc::clone(&shared.lane);
        let mut server = ServerLoop::new(listener, Agent::welcome(&lane)).map_err(Error::Agent)?;
        let (waker, remote) = (server.waker(), server.remote());
        let counted = Arc::clone(shared);
        let parts = AgentParts {
            lane,
            filters: vec![Arc::clone(&shared.filter)],
            traps,
            symbolise: symbolise(),
            users,
            cache_folder,
            transactions: Box::new(move || counted.in_flight.load(Ordering::Relaxed)),
            waker: waker.clone(),
        };
        let mut agent = Agent::new(parts);
        let (open, closed) = mpsc::channel();
        let ending = Ending { waker, closed: Arc::new(Mutex::new(closed)) };
        let serve = move || {
            // It cannot poll: clients see their connection end.
            let _ = server.run(&mut agent);
            drop(open);
        };
        let thread =
            thread::Builder::new().name("[WASMDBG_AGENT]".into()).spawn(serve).map_err(Error::Agent)?;
        Ok(Self { remote, ending, thread: Some(thread) })
    }
}

impl Drop for AgentThread {
    fn drop(&mut self) {
        self.ending.waker.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
