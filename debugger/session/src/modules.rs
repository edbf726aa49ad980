//! The modules of a session and where their symbols come from.

use std::path::PathBuf;

use wasmdbg_control::{FilterId, ModuleHash};

/// Where symbols may come from, in this order: `files`, the path the plugin read the module from, the
/// module's bytes over the socket.
#[derive(Debug, Clone)]
pub struct SymbolOptions {
    /// Local `.wasm` files: the module itself, its unstripped twin, or a separate debug file. Each is
    /// taken for the module whose content hash or code section it has.
    pub files: Vec<PathBuf>,
    /// Try the path the plugin read the module from.
    pub module_path: bool,
    /// Read modules that were not found over the socket.
    pub download: bool,
}

impl Default for SymbolOptions {
    fn default() -> Self {
        Self { files: Vec::new(), module_path: true, download: true }
    }
}

/// How good a module's symbols are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DebugInfo {
    /// DWARF that can be read.
    Full,
    /// Function names and pcs only, and why, and what to do.
    NamesOnly(String),
}

/// A module that runs in the session's filters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Its content hash.
    pub hash: ModuleHash,
    /// The filters that run it, with their names.
    pub filters: Vec<(FilterId, String)>,
    /// The file its symbols came from; `None`: read over the socket.
    pub symbols_from: Option<PathBuf>,
    /// How good they are.
    pub debug_info: DebugInfo,
    /// What the user should know: a file that was not taken and why, DWARF that is corrupt.
    pub notes: Vec<String>,
}
