//! Filters of a proxy as text.

use std::fmt::Write as _;

use wasmdbg_control::filters::{FilterInfo, FilterState};

use super::count;
use crate::terminal::console::{Console, Paint};

/// A filter in a line: name, state, module, what it has done.
pub(crate) fn show_filter(filter: &FilterInfo, console: &Console) -> String {
    let mut text = console.paint(Paint::Function, &filter.name);
    match &filter.state {
        FilterState::Active if filter.service => {
            text.push_str("  active, a service: requests go on without it")
        }
        FilterState::Active => text.push_str("  active"),
        FilterState::Inactive { reason } => {
            let policy = if filter.fail_open { "requests pass" } else { "requests are refused" };
            let reason = console.paint(Paint::Error, &format!("  inactive, {policy}: {reason}"));
            text.push_str(&reason);
        }
    }
    let _ = write!(text, "  {}", console.paint(Paint::Place, &filter.module_path));
    let counters = &filter.counters;
    let _ = write!(text, "  {}", count(counters.contexts, "context"));
    let further = [
        (counters.traps, "trap"),
        (counters.contexts_lost, "context lost"),
        (counters.pause_timeouts, "paused too long"),
        (counters.done_timeouts, "not done in time"),
        (counters.debug_contexts, "debugged"),
        (counters.debug_missed, "missed"),
        (counters.paused, "paused"),
        (counters.log_left_out, "bytes not logged"),
        (counters.shared_refused, "shared values not kept"),
        (counters.properties_refused, "properties not kept"),
    ];
    for (number, what) in further.into_iter().filter(|(number, _)| *number > 0) {
        let what = if what == "trap" && number > 1 { "traps" } else { what };
        let _ = write!(text, ", {number} {what}");
    }
    text
}
