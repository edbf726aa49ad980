//! Where a slot stands as a step sees it: which frames are at its pc, and which code is one statement.

use wasmdbg_control::stop::{Calls, ResumeMode};
use wasmdbg_symbols::{InstanceId, ModulePc, PcRange, SourceFrame, Symbols};

use super::library::{is_library, of_library};
use super::step::Libraries;
use crate::error::Error;
use crate::frames::source_frames;
use crate::target::Target;

/// How a step goes by line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lines {
    pub(super) calls: Calls,
    /// Not back to an earlier line of the function.
    pub(super) forward: bool,
}

/// Where a slot stands, as a step sees it.
pub(super) struct Here<'a> {
    pub(super) symbols: &'a Symbols,
    pub(super) pc: ModulePc,
    /// Activations in all.
    pub(super) depth: u32,
    /// Index of the innermost Wasm function.
    pub(super) function: u32,
    /// Frames of the innermost activation, innermost first.
    pub(super) frames: Vec<SourceFrame>,
}

impl<'a> Here<'a> {
    /// `None` when the module has no symbols at all.
    pub(super) fn new(target: &'a Target) -> Result<Option<Self>, Error> {
        let Some(symbols) = target.symbols() else { return Ok(None) };
        let Some(innermost) = target.activation(0)? else { return Ok(None) };
        let pc = innermost.pc;
        let frames = source_frames(target, innermost.function, pc);
        let depth = target.info().frame_count;
        Ok(Some(Self { symbols, pc, depth, function: innermost.function, frames }))
    }

    pub(super) fn has_line(&self) -> bool {
        self.frames.first().is_some_and(|frame| frame.instance.is_some() && frame.position.is_some())
    }

    /// The index of the innermost frame that is not library code passed through; the innermost of all
    /// when there is none.
    pub(super) fn own_frame(&self, libraries: Libraries) -> usize {
        match libraries {
            Libraries::Skip => self.frames.iter().position(|frame| !of_library(frame)).unwrap_or(0),
            Libraries::Enter => 0,
        }
    }

    pub(super) fn is_all_library(&self, libraries: Libraries) -> bool {
        libraries == Libraries::Skip && self.frames.iter().all(of_library)
    }

    pub(super) fn is_statement_start(&self) -> bool {
        self.symbols.statement_starts(self.function).iter().any(|start| start.pc == self.pc)
    }

    /// How many frames, innermost first and at most `most`, are inlined calls that begin at this pc.
    pub(super) fn not_entered(&self, most: u32) -> u32 {
        let begins = |frame: &&SourceFrame| {
            let instance = frame.instance.filter(|_| frame.inlined).and_then(|id| self.symbols.instance(id));
            instance.is_some_and(|instance| instance.entry == self.pc)
        };
        self.frames.iter().take(most as usize).take_while(begins).count() as u32
    }

    /// How many frames stay hidden when the next inlined call that begins here is stepped into.
    pub(super) fn next_inlined(&self, hidden: u32, libraries: Libraries) -> Option<u32> {
        let passed = |frame: &SourceFrame| libraries == Libraries::Skip && of_library(frame);
        self.frames.iter().take(hidden as usize).rposition(|frame| !passed(frame)).map(|at| at as u32)
    }

    /// The run that leaves the present statement of the frame that is stepped in, `stepped`.
    pub(super) fn run(&self, lines: Lines, stepped: Option<InstanceId>, libraries: Libraries) -> ResumeMode {
        let Lines { calls, forward } = lines;
        // Inside an inlined call that is passed through, a step into stays with that call's statements.
        let own = self.frames.get(self.own_frame(libraries)).and_then(|frame| frame.instance);
        let instance = match calls {
            Calls::Over => stepped.or(own),
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
            for inlined in self.inlined_into(instance, &ranges, libraries) {
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
