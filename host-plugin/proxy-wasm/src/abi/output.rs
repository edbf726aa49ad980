//! What the guest writes to its standard output and error: whole lines to the host's log.

use crate::embedder::Level;
use crate::state::VmState;

/// A line is cut here when the guest never ends it.
const LONGEST_LINE: usize = 8 << 10;

/// Begun lines.
#[derive(Debug, Default)]
pub(crate) struct GuestOutput {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl GuestOutput {
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
    fn level(self) -> Level {
        match self {
            Self::Stdout => Level::Info,
            Self::Stderr => Level::Error,
        }
    }
}

impl VmState {
    /// Logs for the context that host functions act for.
    pub(crate) fn log(&self, level: Level, message: &[u8]) {
        let transaction = self.contexts.transaction_id();
        let message = String::from_utf8_lossy(message);
        self.core.log(level, transaction, &message);
        if let Some(listener) = &self.listener {
            listener(level, transaction, &message);
        }
    }

    /// Takes bytes of `stream` and logs the lines they complete.
    pub(crate) fn print(&mut self, stream: Stream, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let line = self.line(stream);
            let (text, ended) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            line.extend_from_slice(text);
            if ended || line.len() >= LONGEST_LINE {
                self.flush(stream);
            }
        }
    }

    /// Logs what is left of begun lines.
    pub(crate) fn flush_output(&mut self) {
        self.flush(Stream::Stdout);
        self.flush(Stream::Stderr);
    }

    fn line(&mut self, stream: Stream) -> &mut Vec<u8> {
        match stream {
            Stream::Stdout => &mut self.output.stdout,
            Stream::Stderr => &mut self.output.stderr,
        }
    }

    fn flush(&mut self, stream: Stream) {
        let mut line = std::mem::take(self.line(stream));
        if !line.is_empty() {
            self.log(stream.level(), &line);
        }
        line.clear();
        *self.line(stream) = line;
    }
}
