//! Owns which variables exist at a pc, per frame, and which statics a unit has.
//! Never evaluates where they are: that is `location`.

use std::sync::Arc;

use crate::address::ModulePc;
use crate::error::DwarfError;
use crate::functions::InstanceId;
use crate::lines::Position;
use crate::symbols::Symbols;
use crate::types::TypeId;

/// What a variable is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VariableKind {
    /// A parameter.
    Argument,
    /// A local.
    Local,
    /// Of a unit, namespace or function, with one place for all.
    Static,
}

/// A variable, not yet read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name; for a static of a namespace its last part.
    pub name: Arc<str>,
    /// Its name with namespaces; equal to `name` for locals and arguments.
    pub full_name: Arc<str>,
    /// What it is.
    pub kind: VariableKind,
    /// Its type; `None` when the debug info gives none.
    pub ty: Option<TypeId>,
    /// Where it is declared.
    pub declared: Option<Position>,
    /// How many lexical blocks deep it is in its function; a deeper one hides those of the same name.
    pub depth: u32,
    /// Made by the compiler (DW_AT_artificial), such as `this`.
    pub artificial: bool,
    /// The entry (`.debug_info` offset) whose location counts.
    pub(crate) entry: u32,
    /// The instance it lives in; `None` for statics of a unit.
    pub(crate) instance: Option<InstanceId>,
}

impl Variable {
    /// Whether the variable is declared at or before a line. In C and C++ a block's variables are all in
    /// scope from its start, and hold garbage before their declaration has run.
    #[must_use]
    pub fn declared_by(&self, position: &Position) -> bool {
        self.declared.as_ref().is_none_or(|d| d.path != position.path || d.line <= position.line)
    }
}

impl Symbols {
    /// The variables of one frame at a pc: arguments in order, then locals, outer blocks first.
    ///
    /// # Errors
    /// When the function's debug info is broken.
    pub fn variables(&self, instance: InstanceId, pc: ModulePc) -> Result<Vec<Variable>, DwarfError> {
        let _ = (instance, pc);
        Ok(Vec::new())
    }

    /// The statics of the unit that holds `pc`, by name.
    ///
    /// # Errors
    /// When the unit's debug info is broken.
    pub fn statics(&self, pc: ModulePc) -> Result<Vec<Variable>, DwarfError> {
        let _ = pc;
        Ok(Vec::new())
    }

    /// The statics in all units whose name or end of path is `name` (`COUNTER`, `stats::COUNTER`); those
    /// of the unit at `near` first.
    #[must_use]
    pub fn find_statics(&self, name: &str, near: Option<ModulePc>) -> Vec<Variable> {
        let _ = (name, near);
        Vec::new()
    }
}
