//! Owns the way from a source line to the pcs where a breakpoint belongs, and the choice of the file
//! that was meant. Never looks at variables.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::position::{Position, row_position};
use super::table::Row;
use crate::debug_info::DebugInfo;
use crate::error::LookupError;
use crate::functions::tree::NONE;
use crate::ids::InstanceId;
use crate::symbols::Symbols;
use wasmdbg_code_address::ModulePc;

/// One pc where a breakpoint is to be planted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakPlace {
    /// Where to plant: an instruction, behind the prologue when the line opens a function.
    pub pc: ModulePc,
    /// Index of the Wasm function that holds it.
    pub function: u32,
    /// The function instance or inlined copy it belongs to; `None` without DWARF.
    pub instance: Option<InstanceId>,
    /// Name of that instance's function.
    pub name: Arc<str>,
    /// Whether it is an inlined copy.
    pub inlined: bool,
    /// The source position of `pc`; `None` without DWARF.
    pub position: Option<Position>,
}

/// The places of a source line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineBinding {
    /// The file that matched.
    pub path: Arc<str>,
    /// The line that was asked for.
    pub requested: u32,
    /// The line that has the code: `requested`, or the next one with code (a moved line: say so).
    pub line: u32,
    /// All places, by rising pc; never empty. Inlined and generic copies each have their own.
    pub places: Vec<BreakPlace>,
}

impl LineBinding {
    /// Whether the breakpoint is on another line than was asked for.
    #[must_use]
    pub fn moved(&self) -> bool {
        self.requested != self.line
    }
}

/// The first statement of a block of one line in one instance.
struct Block {
    pc: ModulePc,
    unit: u32,
    node: Option<u32>,
    row: Row,
}

/// A file and its lines with code.
type FileLines<'f> = (&'f Arc<str>, BTreeSet<u32>);

impl Symbols {
    /// All source files that have code or are named in line tables, sorted.
    #[must_use]
    pub fn source_files(&self) -> Vec<Arc<str>> {
        let Some(info) = &self.info else { return Vec::new() };
        let all: BTreeSet<_> = (0..info.units.len() as u32).flat_map(|u| info.files(u)).collect();
        all.into_iter().filter(|path| !path.is_empty()).cloned().collect()
    }

    /// The files that `spec` can mean: equal paths, else paths of which it is the end by whole
    /// components (`lib.rs`, `src/lib.rs`). A path from another machine (`/home/me/filter/src/lib.rs`)
    /// matches the files that share the longest end with it, of two components at least.
    #[must_use]
    pub fn matching_files(&self, spec: &str) -> Vec<Arc<str>> {
        let spec = spec.replace('\\', "/");
        let spec = spec.trim_start_matches("./");
        let wanted: Vec<&str> = spec.split('/').filter(|part| !part.is_empty()).collect();
        let wanted_parts = wanted.len();
        let files = self.source_files();
        if let Some(equal) = files.iter().find(|path| &***path == spec) {
            return vec![equal.clone()];
        }
        let shared = |path: &str| {
            let parts = path.split(['/', '\\']).rev().filter(|part| !part.is_empty());
            parts.zip(wanted.iter().rev()).take_while(|(a, b)| a == *b).count()
        };
        let best = files.iter().map(|path| shared(path)).max().unwrap_or(0);
        // A bare or relative end must match whole; an absolute path may come from another machine, and
        // a path in the module may be shorter than the user's.
        if best == 0 || (best < wanted.len() && best < 2 && !files.iter().any(|f| shared(f) == components(f)))
        {
            return Vec::new();
        }
        let whole = files.iter().any(|path| shared(path) == best && components(path) == best);
        let wanted = |path: &Arc<str>| shared(path) == best && (!whole || components(path) == best);
        // A path that the spec ends in as a whole is meant rather than one that only ends alike. Not so for
        // a bare name, which all paths end in.
        let bare = wanted_parts == 1;
        files.into_iter().filter(|path| if bare { shared(path) == best } else { wanted(path) }).collect()
    }

    /// Where to plant a breakpoint on a source line, and on a column if one is given (the first
    /// statement at or behind it).
    ///
    /// In each function instance and each inlined copy the first statement of each block of the line
    /// counts, and where the line begins with an inlined call the first statement of that (in optimised
    /// code the line's own rows may only come behind it), except of blocks that are only reached through
    /// an earlier one of the same copy: one stop per pass over the line, not one per row.
    ///
    /// # Errors
    /// No debug info, no or several such files, no code at or behind the line.
    pub fn break_line(&self, file: &str, line: u32, column: Option<u32>) -> Result<LineBinding, LookupError> {
        let info = self.info.as_ref().ok_or(LookupError::NoDebugInfo)?;
        let files = self.matching_files(file);
        if files.is_empty() {
            return Err(self.unknown_file(file));
        }
        let with_code: Vec<_> =
            files.iter().map(|path| (path, lines_of(info, path))).filter(|(_, l)| !l.is_empty()).collect();
        let Some((path, lines)) = choose(&with_code, line) else {
            if with_code.len() > 1 {
                let candidates = with_code.iter().map(|(path, _)| (*path).clone()).collect();
                return Err(LookupError::AmbiguousFile { file: file.to_owned(), candidates });
            }
            return Err(LookupError::NoCode { path: files[0].clone(), line, last: None });
        };
        let Some(bound) = lines.range(line..).next().copied() else {
            let last = lines.last().copied();
            return Err(LookupError::NoCode { path: Arc::clone(path), line, last });
        };
        let column = column.filter(|_| bound == line);
        let places = self.places(info, blocks_of(info, path, bound, column));
        Ok(LineBinding { path: Arc::clone(path), requested: line, line: bound, places })
    }

