//! What operators write: a file for each filter, and the settings of the process. Reads files; never loads a
//! module.

mod filter;
mod limits;
mod scalar;
mod settings;
mod yaml;

pub use self::filter::FilterConfig;
pub use self::limits::{Limits, LimitsOverride};
pub use self::settings::{Control, Debug, Perf, Settings};
pub use self::yaml::ConfigError;
