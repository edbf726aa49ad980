//! Owns the doubt whether a Wasm local still holds the variable that the debug info says it holds.
//! Never evaluates a location.
//!
//! LLVM puts values that are not alive at the same time into one Wasm local, and does not end the
//! location of the earlier one: optimised code then says that a parameter is in local 0 long after
//! local 0 was given to something else. What the code itself does to the local tells.

use wasmparser::Operator;

use crate::address::{ModulePc, PcRange};
use crate::location::{Described, Unreadable, pick};
use crate::module::Function;
use crate::scopes::{Variable, VariableKind};
use crate::symbols::Symbols;

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
    pub(crate) fn out_of_date(
        &self,
        variable: &Variable,
        pc: ModulePc,
        described: &Described<'_>,
        encoding: gimli::Encoding,
    ) -> Option<Unreadable> {
        let function = self.module.function_at(pc)?;
        let mut operations = described.expression.operations(encoding);
        while let Ok(Some(operation)) = operations.next() {
            let gimli::Operation::WasmLocal { index } = operation else { continue };
            let range = self.described_range(variable, described, function, index)?;
            if let Some(write) = self.reused(variable, function, index, &range, pc) {
                return Some(Unreadable(format!(
                    "the compiler says it is in Wasm local {index}, which has another use since {write}"
                )));
            }
        }
        None
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
            (parameter && !inlined).then(|| function.body.clone())
        };
        described.range.clone().or_else(came_in)
    }

    /// The first write that gives the local to something else and may have run when the frame is at `pc`.
    fn reused(
        &self,
        variable: &Variable,
        function: &Function,
        local: u32,
        range: &PcRange,
        pc: ModulePc,
    ) -> Option<ModulePc> {
        self.writes(function, local)
            .into_iter()
            .filter(|write| range.contains(&write.pc) && write.pc >= range.start)
            .filter(|write| self.module.leads_within(function, write.pc, pc, range).unwrap_or(false))
            .find(|write| !write.updates || self.begins_another(variable, local, write.behind))
            .map(|write| write.pc)
    }

    /// Whether another variable's description begins with what was just written.
    fn begins_another(&self, variable: &Variable, local: u32, behind: ModulePc) -> bool {
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
