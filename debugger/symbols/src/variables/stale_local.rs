//! Owns the doubt whether a Wasm local still holds the variable that the debug info says it holds.
//! Never evaluates a location.
//!
//! LLVM puts values that are not alive at the same time into one Wasm local, and does not end the
//! location of the earlier one: optimised code then says that a parameter is in local 0 long after
//! local 0 was given to something else. What the code itself does to the local tells.

use wasmparser::Operator;

use super::described::{Described, pick};
use super::machine::Unreadable;
use super::variable::{Variable, VariableKind};
use crate::lines::position::Position;
use crate::module::Function;
use crate::symbols::Symbols;
use wasmdbg_code_address::{ModulePc, PcRange};

/// A write to a local.
struct Write {
    pc: ModulePc,
    /// The next instruction.
    behind: ModulePc,
    /// The new value is made from the old one (`n = n / 2`).
    updates: bool,
}

impl Symbols {
    /// Why a description of a variable does not hold at `pc` although the debug info says so; `None`:
    /// nothing speaks against it.
    pub(crate) fn stale_local(
        &self,
        variable: &Variable,
        pc: ModulePc,
        described: &Described<'_>,
        encoding: gimli::Encoding,
    ) -> Option<Unreadable> {
        let function = self.module.function_at(pc)?;
        let mut asks = false;
        let mut operations = described.expression.operations(encoding);
        while let Ok(Some(operation)) = operations.next() {
            asks |=
                matches!(operation, gimli::Operation::WasmLocal { .. } | gimli::Operation::WasmStack { .. });
            let gimli::Operation::WasmLocal { index } = operation else { continue };
            let Some(range) = self.described_range(variable, described, function, index) else { continue };
            if let Some(reason) = self.stale_because(variable, function, index, range, pc) {
                return Some(Unreadable(format!("the compiler says it is in Wasm local {index}, {reason}")));
            }
        }
        let begins = described.range.as_ref().filter(|_| asks)?;
        let made = self.instruction_before(function, begins.start)?;
        self.scheduled_early(function, made, pc, begins.end).then(|| {
            Unreadable(format!("the optimiser has given it the value of a later line already, at {made}"))
        })
    }

    /// Where a description begins and ends. One for a whole scope is certain to begin before everything
    /// only for a parameter in the local it came in.
    fn described_range(
        &self,
        variable: &Variable,
        described: &Described<'_>,
        function: &Function,
        local: u32,
    ) -> Option<PcRange> {
        let came_in = || {
            let inlined = self.instance(variable.instance?)?.caller.is_some();
            let parameter =
                variable.kind == VariableKind::Argument && (local as usize) < function.params.len();
            (parameter && !inlined).then_some(function.body)
        };
        described.range.or_else(came_in)
    }

    /// What speaks against the local, when writes to it may have run before the frame came to `pc`.
    fn stale_because(
        &self,
        variable: &Variable,
        function: &Function,
        local: u32,
        range: PcRange,
        pc: ModulePc,
    ) -> Option<String> {
        let leads =
            |from, range: PcRange| self.module.leads_within(function, from, pc, range).unwrap_or(false);
        for write in self.writes(function, local) {
            if !range.contains(write.pc) || !leads(write.pc, range) {
                continue;
            }
            if !write.updates || self.another_variable_starts_at(variable, local, write.behind) {
                return Some(format!("which has another use since {}", write.pc));
            }
            if self.scheduled_early(function, write.pc, pc, range.end) {
                return Some(format!("which the code of a later line has changed already, at {}", write.pc));
            }
        }
        None
    }

    /// Whether the optimiser has run the instruction at `made`, of a later line, before `pc`: on a way that
    /// goes only forward, and not because a loop's head, whose line also stands in front, comes again.
    fn scheduled_early(&self, function: &Function, made: ModulePc, pc: ModulePc, end: ModulePc) -> bool {
        let (Some(later), Some(here)) = (self.position(made), self.position(pc)) else { return false };
        later.path == here.path
            && later.line > here.line
            && !self.line_begins_before(function, &here, made)
            && self.module.leads_within(function, made, pc, (made..end).into()).unwrap_or(false)
    }

