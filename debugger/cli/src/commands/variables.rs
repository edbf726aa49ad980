//! `locals` and the variables of `info`: what the selected frame holds.

use wasmdbg_session::ScopeKind;

use super::command::{Command, Flow, Words, nothing};
use crate::debugger::Selection;
use crate::failure::Failure;
use crate::show::frames::variable_line;
use crate::terminal::console::{Console, harmless};

pub(crate) const LOCALS: Command = Command {
    name: "locals",
    aliases: &[],
    usage: "",
    summary: "show the arguments and variables of the selected frame with their types",
    details: "",
    words: Words::None,
    repeats: false,
    run: |debugger, arguments| {
        nothing(&LOCALS, arguments)?;
        let scopes = [ScopeKind::Arguments, ScopeKind::Locals];
        show(&debugger.selection, &mut debugger.console, &scopes, "no variables")
    },
};

/// Shows the variables of these scopes, or says that there are none.
pub(super) fn show(
    selection: &Selection,
    console: &mut Console,
    scopes: &[ScopeKind],
    none: &str,
) -> Result<Flow, Failure> {
    let selected = selection.get()?;
    let mut lines = Vec::new();
    for &scope in scopes {
        let variables = selected.stop.variables(selected.frame, scope)?;
        lines.extend(variables.iter().map(|variable| variable_line(variable, console)));
    }
    if lines.is_empty() {
        let frame = selected.frame()?;
        let why = if frame.position.is_none() {
            ": it has no debug info (`info locals` of Wasm: `info wasm`)"
        } else {
            ""
        };
        lines.push(format!("{none} in {}{why}", harmless(&frame.function)));
    }
    console.say(&lines.join("\n"));
    Ok(Flow::Next)
}

/// Names of variables of the selected frame that begin with `prefix`.
pub(super) fn names(selection: &Selection, prefix: &str) -> Vec<String> {
    let Some(selected) = selection.current() else { return Vec::new() };
    let scopes = [ScopeKind::Arguments, ScopeKind::Locals, ScopeKind::Statics];
    let mut names: Vec<String> = scopes
        .into_iter()
        .filter_map(|scope| selected.stop.variables(selected.frame, scope).ok())
        .flatten()
        .map(|variable| variable.name)
        .filter(|name| name.starts_with(prefix))
        .collect();
    names.sort();
    names.dedup();
    names
}
