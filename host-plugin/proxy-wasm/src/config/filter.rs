//! A filter's YAML, with the keys of Traffic Server's C++ Wasm plugin, so that an operator changes one
//! word to switch. Reads files; never loads a module.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_norway::Value;

use super::scalar::Scalar;
use super::settings::Limits;

/// One filter.
#[derive(Debug, Clone)]
pub struct FilterConfig {
    /// `config.name`; the file's name when there is none.
    pub name: String,
    /// `config.rootId`
    pub root_id: String,
    /// What `proxy_on_configure` reads. A text as it is, anything else as JSON.
    pub configuration: String,
    /// Whether transactions pass when the filter cannot run.
    pub fail_open: bool,
    /// `config.vmConfig.vmId`
    pub vm_id: String,
    /// What `proxy_on_vm_start` reads.
    pub vm_configuration: String,
    /// The module.
    pub module_path: PathBuf,
    /// Environment of the guest.
    pub environment: Vec<(String, String)>,
    /// Functions and callbacks the filter may use; `None`: all.
    pub capabilities: Option<BTreeSet<String>>,
    /// `config.limits`, where it differs from the settings.
    pub limits: LimitsOverride,
}

/// `config.limits`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub struct LimitsOverride {
    cpu_per_callback: Option<DurationText>,
    memory: Option<SizeText>,
    pause: Option<TimeLimitText>,
    done: Option<TimeLimitText>,
    log_bytes: Option<SizeText>,
    log_lines: Option<u32>,
    log_rate: Option<SizeText>,
    map_fields: Option<u32>,
    map_bytes: Option<SizeText>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(transparent)]
struct DurationText(#[serde(deserialize_with = "crate::config::settings::duration")] std::time::Duration);

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(transparent)]
struct TimeLimitText(
    #[serde(deserialize_with = "crate::config::settings::time_limit")] Option<std::time::Duration>,
);

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(transparent)]
struct SizeText(#[serde(deserialize_with = "crate::config::settings::size")] u64);

impl LimitsOverride {
    /// `limits` with what this filter sets of its own.
    #[must_use]
    pub fn over(self, mut limits: Limits) -> Limits {
        if let Some(DurationText(cpu)) = self.cpu_per_callback {
            limits.cpu_per_callback = cpu;
        }
        let sizes = [
            (self.memory, &mut limits.memory),
            (self.log_bytes, &mut limits.log_bytes),
            (self.log_rate, &mut limits.log_rate),
            (self.map_bytes, &mut limits.map_bytes),
        ];
        for (own, limit) in sizes {
            if let Some(SizeText(own)) = own {
                *limit = own;
            }
        }
        if let Some(TimeLimitText(pause)) = self.pause {
            limits.pause = pause;
        }
        if let Some(TimeLimitText(done)) = self.done {
            limits.done = done;
        }
        limits.log_lines = self.log_lines.unwrap_or(limits.log_lines);
        limits.map_fields = self.map_fields.unwrap_or(limits.map_fields);
        limits
    }
}

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
    pub(crate) fn invalid(path: &Path, message: impl ToString) -> Self {
        Self::Invalid { path: path.to_owned(), message: message.to_string() }
    }
}

impl FilterConfig {
    /// Reads `path`. A relative module is looked up beside it, then in `config_dir`. The second value
    /// are warnings: unknown keys, and keys that have no effect here.
    ///
    /// # Errors
    /// The file cannot be read, or is not what it should be; with line and column.
    pub fn read(path: &Path, config_dir: Option<&Path>) -> Result<(Self, Vec<String>), ConfigError> {
        let text =
            fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path, config_dir)
    }

    /// What takes the place of the file at `path` when [`FilterConfig::read`] fails: a filter without a
    /// module. A mistake elsewhere in the file does not open a filter that says `fail_open: false`.
    pub fn unreadable(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_default();
        Self {
            name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            root_id: String::new(),
            configuration: String::new(),
            fail_open: !says_closed(&text),
            vm_id: String::new(),
            vm_configuration: String::new(),
            module_path: PathBuf::new(),
            environment: Vec::new(),
            capabilities: None,
            limits: LimitsOverride::default(),
        }
    }

    /// As [`FilterConfig::read`], of a text that came from `path`.
    ///
    /// # Errors
    /// As [`FilterConfig::read`].
    pub fn parse(
        text: &str,
        path: &Path,
        config_dir: Option<&Path>,
    ) -> Result<(Self, Vec<String>), ConfigError> {
        let (File { config }, mut warnings) = parse_yaml::<File>(text, path)?;
        let vm = config.vm_config;
        if !vm.runtime.is_empty() && !vm.runtime.ends_with("wasmtime") {
            warnings.push(format!("runtime: {} is ignored, the filter runs on wasmtime", vm.runtime));
        }
        if vm.allow_precompiled.is_some() {
            warnings.push(String::from(
                "allow_precompiled is ignored, modules are compiled by the plugin itself",
            ));
        }
        let mut environment = Vec::new();
        for key in vm.environment_variables.host_env_keys {
            if let Ok(value) = std::env::var(&key.0) {
                environment.push((key.0, value));
            }
        }
        for (key, value) in vm.environment_variables.key_values {
            environment.push((text_of(&key), text_of(&value)));
        }
        let name = match config.name.0.as_str() {
            "" => path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            name => name.to_owned(),
        };
        let filter = Self {
            name,
            root_id: config.root_id.0,
            configuration: config.configuration.0,
            fail_open: config.fail_open.0,
            vm_id: vm.vm_id.0,
            vm_configuration: vm.configuration.0,
            module_path: locate(&vm.code.local.filename, path, config_dir),
            environment,
            capabilities: config.capability_restriction_config.allowed(),
            limits: config.limits,
        };
        Ok((filter, warnings))
    }
}

