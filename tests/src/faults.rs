//! One-line faults: is each of them noticed by a test? The lists are in `tests/faults/`, one file a crate.
//!
//! ```text
//! [FOLDER] the words after `cargo test` for the faults that follow
//!
//! : what is wrong with it
//! - text before, a part of one line that is once in FOLDER
//! + text after; empty to leave it out
//! = other words after `cargo test`, for this fault alone
//! ```
//!
//! A fault is found by its text wherever its file has moved to. Files of tests are not looked at.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// One line that is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where it is from: `ats.txt:12`.
    pub place: String,
    /// What is wrong with it.
    pub name: String,
    /// The folder that holds its file.
    pub folder: PathBuf,
    /// A part of one line.
    pub before: String,
    /// What stands there instead.
    pub after: String,
    /// Words after `cargo test`.
    pub tests: Vec<String>,
}

/// All faults of the lists below `root`, in their order.
///
/// # Errors
/// A list cannot be read, or not understood.
pub fn read(root: &Path) -> Result<Vec<Fault>> {
    let folder = root.join("tests/faults");
    let mut lists: Vec<PathBuf> =
        fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    lists.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    lists.sort();
    let mut faults = Vec::new();
    for list in lists {
        let name = list.file_name().unwrap_or_default().to_string_lossy().into_owned();
        faults.extend(parse(&name, &fs::read_to_string(&list)?)?);
    }
    Ok(faults)
}

fn parse(list: &str, text: &str) -> Result<Vec<Fault>> {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let (mut faults, mut section) = (Vec::<Fault>::new(), None);
    for (number, line) in text.lines().enumerate() {
        let place = format!("{list}:{}", number + 1);
        let (mark, rest) = line.split_at(line.chars().next().map_or(0, char::len_utf8));
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        match (mark, faults.last_mut()) {
            ("" | "#", _) => {}
            ("[", _) => {
                let (folder, tests) = rest.split_once(']').with_context(|| format!("{place}: no ]"))?;
                section = Some((PathBuf::from(folder), words(tests)));
            }
            (":", _) => {
                let (folder, tests) = section.clone().with_context(|| format!("{place}: no [FOLDER]"))?;
                let (before, after) = (String::new(), String::new());
                faults.push(Fault { place, name: rest.to_owned(), folder, before, after, tests });
            }
            ("-", Some(fault)) => fault.before = rest.to_owned(),
            ("+", Some(fault)) => fault.after = rest.to_owned(),
            ("=", Some(fault)) => fault.tests = words(rest),
            _ => bail!("{place}: {line}"),
        }
    }
    for fault in &faults {
        ensure!(!fault.before.is_empty() && fault.before != fault.after, "{}: no change", fault.place);
        ensure!(!fault.tests.is_empty(), "{}: no tests", fault.place);
    }
    Ok(faults)
}

impl Fault {
    /// The file below `root` that has its text, and the file's text with the fault.
    ///
    /// # Errors
    /// The text is not there, or not once: the list must follow the code.
    pub fn find(&self, root: &Path) -> Result<(PathBuf, String)> {
        let mut files = Vec::new();
        sources(&root.join(&self.folder), &mut files)?;
        let mut found = None;
        for file in files {
            let text = fs::read_to_string(&file)?;
            match text.matches(&self.before).count() {
                0 => {}
                1 if found.is_none() => found = Some((file, text.replacen(&self.before, &self.after, 1))),
                _ => bail!("{}: more than once: {}", self.place, self.before),
            }
        }
        found.with_context(|| format!("{}: not found any more: {}", self.place, self.before))
    }
}

/// The files of Rust below `folder` but those of tests.
fn sources(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["tests", "double"].contains(&name.as_str()) {
                sources(&path, files)?;
            }
        } else if name.ends_with(".rs") && name != "tests.rs" {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_sections_and_faults() {
        let text = "# words\n[a/src] -p a --lib\n\n: one\n- x\n+\n\n: two\n- y\n+ z\n= -p b\n";
        let faults = parse("a.txt", text).unwrap();
        assert_eq!(faults[0].tests, ["-p", "a", "--lib"]);
        assert_eq!((faults[0].place.as_str(), faults[0].before.as_str()), ("a.txt:4", "x"));
        assert_eq!((faults[1].after.as_str(), faults[1].tests.len()), ("z", 2));
        assert!(parse("a.txt", "[a] b\n: one\n- x\n+ x\n").is_err());
        assert!(parse("a.txt", "- x\n").is_err());
    }
}
