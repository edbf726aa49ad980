//! How a step begins: its first run, and its plan if more than one may be needed.

use wasmdbg_control::stop::{Calls, ResumeMode};
use wasmdbg_symbols::{ModulePc, PcRange};

use super::here::{Here, Lines};
use super::library::is_library;
use super::plan::{Kind, Next, Origin, Plan};
use super::step::{Libraries, Step};
use crate::error::Error;
use crate::frames::Scoped;
use crate::stop::Stop;

/// What is done first, and what to do when the slot stands again.
type Beginning = Result<(Next, Option<Plan>), Error>;

/// Begins a step from a stop.
pub(crate) fn begin(stop: &Stop, step: Step, libraries: Libraries) -> Beginning {
    let start = |frame| Start::new(stop, frame, libraries);
    match step {
        Step::Continue => Ok((Next::Resume(ResumeMode::Continue), None)),
        Step::Over => start(0)?.by_line(Lines { calls: Calls::Over, forward: false }),
        Step::Into => start(0)?.step_in(),
        Step::Instruction => start(0)?.instruction(Calls::Into),
        Step::InstructionOver => start(0)?.instruction(Calls::Over),
        Step::Until { frame, line: None } => {
            start(frame)?.by_line(Lines { calls: Calls::Over, forward: true })
        }
        Step::Until { frame, line: Some(line) } => start(frame)?.to_line(line),
        Step::Out { frame } => start(frame)?.out(),
    }
}

/// The frame that a step begins in.
struct Start<'a> {
    stop: &'a Stop,
    scoped: Scoped,
    libraries: Libraries,
}

impl<'a> Start<'a> {
    fn new(stop: &'a Stop, frame: u32, libraries: Libraries) -> Result<Self, Error> {
        let scoped = stop.scoped(frame)?;
        // Who stands in a library wants to see it.
        let inside = scoped.frame.position.as_ref().is_some_and(|position| is_library(&position.file));
        let libraries = if inside { Libraries::Enter } else { libraries };
        Ok(Self { stop, scoped, libraries })
    }

    fn plan(&self, kind: Kind) -> Plan {
        let depth = self.stop.info().frame_count - self.scoped.frame.activation;
        let instance = self.scoped.instance;
        Plan {
            kind,
            origin: Origin { depth, instance, position: self.scoped.frame.position.clone() },
            depth,
            instance,
            libraries: self.libraries,
            until: Vec::new(),
            leaves: None,
        }
    }

    /// Into the next inlined call that begins at the pc, which moves nothing, or into calls by line.
    fn step_in(&self) -> Beginning {
        if let Some(here) = Here::new(self.stop.target())?
            && let Some(hidden) = here.next_inlined(self.stop.hidden(), self.libraries)
        {
            return Ok((Next::Report { hidden }, None));
        }
        self.by_line(Lines { calls: Calls::Into, forward: false })
    }

    fn by_line(&self, lines: Lines) -> Beginning {
        if self.scoped.instance.is_none() || self.scoped.frame.position.is_none() {
            // Without lines the function as a whole is the statement.
            return Ok((Next::Resume(ResumeMode::Out { frame: 0 }), Some(self.plan(Kind::Once))));
        }
        let Some(here) = Here::new(self.stop.target())? else {
            return Ok((Next::Resume(ResumeMode::Instruction), None));
        };
        let mode = here.run(lines, self.scoped.instance, self.libraries);
        Ok((Next::Resume(mode), Some(self.plan(Kind::Lines(lines)))))
    }

    fn instruction(&self, calls: Calls) -> Beginning {
        let mode = match calls {
            Calls::Into => ResumeMode::Instruction,
            Calls::Over => ResumeMode::Range { ranges: vec![PcRange::only(self.scoped.frame.pc)], calls },
        };
        Ok((Next::Resume(mode), Some(self.plan(Kind::Instruction(calls)))))
    }

    /// To the places of `line`, or of the next line with code, in the frame's function.
    fn to_line(&self, line: u32) -> Beginning {
        let Scoped { frame, function, .. } = &self.scoped;
        let no_lines = || Error::Invalid(format!("{} has no line information", frame.function));
        let position = frame.position.as_ref().ok_or_else(no_lines)?;
        let symbols = self.stop.target().symbols().ok_or_else(no_lines)?;
        let binding = symbols
            .break_line(&position.file, line, None)
            .map_err(|error| Error::Invalid(error.to_string()))?;
        let own = binding.places.iter().filter(|place| place.function == *function);
        let pcs: Vec<ModulePc> = own.map(|place| place.pc).collect();
        if pcs.is_empty() {
            let name = &frame.function;
            return Err(Error::Invalid(format!("line {line} is not in {name}; set a breakpoint there")));
        }
        let mode = ResumeMode::Until { pcs: pcs.clone(), frame: frame.activation };
        Ok((Next::Resume(mode), Some(Plan { until: pcs, ..self.plan(Kind::Once) })))
    }

    fn out(&self) -> Beginning {
        if self.scoped.frame.inlined {
            return self.out_of_inlined();
        }
        let mode = ResumeMode::Out { frame: self.scoped.frame.activation };
        let plan = Plan { leaves: self.scoped.instance, ..self.plan(Kind::Once) };
        Ok((Next::Resume(mode), Some(plan)))
    }

    /// Runs to the end of an inlined frame, then on to a statement of its caller.
    fn out_of_inlined(&self) -> Beginning {
        let symbols = self.stop.target().symbols();
        let instance = symbols.zip(self.scoped.instance).and_then(|(symbols, id)| symbols.instance(id));
        let instance =
            instance.ok_or_else(|| Error::Invalid("this frame has no debug info to be left by".into()))?;
        let lines = Lines { calls: Calls::Over, forward: false };
        let plan = Plan { instance: instance.caller, ..self.plan(Kind::Lines(lines)) };
        let mode = match self.scoped.frame.activation {
            0 => ResumeMode::Range { ranges: instance.ranges, calls: Calls::Over },
            // The calls that this frame waits for must return first.
            activation => ResumeMode::Out { frame: activation - 1 },
        };
        Ok((Next::Resume(mode), Some(plan)))
    }
}
