//! What the guest logs and what it writes to its standard output and error: whole lines to the host's
//! log, and only so many in one callback.

use wasmdbg_control::text::escaped;

use super::output::Stream;
use super::state::VmState;
use crate::config::Limits;
use crate::embedder::Level;

/// A line is cut here when the guest never ends it.
const LONGEST_LINE: usize = 8 << 10;

impl VmState {
    /// Logs for the context that host functions act for.
    pub(crate) fn log(&mut self, level: Level, message: &[u8]) {
        let message = String::from_utf8_lossy(self.allowance.admit(message));
        self.log_lines(level, &message);
    }

    fn log_lines(&mut self, level: Level, message: &str) {
        let transaction = self.contexts.transaction_id();
        for line in message.lines() {
            if !self.allowance.admit_line(line.len()) {
                continue;
            }
            let line = escaped(line);
            self.core.log_line(level, transaction, &line);
            if let Some(listener) = &self.listener {
                listener(level, transaction, &line);
            }
        }
    }

    /// Takes bytes of `stream` and logs the lines they complete.
    pub(crate) fn print(&mut self, stream: Stream, bytes: &[u8]) {
        for piece in self.allowance.admit(bytes).split_inclusive(|byte| *byte == b'\n') {
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

    /// At the end of a callback: logs what is left of begun lines, and says what was left out.
    #[inline]
    pub(crate) fn end_log(&mut self) {
        if self.output.is_pending() {
            self.flush_output();
        }
        if self.allowance.left_out > 0 {
            self.say_left_out();
        }
    }

    #[cold]
    fn say_left_out(&mut self) {
        let left_out = std::mem::take(&mut self.allowance.left_out);
        self.core.counters.not_logged(left_out as u64);
        let Limits { log_bytes, log_lines, .. } = self.core.limits;
        let text = format!(
            "{left_out} bytes that this callback logged are not in the log: limits.log_bytes allows {log_bytes} and limits.log_lines {log_lines} lines"
        );
        let transaction = self.contexts.transaction_id();
        self.core.log_line(Level::Warn, transaction, &text);
        if let Some(listener) = &self.listener {
            listener(Level::Warn, transaction, &text);
        }
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
            self.log_lines(stream.level(), &String::from_utf8_lossy(&line));
        }
        line.clear();
        *self.line(stream) = line;
    }
}