/// Whether a text that is no configuration says `fail_open: false` outside of its comments. It may be no YAML.
fn says_closed(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.split(" #").next().unwrap_or_default();
        let value = line.split_once("fail_open").map(|(_, rest)| rest.trim_start_matches(['"', '\'', ' ']));
        let value = value.and_then(|rest| rest.strip_prefix(':')).unwrap_or_default();
        value.trim_start_matches([' ', '"', '\'']).starts_with("false") && !line.trim_start().starts_with('#')
    })
}

/// Reads YAML; the second value are warnings that name the unknown keys.
pub(crate) fn parse_yaml<T: DeserializeOwned>(
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

fn locate(filename: &Path, yaml: &Path, config_dir: Option<&Path>) -> PathBuf {
    let beside = yaml.parent().unwrap_or(Path::new("")).join(filename);
    if filename.is_absolute() || beside.exists() {
        return beside;
    }
    match config_dir.map(|dir| dir.join(filename)) {
        Some(configured) if configured.exists() => configured,
        _ => beside,
    }
}

#[derive(Deserialize)]
struct File {
    config: Config,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    name: Text,
    #[serde(default, rename = "rootId", alias = "root_id")]
    root_id: Text,
    #[serde(default)]
    configuration: Text,
    #[serde(default)]
    fail_open: Flag,
    #[serde(rename = "vmConfig", alias = "vm_config")]
    vm_config: VmConfig,
    #[serde(default)]
    capability_restriction_config: CapabilityRestriction,
    #[serde(default)]
    limits: LimitsOverride,
}

#[derive(Deserialize)]
struct VmConfig {
    #[serde(default)]
    runtime: String,
    #[serde(default, rename = "vmId", alias = "vm_id")]
    vm_id: Text,
    #[serde(default)]
    configuration: Text,
    #[serde(default)]
    allow_precompiled: Option<Flag>,
    #[serde(default)]
    environment_variables: Environment,
    code: Code,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Environment {
    host_env_keys: Vec<Text>,
    key_values: serde_norway::Mapping,
}

#[derive(Deserialize)]
struct Code {
    local: Local,
}

#[derive(Deserialize)]
struct Local {
    filename: PathBuf,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CapabilityRestriction {
    allowed_capabilities: Capabilities,
}

/// A list of names, as in the C++ plugin, or a map whose keys are the names, as in Envoy.
#[derive(Deserialize)]
#[serde(untagged)]
enum Capabilities {
    Names(Vec<String>),
    Map(serde_norway::Mapping),
}

impl Default for Capabilities {
    fn default() -> Self {
        Self::Names(Vec::new())
    }
}

impl CapabilityRestriction {
    /// An empty list restricts nothing, as in the reference host.
    fn allowed(self) -> Option<BTreeSet<String>> {
        let names: BTreeSet<String> = match self.allowed_capabilities {
            Capabilities::Names(names) => names.into_iter().collect(),
            Capabilities::Map(map) => map.keys().map(text_of).collect(),
        };
        (!names.is_empty()).then_some(names)
    }
}

/// A text; another scalar as it is written, a list or map as JSON.
#[derive(Default)]
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(|value| Self(text_of(&value)))
    }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => serde_json::to_string(other).unwrap_or_default(),
    }
}

/// A boolean, quoted or not; true unless it says false.
struct Flag(bool);

impl Default for Flag {
    fn default() -> Self {
        Self(true)
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = |text: &str| match text {
            "true" => Ok(Self(true)),
            "false" => Ok(Self(false)),
            _ => Err(format!("expected true or false, found {text}")),
        };
        deserializer.deserialize_any(Scalar::new(read, "true or false"))
    }
}
