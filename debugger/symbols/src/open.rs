//! Owns the ways to open a module, and the choice of what its lines and functions are read from: DWARF, a source
//! map, or the table of Go's runtime.

use std::sync::Arc;

use crate::cache::Cache;
use crate::debug_info::{DebugInfo, UnitSlot};
use crate::dwarf::unit::UnitHead;
use crate::error::{DebugFileError, DebugInfoError, ModuleError};
use crate::module::Module;
use crate::symbols::Symbols;
use crate::without_dwarf::line_info::LineInfo;
use crate::without_dwarf::source_map::SourceMap;
use crate::without_dwarf::{go_table, named_locals};

impl Symbols {
    /// Opens a module with the debug info it carries itself, if any: DWARF, of which only the section and
    /// unit headers are read now, a source map in a `data:` URL, or the table of Go's runtime.
    ///
    /// # Errors
    /// When the bytes are no core module. Missing or broken debug info is no error.
    pub fn new(wasm: Arc<[u8]>) -> Result<Symbols, ModuleError> {
        let module = Module::parse(wasm)?;
        if let Some(info) = DebugInfo::load(&module) {
            return Ok(Symbols::with(module, Some(info)));
        }
        Ok(match own_line_info(&module) {
            Some(Ok(lines)) => Symbols::from_line_info(module, lines),
            Some(Err(error)) => {
                let nothing = DebugInfo::of_unit(&module, UnitSlot::broken(error));
                Symbols::with(module, Some(nothing))
            }
            None => Symbols::with(module, None),
        })
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
            let lines = map.line_info(&module).map_err(|misfit| DebugFileError::OtherMap(misfit.0))?;
            return Ok(Symbols::from_line_info(module, lines));
        }
        let debug = parse(debug, "the debug file")?;
        let (ours, theirs) = (module.code_hash(), debug.code_hash());
        if ours != theirs {
            return Err(DebugFileError::OtherBuild { module: short_hash(&ours), debug: short_hash(&theirs) });
        }
        // The sections before the code may differ in length; DWARF counts from the code's start.
        let info = DebugInfo::load(&debug).ok_or(DebugFileError::NoDwarf)?.for_code(module.code());
        module.borrow_names(&debug);
        Ok(Symbols::with(module, Some(info)))
    }

    fn with(module: Module, info: Option<DebugInfo>) -> Symbols {
        let (names, types, stack_uses) = (Cache::default(), Cache::default(), Cache::default());
        Symbols { module, info, names, types, stack_uses }
    }

    /// With lines and functions alone, all of them known from the start. Variables are the Wasm locals that have
    /// names.
    fn from_line_info(module: Module, lines: LineInfo) -> Symbols {
        let head = UnitHead { name: lines.name, language: lines.language, ..UnitHead::unreadable() };
        let unit = UnitSlot::known(head, lines.files, lines.lines, lines.functions);
        let mut info = DebugInfo::of_unit(&module, unit);
        info.texts = lines.texts;
        Symbols {
            names: lines.names.into(),
            types: named_locals::types(lines.language).into(),
            ..Symbols::with(module, Some(info))
        }
    }
}

/// What a module without DWARF carries itself: a source map in its `sourceMappingURL`, else the table of Go's
/// runtime.
fn own_line_info(module: &Module) -> Option<Result<LineInfo, DebugInfoError>> {
    let of_map = |map: SourceMap| map.line_info(module).map_err(DebugInfoError::from);
    let mapped = SourceMap::inside(module).map(|map| map.and_then(of_map));
    mapped.or_else(|| go_table::read(module))
}

/// The first 6 bytes in hex: enough to tell two builds apart at a glance.
fn short_hash(hash: &[u8; 32]) -> String {
    hash[..6].iter().map(|byte| format!("{byte:02x}")).collect()
}
