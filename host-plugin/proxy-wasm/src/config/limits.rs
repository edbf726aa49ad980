//! What a filter may use: the limits of the process and those that a filter sets of its own. Who holds it to
//! them is elsewhere.

use std::time::Duration;

use serde::Deserialize;

use super::scalar::{duration, size, time_limit};

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
    /// Metrics of a filter that the host shows; a histogram counts twice. The filter counts in others too.
    pub metrics: u32,
    /// Properties that all filters have left with one transaction under names of their own, in bytes.
    #[serde(deserialize_with = "size")]
    pub properties: u64,
    /// Keys and values of the shared data of one `vm_id`, in bytes.
    #[serde(deserialize_with = "size")]
    pub shared_data: u64,
    /// Messages that wait in one shared queue, in bytes.
    #[serde(deserialize_with = "size")]
    pub queue: u64,
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
            metrics: 200,
            properties: 64 << 10,
            shared_data: 16 << 20,
            queue: 16 << 20,
        }
    }
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
    metrics: Option<u32>,
    properties: Option<SizeText>,
    shared_data: Option<SizeText>,
    queue: Option<SizeText>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(transparent)]
struct DurationText(#[serde(deserialize_with = "duration")] Duration);

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(transparent)]
struct TimeLimitText(#[serde(deserialize_with = "time_limit")] Option<Duration>);

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(transparent)]
struct SizeText(#[serde(deserialize_with = "size")] u64);

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
            (self.properties, &mut limits.properties),
            (self.shared_data, &mut limits.shared_data),
            (self.queue, &mut limits.queue),
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
        limits.metrics = self.metrics.unwrap_or(limits.metrics);
        limits.map_fields = self.map_fields.unwrap_or(limits.map_fields);
        limits
    }
}
