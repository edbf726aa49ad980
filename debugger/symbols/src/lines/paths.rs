//! Owns the paths of source files as debug info writes them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use crate::cache::lock;

/// One copy of each path.
#[derive(Debug, Default)]
pub(crate) struct Paths(Mutex<HashSet<Arc<str>>>);

impl Paths {
    /// One shared copy of a path that many units name.
    pub(crate) fn intern(&self, path: String) -> Arc<str> {
        let mut paths = lock(&self.0);
        if let Some(known) = paths.get(path.as_str()) {
            return known.clone();
        }
        let path: Arc<str> = path.into();
        paths.insert(path.clone());
        path
    }
}

/// Appends a path to a folder's.
pub(crate) fn join(path: &mut String, part: &str) {
    let absolute = part.starts_with('/') || part.as_bytes().get(1) == Some(&b':');
    if absolute || path.is_empty() {
        path.clear();
    } else if !path.ends_with('/') {
        path.push('/');
    }
    path.push_str(part);
}

/// Folds `.` and `..` without asking a file system.
pub(crate) fn fold(path: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "." => {}
            "" if !out.is_empty() => {}
            ".." if out.last().is_some_and(|last| !last.is_empty() && *last != "..") => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_folded() {
        for (from, to) in [
            ("/a/./b/../c.rs", "/a/c.rs"),
            ("a//b.c", "a/b.c"),
            ("../x.c", "../x.c"),
            ("a/../../x.c", "../x.c"),
            ("./src/lib.rs", "src/lib.rs"),
        ] {
            assert_eq!(fold(from), to);
        }
    }

    #[test]
    fn parts_are_joined() {
        let mut path = String::from("/filter");
        join(&mut path, "src");
        join(&mut path, "lib.rs");
        assert_eq!(path, "/filter/src/lib.rs");
        join(&mut path, "/rustc/x.rs");
        assert_eq!(path, "/rustc/x.rs");
    }
}
