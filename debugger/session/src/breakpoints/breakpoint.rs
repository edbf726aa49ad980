//! Breakpoints as a user asks for them and is shown them.

use std::fmt;

use wasmdbg_control::ModuleHash;
use wasmdbg_symbols::ModulePc;

use crate::source::Position;

/// What a user names as a breakpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BreakpointSpec {
    /// A line of a source file.
    Line {
        /// A file name or the end of a path (`lib.rs`, `src/lib.rs`), or a whole path.
        file: String,
        /// From 1.
        line: u32,
        /// From 1; `None`: the first statements of the line.
        column: Option<u32>,
    },
    /// Every function of this name: `judge`, `rust_token::judge`, `Filter::on_headers`, an export.
    Function(String),
    /// An opcode, as an offset in the `.wasm` file: in every module that has code there.
    Pc(ModulePc),
    /// An opcode of one module.
    Code {
        /// Which.
        module: ModuleHash,
        /// Offset in its `.wasm` file.
        pc: ModulePc,
    },
}

impl fmt::Display for BreakpointSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { file, line, column: Some(column) } => write!(f, "{file}:{line}:{column}"),
            Self::Line { file, line, column: None } => write!(f, "{file}:{line}"),
            Self::Function(name) => f.write_str(name),
            Self::Pc(pc) | Self::Code { pc, .. } => write!(f, "*{pc}"),
        }
    }
}

/// How a breakpoint behaves beside where it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BreakpointOptions {
    /// Goes with its first hit.
    pub temporary: bool,
    /// An expression over the variables there: what hits it goes on while that is false. One that cannot
    /// be evaluated stops, and the stop says so.
    pub condition: Option<String>,
    /// Which hits stop: a number, or `==`, `!=`, `<`, `<=`, `>`, `>=` or `%` (every so many) and a number.
    /// Hits are counted where the condition holds.
    pub hit_condition: Option<String>,
    /// Say this instead of stopping ([`crate::SessionEvent::LogPoint`]); `{expression}` is replaced.
    pub log_message: Option<String>,
}

/// A user's breakpoint: one number, any number of places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breakpoint {
    /// Counted from 1, never reused in a session.
    pub number: u32,
    /// As asked for.
    pub requested: BreakpointSpec,
    /// Not planted while false.
    pub enabled: bool,
    /// Goes with its first hit.
    pub temporary: bool,
    /// Its condition, hit condition and log message.
    pub options: BreakpointOptions,
    /// How often it was hit with its condition true.
    pub hits: u64,
    /// Where it stands. Empty: pending.
    pub locations: Vec<Location>,
    /// What the user should know: the line has moved, why it is pending, what the plugin refused.
    pub notes: Vec<String>,
}

impl Breakpoint {
    /// It stands nowhere; [`Breakpoint::notes`] says why.
    pub fn is_pending(&self) -> bool {
        self.locations.is_empty()
    }
}

/// One place of a breakpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// In which module.
    pub module: ModuleHash,
    /// Offset of the opcode in the `.wasm` file.
    pub pc: ModulePc,
    /// The function that holds it; with inlining the innermost inlined one.
    pub function: String,
    /// Its source position, when there are line tables.
    pub position: Option<Position>,
}
