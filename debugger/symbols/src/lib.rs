//! Addresses, lines, functions, scopes, locations and types of a Wasm module.
//!
//! Bytes in, answers out: this crate does no I/O, keeps no global state and never panics on bad
//! input. [`Symbols`] holds one module; each part of its index is built at the first question that
//! needs it and kept. It is `Send + Sync`: share it by `Arc`.
//!
//! ```text
//! bytes ─► Module ─► DebugInfo ─► Symbols ─┬─► lines      pc ⇄ file:line, breakpoints, statements
//!          module/   (per unit,    (the     ├─► functions  names, frames at a pc, inlined copies
//!                    lazy: dwarf/  two and  ├─► variables  at a pc ─► location ─► bytes or address
//!                    or without_   caches)  └─► types      layout of a value
//!                    dwarf/)
//! ```
//!
//! Every pc in the public interface is a [`ModulePc`]: an offset in the `.wasm` file, the form in
//! which engines report positions. For a caller's frame pass `pc.before_return()`.
//!
//! A typical debugger asks in this order:
//! 1. [`Symbols::break_line`] or [`Symbols::break_function`] for the pcs to plant;
//! 2. at a stop, [`Symbols::frames`] for each physical frame: one [`SourceFrame`] per inlined level;
//! 3. [`Symbols::variables`] for a frame, [`Symbols::locate`] for each, and [`Symbols::type_of`] to
//!    show the bytes;
//! 4. [`Symbols::statement`] and [`Symbols::statement_starts`] to step.

#![forbid(unsafe_code)]

pub mod demangle;

mod cache;
mod debug_info;
mod dwarf;
mod error;
mod functions;
mod ids;
mod language;
mod lines;
mod module;
mod open;
mod symbols;
mod types;
mod variables;
mod without_dwarf;

pub use error::{DebugFileError, DebugInfoError, LookupError, ModuleError};
pub use functions::binding::FunctionBinding;
pub use functions::disassemble::Instruction;
pub use functions::frames::{Instance, SourceFrame};
pub use functions::name::FunctionName;
pub use ids::{InstanceId, TypeId};
pub use language::Language;
pub use lines::binding::{BreakPlace, LineBinding};
pub use lines::position::{LineCursor, Position};
pub use lines::statement::{Statement, StatementStart};
pub use module::{CustomSection, Export, Function, Global, Import, ImportKind, Module, ValType};
pub use symbols::{Symbols, UnitInfo};
pub use types::{
    Encoding, Enumerator, Member, PointerKind, RecordKind, Type, TypeKind, Variant, VariantPart,
};
pub use variables::frame_setup::{FrameSetup, StackUse};
pub use variables::location::{Location, Piece};
pub use variables::machine::{Machine, Unreadable, WasmValue};
pub use variables::stack_pointers::StackFrame;
pub use variables::variable::{Variable, VariableKind};
pub use wasmdbg_code_address::{CodeOffset, CodeSection, ModuleHash, ModulePc, PcRange};
