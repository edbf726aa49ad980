//! WASI's error numbers, as far as the host answers with them.

use super::table::{Answer, Failure};
use crate::embedder::Status;

/// `errno` of WASI preview 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub(super) enum Errno {
    /// Not an open file descriptor.
    Badf = 8,
    /// A pointer or length leaves the guest's memory.
    Fault = 21,
    /// An argument is out of its range.
    Inval = 28,
    /// No such file.
    Noent = 44,
    /// The host does not have this.
    Nosys = 52,
    /// There is no such clock.
    Notsup = 58,
    /// A stream has no position.
    Spipe = 70,
}

impl From<Status> for Errno {
    fn from(status: Status) -> Self {
        match status {
            Status::InvalidMemoryAccess => Self::Fault,
            _ => Self::Inval,
        }
    }
}

impl Answer for Result<(), Errno> {
    fn code(self) -> wasmtime::Result<i32> {
        Ok(match self {
            Ok(()) => 0,
            Err(errno) => errno as i32,
        })
    }
}

impl From<Errno> for Failure<Errno> {
    fn from(errno: Errno) -> Self {
        Self::Answer(errno)
    }
}
