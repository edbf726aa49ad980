//! The beginning and the end: initialize, attach, launch, restart, cancel.

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
    /// How long to wait for a proxy that is gone to come back, as for `deadline`; 0: the session ends then.
    pub reconnect: Option<WrittenDuration>,
    /// The rest.
    #[serde(flatten)]
    pub common: CommonArguments,
}

/// `launch`, as written in `launch.json`: the filter in a small proxy of the adapter's own.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LaunchArguments {
    /// The filter's `.wasm` file.
    pub program: String,
    /// The filter's YAML, as for the plugin.
    pub config: Option<String>,
    /// What the filter's configure reads, instead of the YAML's.
    pub configuration: Option<String>,
    /// The plugin's settings.
    pub settings: Option<String>,
    /// Where to serve, such as `127.0.0.1:8080`; port 0: a free one.
    pub listen: Option<String>,
    /// Where requests go, `http://HOST:PORT`; none: a plain 200 answers them.
    pub upstream: Option<String>,
    /// A `.http` file whose requests are played.
    pub requests: Option<String>,
    /// The same; where a `launch.json` has the word for itself it says `launch`.
    pub request: Option<String>,
    /// Stop in the first callback of the filter.
    pub stop_on_entry: bool,
    /// Stop nowhere.
    pub no_debug: bool,
    /// The rest.
    #[serde(flatten)]
    pub common: CommonArguments,
}

impl LaunchArguments {
    /// The `.http` file.
    pub fn request_file(&self) -> Option<&String> {
        self.requests.as_ref().or(self.request.as_ref().filter(|request| *request != "launch"))
    }
}

/// What `attach` and `launch` have in common.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CommonArguments {
    /// Which requests stop; none: those with a generated header, all of a launch.
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
    pub deadline: Option<WrittenDuration>,
    /// Where sources are looked for too; the editor's folder.
    pub cwd: Option<String>,
}

/// A duration as users write it.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum WrittenDuration {
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

/// `restart`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct RestartArguments {
    /// Those of the `launch` or `attach` as they are now; none: as they were.
    pub arguments: Option<serde_json::Value>,
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
