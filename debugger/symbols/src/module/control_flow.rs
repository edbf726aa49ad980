//! Owns the structure of a function's code: which pcs are instructions, and whether one pc is only
//! reached through another. Never looks at line tables.

use wasmparser::{BinaryReader, FunctionBody, Operator};

use super::{Function, Module};
use wasmdbg_code_address::{ModulePc, PcRange};

/// Where an instruction can lead to, by index.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Leads {
    /// To the next one.
    On,
    /// To these and not to the next one.
    To(Vec<u32>),
    /// To the next one or this one.
    OnOr(u32),
}

/// The control flow of one function.
struct Flow {
    pcs: Vec<ModulePc>,
    leads: Vec<Leads>,
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

    /// For each of `pcs`, which must rise: whether every path to it from the function's start passes an
    /// earlier one of them. False throughout when the code has exceptions, whose paths are not followed.
    pub(crate) fn only_through(&self, function: &Function, pcs: &[ModulePc]) -> Vec<bool> {
        let Some(flow) = self.flow(function) else { return vec![false; pcs.len()] };
        let at: Vec<usize> = pcs.iter().map(|pc| flow.pcs.partition_point(|p| p < pc)).collect();
        let mut kept = Vec::new();
        at.iter()
            .map(|target| {
                let through = !kept.is_empty() && !flow.reaches(0, *target, &kept);
                if !through {
                    kept.push(*target);
                }
                through
            })
            .collect()
    }

    /// Whether a path leads from behind the instruction at `from` to `to` within a range of pcs, without
    /// passing its start again. `None` when the paths are not known.
    pub(crate) fn leads_within(
        &self,
        function: &Function,
        from: ModulePc,
        to: ModulePc,
        range: PcRange,
    ) -> Option<bool> {
        let flow = self.flow(function)?;
        let at = |pc: ModulePc| flow.pcs.partition_point(|p| *p < pc);
        let mut avoid: Vec<usize> = (0..flow.pcs.len())
            .filter(|at| flow.pcs[*at] <= range.start || flow.pcs[*at] >= range.end)
            .collect();
        let target = at(to);
        // The start of the range is where the path must not pass, and may end.
        avoid.retain(|passed| *passed != target);
        Some(flow.next(at(from)).into_iter().any(|start| flow.reaches(start, target, &avoid)))
    }

    fn flow(&self, function: &Function) -> Option<Flow> {
        let mut flow = Flow { pcs: Vec::new(), leads: Vec::new() };
        let mut open = Vec::new();
        let mut known = true;
        self.instructions(function, |pc, operator| {
            flow.pcs.push(pc);
            known &= flow.take(operator, &mut open);
            known
        });
        known.then_some(flow)
    }
}

/// A construct whose end is still ahead.
struct Open {
    /// The instruction that opens it.
    start: u32,
    is_loop: bool,
    /// Instructions that lead to its end.
    from: Vec<u32>,
}

impl Flow {
    /// Takes the next instruction; false for one whose paths are not known here.
    fn take(&mut self, operator: &Operator<'_>, open: &mut Vec<Open>) -> bool {
        let at = self.leads.len() as u32;
        let mut leads = Leads::On;
        match operator {
            Operator::Block { .. } => open.push(Open { start: at, is_loop: false, from: Vec::new() }),
            Operator::Loop { .. } => open.push(Open { start: at, is_loop: true, from: Vec::new() }),
            // The way past the first arm is known at its end.
            Operator::If { .. } => open.push(Open { start: at, is_loop: false, from: vec![at] }),
            Operator::Else => {
                let Some(arm) = open.last_mut() else { return false };
                arm.from.retain(|from| *from != arm.start);
                self.lead(arm.start, at + 1);
                arm.from.push(at);
                leads = Leads::To(Vec::new());
            }
            Operator::End => {
                // The function's own end closes nothing.
                let closed = open.pop();
                for from in closed.into_iter().flat_map(|closed| closed.from) {
                    self.lead(from, at);
                }
            }
            Operator::Br { relative_depth } => {
                leads = Leads::To(branch(open, *relative_depth, at).into_iter().collect());
            }
            Operator::BrIf { relative_depth } => {
                leads = branch(open, *relative_depth, at).map_or(Leads::On, Leads::OnOr);
            }
            Operator::BrTable { targets } => {
                let all = targets.targets().flatten().chain([targets.default()]);
                leads = Leads::To(all.filter_map(|depth| branch(open, depth, at)).collect());
            }
            Operator::Return
            | Operator::Unreachable
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::ReturnCallRef { .. } => leads = Leads::To(Vec::new()),
            Operator::Try { .. }
            | Operator::TryTable { .. }
            | Operator::Catch { .. }
            | Operator::CatchAll
            | Operator::Delegate { .. }
            | Operator::Rethrow { .. }
            | Operator::Throw { .. }
            | Operator::ThrowRef
            | Operator::BrOnNull { .. }
            | Operator::BrOnNonNull { .. }
            | Operator::BrOnCast { .. }
            | Operator::BrOnCastFail { .. } => return false,
            _ => {}
        }
        self.leads.push(leads);
        true
    }

