//! Owns the decoding of DWARF's line programs and of the file names in front of them.

use super::sections::Slice;
use super::unit::OpenUnit;
use crate::error::DebugInfoError;
use crate::lines::paths::{fold, join};
use crate::lines::table::{LineTable, Row};
use wasmdbg_code_address::{CodeOffset, CodeSection, ModulePc};

/// The unit's line table: rows of live code alone.
pub(crate) fn rows(code: CodeSection, open: &OpenUnit<'_>) -> Result<LineTable, DebugInfoError> {
    let Some(program) = open.unit.line_program.clone() else { return Ok(LineTable::default()) };
    let fail = open.fail(open.extent.start);
    let mut rows = Vec::new();
    let mut sequence: Vec<Row> = Vec::new();
    let mut steps = program.rows();
    while let Some((_, row)) = steps.next_row().map_err(&fail)? {
        // An address outside the code, or 0, is that of removed code.
        let pc =
            u32::try_from(row.address()).ok().filter(|a| *a != 0).and_then(|a| code.module_pc(CodeOffset(a)));
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
                *last = if last.is_prologue_end() { row.prologue_end() } else { row };
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
    Ok(LineTable::new(rows))
}

fn read_row(row: &gimli::LineRow, pc: ModulePc) -> Row {
    if row.end_sequence() {
        return Row::end(pc);
    }
    let small = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    let column = match row.column() {
        gimli::ColumnType::LeftEdge => 0,
        gimli::ColumnType::Column(column) => small(column.get()),
    };
    let mut read = Row::new(pc, small(row.file_index()), row.line().map_or(0, |l| small(l.get())), column);
    if row.is_stmt() {
        read = read.statement();
    }
    if row.prologue_end() { read.prologue_end() } else { read }
}

/// The paths of the unit's files, by their numbers; empty for those that cannot be read.
pub(crate) fn file_names(open: &OpenUnit<'_>) -> Vec<String> {
    let Some(program) = &open.unit.line_program else { return Vec::new() };
    let header = program.header();
    let count = header.file_names().len() as u64 + u64::from(header.version() < 5);
    (0..count)
        .map(|index| header.file(index).and_then(|file| file_path(open, header, file)).unwrap_or_default())
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
