//! Owns one unit's line table and file names, and the decoding of DWARF's line program. Answers by row;
//! knows no functions.

use std::sync::Arc;

use crate::debug_info::{DebugInfo, OpenUnit, Slice};
use crate::error::DebugInfoError;
use wasmdbg_code_address::{CodeOffset, ModulePc, PcRange};

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

impl DebugInfo {
    pub(crate) fn lines(&self, unit: u32) -> Result<&LineTable, DebugInfoError> {
        let slot = self.slot(unit)?;
        slot.lines.get_or_init(|| decode(self, &self.open(unit)?)).as_ref().map_err(Clone::clone)
    }

    /// The unit's file names; empty when they cannot be read.
    pub(crate) fn files(&self, unit: u32) -> &[Arc<str>] {
        let Ok(slot) = self.slot(unit) else { return &[] };
        slot.files.get_or_init(|| self.open(unit).map_or_else(|_| Vec::new(), |open| file_names(self, &open)))
    }

    pub(crate) fn file(&self, unit: u32, file: u32) -> Option<&Arc<str>> {
        self.files(unit).get(file as usize).filter(|path| !path.is_empty())
    }
}

fn decode(info: &DebugInfo, open: &OpenUnit<'_>) -> Result<LineTable, DebugInfoError> {
    let Some(program) = open.unit.line_program.clone() else { return Ok(LineTable::default()) };
    let fail = open.fail(open.slot.offset);
    let mut rows = Vec::new();
    let mut sequence: Vec<Row> = Vec::new();
    let mut steps = program.rows();
    while let Some((_, row)) = steps.next_row().map_err(&fail)? {
        // An address outside the code, or 0, is that of removed code.
        let pc = u32::try_from(row.address())
            .ok()
            .filter(|a| *a != 0)
            .and_then(|a| info.code.module_pc(CodeOffset(a)));
        let Some(pc) = pc else {
            sequence.clear();
            continue;
        };
        let row = read_row(row, pc);
        match sequence.last_mut() {
            _ if row.is_end() => {
                if sequence.first().is_some_and(|first| first.pc < pc) {
                    rows.append(&mut sequence);
                    rows.push(row);
                }
                sequence.clear();
            }
            // Line 0: code of no line in particular. The line before goes on.
            _ if row.line == 0 => {}
            // No code between the two: the later one counts.
            Some(last) if last.pc == pc => {
                *last = Row { flags: row.flags | last.flags & PROLOGUE_END, ..row };
            }
            _ => sequence.push(row),
        }
    }
    rows.sort_by_key(|r| (r.pc, !r.is_end()));
    // The end of one sequence is where the next begins, or nothing.
    rows.dedup_by(|next, previous| {
        let same = next.pc == previous.pc && previous.is_end();
        if same {
            *previous = *next;
        }
        same
    });
    Ok(LineTable { rows })
}

fn read_row(row: &gimli::LineRow, pc: ModulePc) -> Row {
    let small = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    let flag = |on: bool, bit: u8| if on { bit } else { 0 };
    Row {
        pc,
        file: small(row.file_index()),
        line: row.line().map_or(0, |l| small(l.get())),
        column: match row.column() {
            gimli::ColumnType::LeftEdge => 0,
            gimli::ColumnType::Column(column) => small(column.get()),
        },
        flags: flag(row.is_stmt(), STATEMENT)
            | flag(row.prologue_end(), PROLOGUE_END)
            | flag(row.end_sequence(), END),
    }
}

fn file_names(info: &DebugInfo, open: &OpenUnit<'_>) -> Vec<Arc<str>> {
    let Some(program) = &open.unit.line_program else { return Vec::new() };
    let header = program.header();
    let count = header.file_names().len() as u64 + u64::from(header.version() < 5);
    (0..count)
        .map(|index| {
            let path = header.file(index).and_then(|file| file_path(open, header, file));
            info.intern(path.unwrap_or_default())
        })
        .collect()
}

fn file_path<'a>(
    open: &OpenUnit<'a>,
    header: &gimli::LineProgramHeader<Slice<'a>>,
    file: &gimli::FileEntry<Slice<'a>>,
) -> Option<String> {
    let refs = open.refs();
    let text = |value| Some(refs.attr_string(value).ok()?.to_string_lossy().into_owned());
    let mut path = open.unit.comp_dir.map(|d| d.to_string_lossy().into_owned()).unwrap_or_default();
    // Directory 0 is the compilation directory: implied before version 5, an entry since.
    if (header.version() >= 5 || file.directory_index() != 0)
        && let Some(directory) = file.directory(header)
    {
        join(&mut path, &text(directory)?);
    }
    join(&mut path, &text(file.path_name())?);
    Some(fold(&path))
}

/// Appends a path to a folder's.
pub(crate) fn join(path: &mut String, part: &str) {
    let absolute = part.starts_with('/') || part.as_bytes().get(1) == Some(&b':');
    if absolute || path.is_empty() {
        path.clear();
    } else if !path.ends_with('/') {
        path.push('/');
    }
    path.push_str(part);
}

/// Folds `.` and `..` without asking a file system.
pub(crate) fn fold(path: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "." => {}
            "" if !out.is_empty() => {}
            ".." if out.last().is_some_and(|last| !last.is_empty() && *last != "..") => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_folded() {
        for (from, to) in [
            ("/a/./b/../c.rs", "/a/c.rs"),
            ("a//b.c", "a/b.c"),
            ("../x.c", "../x.c"),
            ("a/../../x.c", "../x.c"),
            ("./src/lib.rs", "src/lib.rs"),
        ] {
            assert_eq!(fold(from), to);
        }
    }

    #[test]
    fn parts_are_joined() {
        let mut path = String::from("/filter");
        join(&mut path, "src");
        join(&mut path, "lib.rs");
        assert_eq!(path, "/filter/src/lib.rs");
        join(&mut path, "/rustc/x.rs");
        assert_eq!(path, "/rustc/x.rs");
    }
}
