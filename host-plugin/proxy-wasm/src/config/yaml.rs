//! Reading YAML that people write: errors with line and column, and the keys that mean nothing.

use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not YAML, or a value has the wrong type; the message has line and column.
    #[error("{}: {message}", path.display())]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
}

impl ConfigError {
    pub(super) fn invalid(path: &Path, message: impl ToString) -> Self {
        Self::Invalid { path: path.to_owned(), message: message.to_string() }
    }
}

/// Reads YAML; the second value are warnings that name the unknown keys.
pub(super) fn parse_yaml<T: DeserializeOwned>(
    text: &str,
    path: &Path,
) -> Result<(T, Vec<String>), ConfigError> {
    let mut warnings = Vec::new();
    let yaml = serde_norway::Deserializer::from_str(text);
    let value = serde_ignored::deserialize(yaml, |key| {
        let key = key.to_string();
        let line = line_of(text, &key).map_or_else(String::new, |line| format!(" at line {line}"));
        warnings.push(format!("unknown key {key}{line} is ignored"));
    })
    .map_err(|error| ConfigError::invalid(path, error))?;
    Ok((value, warnings))
}

/// The line of `key` (`limits.colour`) in YAML, from 1, where that can be told without a parser that tells it: the
/// children of a key are in lines of their own that are indented more than it, or behind it in its line.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut lines = text.lines().zip(1..).filter(|(line, _)| {
        let line = line.trim_start();
        !line.is_empty() && !line.starts_with('#') && line != "---"
    });
    let (mut within, mut found) = (None, None);
    let mut same_line = "";
    for part in key.split('.') {
        if let Some(at) = key_in(same_line, part) {
            same_line = &same_line[at..];
            continue;
        }
        let mut level = None;
        let (line, number) = lines
            .by_ref()
            .take_while(|(line, _)| within.is_none_or(|within| indent(line) > within))
            .find(|(line, _)| {
                let level = *level.get_or_insert(indent(line));
                indent(line) == level && key_in(line, part).is_some()
            })?;
        within = Some(indent(line));
        same_line = &line[key_in(line, part)?..];
        found = Some(number);
    }
    found
}

/// Where the value of `key` begins in a line that has it.
fn key_in(line: &str, key: &str) -> Option<usize> {
    line.match_indices(key).find_map(|(at, _)| {
        let begins = line[..at].chars().next_back().is_none_or(|c| " {,\"'\t".contains(c));
        let rest = line[at + key.len()..].trim_start_matches(['"', '\'', ' ']);
        (begins && rest.starts_with(':')).then(|| line.len() - rest.len() + 1)
    })
}
