//! Owns what is known of a `.wasm` file without its debug info: function bodies, names, globals, custom
//! sections, hashes. Never looks inside DWARF.

mod control_flow;
mod names;
mod sections;

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use self::names::Names;
use wasmdbg_code_address::{CodeSection, ModuleHash, ModulePc, PcRange};

/// A Wasm value type, as far as locals and globals are told apart when they are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValType {
    /// 32-bit integer, also every pointer.
    I32,
    /// 64-bit integer.
    I64,
    /// 32-bit float.
    F32,
    /// 64-bit float.
    F64,
    /// 128-bit vector.
    V128,
    /// A reference.
    Ref,
}

impl From<wasmparser::ValType> for ValType {
    fn from(ty: wasmparser::ValType) -> ValType {
        match ty {
            wasmparser::ValType::I32 => ValType::I32,
            wasmparser::ValType::I64 => ValType::I64,
            wasmparser::ValType::F32 => ValType::F32,
            wasmparser::ValType::F64 => ValType::F64,
            wasmparser::ValType::V128 => ValType::V128,
            wasmparser::ValType::Ref(_) => ValType::Ref,
        }
    }
}

/// A function that the module defines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Index in the function index space, imports counted.
    pub index: u32,
    /// The body behind its size field: local declarations, then instructions.
    pub body: PcRange,
    /// The first instruction, behind the local declarations.
    pub first_instruction: ModulePc,
    /// Types of the parameters, which are the first locals.
    pub params: Vec<ValType>,
    /// Types of the results.
    pub results: Vec<ValType>,
    /// Declared locals as runs of (count, type), behind the parameters.
    pub local_runs: Vec<(u32, ValType)>,
}

impl Function {
    /// Number of parameters and locals.
    #[must_use]
    pub fn local_count(&self) -> u64 {
        self.params.len() as u64 + self.local_runs.iter().map(|(n, _)| u64::from(*n)).sum::<u64>()
    }

    /// Type of local `index`, parameters first.
    #[must_use]
    pub fn local_type(&self, index: u32) -> Option<ValType> {
        if let Some(ty) = self.params.get(index as usize) {
            return Some(*ty);
        }
        let mut rest = u64::from(index) - self.params.len() as u64;
        for (count, ty) in &self.local_runs {
            if rest < u64::from(*count) {
                return Some(*ty);
            }
            rest -= u64::from(*count);
        }
        None
    }
}

/// An import, of any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Module part of the name.
    pub module: String,
    /// Field part of the name.
    pub name: String,
    /// What is imported.
    pub kind: ImportKind,
}

/// What an import is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportKind {
    /// A function with its index.
    Function(u32),
    /// A global with its index.
    Global(u32),
    /// A memory.
    Memory,
    /// A table.
    Table,
    /// A tag.
    Tag,
}

/// A global, imported or defined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Global {
    /// Its type.
    pub ty: ValType,
    /// Whether code may change it.
    pub mutable: bool,
    /// Whether it is imported.
    pub imported: bool,
}

/// An exported function or other item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Name.
    pub name: String,
    /// Kind: `func`, `table`, `memory`, `global` or `tag`.
    pub kind: &'static str,
    /// Index in the index space of its kind.
    pub index: u32,
}

/// A custom section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomSection {
    /// Its name.
    pub name: String,
    /// Its contents, as offsets in the file.
    pub range: Range<usize>,
}

/// A module split into its parts. Holds the bytes; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Module {
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) code: CodeSection,
    pub(crate) functions: Vec<Function>,
    pub(crate) imports: Vec<Import>,
    pub(crate) imported_functions: u32,
    pub(crate) globals: Vec<Global>,
    pub(crate) exports: Vec<Export>,
    pub(crate) customs: Vec<CustomSection>,
    pub(crate) names: Names,
    /// The data segments with an address that is a constant: it, and the bytes in the file.
    pub(crate) data: Vec<(u32, Range<usize>)>,
    pub(crate) export_of_function: HashMap<u32, usize>,
}

