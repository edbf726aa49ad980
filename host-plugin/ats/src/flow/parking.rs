//! Keeps transactions alive while they are parked in a debugger, and notices clients that leave.
//!
//! The server's own timeouts would end such a transaction. Those that can be changed per transaction are
//! raised when a rule takes it; those of its connections are pushed away at each park. For a stream of
//! HTTP/2, whose timers start with it, the former are raised at its TXN_START, while a session is
//! attached, and put back when no rule takes it. (Not for all: the first change makes the server copy
//! all the settings of the transaction.) The end of a client does not show until the transaction goes on,
//! so the agent looks at the sockets. A stream of HTTP/2 that its client resets while the connection stays
//! open leaves no trace there: its stop stands until its controller or its deadline lets it go.
//!
//! One timer nobody can reach: a stream of HTTP/2 starts with `transaction_active_timeout_in` of the
//! records, before any hook, and keeps it until its request is remapped. Its default is 900 s, above the
//! longest stop.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use wasmdbg_control::server::Waker;
use wasmdbg_proxy_wasm::debug::DebugContext;

use crate::ts::records::{self, Record};
use crate::ts::{Access, OverridableKey, Socket};

/// Twice as long as a stop may last.
const LONG: Duration = Duration::from_secs(1200);

/// How often the agent looks whether clients of parked transactions are still there: their slots are
/// free within a second.
const LOOK: Duration = Duration::from_millis(500);

/// Settings whose timeouts run while a transaction is parked.
const TIMEOUTS: [Record; 3] =
    [records::CLIENT_INACTIVITY, records::ORIGIN_INACTIVITY, records::CLIENT_ACTIVITY];

/// The settings of a transaction before they were raised.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts([Option<i64>; 3]);

fn keys() -> &'static [Option<OverridableKey>; 3] {
    static KEYS: OnceLock<[Option<OverridableKey>; 3]> = OnceLock::new();
    KEYS.get_or_init(|| TIMEOUTS.map(OverridableKey::find))
}

impl Timeouts {
    /// Raises them, in TXN_START or READ_REQUEST_HDR.
    pub(crate) fn raise(access: &mut Access<'_>) -> Self {
        Self(keys().map(|key| {
            let key = key?;
            let before = key.get(access)?;
            key.set(access, i64::try_from(LONG.as_secs()).unwrap_or(i64::MAX));
            Some(before)
        }))
    }

    /// Puts them back, in READ_REQUEST_HDR.
    pub(crate) fn put_back(self, access: &mut Access<'_>) {
        for (key, before) in keys().iter().zip(self.0) {
            if let (Some(key), Some(before)) = (key, before) {
                key.set(access, before);
            }
        }
    }
}

/// Pushes the timeouts of the transaction's connections away. Called at each park; not in TXN_CLOSE, where
/// the connections can be gone.
pub(crate) fn hold(access: &Access<'_>) {
    for connection in [access.client_connection(), access.server_connection()].into_iter().flatten() {
        connection.set_inactivity_timeout(LONG);
        connection.cancel_active_timeout();
    }
}

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
