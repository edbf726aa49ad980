//! What a filter that is about to trap dies of. For the engine a panic, an abort and a bad instruction are
//! one and the same trap, `unreachable`: the frames above it tell them apart.

use crate::frames::Frame;

/// Why a callback is about to end without returning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The source panics: Rust's and Zig's panics, Go's, C's and AssemblyScript's failed assertions, an
    /// exception that nobody catches.
    Panic,
    /// The source gives up without a word: `abort`.
    Abort,
    /// The code itself does what cannot be done.
    Trap,
}

impl End {
    /// `panic`, `abort` or `trap`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Abort => "abort",
            Self::Trap => "trap",
        }
    }
}

/// The trap that a panic and an abort end with, in wasmtime's words.
const UNREACHABLE: &str = "unreachable";

/// How many frames the way from a panic to its trap can have: hooks and formatting are calls too.
pub(crate) const FRAMES: u32 = 32;

/// Of a trap with this message, whose innermost frames are `frames`.
pub(crate) fn end(message: &str, frames: &[Frame]) -> End {
    if !message.contains(UNREACHABLE) {
        return End::Trap;
    }
    let mut found = End::Trap;
    for frame in frames {
        match of_function(&frame.function) {
            Some(Word::Panic) => return End::Panic,
            Some(Word::Abort) => found = End::Abort,
            Some(Word::Instruction) => {}
            // The trap is the code's own, whoever called it.
            None if found == End::Trap => return End::Trap,
            // Between a panic and its abort lie hooks and the standard library.
            None => {}
        }
    }
    found
}

/// What a function is on the way from a panic to its trap.
enum Word {
    Panic,
    Abort,
    /// No more than the instruction that traps.
    Instruction,
}

/// By the names that the standard libraries of Rust, C, C++, Zig and Go give them.
fn of_function(name: &str) -> Option<Word> {
    let bare = name.split(['(', '<']).next().unwrap_or(name).trim_start_matches('_');
    let last = bare.rsplit("::").next().unwrap_or(bare).trim_start_matches('_');
    let in_library = ["core::panicking::", "std::panicking::", "std::rt::begin_panic", "std::__2::terminate"];
    let panic = in_library.iter().any(|start| bare.starts_with(start))
        || ["rust_begin_unwind", "rust_panic", "rust_start_panic", "assert_fail"].contains(&last)
        || ["std::terminate", "cxa_throw", "cxa_pure_virtual"].contains(&bare)
        || ["runtime.gopanic", "runtime.fatalpanic", "debug.defaultPanic", "builtin.default_panic"]
            .contains(&bare);
    if panic {
        return Some(Word::Panic);
    }
    match last {
        "abort" | "abort_internal" | "rust_abort" | "abort_message" => Some(Word::Abort),
        "unreachable" | "trap" => Some(Word::Instruction),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(names: &[&str]) -> Vec<Frame> {
        let frame = |(number, name): (usize, &&str)| Frame {
            number: number as u32,
            activation: number as u32,
            depth: 0,
            pc: wasmdbg_symbols::ModulePc(0),
            function: (*name).to_owned(),
            position: None,
            approximate: false,
            inlined: false,
        };
        names.iter().enumerate().map(frame).collect()
    }

    #[test]
    fn the_frames_tell_them_apart() {
        let rust = [
            "abort",
            "std::process::abort",
            "__rustc::__rust_abort",
            "__rustc::__rust_start_panic",
            "__rustc::rust_panic",
            "std::panicking::panic_with_hook",
            "core::panicking::panic_fmt",
            "filter::obey",
        ];
        let unreachable = "wasm `unreachable` instruction executed";
        assert_eq!(end(unreachable, &frames(&rust)), End::Panic);
        assert_eq!(end(unreachable, &frames(&["abort", "std::process::abort", "filter::f"])), End::Abort);
        assert_eq!(end(unreachable, &frames(&["__assert_fail", "f"])), End::Panic);
        assert_eq!(end(unreachable, &frames(&["abort", "std::terminate()", "main"])), End::Panic);
        assert_eq!(end(unreachable, &frames(&["filter::f", "core::panicking::panic_fmt"])), End::Trap);
        assert_eq!(end("out of bounds memory access", &frames(&["abort"])), End::Trap);
        assert_eq!(end(unreachable, &[]), End::Trap);
    }
}
