//! Finds the module that an image was compiled from. An image does not name it: candidates come from the
//! proxy's control socket, from the target's command line, and from the user, and one is taken only when
//! the code itself agrees.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use wasmdbg_control::ModuleHash;
use wasmdbg_control::client::AttachError;
use wasmdbg_control::code::{CodeImage, ListCode, ReadCode};
use wasmdbg_control::discover::{self, Socket};
use wasmdbg_control::filters::{FilterInfo, ListFilters, ReadModule};
use wasmdbg_symbols::{Module, Symbols};

use crate::code::image::{CodeKind, Image};
use crate::limits::{self, Budget, Notes, TooMuch};
use crate::recording::WasmInfo;
use crate::target::Target;
use crate::target::proxy::Proxy;

/// A module that the target may run.
#[derive(Debug)]
struct Candidate {
    /// The name of its file; none of one that the proxy gave, whose filters have names.
    file: Option<String>,
    module: Module,
    hash: ModuleHash,
    /// The source map beside its file, if that is of this build.
    source_map: Option<Arc<[u8]>>,
}

impl Candidate {
    fn is_given(&self) -> bool {
        self.file.is_none()
    }

    fn source(&self) -> &'static str {
        if self.is_given() { "socket" } else { "file" }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Modules {
    candidates: Vec<Candidate>,
    /// The proxy's filters by their modules, which may be left out.
    filters: HashMap<ModuleHash, BTreeSet<String>>,
    /// Modules of the proxy that are not taken: each is tried once.
    left_out: HashSet<ModuleHash>,
    debug_files: Vec<Module>,
    /// Files of the proxy's folders that were looked at, as they were then.
    looked_at: HashSet<(PathBuf, u64, u64, SystemTime)>,
    /// Modules, and the paths beside which their source maps were looked for.
    looked_beside: HashSet<(ModuleHash, PathBuf)>,
    /// Source maps that the user named.
    source_maps: Vec<Arc<[u8]>>,
    notes: Notes,
    proxy: Option<Proxy>,
    /// The proxy's file system as we reach it.
    root: PathBuf,
    /// Where the proxy says its code lies.
    code: Vec<CodeImage>,
    /// Of modules, copies of them, and source maps.
    budget: Budget,
}

impl Default for Modules {
    fn default() -> Self {
        Self::within(limits::MODULES)
    }
}

/// What was found for an image.
#[derive(Debug, Clone)]
pub struct Identity {
    /// For the recording.
    pub info: WasmInfo,
    /// The module.
    pub module: Option<(ModuleHash, Arc<[u8]>)>,
    /// An unstripped copy of it or its source map, when it has no debug info itself.
    pub debug_file: Option<Arc<[u8]>>,
}

/// Why a proxy does not name its filters.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It does not answer us.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// Its socket cannot be found.
    #[error("{0}")]
    Hidden(String),
    /// Not the one that is recorded.
    #[error("{path} is the socket of process {pid}, not of process {wanted}")]
    Another {
        /// The socket.
        path: PathBuf,
        /// Whose it is.
        pid: u32,
        /// The process that is recorded.
        wanted: u32,
    },
}

/// Bytes of a module in one answer.
const CHUNK: u32 = 512 << 10;

impl Modules {
    /// No candidates yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// As [`Modules::new`], with room for so much.
    #[must_use]
    pub fn within(budget: Budget) -> Self {
        Self {
            candidates: Vec::new(),
            filters: HashMap::new(),
            left_out: HashSet::new(),
            debug_files: Vec::new(),
            looked_at: HashSet::new(),
            looked_beside: HashSet::new(),
            source_maps: Vec::new(),
            notes: Notes::default(),
            proxy: None,
            root: PathBuf::new(),
            code: Vec::new(),
            budget,
        }
    }

