//! Owns the structure of a function's code: which pcs are instructions, and whether one pc is only
//! reached through another. Never looks at line tables.

use wasmparser::{BinaryReader, FunctionBody, Operator};

use crate::address::ModulePc;
use crate::module::{Function, Module};

/// The constructs (block, loop, if or else arm) around a pc, outermost first, by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Nest {
    pub(crate) pc: ModulePc,
    around: Vec<u32>,
}

impl Nest {
    /// Whether every path to `later` passes `self`.
    ///
    /// Wasm control flow is structured: a branch goes to the start or the end of a construct around
    /// it. To get past `self` without passing it, a path would have to leave the innermost construct
    /// around it; while that is still open at `later`, none has.
    pub(crate) fn precedes(&self, later: &Nest) -> bool {
        self.pc <= later.pc && later.around.starts_with(&self.around)
    }
}

impl Module {
    /// Visits the instructions of a function with their pcs until `visit` returns false or the code
    /// cannot be read.
    pub(crate) fn instructions<'a>(
        &'a self,
        function: &Function,
        mut visit: impl FnMut(ModulePc, &Operator<'a>) -> bool,
    ) {
        let body =
            FunctionBody::new(BinaryReader::new(self.body_bytes(function), function.body.start.0 as usize));
        let Ok(mut reader) = body.get_operators_reader() else { return };
        while !reader.eof() {
            let Ok((operator, at)) = reader.read_with_offset() else { return };
            if !visit(ModulePc(at as u32), &operator) {
                return;
            }
        }
    }

    /// The constructs around each of `pcs`, which must rise. Pcs between instructions slip to the next.
    pub(crate) fn nests(&self, function: &Function, pcs: &[ModulePc]) -> Vec<Nest> {
        let mut out = Vec::with_capacity(pcs.len());
        let mut around = vec![0];
        let mut fresh = 0;
        self.instructions(function, |at, operator| {
            while let Some(pc) = pcs.get(out.len()).filter(|pc| **pc <= at) {
                out.push(Nest { pc: *pc, around: around.clone() });
            }
            fresh += 1;
            match operator {
                Operator::Block { .. }
                | Operator::Loop { .. }
                | Operator::If { .. }
                | Operator::Try { .. }
                | Operator::TryTable { .. } => around.push(fresh),
                Operator::Else | Operator::Catch { .. } | Operator::CatchAll => {
                    around.pop();
                    around.push(fresh);
                }
                Operator::End | Operator::Delegate { .. } => {
                    around.pop();
                }
                _ => {}
            }
            out.len() < pcs.len()
        });
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pcs of the `nop`s of a function, and the module.
    fn nops(text: &str) -> (Module, Vec<ModulePc>) {
        let module = Module::parse(wat::parse_str(text).unwrap().into()).unwrap();
        let mut pcs = Vec::new();
        module.instructions(&module.functions()[0], |pc, operator| {
            if matches!(operator, Operator::Nop) {
                pcs.push(pc);
            }
            true
        });
        (module, pcs)
    }

    fn reached_through(text: &str) -> Vec<(usize, usize)> {
        let (module, pcs) = nops(text);
        let nests = module.nests(&module.functions()[0], &pcs);
        let pairs = (0..nests.len()).flat_map(|a| (a + 1..nests.len()).map(move |b| (a, b)));
        pairs.filter(|(a, b)| nests[*a].precedes(&nests[*b])).collect()
    }

    #[test]
    fn straight_code_is_reached_through_what_is_before_it() {
        assert_eq!(reached_through("(module (func nop nop))"), [(0, 1)]);
    }

    #[test]
    fn the_arms_of_an_if_exclude_each_other() {
        let text = "(module (func (param i32) nop (if (local.get 0) (then nop) (else nop)) nop))";
        assert_eq!(reached_through(text), [(0, 1), (0, 2), (0, 3)], "neither arm leads to what is behind");
    }

    #[test]
    fn a_branch_may_skip_the_rest_of_its_block() {
        let text = "(module (func (param i32) (block (br_if 0 (local.get 0)) nop) nop))";
        assert_eq!(reached_through(text), []);
    }

    #[test]
    fn a_loop_is_entered_through_what_is_before_it() {
        let text = "(module (func (param i32) nop (loop nop (br_if 0 (local.get 0)) nop)))";
        assert_eq!(reached_through(text), [(0, 1), (0, 2), (1, 2)]);
    }
}
