//! Owns positions: pc to source position, and statements for stepping. The way back, from the source
//! to pcs, is in `binding`. Never looks at variables.

use std::sync::Arc;

use crate::debug_info::DebugInfo;
use crate::dwarf::entries::UnitEntries;
use crate::ids::InstanceId;
use crate::lines::table::{LineTable, Row};
use crate::module::Function;
use crate::symbols::Symbols;
use wasmdbg_code_address::{ModulePc, PcRange};

/// A place in the source.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The path that the compiler wrote, made absolute by DW_AT_comp_dir, with `.` and `..` folded.
    pub path: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1; 0 when unknown.
    pub column: u32,
}

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

/// The statement around a pc, as one frame sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its line; for an outer frame the line of the call.
    pub position: Position,
    /// All code of the Wasm function that belongs to this line in this frame, by rising pc. Code inlined
    /// from a call on the line belongs to it, so a step over inlined calls goes on while the pc is inside.
    pub ranges: Vec<PcRange>,
}

/// A pc where a source line begins; the places where a step by line may stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementStart {
    /// An instruction with a recommended breakpoint (is_stmt).
    pub pc: ModulePc,
    /// Its position.
    pub position: Position,
    /// The innermost instance there.
    pub instance: Option<InstanceId>,
}

/// Finds what [`Symbols::position`] finds, without a search when the pcs lie near each other.
#[derive(Debug)]
pub struct LineCursor<'a> {
    symbols: &'a Symbols,
    place: Option<CursorPlace<'a>>,
}

/// Where a [`LineCursor`] stands.
#[derive(Debug)]
struct CursorPlace<'a> {
    info: &'a DebugInfo,
    unit: u32,
    table: &'a LineTable,
    /// Of the function.
    body: PcRange,
    row: usize,
}

impl<'a> LineCursor<'a> {
    /// Path and line of a pc.
    pub fn at(&mut self, pc: ModulePc) -> Option<(&'a Arc<str>, u32)> {
        let stays = self.place.as_ref().is_some_and(|place| place.body.contains(pc));
        if !stays {
            self.place = None;
            let info = self.symbols.info.as_ref()?;
            let unit = info.unit_at(pc)?;
            let table = info.lines(unit).ok()?;
            let body = self.symbols.module.function_at(pc)?.body;
            self.place = Some(CursorPlace { info, unit, table, body, row: 0 });
        }
        let place = self.place.as_mut()?;
        place.row = place.table.row_near(place.row, pc)?;
        let row = &place.table.rows()[place.row];
        let found = row.pc >= place.body.start && !row.is_end();
        found.then(|| Some((place.info.file(place.unit, row.file)?, row.line))).flatten()
    }
}

impl Symbols {
    /// The source position of the innermost frame at a pc. Code without a line of its own (line 0)
    /// takes the line before it in the same function.
    #[must_use]
    pub fn position(&self, pc: ModulePc) -> Option<Position> {
        let info = self.info.as_ref()?;
        let unit = info.unit_at(pc)?;
        let table = info.lines(unit).ok()?;
        let row = &table.rows()[table.row_at(pc)?];
        // A row that begins before the function belongs to another one.
        let function = self.module.function_at(pc)?;
        (row.pc >= function.body.start).then(|| row_position(info, unit, row)).flatten()
    }

    /// For who asks for the lines of many pcs in a row.
    #[must_use]
    pub fn line_cursor(&self) -> LineCursor<'_> {
        LineCursor { symbols: self, place: None }
    }

    /// The statement around `pc` in the frame `instance` (one of those that [`Symbols::frames`] gives
    /// there). `None` without debug info.
    #[must_use]
    pub fn statement(&self, pc: ModulePc, instance: InstanceId) -> Option<Statement> {
        let info = self.info.as_ref()?;
        let unit = instance.unit;
        let entries = info.entries(unit).ok()?;
        let function = self.module.function_at(pc)?;
        let cuts = self.cuts(info, unit, function)?;
        let here = cuts.partition_point(|cut| *cut <= pc).checked_sub(1)?;
        let line = line_in(info, unit, entries, instance.node, cuts[here])?;
        let mut ranges: Vec<PcRange> = Vec::new();
        for (at, start) in cuts.iter().enumerate() {
            let end = cuts.get(at + 1).copied().unwrap_or(function.body.end);
            if line_in(info, unit, entries, instance.node, *start)
                .is_none_or(|l| (l.0, l.1) != (line.0, line.1))
            {
                continue;
            }
            match ranges.last_mut() {
                Some(last) if last.end == *start => last.end = end,
                _ => ranges.push(PcRange { start: *start, end }),
            }
        }
        let path = info.file(unit, line.0)?.clone();
        Some(Statement { position: Position { path, line: line.1, column: line.2 }, ranges })
    }

    /// The pcs in a function where the line or the innermost instance may change, rising.
    fn cuts(&self, info: &DebugInfo, unit: u32, function: &Function) -> Option<Vec<ModulePc>> {
        let entries = info.entries(unit).ok()?;
        let table = info.lines(unit).ok()?;
        let mut cuts: Vec<ModulePc> = table.rows_in(function.body).map(|row| row.pc).collect();
        if let Some(root) = entries.chain(function.first_instruction).first() {
            for node in *root..entries.nodes[*root as usize].end {
                cuts.extend(entries.ranges(node).iter().flat_map(|r| [r.start, r.end]));
            }
        }
        cuts.retain(|pc| function.body.contains(*pc));
        cuts.sort_unstable();
        cuts.dedup();
        Some(cuts)
    }

    /// All statement starts of a Wasm function, inlined code included, by rising pc.
    #[must_use]
    pub fn statement_starts(&self, function: u32) -> Vec<StatementStart> {
        self.starts(function).unwrap_or_default()
    }

    fn starts(&self, function: u32) -> Option<Vec<StatementStart>> {
        let info = self.info.as_ref()?;
        let function = self.module.function(function)?;
        let unit = info.unit_at(function.first_instruction)?;
        let (table, entries) = (info.lines(unit).ok()?, info.entries(unit).ok()?);
        let mut out = Vec::new();
        let mut open: Option<(&Row, Option<u32>)> = None;
        let mut told = false;
        for row in table.rows_in(function.body) {
            let node = entries.chain(row.pc).last().copied();
            if !open.is_some_and(|(last, of)| last.same_line(row) && of == node) {
                told = false;
            }
            open = Some((row, node));
            if told || !row.is_statement() {
                continue;
            }
            told = true;
            if let Some(position) = row_position(info, unit, row) {
                let instance = node.map(|node| InstanceId { unit, node });
                out.push(StatementStart { pc: row.pc.max(function.first_instruction), position, instance });
            }
        }
        Some(out)
    }
}

/// File, line and column of a pc as the frame of `node` sees it: its own line, or that of the call
/// whose inlined code holds the pc. `None` outside the node.
fn line_in(
    info: &DebugInfo,
    unit: u32,
    entries: &UnitEntries,
    node: u32,
    pc: ModulePc,
) -> Option<(u32, u32, u32)> {
    let chain = entries.chain(pc);
    let level = chain.iter().position(|n| *n == node)?;
    if let Some(inner) = chain.get(level + 1) {
        return Some(entries.nodes[*inner as usize].call);
    }
    let table = info.lines(unit).ok()?;
    let row = &table.rows()[table.row_at(pc)?];
    Some((row.file, row.line, row.column))
}

pub(crate) fn row_position(info: &DebugInfo, unit: u32, row: &Row) -> Option<Position> {
    Some(Position { path: info.file(unit, row.file)?.clone(), line: row.line, column: row.column })
}
