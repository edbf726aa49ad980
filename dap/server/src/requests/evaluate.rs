//! Expressions: their values, new values, and how a word could go on.

use std::sync::Arc;

use wasmdbg_session::{Format, ScopeKind, Stop, Value};

use crate::adapter::{Adapter, Answer};
use crate::protocol::{
    Body, CompletionItem, CompletionsArguments, CompletionsBody, EvaluateArguments, EvaluateBody, Event,
    InvalidatedEvent, SetExpressionArguments, SetVariableArguments, SetVariableBody, ValueFormat,
};
use crate::requests::console;
use crate::requests::memory::memory_reference;
use crate::requests::variables::{child_counts, child_named, type_name};
use crate::view::handles::Handle;
use crate::view::threads::Who;

/// What expressions know beside the program's variables.
const SPECIALS: [&str; 7] = ["$req", "$resp", "$prop", "$filter", "$txn", "$method", "$path"];

impl Adapter {
    pub(crate) fn evaluate(&mut self, arguments: &EvaluateArguments) -> Answer {
        let text = arguments.expression.trim();
        if text.is_empty() {
            return Err("the expression is empty".into());
        }
        let place = self.frame_or_focus(arguments.frame_id);
        let value = match &place {
            Ok((stop, frame)) => stop.evaluate(*frame, text).map_err(|error| error.to_string()),
            Err(why) => Err(why.clone()),
        };
        let value = match value {
            Ok(value) => value,
            // A variable of the program goes before a command of its name.
            Err(why) => {
                let command = console::find(text).filter(|_| arguments.context == "repl");
                let Some(command) = command else { return Err(why) };
                let result = self.run_command(command, place.ok())?;
                return Ok(Some(Body::from(EvaluateBody { result, ..EvaluateBody::default() })));
            }
        };
        let (stop, frame) = place?;
        let format = Format::from(arguments.format);
        let whole =
            arguments.context == "clipboard" || arguments.context == "repl" && value.child_count() == 0;
        let (named_variables, indexed_variables) = child_counts(&value);
        Ok(Some(Body::from(EvaluateBody {
            result: if whole { value.display(format) } else { value.formatted(format) },
            type_name: type_name(&value),
            variables_reference: self.children(&stop, frame, &value, Some(in_brackets(text))),
            named_variables,
            indexed_variables,
            memory_reference: value.address().map(|address| memory_reference(stop.info().slot, address)),
        })))
    }

    pub(crate) fn set_variable(&mut self, arguments: &SetVariableArguments) -> Answer {
        let (stop, handle) = self.handles.get(arguments.variables_reference)?;
        let frame = match &handle {
            Handle::Frame(frame) | Handle::Scope(frame, _) | Handle::Value { frame, .. } => *frame,
        };
        if let Handle::Scope(_, ScopeKind::WasmGlobals) = handle {
            let globals = stop.variables(frame, ScopeKind::WasmGlobals).map_err(|error| error.to_string())?;
            let index = globals.iter().position(|global| global.name == arguments.name);
            let index = index.ok_or_else(|| format!("there is no global {:?}", arguments.name))? as u32;
            stop.assign_global(frame, index, &arguments.value).map_err(|error| error.to_string())?;
            self.changed(&stop);
            let new = child_named(&stop, &handle, &arguments.name)?;
            return Ok(self.set_to(&stop, frame, &new, None, arguments.format));
        }
        let value = child_named(&stop, &handle, &arguments.name)?;
        self.assign(&stop, frame, &value, &arguments.value, None, arguments.format)
    }

    pub(crate) fn set_expression(&mut self, arguments: &SetExpressionArguments) -> Answer {
        let (stop, frame) = self.frame_or_focus(arguments.frame_id)?;
        let value = stop.evaluate(frame, &arguments.expression).map_err(|error| error.to_string())?;
        let expression = Some(in_brackets(&arguments.expression));
        self.assign(&stop, frame, &value, &arguments.value, expression, arguments.format)
    }

    fn assign(
        &mut self,
        stop: &Arc<Stop>,
        frame: u32,
        value: &Value,
        new: &str,
        expression: Option<String>,
        format: ValueFormat,
    ) -> Answer {
        stop.assign(frame, value, new).map_err(|error| error.to_string())?;
        self.changed(stop);
        Ok(self.set_to(stop, frame, &value.refreshed(), expression, format))
    }

