//! The plan of a step that is under way: given where the slot stands it says how to go on or that the step is
//! done.

use std::sync::Arc;

use wasmdbg_control::state::Value as Wire;
use wasmdbg_control::stop::{Calls, Frame, ResumeMode};
use wasmdbg_symbols::{InstanceId, ModulePc};

use super::here::{Here, Lines};
use super::step::Libraries;
use crate::error::Error;
use crate::source::Position;
use crate::target::Target;
use crate::value::{Place, value};

/// What comes next in a step.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// Let the slot run.
    Resume(ResumeMode),
    /// The step is done; so many inlined frames are not entered yet.
    Report { hidden: u32 },
}

/// A step under way.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(super) kind: Kind,
    /// Where the step began.
    pub(super) origin: Origin,
    /// Activations below and with the one that is stepped in.
    pub(super) depth: u32,
    /// The instance that is stepped in; changes when that is left.
    pub(super) instance: Option<InstanceId>,
    pub(super) libraries: Libraries,
    /// Of [`Kind::Once`]: the places that end it; empty: the frame's return does.
    pub(super) until: Vec<ModulePc>,
    /// The function body that is run to its end.
    pub(super) leaves: Option<InstanceId>,
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One opcode.
    Instruction(Calls),
    /// By line.
    Lines(Lines),
    /// The next stop is the end.
    Once,
    /// Into a callee: past its prologue.
    Prologue,
}

/// Where a step began.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) depth: u32,
    pub(super) instance: Option<InstanceId>,
    pub(super) position: Option<Position>,
}

impl Plan {
    /// The slot stands after a run of this plan: go on, or report.
    pub(crate) fn arrived(&mut self, target: &Target) -> Result<Next, Error> {
        let Some(here) = Here::new(target)? else { return Ok(Next::Report { hidden: 0 }) };
        if let Kind::Instruction(_) = self.kind {
            return Ok(Next::Report { hidden: 0 });
        }
        let Kind::Lines(lines) = self.kind else {
            return Ok(Next::Report { hidden: here.not_entered(here.frames.len() as u32 - 1) });
        };
        if here.depth > self.depth {
            return Ok(self.entered(&here));
        }
        if !here.has_line() || here.depth < self.depth && here.is_all_library(self.libraries) {
            // Code without lines is left, not stopped in.
            return Ok(Next::Resume(ResumeMode::Out { frame: 0 }));
        }
        if here.depth < self.depth {
            self.depth = here.depth;
            self.instance = here.frames.first().and_then(|frame| frame.instance);
        }
        let at = self.place_in(&here);
        Ok(match self.done(&here, at, lines) {
            Some(hidden) => Next::Report { hidden },
            None => Next::Resume(here.run(lines, self.instance, self.libraries)),
        })
    }

    /// What the function that this step has left returned, in words. Only what fits one Wasm value is
    /// returned as one; larger things are written to where the caller wants them.
    pub(crate) fn returned(&self, target: &Arc<Target>) -> Option<String> {
        let left = self.leaves.filter(|_| target.info().frame_count + 1 == self.depth)?;
        let symbols = target.symbols()?;
        let ty = symbols.return_type(left).ok().flatten()?;
        let left = symbols.instance(left)?;
        let [_] = symbols.module().function(left.function)?.results[..] else { return None };
        let bytes = result(target.info().frames.first()?)?;
        let size = symbols.resolved_type(ty).ok()??.size? as usize;
        let value = value(target, Some(ty), Place::whole(bytes.get(..size)?));
        Some(format!("{} returned {}", left.name.short, value.summary()))
    }

    /// The slot stands in the middle of a run of this plan, at breakpoints that let it pass.
    pub(crate) fn passed(&mut self, target: &Target) -> Result<Next, Error> {
        let Some(innermost) = target.activation(0)? else { return self.arrived(target) };
        let Some(deeper) = target.info().frame_count.checked_sub(self.depth) else {
            return self.arrived(target);
        };
        match self.kind {
            // In a call that is passed over: back to the frame that is stepped in.
            Kind::Lines(Lines { calls: Calls::Over, .. }) | Kind::Instruction(Calls::Over) if deeper > 0 => {
                Ok(Next::Resume(ResumeMode::Out { frame: deeper - 1 }))
            }
            Kind::Once if self.until.contains(&innermost.pc) && deeper == 0 => self.arrived(target),
            Kind::Once if self.until.is_empty() => Ok(Next::Resume(ResumeMode::Out { frame: deeper })),
            Kind::Once => Ok(Next::Resume(ResumeMode::Until { pcs: self.until.clone(), frame: deeper })),
            Kind::Lines(_) | Kind::Instruction(_) | Kind::Prologue => self.arrived(target),
        }
    }