impl Module {
    /// The whole file.
    #[must_use]
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// Where the code lies.
    #[must_use]
    pub fn code(&self) -> CodeSection {
        self.code
    }

    /// The functions that the module defines, by rising address and index.
    #[must_use]
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// The defined function with this index in the function index space; `None` for imports.
    #[must_use]
    pub fn function(&self, index: u32) -> Option<&Function> {
        self.functions.get(index.checked_sub(self.imported_functions)? as usize)
    }

    /// The function whose body holds `pc`.
    #[must_use]
    pub fn function_at(&self, pc: ModulePc) -> Option<&Function> {
        let after = self.functions.partition_point(|f| f.body.start <= pc);
        let function = &self.functions[after.checked_sub(1)?];
        function.body.contains(pc).then_some(function)
    }

    /// Number of imported functions: the index of the first defined one.
    #[must_use]
    pub fn imported_functions(&self) -> u32 {
        self.imported_functions
    }

    /// All imports.
    #[must_use]
    pub fn imports(&self) -> &[Import] {
        &self.imports
    }

    /// All globals, imported ones first.
    #[must_use]
    pub fn globals(&self) -> &[Global] {
        &self.globals
    }

    /// All exports.
    #[must_use]
    pub fn exports(&self) -> &[Export] {
        &self.exports
    }

    /// The name that the name section or, failing that, an export or import gives a function.
    /// As in the file: mangled names stay mangled.
    #[must_use]
    pub fn raw_function_name(&self, index: u32) -> Option<&str> {
        if let Some(name) = self.names.functions.get(&index) {
            return Some(name);
        }
        if let Some(at) = self.export_of_function.get(&index) {
            return Some(&self.exports[*at].name);
        }
        self.imports.iter().find(|i| i.kind == ImportKind::Function(index)).map(|i| i.name.as_str())
    }

    /// The index of an exported function.
    #[must_use]
    pub fn exported_function(&self, name: &str) -> Option<u32> {
        self.exports.iter().find(|e| e.kind == "func" && e.name == name).map(|e| e.index)
    }

    /// The name of a local from the name section.
    #[must_use]
    pub fn local_name(&self, function: u32, local: u32) -> Option<&str> {
        self.names.local(function, local)
    }

    /// The name of a global from the name section or an export.
    #[must_use]
    pub fn global_name(&self, index: u32) -> Option<&str> {
        self.names.globals.get(&index).map(String::as_str).or_else(|| {
            self.exports.iter().find(|e| e.kind == "global" && e.index == index).map(|e| e.name.as_str())
        })
    }

    /// The global that compiled C, C++ and Rust code uses as its stack pointer: the one so named, else
    /// global 0 when that is a mutable i32, which is where wasm-ld puts it.
    #[must_use]
    pub fn stack_pointer_global(&self) -> Option<u32> {
        let fits = |g: &Global| g.mutable && g.ty == ValType::I32;
        if let Some((index, _)) = self.names.globals.iter().find(|(_, name)| *name == "__stack_pointer") {
            return self.globals.get(*index as usize).filter(|g| fits(g)).map(|_| *index);
        }
        self.globals.first().filter(|g| fits(g)).map(|_| 0)
    }

    /// All custom sections in file order.
    #[must_use]
    pub fn custom_sections(&self) -> &[CustomSection] {
        &self.customs
    }

    /// The contents of the first custom section with this name.
    #[must_use]
    pub fn custom_section(&self, name: &str) -> Option<&[u8]> {
        self.custom_range(name).map(|range| &self.bytes[range])
    }

    pub(crate) fn custom_range(&self, name: &str) -> Option<Range<usize>> {
        self.customs.iter().find(|s| s.name == name).map(|s| s.range.clone())
    }

