//! The modules of a session and where their symbols come from. The only part of the session that reads
//! module files; a file is taken for a module only by its content.

mod disassembly;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wasmdbg_control::files;
use wasmdbg_control::filters::{FilterInfo, MAX_MODULE, ReadModule};
use wasmdbg_control::session::AttachedFilter;
use wasmdbg_control::{Client, FilterId, ModuleHash};
use wasmdbg_symbols::{DebugFileError, LookupError, Symbols};

pub use disassembly::CodeLine;
pub(crate) use disassembly::disassemble;

use crate::error::Error;
use crate::progress::Progress;
use crate::source::SourceFinder;

/// The most bytes of one request (`ReadModule::length`).
const MOST_BYTES: u32 = 512 * 1024;

/// The most bytes of a source map. Those of large programs have some 50 MB, their sources included.
const MOST_MAP: u64 = 256 << 20;

/// Where symbols may come from, in this order: `files`, the path the plugin read the module from, the
/// module's bytes over the socket.
#[derive(Debug, Clone)]
pub struct SymbolOptions {
    /// Local files: the module itself, its unstripped twin, a separate debug file, or a source map. Each is
    /// taken for the module whose content hash or code section it has, a source map for the one in which
    /// all that it maps are instructions.
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
    /// DWARF or a source map that can be read.
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

/// A module with its symbols.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) module: Module,
    /// `None` when not even the module's bytes could be had.
    pub(crate) symbols: Option<Arc<Symbols>>,
}

/// The modules of a session, in the order of its filters.
#[derive(Debug, Default)]
pub(crate) struct Modules {
    loaded: Vec<Loaded>,
}

impl Modules {
    /// Finds the symbols of all modules of `attached`.
    pub(crate) fn load(
        client: &Client,
        attached: &[AttachedFilter],
        filters: &[FilterInfo],
        options: &SymbolOptions,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Self, Error> {
        let mut modules = Self::default();
        let mut files = Vec::new();
        let mut notes = Vec::new();
        for path in &options.files {
            match std::fs::read(path) {
                Ok(bytes) => files.push(File { path: path.clone(), bytes: bytes.into(), taken: false }),
                Err(error) => notes.push(format!("cannot read the symbol file {}: {error}", path.display())),
            }
        }
        for filter in attached {
            if let Some(known) = modules.loaded.iter_mut().find(|known| known.module.hash == filter.module) {
                known.module.filters.push((filter.filter, filter.name.clone()));
                continue;
            }
            let info = filters.iter().find(|info| info.id == filter.filter);
            let mut search = Search { client, filter, info, options, notes: Vec::new() };
            let loaded = search.run(&mut files, progress)?;
            modules.loaded.push(loaded);
        }
        for file in files.iter().filter(|file| !file.taken) {
            let why = modules.refusal(&file.bytes);
            notes.push(format!("the symbol file {} is not used: {why}", file.path.display()));
        }
        for loaded in &mut modules.loaded {
            loaded.module.notes.extend(notes.iter().cloned());
        }
        Ok(modules)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Loaded> {
        self.loaded.iter()
    }

    pub(crate) fn get(&self, hash: ModuleHash) -> Option<&Loaded> {
        self.loaded.iter().find(|loaded| loaded.module.hash == hash)
    }

    /// Tells the finder of source files which there are, with the texts that came along.
    pub(crate) fn name_sources(&self, sources: &mut SourceFinder) {
        let mut known = Vec::new();
        for symbols in self.loaded.iter().filter_map(|loaded| loaded.symbols.as_ref()) {
            for file in symbols.source_files() {
                if let Some(text) = symbols.source_text(&file) {
                    sources.set_text(file.to_string(), text);
                }
                known.push(file.to_string());
            }
        }
        sources.set_known_files(known);
    }

    /// Takes a symbol file for the module it belongs to.
    pub(crate) fn add_file(&mut self, path: &Path) -> Result<Module, Error> {
        let bytes: Arc<[u8]> = std::fs::read(path)
            .map_err(|error| Error::Symbols(format!("cannot read {}: {error}", path.display())))?
            .into();
        for loaded in &mut self.loaded {
            let Some(running) = &loaded.symbols else { continue };
            if let Ok(symbols) =
                Symbols::with_debug_file(Arc::clone(running.module().bytes()), Arc::clone(&bytes))
            {
                loaded.module.debug_info = judge(&symbols, &mut loaded.module.notes);
                loaded.module.symbols_from = Some(path.to_owned());
                loaded.symbols = Some(Arc::new(symbols));
                return Ok(loaded.module.clone());
            }
        }
        Err(Error::Symbols(format!("{} is not used: {}", path.display(), self.refusal(&bytes))))
    }

    /// Why a file fits no module.
    fn refusal(&self, bytes: &Arc<[u8]>) -> String {
        let running = self.loaded.iter().find_map(|loaded| loaded.symbols.as_ref());
        let Some(running) = running else { return "no module of the session could be read".into() };
        match Symbols::with_debug_file(Arc::clone(running.module().bytes()), Arc::clone(bytes)) {
            Err(error) => error.to_string(),
            Ok(_) => "its module has symbols already".into(),
        }
    }
}

/// A symbol file that the user named.
struct File {
    path: PathBuf,
    bytes: Arc<[u8]>,
    taken: bool,
}

/// The search for one module's symbols.
struct Search<'a> {
    client: &'a Client,
    filter: &'a AttachedFilter,
    info: Option<&'a FilterInfo>,
    options: &'a SymbolOptions,
    notes: Vec<String>,
}

impl Search<'_> {
    fn run(&mut self, files: &mut [File], progress: &mut dyn FnMut(&Progress)) -> Result<Loaded, Error> {
        let named = files.iter_mut().find(|file| ModuleHash::of(&file.bytes) == self.filter.module);
        let (running, mut from) = match named {
            Some(file) => {
                file.taken = true;
                (Some(Arc::clone(&file.bytes)), Some(file.path.clone()))
            }
            None => match self.at_module_path() {
                Some((bytes, path)) => (Some(bytes), Some(path)),
                None if self.options.download => (Some(self.download(progress)?), None),
                None => (None, None),
            },
        };
        let symbols = running.and_then(|running| self.open(&running, files, &mut from));
        let debug_info = match &symbols {
            Some(symbols) => judge(symbols, &mut self.notes),
            None => DebugInfo::NamesOnly("the module could not be read: name its file".into()),
        };
        let filters = vec![(self.filter.filter, self.filter.name.clone())];
        let notes = std::mem::take(&mut self.notes);
        let module = Module { hash: self.filter.module, filters, symbols_from: from, debug_info, notes };
        Ok(Loaded { module, symbols: symbols.map(Arc::new) })
    }

