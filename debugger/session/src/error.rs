//! What can go wrong in a session; each error says who can act.

use wasmdbg_control::client::CallError;
use wasmdbg_control::{StopId, WireError};

/// A failed session command.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plugin refused a request.
    #[error("{0}")]
    Refused(#[from] WireError),
    /// The connection is gone.
    #[error("the connection to the proxy is gone: {0}")]
    Disconnected(String),
    /// The stop is over: resumed, released, or never was.
    #[error("stop {0} is over; wait for the next one")]
    StopOver(StopId),
    /// Nothing has this breakpoint number.
    #[error("no breakpoint has the number {0}; `info breakpoints` lists them")]
    NoBreakpoint(u32),
    /// The frame number is too large.
    #[error("there is no frame {wanted}; the outermost is {outermost}")]
    NoFrame {
        /// As asked.
        wanted: u32,
        /// The largest number.
        outermost: u32,
    },
    /// The command does not fit the present state or the symbols at hand.
    #[error("{0}")]
    Invalid(String),
    /// A text of a breakpoint is no expression.
    #[error("{what}: {source}")]
    Expression {
        /// Which text.
        what: &'static str,
        /// What is wrong with it, and where.
        source: EvalError,
    },
    /// A source file cannot be shown.
    #[error("{0}")]
    Source(String),
    /// The module's symbols cannot be read.
    #[error("{0}")]
    Symbols(String),
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(error) => Self::Refused(error),
            CallError::Connection(error) => Self::Disconnected(error.to_string()),
            other => Self::Invalid(other.to_string()),
        }
    }
}

/// An expression that has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (column {})", .position + 1)]
pub struct EvalError {
    /// Byte offset in the expression's text, from 0.
    pub position: usize,
    /// What is wrong there.
    pub message: String,
}
