//! The Proxy-Wasm ABI on wasmtime: filters, virtual machines, the fast and the debug lane, and the
//! agent that serves debugging clients.
//!
//! It knows no proxy and no socket: a host implements [`Embedder`] and [`Transaction`], makes one
//! [`Runtime`], loads [`Filter`]s, and gives each of its event threads a [`FastVm`] per filter.

mod abi;
pub mod agent;
pub mod code;
pub mod config;
mod contexts;
mod deadlines;
pub mod debug;
pub mod embedder;
pub mod engine;
mod exports;
pub mod fast;
pub mod filter;
pub mod filter_core;
mod guest;
mod limits;
mod linker;
mod log_rate;
pub mod outcome;
pub mod part;
pub mod runtime;
mod scalar;
pub mod settings;
mod start;
mod state;
mod stock;
pub mod trap;

pub use agent::{Agent, AgentParts};
pub use config::FilterConfig;
pub use debug::{Claim, DebugContext, DebugLane, Ending};
pub use embedder::{Embedder, HeaderMap, Level, RequestFacts, Status, ThreadHandle, Transaction};
pub use fast::FastVm;
pub use filter::Filter;
pub use outcome::{Action, Callback, Effect, LocalResponse, Outcome, StreamType};
pub use part::{Part, Pseudo};
pub use runtime::Runtime;
pub use settings::Settings;
pub use stock::{Unavailable, Waiter};
pub use trap::{TrapFrame, TrapKind, TrapReport};