    /// The file the plugin read, if it still is what runs.
    fn at_module_path(&mut self) -> Option<(Arc<[u8]>, PathBuf)> {
        let info = self.info.filter(|_| self.options.module_path)?;
        let path = PathBuf::from(&info.module_path);
        match files::read(&path, info.module_size.min(MAX_MODULE)) {
            Ok(bytes) if ModuleHash::of(&bytes) == self.filter.module => return Some((bytes.into(), path)),
            // Another one, and so is one that is larger.
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {}
            Err(_) => return None,
        }
        self.notes.push(format!(
            "{} was built again since the proxy loaded it: the symbols are of the build that runs; reload the \
             filter to debug the new one",
            path.display()
        ));
        None
    }

    fn download(&self, progress: &mut dyn FnMut(&Progress)) -> Result<Arc<[u8]>, Error> {
        let mut bytes = Vec::new();
        loop {
            let offset = bytes.len() as u64;
            let request = ReadModule { module: self.filter.module, offset, length: MOST_BYTES };
            let part = self.client.call(request)?;
            let done = offset + part.data.len() as u64;
            if done.max(part.size) > MAX_MODULE {
                let name = &self.filter.name;
                return Err(Error::Symbols(format!("the module of {name} is too large: more than 1 GB")));
            }
            progress(&Progress::ReadingModule { filter: self.filter.name.clone(), done, size: part.size });
            let empty = part.data.is_empty();
            bytes.extend(part.data);
            if done >= part.size || empty {
                break;
            }
        }
        if ModuleHash::of(&bytes) != self.filter.module {
            let name = &self.filter.name;
            return Err(Error::Symbols(format!("the module of {name} was not read whole: attach again")));
        }
        Ok(bytes.into())
    }

