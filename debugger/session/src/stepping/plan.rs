//! Steps by source line out of runs by pc. Owns the plan of a step that is under way: given where the
//! slot stands it says how to go on or that the step is done. It sends nothing.
//!
//! A step ends where a statement starts (is_stmt): in another line, another frame, or an inlined call
//! that was stepped into. In front of an inlined call the pc is the callee's first opcode already; the
//! callee's frames are then hidden, and stepping into it shows them without moving.

use std::sync::Arc;

use wasmdbg_control::state::Value as Wire;
use wasmdbg_control::stop::{Calls, ResumeMode};
use wasmdbg_symbols::{InstanceId, Language, ModulePc, PcRange, SourceFrame, Symbols};

use crate::frames::source_frames;
use crate::target::Target;
use crate::value::{Place, Value};
use crate::{Error, Position, Stop};

/// How a stopped callback goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// To the next breakpoint.
    Continue,
    /// To the next line of this frame, over calls; in the caller when the frame ends (gdb `next`).
    Over,
    /// To the next line, into calls that have line information (gdb `step`).
    Into,
    /// Until this frame has returned (gdb `finish`); an inlined frame is left by running to its end.
    Out {
        /// Which frame, as numbered in the stop.
        frame: u32,
    },
    /// To the next opcode, into calls (gdb `stepi`).
    Instruction,
    /// To the next opcode of this function, over calls (gdb `nexti`).
    InstructionOver,
    /// To this line or a later one of the frame's function, or until the frame has returned (gdb
    /// `until LINE`, `advance`).
    Until {
        /// Which frame.
        frame: u32,
        /// A line of that frame's file; `None`: any line below the present one (leaves loops).
        line: Option<u32>,
    },
}

/// What steps do with code of the standard library and the compiler's runtime.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Libraries {
    /// Pass through it, as through code without line information: a step into `f(x.as_deref())` is in
    /// `f`. Breakpoints stop there all the same.
    #[default]
    Skip,
    /// Step into it.
    Enter,
}

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
    kind: Kind,
    /// Where the step began.
    origin: Origin,
    /// Activations below and with the one that is stepped in.
    depth: u32,
    /// The instance that is stepped in; changes when that is left.
    instance: Option<InstanceId>,
    libraries: Libraries,
    /// Of [`Kind::Once`]: the places that end it; empty: the frame's return does.
    until: Vec<ModulePc>,
    /// The function body that is run to its end.
    leaves: Option<InstanceId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One opcode.
    Instruction(Calls),
    /// By line; `forward`: not back to an earlier line of the function.
    Line { calls: Calls, forward: bool },
    /// The next stop is the end.
    Once,
    /// Into a callee: past its prologue.
    Prologue,
}

#[derive(Debug, Clone)]
struct Origin {
    depth: u32,
    instance: Option<InstanceId>,
    position: Option<Position>,
}

/// Where a slot stands, as a step sees it.
struct Here<'a> {
    symbols: &'a Symbols,
    pc: ModulePc,
    /// Activations in all.
    depth: u32,
    /// Index of the innermost Wasm function.
    function: u32,
    /// Frames of the innermost activation, innermost first.
    frames: Vec<SourceFrame>,
}

