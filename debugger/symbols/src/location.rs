//! Owns the evaluation of DWARF locations against a stopped machine. Never guesses: what cannot be
//! told is [`Location::OptimizedOut`] or [`Location::Unreadable`], with the reason.

use crate::address::ModulePc;
use crate::scopes::Variable;
use crate::symbols::Symbols;

/// A value of the Wasm machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WasmValue {
    /// i32, as bits.
    I32(u32),
    /// i64, as bits.
    I64(u64),
    /// f32, as bits.
    F32(u32),
    /// f64, as bits.
    F64(u64),
    /// v128, little-endian.
    V128([u8; 16]),
}

/// Why something could not be read, in words for the user, without a final period.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

/// One physical frame of a stopped machine. All methods answer for that frame.
pub trait Machine {
    /// A local, parameters first.
    ///
    /// # Errors
    /// When it cannot be read.
    fn local(&self, index: u32) -> Result<WasmValue, Unreadable>;

    /// An operand, 0 at the bottom of the frame's operand stack.
    ///
    /// # Errors
    /// When it cannot be read, as when the stack is not that deep.
    fn operand(&self, index: u32) -> Result<WasmValue, Unreadable>;

    /// A global that is not the stack pointer: its present value.
    ///
    /// # Errors
    /// When it cannot be read.
    fn global(&self, index: u32) -> Result<WasmValue, Unreadable>;

    /// The stack pointer as this frame set it. For the innermost frame that is the global's value; for
    /// callers see [`Symbols::stack_pointers`], and an error when it is unknown there.
    ///
    /// # Errors
    /// When it cannot be told.
    fn stack_pointer(&self) -> Result<u32, Unreadable>;

    /// Linear memory.
    ///
    /// # Errors
    /// When the range is outside the memory or cannot be read.
    fn memory(&self, address: u64, len: usize) -> Result<Vec<u8>, Unreadable>;
}

/// Where a variable is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// In linear memory.
    Memory(u64),
    /// Not in memory: these bytes, little-endian; may be longer than the type (a `bool` in an i32 local).
    Value(Vec<u8>),
    /// In parts.
    Pieces(Vec<Piece>),
    /// The compiler kept no value here.
    OptimizedOut,
    /// There is a value that cannot be read, and why.
    Unreadable(Unreadable),
}

/// A part of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Size in bits; `None` for the rest.
    pub bits: Option<u64>,
    /// First bit within the place that counts.
    pub bit_offset: u64,
    /// The place; never [`Location::Pieces`].
    pub place: Location,
}

impl Location {
    /// The bytes of a value of `size` bytes at this location, read in full.
    ///
    /// # Errors
    /// When a part is optimised out or cannot be read.
    pub fn bytes(&self, size: usize, machine: &dyn Machine) -> Result<Vec<u8>, Unreadable> {
        let _ = (size, machine);
        Err(Unreadable("not read".into()))
    }
}

impl Symbols {
    /// Where a variable of the frame `machine` is at `pc`.
    #[must_use]
    pub fn locate(&self, variable: &Variable, pc: ModulePc, machine: &dyn Machine) -> Location {
        let _ = (variable, pc, machine);
        Location::OptimizedOut
    }

    /// The variable's location as DWARF has it, in words, for a user who wants to judge it.
    #[must_use]
    pub fn describe_location(&self, variable: &Variable, pc: ModulePc) -> String {
        let _ = (variable, pc);
        String::new()
    }
}
