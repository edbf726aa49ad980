//! Frames as a programmer counts them: inlined calls are frames too.

use std::fmt;

/// A place in a source file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// As the line table has it, the unit's directory prepended when it is relative.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1; 0: unknown.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// One frame of a stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// 0 is the innermost.
    pub number: u32,
    /// The Wasm activation that holds it (several inlined frames share one); 0 is the innermost.
    pub activation: u32,
    /// How many inlined calls deep inside that activation; 0 is the function itself.
    pub depth: u32,
    /// Offset in the `.wasm` file: the opcode that runs next, in callers the one behind the call.
    pub pc: u32,
    /// The function's name, demangled.
    pub function: String,
    /// Where it stands; `None` without line tables or in generated code.
    pub position: Option<Position>,
    /// It is an inlined call.
    pub inlined: bool,
}
