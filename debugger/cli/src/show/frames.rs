//! Frames, variables and source lines as text.

use std::fmt::Write as _;

use wasmdbg_session::{Frame, ScopeKind, SourceLines, Stop, Variable};

use crate::terminal::console::{Console, Paint, harmless};

/// Longest text of one argument in a frame's line.
const ARGUMENT: usize = 60;

/// `#0  judge (text="7") at src/lib.rs:31`, in gdb's manner, with `~` before a line that is only near; the
/// pc where there is no line.
pub(crate) fn frame_line(stop: &Stop, frame: &Frame, console: &Console) -> String {
    let mut text = format!("#{:<3}", frame.number);
    if frame.position.is_none() {
        let _ = write!(text, "{:#010x} in ", frame.pc);
    }
    text.push_str(&console.paint(Paint::Function, &frame.function));
    text.push_str(" (");
    let arguments = stop.variables(frame.number, ScopeKind::Arguments).unwrap_or_default();
    for (index, argument) in arguments.iter().enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        let value = argument.value.summary();
        let _ = write!(text, "{separator}{}={}", console.paint(Paint::Name, &argument.name), brief(&value));
    }
    text.push(')');
    if let Some(position) = &frame.position {
        let about = if frame.approximate { "~" } else { "" };
        let _ = write!(text, " at {}", console.paint(Paint::Place, &format!("{about}{position}")));
    }
    if frame.inlined {
        let _ = write!(text, " {}", console.paint(Paint::Faint, "[inlined]"));
    }
    text
}

/// `token: u32 = 91`.
pub(crate) fn variable_line(variable: &Variable, console: &Console) -> String {
    let name = console.paint(Paint::Name, &variable.name);
    let value = variable.value.summary();
    let value = harmless(&value);
    match variable.value.type_name() {
        "" => format!("{name} = {value}"),
        ty => format!("{name}: {} = {value}", console.paint(Paint::Faint, ty)),
    }
}

/// Numbered lines; the current one is marked.
pub(crate) fn source_text(source: &SourceLines, current: Option<u32>, console: &Console) -> String {
    let mut text = String::new();
    for (number, line) in (source.first..).zip(&source.lines) {
        if current == Some(number) {
            let marked = console.paint(Paint::Strong, &format!("{number} ->\t{line}"));
            let _ = writeln!(text, "{marked}");
        } else {
            let _ =
                writeln!(text, "{}\t{}", console.paint(Paint::Place, &number.to_string()), harmless(line));
        }
    }
    text
}

/// At most [`ARGUMENT`] characters, in one line.
fn brief(value: &str) -> String {
    let value = harmless(value).replace('\n', " ");
    match value.char_indices().nth(ARGUMENT) {
        Some((cut, _)) => format!("{}…", &value[..cut]),
        None => value,
    }
}
