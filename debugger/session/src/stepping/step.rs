//! Steps as a user asks for them.

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
