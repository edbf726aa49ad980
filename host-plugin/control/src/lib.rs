//! The control protocol between a proxy that hosts filters and its clients (CLI, DAP server,
//! gdb-remote server, profiler).
//!
//! It speaks only Wasm: modules by content hash, pcs as offsets in the `.wasm` file, local and
//! global indexes, memory ranges, contexts and transactions. Source paths, types and expressions
//! live in the client. It knows nothing of wasmtime and of the proxy.
#![forbid(unsafe_code)]

pub mod admission;
pub mod client;
pub mod discover;
pub mod files;
pub mod messages;
pub mod server;
pub mod text;
pub mod wire;

pub use client::events;
pub use messages::{
    breakpoints, code, filters, ids, message, rules, session, state, status, stop, stream, transactions,
};
pub(crate) use wire::address;
pub use wire::{codec, connection};

pub use client::{AttachError, CallError, Client};
pub use codec::{Decoder, encode};
pub use connection::Connection;
pub use events::Events;
pub use ids::{ContextId, FilterId, SessionId, SlotId, StopId, TransactionId};
pub use message::{Call, ErrorKind, Event, Message, Reply, Request, RequestId, WireError};
pub use wasmdbg_code_address::{ModuleHash, ModulePc, PcRange};

/// The version this build speaks. A peer with another one is refused with a message that says
/// which side to upgrade.
pub const PROTOCOL_VERSION: u32 = 1;

/// The largest frame body in bytes. A longer one ends the connection that sent it.
pub const MAX_FRAME: usize = 1 << 20;

/// What a list in a message may take of a frame, in bytes of JSON, where filters or clients decide how long it
/// is; the rest is for what goes with it.
pub const MAX_LIST: usize = 900 << 10;