    fn set_to(
        &mut self,
        stop: &Arc<Stop>,
        frame: u32,
        value: &Value,
        expression: Option<String>,
        format: ValueFormat,
    ) -> Option<Body> {
        Some(Body::from(SetVariableBody {
            value: value.formatted(format.into()),
            type_name: type_name(value),
            variables_reference: self.children(stop, frame, value, expression),
        }))
    }

    /// The program's state was changed from here: what was shown may be another value now.
    pub(crate) fn changed(&mut self, stop: &Stop) {
        self.handles.refresh(stop.id());
        if self.peer.features.supports_invalidated_event {
            let thread_id = self.threads.known(Who::of_stop(stop));
            self.peer.event(&Event::Invalidated(InvalidatedEvent { areas: vec!["variables"], thread_id }));
        }
    }

    pub(crate) fn completions(&mut self, arguments: &CompletionsArguments) -> Answer {
        let line =
            arguments.line.map_or(0, |line| self.peer.line_in(line).map_or(0, |line| line as usize - 1));
        let text = arguments.text.lines().nth(line).unwrap_or_default();
        let column = self.peer.column_in(arguments.column).map_or(0, |column| column as usize - 1);
        let before: String = String::from_utf16_lossy(&text.encode_utf16().take(column).collect::<Vec<_>>());
        let word = before.rfind(|c: char| !is_word(c)).map_or(before.as_str(), |at| {
            &before[at + before[at..].chars().next().map_or(1, char::len_utf8)..]
        });
        let head = &before[..before.len() - word.len()];
        let place = self.frame_or_focus(arguments.frame_id).ok();
        let mut found: Vec<(String, &'static str)> = match base_of(head) {
            Some(base) => {
                let value = place.and_then(|(stop, frame)| stop.evaluate(frame, base).ok());
                value.map_or_else(Vec::new, |value| fields(&value))
            }
            None => {
                let names = place.and_then(|(stop, frame)| stop.names(frame).ok()).unwrap_or_default();
                let commands = console::names().filter(|_| head.trim().is_empty());
                names
                    .into_iter()
                    .chain(SPECIALS.map(str::to_owned))
                    .map(|name| (name, "variable"))
                    .chain(commands.map(|name| (name.to_owned(), "keyword")))
                    .collect()
            }
        };
        found.retain(|(name, _)| name.starts_with(word));
        found.sort();
        found.dedup();
        let units = |text: &str| text.encode_utf16().count() as i64;
        let start = units(head) + i64::from(self.peer.features.columns_start_at1);
        let length = units(word);
        let targets =
            found.into_iter().map(|(label, kind)| CompletionItem { label, kind, start, length }).collect();
        Ok(Some(Body::from(CompletionsBody { targets })))
    }
}

/// Names of the fields of a value, through pointers.
fn fields(value: &Value) -> Vec<(String, &'static str)> {
    let mut children = value.children(0, 200);
    for _ in 0..4 {
        match children.as_slice() {
            [one] if one.name == "*" => children = one.value.children(0, 200),
            _ => break,
        }
    }
    let names = children.into_iter().filter(|child| !child.name.starts_with('['));
    names.map(|child| (child.name.strip_prefix("__").unwrap_or(&child.name).to_owned(), "field")).collect()
}

/// The expression whose field is being written: `a.b` of `x + a.b.`.
fn base_of(head: &str) -> Option<&str> {
    let base = head.strip_suffix('.').or_else(|| head.strip_suffix("->"))?;
    let mut depth = 0;
    let start = base.rfind(|c: char| {
        match c {
            ']' | ')' => depth += 1,
            '[' | '(' if depth > 0 => {
                depth -= 1;
                return false;
            }
            _ => {}
        }
        depth == 0 && !is_word(c) && !matches!(c, '.' | ':' | ']' | ')')
    });
    let from = start.map_or(0, |at| at + base[at..].chars().next().map_or(1, char::len_utf8));
    Some(&base[from..]).filter(|base| !base.is_empty())
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// An expression that can have a field or an index behind it.
fn in_brackets(text: &str) -> String {
    let simple = text.chars().all(|c| is_word(c) || matches!(c, '.' | ':' | '[' | ']'));
    if simple { text.to_owned() } else { format!("({text})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_before_the_dot() {
        assert_eq!(base_of("a."), Some("a"));
        assert_eq!(base_of("x + self.settings."), Some("self.settings"));
        assert_eq!(base_of("f == v[i + 1].b->"), Some("v[i + 1].b"));
        assert_eq!(base_of("-(*p)."), Some("(*p)"));
        assert_eq!(base_of("a + "), None);
        assert_eq!(base_of("."), None);
    }
}
