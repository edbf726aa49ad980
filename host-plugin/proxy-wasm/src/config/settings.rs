//! What is process-wide: control socket, debug lane, limits of every filter. Never looks at a filter.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::limits::Limits;
use super::scalar::{duration, size};
use super::yaml::{ConfigError, parse_yaml};

/// `wasmdbg.yaml`, given as `--settings`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The control socket.
    pub control: Control,
    /// The debug lane.
    pub debug: Debug,
    /// Limits of every filter; a filter's own `limits` override them.
    pub limits: Limits,
    /// How long transactions wait for a virtual machine, and the CPU time that one start
    /// (`proxy_on_vm_start`, `proxy_on_configure`) may take.
    #[serde(deserialize_with = "duration")]
    pub start_timeout: Duration,
    /// The file for `perf` that is written when the plugin starts to serve; one can be asked for later too.
    pub perf: Perf,
    /// The folder of that file; the system's folder for temporary files unless given.
    pub perf_directory: Option<PathBuf>,
}

/// A file that names compiled code for `perf`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Perf {
    /// None.
    #[default]
    Off,
    /// `perf-PID.map`: names alone.
    Map,
    /// `jit-PID.dump`: names, code and lines.
    Jitdump,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            control: Control::default(),
            debug: Debug::default(),
            limits: Limits::default(),
            start_timeout: Duration::from_secs(5),
            perf: Perf::Off,
            perf_directory: None,
        }
    }
}

/// The control socket.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Control {
    /// Whether there is one.
    pub enabled: bool,
    /// Where; the default is in the proxy's runtime directory.
    pub socket: Option<PathBuf>,
    /// Names or numbers of the users who may connect besides the proxy's own user and root.
    pub users: Vec<String>,
}

impl Default for Control {
    fn default() -> Self {
        Self { enabled: true, socket: None, users: Vec::new() }
    }
}

/// The debug lane.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Debug {
    /// Debug virtual machines of the process.
    pub max_vms: u32,
    /// Memory that debug virtual machines may take together, in bytes.
    #[serde(deserialize_with = "size")]
    pub max_memory: u64,
    /// How long a transaction may stand at a stop without a sign of life of its controller.
    #[serde(deserialize_with = "duration")]
    pub pause_deadline: Duration,
    /// Whether lldb and gdb can debug the filters in the proxy's own process: the fast lane's code is
    /// compiled without optimisation and with debug info. Costs every request; for no production.
    pub native: bool,
}

impl Default for Debug {
    fn default() -> Self {
        Self { max_vms: 4, max_memory: 512 << 20, pause_deadline: Duration::from_secs(300), native: false }
    }
}

impl Settings {
    /// Reads `path`. The second value are warnings, one for each unknown key.
    ///
    /// # Errors
    /// The file cannot be read, or is not what it should be; with line and column.
    pub fn read(path: &Path) -> Result<(Self, Vec<String>), ConfigError> {
        let text =
            fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// As [`Settings::read`], of a text that came from `path`.
    ///
    /// # Errors
    /// As [`Settings::read`].
    pub fn parse(text: &str, path: &Path) -> Result<(Self, Vec<String>), ConfigError> {
        if let Ok(serde_norway::Value::Null) = serde_norway::from_str(text) {
            return Ok((Self::default(), Vec::new()));
        }
        let (settings, warnings) = parse_yaml::<Self>(text, path)?;
        if settings.debug.max_vms == 0 {
            return Err(ConfigError::invalid(path, "debug.max_vms must be at least 1"));
        }
        Ok((settings, warnings))
    }
}