    /// Asks the proxy at `socket`, or the one that `target` is, for its filters. False when it is no proxy
    /// with the plugin.
    ///
    /// # Errors
    /// It is one, and does not answer us; or `socket` is another process's.
    pub fn ask_proxy(&mut self, target: &Target, socket: Option<&Path>) -> Result<bool, AskError> {
        let mut last = None;
        let paths = match socket {
            Some(path) => vec![path.to_owned()],
            None => match discover::proxy(target.pid()).map(|proxy| proxy.socket) {
                Ok(Socket::At(paths)) => paths,
                // Its socket may be open to us although the process is not.
                Ok(Socket::Hidden { reason }) => {
                    last = Some(AskError::Hidden(reason));
                    strangers()
                }
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => strangers(),
                Ok(Socket::Closed { .. }) | Err(_) => return Ok(false),
            },
        };
        let start = Instant::now();
        for path in paths {
            // A target may listen at any number of sockets and never greet.
            let patience = limits::ANSWER.saturating_sub(start.elapsed());
            if patience.is_zero() {
                break;
            }
            let patience = Duration::from_secs_f64(patience.as_secs_f64().ceil());
            match Proxy::connect(&path, patience) {
                Ok(proxy) if proxy.pid() == target.pid() => {
                    self.proxy = Some(proxy);
                    self.root = target.root();
                    self.ask_again();
                    return Ok(true);
                }
                Ok(proxy) if socket.is_some() => {
                    return Err(AskError::Another { path, pid: proxy.pid(), wanted: target.pid() });
                }
                Ok(_) => {}
                // Of several strangers the one that knows us and says no tells most.
                Err(error) => last = Some(AskError::Attach(error)),
            }
        }
        last.map_or(Ok(false), Err)
    }

    /// The compiled images of the proxy's filters as the proxy itself gives them, each with the address of
    /// its text: for who may not read them from its memory. None from a plugin that is too old for this.
    #[must_use]
    pub fn images(&mut self) -> Vec<(u64, Image)> {
        let Some(proxy) = self.proxy.as_mut().filter(|proxy| proxy.can("read_code")) else {
            return Vec::new();
        };
        let mut budget = limits::IMAGES;
        let mut images = Vec::new();
        for code in &self.code {
            let read = |offset| ReadCode { filter: code.filter, offset, length: CHUNK };
            let bytes = match proxy.read_whole(&mut budget, read, |part| (part.size, part.data)) {
                Ok(Some(bytes)) => bytes,
                Ok(None) => continue,
                Err(why) => {
                    self.notes.add(&format!("the code of filter {} is left out: {why}", code.name));
                    continue;
                }
            };
            let image = Image::parse(&bytes).ok().filter(|image| image.code.len() as u64 == code.size);
            images.extend(image.map(|image| (code.address, image)));
        }
        self.part_from_proxy();
        images
    }

    /// Looks whether the proxy is still one to ask. Once in a while is enough.
    pub fn heed(&mut self) {
        if let Some(proxy) = &mut self.proxy {
            proxy.heed();
        }
        self.part_from_proxy();
    }

    /// Ends the connection to a proxy that is not asked any more.
    fn part_from_proxy(&mut self) {
        if let Some(why) = self.proxy.as_ref().and_then(Proxy::fault) {
            self.notes.add(&format!(
                "the proxy is not asked any more, and filters that it has not named have no names: {why}"
            ));
            self.proxy = None;
        }
    }

    /// Takes what the proxy loaded since.
    pub fn ask_again(&mut self) {
        let Some(mut proxy) = self.proxy.take() else { return };
        if proxy.can("code")
            && let Some(list) = proxy.ask(ListCode {})
        {
            self.code = list.images;
        }
        for filter in proxy.ask(ListFilters {}).map(|list| list.filters).into_iter().flatten() {
            self.take_filter(&mut proxy, filter);
        }
        self.proxy = Some(proxy);
        self.part_from_proxy();
    }

