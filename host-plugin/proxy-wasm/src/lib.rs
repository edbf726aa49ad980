//! The Proxy-Wasm ABI on wasmtime: filters, virtual machines, the fast and the debug lane, and the
//! agent that serves debugging clients.
//!
//! It knows no proxy and no socket: a host implements [`Embedder`] and [`Transaction`], makes one
//! [`Runtime`], loads [`Filter`]s, and gives each of its event threads a [`FastVm`] per filter.

mod abi;
pub mod agent;
pub mod code;
pub mod config;
pub mod debug;
pub mod embedder;
pub mod filter;
pub mod foreign;
pub mod outcome;
mod own_properties;
pub mod part;
mod shared;
pub mod vm;

pub use agent::{Agent, AgentParts};
pub use config::{FilterConfig, Settings};
pub use debug::{Claim, DebugContext, DebugLane, DebugRoot, Ending};
pub use embedder::{
    Buffer, BufferKind, Embedder, HeaderMap, Headers, Level, RequestFacts, Status, ThreadHandle, Transaction,
};
pub use filter::{EpochThread, Filter, Runtime, Unavailable, Waiter};
pub use foreign::{ForeignFunction, ForeignFunctions};
pub use outcome::{Action, Effect, LocalResponse, Outcome, StreamType};
pub use own_properties::OwnProperties;
pub use part::{Part, Pseudo};
pub use shared::metrics::{Metric, MetricKind};
pub use vm::{Callback, FastVm, Letter, TrapFrame, TrapKind, TrapReport};
