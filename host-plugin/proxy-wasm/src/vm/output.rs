//! What the guest has begun to write to its standard output and error, and how much one callback may still log.

use crate::config::Limits;
use crate::embedder::Level;

/// Begun lines.
#[derive(Debug, Default)]
pub(crate) struct GuestOutput {
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

impl GuestOutput {
    #[inline]
    pub(crate) fn is_pending(&self) -> bool {
        !(self.stdout.is_empty() && self.stderr.is_empty())
    }
}

/// `fd_write`'s file descriptors that have a meaning here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    /// As the reference host logs them.
    pub(super) fn level(self) -> Level {
        match self {
            Self::Stdout => Level::Info,
            Self::Stderr => Level::Error,
        }
    }
}

/// What the callback that runs may still log.
#[derive(Debug)]
pub(crate) struct LogAllowance {
    bytes: usize,
    lines: u32,
    pub(super) left_out: usize,
}

impl LogAllowance {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            bytes: usize::try_from(limits.log_bytes).unwrap_or(usize::MAX),
            lines: limits.log_lines,
            left_out: 0,
        }
    }

    /// The part of `text` that may be logged; the rest is counted.
    pub(super) fn admit<'a>(&mut self, text: &'a [u8]) -> &'a [u8] {
        let most = if self.lines == 0 { 0 } else { self.bytes };
        let (admitted, rest) = text.split_at(text.len().min(most));
        self.bytes -= admitted.len();
        self.left_out += rest.len();
        admitted
    }

    /// Whether a line of so many admitted bytes may be logged.
    pub(super) fn admit_line(&mut self, size: usize) -> bool {
        let Some(left) = self.lines.checked_sub(1) else {
            self.left_out += size;
            return false;
        };
        self.lines = left;
        true
    }
}
