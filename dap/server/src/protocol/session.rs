//! The beginning and the end: initialize, attach, cancel.

use serde::{Deserialize, Deserializer};

/// `initialize`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(clippy::struct_excessive_bools)]
pub struct InitializeArguments {
    /// Lines count from 1.
    pub lines_start_at1: bool,
    /// Columns count from 1.
    pub columns_start_at1: bool,
    /// `path` or `uri`.
    pub path_format: PathFormat,
    /// It takes `progressStart` and so on.
    pub supports_progress_reporting: bool,
    /// It takes `invalidated`.
    pub supports_invalidated_event: bool,
    /// It takes `memory`.
    pub supports_memory_event: bool,
}

impl Default for InitializeArguments {
    fn default() -> Self {
        Self {
            lines_start_at1: true,
            columns_start_at1: true,
            path_format: PathFormat::Path,
            supports_progress_reporting: false,
            supports_invalidated_event: false,
            supports_memory_event: false,
        }
    }
}

/// How paths are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PathFormat {
    /// `file:///…`.
    Uri,
    /// Native.
    #[default]
    #[serde(other)]
    Path,
}

/// `attach`, as written in `launch.json`. Without `pid` and `socket`: the only proxy there is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AttachArguments {
    /// The proxy's process id.
    #[serde(deserialize_with = "number_or_text")]
    pub pid: Option<u32>,
    /// The proxy's control socket.
    pub socket: Option<String>,
    /// Names of filters; none: every active one.
    #[serde(deserialize_with = "one_or_many")]
    pub filter: Vec<String>,
    /// Which requests stop; none: those with a generated header.
    #[serde(deserialize_with = "one_or_many")]
    pub when: Vec<String>,
    /// Every request.
    pub all: bool,
    /// Files with the symbols of modules that lack them.
    #[serde(deserialize_with = "one_or_many")]
    pub module: Vec<String>,
    /// Source paths that begin with the key are found at the value.
    pub source_map: std::collections::BTreeMap<String, String>,
    /// How long a stop may last: `5m`, `90s`, or a number of seconds.
    pub deadline: Option<Deadline>,
    /// Where sources are looked for too; the editor's folder.
    pub cwd: Option<String>,
}

/// A duration as users write it.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Deadline {
    /// Seconds.
    Seconds(f64),
    /// `5m`.
    Text(String),
}

fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(u32),
        Text(String),
    }
    match Either::deserialize(deserializer) {
        Ok(Either::Number(number)) => Ok(Some(number)),
        // What a picked proxy is substituted by, or nothing.
        Ok(Either::Text(text)) if text.trim().is_empty() => Ok(None),
        Ok(Either::Text(text)) => text
            .trim()
            .parse()
            .map(Some)
            .map_err(|_| serde::de::Error::custom(format!("`pid` is a process id, not {text:?}"))),
        Err(_) => Err(serde::de::Error::custom("`pid` is a process id")),
    }
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        One(String),
        Many(Vec<String>),
    }
    match Either::deserialize(deserializer) {
        Ok(Either::One(text)) if text.is_empty() => Ok(Vec::new()),
        Ok(Either::One(text)) => Ok(vec![text]),
        Ok(Either::Many(texts)) => Ok(texts),
        Err(_) => {
            Err(serde::de::Error::custom("`filter`, `when` and `module` are a text or a list of texts"))
        }
    }
}

/// `cancel`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CancelArguments {
    /// The request's `seq`.
    pub request_id: Option<i64>,
    /// What `progressStart` named.
    pub progress_id: Option<String>,
}
