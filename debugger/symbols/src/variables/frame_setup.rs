//! Owns what a function's own code says about the shadow stack: how much it takes, which local keeps
//! the frame's address. Reads instructions, never DWARF.
//!
//! Compiled C, C++ and Rust keep addressable variables on a stack in linear memory whose pointer is a
//! global. Callees move that global, so a frame base on it is right only in the innermost frame. What
//! each function's prologue does with it gives the other frames their own.

use std::collections::HashMap;

use wasmparser::Operator;

use crate::module::{Function, Module};
use wasmdbg_code_address::ModulePc;

/// A prologue that takes room on the shadow stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameSetup {
    /// The local that holds the frame's own stack pointer.
    pub local: u32,
    /// Bytes taken, so that the pointer at entry is `local + size`; `None` when the frame is aligned
    /// by masking or grows (alloca), and the entry value cannot be told.
    pub size: Option<u32>,
    /// The global that is the stack pointer.
    pub stack_pointer_global: u32,
    /// Whether the global is set to the frame's pointer. A leaf function may leave it (red zone): then
    /// the global is not the frame's base even in the innermost frame.
    pub writes_global: bool,
    /// From this pc on `local` is valid (and the global, when it is written).
    pub ready: ModulePc,
    /// The optimiser may put the local to another use when the frame is no longer needed: from this pc on
    /// `local` is not the frame. `None`: it is, to the end.
    pub until: Option<ModulePc>,
    /// Behind the stores that put the parameters into the frame; `ready` when there are none.
    pub spilled: ModulePc,
}

impl FrameSetup {
    /// Whether `local` holds the frame when the function is at `pc`.
    #[must_use]
    pub fn holds_at(&self, pc: ModulePc) -> bool {
        self.ready <= pc && self.until.is_none_or(|until| pc < until)
    }
}

/// How a function uses the shadow stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StackUse {
    /// Does not touch the pointer: it is the same at entry and throughout.
    Untouched,
    /// Sets a frame up in a known way.
    Frame(FrameSetup),
    /// Reads the pointer and never writes it: a leaf with its frame in the red zone below, whose address
    /// no local keeps. DWARF may give the pointer itself as its frame base, which is `size` too high.
    RedZone {
        /// Bytes below the pointer; `None` when they cannot be told.
        size: Option<u32>,
    },
    /// Changes the pointer in a way that is not understood.
    Unknown,
}

/// What is known of a value while the prologue is read.
#[derive(Clone, Copy, PartialEq)]
enum Known {
    /// The stack pointer at entry, less this many bytes; `None` after masking.
    Pointer(Option<u32>),
    Constant(u32),
    /// A parameter as it came.
    Parameter,
    Nothing,
}

/// Reads the straight code at a function's start as a machine that knows only stack pointers and
/// constants.
pub(super) struct Prologue {
    global: u32,
    params: u32,
    stack: Vec<Known>,
    locals: HashMap<u32, Known>,
    /// What was written to the global, and the first pc behind that.
    written: Option<(Known, ModulePc)>,
    /// Locals in the order in which they got a pointer, with the first pc behind that.
    holders: Vec<(u32, Known, ModulePc)>,
    done: bool,
    /// Whether the global is written behind the straight code.
    late_write: bool,
    /// Bytes from the pointer at entry to the lowest one made.
    lowest: u32,
    /// Behind the last store of a parameter.
    spilled: ModulePc,
}

impl Prologue {
    pub(super) fn read(module: &Module, function: &Function, global: u32) -> StackUse {
        let mut prologue = Prologue {
            global,
            params: function.params.len() as u32,
            stack: Vec::new(),
            locals: HashMap::new(),
            written: None,
            holders: Vec::new(),
            done: false,
            late_write: false,
            lowest: 0,
            spilled: ModulePc(0),
        };
        // An effect is complete at the next instruction.
        let mut pending: Option<Effect> = None;
        let mut touched = false;
        let mut later_writes: Vec<(u32, ModulePc)> = Vec::new();
        let mut constructs: Vec<Option<ModulePc>> = Vec::new();
        module.instructions(function, |at, operator| {
            if let Some(effect) = pending.take() {
                prologue.apply(effect, at);
            }
            let sets = matches!(operator, Operator::GlobalSet { global_index } if *global_index == global);
            touched |=
                sets || matches!(operator, Operator::GlobalGet { global_index } if *global_index == global);
            if prologue.done {
                prologue.late_write |= sets;
                if let Operator::LocalSet { local_index } | Operator::LocalTee { local_index } = operator {
                    // In a loop the write counts from the loop's start: the next round is behind it.
                    let round = constructs.iter().flatten().next();
                    later_writes.push((*local_index, round.copied().unwrap_or(ModulePc(at.0 + 1))));
                }
            } else {
                pending = prologue.step(operator);
            }
            match operator {
                Operator::Loop { .. } => constructs.push(Some(at)),
                Operator::Block { .. }
                | Operator::If { .. }
                | Operator::Try { .. }
                | Operator::TryTable { .. } => {
                    constructs.push(None);
                }
                Operator::End | Operator::Delegate { .. } => drop(constructs.pop()),
                _ => {}
            }
            true
        });
        if !touched {
            return StackUse::Untouched;
        }
        prologue.conclude(&later_writes)
    }

