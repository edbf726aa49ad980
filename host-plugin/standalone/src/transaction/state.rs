//! What a filter can ask of a transaction, and change.

use std::net::SocketAddr;
use std::time::SystemTime;

use wasmdbg_proxy_wasm::OwnProperties;

use super::fields::Fields;

/// Who talks to whom.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Peers {
    pub(crate) client: Option<SocketAddr>,
    pub(crate) local: Option<SocketAddr>,
}

/// What a filter can ask of a transaction.
#[derive(Debug)]
pub(crate) struct ExchangeState {
    pub(crate) request: Fields,
    pub(crate) response: Option<Fields>,
    pub(crate) peers: Peers,
    pub(crate) upstream: Option<SocketAddr>,
    pub(crate) protocol: &'static str,
    pub(crate) started: SystemTime,
    /// Properties that the filter has left under names of its own.
    pub(crate) own: OwnProperties,
}
