//! What operators write: a file for each filter, and the settings of the process. Reads files; never loads a
//! module.

mod filter;
mod scalar;
mod settings;

pub use self::filter::{ConfigError, FilterConfig, LimitsOverride};
pub use self::settings::{
    Control, Debug, Limits, Perf, Settings, parse_duration, parse_size, parse_time_limit,
};
