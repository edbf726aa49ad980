//! What the arguments of `attach` and `launch` mean.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize as _;
use serde_json::Value;
use wasmdbg_session::text::{parse_duration, parse_rule};
use wasmdbg_session::{AttachOptions, SymbolOptions};

use crate::protocol::{AttachArguments, CommonArguments, LaunchArguments, WrittenDuration};

/// How long a stop may last without a sign of life unless the user says otherwise: a person thinks.
const DEADLINE: Duration = Duration::from_secs(5 * 60);

/// How long a lost proxy is waited for unless the user says otherwise: a restart, or a build and a restart.
const PATIENCE: Duration = Duration::from_secs(60);

/// How the client wants a session to start.
#[derive(Debug, Clone)]
pub(crate) enum StartRequest {
    Attach(AttachArguments),
    Launch(LaunchArguments),
}

impl StartRequest {
    /// What both ways have in common.
    pub(crate) fn common(&self) -> &CommonArguments {
        match self {
            Self::Attach(arguments) => &arguments.common,
            Self::Launch(arguments) => &arguments.common,
        }
    }

    /// Nothing stops.
    pub(crate) fn no_debug(&self) -> bool {
        matches!(self, Self::Launch(arguments) if arguments.no_debug)
    }

    /// The process that the user has named.
    pub(crate) fn pid(&self) -> Option<u32> {
        match self {
            Self::Attach(arguments) => arguments.pid,
            Self::Launch(_) => None,
        }
    }

    /// The same way to start, with the arguments that a restart brings.
    pub(crate) fn with_arguments(&self, arguments: Value) -> Result<Self, serde_json::Error> {
        match self {
            Self::Attach(_) => AttachArguments::deserialize(arguments).map(Self::Attach),
            Self::Launch(_) => LaunchArguments::deserialize(arguments).map(Self::Launch),
        }
    }

    /// What is wrong with the arguments as they are written.
    pub(crate) fn check(&self) -> Result<(), String> {
        options(self.common(), false)?;
        if let Self::Attach(arguments) = self {
            patience(arguments)?;
        }
        Ok(())
    }
}

/// The options that `attach` and `launch` have in common. `all`: every request can stop unless there are
/// rules.
pub(crate) fn options(arguments: &CommonArguments, all: bool) -> Result<AttachOptions, String> {
    let rules = arguments.when.iter().map(|text| parse_rule(text));
    let rules = rules.collect::<Result<Vec<_>, _>>().map_err(|error| format!("`when`: {error}"))?;
    if arguments.all && !rules.is_empty() {
        return Err("`all` and `when` exclude each other: the rules would have no effect".into());
    }
    let deadline =
        arguments.deadline.as_ref().map_or(Ok(DEADLINE), |written| duration("deadline", written))?;
    let files = arguments.module.iter().map(PathBuf::from).collect();
    Ok(AttachOptions {
        all: arguments.all || (all && rules.is_empty()),
        rules,
        deadline: Some(deadline),
        symbols: SymbolOptions { files, ..SymbolOptions::default() },
        ..AttachOptions::default()
    })
}

/// How long a lost proxy is waited for; zero: not at all.
pub(crate) fn patience(arguments: &AttachArguments) -> Result<Duration, String> {
    match &arguments.reconnect {
        None => Ok(PATIENCE),
        Some(WrittenDuration::Seconds(seconds)) if *seconds == 0.0 => Ok(Duration::ZERO),
        Some(written) => duration("reconnect", written),
    }
}

/// The argument `name` as a duration.
fn duration(name: &str, written: &WrittenDuration) -> Result<Duration, String> {
    let parsed = match written {
        WrittenDuration::Text(text) => parse_duration(text),
        WrittenDuration::Seconds(seconds) => parse_duration(&format!("{seconds}s")),
    };
    parsed.map_err(|error| format!("`{name}`: {error}"))
}
