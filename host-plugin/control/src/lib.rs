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
pub use wire::{codec, connection};

pub use client::{AttachError, CallError, Client};
pub use codec::{Decoder, MAX_FRAME, MAX_LIST, encode};
pub use connection::Connection;
pub use events::Events;
pub use ids::{ContextId, FilterId, SessionId, SlotId, StopId, TransactionId};
pub use message::{Call, ErrorKind, Event, Message, Reply, Request, RequestId, WireError};
pub use wasmdbg_code_address::{ModuleHash, ModulePc, PcRange};
pub use wire::version::PROTOCOL_VERSION;
