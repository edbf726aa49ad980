//! The filters of the proxy and the bytes of their modules.

use serde::{Deserialize, Serialize};
use wasmdbg_code_address::ModuleHash;

use super::ids::FilterId;

/// Asks for all filters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListFilters {}

/// The filters in the order in which a request meets them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterList {
    /// See [`FilterInfo`].
    pub filters: Vec<FilterInfo>,
}

/// One filter of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterInfo {
    /// Its id in this process.
    pub id: FilterId,
    /// `config.name`.
    pub name: String,
    /// `config.rootId`.
    pub root_id: String,
    /// `config.vmConfig.vmId`.
    pub vm_id: String,
    /// The file the module was read from.
    pub module_path: String,
    /// SHA-256 of the module; none when the file could not be read.
    pub module: Option<ModuleHash>,
    /// Size of the module in bytes.
    pub module_size: u64,
    /// Whether it runs.
    pub state: FilterState,
    /// `config.fail_open`: whether transactions pass when the filter cannot run.
    pub fail_open: bool,
    /// It has no HTTP contexts: transactions go on without it, and it has one virtual machine in the process.
    #[serde(default)]
    pub service: bool,
    /// What it has done so far.
    pub counters: FilterCounters,
}

/// Whether a filter runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum FilterState {
    /// Its virtual machines serve transactions.
    Active,
    /// It could not be loaded or started; its fail policy applies.
    Inactive {
        /// Why, as in the proxy's log.
        reason: String,
    },
}

/// Counters since the plugin was loaded, both lanes together unless said otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterCounters {
    /// Stream contexts created.
    pub contexts: u64,
    /// Callbacks that ended in a trap, a panic or over a budget.
    pub traps: u64,
    /// Stream contexts that were lost because their virtual machine trapped in another one's callback.
    pub contexts_lost: u64,
    /// Transactions that the filter had paused and did not continue within `limits.pause`.
    #[serde(default)]
    pub pause_timeouts: u64,
    /// Transactions whose end the filter held longer than `limits.done`.
    #[serde(default)]
    pub done_timeouts: u64,
    /// Virtual machines of the fast lane made so far.
    pub vms_started: u64,
    /// Virtual machines of the fast lane alive.
    pub vms: u64,
    /// Callbacks that arrived on another thread than their context's home.
    pub hops: u64,
    /// Transactions that took the debug lane.
    pub debug_contexts: u64,
    /// Transactions that matched a session's rules and took the fast lane (no slot was free or ready).
    pub debug_missed: u64,
    /// Transactions parked now because the filter returned Pause.
    pub paused: u64,
    /// Bytes that the filter logged and that are not in the proxy's log, because they were more than its
    /// `limits` allow.
    #[serde(default)]
    pub log_left_out: u64,
    /// Values and messages that were not kept for all virtual machines, because of `limits.shared_data` and
    /// `limits.queue`.
    #[serde(default)]
    pub shared_refused: u64,
    /// Properties that were not kept under a name of the filter's own, because of `limits.properties`.
    #[serde(default)]
    pub properties_refused: u64,
}

/// The most bytes of a module that a client reads: a proxy may say of one that it is of any size.
pub const MAX_MODULE: u64 = 1 << 30;

/// Reads a range of a module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadModule {
    /// Which module.
    pub module: ModuleHash,
    /// First byte.
    pub offset: u64,
    /// At most this many bytes; the reply can be shorter (at most 512 KiB, and at the end of the file).
    pub length: u32,
}

/// A range of a module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleBytes {
    /// Size of the whole module in bytes.
    pub size: u64,
    /// The bytes.
    #[serde(with = "crate::messages::state::base64_bytes")]
    pub data: Vec<u8>,
}
