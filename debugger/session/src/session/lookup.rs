//! Questions about code that need no stop: its opcodes, completion, and what a user's name means.

use std::path::Path;

use wasmdbg_control::ModuleHash;
use wasmdbg_symbols::ModulePc;

use super::Session;
use crate::error::Error;
use crate::modules::{self, CodeLine};
use crate::source::Position;

impl Session {
    /// `count` opcodes, the first being `offset` opcodes from the one at `pc` (or behind it, when `pc` is
    /// between opcodes). What lies before the first or behind the last function is `None`.
    ///
    /// # Errors
    /// The module is none of the session's, could not be read, or has no code.
    pub fn disassemble(
        &self,
        module: ModuleHash,
        pc: ModulePc,
        offset: i64,
        count: usize,
    ) -> Result<Vec<Option<CodeLine>>, Error> {
        let loaded = self.modules.get(module);
        let loaded = loaded.ok_or_else(|| Error::Invalid("no such module in this session".into()))?;
        let symbols =
            loaded.symbols.as_ref().ok_or_else(|| Error::Symbols("the module could not be read".into()))?;
        Ok(modules::disassemble(symbols, pc, offset, count))
    }

    /// The lines and columns from `first` to `last` of a source file where a breakpoint can stand, sorted.
    ///
    /// # Errors
    /// No module has the file.
    pub fn break_locations(&self, file: &str, first: u32, last: u32) -> Result<Vec<(u32, u32)>, Error> {
        let mut found = Vec::new();
        let mut why = Some(Error::Invalid("no module of the session has debug info".into()));
        for symbols in self.symbols() {
            match symbols.break_columns(file, first..=last) {
                Ok(places) => {
                    found.extend(places);
                    why = None;
                }
                Err(error) if why.is_some() => why = Some(Error::Invalid(error.to_string())),
                Err(_) => {}
            }
        }
        found.sort_unstable();
        found.dedup();
        why.filter(|_| found.is_empty()).map_or(Ok(found), Err)
    }

    /// What the debug info calls a source file of this machine: the one that is found there, or, when it is
    /// found nowhere, the one whose path ends alike.
    ///
    /// # Errors
    /// No module of the session was made of it: another crate's `src/lib.rs` must not pass for it.
    pub fn debug_file(&self, local: &Path) -> Result<String, Error> {
        let name = local.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let wanted = real(local);
        let mut elsewhere = None;
        let mut lost = Vec::new();
        for file in self.source_files() {
            if file.rsplit('/').next() != Some(&name) {
                continue;
            }
            match self.sources().find(&file) {
                Ok(found) if real(&found) == wanted => return Ok(file),
                Ok(found) => elsewhere = Some(found),
                Err(_) => lost.push(file),
            }
        }
        let alike = self.symbols().flat_map(|symbols| symbols.matching_files(&local.to_string_lossy()));
        let mut alike: Vec<String> =
            alike.map(|file| file.to_string()).filter(|file| lost.contains(file)).collect();
        alike.dedup();
        match (alike.as_slice(), elsewhere) {
            ([one], _) => Ok(one.clone()),
            (_, Some(found)) => Err(Error::Invalid(format!(
                "no filter of this session was built from {}; its {name} is {}",
                local.display(),
                found.display()
            ))),
            _ => Err(Error::Invalid(format!(
                "no filter of this session was built from {}: choose another filter, or map its source paths",
                local.display()
            ))),
        }
    }

    /// The source files of all modules, as the debug info has them, sorted.
    pub fn source_files(&self) -> Vec<String> {
        let mut files: Vec<_> = self
            .symbols()
            .flat_map(|symbols| symbols.source_files())
            // rustc puts `/@/` and a hash behind the path to name a unit: no file.
            .filter(|path| !path.contains("/@/"))
            .map(|path| path.to_string())
            .collect();
        files.sort();
        files.dedup();
        files
    }

    /// Names of functions that contain `text`, those that begin with it first, for completion; at most
    /// `limit`.
    pub fn complete_function(&self, text: &str, limit: usize) -> Vec<String> {
        let names = self.symbols().flat_map(|symbols| symbols.function_names());
        let mut found: Vec<_> =
            names.filter(|name| name.contains(text)).map(|name| name.to_string()).collect();
        found.sort_by_key(|name| !name.starts_with(text));
        found.dedup();
        found.truncate(limit);
        found
    }

    /// Source files whose name or path begins with `prefix`, by their shortest unambiguous end, for
    /// completion; at most `limit`.
    pub fn complete_file(&self, prefix: &str, limit: usize) -> Vec<String> {
        // rustc puts `/@/` and a hash behind the path to name a unit: no file.
        let files: Vec<_> = self
            .symbols()
            .flat_map(|symbols| symbols.source_files())
            .filter(|path| !path.contains("/@/"))
            .collect();
        let name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
        let mut found: Vec<String> = files
            .iter()
            .filter_map(|path| {
                let short = name(path);
                let alone = files.iter().filter(|other| name(other) == short).count() == 1;
                if alone && short.starts_with(prefix) {
                    return Some(short);
                }
                path.starts_with(prefix).then(|| path.to_string())
            })
            .collect();
        found.sort();
        found.dedup();
        found.truncate(limit);
        found
    }

    /// The source position a function begins at, for `list FUNCTION`.
    ///
    /// # Errors
    /// No module has such a function, or it has no line information.
    pub fn function_position(&self, name: &str) -> Result<Position, Error> {
        let mut why = format!("no function `{name}`: no module of the session has symbols");
        for symbols in self.symbols() {
            match symbols.break_function(name) {
                Ok(binding) => {
                    if let Some(position) = binding.places.iter().find_map(|place| place.position.as_ref()) {
                        return Ok(position.into());
                    }
                    why = format!("`{name}` has no line information: compile it with -g");
                }
                Err(error) => why = error.to_string(),
            }
        }
        Err(Error::Invalid(why))
    }

    /// The source file that a user's `file` means (`lib.rs`), as the debug info has it.
    ///
    /// # Errors
    /// No such file, or several.
    pub fn source_file(&self, file: &str) -> Result<String, Error> {
        let mut found: Vec<_> = self.symbols().flat_map(|symbols| symbols.matching_files(file)).collect();
        found.sort();
        found.dedup();
        match found.as_slice() {
            [one] => Ok(one.to_string()),
            [] => Err(Error::Invalid(format!("no source file `{file}` in the debug info"))),
            several => Err(Error::Invalid(format!(
                "`{file}` is ambiguous: {}; write more of it",
                several.join(", ")
            ))),
        }
    }
}
