//! Why a command failed, as far as it decides the exit code.

use wasmdbg_session::text::TextError;
use wasmdbg_session::{Error, EvalError};

/// What the process ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// A command failed.
    Command = 1,
    /// The command line is wrong.
    Usage = 2,
    /// There is no session.
    Attach = 3,
    /// Nothing stopped in time.
    NoStop = 4,
}

/// A command that did not do what it was asked to.
#[derive(Debug)]
pub(crate) enum Failure {
    /// For the user to read.
    Command(anyhow::Error),
    /// Nothing stopped in time.
    NoStop(String),
    /// The connection is gone and the session with it.
    Gone(String),
}

impl Failure {
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Command(_) | Self::Gone(_) => Code::Command,
            Self::NoStop(_) => Code::NoStop,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Command(error) => f.write_str(&explain(error)),
            Self::NoStop(text) => f.write_str(text),
            Self::Gone(why) => write!(f, "{why}; what was stopped goes on"),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Command(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Disconnected(why) => Self::Gone(why),
            Error::Source(why) => Self::Command(anyhow::anyhow!(
                "{why}: `directory FOLDER` adds a directory to look in, --source-map FROM=TO maps paths"
            )),
            other => Self::Command(other.into()),
        }
    }
}

impl From<TextError> for Failure {
    fn from(error: TextError) -> Self {
        Self::Command(error.into())
    }
}

impl From<EvalError> for Failure {
    fn from(error: EvalError) -> Self {
        Self::Command(error.into())
    }
}

/// The error and its causes in one line; a cause that its error has said already is not said again.
pub(crate) fn explain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// Leaves a command with a message.
macro_rules! fail {
    ($($message:tt)*) => { return Err($crate::failure::Failure::Command(anyhow::anyhow!($($message)*))) };
}
pub(crate) use fail;
