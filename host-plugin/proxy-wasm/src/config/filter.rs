//! A filter's YAML, with the keys of Traffic Server's C++ Wasm plugin, so that an operator changes one
//! word to switch. Reads files; never loads a module.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};
use serde_norway::Value;

use super::limits::LimitsOverride;
use super::scalar::Scalar;
use super::yaml::{ConfigError, parse_yaml};

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
    /// Whether the filter has contexts of HTTP streams; `None`: its module says it, or its first requests show it.
    pub http: Option<bool>,
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
            http: None,
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
            http: config.http.map(|http| http.0),
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
    #[serde(default)]
    http: Option<Flag>,
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