    /// Adds a way from an earlier instruction.
    fn lead(&mut self, from: u32, to: u32) {
        let leads = &mut self.leads[from as usize];
        match leads {
            Leads::On => *leads = Leads::OnOr(to),
            Leads::To(all) => all.push(to),
            Leads::OnOr(_) => {}
        }
    }

    /// The instructions that may run behind one.
    fn next(&self, at: usize) -> Vec<usize> {
        match self.leads.get(at) {
            None => Vec::new(),
            Some(Leads::On) => vec![at + 1],
            Some(Leads::To(all)) => all.iter().map(|to| *to as usize).collect(),
            Some(Leads::OnOr(to)) => vec![at + 1, *to as usize],
        }
    }

    /// Whether a path leads from `start` to `target` that passes none of `avoid`.
    fn reaches(&self, start: usize, target: usize, avoid: &[usize]) -> bool {
        let mut seen = vec![false; self.leads.len()];
        for at in avoid.iter().filter(|at| **at != target) {
            if let Some(seen) = seen.get_mut(*at) {
                *seen = true;
            }
        }
        let mut next = vec![start];
        while let Some(at) = next.pop() {
            if at == target {
                return true;
            }
            if at >= seen.len() || seen[at] {
                continue;
            }
            seen[at] = true;
            next.extend(self.next(at));
        }
        false
    }
}

/// Where a branch at `at` leads: to a loop's start now, to another construct's end later. `None` when it
/// leaves the function or its end is still ahead.
fn branch(open: &mut [Open], depth: u32, at: u32) -> Option<u32> {
    let index = open.len().checked_sub(depth as usize + 1)?;
    let construct = &mut open[index];
    if construct.is_loop {
        return Some(construct.start);
    }
    construct.from.push(at);
    None
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
        let pairs = (0..pcs.len()).flat_map(|a| (a + 1..pcs.len()).map(move |b| (a, b)));
        pairs.filter(|(a, b)| module.only_through(&module.functions()[0], &[pcs[*a], pcs[*b]])[1]).collect()
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

    #[test]
    fn code_behind_a_block_is_reached_through_what_nothing_in_it_skips() {
        let text = "(module (func (param i32) (block (block nop (br_if 1 (local.get 0))) (br_if 0 (local.get 0)) nop) nop))";
        assert_eq!(reached_through(text), [(0, 1), (0, 2)]);
    }

    #[test]
    fn arms_that_all_pass_one_of_several_are_reached_through_them() {
        let text = "(module (func (param i32) (if (local.get 0) (then nop) (else nop)) nop))";
        let (module, pcs) = nops(text);
        assert_eq!(module.only_through(&module.functions()[0], &pcs), [false, false, true]);
    }

    #[test]
    fn a_table_leads_to_each_of_its_targets() {
        let text =
            "(module (func (param i32) (block (block (br_table 0 1 (local.get 0))) nop (return)) nop))";
        assert_eq!(reached_through(text), []);
    }

    /// Whether a path leads from the first `nop` to the second within the whole body, and within the part
    /// from the first `nop` to the third.
    fn leads(text: &str) -> (bool, bool) {
        let (module, pcs) = nops(text);
        let function = &module.functions()[0];
        let within = |range: PcRange| module.leads_within(function, pcs[0], pcs[1], range).unwrap();
        (within(function.body), within((pcs[0]..*pcs.last().unwrap()).into()))
    }

    #[test]
    fn a_path_leads_on_and_round_loops() {
        assert_eq!(leads("(module (func nop nop nop))"), (true, true));
        let arms = "(module (func (param i32) (if (local.get 0) (then nop) (else nop)) nop))";
        assert_eq!(leads(arms), (false, false), "from one arm to the other");
        let (module, pcs) = nops("(module (func (param i32) (loop nop nop (br_if 0 (local.get 0)))))");
        let function = &module.functions()[0];
        let back = |range: PcRange| module.leads_within(function, pcs[1], pcs[0], range).unwrap();
        assert!(back(function.body), "round the loop");
        assert!(!back((pcs[1]..function.body.end).into()), "not without passing the range's start");
        assert!(!back((function.body.start..pcs[1]).into()), "not when the way leaves the range");
    }
}
