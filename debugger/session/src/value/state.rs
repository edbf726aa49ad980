//! Whether a value is there, and what is said in its place when it is not.

use std::fmt;

use wasmdbg_symbols as symbols;

/// Whether a value could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueState {
    /// It is there.
    Available,
    /// There is none: a header that the request does not have.
    Absent,
    /// The compiler did not keep it at this pc.
    OptimizedOut,
    /// It cannot be read, and why. A wrong value is worse than none.
    Unreadable(String),
}

impl ValueState {
    pub(crate) fn unreadable(why: impl Into<String>) -> Self {
        Self::Unreadable(why.into())
    }
}

impl fmt::Display for ValueState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Available => Ok(()),
            Self::Absent => f.write_str("<none>"),
            Self::OptimizedOut => f.write_str("<optimized out>"),
            Self::Unreadable(why) => write!(f, "<unreadable: {why}>"),
        }
    }
}

impl From<symbols::Unreadable> for ValueState {
    fn from(why: symbols::Unreadable) -> Self {
        Self::Unreadable(why.0)
    }
}

impl From<symbols::DebugInfoError> for ValueState {
    fn from(why: symbols::DebugInfoError) -> Self {
        Self::Unreadable(why.to_string())
    }
}
