//! Owns the way from a pc to its source position.

use std::sync::Arc;

use super::table::{LineTable, Row};
use crate::debug_info::DebugInfo;
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
}

pub(crate) fn row_position(info: &DebugInfo, unit: u32, row: &Row) -> Option<Position> {
    Some(Position { path: info.file(unit, row.file)?.clone(), line: row.line, column: row.column })
}
