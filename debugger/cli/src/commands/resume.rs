//! `continue`: lets the selected stop go on and waits for the next one.

use std::time::Duration;

use wasmdbg_session::Step;
use wasmdbg_session::text::parse_duration;

use super::command::{Command, Flow, Words};
use crate::debugger::Until;
use crate::failure::{Failure, fail};

pub(crate) const CONTINUE: Command = Command {
    name: "continue",
    aliases: &["c", "cont", "fg"],
    usage: "[--timeout D]",
    summary: "let the stopped request go on, and wait for the next stop",
    details: "\
With nothing stopped it only waits. At a prompt it also returns when the request that went on is done, and with
Ctrl-C; with requests of a file (`wasmdbg run --request`) when all have been played. In a batch it fails (exit
code 4) when nothing stops within D, by default 30s.",
    words: Words::None,
    repeats: true,
    run: |debugger, arguments| {
        let timeout = parse(arguments)?.or(debugger.user.timeout);
        let resumed = debugger.let_go(Step::Continue)?;
        debugger.wait(Until::Stop { resumed }, timeout)?;
        Ok(Flow::Next)
    },
};

fn parse(arguments: &str) -> Result<Option<Duration>, Failure> {
    let Some(value) = arguments.strip_prefix("--timeout") else {
        if arguments.is_empty() {
            return Ok(None);
        }
        fail!("`continue` takes --timeout D and nothing else, not {arguments:?}");
    };
    let value = value.trim_start_matches(['=', ' ']);
    // A bare number is seconds: here nobody can mean anything else.
    match value.parse::<u32>() {
        Ok(seconds) => Ok(Some(Duration::from_secs(seconds.into()))),
        Err(_) => Ok(Some(parse_duration(value)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_has_a_unit_or_is_in_seconds() {
        assert_eq!(parse("").unwrap(), None);
        assert_eq!(parse("--timeout 1").unwrap(), Some(Duration::from_secs(1)));
        assert_eq!(parse("--timeout=200ms").unwrap(), Some(Duration::from_millis(200)));
        assert!(parse("5").unwrap_err().to_string().contains("--timeout D and nothing else"));
        assert!(parse("--timeout").is_err());
    }
}
