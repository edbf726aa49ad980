//! The Debug Adapter Protocol over the session engine, for editors: `wasmdbg dap`.
//!
//! An adapter is one client's connection. It turns requests into commands of one
//! [`wasmdbg_session::Session`] and the session's events into the client's; it knows no DWARF, no value
//! layouts and no stepping. What it announces in `initialize` works; nothing else is announced.
//!
//! ```text
//! editor ──bytes── framing ── protocol ── Adapter ── Session ── plugin
//!                  (a thread reads)        (one thread works, in the order in which messages came)
//! ```
//!
//! Whatever happens to the client, what it has stopped goes on: the connection to the proxy ends with the
//! client's, and the plugin releases what a dead connection held.
#![forbid(unsafe_code)]

mod adapter;
mod events;
pub mod protocol;
mod requests;
mod serve;
mod session;
mod transport;
mod view;

pub use serve::{Listener, serve, serve_with, stdio};
pub use session::connector::{Proxies, ThisMachine};
pub use view::source_folders::Reach;
