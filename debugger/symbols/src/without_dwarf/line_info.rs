//! Owns the form in which anything but DWARF hands lines and functions over: one unit whose rows and functions are
//! known from the start. What asks for lines, breakpoints and functions does not see the difference; such a unit
//! has no entries: its variables are the Wasm locals that have names (`named_locals`).

use std::collections::HashMap;
use std::sync::Arc;

use crate::functions::name::FunctionName;
use crate::functions::tree::FunctionTree;
use crate::language::Language;
use crate::lines::table::LineTable;

/// Lines and functions that are not from DWARF.
#[derive(Debug)]
pub(crate) struct LineInfo {
    /// What it was read from, for [`crate::UnitInfo`].
    pub(crate) name: String,
    pub(crate) language: Language,
    /// Paths of the source files, by the rows' file numbers.
    pub(crate) files: Vec<Arc<str>>,
    pub(crate) lines: LineTable,
    pub(crate) functions: FunctionTree,
    /// Names of functions, by the numbers that the nodes of `functions` have as their origins.
    pub(crate) names: HashMap<u32, FunctionName>,
    /// The text of source files that came along.
    pub(crate) texts: HashMap<Arc<str>, Arc<str>>,
}
