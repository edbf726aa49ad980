//! Owns the stack pointer of each frame of a stack, from what their functions do with it.

use super::frame_setup::{FrameSetup, Prologue, StackUse};
use crate::symbols::Symbols;
use wasmdbg_code_address::ModulePc;

/// One physical frame for [`Symbols::stack_pointers`].
#[derive(Clone, Copy)]
pub struct StackFrame<'a> {
    /// Index of the Wasm function.
    pub function: u32,
    /// Its pc; for outer frames the return address.
    pub pc: ModulePc,
    /// Reads one of its i32 locals.
    pub local: &'a dyn Fn(u32) -> Option<u32>,
}

impl Symbols {
    /// How a defined function uses the shadow stack. [`StackUse::Unknown`] for imports.
    #[must_use]
    pub fn stack_use(&self, function: u32) -> StackUse {
        let Some(body) = self.module.function(function) else { return StackUse::Unknown };
        let Some(global) = self.module.stack_pointer_global() else { return StackUse::Untouched };
        let read = || self.stack_uses.keep(function, Prologue::read(&self.module, body, global));
        self.stack_uses.get(function).unwrap_or_else(read)
    }

    /// The frame that a function's prologue sets up, if it does and is understood.
    #[must_use]
    pub fn frame_pointer_hint(&self, function: u32) -> Option<FrameSetup> {
        match self.stack_use(function) {
            StackUse::Frame(setup) => Some(setup),
            StackUse::Untouched | StackUse::RedZone { .. } | StackUse::Unknown => None,
        }
    }

    /// The stack pointer of each frame of a stack, innermost first, from the global's present value:
    /// what the global held when that frame last ran. `None` where it cannot be told.
    ///
    /// Imported functions between two frames do not matter: a host keeps the pointer.
    #[must_use]
    pub fn stack_pointers(&self, global: Option<u32>, frames: &[StackFrame<'_>]) -> Vec<Option<u32>> {
        // What the global held while the frame at hand ran, as told by the frames inside it.
        let mut running = global;
        let mut out = Vec::with_capacity(frames.len());
        for frame in frames {
            let (own, at_entry) = match self.stack_use(frame.function) {
                StackUse::Untouched | StackUse::RedZone { .. } => (running, running),
                StackUse::Frame(setup) if frame.pc < setup.ready => (running, running),
                // The local has another use here; the global is still the frame's where it is written.
                StackUse::Frame(setup) if !setup.holds_at(frame.pc) => {
                    (running.filter(|_| setup.writes_global), None)
                }
                StackUse::Frame(setup) => {
                    let base = (frame.local)(setup.local);
                    let at_entry = base.zip(setup.size).and_then(|(base, size)| base.checked_add(size));
                    // A leaf in the red zone leaves the global alone; its frame is below it.
                    (
                        if setup.writes_global { base } else { running },
                        at_entry.or(running.filter(|_| !setup.writes_global)),
                    )
                }
                StackUse::Unknown => (running, None),
            };
            out.push(own);
            running = at_entry;
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIMISED: &str = "global.get 0 i32.const 32 i32.sub local.tee 1 global.set 0";

    #[test]
    fn pointers_are_recovered_outwards() {
        let text = format!(
            "(module (memory 1) (global $sp (mut i32) (i32.const 65536)) \
             (func $leaf (local i32) global.get 0 i32.const 16 i32.sub local.tee 0 i32.const 7 i32.store) \
             (func $through call $leaf) \
             (func $framed (param i32) (local i32) {OPTIMISED} call $through) \
             (func $unknown (param i32) local.get 0 global.set 0 call $framed))"
        )
        .replace("call $framed", "i32.const 0 call $framed");
        let symbols = Symbols::new(wat::parse_str(text).unwrap().into()).unwrap();
        let end = |function: u32| ModulePc(symbols.module().function(function).unwrap().body.end.0 - 1);
        let leaf = |_: u32| Some(1000 - 16);
        let framed = |local: u32| (local == 1).then_some(1000);
        let none = |_: u32| None;
        let frames = [
            StackFrame { function: 0, pc: end(0), local: &leaf },
            StackFrame { function: 1, pc: end(1), local: &none },
            StackFrame { function: 2, pc: end(2), local: &framed },
            StackFrame { function: 3, pc: end(3), local: &none },
            StackFrame { function: 1, pc: end(1), local: &none },
        ];
        let pointers = symbols.stack_pointers(Some(1000), &frames);
        assert_eq!(pointers, [Some(1000), Some(1000), Some(1000), Some(1032), None]);
    }
}
