//! What filters logged last and nobody was shown: a panic's message comes before its trap.

use std::collections::VecDeque;

use wasmdbg_control::stop::{Context, Stopped};
use wasmdbg_control::transactions::LogLine;

/// Lines that are kept for a panic: its message, and what its runtime says behind it.
const MOST: usize = 8;

/// Oldest first.
#[derive(Default)]
pub(super) struct LastLogs(VecDeque<LogLine>);

impl LastLogs {
    pub(super) fn push(&mut self, line: LogLine) {
        self.0.push_back(line);
        if self.0.len() > MOST {
            self.0.pop_front();
        }
    }

    /// Takes out the lines of the filter and the transaction that stopped.
    pub(super) fn take_of(&mut self, stopped: &Stopped) -> VecDeque<LogLine> {
        let transaction = match &stopped.context {
            Context::Stream { transaction, .. } => Some(*transaction),
            Context::Root { .. } => None,
        };
        let of_stop = |line: &LogLine| line.filter == stopped.filter && line.transaction == transaction;
        let (own, others) = std::mem::take(&mut self.0).into_iter().partition(of_stop);
        self.0 = others;
        own
    }
}
