//! Commands of the debug console, beside expressions: what an editor has no view for.

use std::sync::Arc;

use wasmdbg_control::filters::FilterState;
use wasmdbg_control::transactions::TransactionState;
use wasmdbg_session::Stop;

use crate::adapter::{Adapter, Answer};
use crate::protocol::{Body, State, Transaction, TransactionsBody};

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

impl Adapter {
    pub(crate) fn run_command(
        &mut self,
        command: Command<'_>,
        place: Option<(Arc<Stop>, u32)>,
    ) -> Result<String, String> {
        let stopped = || "nothing is stopped: send a request that matches".to_owned();
        let lines = match command.name {
            "help" => TABLE
                .iter()
                .map(|(name, usage, summary)| format!("{:24}{summary}", format!("{name} {usage}")))
                .collect(),
            "transactions" => self.transactions()?,
            "filters" => {
                let list = self.session()?.filters().map_err(|error| error.to_string())?;
                let one = |filter: &wasmdbg_control::filters::FilterInfo| {
                    let state = match &filter.state {
                        FilterState::Active => "active".to_owned(),
                        FilterState::Inactive { reason } => format!("inactive: {reason}"),
                    };
                    format!("{}  {state}  {}", filter.name, filter.module_path)
                };
                list.filters.iter().map(one).collect()
            }
            "breakpoints" => {
                let list = self.session()?.breakpoints();
                let one = |known: &wasmdbg_session::Breakpoint| {
                    let place = known.locations.first().map_or_else(
                        || format!("pending: {}", known.notes.join("; ")),
                        |first| {
                            first.position.as_ref().map_or(format!("{:#x}", first.pc), ToString::to_string)
                        },
                    );
                    format!(
                        "{}  {place}  {} places, {} hits",
                        known.requested,
                        known.locations.len(),
                        known.hits
                    )
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

    fn transactions(&mut self) -> Result<Vec<String>, String> {
        let TransactionsBody { transactions, fast_lane } = self.transactions_body()?;
        let one = |known: &Transaction| format!("{}  from {}  {}", known.name, known.client, known.detail);
        let mut lines: Vec<String> = transactions.iter().map(one).collect();
        lines.push(format!("{fast_lane} more in flight that are not debugged"));
        Ok(lines)
    }

    pub(crate) fn transaction_list(&mut self) -> Answer {
        Ok(Some(Body::from(self.transactions_body()?)))
    }

    fn transactions_body(&mut self) -> Result<TransactionsBody, String> {
        let session = self.session()?;
        let list = session.transactions().map_err(|error| error.to_string())?;
        let filters = &session.attached().filters;
        let transactions = list.transactions.into_iter().map(|known| {
            let (state, detail) = match known.state {
                TransactionState::Running { callback } => (State::Running, format!("runs {callback}")),
                TransactionState::Stopped { callback, .. } => {
                    (State::Stopped, format!("stopped in {callback}"))
                }
                TransactionState::Queued { callback } => {
                    (State::Queued, format!("waits for the filter's virtual machine, for {callback}"))
                }
                TransactionState::Paused { callback } => {
                    (State::Paused, format!("paused by the filter in {callback}, which has not continued it"))
                }
                TransactionState::Proxy => (State::Proxy, "in the proxy: cache, origin or client".to_owned()),
            };
            let filter = filters.iter().find(|filter| filter.filter == known.filter);
            Transaction {
                name: format!("{} {} #{}", known.method, known.path, known.id),
                filter: filter.map_or_else(String::new, |filter| filter.name.clone()),
                client: known.client,
                state,
                detail,
                age_ms: known.age_ms,
            }
        });
        Ok(TransactionsBody { transactions: transactions.collect(), fast_lane: list.fast_lane })
    }
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
