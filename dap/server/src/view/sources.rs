//! The debug info's files for the client: which of them it can open itself, and what it must ask for.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use wasmdbg_session::{Session, is_library};

use crate::protocol::{PathFormat, Source};
use crate::transport::client::Client;

/// What is known of the debug info's files.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    found: HashMap<String, Option<PathBuf>>,
    /// Files that are not on this machine, by their reference (from 1).
    absent: Vec<String>,
}

impl Sources {
    /// A file of the debug info.
    pub(crate) fn source(&mut self, session: &Session, client: &Client, file: &str) -> Source {
        let found =
            self.found.entry(file.to_owned()).or_insert_with(|| session.sources().find(file).ok()).clone();
        let name = Some(file.rsplit('/').next().unwrap_or(file).to_owned());
        let presentation_hint = is_library(file).then(|| "deemphasize".to_owned());
        match found {
            Some(path) => {
                let path = std::path::absolute(&path).unwrap_or(path);
                let path = Some(outgoing(&path, client.features.path_format));
                Source { name, path, presentation_hint, ..Source::default() }
            }
            None => Source {
                name,
                path: Some(file.to_owned()),
                source_reference: Some(self.reference(file)),
                presentation_hint,
                origin: Some("not on this machine".into()),
            },
        }
    }

    /// The file of a reference.
    pub(crate) fn absent(&self, reference: i64) -> Option<&str> {
        let at = usize::try_from(reference - 1).ok()?;
        self.absent.get(at).map(String::as_str)
    }

    fn reference(&mut self, file: &str) -> i64 {
        let known = self.absent.iter().position(|absent| absent == file);
        let at = known.unwrap_or_else(|| {
            self.absent.push(file.to_owned());
            self.absent.len() - 1
        });
        at as i64 + 1
    }
}

/// A path for the client.
fn outgoing(path: &Path, format: PathFormat) -> String {
    let text = path.display().to_string();
    match format {
        PathFormat::Path => text,
        PathFormat::Uri => {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
            let encoded = text
                .bytes()
                .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") });
            format!("file://{}", encoded.collect::<String>())
        }
    }
}

/// A path of the client; some send URIs whatever they have said.
pub(crate) fn incoming(path: &str) -> PathBuf {
    let Some(rest) = path.strip_prefix("file://") else { return PathBuf::from(path) };
    let mut bytes = Vec::new();
    let mut rest = rest.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    PathBuf::from(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_uris() {
        assert_eq!(incoming("/a b/c%20d.rs"), PathBuf::from("/a b/c%20d.rs"));
        assert_eq!(incoming("file:///a%20b/%C3%A9.rs"), PathBuf::from("/a b/é.rs"));
        assert_eq!(incoming("file:///a%2"), PathBuf::from("/a%2"));
        assert_eq!(outgoing(Path::new("/a b/é.rs"), PathFormat::Uri), "file:///a%20b/%C3%A9.rs");
        assert_eq!(outgoing(Path::new("/a b"), PathFormat::Path), "/a b");
    }
}