    /// Symbols for the module's bytes: with the user's file for it, its own, or the separate file it
    /// names.
    fn open(
        &mut self,
        running: &Arc<[u8]>,
        files: &mut [File],
        from: &mut Option<PathBuf>,
    ) -> Option<Symbols> {
        for file in files.iter_mut().filter(|file| !file.taken) {
            if let Ok(symbols) = Symbols::with_debug_file(Arc::clone(running), Arc::clone(&file.bytes)) {
                file.taken = true;
                *from = Some(file.path.clone());
                return Some(symbols);
            }
        }
        let own = match Symbols::new(Arc::clone(running)) {
            Ok(own) => own,
            Err(error) => {
                self.notes.push(error.to_string());
                return None;
            }
        };
        if own.has_debug_info() {
            return Some(own);
        }
        let file = from.clone().or_else(|| Some(PathBuf::from(&self.info?.module_path)));
        let found = self.external(&own, running);
        match found.or_else(|| self.source_map(&own, running, &file?)) {
            Some((symbols, path)) => {
                *from = Some(path);
                Some(symbols)
            }
            None => Some(own),
        }
    }

    /// The source map of a module, beside its file.
    fn source_map(&mut self, own: &Symbols, running: &Arc<[u8]>, file: &Path) -> Option<(Symbols, PathBuf)> {
        let paths = own.module().source_map_paths(file);
        let mut read = paths.iter().map(|path| (files::read(path, MOST_MAP), path));
        let found = read.find(|(bytes, _)| !bytes.as_ref().is_err_and(is_absent));
        let Some((bytes, path)) = found else {
            if let (Some(url), Some(path)) = (own.module().source_mapping_url(), paths.first()) {
                self.notes.push(format!(
                    "the module's source map {url} is not on this machine ({}): name its file",
                    path.display()
                ));
            }
            return None;
        };
        match with_file(running, bytes) {
            Ok(symbols) => Some((symbols, path.clone())),
            Err(why) => {
                self.notes.push(format!("the source map {} is not used: {why}", path.display()));
                None
            }
        }
    }

    /// The file that the module's `external_debug_info` section names, beside the module.
    fn external(&mut self, own: &Symbols, running: &Arc<[u8]>) -> Option<(Symbols, PathBuf)> {
        let name = own.module().external_debug_info()?;
        let folder = Path::new(&self.info?.module_path).parent()?.to_owned();
        let path = folder.join(name);
        // What would have been within the module.
        match with_file(running, files::read(&path, MAX_MODULE)) {
            Ok(symbols) => Some((symbols, path)),
            Err(why) => {
                self.notes.push(format!("the module's debug file {} is not used: {why}", path.display()));
                None
            }
        }
    }
}

/// Whether there is nothing at a path, as far as this user can see.
fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), NotADirectory | NotFound | PermissionDenied)
}

/// Symbols for a module with a file that was read for it, or why not.
fn with_file(running: &Arc<[u8]>, read: io::Result<Vec<u8>>) -> Result<Symbols, String> {
    let bytes = read.map_err(|error| error.to_string())?;
    Symbols::with_debug_file(Arc::clone(running), bytes.into())
        .map_err(|error: DebugFileError| error.to_string())
}

/// How good symbols are; what is broken goes to the notes.
fn judge(symbols: &Symbols, notes: &mut Vec<String>) -> DebugInfo {
    if !symbols.has_debug_info() {
        return DebugInfo::NamesOnly(LookupError::NoDebugInfo.to_string());
    }
    let units = symbols.units();
    // One message per kind of fault: a corrupt module has the same one in each unit.
    let mut faults: HashMap<&str, u32> = HashMap::new();
    let mut first = None;
    for problem in units.iter().filter_map(|unit| unit.problem.as_ref()) {
        *faults.entry(&problem.reason).or_default() += 1;
        first = first.or(Some(problem));
    }
    let Some(first) = first else {
        if units.is_empty() {
            return DebugInfo::NamesOnly(
                "the module's debug info has no units: it is corrupt; build it again".into(),
            );
        }
        return DebugInfo::Full;
    };
    let broken = faults.values().sum::<u32>() as usize;
    let text = format!("{first} ({broken} of {} units are corrupt): build the module again", units.len());
    notes.push(text.clone());
    if broken == units.len() { DebugInfo::NamesOnly(text) } else { DebugInfo::Full }
}
