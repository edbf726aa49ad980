//! Breakpoints as text.

use wasmdbg_session::Breakpoint;

use crate::terminal::console::{Console, Paint};

/// `Breakpoint 1 at judge, src/lib.rs:31 (2 places)`.
pub(crate) fn describe(breakpoint: &Breakpoint, console: &Console) -> String {
    let kind = if breakpoint.temporary { "Temporary breakpoint" } else { "Breakpoint" };
    let number = breakpoint.number;
    let Some(first) = breakpoint.locations.first() else {
        return format!("{kind} {number} ({}) is pending", breakpoint.requested);
    };
    let place = match &first.position {
        Some(position) => console.paint(Paint::Place, &position.to_string()),
        None => format!("pc {:#x}", first.pc),
    };
    let function = console.paint(Paint::Function, &first.function);
    let several = match breakpoint.locations.len() {
        1 => String::new(),
        count => format!(" ({count} places)"),
    };
    format!("{kind} {number} at {function}, {place}{several}")
}
