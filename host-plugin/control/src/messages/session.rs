//! Sessions: the greeting, attach, detach, signs of life.

use serde::{Deserialize, Serialize};
use wasmdbg_code_address::ModuleHash;

use super::ids::{FilterId, SessionId, SlotId};
use super::rules::Rule;

/// The first request of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`crate::PROTOCOL_VERSION`] of the client.
    pub protocol: u32,
    /// Name and version of the client, for the audit log: `wasmdbg 0.1.0`.
    pub client: String,
}

/// The proxy's answer to [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// [`crate::PROTOCOL_VERSION`] of the plugin.
    pub protocol: u32,
    /// The plugin's version: `0.1.0`.
    pub plugin: String,
    /// The host's name and version: `Apache Traffic Server 9.2.5`.
    pub host: String,
    /// Process id of the proxy, in its own pid namespace.
    pub pid: u32,
    /// Names of optional parts this build has; a client must not use what is not listed.
    pub capabilities: Vec<String>,
}

/// Starts a session on this connection: which filters, which transactions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attach {
    /// Names of the filters to debug; empty means every active filter.
    pub filters: Vec<String>,
    /// All must hold for a transaction to enter the debug lane. Empty and not `all`: the plugin makes a
    /// random token and the rule `header x-wasmdbg = TOKEN`.
    pub rules: Vec<Rule>,
    /// Every transaction matches.
    pub all: bool,
    /// How long a stop may last since the controller's last sign of life, in milliseconds;
    /// `None`: the settings' value. Capped by the settings' hard limit.
    pub deadline_ms: Option<u64>,
    /// When the first slot starts; see [`LaneStart`].
    #[serde(default)]
    pub start: LaneStart,
}

/// When the filters' first slots run `_initialize`, `proxy_on_vm_start` and `proxy_on_configure`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LaneStart {
    /// Before the attach is answered: transactions are taken from then on.
    #[default]
    AtOnce,
    /// When the session asks for it with [`Start`], so that its breakpoints stand before. Transactions are
    /// taken when the filter has started. A slot that is there already serves as it is.
    Held,
}

/// Starts what an attach with [`LaneStart::Held`] has held back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {}

/// The filters are starting; [`LaneProgress`] or [`LaneFailed`] follows for each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// How many slots were held back.
    pub slots: u32,
}

/// The session stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attached {
    /// The new session.
    pub session: SessionId,
    /// The rules in force, the generated one included.
    pub rules: Vec<Rule>,
    /// The deadline in force, in milliseconds.
    pub deadline_ms: u64,
    /// The filters whose debug lane is ready.
    pub filters: Vec<AttachedFilter>,
    /// How many matching transactions took the fast lane while the debug lane was made ready.
    pub missed: u64,
}

/// A filter in an attached session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedFilter {
    /// Which filter.
    pub filter: FilterId,
    /// Its name.
    pub name: String,
    /// Its module.
    pub module: ModuleHash,
    /// The slot that has passed configure.
    pub slot: SlotId,
    /// Where the debug lane's code came from and how long it took, in milliseconds.
    pub compile_ms: u64,
    /// The compiled code came from the disk cache or from an earlier session.
    pub cached: bool,
}

/// How far the debug lane is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneProgress {
    /// Which filter.
    pub filter: FilterId,
    /// Its name.
    pub name: String,
    /// What happens now.
    pub phase: LanePhase,
    /// Milliseconds since the attach request.
    pub elapsed_ms: u64,
}

/// The steps of making a debug lane ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LanePhase {
    /// Compiling the module for debugging on one thread at nice 19.
    Compiling,
    /// Starting the first slot: `_initialize`, `proxy_on_vm_start`, `proxy_on_configure`.
    Starting,
    /// Transactions are taken.
    Ready,
}

/// A debug lane that does not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneFailed {
    /// Which filter.
    pub filter: FilterId,
    /// Its name.
    pub name: String,
    /// Why, and what to do.
    pub reason: String,
}

/// Ends the session of this connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detach {}

/// The session is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detached {
    /// Stops that were released by this.
    pub released: u32,
}

/// A sign of life of the controller (a key at the prompt, an open editor): restarts the deadline of
/// the stops it controls. Every other request of a session is one too, except `status`, `filters`
/// and `transactions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {}

/// The answer to [`Activity`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivityNoted {}
