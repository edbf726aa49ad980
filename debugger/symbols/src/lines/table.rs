//! Owns the form of a unit's line table. Answers by row; knows no functions and no DWARF.

use wasmdbg_code_address::{ModulePc, PcRange};

/// One row: the code from `pc` to the next row's pc comes from this line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) pc: ModulePc,
    /// Index into the unit's files.
    pub(crate) file: u32,
    pub(crate) line: u32,
    pub(crate) column: u32,
    flags: u8,
}

/// Steps to a row that cost less than a search in the whole table.
const NEAR: usize = 12;

const STATEMENT: u8 = 1;
const PROLOGUE_END: u8 = 2;
const END: u8 = 4;
const APPROXIMATE: u8 = 8;

impl Row {
    /// A row without flags.
    pub(crate) fn new(pc: ModulePc, file: u32, line: u32, column: u32) -> Row {
        Row { pc, file, line, column, flags: 0 }
    }

    /// The row as a place for a breakpoint.
    pub(crate) fn statement(self) -> Row {
        Row { flags: self.flags | STATEMENT, ..self }
    }

    /// The row where a function's parameters are in place.
    pub(crate) fn prologue_end(self) -> Row {
        Row { flags: self.flags | PROLOGUE_END, ..self }
    }

    /// The row as one whose line is only near that of its code.
    pub(crate) fn approximate(self) -> Row {
        Row { flags: self.flags | APPROXIMATE, ..self }
    }

    /// The end of a sequence at `pc`.
    pub(crate) fn end(pc: ModulePc) -> Row {
        Row { pc, file: 0, line: 0, column: 0, flags: END }
    }

    pub(crate) fn is_statement(&self) -> bool {
        self.flags & STATEMENT != 0
    }

    pub(crate) fn is_approximate(&self) -> bool {
        self.flags & APPROXIMATE != 0
    }

    pub(crate) fn is_prologue_end(&self) -> bool {
        self.flags & PROLOGUE_END != 0
    }

    /// Marks the end of a sequence: there is no line from here to the next row.
    pub(crate) fn is_end(&self) -> bool {
        self.flags & END != 0
    }

    pub(crate) fn same_line(&self, other: &Row) -> bool {
        self.file == other.file && self.line == other.line && !self.is_end() && !other.is_end()
    }
}

/// All rows of live code, by rising pc, at most one line row per pc.
#[derive(Debug, Default)]
pub(crate) struct LineTable {
    rows: Vec<Row>,
}

impl LineTable {
    /// A table of rows that stand by rising pc, each sequence with its end.
    pub(crate) fn new(rows: Vec<Row>) -> LineTable {
        LineTable { rows }
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Index of the row that covers `pc`.
    pub(crate) fn row_at(&self, pc: ModulePc) -> Option<usize> {
        let after = self.rows.partition_point(|r| r.pc <= pc);
        let at = after.checked_sub(1)?;
        (!self.rows[at].is_end()).then_some(at)
    }

    /// Index of the last row that begins at `pc` or before it, looked for around the row `near` first.
    pub(crate) fn row_near(&self, near: usize, pc: ModulePc) -> Option<usize> {
        let mut at = near;
        for _ in 0..NEAR {
            if pc < self.rows.get(at)?.pc {
                at = at.checked_sub(1)?;
            } else if self.rows.get(at + 1).is_some_and(|next| next.pc <= pc) {
                at += 1;
            } else {
                return Some(at);
            }
        }
        self.rows.partition_point(|r| r.pc <= pc).checked_sub(1)
    }

    /// The rows that begin in a range of pcs, ends of sequences excluded.
    pub(crate) fn rows_in(&self, range: PcRange) -> impl Iterator<Item = &Row> {
        let from = self.rows.partition_point(|r| r.pc < range.start);
        let to = self.rows.partition_point(|r| r.pc < range.end);
        self.rows[from..to.max(from)].iter().filter(|r| !r.is_end())
    }
}
