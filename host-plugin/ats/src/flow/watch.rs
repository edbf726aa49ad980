//! Notices clients that leave while their transaction is parked in a debugger.
//!
//! The end of a client does not show until the transaction goes on, so the agent looks at the sockets. A stream
//! of HTTP/2 that its client resets while the connection stays open leaves no trace there: its stop lasts until
//! its controller or its deadline lets it go.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use wasmdbg_control::server::Waker;
use wasmdbg_proxy_wasm::debug::DebugContext;

use crate::ts::{Access, Socket};

/// How often the agent looks whether clients of parked transactions are still there: their slots are
/// free within a second.
const LOOK: Duration = Duration::from_millis(500);

/// A transaction's debug context; the agent may have to tell it that the client is gone.
#[derive(Default)]
pub(crate) struct Seat {
    context: Mutex<Option<DebugContext>>,
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seat")
    }
}

impl Seat {
    pub(crate) fn new(context: DebugContext) -> Arc<Self> {
        Arc::new(Self { context: Mutex::new(Some(context)) })
    }

    /// Does `work` with the context, unless it has ended.
    pub(crate) fn with(&self, work: impl FnOnce(&DebugContext)) {
        if let Some(context) = &*self.context.lock().unwrap_or_else(PoisonError::into_inner) {
            work(context);
        }
    }

    /// Takes the transaction back from a slot that has not taken it; whether it was so.
    pub(crate) fn take_back(&self) -> bool {
        let mut context = self.context.lock().unwrap_or_else(PoisonError::into_inner);
        match context.take().map(DebugContext::take_back) {
            Some(Ok(())) => true,
            Some(Err(entered)) => {
                *context = Some(entered);
                false
            }
            None => false,
        }
    }

    /// Takes the context, to end it.
    pub(crate) fn take(&self) -> Option<DebugContext> {
        self.context.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The parked transactions and their clients' connections.
#[derive(Default)]
pub(crate) struct Watch {
    parked: Mutex<Vec<Watched>>,
    waker: OnceLock<Waker>,
}

struct Watched {
    seat: Weak<Seat>,
    socket: Socket,
}

impl Watch {
    /// Whom to wake when there is something to watch.
    pub(crate) fn set_waker(&self, waker: Waker) {
        // Set once, by the one agent.
        let _ = self.waker.set(waker);
    }

    /// A transaction is parked.
    pub(crate) fn add(&self, access: &Access<'_>, seat: &Arc<Seat>) {
        let Some(socket) = access.client_socket() else { return };
        let first = {
            let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
            parked.push(Watched { seat: Arc::downgrade(seat), socket });
            parked.len() == 1
        };
        if first && let Some(waker) = self.waker.get() {
            waker.wake();
        }
    }

    /// The transaction goes on.
    pub(crate) fn remove(&self, seat: &Arc<Seat>) {
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        parked.retain(|parked| !std::ptr::eq(parked.seat.as_ptr(), Arc::as_ptr(seat)));
    }

    /// When to look next, if anything is parked.
    pub(crate) fn next_look(&self, last: Instant) -> Option<Instant> {
        let parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        (!parked.is_empty()).then(|| last + LOOK)
    }

    /// Looks at the connections and lets those transactions know whose client is gone, once.
    pub(crate) fn look(&self) {
        let gone: Vec<Watched> = {
            let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
            parked.extract_if(.., |parked| parked.socket.is_over()).collect()
        };
        for seat in gone.iter().filter_map(|parked| parked.seat.upgrade()) {
            seat.with(DebugContext::client_gone);
        }
    }
}
