//! Traps in the server's log, with source lines. Owns the thread that reads DWARF for them: an event
//! thread only records module, function and pc.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wasmdbg_control::{FilterId, TransactionId};
use wasmdbg_proxy_wasm::{TrapFrame, TrapReport};
use wasmdbg_symbols::{ModulePc, Symbols};

use crate::plugin::{Plugin, plugin};
use crate::ts;

/// How long a module's line tables are kept after its last trap.
const KEPT: Duration = Duration::from_secs(30);

/// Reports on their way from the runtime to the thread that is started later.
static WAITING: Mutex<Option<Receiver<TrapReport>>> = Mutex::new(None);

/// Keeps the receiver until [`start`].
pub(crate) fn keep(reports: Receiver<TrapReport>) {
    *WAITING.lock().unwrap_or_else(PoisonError::into_inner) = Some(reports);
}

/// Starts the thread. The event system must run.
pub(crate) fn start() {
    let Some(reports) = WAITING.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
    // Never joined: it lives as long as the process.
    if let Err(error) = ts::spawn("[WASMDBG_LOG]", Box::new(move || serve(&reports))) {
        ts::error(&format!("traps of filters are not logged: {error}"));
    }
}

fn serve(reports: &Receiver<TrapReport>) {
    let Some(plugin) = plugin() else { return };
    let mut open = HashMap::new();
    loop {
        match reports.recv_timeout(KEPT) {
            Ok(report) => write(&report, symbols(plugin, report.filter, &mut open)),
            Err(RecvTimeoutError::Timeout) => open.clear(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// The filter's symbols; none when its module cannot be read any more.
fn symbols(
    plugin: &Plugin,
    id: FilterId,
    open: &mut HashMap<FilterId, Option<Arc<Symbols>>>,
) -> Option<Arc<Symbols>> {
    let read = || {
        let filter = plugin.filters.iter().find(|filter| filter.id() == id)?;
        Symbols::new(Arc::clone(filter.module_bytes())).ok().map(Arc::new)
    };
    open.entry(id).or_insert_with(read).clone()
}

/// The message in one line, then one line for each frame.
fn write(report: &TrapReport, symbols: Option<Arc<Symbols>>) {
    let whose = report.transaction.map(|TransactionId(id)| format!(" #{id}")).unwrap_or_default();
    let name = &report.filter_name;
    let mut frames = Vec::new();
    for frame in &report.frames {
        describe(*frame, symbols.as_deref(), &mut frames);
    }
    let place = frames.first().map(|frame| format!(" at {frame}")).unwrap_or_default();
    ts::error(&format!("{name}{whose}: {} failed: {}{place}", report.callback, report.message));
    for (number, frame) in frames.iter().enumerate() {
        ts::error(&format!("{name}{whose}:   #{number} {frame}"));
    }
    if symbols.is_some_and(|symbols| !symbols.has_debug_info()) {
        ts::error(&format!("{name}{whose}:   the module has no debug info: build it with -g (Rust: debug = true)"));
    }
}

/// Source frames of one activation, the inlined ones first: `function (file:line:column)`.
fn describe(frame: TrapFrame, symbols: Option<&Symbols>, lines: &mut Vec<String>) {
    let bare = |lines: &mut Vec<String>| {
        let mut line = format!("function {}", frame.function);
        if let Some(pc) = frame.pc {
            // Writing to a String does not fail.
            let _ = write!(line, " at {pc:#x}");
        }
        lines.push(line);
    };
    let (Some(symbols), Some(pc)) = (symbols, frame.pc) else { return bare(lines) };
    let found = symbols.frames(ModulePc(pc));
    if found.is_empty() {
        return bare(lines);
    }
    for source in found {
        let mut line = source.name.full.to_string();
        let _ = match source.position {
            Some(position) => write!(line, " ({}:{}:{})", position.path, position.line, position.column),
            None => write!(line, " (pc {pc:#x})"),
        };
        lines.push(line);
    }
}