    /// Executes one instruction; anything that is no part of a prologue ends the reading.
    fn step(&mut self, operator: &Operator<'_>) -> Option<Effect> {
        match operator {
            Operator::GlobalGet { global_index } if *global_index == self.global => {
                // A second look, after a write, sees what was written.
                let now = self.written.map_or(Known::Pointer(Some(0)), |(value, _)| value);
                self.stack.push(now);
            }
            Operator::GlobalGet { .. } => self.stack.push(Known::Nothing),
            Operator::I32Const { value } => self.stack.push(Known::Constant(*value as u32)),
            Operator::LocalGet { local_index } => {
                let fresh = if *local_index < self.params { Known::Parameter } else { Known::Nothing };
                self.stack.push(self.locals.get(local_index).copied().unwrap_or(fresh));
            }
            Operator::LocalSet { local_index } => return self.pop().map(|v| Effect::Local(*local_index, v)),
            Operator::LocalTee { local_index } => {
                return self.stack.last().map(|v| Effect::Local(*local_index, *v));
            }
            Operator::I32Sub => self.binary(|pointer, by| pointer.and_then(|p| p.checked_add(by))),
            // Adding a negative constant is the same; adding an offset makes the address of a variable.
            Operator::I32Add => {
                self.binary(|pointer, by| pointer.and_then(|p| p.checked_add(by.wrapping_neg())))
            }
            Operator::I32And => self.binary(|_, _| None),
            Operator::GlobalSet { global_index } if *global_index == self.global => {
                return self.pop().map(Effect::Global);
            }
            Operator::I32Store { .. }
            | Operator::I64Store { .. }
            | Operator::F32Store { .. }
            | Operator::F64Store { .. }
            | Operator::I32Store8 { .. }
            | Operator::I32Store16 { .. } => {
                let (value, address) = (self.pop(), self.pop());
                if let (Some(Known::Parameter), Some(Known::Pointer(_))) = (value, address) {
                    return Some(Effect::Spill);
                }
            }
            Operator::I64Const { .. } => self.stack.push(Known::Nothing),
            Operator::Drop => drop(self.pop()),
            Operator::Nop => {}
            _ => self.done = true,
        }
        None
    }

    fn pop(&mut self) -> Option<Known> {
        self.stack.pop()
    }

    fn binary(&mut self, with: impl Fn(Option<u32>, u32) -> Option<u32>) {
        let (right, left) = (self.pop(), self.pop());
        let made = match (left, right) {
            (Some(Known::Pointer(pointer)), Some(Known::Constant(by))) => Known::Pointer(with(pointer, by)),
            _ => Known::Nothing,
        };
        if let Known::Pointer(Some(size)) = made {
            self.lowest = self.lowest.max(size);
        }
        self.stack.push(made);
    }

    fn apply(&mut self, effect: Effect, behind: ModulePc) {
        match effect {
            Effect::Spill => self.spilled = behind,
            Effect::Global(value) => {
                // Only the first write can be the prologue's; a second one before any branch is an
                // epilogue or a growing frame.
                if self.written.is_none() {
                    self.written = Some((value, behind));
                } else {
                    self.done = true;
                }
            }
            Effect::Local(local, value) => {
                self.locals.insert(local, value);
                self.holders.retain(|(holder, ..)| *holder != local);
                if matches!(value, Known::Pointer(_)) {
                    self.holders.push((local, value, behind));
                }
            }
        }
    }

