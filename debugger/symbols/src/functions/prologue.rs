//! Owns the end of a function's prologue, behind which its parameters can be looked at.

use crate::module::Function;
use crate::symbols::Symbols;
use wasmdbg_code_address::ModulePc;

impl Symbols {
    /// The pc behind a Wasm function's prologue, where its parameters and frame are in place:
    /// prologue_end, else the second row of the line table, but never before the frame is set up.
    #[must_use]
    pub fn after_prologue(&self, function: u32) -> Option<ModulePc> {
        let function = self.module.function(function)?;
        let (opens, ends) = self.prologue_rows(function).unzip();
        let setup = self.frame_pointer_hint(function.index);
        let mut pc = ends.max(setup.map(|setup| setup.ready)).unwrap_or(function.first_instruction);
        // Zig ends the prologue before the parameters are stored, on the line that opens the function.
        let line = |pc| self.position(pc).map(|position| position.line);
        if let Some(setup) = setup.filter(|_| opens.is_some() && opens == line(pc)) {
            pc = pc.max(setup.spilled);
        }
        Some(pc.max(function.first_instruction))
    }

    /// The line of the function's first row, and where the line table says that its prologue ends.
    fn prologue_rows(&self, function: &Function) -> Option<(u32, ModulePc)> {
        let info = self.info.as_ref()?;
        let table = info.lines(info.unit_at(function.first_instruction)?).ok()?;
        let first = table.rows_in(function.body).next()?;
        let end = table.rows_in(function.body).find(|row| row.is_prologue_end());
        let second = table.rows_in(function.body).nth(1);
        Some((first.line, end.or(second).unwrap_or(first).pc))
    }
}
