//! How far a slot runs after a stop: the meaning of each `ResumeMode`, event by event.
//!
//! Two ways of running lead to the goal. *Single*: wasmtime reports every opcode, and most are
//! dismissed by their pc alone. *Planted*: temporary breakpoints stand where the goal can be reached,
//! and the guest runs at full speed between them. A way starts as the cheaper one and changes when a
//! callee turns out long: switching single-step rewrites the whole code image (24 ms at 2.4 MB), so it
//! waits until the events have cost as much.
//!
//! Decides only; breakpoints are edited by [`super::plant`], commands are read by [`super::handler`].
use std::collections::BTreeSet;
use std::time::Duration;

use wasmdbg_control::stop::{Calls, ResumeMode};
use wasmdbg_control::{ModulePc, PcRange};

use super::frames::{Frames, Point, Stack};

/// What an event costs, measured with one frame looked up.
const EVENT: Duration = Duration::from_nanos(130);
/// Events before a callee counts as long, whatever a switch costs.
const FEW: u32 = 2_000;
/// And at most.
const MANY: u32 = 200_000;

/// A goal under way.
#[derive(Debug)]
pub(crate) struct Stepping {
    goal: Goal,
    /// The frame that the goal is about.
    frame: Origin,
    way: Way,
    /// Events since the frame itself was last seen to run.
    away: u32,
    /// How many of them make a callee long.
    patience: u32,
}

#[derive(Debug)]
enum Goal {
    /// The next opcode; `behind` is skipped once: after an interrupt the opcode that was shown comes
    /// again.
    Instruction { behind: Option<Point> },
    /// An opcode of the frame outside of `ranges`, or the frame's end.
    Range { ranges: Vec<PcRange>, calls: Calls, entry: Option<ModulePc> },
    /// The frame's end.
    Out,
    /// One of `opcodes` in the frame or a caller, or the frame's end.
    Until { asked: BTreeSet<ModulePc>, opcodes: BTreeSet<ModulePc> },
}

/// A frame and where it returns to.
#[derive(Debug, Clone, Copy)]
struct Origin {
    depth: u32,
    function: u32,
    activations: u32,
    /// The opcode behind the call, in the caller.
    caller: Option<Point>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    Single,
    /// Also at this opcode: where the frame itself goes on after a long callee.
    Planted {
        back: Option<ModulePc>,
    },
}

/// What to do after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Not there yet.
    Run,
    /// Not there yet, and [`Stepping::single_step`] or [`Stepping::pcs`] have changed.
    RunOtherwise,
    /// There.
    Stop,
}

/// What is known at the stop from which a goal starts.
pub(crate) struct Start<'a> {
    pub(crate) stack: &'a Stack,
    /// Single-step is on: leaving it on costs nothing.
    pub(crate) single_step: bool,
    /// What switching it costs.
    pub(crate) switch_cost: Duration,
    /// The opcode that is shown has not been reported yet and will be.
    pub(crate) shown_again: bool,
    /// The first opcode of the innermost function, if it is known.
    pub(crate) entry: Option<ModulePc>,
}

