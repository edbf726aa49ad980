//! Owns the choice of what a module's lines and functions are read from, and the form in which anything
//! but DWARF hands them over: one unit whose rows and functions are known from the start. What asks
//! ([`crate::lines`], `binding`, [`crate::functions`]) does not see the difference; such a unit has no
//! entries: its variables are the Wasm locals that have names (`named_locals`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::debug_info::{DebugInfo, UnitHead, UnitSlot};
use crate::dwarf::entries::UnitEntries;
use crate::error::DebugInfoError;
use crate::functions::frames::FunctionName;
use crate::language::Language;
use crate::lines::table::LineTable;
use crate::module::Module;
use crate::without_dwarf::go_table;
use crate::without_dwarf::named_locals;
use crate::without_dwarf::source_map::SourceMap;

/// Lines and functions that something else than DWARF told.
#[derive(Debug)]
pub(crate) struct Told {
    /// What told it, for [`crate::UnitInfo`].
    pub(crate) name: String,
    pub(crate) language: Language,
    /// Paths of the source files, by the rows' file numbers.
    pub(crate) files: Vec<Arc<str>>,
    pub(crate) lines: LineTable,
    pub(crate) functions: UnitEntries,
    /// Names of functions, by the numbers that the nodes of `functions` have as their origins.
    pub(crate) names: HashMap<u32, FunctionName>,
    /// The text of source files that came along.
    pub(crate) texts: HashMap<Arc<str>, Arc<str>>,
}

impl DebugInfo {
    /// The debug info that a module carries itself: DWARF, else a source map in its `sourceMappingURL`, else
    /// the table of Go's runtime.
    pub(crate) fn of(module: &Module) -> Option<DebugInfo> {
        DebugInfo::load(module).or_else(|| {
            let told = SourceMap::inside(module)
                .map(|map| map.and_then(|map| map.told(module).map_err(DebugInfoError::from)));
            Some(match told.or_else(|| go_table::read(module))? {
                Ok(told) => DebugInfo::told(module, told),
                Err(error) => DebugInfo::broken(module, error),
            })
        })
    }

    /// Debug info that is only lines and functions.
    pub(crate) fn told(module: &Module, told: Told) -> DebugInfo {
        let head = UnitHead { name: told.name, language: told.language, ..UnitHead::unreadable() };
        let slot = UnitSlot::told(head, told.files, told.lines, told.functions);
        let mut info = DebugInfo::of_units(module, vec![slot]);
        info.texts = told.texts;
        info.names = Mutex::new(told.names);
        info.types = Mutex::new(named_locals::types(told.language));
        info
    }

    /// Debug info of which nothing can be read.
    fn broken(module: &Module, error: DebugInfoError) -> DebugInfo {
        DebugInfo::of_units(module, vec![UnitSlot::broken(0, 0, error)])
    }
}
