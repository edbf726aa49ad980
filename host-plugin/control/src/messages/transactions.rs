//! Transactions as the debug lane sees them.

use serde::{Deserialize, Serialize};

use super::ids::{FilterId, SlotId, StopId, TransactionId};

/// Asks for the transactions of the debug lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListTransactions {}

/// The transactions of the debug lane, and how many there are beside them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionList {
    /// Those on the debug lane, oldest first.
    pub transactions: Vec<TransactionInfo>,
    /// Transactions in flight on the fast lane: not debuggable, the lane is chosen once.
    pub fast_lane: u64,
    /// How many of the debug lane do not fit the list.
    #[serde(default)]
    pub left_out: u64,
}

/// A transaction on the debug lane of one filter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionInfo {
    /// Its id.
    pub id: TransactionId,
    /// `GET`.
    pub method: String,
    /// `/path?query`, its first 1,000 characters.
    pub path: String,
    /// The client's address, with port.
    pub client: String,
    /// The filter.
    pub filter: FilterId,
    /// The slot that serves it.
    pub slot: SlotId,
    /// What it does now.
    pub state: TransactionState,
    /// Milliseconds since it entered the debug lane.
    pub age_ms: u64,
}

/// What a transaction of the debug lane does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum TransactionState {
    /// A callback of it runs.
    Running {
        /// The callback's export name.
        callback: String,
    },
    /// It is stopped in the debugger.
    Stopped {
        /// Where.
        stop: StopId,
        /// The callback's export name.
        callback: String,
    },
    /// A callback of it waits until the slot is free.
    Queued {
        /// The callback's export name.
        callback: String,
    },
    /// The filter returned Pause from this callback and has not continued it.
    Paused {
        /// The callback's export name.
        callback: String,
    },
    /// The proxy works on it (cache, origin, client).
    Proxy,
}

/// A transaction of the debug lane is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionEnded {
    /// Which.
    pub id: TransactionId,
    /// The filter.
    pub filter: FilterId,
    /// The status that the client got, when there was one.
    pub status: Option<u32>,
    /// The client had gone before the end.
    pub aborted: bool,
}

/// A transaction matched and was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// The filter.
    pub filter: FilterId,
    /// `GET`.
    pub method: String,
    /// `/path?query`, its first 1,000 characters.
    pub path: String,
    /// `no slot was free (4 of 4 in use)`, `the debug lane is not ready yet`.
    pub reason: String,
    /// How many so far in this session.
    pub total: u64,
}

/// A line that a filter logged on the debug lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// The filter.
    pub filter: FilterId,
    /// The transaction, unless the root context logged it.
    pub transaction: Option<TransactionId>,
    /// `proxy_log_level_t` of the ABI in words: trace, debug, info, warn, error, critical.
    pub level: String,
    /// The text, cut to 8 KiB.
    pub message: String,
}
