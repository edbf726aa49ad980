//! Source files of the target on this machine: path mapping and reading. The only part of the session
//! that reads source files.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use wasmdbg_control::files;

use crate::error::Error;

/// The most bytes of a source file. The longest that people compile (all of SQLite as one file) has 9 MB.
pub const MOST_SOURCE: u64 = 16 << 20;

/// A place in a source file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// As the line table has it, the unit's directory prepended when it is relative.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1; 0: unknown.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl From<&wasmdbg_symbols::Position> for Position {
    fn from(position: &wasmdbg_symbols::Position) -> Self {
        Self { file: position.path.to_string(), line: position.line, column: position.column }
    }
}

/// Lines of a source file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLines {
    /// The file on this machine; of a text that came with the debug info the path there.
    pub path: PathBuf,
    /// The number of the first line, from 1.
    pub first: u32,
    /// Without line ends.
    pub lines: Vec<String>,
    /// How many lines the file has.
    pub total: u32,
}

/// Finds source files: by the user's mappings, as the path stands, below the search directories and the
/// working directory. Below a directory it takes what follows the directory's own name in the path
/// (`examples/x/src/lib.rs` below `x`), or an end of the path that only this file has: another crate's
/// `src/lib.rs` must not pass for it. What is found nowhere may have come with the debug info as a text.
#[derive(Debug, Default)]
pub struct SourceFinder {
    mappings: Vec<(String, PathBuf)>,
    directories: Vec<PathBuf>,
    /// All source files of the debug info.
    known: Vec<String>,
    /// Texts that came with the debug info, by the path it has for them.
    texts: HashMap<String, Arc<str>>,
    read: Mutex<HashMap<PathBuf, Arc<[String]>>>,
}

impl SourceFinder {
    /// A finder with no mapping: paths as they stand.
    pub fn new() -> Self {
        Self::default()
    }

    /// Paths that begin with `from` (as the DWARF has them) lie below `to` on this machine. The longest
    /// `from` that fits wins.
    pub fn map(&mut self, from: impl Into<String>, to: impl Into<PathBuf>) {
        self.mappings.push((from.into(), to.into()));
        self.mappings.sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
    }

    /// Looks below `directory` too.
    pub fn add_directory(&mut self, directory: impl Into<PathBuf>) {
        let directory = directory.into();
        if !self.directories.contains(&directory) {
            self.directories.push(directory);
        }
    }

    /// The paths of all source files in the debug info, to tell which ends of a path only one has.
    pub fn set_known_files(&mut self, files: Vec<String>) {
        self.known = files;
    }

    /// The text of `file` that came with the debug info (a source map's `sourcesContent`).
    pub fn text(&self, file: &str) -> Option<&Arc<str>> {
        self.texts.get(file)
    }

    pub(crate) fn set_text(&mut self, file: String, text: Arc<str>) {
        self.texts.insert(file, text);
    }

    /// The file on this machine.
    ///
    /// # Errors
    /// [`Error::Source`] when no candidate exists; it lists what was tried and how to map it.
    pub fn find(&self, file: &str) -> Result<PathBuf, Error> {
        let candidates = self.candidates(file);
        if let Some(found) = candidates.iter().find(|path| path.is_file()) {
            return Ok(found.clone());
        }
        let tried = candidates.iter().take(4).map(|path| path.display().to_string()).collect::<Vec<_>>();
        Err(Error::Source(format!(
            "source file {file} is not on this machine (tried {}); start in the filter's folder or map its path",
            tried.join(", ")
        )))
    }

    /// Lines `first ..= last` of `file`, cut to what the file has.
    ///
    /// # Errors
    /// [`Error::Source`] when the file is absent or not text, [`Error::Invalid`] when it has no line `first`.
    pub fn lines(&self, file: &str, first: u32, last: u32) -> Result<SourceLines, Error> {
        let (path, all) = match (self.find(file), self.text(file)) {
            (Err(_), Some(text)) => (PathBuf::from(file), text.lines().map(str::to_owned).collect()),
            (found, _) => found.and_then(|path| Ok((path.clone(), self.read(&path)?)))?,
        };
        let total = u32::try_from(all.len()).unwrap_or(u32::MAX);
        let first = first.max(1);
        if first > total {
            return Err(Error::Invalid(format!("{file} has {total} lines, no line {first}")));
        }
        let lines = all[first as usize - 1..last.clamp(first, total) as usize].to_vec();
        Ok(SourceLines { path, first, lines, total })
    }

    fn read(&self, path: &Path) -> Result<Arc<[String]>, Error> {
        let mut read = self.read.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(lines) = read.get(path) {
            return Ok(Arc::clone(lines));
        }
        let bytes = files::read(path, MOST_SOURCE)
            .map_err(|error| Error::Source(format!("cannot read {}: {error}", path.display())))?;
        let lines: Arc<[String]> = String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect();
        read.insert(path.to_owned(), Arc::clone(&lines));
        Ok(lines)
    }

