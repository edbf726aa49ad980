//! Breakpoints by module and pc.

use serde::{Deserialize, Serialize};
use wasmdbg_code_address::{ModuleHash, ModulePc};

/// Replaces all breakpoints of the session in `module`. Slots that exist get them at once (running
/// ones at their next safe point), later slots before their first callback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetBreakpoints {
    /// Which module.
    pub module: ModuleHash,
    /// The whole set.
    pub breakpoints: Vec<Breakpoint>,
}

/// One place where a slot shall stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breakpoint {
    /// The client's number, reported in a stop. Several pcs may share it (one source line, many copies).
    pub id: u32,
    /// Offset of an opcode in the `.wasm` file.
    pub pc: ModulePc,
}

/// What became of a [`SetBreakpoints`], in its order and length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlantedBreakpoints {
    /// One per requested breakpoint.
    pub breakpoints: Vec<Planted>,
}

/// The outcome for one requested breakpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Planted {
    /// It stands.
    Bound {
        /// The client's number.
        id: u32,
        /// Where; a pc between opcodes moves to the next one.
        pc: ModulePc,
    },
    /// It cannot stand there.
    Refused {
        /// The client's number.
        id: u32,
        /// Why.
        reason: String,
    },
}