    /// The (line, column) pairs in a range of lines where a breakpoint can be, sorted.
    ///
    /// # Errors
    /// No debug info, or no or several such files.
    pub fn break_columns(
        &self,
        file: &str,
        lines: RangeInclusive<u32>,
    ) -> Result<Vec<(u32, u32)>, LookupError> {
        let info = self.info.as_ref().ok_or(LookupError::NoDebugInfo)?;
        let files = self.matching_files(file);
        let mut found = BTreeSet::new();
        for path in &files {
            each_row(info, path, |_, row, _| {
                if row.is_statement() && lines.contains(&row.line) {
                    found.insert((row.line, row.column));
                }
            });
        }
        if files.is_empty() { Err(self.unknown_file(file)) } else { Ok(found.into_iter().collect()) }
    }

    fn unknown_file(&self, file: &str) -> LookupError {
        let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
        let stem = name.split('.').next().unwrap_or(name).to_lowercase();
        let near = |path: &Arc<str>| {
            path.rsplit('/').next().is_some_and(|last| last.to_lowercase().starts_with(&stem))
        };
        let similar = self.source_files().into_iter().filter(near).take(3).collect();
        LookupError::UnknownFile { file: file.to_owned(), similar }
    }

    /// Blocks to places: one per pass and instance, behind prologues.
    fn places(&self, info: &DebugInfo, blocks: Vec<Block>) -> Vec<BreakPlace> {
        let mut by_instance: BTreeMap<(u32, Option<u32>, u32), Vec<Block>> = BTreeMap::new();
        for block in blocks {
            let Some(function) = self.module.function_at(block.pc) else { continue };
            by_instance.entry((block.unit, block.node, function.index)).or_default().push(block);
        }
        let mut places: Vec<BreakPlace> = Vec::new();
        for ((.., function), mut blocks) in by_instance {
            blocks.sort_by_key(|block| block.pc);
            self.drop_reached(function, &mut blocks);
            places.extend(blocks.iter().filter_map(|block| self.block_place(info, block)));
        }
        places.sort_by_key(|place| place.pc);
        places.dedup_by_key(|place| place.pc);
        places
    }

    /// Drops the blocks that are only reached through an earlier one.
    fn drop_reached(&self, function: u32, blocks: &mut Vec<Block>) {
        let Some(function) = self.module.function(function).filter(|_| blocks.len() > 1) else { return };
        let pcs: Vec<_> = blocks.iter().map(|block| block.pc).collect();
        let reached = self.module.only_through(function, &pcs);
        let mut at = 0;
        blocks.retain(|_| {
            at += 1;
            !reached.get(at - 1).copied().unwrap_or(false)
        });
    }

    fn block_place(&self, info: &DebugInfo, block: &Block) -> Option<BreakPlace> {
        let function = self.module.function_at(block.pc)?;
        let instance = block.node.map(|node| InstanceId { unit: block.unit, node });
        let frames = self.frames(block.pc);
        let frame = frames.iter().find(|frame| frame.instance == instance).or(frames.first())?;
        let mut pc = block.pc.max(function.first_instruction);
        let mut position = row_position(info, block.unit, &block.row);
        // The line that opens a function: its parameters are not in place before the prologue's end.
        if let Some(behind) = self.after_prologue(function.index).filter(|p| !frame.inlined && pc < *p) {
            pc = behind;
            position = self.position(pc);
        }
        Some(BreakPlace {
            pc,
            function: function.index,
            instance,
            name: Arc::clone(&frame.name.full),
            inlined: frame.inlined,
            position,
        })
    }
}

fn components(path: &str) -> usize {
    path.split(['/', '\\']).filter(|part| !part.is_empty()).count()
}

/// Calls `visit` with each live row of a file, its unit and the row before it in the table.
fn each_row(info: &DebugInfo, path: &Arc<str>, mut visit: impl FnMut(u32, &Row, Option<&Row>)) {
    for unit in 0..info.units.len() as u32 {
        let files = info.files(unit);
        if !files.contains(path) {
            continue;
        }
        let Ok(table) = info.lines(unit) else { continue };
        let rows = table.rows();
        for (at, row) in rows.iter().enumerate() {
            if !row.is_end() && files.get(row.file as usize) == Some(path) {
                visit(unit, row, at.checked_sub(1).map(|before| &rows[before]));
            }
        }
    }
}