    fn candidates(&self, file: &str) -> Vec<PathBuf> {
        let mut candidates = Vec::new();
        for (from, to) in &self.mappings {
            if let Some(rest) = strip_path_prefix(file, from) {
                candidates.push(to.join(rest));
            }
        }
        candidates.push(PathBuf::from(file));
        let parts: Vec<&str> = file.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        let working = std::env::current_dir().ok();
        let directories: Vec<&PathBuf> = working.iter().chain(&self.directories).collect();
        for directory in &directories {
            let own = directory.file_name().and_then(|name| name.to_str());
            if let Some(at) =
                parts.iter().rposition(|part| Some(*part) == own).filter(|at| at + 1 < parts.len())
            {
                candidates.push(directory.join(parts[at + 1..].join("/")));
            }
        }
        for skip in 0..parts.len() {
            let end = parts[skip..].join("/");
            let behind = format!("/{end}");
            let has_it = |known: &&String| **known == end || known.ends_with(&behind);
            if self.known.iter().filter(has_it).count() == 1 {
                candidates.extend(directories.iter().map(|directory| directory.join(&end)));
            }
        }
        candidates
    }
}

/// The rest of `file` below the folder `prefix`; whole components only.
fn strip_path_prefix<'a>(file: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = file.strip_prefix(prefix.trim_end_matches('/'))?;
    match rest.strip_prefix('/') {
        Some(rest) => Some(rest),
        None => rest.is_empty().then_some(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temp(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("wasmdbg-source-{}-{name}", std::process::id()));
        std::fs::create_dir_all(folder.join("own/here")).unwrap();
        std::fs::write(folder.join("own/here/only.rs"), "one\ntwo\nthree\n").unwrap();
        folder
    }

    #[test]
    fn a_mapped_prefix_and_a_search_directory_find_the_file() {
        let folder = temp("map");
        let there = folder.join("own/here/only.rs");
        let mut finder = SourceFinder::new();
        assert!(finder.find("examples/x/here/only.rs").is_err());
        finder.map("examples/x", folder.join("own"));
        assert_eq!(finder.find("examples/x/here/only.rs").unwrap(), there);
        assert!(finder.find("examples/xy/here/only.rs").is_err(), "whole components only");
        let mut finder = SourceFinder::new();
        finder.add_directory(folder.join("own"));
        assert_eq!(finder.find("/build/own/here/only.rs").unwrap(), there);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn of_two_mappings_the_longer_one_wins() {
        let folder = temp("mappings");
        for name in ["all", "own"] {
            std::fs::create_dir_all(folder.join(name).join("filter")).unwrap();
            std::fs::write(folder.join(name).join("lib.rs"), name).unwrap();
            std::fs::write(folder.join(name).join("filter/lib.rs"), name).unwrap();
        }
        let (all, own) = (("/build", folder.join("all")), ("/build/filter", folder.join("own")));
        for order in [[&all, &own], [&own, &all]] {
            let mut finder = SourceFinder::new();
            order.into_iter().for_each(|(from, to)| finder.map(*from, to));
            assert_eq!(finder.find("/build/filter/lib.rs").unwrap(), folder.join("own/lib.rs"));
            assert_eq!(finder.find("/build/lib.rs").unwrap(), folder.join("all/lib.rs"));
        }
    }

    #[test]
    fn another_crates_file_of_the_same_name_is_not_taken() {
        let folder = temp("other");
        let mut finder = SourceFinder::new();
        finder.add_directory(folder.join("own"));
        assert!(finder.find("/build/x/here/only.rs").is_err(), "nothing says that it is this one");
        finder.set_known_files(vec!["/build/x/here/only.rs".into(), "/build/x/other.rs".into()]);
        assert_eq!(finder.find("/build/x/here/only.rs").unwrap(), folder.join("own/here/only.rs"));
        finder.set_known_files(vec!["/build/x/here/only.rs".into(), "/crates/log/here/only.rs".into()]);
        assert!(finder.find("/build/x/here/only.rs").is_err());
        assert!(finder.find("/crates/log/here/only.rs").is_err());
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_that_is_no_source_by_its_size_is_not_read() {
        let folder = temp("huge");
        let path = folder.join("own/here/huge.rs");
        std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
        let why = SourceFinder::new().lines(path.to_str().unwrap(), 1, 1).unwrap_err().to_string();
        std::fs::remove_dir_all(folder).unwrap();
        assert!(why.contains("huge.rs: it is larger than the 16777216 bytes"), "{why}");
    }

    #[test]
    fn lines_are_cut_to_the_file_and_an_absent_file_says_what_to_do() {
        let folder = temp("lines");
        let mut finder = SourceFinder::new();
        finder.map("x", folder.join("own"));
        let lines = finder.lines("x/here/only.rs", 2, 10).unwrap();
        assert_eq!(
            (lines.first, lines.lines, lines.total),
            (2, vec!["two".to_owned(), "three".to_owned()], 3)
        );
        let error = finder.lines("x/here/only.rs", 4, 5).unwrap_err().to_string();
        assert_eq!(error, "x/here/only.rs has 3 lines, no line 4");
        let error = finder.lines("x/absent.rs", 1, 5).unwrap_err().to_string();
        assert!(error.contains("x/absent.rs") && error.contains("map its path"), "{error}");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
