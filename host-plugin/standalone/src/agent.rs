//! The agent's thread: serves debugging clients, in this process and at a socket if there is one.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::thread::{self, JoinHandle};

use wasmdbg_control::server::{Access, Listener, Remote, ServerLoop, Waker};
use wasmdbg_proxy_wasm::{Agent, AgentParts, TrapReport};

use crate::host::{Error, Shared};
use crate::symbolise::symbolise;

/// See the module; ends when dropped.
pub(crate) struct AgentThread {
    pub(crate) remote: Remote,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl AgentThread {
    pub(crate) fn start(
        shared: &Arc<Shared>,
        traps: Receiver<TrapReport>,
        cache_folder: Option<PathBuf>,
    ) -> Result<Self, Error> {
        let control = &shared.runtime.settings().control;
        let listener = match &control.socket {
            Some(path) if control.enabled => Some(Listener::bind(path, Access::Owner)?),
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
            users: Vec::new(),
            cache_folder,
            transactions: Box::new(move || counted.in_flight.load(Ordering::Relaxed)),
            waker: waker.clone(),
        };
        let mut agent = Agent::new(parts);
        let serve = move || {
            // It cannot poll: clients see their connection end.
            let _ = server.run(&mut agent);
        };
        let thread =
            thread::Builder::new().name("[WASMDBG_AGENT]".into()).spawn(serve).map_err(Error::Agent)?;
        Ok(Self { remote, waker, thread: Some(thread) })
    }
}

impl Drop for AgentThread {
    fn drop(&mut self) {
        self.waker.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