impl Stepping {
    /// The goal of `mode`; `None`: nothing but breakpoints stops.
    ///
    /// # Errors
    /// The frame that `mode` names does not exist.
    pub(crate) fn new(mode: ResumeMode, start: &Start<'_>) -> Result<Option<Self>, String> {
        let number = match &mode {
            ResumeMode::Continue => return Ok(None),
            ResumeMode::Instruction | ResumeMode::Range { .. } => 0,
            ResumeMode::Out { frame } | ResumeMode::Until { frame, .. } => *frame,
        };
        let frame = origin(start.stack, number)?;
        let innermost = start.stack.points.first().copied();
        let (goal, way) = match mode {
            ResumeMode::Continue => return Ok(None),
            ResumeMode::Instruction => {
                (Goal::Instruction { behind: innermost.filter(|_| start.shown_again) }, Way::Single)
            }
            ResumeMode::Range { ranges, calls } => {
                (Goal::Range { ranges, calls, entry: start.entry }, Way::Single)
            }
            // The outermost frame returns to the host: nothing stops there.
            ResumeMode::Out { .. } if frame.caller.is_none() => return Ok(None),
            ResumeMode::Out { .. } => (Goal::Out, Way::cheaper(start)),
            ResumeMode::Until { pcs, .. } => {
                let asked: BTreeSet<ModulePc> = pcs.into_iter().collect();
                (Goal::Until { opcodes: asked.clone(), asked }, Way::cheaper(start))
            }
        };
        let events = 2 * start.switch_cost.as_nanos() / EVENT.as_nanos();
        let patience = u32::try_from(events).unwrap_or(MANY).clamp(FEW, MANY);
        Ok(Some(Self { goal, frame, way, away: 0, patience }))
    }

    pub(crate) fn single_step(&self) -> bool {
        self.way == Way::Single
    }

    /// Temporary breakpoints that must stand.
    pub(crate) fn pcs(&self) -> BTreeSet<ModulePc> {
        let mut pcs = match &self.goal {
            Goal::Until { asked, .. } => asked.clone(),
            _ => BTreeSet::new(),
        };
        if let Way::Planted { back } = self.way {
            pcs.extend(back);
            pcs.extend(self.frame.caller.map(|caller| caller.pc));
        }
        pcs
    }

    /// Tells where the temporary breakpoints really stand.
    pub(crate) fn settled(&mut self, stands: impl Fn(ModulePc) -> Option<ModulePc>) {
        if let Goal::Until { asked, opcodes } = &mut self.goal {
            *opcodes = asked.iter().filter_map(|pc| stands(*pc)).collect();
        }
    }

    /// An opcode is about to run, at `point`.
    pub(crate) fn at<T: 'static>(&mut self, point: Point, frames: &mut Frames<'_, T>) -> Verdict {
        match &mut self.goal {
            Goal::Instruction { behind } => {
                if behind.take() == Some(point) {
                    Verdict::Run
                } else {
                    Verdict::Stop
                }
            }
            Goal::Range { .. } => self.at_range(point, frames),
            Goal::Out => {
                if self.frame.caller.is_none_or(|caller| caller.function == point.function) {
                    let depth = frames.walk().depth();
                    if depth < self.frame.depth {
                        return Verdict::Stop;
                    }
                }
                self.wander()
            }
            Goal::Until { opcodes, .. } => {
                let wanted = opcodes.contains(&point.pc);
                if wanted || self.frame.caller.is_some_and(|caller| caller.pc == point.pc) {
                    let depth = frames.walk().depth();
                    let limit = if wanted { self.frame.depth } else { self.frame.depth.saturating_sub(1) };
                    if depth <= limit {
                        return Verdict::Stop;
                    }
                }
                self.wander()
            }
        }
    }

    fn at_range<T: 'static>(&mut self, point: Point, frames: &mut Frames<'_, T>) -> Verdict {
        let Goal::Range { ranges, calls, entry } = &self.goal else { return Verdict::Run };
        let (calls, frame) = (*calls, self.frame);
        let inside = point.function == frame.function && ranges.iter().any(|range| range.contains(point.pc));
        let elsewhere = point.function != frame.function
            && frame.caller.is_none_or(|caller| caller.function != point.function);
        let dismissed = match calls {
            // In a recursion this may be a callee: that one runs through as well.
            Calls::Over => inside || elsewhere,
            Calls::Into => inside && *entry != Some(point.pc),
        };
        self.away += 1;
        if dismissed && self.way == Way::Single && self.away < self.patience {
            return Verdict::Run;
        }
        let stack = frames.walk();
        let depth = stack.depth();
        if depth > frame.depth {
            // What a host function calls on its own is no call of the guest's.
            if calls == Calls::Into && stack.activations == frame.activations {
                return Verdict::Stop;
            }
            return self.in_callee(&stack);
        }
        if depth < frame.depth || !inside {
            return Verdict::Stop;
        }
        self.away = 0;
        self.go(Way::Single)
    }

    fn in_callee(&mut self, stack: &Stack) -> Verdict {
        if self.away < self.patience {
            return Verdict::Run;
        }
        let back = stack.at_depth(self.frame.depth).map(|point| point.pc);
        self.go(Way::Planted { back })
    }

    /// Neither there nor near.
    fn wander(&mut self) -> Verdict {
        self.away = self.away.saturating_add(1);
        if self.way == Way::Single && self.away >= self.patience {
            return self.go(Way::Planted { back: None });
        }
        Verdict::Run
    }

    fn go(&mut self, way: Way) -> Verdict {
        if self.way == way {
            return Verdict::Run;
        }
        self.way = way;
        Verdict::RunOtherwise
    }
}

