//! What the host tells whoever runs it: logs, and what each callback did. Decides nothing about how that
//! is shown.

use std::fmt;

use wasmdbg_control::TransactionId;
use wasmdbg_control::text::escaped;
use wasmdbg_proxy_wasm::{Action, Level};

/// Takes what happens, on any thread; must return at once.
pub trait Report: Send + Sync + 'static {
    /// Something happened.
    fn take(&self, happening: Happening);

    /// Whether [`Happening::Callback`] and its like are wanted: they cost a copy of the headers.
    fn wants_callbacks(&self) -> bool;
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// A line of the filter's or the host's log.
    Log {
        /// The filter's name, or `wasmdbg`.
        source: String,
        /// How grave.
        level: Level,
        /// Whose; none of a root context or of the host.
        transaction: Option<TransactionId>,
        /// One line.
        message: String,
    },
    /// A request has come.
    Started {
        /// Its number.
        transaction: TransactionId,
        /// `GET`
        method: String,
        /// `/path?query`
        path: String,
    },
    /// A callback has returned.
    Callback {
        /// Whose.
        transaction: TransactionId,
        /// The export's name.
        callback: &'static str,
        /// It ran in the debug lane.
        debugged: bool,
        /// What it did to the headers.
        changes: Vec<Change>,
        /// What follows.
        verdict: Verdict,
    },
    /// Something else than a callback of it let a parked transaction go on.
    Resumed {
        /// Which.
        transaction: TransactionId,
        /// How.
        verdict: Verdict,
    },
    /// A file has had a foreign function of the filter called.
    ForeignFunction {
        /// Its number.
        function: u32,
        /// What came of it.
        called: Called,
    },
    /// The upstream has answered, or has not.
    Upstream {
        /// For which.
        transaction: TransactionId,
        /// The status, or why there is none.
        answer: Result<u16, String>,
    },
    /// The response is out and the context gone.
    Ended {
        /// Which.
        transaction: TransactionId,
        /// What the client got.
        status: Option<u16>,
    },
}

/// As lines for a person; from the second on they are indented.
impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log { source, level, transaction, message } => {
                let level = name_of(*level);
                match transaction {
                    Some(id) => write!(f, "    log {level} {source} #{id}: {message}"),
                    None => write!(f, "log {level} {source}: {message}"),
                }
            }
            Self::Started { transaction, method, path } => {
                write!(f, "#{transaction} {} {}", escaped(method), escaped(path))
            }
            Self::Callback { callback, changes, verdict, .. } => {
                write!(f, "  {callback}: {verdict}")?;
                changes.iter().try_for_each(|change| write!(f, "\n    {change}"))
            }
            Self::Resumed { verdict, .. } => write!(f, "  resumed: {verdict}"),
            Self::ForeignFunction { function, called } => write!(f, "foreign function {function}: {called}"),
            Self::Upstream { answer: Ok(status), .. } => write!(f, "  upstream: {status}"),
            Self::Upstream { answer: Err(why), .. } => write!(f, "  upstream: {}", escaped(why)),
            Self::Ended { status: Some(status), .. } => write!(f, "  client: {status}"),
            Self::Ended { status: None, .. } => f.write_str("  client: no response"),
        }
    }
}

fn name_of(level: Level) -> &'static str {
    match level {
        Level::Trace => "trace",
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
        Level::Critical => "critical",
    }
}

/// A change of a header map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which map.
    pub side: Side,
    /// The field.
    pub name: String,
    /// Its values before; none: it was not there.
    pub before: Option<String>,
    /// Its values now; none: it is gone.
    pub after: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| value.as_ref().map(|value| escaped(value).into_owned());
        let (side, name, before, after) =
            (self.side, escaped(&self.name), shown(&self.before), shown(&self.after));
        let side = match side {
            Side::Request => "request",
            Side::Response => "response",
        };
        match (before, after) {
            (None, Some(after)) => write!(f, "{side} + {name}: {after}"),
            (Some(before), None) => write!(f, "{side} - {name}: {before}"),
            (Some(before), Some(after)) => write!(f, "{side} ~ {name}: {before} -> {after}"),
            (None, None) => write!(f, "{side}   {name}"),
        }
    }
}

/// A header map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Of the request.
    Request,
    /// Of the response.
    Response,
}

/// What follows from a callback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The transaction goes on.
    Continue,
    /// It is parked.
    Pause,
    /// The filter answers it itself.
    Respond {
        /// The status.
        status: u32,
        /// The body, as text.
        body: String,
    },
    /// Its connection is closed.
    Close,
    /// The filter died, or had its time.
    Failed,
}

impl From<&Action> for Verdict {
    fn from(action: &Action) -> Self {
        match action {
            Action::Continue => Self::Continue,
            Action::Pause => Self::Pause,
            Action::Respond(response) => Self::Respond {
                status: response.status,
                body: String::from_utf8_lossy(&response.body).into_owned(),
            },
            Action::Close => Self::Close,
            Action::Failed => Self::Failed,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Continue => f.write_str("Continue"),
            Self::Pause => f.write_str("Pause"),
            Self::Respond { status, body } if body.is_empty() => write!(f, "answers {status}"),
            Self::Respond { status, body } => write!(f, "answers {status}: {}", escaped(body.trim_end())),
            Self::Close => f.write_str("closes the connection"),
            Self::Failed => f.write_str("failed"),
        }
    }
}

/// What came of a callback of the root context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Called {
    /// It has returned.
    Returned,
    /// The filter does not have it, or its capabilities forbid it.
    Absent,
    /// The filter died or cannot start, or is a service on another thread.
    Failed,
}

impl fmt::Display for Called {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Returned => "returned",
            Self::Absent => "the filter does not have it, or its capabilities forbid it",
            Self::Failed => "failed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_carries_its_filter_and_what_others_chose_stays_on_it() {
        let log = |transaction| Happening::Log {
            source: "token".into(),
            level: Level::Warn,
            transaction,
            message: "text".into(),
        };
        assert_eq!(log(None).to_string(), "log warn token: text");
        assert_eq!(log(Some(TransactionId(7))).to_string(), "    log warn token #7: text");
        let body = "no\nlog info wasmdbg: forged\n".to_owned();
        let verdict = Verdict::Respond { status: 403, body };
        assert_eq!(verdict.to_string(), r"answers 403: no\nlog info wasmdbg: forged");
        let forged = Err("no\nlog".to_owned());
        let upstream = Happening::Upstream { transaction: TransactionId(7), answer: forged };
        assert_eq!(upstream.to_string(), r"  upstream: no\nlog");
    }

    #[test]
    fn a_change_is_what_came_what_went_or_what_became_of_it() {
        let shown = |side, before: Option<&str>, after: Option<&str>| {
            let (before, after) = (before.map(Into::into), after.map(Into::into));
            Change { side, name: "x".into(), before, after }.to_string()
        };
        assert_eq!(shown(Side::Request, None, Some("1")), "request + x: 1");
        assert_eq!(shown(Side::Request, Some("1"), None), "request - x: 1");
        assert_eq!(shown(Side::Response, Some("1"), Some("2\n3")), r"response ~ x: 1 -> 2\n3");
    }
}
