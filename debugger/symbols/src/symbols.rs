//! Owns [`Symbols`], the one object a debugger or profiler asks. The questions are answered in the
//! files of their topic.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::debug_info::{DebugInfo, UnitHead};
use crate::error::{DebugFileError, DebugInfoError, ModuleError};
use crate::language::Language;
use crate::module::Module;
use crate::variables::frame_setup::StackUse;
use crate::without_dwarf::source_map::SourceMap;
use wasmdbg_code_address::ModulePc;

/// Everything known about one module. `Send + Sync`, cheap to open, filled on demand.
#[derive(Debug)]
pub struct Symbols {
    pub(crate) module: Module,
    pub(crate) info: Option<DebugInfo>,
    /// What was read of the functions' prologues.
    pub(crate) stack_uses: Mutex<HashMap<u32, StackUse>>,
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
    /// Opens a module with the debug info it carries itself, if any: DWARF, of which only the section and
    /// unit headers are read now, a source map in a `data:` URL, or the table of Go's runtime.
    ///
    /// # Errors
    /// When the bytes are no core module. Missing or broken debug info is no error.
    pub fn new(wasm: Arc<[u8]>) -> Result<Symbols, ModuleError> {
        let module = Module::parse(wasm)?;
        let info = DebugInfo::of(&module);
        Ok(Symbols { module, info, stack_uses: Mutex::default() })
    }

    /// Opens the module that runs, with debug info from a separate file: an unstripped copy, the file that
    /// `external_debug_info` names, or a source map.
    ///
    /// # Errors
    /// When one of the two is no core module, the code sections differ (another build), or the file
    /// has no DWARF; when the source map cannot be read or names pcs at which the module has no instruction.
    pub fn with_debug_file(wasm: Arc<[u8]>, debug: Arc<[u8]>) -> Result<Symbols, DebugFileError> {
        let parse =
            |bytes, which| Module::parse(bytes).map_err(|source| DebugFileError::Module { which, source });
        let mut module = parse(wasm, "the module")?;
        if SourceMap::is_one(&debug) {
            let map = SourceMap::parse(&debug).map_err(DebugFileError::SourceMap)?;
            let told = map.told(&module).map_err(|misfit| DebugFileError::OtherMap(misfit.0))?;
            let info = DebugInfo::told(&module, told);
            return Ok(Symbols { module, info: Some(info), stack_uses: Mutex::default() });
        }
        let debug = parse(debug, "the debug file")?;
        let (ours, theirs) = (module.code_hash(), debug.code_hash());
        if ours != theirs {
            return Err(DebugFileError::OtherBuild { module: short_hash(&ours), debug: short_hash(&theirs) });
        }
        // The sections before the code may differ in length; DWARF counts from the code's start.
        let info = DebugInfo::load(&debug).ok_or(DebugFileError::NoDwarf)?.for_code(module.code());
        module.borrow_names(&debug);
        Ok(Symbols { module, info: Some(info), stack_uses: Mutex::default() })
    }

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
        DebugInfoError::dwarf(slot.offset, reason)
    });
    UnitInfo {
        name: head.name,
        producer: head.producer,
        language: head.language,
        version: slot.version,
        problem: slot.problem().or(split),
    }
}

/// The first 6 bytes in hex: enough to tell two builds apart at a glance.
fn short_hash(hash: &[u8; 32]) -> String {
    hash[..6].iter().map(|byte| format!("{byte:02x}")).collect()
}
