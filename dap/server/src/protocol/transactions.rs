//! A request beside the protocol, for our own extension: the transactions of the debug lane.

use serde::Serialize;

/// The response to `wasmdbg/transactions`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TransactionsBody {
    /// Oldest first.
    pub transactions: Vec<Transaction>,
    /// How many are in flight that are not debugged.
    pub fast_lane: u64,
}

/// A transaction of the debug lane.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Transaction {
    /// `GET /path #17`.
    pub name: String,
    /// The filter's name.
    pub filter: String,
    /// The HTTP client's address.
    pub client: String,
    /// What it does.
    pub state: State,
    /// The same in words.
    pub detail: String,
    /// Since it came into the debug lane.
    pub age_ms: u64,
}

/// What a transaction does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// A callback runs.
    Running,
    /// In the debugger.
    Stopped,
    /// Its filter's virtual machine is busy.
    Queued,
    /// The filter has not continued it.
    Paused,
    /// In the proxy.
    Proxy,
}
