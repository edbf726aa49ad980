//! Owns functions: their names, instances, inlined copies, and the frames at a pc.
//! Never looks at variables or types.

use std::sync::Arc;

use crate::address::{ModulePc, PcRange};
use crate::error::LookupError;
use crate::lines::{BreakPlace, Position};
use crate::symbols::{Language, Symbols};

/// One instance of a function in the code: a function body, or a copy inlined into one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId {
    pub(crate) unit: u32,
    pub(crate) node: u32,
}

/// A function's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionName {
    /// Demangled, with its path: `rust_token::is_prime`, `<rust_token::Http as Context>::on_done`.
    pub full: Arc<str>,
    /// The last part: `is_prime`.
    pub short: Arc<str>,
}

/// What is known about an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// Name of the function.
    pub name: FunctionName,
    /// Index of the Wasm function that holds it.
    pub function: u32,
    /// Its code.
    pub ranges: Vec<PcRange>,
    /// Its first instruction: DW_AT_entry_pc or the start of the first range.
    pub entry: ModulePc,
    /// The instance it is inlined into; `None` for a function body.
    pub caller: Option<InstanceId>,
    /// Where the caller calls it; only for inlined copies.
    pub call: Option<Position>,
    /// Where the function is declared.
    pub declared: Option<Position>,
    /// Its language.
    pub language: Language,
}

/// One frame as the source sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFrame {
    /// The instance, for variables and statements; `None` without DWARF.
    pub instance: Option<InstanceId>,
    /// Its function's name; `func[N]` when nothing names it.
    pub name: FunctionName,
    /// Where execution stands: for the innermost frame the pc's line, for those around it the call.
    pub position: Option<Position>,
    /// Whether this frame is inlined into the next one.
    pub inlined: bool,
    /// Index of the Wasm function.
    pub function: u32,
    /// Its language.
    pub language: Language,
}

/// The places of a function name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionBinding {
    /// What was asked for.
    pub requested: String,
    /// All places, by rising pc; never empty: each instance behind its prologue, each inlined copy at
    /// its first statement.
    pub places: Vec<BreakPlace>,
}

impl Symbols {
    /// The frames at a pc, innermost first: inlined ones, then the function itself. Empty only when
    /// the pc is in no function body.
    #[must_use]
    pub fn frames(&self, pc: ModulePc) -> Vec<SourceFrame> {
        let _ = pc;
        Vec::new()
    }

    /// What is known about an instance; `None` for an id of another module.
    #[must_use]
    pub fn instance(&self, id: InstanceId) -> Option<Instance> {
        let _ = id;
        None
    }

    /// The name of a Wasm function: from DWARF, the name section, an export or import, else `func[N]`.
    #[must_use]
    pub fn function_name(&self, function: u32) -> FunctionName {
        let name: Arc<str> = format!("func[{function}]").into();
        FunctionName { full: name.clone(), short: name }
    }

    /// Where to plant a breakpoint on a function: `is_prime`, `Type::method`, `Trait::method`, a full
    /// path, with or without generic arguments, an export's name, or `func[N]`.
    ///
    /// # Errors
    /// No function has that name.
    pub fn break_function(&self, name: &str) -> Result<FunctionBinding, LookupError> {
        Err(LookupError::UnknownFunction { name: name.to_owned(), similar: Vec::new() })
    }

    /// The pc behind a Wasm function's prologue, where its parameters and frame are in place.
    #[must_use]
    pub fn after_prologue(&self, function: u32) -> Option<ModulePc> {
        self.module.function(function).map(|f| f.first_instruction)
    }

    /// All function names, sorted, for completion.
    #[must_use]
    pub fn function_names(&self) -> Vec<Arc<str>> {
        Vec::new()
    }
}