/// How a step begins, and its plan if more than one run may be needed.
pub(crate) fn begin(stop: &Stop, step: Step, libraries: Libraries) -> Result<(Next, Option<Plan>), Error> {
    let frame = match step {
        Step::Continue => return Ok((Next::Resume(ResumeMode::Continue), None)),
        Step::Over | Step::Into | Step::Instruction | Step::InstructionOver => 0,
        Step::Out { frame } | Step::Until { frame, .. } => frame,
    };
    let scoped = stop.scoped(frame)?;
    let depth = stop.info().frame_count - scoped.frame.activation;
    let position = scoped.frame.position.clone();
    let origin = Origin { depth, instance: scoped.instance, position };
    // Who stands in a library wants to see it.
    let inside = scoped.frame.position.as_ref().is_some_and(|position| is_library(&position.file));
    let libraries = if inside { Libraries::Enter } else { libraries };
    if step == Step::Into
        && let Some(here) = Here::new(stop.target())?
        && let Some(hidden) = here.next_inlined(stop.hidden(), libraries)
    {
        return Ok((Next::Report { hidden }, None));
    }
    let plan = |kind| Plan {
        kind,
        origin: origin.clone(),
        depth,
        instance: scoped.instance,
        libraries,
        until: Vec::new(),
        leaves: None,
    };
    let by_line = matches!(step, Step::Over | Step::Into | Step::Until { line: None, .. });
    if by_line && (scoped.instance.is_none() || origin.position.is_none()) {
        // Without lines the function as a whole is the statement.
        return Ok((Next::Resume(ResumeMode::Out { frame: 0 }), Some(plan(Kind::Once))));
    }
    match step {
        Step::Continue => Err(Error::Invalid("no step".into())),
        Step::Instruction => {
            Ok((Next::Resume(ResumeMode::Instruction), Some(plan(Kind::Instruction(Calls::Into)))))
        }
        Step::InstructionOver => {
            let ranges = vec![PcRange::only(scoped.frame.pc)];
            let mode = ResumeMode::Range { ranges, calls: Calls::Over };
            Ok((Next::Resume(mode), Some(plan(Kind::Instruction(Calls::Over)))))
        }
        Step::Over => begin_line(stop, plan(Kind::Line { calls: Calls::Over, forward: false })),
        Step::Into => begin_line(stop, plan(Kind::Line { calls: Calls::Into, forward: false })),
        Step::Until { line: None, .. } => {
            begin_line(stop, plan(Kind::Line { calls: Calls::Over, forward: true }))
        }
        Step::Until { line: Some(line), .. } => {
            let pcs = lines_ahead(stop, &scoped, line)?;
            let mode = ResumeMode::Until { pcs: pcs.clone(), frame: scoped.frame.activation };
            Ok((Next::Resume(mode), Some(Plan { until: pcs, ..plan(Kind::Once) })))
        }
        Step::Out { .. } if scoped.frame.inlined => leave_inlined(stop, &scoped, plan),
        Step::Out { .. } => {
            let mode = ResumeMode::Out { frame: scoped.frame.activation };
            Ok((Next::Resume(mode), Some(Plan { leaves: scoped.instance, ..plan(Kind::Once) })))
        }
    }
}

fn begin_line(stop: &Stop, plan: Plan) -> Result<(Next, Option<Plan>), Error> {
    let Some(here) = Here::new(stop.target())? else {
        return Ok((Next::Resume(ResumeMode::Instruction), None));
    };
    let mode = here.run(&plan);
    Ok((Next::Resume(mode), Some(plan)))
}

/// Runs to the end of an inlined frame, then on to a statement of its caller.
fn leave_inlined(
    stop: &Stop,
    scoped: &crate::frames::Scoped,
    plan: impl Fn(Kind) -> Plan,
) -> Result<(Next, Option<Plan>), Error> {
    let symbols = stop.target().symbols();
    let instance = symbols.zip(scoped.instance).and_then(|(symbols, id)| symbols.instance(id));
    let instance =
        instance.ok_or_else(|| Error::Invalid("this frame has no debug info to be left by".into()))?;
    let mut plan = plan(Kind::Line { calls: Calls::Over, forward: false });
    plan.instance = instance.caller;
    let mode = match scoped.frame.activation {
        0 => ResumeMode::Range { ranges: instance.ranges, calls: Calls::Over },
        // The calls that this frame waits for must return first.
        activation => ResumeMode::Out { frame: activation - 1 },
    };
    Ok((Next::Resume(mode), Some(plan)))
}

/// The places of `line`, or of the next line with code, in the frame's function.
fn lines_ahead(stop: &Stop, scoped: &crate::frames::Scoped, line: u32) -> Result<Vec<ModulePc>, Error> {
    let function = &scoped.frame.function;
    let no_lines = || Error::Invalid(format!("{function} has no line information"));
    let position = scoped.frame.position.as_ref().ok_or_else(no_lines)?;
    let symbols = stop.target().symbols().ok_or_else(no_lines)?;
    let binding =
        symbols.break_line(&position.file, line, None).map_err(|error| Error::Invalid(error.to_string()))?;
    let pcs: Vec<ModulePc> = binding
        .places
        .iter()
        .filter(|place| place.function == scoped.function)
        .map(|place| place.pc)
        .collect();
    if pcs.is_empty() {
        return Err(Error::Invalid(format!("line {line} is not in {function}; set a breakpoint there")));
    }
    Ok(pcs)
}

