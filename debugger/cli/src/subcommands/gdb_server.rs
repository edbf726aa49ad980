//! `wasmdbg gdb-server`: live filters for a stock LLDB.

use anyhow::{Context, Result};
use wasmdbg_control::session::{Attach, LaneStart};
use wasmdbg_gdb_remote::{Attached, Listener};

use crate::args::GdbServer;
use crate::show::rules::{greeting, show_rules};
use crate::subcommands::attach::DEADLINE;
use crate::subcommands::connect;
use crate::terminal::console::{Console, Paint, log};

/// Serves until the proxy is gone.
pub(crate) fn run(options: GdbServer, console: &mut Console) -> Result<()> {
    let named = options.attach.target.as_deref();
    let listener = Listener::bind(options.listen, options.remote)?;
    let (client, events) =
        connect::connect(named).with_context(|| format!("cannot attach to {}", connect::display(named)))?;
    let greeting = greeting(&client, console);
    console.say(&greeting);
    let deadline = options.attach.deadline.unwrap_or(DEADLINE);
    let request = Attach {
        filters: options.attach.filters,
        rules: options.attach.rules,
        all: options.attach.all,
        deadline_ms: Some(u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX)),
        start: LaneStart::AtOnce,
    };
    let attached = Attached::new(client, events, request)?;
    for filter in attached.filters() {
        let name = console.paint(Paint::Function, &filter.name);
        console.say(&format!("filter {name} can be debugged"));
    }
    show_rules(attached.rules(), console);
    let address = listener.address()?;
    let command = console.paint(Paint::Strong, &format!("process connect --plugin wasm connect://{address}"));
    console.say(&format!("in LLDB 22 or newer:\n  {command}"));
    Ok(listener.serve(attached, log)?)
}
