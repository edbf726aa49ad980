//! `info`: what there is, by subject.

use std::fmt::Write as _;

use wasmdbg_session::text::{describe as describe_rule, show_duration};
use wasmdbg_session::{DebugInfo, ScopeKind, Session};

use super::command::{Command, Flow, Words};
use super::{transactions, variables};
use crate::debugger::Debugger;
use crate::failure::{Failure, fail};

use crate::show::breakpoints::describe;
use crate::show::count;
use crate::show::filters::show_filter;
use crate::terminal::console::{Console, Paint, harmless};

pub(crate) const INFO: Command = Command {
    name: "info",
    aliases: &["i"],
    usage: "SUBJECT",
    summary: "show breakpoints, transactions, filters, locals, args, wasm, globals, request, response, properties or session",
    details: "\
breakpoints    all breakpoints, where they stand and how often they hit
transactions   as the command of that name
filters        the proxy's filters, and the debug info of those that are debugged
locals, args   variables and arguments of the selected frame
wasm           its Wasm locals by index (globals: the module's globals)
request        the request's headers (response: the response's; properties: the proxy's properties)
session        which requests are debugged, and until when they may stop",
    words: Words::Subject,
    repeats: false,
    run: |debugger, arguments| {
        let subject = find(arguments)?;
        (subject.1)(debugger)
    },
};

type Subject = (&'static str, fn(&mut Debugger) -> Result<Flow, Failure>);

const SUBJECTS: [Subject; 11] = [
    ("breakpoints", |debugger| breakpoints(&debugger.session, &mut debugger.console)),
    ("transactions", |debugger| {
        transactions::show(&debugger.session, &debugger.selection, &mut debugger.console)
    }),
    ("filters", |debugger| filters(&debugger.session, &mut debugger.console)),
    ("locals", |debugger| scope(debugger, ScopeKind::Locals, "no local variables")),
    ("args", |debugger| scope(debugger, ScopeKind::Arguments, "no arguments")),
    ("wasm", |debugger| scope(debugger, ScopeKind::WasmLocals, "no Wasm locals")),
    ("globals", |debugger| scope(debugger, ScopeKind::WasmGlobals, "no Wasm globals")),
    ("request", |debugger| scope(debugger, ScopeKind::RequestHeaders, "no request headers")),
    ("response", |debugger| scope(debugger, ScopeKind::ResponseHeaders, "no response headers yet")),
    ("properties", |debugger| scope(debugger, ScopeKind::Properties, "no properties")),
    ("session", |debugger| session(&debugger.session, &mut debugger.console)),
];

/// The variables of one scope of the selected frame.
fn scope(debugger: &mut Debugger, scope: ScopeKind, none: &str) -> Result<Flow, Failure> {
    variables::show(&debugger.selection, &mut debugger.console, &[scope], none)
}

/// Subjects that begin with `prefix`.
pub(super) fn subjects(prefix: &str) -> Vec<String> {
    SUBJECTS
        .iter()
        .map(|subject| subject.0)
        .filter(|name| name.starts_with(prefix))
        .map(str::to_owned)
        .collect()
}

fn find(word: &str) -> Result<Subject, Failure> {
    // gdb's `info b` and `info threads`.
    let word = if word == "threads" { "transactions" } else { word };
    let mut found = SUBJECTS.iter().filter(|subject| !word.is_empty() && subject.0.starts_with(word));
    match (found.next(), found.next()) {
        (Some(subject), None) => Ok(*subject),
        _ => fail!("give a subject: {}", SUBJECTS.map(|subject| subject.0).join(", ")),
    }
}

fn breakpoints(session: &Session, console: &mut Console) -> Result<Flow, Failure> {
    let breakpoints = session.breakpoints();
    let mut text = String::new();
    for breakpoint in &breakpoints {
        let _ = write!(text, "{}", describe(breakpoint, console));
        let state = if breakpoint.enabled { "" } else { ", disabled" };
        let _ = writeln!(text, "{state}, {}", count(breakpoint.hits, "hit"));
        if breakpoint.locations.len() > 1 {
            for location in &breakpoint.locations {
                let place =
                    location.position.as_ref().map_or_else(String::new, |position| format!(", {position}"));
                let _ = writeln!(
                    text,
                    "  {:#010x} in {}{}",
                    location.pc,
                    harmless(&location.function),
                    harmless(&place)
                );
            }
        }
        for note in &breakpoint.notes {
            let _ = writeln!(text, "  {}", console.paint(Paint::Warning, note));
        }
    }
    if breakpoints.is_empty() {
        text.push_str("no breakpoints: `break PLACE` sets one");
    }
    console.say(text.trim_end());
    Ok(Flow::Next)
}

fn filters(session: &Session, console: &mut Console) -> Result<Flow, Failure> {
    let list = session.filters()?;
    let modules = session.modules();
    let mut text = String::new();
    for filter in &list.filters {
        let _ = writeln!(text, "{}", show_filter(filter, console));
        let module = modules.iter().find(|module| module.filters.iter().any(|(id, _)| *id == filter.id));
        let Some(module) = module else {
            text.push_str("  not debugged by this session\n");
            continue;
        };
        let from = module
            .symbols_from
            .as_ref()
            .map_or_else(|| "the module in the proxy".to_owned(), |path| path.display().to_string());
        let _ = match &module.debug_info {
            DebugInfo::Full => writeln!(text, "  debug info from {}", harmless(&from)),
            DebugInfo::NamesOnly(why) => {
                writeln!(text, "  names only, from {}: {}", harmless(&from), harmless(why))
            }
        };
        for note in &module.notes {
            let _ = writeln!(text, "  {}", console.paint(Paint::Warning, note));
        }
    }
    if list.filters.is_empty() {
        text.push_str("the proxy has no filters");
    }
    console.say(text.trim_end());
    Ok(Flow::Next)
}

fn session(session: &Session, console: &mut Console) -> Result<Flow, Failure> {
    let attached = session.attached();
    let mut text = format!("session {}\n", attached.session);
    for rule in &attached.rules {
        let _ = writeln!(text, "  {}", harmless(&describe_rule(rule)));
    }
    if attached.rules.is_empty() {
        text.push_str("  every request\n");
    }
    let deadline = show_duration(std::time::Duration::from_millis(attached.deadline_ms.max(1)));
    let _ = write!(text, "  a stopped request goes on after {deadline} without a command");
    console.say(&text);
    Ok(Flow::Next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_found_by_their_beginning() {
        for (word, name) in [
            ("b", "breakpoints"),
            ("tr", "transactions"),
            ("threads", "transactions"),
            ("lo", "locals"),
            ("a", "args"),
        ] {
            assert_eq!(find(word).unwrap().0, name);
        }
        assert!(find("").unwrap_err().to_string().starts_with("give a subject: breakpoints, "));
        assert!(find("registers").is_err());
    }
}