    /// Takes the module of a filter, once for all filters that have it, and what lies beside its file.
    fn take_filter(&mut self, proxy: &mut Proxy, filter: FilterInfo) {
        let Some(hash) = filter.module else { return };
        let path = self.root.join(filter.module_path.trim_start_matches('/'));
        self.filters.entry(hash).or_default().insert(filter.name.clone());
        let place = (hash, path);
        if self.left_out.contains(&hash) || self.looked_beside.contains(&place) {
            return;
        }
        let known = self.candidates.iter().find(|candidate| candidate.hash == hash);
        if !known.is_some_and(Candidate::is_given) {
            let bytes = match known {
                Some(file) => Arc::clone(file.module.bytes()),
                None => match self.read_module(proxy, &filter.name, hash) {
                    Some(bytes) => bytes,
                    None => return,
                },
            };
            let Ok(module) = Module::parse(bytes) else {
                self.left_out.insert(hash);
                return;
            };
            self.candidates.push(Candidate { file: None, module, hash, source_map: None });
        }
        // A copy with debug info often lies beside it, in the proxy's own file system.
        self.look_beside(&place.1);
        let given = |candidate: &Candidate| candidate.is_given() && candidate.hash == hash;
        if let Some(index) = self.candidates.iter().position(given)
            && self.candidates[index].source_map.is_none()
        {
            let module = self.candidates[index].module.clone();
            self.candidates[index].source_map = self.source_map(&module, &place.1);
        }
        self.looked_beside.insert(place);
    }

    fn read_module(&mut self, proxy: &mut Proxy, filter: &str, hash: ModuleHash) -> Option<Arc<[u8]>> {
        let read = |offset| ReadModule { module: hash, offset, length: CHUNK };
        let why = match proxy.read_whole(&mut self.budget, read, |part| (part.size, part.data)) {
            Ok(bytes) if ModuleHash::of(bytes.as_ref()?) == hash => return bytes.map(Arc::from),
            Ok(_) => "its bytes are not those of its hash".to_owned(),
            Err(why) => why.to_string(),
        };
        self.notes.add(&format!("the module of filter {filter} is left out: {why}"));
        self.left_out.insert(hash);
        None
    }

    /// Takes modules that the target's command line names.
    pub fn look_at_command(&mut self, target: &Target) {
        for path in target.named_modules() {
            if let Err(error) = self.add_file(&path)
                && error.get_ref().is_some_and(|why| why.is::<TooMuch>())
            {
                self.notes.add(&format!("{} is left out: {error}", path.display()));
            }
        }
    }

