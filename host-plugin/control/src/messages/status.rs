//! The state of the whole process: what `wasmdbg ps --json` shows.

use serde::{Deserialize, Serialize};

use super::filters::FilterInfo;
use super::ids::{FilterId, SessionId, SlotId};

/// Asks for the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetStatus {}

/// The state of the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Milliseconds since the plugin was loaded.
    pub uptime_ms: u64,
    /// Transactions in flight that have a context of any filter.
    pub transactions: u64,
    /// Sessions attached.
    pub sessions: Vec<SessionInfo>,
    /// Debug virtual machines alive.
    pub slots: Vec<SlotInfo>,
    /// Compiled code images mapped by the plugin's engines, fast and debug lane.
    pub code_images: u64,
    /// Thread CPU time that event threads spent on debug-lane work, per piece of work.
    pub event_thread_debug_work: Histogram,
    /// Thread CPU time that event threads spent on letting parked transactions go on, per slice.
    #[serde(default)]
    pub event_thread_releases: Histogram,
    /// The filters.
    pub filters: Vec<FilterInfo>,
}

/// An attached session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionInfo {
    /// Its id.
    pub id: SessionId,
    /// As the client named itself.
    pub client: String,
    /// The peer's user id.
    pub uid: u32,
    /// The peer's process id.
    pub pid: u32,
    /// The filters it names.
    pub filters: Vec<FilterId>,
}

/// A debug virtual machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotInfo {
    /// Its id.
    pub id: SlotId,
    /// The filter.
    pub filter: FilterId,
    /// A transaction is bound to it.
    pub busy: bool,
    /// It stands in the debugger.
    pub stopped: bool,
}

/// A histogram of durations by powers of two of a microsecond.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// `buckets[i]` counts durations below 2^i µs that fit no earlier bucket; the last takes the rest.
    pub buckets: Vec<u64>,
    /// The longest, in nanoseconds.
    pub max_ns: u64,
    /// How many.
    pub count: u64,
}
