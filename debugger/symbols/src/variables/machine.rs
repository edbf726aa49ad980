//! Owns what is asked of a stopped machine.

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
    /// callers see [`crate::Symbols::stack_pointers`], and an error when it is unknown there.
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
