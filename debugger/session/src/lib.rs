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

mod attach;
mod breakpoint;
mod condition;
mod disassembly;
mod end;
mod error;
mod event;
mod expression;
mod frame;
mod interrupter;
mod lookup;
mod modules;
pub mod proxy;
mod scope;
mod session;
mod source;
mod step;
mod stop;
mod target;
pub mod text;
mod value;

pub use attach::AttachOptions;
pub use breakpoint::{Breakpoint, BreakpointOptions, BreakpointSpec, Location};
pub use disassembly::CodeLine;
pub use end::End;
pub use error::{Error, EvalError};
pub use event::{Progress, SessionEvent};
pub use frame::{Frame, Position};
pub use interrupter::Interrupter;
pub use modules::{DebugInfo, Module, SymbolOptions};
pub use scope::{Scope, ScopeKind};
pub use session::Session;
pub use source::{MOST_SOURCE, SourceFinder, SourceLines};
pub use step::{Libraries, Step, is_library};
pub use stop::{Stop, StopSummary};
pub use value::{Format, Value, ValueState, Variable, VariableKind};
pub use wasmdbg_control::session::LaneStart;