impl Plan {
    /// The slot stands after a run of this plan: go on, or report.
    pub(crate) fn arrived(&mut self, target: &Target) -> Result<Next, Error> {
        let Some(here) = Here::new(target)? else { return Ok(Next::Report { hidden: 0 }) };
        if let Kind::Instruction(_) = self.kind {
            return Ok(Next::Report { hidden: 0 });
        }
        let Kind::Line { calls, .. } = self.kind else {
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
        Ok(match self.done(&here, at, calls) {
            Some(hidden) => Next::Report { hidden },
            None => Next::Resume(here.run(self)),
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
        let bytes = match target.info().frames.first()?.operands.last()? {
            Wire::I32(value) => value.to_le_bytes().to_vec(),
            Wire::F32(bits) => bits.to_le_bytes().to_vec(),
            Wire::I64(value) => value.to_le_bytes().to_vec(),
            Wire::F64(bits) => bits.to_le_bytes().to_vec(),
            _ => return None,
        };
        let size = symbols.resolved_type(ty).ok()??.size? as usize;
        let value = Value::typed(target, ty, Place::whole(bytes.get(..size)?));
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
            Kind::Line { calls: Calls::Over, .. } | Kind::Instruction(Calls::Over) if deeper > 0 => {
                Ok(Next::Resume(ResumeMode::Out { frame: deeper - 1 }))
            }
            Kind::Once if self.until.contains(&innermost.pc) && deeper == 0 => self.arrived(target),
            Kind::Once if self.until.is_empty() => Ok(Next::Resume(ResumeMode::Out { frame: deeper })),
            Kind::Once => Ok(Next::Resume(ResumeMode::Until { pcs: self.until.clone(), frame: deeper })),
            Kind::Line { .. } | Kind::Instruction(_) | Kind::Prologue => self.arrived(target),
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
    fn done(&self, here: &Here<'_>, at: usize, calls: Calls) -> Option<u32> {
        if !here.is_statement_start() {
            return None;
        }
        let same_frame = self.instance == self.origin.instance && here.depth == self.origin.depth;
        let line = here.frames[at].position.as_ref().map(|p| (&*p.path, p.line));
        let origin = self.origin.position.as_ref().map(|p| (p.file.as_str(), p.line));
        let forward = matches!(self.kind, Kind::Line { forward: true, .. });
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

impl<'a> Here<'a> {
    /// `None` when the module has no symbols at all.
    fn new(target: &'a Target) -> Result<Option<Self>, Error> {
        let Some(symbols) = target.symbols() else { return Ok(None) };
        let Some(innermost) = target.activation(0)? else { return Ok(None) };
        let pc = innermost.pc;
        let frames = source_frames(target, innermost.function, pc);
        let depth = target.info().frame_count;
        Ok(Some(Self { symbols, pc, depth, function: innermost.function, frames }))
    }

    fn has_line(&self) -> bool {
        self.frames.first().is_some_and(|frame| frame.instance.is_some() && frame.position.is_some())
    }

    /// The index of the innermost frame that is not library code passed through; the innermost of all
    /// when there is none.
    fn own_frame(&self, libraries: Libraries) -> usize {
        match libraries {
            Libraries::Skip => self.frames.iter().position(|frame| !of_library(frame)).unwrap_or(0),
            Libraries::Enter => 0,
        }
    }

    fn is_all_library(&self, libraries: Libraries) -> bool {
        libraries == Libraries::Skip && self.frames.iter().all(of_library)
    }

    fn is_statement_start(&self) -> bool {
        self.symbols.statement_starts(self.function).iter().any(|start| start.pc == self.pc)
    }

    /// How many frames, innermost first and at most `most`, are inlined calls that begin at this pc.
    fn not_entered(&self, most: u32) -> u32 {
        let begins = |frame: &&SourceFrame| {
            let instance = frame.instance.filter(|_| frame.inlined).and_then(|id| self.symbols.instance(id));
            instance.is_some_and(|instance| instance.entry == self.pc)
        };
        self.frames.iter().take(most as usize).take_while(begins).count() as u32
    }

    /// How many frames stay hidden when the next inlined call that begins here is stepped into.
    fn next_inlined(&self, hidden: u32, libraries: Libraries) -> Option<u32> {
        let passed = |frame: &SourceFrame| libraries == Libraries::Skip && of_library(frame);
        self.frames.iter().take(hidden as usize).rposition(|frame| !passed(frame)).map(|at| at as u32)
    }

    /// The run that leaves the present statement of the plan's frame.
    fn run(&self, plan: &Plan) -> ResumeMode {
        let Kind::Line { calls, forward } = plan.kind else { return ResumeMode::Out { frame: 0 } };
        // Inside an inlined call that is passed through, a step into stays with that call's statements.
        let own = self.frames.get(self.own_frame(plan.libraries)).and_then(|frame| frame.instance);
        let instance = match calls {
            Calls::Over => plan.instance.or(own),
            Calls::Into => own,
        };
        let statement = instance.and_then(|instance| self.symbols.statement(self.pc, instance));
        let Some(statement) = statement.filter(|statement| !statement.ranges.is_empty()) else {
            return ResumeMode::Out { frame: 0 };
        };
        let mut ranges = statement.ranges;
        if calls == Calls::Into
            && let Some(instance) = instance
        {
            for inlined in self.inlined_into(instance, &ranges, plan.libraries) {
                ranges = ranges.into_iter().flat_map(|range| without(range, inlined)).collect();
            }
        }
        if forward && let Some(instance) = instance {
            ranges.extend(self.not_below(instance, statement.position.line));
        }
        ResumeMode::Range { ranges, calls }
    }

    /// The code of the function but for the lines of `instance` below `line`: what a loop runs in.
    fn not_below(&self, instance: InstanceId, line: u32) -> Vec<PcRange> {
        let Some(function) = self.symbols.module().function(self.function) else { return Vec::new() };
        let mut starts: Vec<_> = self.symbols.statement_starts(self.function).iter().map(|s| s.pc).collect();
        starts.push(function.body.end);
        let mut ranges = vec![PcRange { start: function.first_instruction, end: starts[0] }];
        for pair in starts.windows(2) {
            let frames = self.symbols.frames(pair[0]);
            let here = frames.iter().find(|frame| frame.instance == Some(instance));
            if here.and_then(|frame| frame.position.as_ref()).is_some_and(|position| position.line <= line) {
                ranges.push(PcRange { start: pair[0], end: pair[1] });
            }
        }
        ranges
    }

    /// The code of calls inlined into `instance` that overlaps `ranges`.
    fn inlined_into(&self, instance: InstanceId, ranges: &[PcRange], libraries: Libraries) -> Vec<PcRange> {
        let mut inlined = Vec::new();
        let mut seen = Vec::new();
        for start in self.symbols.statement_starts(self.function) {
            let within = ranges.iter().any(|range| range.contains(start.pc));
            let passed = libraries == Libraries::Skip && is_library(&start.position.path);
            let innermost =
                start.instance.filter(|id| within && !passed && *id != instance && !seen.contains(id));
            let Some(innermost) = innermost else { continue };
            seen.push(innermost);
            // Up to the call that is inlined into `instance` itself; its ranges hold the deeper ones.
            let mut callee = self.symbols.instance(innermost);
            while let Some(found) = callee {
                if found.caller == Some(instance) {
                    inlined.extend(found.ranges);
                    break;
                }
                callee = found.caller.and_then(|caller| self.symbols.instance(caller));
            }
        }
        inlined
    }
}

fn of_library(frame: &SourceFrame) -> bool {
    let of_go = |path: &str| frame.language == Language::Go && is_go_package(path);
    frame.position.as_ref().is_some_and(|position| is_library(&position.path) || of_go(&position.path))
}

/// Whether a path of `go build -trimpath` is that of a package that comes with Go: `runtime/proc.go`.
fn is_go_package(path: &str) -> bool {
    const FOLDERS: &str = "bufio bytes cmp compress container context crypto encoding errors fmt hash html internal \
        io iter log maps math net os path reflect regexp runtime slices sort strconv strings sync syscall time unicode";
    path.split_once('/').is_some_and(|(first, _)| FOLDERS.split_whitespace().any(|folder| folder == first))
}

/// Whether a source file is of a standard library, by the paths that toolchains give these.
pub fn is_library(path: &str) -> bool {
    let parts = [
        "/rustc/",
        "library/core/",
        "library/alloc/",
        "library/std/",
        "library/compiler-builtins/",
        "library/panic_abort/",
        "library/unwind/",
        "library/stdarch/",
        "library/portable-simd/",
        "library/backtrace/",
        "compiler_builtins-",
        "compiler-rt/",
        "c++/v1/",
        "/libcxx/",
        "/libcxxabi/",
        "/wasi-libc/",
        "/lib/zig/",
        "/tinygo/src/",
        "~lib/",
        "/go/src/",
    ];
    parts.iter().any(|part| path.contains(part))
}

/// What is left of a range without another one.
fn without(range: PcRange, cut: PcRange) -> impl Iterator<Item = PcRange> {
    let before = PcRange { start: range.start, end: range.end.min(cut.start) };
    let behind = PcRange { start: range.start.max(cut.end), end: range.end };
    let apart = cut.end <= range.start || range.end <= cut.start;
    let parts = if apart { [Some(range), None] } else { [Some(before), Some(behind)] };
    parts.into_iter().flatten().filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_without_another() {
        let range = |start, end| PcRange { start: ModulePc(start), end: ModulePc(end) };
        let cut = |other| without(range(10, 20), other).collect::<Vec<_>>();
        assert_eq!(cut(range(0, 10)), [range(10, 20)]);
        assert_eq!(cut(range(0, 12)), [range(12, 20)]);
        assert_eq!(cut(range(12, 14)), [range(10, 12), range(14, 20)]);
        assert_eq!(cut(range(15, 30)), [range(10, 15)]);
        assert_eq!(cut(range(0, 30)), []);
    }
}
