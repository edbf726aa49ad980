//! The text forms of rules and durations on the command line: those of the session engine.

pub(crate) use wasmdbg_session::text::{describe, parse_duration, parse_rule, show_duration};
