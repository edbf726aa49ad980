//! Owns [`Symbols`], the one object a debugger or profiler asks: what it holds. It is opened in `open`, and the
//! questions are answered in the files of their topic.

use std::sync::Arc;

use crate::cache::Cache;
use crate::debug_info::DebugInfo;
use crate::dwarf::unit::UnitHead;
use crate::error::DebugInfoError;
use crate::functions::name::FunctionName;
use crate::language::Language;
use crate::module::Module;
use crate::types::Type;
use crate::variables::frame_setup::StackUse;
use wasmdbg_code_address::ModulePc;

/// Everything known about one module. `Send + Sync`, cheap to open, filled on demand.
#[derive(Debug)]
pub struct Symbols {
    pub(crate) module: Module,
    pub(crate) info: Option<DebugInfo>,
    /// Names of functions, by their entries.
    pub(crate) names: Cache<FunctionName>,
    /// Types, by their ids.
    pub(crate) types: Cache<Arc<Type>>,
    /// What was read of functions' prologues, by index.
    pub(crate) stack_uses: Cache<StackUse>,
}

/// A compilation unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitInfo {
    /// DW_AT_name, may carry a suffix (rustc: `src/lib.rs/@/name.1234-cgu.0`).
    pub name: String,
    /// DW_AT_producer.
    pub producer: String,
    /// The language it was written in.
    pub language: Language,
    /// DWARF version, 2 to 5; 0 for what is not DWARF.
    pub version: u16,
    /// Why its debug info cannot be used, in whole or in part.
    pub problem: Option<DebugInfoError>,
}

impl Symbols {
    /// The split module.
    #[must_use]
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// Whether there is DWARF or another source of lines to ask. Without it names and pcs still work, lines
    /// and variables do not.
    #[must_use]
    pub fn has_debug_info(&self) -> bool {
        self.info.is_some()
    }

    /// The text of a source file that came with the debug info (`sourcesContent` of a source map).
    #[must_use]
    pub fn source_text(&self, path: &str) -> Option<Arc<str>> {
        self.info.as_ref()?.texts.get(path).cloned()
    }

    /// The compilation units, with what is wrong with them as far as known by now.
    #[must_use]
    pub fn units(&self) -> Vec<UnitInfo> {
        let Some(info) = &self.info else { return Vec::new() };
        (0..info.units.len() as u32).map(|index| unit_info(info, index)).collect()
    }

    /// The language of the code at a pc.
    #[must_use]
    pub fn language_at(&self, pc: ModulePc) -> Language {
        let Some(info) = &self.info else { return Language::Other };
        info.unit_at(pc).map_or(Language::Other, |unit| info.language(unit))
    }
}

fn unit_info(info: &DebugInfo, index: u32) -> UnitInfo {
    let slot = &info.units[index as usize];
    let head = info.head(index).cloned().unwrap_or_else(|_| UnitHead::unreadable());
    let split = head.split.map(|file| {
        let reason =
            format!("the unit's entries are in `{file}`, which is not read; compile without -gsplit-dwarf");
        DebugInfoError::dwarf(slot.extent.start, reason)
    });
    UnitInfo {
        name: head.name,
        producer: head.producer,
        language: head.language,
        version: slot.version,
        problem: slot.problem().or(split),
    }
}