    /// The local that holds the frame, for good or the longest.
    fn conclude(&self, later_writes: &[(u32, ModulePc)]) -> StackUse {
        let frame = match self.written {
            Some((value @ Known::Pointer(_), _)) => value,
            Some(_) => return StackUse::Unknown,
            None if self.late_write => return StackUse::Unknown,
            // Never written: the frame of a leaf is the lowest pointer made.
            None => Known::Pointer((self.lowest > 0).then_some(self.lowest)),
        };
        let Known::Pointer(size) = frame else { return StackUse::Unknown };
        let until = |local: u32| later_writes.iter().filter(|(l, _)| *l == local).map(|(_, pc)| *pc).min();
        let holders = self.holders.iter().filter(|(_, value, _)| *value == frame);
        let setups = holders.map(|(local, _, since)| {
            let ready = self.written.map_or(*since, |(_, written)| written.max(*since));
            FrameSetup {
                local: *local,
                size,
                stack_pointer_global: self.global,
                writes_global: self.written.is_some(),
                ready,
                until: until(*local),
                spilled: self.spilled.max(ready),
            }
        });
        let longest = setups.max_by_key(|setup| setup.until.unwrap_or(ModulePc(u32::MAX)));
        match longest.filter(|setup| setup.holds_at(setup.ready)) {
            Some(setup) => StackUse::Frame(setup),
            None if self.written.is_none() => StackUse::RedZone { size },
            None => StackUse::Unknown,
        }
    }
}

enum Effect {
    Spill,
    Local(u32, Known),
    Global(Known),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup(body: &str) -> StackUse {
        let text = format!(
            "(module (memory 1) (global $sp (mut i32) (i32.const 65536)) (func $other) \
             (func (export \"f\") (param i32) (local i32 i32) {body}))"
        );
        let module = Module::parse(wat::parse_str(text).unwrap().into()).unwrap();
        Prologue::read(&module, module.function(1).unwrap(), 0)
    }

    fn frame(body: &str) -> FrameSetup {
        match setup(body) {
            StackUse::Frame(setup) => setup,
            other => panic!("{other:?}"),
        }
    }

    const OPTIMISED: &str = "global.get 0 i32.const 32 i32.sub local.tee 1 global.set 0";

    #[test]
    fn the_optimised_prologue() {
        let setup = frame(&format!("{OPTIMISED} call 0 local.get 1 i32.const 32 i32.add global.set 0"));
        assert_eq!((setup.local, setup.size, setup.writes_global, setup.until), (1, Some(32), true, None));
    }

    #[test]
    fn the_unoptimised_prologue() {
        let body = "global.get 0 local.set 1 i32.const 16 local.set 2 local.get 1 local.get 2 i32.sub \
                    local.set 0 local.get 0 global.set 0 local.get 0 i32.const 5 i32.store offset=12 call 0";
        let setup = frame(body);
        assert_eq!((setup.local, setup.size, setup.writes_global), (0, Some(16), true));
    }

    #[test]
    fn parameters_are_stored_behind_the_prologue() {
        let plain = frame(&format!("{OPTIMISED} local.get 1 local.get 2 i32.store call 0"));
        assert_eq!(plain.spilled, plain.ready, "a local is no parameter");
        let stored = frame(&format!("{OPTIMISED} local.get 1 local.get 0 i32.store call 0"));
        assert_eq!(stored.spilled, ModulePc(stored.ready.0 + 7), "behind two reads and the store");
        let later = frame(&format!("{OPTIMISED} call 0 local.get 1 local.get 0 i32.store"));
        assert_eq!(later.spilled, later.ready, "behind a call it is the user's");
    }

    #[test]
    fn a_leaf_keeps_its_frame_below_the_pointer() {
        let setup = frame("global.get 0 i32.const 16 i32.sub local.tee 1 i32.const 7 i32.store offset=8");
        assert_eq!((setup.local, setup.size, setup.writes_global), (1, Some(16), false));
        assert_eq!(setup_of_dropped(), StackUse::RedZone { size: Some(16) });
    }

    fn setup_of_dropped() -> StackUse {
        setup("global.get 0 i32.const 16 i32.sub drop")
    }

    #[test]
    fn an_aligned_frame_has_no_known_size() {
        let body = "global.get 0 i32.const 64 i32.sub i32.const -32 i32.and local.tee 1 global.set 0 call 0";
        assert_eq!(frame(body).size, None);
    }

    #[test]
    fn a_local_that_is_used_again_counts_until_then() {
        let setup = frame(&format!("{OPTIMISED} call 0 i32.const 1 local.set 1 call 0"));
        let until = setup.until.expect("an end");
        assert!(
            setup.holds_at(setup.ready) && setup.holds_at(ModulePc(until.0 - 1)) && !setup.holds_at(until)
        );
        let looping = frame(&format!("{OPTIMISED} call 0 (loop call 0 i32.const 1 local.set 1 br 0)"));
        assert!(looping.until.unwrap() < until, "from the start of the loop on, not from the write");
    }

    #[test]
    fn what_touches_nothing_and_what_is_not_understood() {
        assert_eq!(setup("call 0"), StackUse::Untouched);
        assert_eq!(setup("local.get 0 global.set 0"), StackUse::Unknown);
        assert_eq!(
            setup("local.get 0 (if (then local.get 0 global.set 0)) global.get 0 drop"),
            StackUse::Unknown
        );
    }
}
