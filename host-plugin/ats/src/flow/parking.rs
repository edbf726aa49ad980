//! Keeps transactions alive while they are parked in a debugger.
//!
//! The server's own timeouts would end such a transaction. Those that can be changed per transaction are
//! raised when a rule takes it; those of its connections are pushed away at each park. For a stream of
//! HTTP/2, whose timers start with it, the former are raised at its TXN_START, while a session is
//! attached, and put back when no rule takes it. (Not for all: the first change makes the server copy
//! all the settings of the transaction.)
//!
//! One timer nobody can reach: a stream of HTTP/2 starts with `transaction_active_timeout_in` of the
//! records, before any hook, and keeps it until its request is remapped. Its default is 900 s, above the
//! longest stop.

use std::sync::OnceLock;
use std::time::Duration;

use crate::ts::records::{self, Record};
use crate::ts::{Access, OverridableKey};

/// Twice as long as a stop may last.
const LONG: Duration = Duration::from_secs(1200);

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
