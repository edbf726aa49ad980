//! `transactions`: the requests on the debug lane, and which of them is looked at.

use std::fmt::Write as _;
use std::time::Duration;

use wasmdbg_control::stop::Context;
use wasmdbg_control::transactions::{TransactionInfo, TransactionState};
use wasmdbg_session::Session;
use wasmdbg_session::text::show_duration;

use super::command::{Command, Flow, Words};
use crate::debugger::{Debugger, Selection};
use crate::failure::{Failure, fail};
use crate::show::count;
use crate::terminal::console::{Console, Paint, harmless};

pub(crate) const TRANSACTIONS: Command = Command {
    name: "transactions",
    aliases: &["threads", "thread"],
    usage: "[NUMBER]",
    summary: "show the requests that can be debugged, or look at the stopped one with this number",
    details: "",
    words: Words::None,
    repeats: false,
    run: |debugger, arguments| match arguments {
        "" => show(&debugger.session, &debugger.selection, &mut debugger.console),
        number => select(debugger, number),
    },
};

/// Shows the list; `info transactions` does too.
pub(super) fn show(session: &Session, selection: &Selection, console: &mut Console) -> Result<Flow, Failure> {
    let list = session.transactions()?;
    let selected = selection.current().and_then(|selected| match &selected.stop.info().context {
        Context::Stream { transaction, .. } => Some(*transaction),
        Context::Root { .. } => None,
    });
    let mut text = String::new();
    for transaction in &list.transactions {
        let mark = if selected == Some(transaction.id) { '*' } else { ' ' };
        let _ = writeln!(text, "{mark} {}", line(transaction, console));
    }
    if list.transactions.is_empty() {
        text.push_str("no request is on the debug lane\n");
    }
    let _ =
        write!(text, "beside them {} in flight that cannot be debugged", count(list.fast_lane, "request"));
    console.say(&text);
    Ok(Flow::Next)
}

fn line(transaction: &TransactionInfo, console: &Console) -> String {
    let state = match &transaction.state {
        TransactionState::Running { callback } => format!("runs {callback}"),
        TransactionState::Stopped { callback, .. } => format!("stopped in {callback}"),
        TransactionState::Queued { callback } => format!("waits for its virtual machine to run {callback}"),
        TransactionState::Paused { callback } => format!("paused by the filter in {callback}"),
        TransactionState::Proxy => "in the proxy's hands".to_owned(),
    };
    let name = format!("{} {} #{}", transaction.method, transaction.path, transaction.id);
    let age = show_duration(Duration::from_millis(transaction.age_ms.max(1)));
    format!(
        "{}  {}  from {}, {age} old",
        console.paint(Paint::Strong, &name),
        harmless(&state),
        harmless(&transaction.client)
    )
}

fn select(debugger: &mut Debugger, arguments: &str) -> Result<Flow, Failure> {
    let Ok(number) = arguments.trim_start_matches('#').parse::<u64>() else {
        fail!("{arguments:?} is no transaction's number: `transactions` lists them");
    };
    let found = debugger.session.stops().into_iter().find(
        |stop| matches!(&stop.info().context, Context::Stream { transaction, .. } if transaction.0 == number),
    );
    match found {
        Some(stop) => debugger.select(stop),
        None => fail!("#{number} is not stopped: `transactions` says what it does"),
    }
    Ok(Flow::Next)
}
