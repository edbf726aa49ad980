//! Owns the errors of this crate. Each says who can act and how.

use std::sync::Arc;

use wasmdbg_code_address::ModulePc;

/// Why bytes could not be taken for a module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModuleError {
    /// No `\0asm` at the start.
    #[error("not a Wasm module: it does not begin with \\0asm")]
    NotWasm,
    /// A component (layer 1), which Proxy-Wasm hosts do not load.
    #[error("a Wasm component, not a core module; take the module out of it or build for wasm32-wasip1")]
    Component,
    /// A version other than 1.
    #[error("Wasm version {0} is not supported, only version 1")]
    Version(u32),
    /// The file ends within a section.
    #[error("the module is truncated: byte {at} is needed, the file has {len}; copy or build it again")]
    Truncated {
        /// Offset of the read that failed.
        at: usize,
        /// Length of the file.
        len: usize,
    },
    /// A section that cannot be read.
    #[error("the module is malformed at byte {at}: {reason}")]
    Malformed {
        /// Offset of the fault.
        at: usize,
        /// The reader's words.
        reason: String,
    },
    /// More than 4 GiB.
    #[error("the module is larger than 4 GiB")]
    TooLarge,
}

/// Why a separate file with debug info cannot serve a module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DebugFileError {
    /// The running module or the file with debug info cannot be read.
    #[error("{which}: {source}")]
    Module {
        /// Which of the two it is.
        which: &'static str,
        /// What is wrong with it.
        #[source]
        source: ModuleError,
    },
    /// Code of another build.
    #[error(
        "the debug file is of another build: its code section has hash {debug}, the module's has {module}; \
         build both together"
    )]
    OtherBuild {
        /// Short hash of the module's code section.
        module: String,
        /// Short hash of the debug file's.
        debug: String,
    },
    /// The file has no DWARF.
    #[error("the debug file has no .debug_info section; compile with -g and do not strip it")]
    NoDwarf,
    /// The file is a source map that cannot be read.
    #[error(transparent)]
    SourceMap(DebugInfoError),
    /// The file is a source map of other code.
    #[error(
        "the source map is of another build: it names {0}, where the module has no instruction; build both \
         together"
    )]
    OtherMap(ModulePc),
}

/// Why debug info, or a unit or an entry of it, could not be read. The rest of the module stays usable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad debug info at {section}+{offset:#x}: {reason}")]
pub struct DebugInfoError {
    /// What holds it: `.debug_info`, a part of a source map, `runtime.pclntab`.
    pub section: &'static str,
    /// Where in that, in bytes: of DWARF the entry or unit.
    pub offset: u32,
    /// What is wrong.
    pub reason: String,
}

impl DebugInfoError {
    /// A fault of the entry or unit at `offset` of `.debug_info`.
    pub(crate) fn dwarf(offset: u32, reason: impl Into<String>) -> DebugInfoError {
        DebugInfoError { section: ".debug_info", offset, reason: reason.into() }
    }
}

/// Why a source line, file or function could not be found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// The module has no DWARF and no table of Go's, and no source map is known.
    #[error(
        "the module has no debug info: compile with -g (Rust: `debug = true` in the profile, AssemblyScript: \
         `--debug --sourceMap`) and do not strip it, or name a separate debug file; function names and Wasm pcs \
         still work"
    )]
    NoDebugInfo,
    /// No unit has such a file.
    #[error("no source file `{file}` in the debug info{}", suggestions(.similar))]
    UnknownFile {
        /// What was asked for.
        file: String,
        /// Paths whose last component looks alike.
        similar: Vec<Arc<str>>,
    },
    /// Several files end in what was asked for.
    #[error("`{file}` is ambiguous: {}; write more of the path", some(.candidates))]
    AmbiguousFile {
        /// What was asked for.
        file: String,
        /// All that match.
        candidates: Vec<Arc<str>>,
    },
    /// The line and all lines behind it have no code.
    #[error("no code at {path}:{line}{}", last_line(.last))]
    NoCode {
        /// The file that matched.
        path: Arc<str>,
        /// The line asked for.
        line: u32,
        /// The last line of the file with code.
        last: Option<u32>,
    },
    /// No function has such a name.
    #[error("no function `{name}`{}", suggestions(.similar))]
    UnknownFunction {
        /// What was asked for.
        name: String,
        /// Names that look alike.
        similar: Vec<Arc<str>>,
    },
    /// A pc outside every function body.
    #[error("{0} is not in a function body of this module")]
    NotCode(ModulePc),
    /// The debug info needed for the answer is broken.
    #[error(transparent)]
    DebugInfo(#[from] DebugInfoError),
}

fn suggestions(similar: &[Arc<str>]) -> String {
    if similar.is_empty() { String::new() } else { format!("; did you mean {}", similar.join(" or ")) }
}

/// The first few of many.
fn some(candidates: &[Arc<str>]) -> String {
    const SHOWN: usize = 5;
    let shown = candidates[..candidates.len().min(SHOWN)].join(", ");
    match candidates.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn last_line(last: &Option<u32>) -> String {
    last.map_or(String::new(), |line| format!("; the last line with code is {line}"))
}
