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
//! longest stop; a request callback that takes longer, in one stop after the other, loses its client.

use std::sync::OnceLock;
use std::time::Duration;

use crate::ts::records::{self, Record};
use crate::ts::{Access, OverridableKey};

/// Seconds that no park lasts: a day, after which the server gives up connections that have no other limit
/// (`proxy.config.net.default_inactivity_timeout`). A park is as long as its callback, in which one stop can
/// follow the other while its user works; deadlines and the watch over clients end one that nobody needs.
const LONG: i64 = 24 * 60 * 60;

/// Settings whose timeouts run while a transaction is parked.
const TIMEOUTS: [Record; 3] =
    [records::CLIENT_INACTIVITY, records::ORIGIN_INACTIVITY, records::CLIENT_ACTIVITY];

/// The settings of a transaction before they were raised; none for one that was high enough.
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
            // 0 is no timeout.
            let before = key.get(access).filter(|before| (1..LONG).contains(before))?;
            key.set(access, LONG);
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
    let connections = [access.client_connection(), access.server_connection()];
    // In the order of `TIMEOUTS`.
    for (connection, key) in connections.into_iter().zip(keys()) {
        let Some(connection) = connection else { continue };
        let own = key.and_then(|key| key.get(access)).unwrap_or(0);
        connection.set_inactivity_timeout(Duration::from_secs(own.max(LONG).unsigned_abs()));
        connection.cancel_active_timeout();
    }
}