    /// A call was stepped into: stop behind the prologue, or leave code without lines again.
    fn entered(&mut self, here: &Here<'_>) -> Next {
        if !here.has_line() || here.is_all_library(self.libraries) {
            return Next::Resume(ResumeMode::Out { frame: 0 });
        }
        match here.symbols.after_prologue(here.function) {
            Some(pc) if pc != here.pc => {
                self.kind = Kind::Prologue;
                Next::Resume(ResumeMode::Until { pcs: vec![pc], frame: 0 })
            }
            _ => Next::Report { hidden: here.not_entered(here.frames.len() as u32 - 1) },
        }
    }

    /// Which of the frames at the pc is the one that is stepped in. An inlined one that was left gives
    /// way to the nearest caller of it that is still there.
    fn place_in(&mut self, here: &Here<'_>) -> usize {
        let outermost = here.frames.len() - 1;
        while let Some(instance) = self.instance {
            if let Some(at) = here.frames.iter().position(|frame| frame.instance == Some(instance)) {
                return at;
            }
            self.instance = here.symbols.instance(instance).and_then(|instance| instance.caller);
        }
        self.instance = here.frames[outermost].instance;
        outermost
    }

    /// Whether the step ends here: how many inlined frames are to be hidden then. `at` is the frame that
    /// is stepped in, those in front of it are calls inlined into it.
    fn done(&self, here: &Here<'_>, at: usize, lines: Lines) -> Option<u32> {
        if !here.is_statement_start() {
            return None;
        }
        let same_frame = self.instance == self.origin.instance && here.depth == self.origin.depth;
        let line = here.frames[at].position.as_ref().map(|p| (&*p.path, p.line));
        let origin = self.origin.position.as_ref().map(|p| (p.file.as_str(), p.line));
        let Lines { calls, forward } = lines;
        let not_below =
            line.zip(origin).is_some_and(|(line, origin)| line.0 == origin.0 && line.1 <= origin.1);
        let same_line = same_frame && (line == origin || forward && not_below);
        // The innermost frame that counts: inlined library code belongs to the call of it.
        let own = match calls {
            Calls::Over => at,
            Calls::Into => here.own_frame(self.libraries).min(at),
        };
        match own {
            own if own == at && same_line => None,
            // A new line of this frame, perhaps one that begins with inlined code: in front of that call.
            own if own == at && calls == Calls::Over => Some(at as u32),
            own if own == at => Some(here.not_entered(at as u32).max(own as u32)),
            // Into an inlined call of the line; on a new line only up to it.
            own => {
                let entered = if same_line { at - 1 } else { at };
                Some(here.not_entered(entered as u32).max(own as u32))
            }
        }
    }
}

/// What a call has just returned to `caller`, as bytes: it is on top of what the caller computes.
fn result(caller: &Frame) -> Option<Vec<u8>> {
    match caller.operands.last()? {
        Wire::I32(value) => Some(value.to_le_bytes().to_vec()),
        Wire::F32(bits) => Some(bits.to_le_bytes().to_vec()),
        Wire::I64(value) => Some(value.to_le_bytes().to_vec()),
        Wire::F64(bits) => Some(bits.to_le_bytes().to_vec()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_on_top_of_what_its_caller_computes() {
        let caller = |operands| Frame { function: 0, pc: ModulePc(0), locals: vec![], operands };
        assert_eq!(result(&caller(vec![Wire::I32(1), Wire::I64(-2)])), Some((-2i64).to_le_bytes().to_vec()));
        assert_eq!(result(&caller(vec![Wire::I64(1), Wire::F32(7)])), Some(vec![7, 0, 0, 0]));
        assert_eq!(result(&caller(vec![])), None);
    }
}
