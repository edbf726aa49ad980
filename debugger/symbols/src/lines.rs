//! Owns the line table: pc to source position, source line to breakpoint places, statements for
//! stepping, source files. Never looks at variables.

use std::sync::Arc;

use crate::address::{ModulePc, PcRange};
use crate::error::LookupError;
use crate::functions::InstanceId;
use crate::symbols::Symbols;

/// A place in the source.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The path that the compiler wrote, made absolute by DW_AT_comp_dir, with `.` and `..` folded.
    pub path: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1; 0 when unknown.
    pub column: u32,
}

/// One pc where a breakpoint is to be planted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakPlace {
    /// Where to plant: an instruction, behind the prologue when the line opens a function.
    pub pc: ModulePc,
    /// Index of the Wasm function that holds it.
    pub function: u32,
    /// The function instance or inlined copy it belongs to; `None` without DWARF.
    pub instance: Option<InstanceId>,
    /// Name of that instance's function.
    pub name: Arc<str>,
    /// Whether it is an inlined copy.
    pub inlined: bool,
    /// The source position of `pc`; `None` without DWARF.
    pub position: Option<Position>,
}

/// The places of a source line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineBinding {
    /// The file that matched.
    pub path: Arc<str>,
    /// The line that was asked for.
    pub requested: u32,
    /// The line that has the code: `requested`, or the next one with code (a moved line: say so).
    pub line: u32,
    /// All places, by rising pc; never empty. Inlined and generic copies each have their own.
    pub places: Vec<BreakPlace>,
}

impl LineBinding {
    /// Whether the breakpoint is on another line than was asked for.
    #[must_use]
    pub fn moved(&self) -> bool {
        self.requested != self.line
    }
}

/// The statement around a pc, as one frame sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its line; for an outer frame the line of the call.
    pub position: Position,
    /// The contiguous code around the pc that belongs to this line in this frame. Code inlined from a
    /// call on the line belongs to it, so a step over inlined calls goes on while the pc is inside.
    pub ranges: Vec<PcRange>,
}

/// A pc where a source line begins; the places where a step by line may stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementStart {
    /// An instruction with a recommended breakpoint (is_stmt).
    pub pc: ModulePc,
    /// Its position.
    pub position: Position,
    /// The innermost instance there.
    pub instance: Option<InstanceId>,
}

impl Symbols {
    /// The source position of the innermost frame at a pc. Code without a line of its own (line 0)
    /// takes the line before it in the same function.
    #[must_use]
    pub fn position(&self, pc: ModulePc) -> Option<Position> {
        let _ = pc;
        None
    }

    /// All source files that have code or are named in line tables, sorted.
    #[must_use]
    pub fn source_files(&self) -> Vec<Arc<str>> {
        Vec::new()
    }

    /// The files that `spec` can mean: equal paths, else paths of which it is the end by whole
    /// components (`lib.rs`, `src/lib.rs`). A path from another machine matches by the longest common
    /// end of at least the file name, if exactly one file has it.
    #[must_use]
    pub fn matching_files(&self, spec: &str) -> Vec<Arc<str>> {
        let _ = spec;
        Vec::new()
    }

    /// Where to plant a breakpoint on a source line, and on a column if one is given (the first
    /// statement at or behind it).
    ///
    /// In each function instance and each inlined copy the first instruction of each block of the
    /// line counts, except blocks that are only reached through an earlier one of the same copy.
    ///
    /// # Errors
    /// No debug info, no or several such files, no code at or behind the line.
    pub fn break_line(&self, file: &str, line: u32, column: Option<u32>) -> Result<LineBinding, LookupError> {
        let _ = (file, line, column);
        Err(LookupError::NoDebugInfo)
    }

    /// The (line, column) pairs in a range of lines where a breakpoint can be, sorted.
    ///
    /// # Errors
    /// No debug info, or no or several such files.
    pub fn break_columns(
        &self,
        file: &str,
        lines: std::ops::RangeInclusive<u32>,
    ) -> Result<Vec<(u32, u32)>, LookupError> {
        let _ = (file, lines);
        Err(LookupError::NoDebugInfo)
    }

    /// The statement around `pc` in the frame `instance` (one of those that [`Symbols::frames`] gives
    /// there). `None` without debug info.
    #[must_use]
    pub fn statement(&self, pc: ModulePc, instance: InstanceId) -> Option<Statement> {
        let _ = (pc, instance);
        None
    }

    /// All statement starts of a Wasm function, inlined code included, by rising pc.
    #[must_use]
    pub fn statement_starts(&self, function: u32) -> Vec<StatementStart> {
        let _ = function;
        Vec::new()
    }
}
