//! Owns the form of a variable that is not yet read.

use std::sync::Arc;

use crate::ids::{InstanceId, TypeId};
use crate::lines::position::Position;

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
    /// The entry (`.debug_info` offset) whose location counts; without DWARF the Wasm local.
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