    /// The tools that the `producers` section names, as (field, name, version). It may name only
    /// libc's compiler: DW_AT_producer is the better witness.
    #[must_use]
    pub fn producers(&self) -> Vec<(String, String, String)> {
        self.custom_range("producers").map_or_else(Vec::new, |range| {
            names::producers(&self.bytes[range.clone()], range.start).unwrap_or_default()
        })
    }

    /// The name of a separate debug file in the `external_debug_info` section (WebAssembly tool
    /// conventions, "External DWARF"): a path or URL, relative to the module.
    #[must_use]
    pub fn external_debug_info(&self) -> Option<String> {
        self.string_section("external_debug_info")
    }

    /// The URL of a source map, in the `sourceMappingURL` section (AssemblyScript).
    #[must_use]
    pub fn source_mapping_url(&self) -> Option<String> {
        self.string_section("sourceMappingURL")
    }

    /// Where the source map of a module in `file` may lie, the likeliest first: what `sourceMappingURL`
    /// says relative to the file, the last part of that (a compiler may have been told a server's URL), and
    /// `.map` behind the file's own name. Empty when the module carries its map itself.
    #[must_use]
    pub fn source_map_paths(&self, file: &Path) -> Vec<PathBuf> {
        let url = self.source_mapping_url().unwrap_or_default();
        if url.starts_with("data:") {
            return Vec::new();
        }
        let path = url.split(['?', '#']).next().filter(|path| !path.contains("://")).unwrap_or_default();
        let last = url.rsplit('/').next().and_then(|last| last.split(['?', '#']).next()).unwrap_or_default();
        let mut own = file.file_name().unwrap_or_default().to_owned();
        own.push(".map");
        let names = [Path::new(path), Path::new(last), Path::new(&own)];
        let mut paths = Vec::new();
        for name in names.into_iter().filter(|name| name.file_name().is_some()) {
            let path = file.with_file_name("").join(name);
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        paths
    }

    fn string_section(&self, name: &str) -> Option<String> {
        let mut reader = wasmparser::BinaryReader::new(self.custom_section(name)?, 0);
        reader.read_string().ok().map(str::to_owned)
    }

    /// The hash of the whole file.
    #[must_use]
    pub fn hash(&self) -> ModuleHash {
        ModuleHash::of(&self.bytes)
    }

    /// SHA-256 of the contents of the code section: equal for a module and its stripped copy.
    #[must_use]
    pub fn code_hash(&self) -> [u8; 32] {
        let start = self.code.start.0 as usize;
        Sha256::digest(&self.bytes[start..start + self.code.len as usize]).into()
    }

    /// Takes the names that a stripped module lacks from a file with the same code.
    pub(crate) fn borrow_names(&mut self, other: &Module) {
        if self.names.functions.is_empty() {
            self.names = other.names.clone();
        }
    }

    /// What the data segments make of the memory, from address 0 on. Segments far behind the others are
    /// left out: the image is no more than sixteen times the file.
    pub(crate) fn initial_memory(&self) -> Vec<u8> {
        let most = self.bytes.len().saturating_mul(16);
        let end = |(address, range): &(u32, Range<usize>)| *address as usize + range.len();
        let size = self.data.iter().map(end).filter(|end| *end <= most).max().unwrap_or(0);
        let mut memory = vec![0; size];
        for (address, range) in &self.data {
            let at = *address as usize;
            if let Some(place) = memory.get_mut(at..at + range.len()) {
                place.copy_from_slice(&self.bytes[range.clone()]);
            }
        }
        memory
    }

    /// The bytes of a function body, local declarations first.
    #[must_use]
    pub fn body_bytes(&self, function: &Function) -> &[u8] {
        &self.bytes[function.body.bytes()]
    }

    /// Whether the file has DWARF of its own.
    #[must_use]
    pub fn has_dwarf(&self) -> bool {
        self.custom_range(".debug_info").is_some_and(|r| !r.is_empty())
    }
}
