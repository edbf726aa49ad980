//! Expressions: their values, and new values for what they name.

use std::sync::Arc;

use wasmdbg_session::{Format, ScopeKind, Session, Stop, Value};

use crate::protocol::{
    Answer, Body, EvaluateArguments, EvaluateBody, SetExpressionArguments, SetVariableArguments,
    SetVariableBody, ValueFormat,
};
use crate::requests::completions::is_word;
use crate::requests::console;
use crate::requests::variables::{child_counts, child_named, children, type_name};
use crate::transport::client::Client;
use crate::view::handles::{Handle, Handles};
use crate::view::references::memory_reference;
use crate::view::threads::Threads;
use crate::view::{changed, frame_or_focus};

pub(crate) fn evaluate(
    session: Result<&Session, String>,
    threads: &Threads,
    handles: &mut Handles,
    arguments: &EvaluateArguments,
) -> Answer {
    let text = arguments.expression.trim();
    if text.is_empty() {
        return Err("the expression is empty".into());
    }
    let place = frame_or_focus(session.clone(), threads, handles, arguments.frame_id);
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
            let result = console::run(command, session, place.ok())?;
            return Ok(Some(Body::from(EvaluateBody { result, ..EvaluateBody::default() })));
        }
    };
    let (stop, frame) = place?;
    let format = Format::from(arguments.format);
    let whole = arguments.context == "clipboard" || arguments.context == "repl" && value.child_count() == 0;
    let (named_variables, indexed_variables) = child_counts(&value);
    Ok(Some(Body::from(EvaluateBody {
        result: if whole { value.display(format) } else { value.formatted(format) },
        type_name: type_name(&value),
        variables_reference: children(handles, &stop, frame, &value, Some(in_brackets(text))),
        named_variables,
        indexed_variables,
        memory_reference: value.address().map(|address| memory_reference(stop.info().slot, address)),
    })))
}

/// A new value for something, and what must know of it.
pub(crate) struct Assignment<'a> {
    pub(crate) threads: &'a Threads,
    pub(crate) handles: &'a mut Handles,
    pub(crate) client: &'a mut Client,
}

impl Assignment<'_> {
    pub(crate) fn variable(mut self, arguments: &SetVariableArguments) -> Answer {
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

    pub(crate) fn expression(
        mut self,
        session: Result<&Session, String>,
        arguments: &SetExpressionArguments,
    ) -> Answer {
        let (stop, frame) = frame_or_focus(session, self.threads, self.handles, arguments.frame_id)?;
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
            variables_reference: children(self.handles, stop, frame, value, expression),
        }))
    }

    fn changed(&mut self, stop: &Stop) {
        changed(self.handles, self.threads, self.client, stop);
    }
}

/// An expression that can have a field or an index behind it.
fn in_brackets(text: &str) -> String {
    let simple = text.chars().all(|c| is_word(c) || matches!(c, '.' | ':' | '[' | ']'));
    if simple { text.to_owned() } else { format!("({text})") }
}
