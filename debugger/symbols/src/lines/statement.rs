//! Owns statements, for stepping: the code of a line as one frame sees it, and where lines begin.

use super::position::{Position, row_position};
use super::table::Row;
use crate::debug_info::DebugInfo;
use crate::functions::tree::FunctionTree;
use crate::ids::InstanceId;
use crate::module::Function;
use crate::symbols::Symbols;
use wasmdbg_code_address::{ModulePc, PcRange};

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

impl Symbols {
    /// The statement around `pc` in the frame `instance` (one of those that [`Symbols::frames`] gives
    /// there). `None` without debug info.
    #[must_use]
    pub fn statement(&self, pc: ModulePc, instance: InstanceId) -> Option<Statement> {
        let info = self.info.as_ref()?;
        let unit = instance.unit;
        let functions = info.functions(unit).ok()?;
        let function = self.module.function_at(pc)?;
        let cuts = self.cuts(info, unit, function)?;
        let here = cuts.partition_point(|cut| *cut <= pc).checked_sub(1)?;
        let line = line_in(info, unit, functions, instance.node, cuts[here])?;
        let mut ranges: Vec<PcRange> = Vec::new();
        for (at, start) in cuts.iter().enumerate() {
            let end = cuts.get(at + 1).copied().unwrap_or(function.body.end);
            if line_in(info, unit, functions, instance.node, *start)
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
        let functions = info.functions(unit).ok()?;
        let table = info.lines(unit).ok()?;
        let mut cuts: Vec<ModulePc> = table.rows_in(function.body).map(|row| row.pc).collect();
        if let Some(root) = functions.chain(function.first_instruction).first() {
            for node in *root..functions.nodes[*root as usize].end {
                cuts.extend(functions.ranges(node).iter().flat_map(|r| [r.start, r.end]));
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
        let (table, functions) = (info.lines(unit).ok()?, info.functions(unit).ok()?);
        let mut out = Vec::new();
        let mut open: Option<(&Row, Option<u32>)> = None;
        let mut told = false;
        for row in table.rows_in(function.body) {
            let node = functions.chain(row.pc).last().copied();
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
    functions: &FunctionTree,
    node: u32,
    pc: ModulePc,
) -> Option<(u32, u32, u32)> {
    let chain = functions.chain(pc);
    let level = chain.iter().position(|n| *n == node)?;
    if let Some(inner) = chain.get(level + 1) {
        return Some(functions.nodes[*inner as usize].call);
    }
    let table = info.lines(unit).ok()?;
    let row = &table.rows()[table.row_at(pc)?];
    Some((row.file, row.line, row.column))
}