    /// Takes a file (a module or, if it is called `.map`, a source map), or all modules of a folder, that the
    /// user names.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn add_file(&mut self, path: &Path) -> std::io::Result<()> {
        if path.is_dir() {
            for entry in std::fs::read_dir(path)?.flatten() {
                if entry.path().extension().is_some_and(|extension| extension == "wasm") {
                    self.add_file(&entry.path())?;
                }
            }
            return Ok(());
        }
        let bytes: Arc<[u8]> = limits::read(path, &mut self.budget)?.into();
        if path.extension().is_some_and(|extension| extension == "map") {
            self.source_maps.push(bytes);
            return Ok(());
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !bytes.starts_with(b"\0asm") {
            return Err(std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                "it is neither a Wasm module (.wasm) nor a source map (.map)",
            ));
        }
        self.add(name, path, bytes);
        Ok(())
    }

    /// What the user should know: debug info that was found and is not used, and why.
    pub fn notes(&self) -> impl Iterator<Item = String> {
        self.notes.iter()
    }

    /// Takes unstripped copies from the folder of a module.
    fn look_beside(&mut self, path: &Path) {
        let folder = path.parent().and_then(|folder| std::fs::read_dir(folder).ok());
        let modules = folder.into_iter().flatten().flatten().map(|entry| entry.path());
        let is_module = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "wasm");
        for path in modules.filter(is_module).take(limits::MODULE_FILES) {
            // Many filters may have their modules in one folder.
            let state = path.metadata().and_then(|data| Ok((data.ino(), data.len(), data.modified()?)));
            let Ok((inode, length, modified)) = state else { continue };
            if !self.looked_at.insert((path.clone(), inode, length, modified)) {
                continue;
            }
            // One without debug info is not kept, and does not count.
            let before = self.budget.clone();
            match limits::read(&path, &mut self.budget) {
                Ok(bytes) => match Module::parse(bytes.into()) {
                    Ok(module) if module.has_dwarf() => self.debug_files.push(module),
                    _ => self.budget = before,
                },
                Err(error) if error.get_ref().is_some_and(|why| why.is::<TooMuch>()) => {
                    self.notes.add(&format!("{} is left out: {error}", path.display()));
                }
                Err(_) => {}
            }
        }
    }

    fn add(&mut self, name: String, path: &Path, bytes: Arc<[u8]>) {
        let hash = ModuleHash::of(&bytes);
        let Ok(module) = Module::parse(bytes) else { return };
        if module.has_dwarf() {
            self.debug_files.push(module.clone());
        }
        let source_map = self.source_map(&module, path);
        self.candidates.push(Candidate { file: Some(name), module, hash, source_map });
    }

    /// The source map beside a module's file.
    fn source_map(&mut self, module: &Module, path: &Path) -> Option<Arc<[u8]>> {
        if module.has_dwarf() {
            return None;
        }
        let paths = module.source_map_paths(path);
        let before = self.budget.clone();
        let read = |path: &PathBuf| Some((path.clone(), limits::read(path, &mut self.budget).ok()?.into()));
        let (path, map) = paths.iter().find_map(read)?;
        match Symbols::with_debug_file(Arc::clone(module.bytes()), Arc::clone(&map)) {
            Ok(_) => Some(map),
            Err(why) => {
                self.budget = before;
                self.notes.add(&format!("the source map {} is not used: {why}", path.display()));
                None
            }
        }
    }

    /// What is known about an image whose text lies at `address`.
    pub fn identify(&mut self, image: &Image, address: u64) -> Identity {
        let mut found = self.matching(image);
        let mut here = self.code_at(image, address, &found);
        // What the code of a module that is left out resembles may be another filter's.
        let is_doubtful = here.is_none() && image.module.is_none() && !self.left_out.is_empty();
        if (found.is_empty() || is_doubtful) && self.proxy.is_some() {
            self.ask_again();
            found = self.matching(image);
            here = self.code_at(image, address, &found);
        }
        let own = image.module.as_ref().map(|bytes| (ModuleHash::of(bytes), Arc::clone(bytes)));
        let own_hash = own.as_ref().map(|(hash, _)| *hash).filter(|hash| self.filters.contains_key(hash));
        let hash = here.as_ref().map(|here| here.module).or(own_hash);
        if let Some(hash) = hash {
            found.retain(|index| !self.candidates[*index].is_given() || self.candidates[*index].hash == hash);
        }
        // The proxy knows filters; a file only has a name.
        if found.iter().any(|index| self.candidates[*index].is_given()) {
            found.retain(|index| self.candidates[*index].is_given());
        }
        // Of several filters with one module the address tells which it is.
        let filters = match (here, hash) {
            (Some(here), _) => vec![here.name],
            (None, Some(hash)) => self.names(&hash).cloned().collect(),
            (None, None) => self.names_by_shape(&found),
        };
        let first = found.first().map(|index| &self.candidates[*index]);
        let given = first.map(|candidate| (candidate.hash, Arc::clone(candidate.module.bytes())));
        let module = given.or(own);
        let info = WasmInfo {
            filters,
            module: module.as_ref().map(|(hash, _)| *hash),
            engine: image.version.clone(),
            // Only code for the debug lane carries its module.
            lane: if image.module.is_some() { "debug" } else { "fast" }.to_owned(),
            source: first.map_or("memory", Candidate::source).to_owned(),
            problem: problem(image, module.is_some()),
            ..WasmInfo::default()
        };
        let debug_file = first.and_then(|candidate| self.debug_file(candidate));
        Identity { info, module, debug_file }
    }

    /// An unstripped copy, told by the code itself, or a source map.
    fn debug_file(&self, candidate: &Candidate) -> Option<Arc<[u8]>> {
        let module = &candidate.module;
        if module.has_dwarf() {
            return None;
        }
        let hash = module.code_hash();
        let copy = self.debug_files.iter().find(|copy| copy.code_hash() == hash);
        let fits =
            |map: &&Arc<[u8]>| Symbols::with_debug_file(Arc::clone(module.bytes()), Arc::clone(map)).is_ok();
        // The proxy's file may lie beside no map where the user's does.
        let mut same = self.candidates.iter().filter(|other| other.hash == candidate.hash);
        copy.map(Module::bytes)
            .or_else(|| self.source_maps.iter().find(fits))
            .or_else(|| same.find_map(|other| other.source_map.as_ref()))
            .cloned()
    }

    /// The proxy's filters with a module.
    fn names(&self, hash: &ModuleHash) -> impl Iterator<Item = &String> {
        self.filters.get(hash).into_iter().flatten()
    }

    /// What code may belong to that only resembles modules. Those that are left out may resemble it as well.
    fn names_by_shape(&self, found: &[usize]) -> Vec<String> {
        let mut names = Vec::new();
        for candidate in found.iter().map(|index| &self.candidates[*index]) {
            match &candidate.file {
                Some(name) => names.push(name.clone()),
                None => names.extend(self.names(&candidate.hash).cloned()),
            }
        }
        if found.iter().any(|index| self.candidates[*index].is_given()) {
            let left_out: BTreeSet<&String> =
                self.left_out.iter().flat_map(|hash| self.names(hash)).collect();
            names.extend(left_out.into_iter().cloned());
        }
        names.dedup();
        names
    }

    /// What the proxy says of code at an address, unless its list is of before and other code lies there now.
    fn code_at(&self, image: &Image, address: u64, matching: &[usize]) -> Option<CodeImage> {
        let here =
            self.code.iter().find(|code| code.address == address && code.size == image.code.len() as u64)?;
        let of = |index: &usize| self.candidates[*index].hash == here.module;
        let is_known = self.candidates.iter().any(|candidate| candidate.hash == here.module);
        (!is_known || matching.iter().any(of)).then(|| here.clone())
    }

    fn matching(&self, image: &Image) -> Vec<usize> {
        let fits = |(index, candidate): (usize, &Candidate)| {
            is_compiled_from(image, &candidate.module).then_some(index)
        };
        self.candidates.iter().enumerate().filter_map(fits).collect()
    }
}