impl Way {
    fn cheaper(start: &Start<'_>) -> Self {
        if start.single_step { Self::Single } else { Self::Planted { back: None } }
    }
}

fn origin(stack: &Stack, number: u32) -> Result<Origin, String> {
    let depth = stack.depth();
    let index = number as usize;
    let point = stack.points.get(index).ok_or_else(|| match depth {
        0 => String::from("the guest has no frame here"),
        _ => format!("there is no frame {number}: the outermost is {}", depth - 1),
    })?;
    Ok(Origin {
        depth: depth - number,
        function: point.function,
        activations: stack.activations,
        caller: stack.points.get(index + 1).copied(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(points: &[(u32, u32)]) -> Stack {
        let points = points.iter().map(|&(function, pc)| Point { function, pc: ModulePc(pc) }).collect();
        Stack { points, activations: 1 }
    }

    fn begin(mode: ResumeMode, stack: &Stack, single_step: bool, cost: Duration) -> Option<Stepping> {
        let start = Start { stack, single_step, switch_cost: cost, shown_again: false, entry: None };
        Stepping::new(mode, &start).expect("the frame exists")
    }

    #[test]
    fn out_of_the_outermost_frame_is_no_goal() {
        let stack = start(&[(3, 30), (2, 20)]);
        assert!(begin(ResumeMode::Out { frame: 1 }, &stack, false, Duration::ZERO).is_none());
        let out = begin(ResumeMode::Out { frame: 0 }, &stack, false, Duration::ZERO).expect("a goal");
        assert!(!out.single_step());
        assert_eq!(out.pcs(), BTreeSet::from([ModulePc(20)]));
    }

    #[test]
    fn single_step_stays_on_when_it_is_on() {
        let stack = start(&[(3, 30), (2, 20)]);
        let out = begin(ResumeMode::Out { frame: 0 }, &stack, true, Duration::ZERO).expect("a goal");
        assert!(out.single_step() && out.pcs().is_empty());
    }

    #[test]
    fn patience_grows_with_the_cost_of_a_switch() {
        let stack = start(&[(3, 30), (2, 20)]);
        let patience = |cost| begin(ResumeMode::Instruction, &stack, true, cost).expect("a goal").patience;
        assert_eq!(patience(Duration::from_micros(39)), FEW);
        assert!(patience(Duration::from_millis(2)) > FEW);
        assert_eq!(patience(Duration::from_secs(1)), MANY);
    }

    #[test]
    fn a_frame_that_is_not_there_is_an_error() {
        let stack = start(&[(3, 30)]);
        let start = Start {
            stack: &stack,
            single_step: false,
            switch_cost: Duration::ZERO,
            shown_again: false,
            entry: None,
        };
        assert!(
            Stepping::new(ResumeMode::Out { frame: 7 }, &start).is_err_and(|e| e.contains("outermost is 0"))
        );
    }
}