    fn line_begins_before(&self, function: &Function, line: &Position, pc: ModulePc) -> bool {
        let rows = self.info.as_ref().and_then(|info| {
            let unit = info.unit_at(pc)?;
            let before = PcRange { start: function.body.start, end: pc };
            let mut rows = info.lines(unit).ok()?.rows_in(before);
            rows.any(|row| row.line == line.line && info.file(unit, row.file) == Some(&line.path))
                .then_some(())
        });
        rows.is_some()
    }

    fn instruction_before(&self, function: &Function, pc: ModulePc) -> Option<ModulePc> {
        let mut before = None;
        self.module.instructions(function, |at, _| {
            let is_before = at < pc;
            if is_before {
                before = Some(at);
            }
            is_before
        });
        before
    }

    /// Whether another variable's description begins with what was just written.
    fn another_variable_starts_at(&self, variable: &Variable, local: u32, behind: ModulePc) -> bool {
        let Some(info) = &self.info else { return false };
        let instances = self.frames(behind).into_iter().filter_map(|frame| frame.instance);
        let others = instances.flat_map(|instance| self.variables(instance, behind).unwrap_or_default());
        let begins = |other: &Variable| {
            let open = info.open(info.unit_of(other.entry)?).ok()?;
            let entry = open.unit.entry(open.local(other.entry).ok()?).ok()?;
            let attribute = entry.attr_value(gimli::DW_AT_location)?;
            let described = pick(info, &open, attribute, behind).ok()??;
            let first = described.expression.operations(open.unit.encoding()).next().ok()??;
            let here = described.range.is_some_and(|range| range.start == behind);
            Some(here && matches!(first, gimli::Operation::WasmLocal { index } if index == local))
        };
        others.filter(|other| other.entry != variable.entry).any(|other| begins(&other).unwrap_or(false))
    }

    /// All writes to a local in a function.
    fn writes(&self, function: &Function, local: u32) -> Vec<Write> {
        let mut writes: Vec<Write> = Vec::new();
        let mut pending = false;
        // Whether the value being made has read the local. Expressions are straight code between two
        // instructions that leave nothing on the operand stack.
        let mut read = false;
        self.module.instructions(function, |pc, operator| {
            if let Some(write) = writes.last_mut().filter(|_| std::mem::take(&mut pending)) {
                write.behind = pc;
            }
            match operator {
                Operator::LocalGet { local_index } if *local_index == local => read = true,
                Operator::LocalSet { local_index } | Operator::LocalTee { local_index }
                    if *local_index == local =>
                {
                    pending = true;
                    writes.push(Write { pc, behind: pc, updates: read });
                    read = false;
                }
                Operator::LocalSet { .. }
                | Operator::GlobalSet { .. }
                | Operator::Drop
                | Operator::I32Store { .. }
                | Operator::I64Store { .. }
                | Operator::F32Store { .. }
                | Operator::F64Store { .. }
                | Operator::I32Store8 { .. }
                | Operator::I32Store16 { .. }
                | Operator::Block { .. }
                | Operator::Loop { .. }
                | Operator::If { .. }
                | Operator::Else
                | Operator::End
                | Operator::Br { .. }
                | Operator::BrIf { .. }
                | Operator::BrTable { .. } => read = false,
                _ => {}
            }
            true
        });
        writes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of each write to local 1: whether it updates the local.
    fn updates(body: &str) -> Vec<bool> {
        let text = format!(
            "(module (memory 1) (func $f (param i32) (result i32) i32.const 1) (func (param i32) (local i32) {body}))"
        );
        let symbols = Symbols::new(wat::parse_str(text).unwrap().into()).unwrap();
        let function = symbols.module().function(1).unwrap();
        symbols.writes(function, 1).iter().map(|write| write.updates).collect()
    }

    #[test]
    fn a_value_made_from_the_old_one_is_an_update() {
        assert_eq!(updates("local.get 1 i32.const 1 i32.add local.set 1"), [true]);
        assert_eq!(updates("local.get 0 local.get 1 i32.mul local.tee 1 drop"), [true]);
        assert_eq!(updates("local.get 1 call $f local.set 1"), [true]);
    }

    #[test]
    fn any_other_value_is_another_use() {
        assert_eq!(updates("i32.const 5 local.set 1"), [false]);
        assert_eq!(updates("local.get 1 local.set 0 i32.const 7 call $f local.set 1"), [false]);
        assert_eq!(updates("(i32.store (local.get 1) (i32.const 1)) i32.const 7 local.set 1"), [false]);
    }
}
