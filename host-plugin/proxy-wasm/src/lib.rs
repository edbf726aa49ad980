//! The Proxy-Wasm ABI on wasmtime: filters, virtual machines, the fast and the debug lane, and the
//! agent that serves debugging clients.
//!
//! It knows no proxy and no socket: a host implements [`Embedder`] and [`Transaction`].

pub mod embedder;
pub mod outcome;

pub use embedder::{Embedder, HeaderMap, Level, RequestFacts, Status, ThreadHandle, Transaction};
pub use outcome::{Action, Callback, Effect, LocalResponse, Outcome, StreamType};
