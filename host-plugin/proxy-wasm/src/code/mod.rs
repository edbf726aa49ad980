//! The compiled code of the fast lane as profilers see it: where it lies, and files for `perf` that name
//! it. Used by the agent alone; nothing here runs on an event thread, and nothing ends the process: a
//! folder that cannot be written is an error message.

mod file;
mod jitdump;
mod mapping;
mod perf_map;
mod piece;

use std::path::PathBuf;
use std::sync::Arc;

use nix::time::{ClockId, clock_gettime};
use wasmdbg_control::code::{CodeImage, CodeList, CodeMapFormat, CodeMapWritten, Lane};
use wasmdbg_control::{FilterId, ModulePc};

use self::mapping::Marker;
use self::piece::pieces;
use crate::filter::Filter;

/// Finds names and lines in a module's own debug info; the host knows how to read it.
pub struct SourceNames {
    /// The name of a function of the module, by its index with imported ones counted.
    pub function: Box<FunctionNamer>,
    /// See [`LineFinder`].
    pub lines: Box<LineFinder>,
}

/// From this byte of the code on it is of that line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLine {
    /// The byte.
    pub offset: usize,
    /// The file.
    pub file: Arc<str>,
    /// From 1.
    pub line: u32,
}

/// See [`SourceNames::function`].
pub type FunctionNamer = dyn FnMut(&Arc<[u8]>, u32) -> Option<String> + Send;
/// The lines of a function's code, each where another one begins. Gets a module, and by rising offset in its
/// code pairs of such an offset and that in the module's file where the code comes from.
pub type LineFinder = dyn FnMut(&Arc<[u8]>, &[(usize, ModulePc)]) -> Vec<SourceLine> + Send;

impl Default for SourceNames {
    /// Nothing but what the name section says.
    fn default() -> Self {
        Self { function: Box::new(|_, _| None), lines: Box::new(|_, _| Vec::new()) }
    }
}

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum CodeMapError {
    /// The folder cannot be written.
    #[error(
        "cannot write {path}: {error}: the proxy's user must be able to write there (setting `perf_directory`)"
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// `perf` learns of a jitdump by an executable mapping of it.
    #[error(
        "cannot map {path} as executable, by which perf learns of it: {error}: is the folder on a file system mounted noexec? (setting `perf_directory`)"
    )]
    Map {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

/// What the agent keeps for profilers.
#[derive(Default)]
pub(crate) struct CodeMaps {
    names: SourceNames,
    directory: Option<PathBuf>,
    /// Keeps the mapping of the last jitdump alive.
    marker: Option<Marker>,
    /// The image that a client is reading, part by part.
    image: Option<(FilterId, Arc<[u8]>)>,
}

impl CodeMaps {
    pub(crate) fn new(names: SourceNames, directory: Option<PathBuf>) -> Self {
        Self { names, directory, ..Self::default() }
    }

    /// Where the code of the filters lies.
    pub(crate) fn list(filters: &[Arc<Filter>]) -> CodeList {
        let image = |filter: &Arc<Filter>| {
            let module = filter.compiled()?;
            let text = module.text();
            Some(CodeImage {
                filter: filter.id(),
                name: filter.config().name.clone(),
                module: filter.module(),
                lane: Lane::Fast,
                // A filter is loaded once in the life of a process.
                generation: 0,
                address: text.as_ptr().addr() as u64,
                size: text.len() as u64,
                functions: module.functions().len() as u32,
            })
        };
        CodeList { images: filters.iter().filter_map(image).collect() }
    }

    /// A filter's compiled image as a file; why there is none else. Kept until [`CodeMaps::forget_image`].
    pub(crate) fn image(&mut self, filter: &Filter) -> Result<Arc<[u8]>, String> {
        if let Some((of, image)) = &self.image
            && *of == filter.id()
        {
            return Ok(Arc::clone(image));
        }
        let module = filter.compiled().ok_or_else(|| {
            let reason = filter.inactive_reason().unwrap_or("it is not loaded");
            format!("filter {} has no code: {reason}", filter.config().name)
        })?;
        let bytes = module.serialize().map_err(|error| format!("{error:#}"))?;
        let image: Arc<[u8]> = bytes.into();
        self.image = Some((filter.id(), Arc::clone(&image)));
        Ok(image)
    }

    /// Gives the memory of the last image back.
    pub(crate) fn forget_image(&mut self) {
        self.image = None;
    }

    /// Writes a file for `perf`.
    pub(crate) fn write(
        &mut self,
        filters: &[Arc<Filter>],
        format: CodeMapFormat,
    ) -> Result<CodeMapWritten, CodeMapError> {
        let before = thread_cpu_us();
        let pid = std::process::id();
        let folder = self.directory.clone().unwrap_or_else(std::env::temp_dir);
        let lines = format == CodeMapFormat::Jitdump;
        let pieces: Vec<_> =
            filters.iter().flat_map(|filter| pieces(filter, &mut self.names, lines)).collect();
        let (path, bytes) = match format {
            CodeMapFormat::PerfMap => (folder.join(format!("perf-{pid}.map")), perf_map::bytes(&pieces)),
            CodeMapFormat::Jitdump => (folder.join(format!("jit-{pid}.dump")), jitdump::bytes(pid, &pieces)),
        };
        let written = file::replace(&path, &bytes)
            .map_err(|error| CodeMapError::Write { path: path.clone(), error })?;
        if format == CodeMapFormat::Jitdump {
            let marker =
                Marker::map(&written).map_err(|error| CodeMapError::Map { path: path.clone(), error })?;
            self.marker = Some(marker);
        }
        Ok(CodeMapWritten {
            path: path.display().to_string(),
            entries: pieces.len() as u64,
            size: bytes.len() as u64,
            cpu_us: thread_cpu_us().saturating_sub(before),
        })
    }
}

fn thread_cpu_us() -> u64 {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map_or(0, |time| time.tv_sec() as u64 * 1_000_000 + time.tv_nsec() as u64 / 1_000)
}
