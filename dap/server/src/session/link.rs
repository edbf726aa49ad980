//! The connection to the proxy for the threads that must be able to end it at any moment: the one that reads
//! from the client does, while another one attaches or asks.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use wasmdbg_control::Client;

/// Ends the connection to the proxy, also one that is made later. Clones end the same connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProxyLink {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    client: Option<Client>,
    closed: bool,
}

impl ProxyLink {
    /// Takes note of a connection; false when it is not wanted any more, and then it is ended.
    pub(crate) fn connected(&self, client: &Client) -> bool {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            client.close();
            return false;
        }
        state.client = Some(client.clone());
        true
    }

    /// Ends it for good: the plugin releases what this client held.
    pub(crate) fn close(&self) {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.closed = true;
        self.shared.ended.notify_all();
        if let Some(client) = state.client.take() {
            client.close();
        }
    }

    /// Waits for its end, at most so long; says whether it has come.
    pub(crate) fn ends_within(&self, limit: Duration) -> bool {
        let state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.shared.ended.wait_timeout_while(state, limit, |state| !state.closed);
        waited.unwrap_or_else(PoisonError::into_inner).0.closed
    }
}
