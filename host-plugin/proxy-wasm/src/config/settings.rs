//! What is process-wide: control socket, debug limits, limits of callbacks. Owns the spelling of
//! durations and sizes. Never looks at a filter.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::filter::{ConfigError, parse_yaml};
use super::scalar::Scalar;

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

/// What one filter may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// CPU time of the thread in one callback, host calls included.
    #[serde(deserialize_with = "duration")]
    pub cpu_per_callback: Duration,
    /// Memories and tables of one virtual machine together, in bytes.
    #[serde(deserialize_with = "size")]
    pub memory: u64,
    /// How long a transaction may stay paused before the fail policy applies; none: for ever.
    #[serde(deserialize_with = "time_limit")]
    pub pause: Option<Duration>,
    /// How long a transaction that is over may be held after `proxy_on_done` returned false; none: for ever.
    #[serde(deserialize_with = "time_limit")]
    pub done: Option<Duration>,
    /// Bytes that one callback may log.
    #[serde(deserialize_with = "size")]
    pub log_bytes: u64,
    /// Lines that one callback may log.
    pub log_lines: u32,
    /// Bytes a second that all virtual machines of a filter may log, traps included.
    #[serde(deserialize_with = "size")]
    pub log_rate: u64,
    /// Fields that a filter may add to one header map of a transaction, whatever came in it.
    pub map_fields: u32,
    /// Bytes that a filter may write into one header map of a transaction, in all, and as many into its
    /// properties. Those of a map that it replaces as a whole come on top.
    #[serde(deserialize_with = "size")]
    pub map_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cpu_per_callback: Duration::from_millis(500),
            memory: 256 << 20,
            pause: Some(Duration::from_secs(60)),
            done: Some(Duration::from_secs(30)),
            log_bytes: 64 << 10,
            log_lines: 1000,
            log_rate: 256 << 10,
            map_fields: 500,
            map_bytes: 256 << 10,
        }
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

/// Reads `500 ms`, `5s`, `2 m`, `1h`.
///
/// # Errors
/// Says how a duration is written.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = number_and_unit(text);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("{text:?} is not a duration: a number with ms, s, m or h")),
    };
    number
        .and_then(|number| Duration::try_from_secs_f64(number * seconds).ok())
        .ok_or_else(|| format!("{text:?} is not a duration: a number with ms, s, m or h"))
}

/// Reads a duration above zero, or `off` for no limit.
///
/// # Errors
/// Says how a time limit is written.
pub fn parse_time_limit(text: &str) -> Result<Option<Duration>, String> {
    match text.trim() {
        "off" => Ok(None),
        text => match parse_duration(text)? {
            Duration::ZERO => Err(format!("{text:?} leaves no time at all: write off for no limit")),
            limit => Ok(Some(limit)),
        },
    }
}

/// Reads `65536`, `256 MB`, `1GiB`; K, M and G are powers of 1024, with or without `B` or `iB`.
///
/// # Errors
/// Says how a size is written.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = number_and_unit(text);
    let shift = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        _ => return Err(format!("{text:?} is not a size: a number with KB, MB or GB")),
    };
    match number {
        // A size above 2^53 loses bits here and is far above any limit that can be met.
        Some(number) if number >= 0.0 => Ok((number * f64::from(1u32 << shift)) as u64),
        _ => Err(format!("{text:?} is not a size: a number with KB, MB or GB")),
    }
}

fn number_and_unit(text: &str) -> (Option<f64>, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number.parse().ok(), unit.trim_start())
}

/// serde: a [`Duration`] written as [`parse_duration`] reads it.
pub(crate) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer.deserialize_any(Scalar::new(parse_duration, "a number with ms, s, m or h"))
}

/// serde: a time limit written as [`parse_time_limit`] reads it.
pub(crate) fn time_limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    deserializer.deserialize_any(Scalar::new(parse_time_limit, "a number with ms, s, m or h, or off"))
}

/// serde: a number of bytes written as [`parse_size`] reads it.
pub(crate) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    deserializer.deserialize_any(Scalar::new(parse_size, "a number with KB, MB or GB"))
}