/// The lines of a file where a breakpoint can be.
fn lines_of(info: &DebugInfo, path: &Arc<str>) -> BTreeSet<u32> {
    let mut lines = BTreeSet::new();
    each_row(info, path, |_, row, _| {
        if row.is_statement() {
            lines.insert(row.line);
        }
    });
    each_call(info, path, |_, _, row| {
        lines.insert(row.line);
    });
    lines
}

/// Calls `visit` with each inlined call in a file that begins with a statement: the unit, the node that
/// calls, and the statement's row with the call's position.
fn each_call(info: &DebugInfo, path: &Arc<str>, mut visit: impl FnMut(u32, u32, Row)) {
    for unit in 0..info.units.len() as u32 {
        let files = info.files(unit);
        if !files.contains(path) {
            continue;
        }
        let (Ok(functions), Ok(table)) = (info.functions(unit), info.lines(unit)) else { continue };
        for (at, node) in functions.nodes.iter().enumerate() {
            let (file, line, column) = node.call;
            if line == 0 || node.parent == NONE || files.get(file as usize) != Some(path) {
                continue;
            }
            let Some(pc) = functions.entry_pc(at as u32) else { continue };
            let row = table.row_at(pc).map(|row| table.rows()[row]);
            if let Some(mut row) = row.filter(|row| row.pc == pc && row.is_statement()) {
                (row.file, row.line, row.column) = (file, line, column);
                visit(unit, node.parent, row);
            }
        }
    }
}

/// Picks the file that was meant: the only one, else the only one with code on that very line, else
/// the only one that is not part of a toolchain or a dependency.
fn choose<'f>(files: &'f [FileLines<'f>], line: u32) -> Option<&'f FileLines<'f>> {
    let only = |keep: &dyn Fn(&FileLines<'f>) -> bool| {
        let mut kept = files.iter().filter(|file| keep(file));
        kept.next().filter(|_| kept.next().is_none())
    };
    only(&|_| true)
        .or_else(|| only(&|(path, _)| !is_foreign(path)))
        .or_else(|| only(&|(path, lines)| !is_foreign(path) && lines.contains(&line)))
        .or_else(|| only(&|(_, lines)| lines.contains(&line)))
}

/// Whether a path is that of a standard library or a downloaded dependency.
fn is_foreign(path: &str) -> bool {
    let marks = [
        "/rustc/",
        "/rustlib/",
        "/.cargo/",
        "/registry/src/",
        "/library/",
        "/usr/",
        "/lib/zig/",
        "/tinygo/",
        "/go/src/",
        "@v",
    ];
    let starts = ["crates/", "library/", "rustc/", "usr/", "~lib/"];
    marks.iter().any(|mark| path.contains(mark))
        || starts.iter().any(|start| path.starts_with(start))
        || path.split('/').any(is_versioned)
}

/// `log-0.4.35`: the folder of a downloaded crate, whatever its parent was renamed to.
fn is_versioned(folder: &str) -> bool {
    let Some((name, version)) = folder.rsplit_once('-') else { return false };
    let numbers = version.split('.').take(3).filter(|part| part.parse::<u32>().is_ok()).count();
    !name.is_empty() && numbers == 3
}

/// The blocks of a line: runs of its rows without another line or instance between them.
fn blocks_of(info: &DebugInfo, path: &Arc<str>, line: u32, column: Option<u32>) -> Vec<Block> {
    let column = column.map(|wanted| nearest_column(info, path, line, wanted));
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    each_row(info, path, |unit, row, before| {
        if row.line != line || column.is_some_and(|column| column != row.column) {
            return;
        }
        let node = info.functions(unit).ok().and_then(|functions| functions.chain(row.pc).last().copied());
        let last = blocks.last();
        let goes_on = open
            && column.is_none()
            && before.is_some_and(|before| before.same_line(row))
            && last.is_some_and(|b| b.unit == unit && b.node == node);
        open = goes_on || row.is_statement();
        if !goes_on && row.is_statement() {
            blocks.push(Block { pc: row.pc, unit, node, row: *row });
        }
    });
    each_call(info, path, |unit, caller, row| {
        if row.line == line && column.is_none_or(|column| column == row.column) {
            blocks.push(Block { pc: row.pc, unit, node: Some(caller), row });
        }
    });
    blocks
}

/// The first column at or behind `wanted` that a statement of the line has, else the last one.
fn nearest_column(info: &DebugInfo, path: &Arc<str>, line: u32, wanted: u32) -> u32 {
    let mut columns = BTreeSet::new();
    each_row(info, path, |_, row, _| {
        if row.is_statement() && row.line == line {
            columns.insert(row.column);
        }
    });
    each_call(info, path, |_, _, row| {
        if row.line == line {
            columns.insert(row.column);
        }
    });
    columns.range(wanted..).next().or_else(|| columns.last()).copied().unwrap_or(wanted)
}
