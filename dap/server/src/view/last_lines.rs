//! What a filter logged last, and for which request: a panic's message comes before its trap.

use std::collections::{HashMap, VecDeque};

use wasmdbg_control::transactions::LogLine;
use wasmdbg_control::{FilterId, TransactionId};

/// A panic's message has two lines.
const LINES: usize = 2;

/// The last lines.
#[derive(Debug, Default)]
pub(crate) struct LastLines {
    lines: HashMap<(FilterId, Option<TransactionId>), VecDeque<String>>,
}

impl LastLines {
    pub(crate) fn add(&mut self, line: LogLine) {
        // rustc's hint is no part of a panic's message.
        if line.message.starts_with("note: run with `RUST_BACKTRACE") {
            return;
        }
        let lines = self.lines.entry((line.filter, line.transaction)).or_default();
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(line.message);
    }

    pub(crate) fn of(&self, filter: FilterId, transaction: Option<TransactionId>) -> Option<String> {
        let lines = self.lines.get(&(filter, transaction))?;
        Some(lines.iter().cloned().collect::<Vec<_>>().join("\n"))
    }

    /// A request is over.
    pub(crate) fn forget(&mut self, filter: FilterId, transaction: TransactionId) {
        self.lines.remove(&(filter, Some(transaction)));
    }

    pub(crate) fn clear(&mut self) {
        self.lines.clear();
    }
}
