//! Commands of the debug console, beside expressions: what an editor has no view for.

use std::sync::Arc;

use wasmdbg_control::filters::FilterState;
use wasmdbg_session::{Session, Stop};

use crate::protocol::{Transaction, TransactionsBody};
use crate::requests::threads;

/// A command and its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Command<'a> {
    name: &'static str,
    arguments: &'a str,
}

/// Name, arguments, summary.
const TABLE: [(&str, &str, &str); 7] = [
    ("help", "", "these commands; anything else is an expression of the stopped frame"),
    ("transactions", "", "the requests in the debugger and what each waits for"),
    ("filters", "", "the filters of the proxy"),
    ("breakpoints", "", "all breakpoints, where they stand and how often they were hit"),
    ("bt", "", "the frames of the stopped request"),
    ("location", "NAME", "where the debug info has a variable"),
    ("x", "EXPRESSION", "64 bytes of memory at an address or at a variable"),
];

/// The command that a line is, if it is one.
pub(crate) fn find(line: &str) -> Option<Command<'_>> {
    let line = line.trim();
    let (word, arguments) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let (name, usage, _) = TABLE.iter().find(|(name, ..)| *name == word)?;
    // `x + 1` is an expression.
    let fits = usage.is_empty() == arguments.trim().is_empty();
    fits.then(|| Command { name, arguments: arguments.trim() })
}

pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, ..)| *name)
}

/// Runs a command; some work without a session.
pub(crate) fn run(
    command: Command<'_>,
    session: Result<&Session, String>,
    place: Option<(Arc<Stop>, u32)>,
) -> Result<String, String> {
    let stopped = || "nothing is stopped: send a request that matches".to_owned();
    let lines = match command.name {
        "help" => TABLE
            .iter()
            .map(|(name, usage, summary)| format!("{:24}{summary}", format!("{name} {usage}")))
            .collect(),
        "transactions" => transactions(session?)?,
        "filters" => {
            let list = session?.filters().map_err(|error| error.to_string())?;
            let one = |filter: &wasmdbg_control::filters::FilterInfo| {
                let state = match &filter.state {
                    FilterState::Active if filter.service => {
                        "active, a service: requests go on without it".to_owned()
                    }
                    FilterState::Active => "active".to_owned(),
                    FilterState::Inactive { reason } => format!("inactive: {reason}"),
                };
                format!("{}  {state}  {}", filter.name, filter.module_path)
            };
            list.filters.iter().map(one).collect()
        }
        "breakpoints" => {
            let list = session?.breakpoints();
            let one = |known: &wasmdbg_session::Breakpoint| {
                let place = known.locations.first().map_or_else(
                    || format!("pending: {}", known.notes.join("; ")),
                    |first| first.position.as_ref().map_or(format!("{:#x}", first.pc), ToString::to_string),
                );
                format!("{}  {place}  {} places, {} hits", known.requested, known.locations.len(), known.hits)
            };
            list.iter().map(one).collect()
        }
        "bt" => {
            let (stop, _) = place.ok_or_else(stopped)?;
            let frames = stop.frames(0, 100).map_err(|error| error.to_string())?;
            let one = |frame: &wasmdbg_session::Frame| {
                let place =
                    frame.position.as_ref().map_or(format!("pc {:#x}", frame.pc), ToString::to_string);
                format!("#{} {} ({place})", frame.number, frame.function)
            };
            frames.iter().map(one).collect()
        }
        "location" => {
            let (stop, frame) = place.ok_or_else(stopped)?;
            let found =
                stop.describe_location(frame, command.arguments).map_err(|error| error.to_string())?;
            vec![found.ok_or_else(|| format!("no variable `{}`", command.arguments))?]
        }
        _ => {
            let (stop, frame) = place.ok_or_else(stopped)?;
            let value = stop.evaluate(frame, command.arguments).map_err(|error| error.to_string())?;
            let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
            let address = value.address().or(number);
            let address = address.ok_or("it is not in memory, and no address")?;
            dump(address, &stop.read_memory(address, 64).map_err(|error| error.to_string())?)
        }
    };
    Ok(if lines.is_empty() { "none".into() } else { lines.join("\n") })
}

fn transactions(session: &Session) -> Result<Vec<String>, String> {
    let TransactionsBody { transactions, fast_lane } = threads::transactions(session)?;
    let one = |known: &Transaction| format!("{}  from {}  {}", known.name, known.client, known.detail);
    let mut lines: Vec<String> = transactions.iter().map(one).collect();
    lines.push(format!("{fast_lane} more in flight that are not debugged"));
    Ok(lines)
}

fn dump(address: u64, bytes: &[u8]) -> Vec<String> {
    let row = |(index, row): (usize, &[u8])| {
        let hex: Vec<_> = row.iter().map(|byte| format!("{byte:02x}")).collect();
        let shown = |byte: &u8| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' };
        let text: String = row.iter().map(shown).collect();
        format!("{:#010x}  {:47}  {text}", address + index as u64 * 16, hex.join(" "))
    };
    bytes.chunks(16).enumerate().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_expressions_are_told_apart() {
        assert_eq!(find(" bt ").map(|command| command.name), Some("bt"));
        assert_eq!(find("x token").map(|command| command.arguments), Some("token"));
        assert_eq!(find("x"), None);
        assert_eq!(find("bt + 1"), None);
        assert_eq!(find("token"), None);
    }
}
