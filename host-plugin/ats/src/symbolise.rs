//! Source lines for the log, from a module's own debug info. Runs on the agent's thread alone.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmdbg_proxy_wasm::TrapFrame;
use wasmdbg_proxy_wasm::agent::Symbolise;
use wasmdbg_proxy_wasm::code::{SourceLine, SourceNames};
use wasmdbg_symbols::demangle::demangle;
use wasmdbg_symbols::{ModulePc, Symbols};

/// Says where a frame is: `is_prime (src/lib.rs:120:8)`, an inlined function before the one that holds
/// it. Keeps what it has read of one module, the last: traps come in series.
pub(crate) fn symbolise() -> Symbolise {
    let mut last: Option<(Arc<[u8]>, Option<Symbols>)> = None;
    Box::new(move |bytes, frame| {
        let other = last.as_ref().is_none_or(|(module, _)| !Arc::ptr_eq(module, bytes));
        if other {
            last = Some((Arc::clone(bytes), Symbols::new(Arc::clone(bytes)).ok()));
        }
        place(last.as_ref()?.1.as_ref()?, *frame)
    })
}

/// Names and lines for files that `perf` reads. Keeps the last module, as [`symbolise`] does.
pub(crate) fn source_names() -> SourceNames {
    let last = Arc::new(Mutex::new(Last::default()));
    let of_functions = Arc::clone(&last);
    SourceNames {
        function: Box::new(move |bytes, index| Some(function_name(lock(&of_functions).open(bytes)?, index))),
        lines: Box::new(move |bytes, places| {
            lock(&last).open(bytes).map(|symbols| lines(symbols, places)).unwrap_or_default()
        }),
    }
}

/// The agent is one thread: nobody waits.
fn lock(last: &Mutex<Last>) -> MutexGuard<'_, Last> {
    last.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The module that was asked for last.
#[derive(Default)]
struct Last(Option<(Arc<[u8]>, Option<Symbols>)>);

impl Last {
    fn open(&mut self, bytes: &Arc<[u8]>) -> Option<&Symbols> {
        if self.0.as_ref().is_none_or(|(module, _)| !Arc::ptr_eq(module, bytes)) {
            self.0 = Some((Arc::clone(bytes), Symbols::new(Arc::clone(bytes)).ok()));
        }
        self.0.as_ref()?.1.as_ref()
    }
}

/// The name section's: the name in the debug info costs reading all of it.
fn function_name(symbols: &Symbols, index: u32) -> String {
    match symbols.module().raw_function_name(index) {
        Some(name) => demangle(name),
        None => symbols.function_name(index).full.to_string(),
    }
}

fn lines(symbols: &Symbols, places: &[(usize, ModulePc)]) -> Vec<SourceLine> {
    let mut cursor = symbols.line_cursor();
    let mut lines: Vec<SourceLine> = Vec::new();
    for (offset, pc) in places {
        let Some((file, line)) = cursor.at(*pc) else { continue };
        // Files are the same text when they are the same.
        if lines.last().is_none_or(|last| last.line != line || !Arc::ptr_eq(&last.file, file)) {
            lines.push(SourceLine { offset: *offset, file: Arc::clone(file), line });
        }
    }
    lines
}

fn place(symbols: &Symbols, frame: TrapFrame) -> Option<String> {
    let pc = frame.pc?;
    let mut text = String::new();
    for source in symbols.frames(pc) {
        if !text.is_empty() {
            text.push_str(" in ");
        }
        text.push_str(&source.name.full);
        // Writing to a String does not fail.
        let _ = match source.position {
            Some(position) => write!(text, " ({}:{}:{})", position.path, position.line, position.column),
            None => write!(text, " (pc {pc})"),
        };
    }
    (!text.is_empty()).then_some(text)
}
