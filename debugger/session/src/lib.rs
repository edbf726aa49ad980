//! The session engine behind every front end (CLI, DAP server, gdb-remote server): breakpoints,
//! stepping, frames, values and expressions over a control connection.
//!
//! The plugin speaks only Wasm; here Wasm meets the filter's source through its DWARF. A front end
//! holds one [`Session`], gives it commands and takes [`SessionEvent`]s; while something stands it
//! reads the [`Stop`]. Nothing here prints, asks a terminal, or knows an editor.
//!
//! ```text
//! front end ──commands──► Session ──control requests──► plugin
//!           ◄──events────         ◄──control events────
//!               Stop ── Frame ── Scope ── Variable ── Value (read lazily, paged)
//! ```
#![forbid(unsafe_code)]

mod breakpoints;
mod connect;
mod error;
mod event;
mod expression;
mod frames;
mod modules;
mod progress;
mod session;
mod source;
mod stepping;
mod stop;
mod target;
pub mod text;
mod value;

pub use breakpoints::{Breakpoint, BreakpointOptions, BreakpointSpec, Location};
pub use connect::{AttachOptions, Interrupter, proxy};
pub use error::{Error, EvalError};
pub use event::SessionEvent;
pub use frames::{Frame, Scope, ScopeKind};
pub use modules::{CodeLine, DebugInfo, Module, SymbolOptions};
pub use progress::Progress;
pub use session::Session;
pub use source::{MOST_SOURCE, Position, SourceFinder, SourceLines};
pub use stepping::{Libraries, Step, is_library};
pub use stop::{End, Stop, StopSummary};
pub use value::{Format, Value, ValueState, Variable, VariableKind};
pub use wasmdbg_control::session::LaneStart;