/// Why an image's code has no names or no places.
fn problem(image: &Image, known: bool) -> Option<String> {
    let text = match &image.address_map {
        _ if image.functions.is_empty() => {
            "the code has no symbols (`Config::debug_symbols(false)`): its functions are not named"
        }
        Err(error) => return Some(error.to_string()),
        Ok(map) if map.entries().is_empty() => {
            "the code has no address map (`Config::generate_address_map(false)`): functions are named, lines are not"
        }
        Ok(_) if !known => {
            "its module was not found: name the .wasm file with record --module to see lines and inlined functions"
        }
        Ok(_) => return None,
    };
    Some(text.to_owned())
}

/// Whether each function of the image has its code where the module has that function's body.
fn is_compiled_from(image: &Image, module: &Module) -> bool {
    let mut checked = 0;
    for function in &image.functions {
        let CodeKind::Function(index) = function.kind else { continue };
        let Some(body) = module.function(index).map(|function| function.body) else { return false };
        let place = image.address_map.as_ref().ok().and_then(|map| {
            let entries = map.entries();
            let from = entries.partition_point(|entry| entry.0 < function.range.start);
            let inside = entries[from..].iter().take_while(|entry| entry.0 < function.range.end);
            inside.clone().find_map(|entry| entry.1)
        });
        match place {
            Some(place) if !body.contains(place) => return false,
            Some(_) => checked += 1,
            // Without places the names must do.
            None if image.address_map.is_err() => match (&function.name, module.raw_function_name(index)) {
                (Some(one), Some(other)) if one == other => checked += 1,
                (Some(_), Some(_)) => return false,
                _ => {}
            },
            None => {}
        }
    }
    let defined = image.functions.iter().filter(|function| matches!(function.kind, CodeKind::Function(_)));
    checked > 0 && defined.count() == module.functions().len()
}

/// Sockets of proxies whose processes we may not look into.
fn strangers() -> Vec<PathBuf> {
    let proxies = discover::proxies().unwrap_or_default().into_iter().filter(|proxy| proxy.pid.is_none());
    let paths = proxies.filter_map(|proxy| match proxy.socket {
        Socket::At(paths) => Some(paths),
        _ => None,
    });
    paths.flatten().collect()
}

#[cfg(test)]
mod tests;
