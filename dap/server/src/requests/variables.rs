//! Scopes and variables of what is stopped; read when they are asked for, a page at a time.

use std::sync::Arc;

use wasmdbg_session::{Format, ScopeKind, Stop, Value, Variable as Found, VariableKind};

use crate::protocol::{
    Answer, Body, Scope, ScopesArguments, ScopesBody, ValueFormat, Variable, VariablePresentationHint,
    VariablesArguments, VariablesBody, given,
};
use crate::view::handles::{Handle, Handles};
use crate::view::references::memory_reference;

/// Children of a value that a client gets who does not page.
const MOST_CHILDREN: u64 = 5000;

/// From here on children are paged as if they were indexed: clients do not page named ones.
const MANY: u64 = 100;

pub(crate) fn scopes(handles: &mut Handles, arguments: &ScopesArguments) -> Answer {
    let (stop, frame) = handles.frame(arguments.frame_id)?;
    let found = stop.scopes(frame).map_err(|error| error.to_string())?;
    let scopes = found.into_iter().map(|scope| Scope {
        name: scope.name,
        presentation_hint: match scope.kind {
            ScopeKind::Arguments => Some("arguments"),
            ScopeKind::Locals => Some("locals"),
            ScopeKind::Statics => Some("globals"),
            ScopeKind::WasmLocals | ScopeKind::WasmGlobals => Some("registers"),
            ScopeKind::RequestHeaders
            | ScopeKind::ResponseHeaders
            | ScopeKind::Properties
            | ScopeKind::Filter => None,
        },
        variables_reference: handles.give_once(&stop, Handle::Scope(frame, scope.kind)),
        expensive: scope.expensive,
    });
    let scopes = scopes.collect();
    Ok(Some(Body::from(ScopesBody { scopes })))
}

pub(crate) fn variables(handles: &mut Handles, arguments: &VariablesArguments) -> Answer {
    let (stop, handle) = handles.get(arguments.variables_reference)?;
    let first = u64::try_from(arguments.start).unwrap_or(0);
    let count = given(arguments.count).map_or(u64::MAX, u64::from);
    let variables = match handle {
        Handle::Frame(_) => return Err("that is a frame: ask for its scopes".into()),
        Handle::Scope(frame, kind) => {
            let all = stop.variables(frame, kind).map_err(|error| error.to_string())?;
            let named = arguments.filter.as_deref() != Some("indexed");
            // A local hides an argument of its name.
            let hiding = match kind {
                ScopeKind::Arguments => stop.variables(frame, ScopeKind::Locals).unwrap_or_default(),
                _ => Vec::new(),
            };
            let last_of =
                |at: usize| all[at + 1..].iter().chain(&hiding).all(|other| other.name != all[at].name);
            let page = (0..all.len()).skip(first as usize).take(count.min(u64::from(u32::MAX)) as usize);
            page.filter(|_| named)
                .map(|at| {
                    // A name that is hidden by a later one means that one.
                    let expression = match special_of(kind) {
                        Some(special) => Some(format!("{special}[{:?}]", all[at].name)),
                        None => expression_of(None, &all[at]).filter(|_| last_of(at)),
                    };
                    variable(handles, &stop, frame, &all[at], expression, arguments.format)
                })
                .collect()
        }
        Handle::Value { frame, value, expression } => {
            let paged = is_paged(&value);
            if arguments.filter.as_deref() == Some(if paged { "named" } else { "indexed" }) {
                Vec::new()
            } else {
                let children = value.children(first, count.min(MOST_CHILDREN));
                let mut list: Vec<_> = children
                    .iter()
                    .map(|child| {
                        let expression = expression_of(expression.as_deref(), child);
                        variable(handles, &stop, frame, child, expression, arguments.format)
                    })
                    .collect();
                let rest = value.child_count().saturating_sub(first.saturating_add(list.len() as u64));
                if count == u64::MAX && rest > 0 && list.len() as u64 == MOST_CHILDREN {
                    list.push(remark("…", &format!("{rest} more: evaluate an index")));
                }
                list
            }
        }
    };
    Ok(Some(Body::from(VariablesBody { variables })))
}

fn variable(
    handles: &mut Handles,
    stop: &Arc<Stop>,
    frame: u32,
    found: &Found,
    expression: Option<String>,
    format: ValueFormat,
) -> Variable {
    let value = &found.value;
    let (named_variables, indexed_variables) = child_counts(value);
    let read_only = value.address().is_none() && !found.name.starts_with("global");
    Variable {
        name: found.name.clone(),
        value: value.formatted(format.into()),
        type_name: type_name(value),
        variables_reference: children(handles, stop, frame, value, expression.clone()),
        named_variables,
        indexed_variables,
        evaluate_name: expression,
        memory_reference: value.address().map(|address| memory_reference(stop.info().slot, address)),
        presentation_hint: read_only.then(|| VariablePresentationHint { attributes: vec!["readOnly"] }),
    }
}

/// A number for the children of a value; 0 when it has none.
pub(crate) fn children(
    handles: &mut Handles,
    stop: &Arc<Stop>,
    frame: u32,
    value: &Value,
    expression: Option<String>,
) -> i64 {
    if value.child_count() == 0 {
        return 0;
    }
    handles.give(stop, Handle::Value { frame, value: value.clone(), expression })
}

impl From<ValueFormat> for Format {
    fn from(format: ValueFormat) -> Self {
        if format.hex { Self::Hex } else { Self::Natural }
    }
}

pub(crate) fn type_name(value: &Value) -> Option<String> {
    Some(value.type_name().to_owned()).filter(|name| !name.is_empty())
}

/// How many named and indexed children a value has, as far as that is worth saying.
pub(crate) fn child_counts(value: &Value) -> (Option<i64>, Option<i64>) {
    let count = i64::try_from(value.child_count()).unwrap_or(i64::MAX);
    match (count, is_paged(value)) {
        (0, _) => (None, None),
        (count, true) => (None, Some(count)),
        (count, false) => (Some(count), None),
    }
}

fn is_paged(value: &Value) -> bool {
    value.is_indexed() || value.child_count() > MANY
}

/// The expression for a child of what `parent` says, or for a variable of a frame.
fn expression_of(parent: Option<&str>, child: &Found) -> Option<String> {
    // What begins with an operator needs brackets in front of a field or an index.
    let parent = parent.map(|text| if text.starts_with('*') { format!("({text})") } else { text.to_owned() });
    match (child.kind, parent) {
        (VariableKind::Argument | VariableKind::Local | VariableKind::Static, _) => Some(child.name.clone()),
        (VariableKind::Field, Some(parent)) => {
            Some(format!("{parent}.{}", child.name.strip_prefix("__").unwrap_or(&child.name)))
        }
        (VariableKind::Element, Some(parent)) => Some(format!("{parent}{}", child.name)),
        (VariableKind::Pointee, Some(parent)) => Some(format!("*{parent}")),
        _ => None,
    }
}

/// How the variables of a scope of the transaction are asked for.
fn special_of(kind: ScopeKind) -> Option<&'static str> {
    match kind {
        ScopeKind::RequestHeaders => Some("$req"),
        ScopeKind::ResponseHeaders => Some("$resp"),
        ScopeKind::Properties => Some("$prop"),
        ScopeKind::Filter => Some("$filter"),
        _ => None,
    }
}

/// A row that is no variable.
fn remark(name: &str, text: &str) -> Variable {
    Variable {
        name: name.into(),
        value: text.into(),
        type_name: None,
        variables_reference: 0,
        named_variables: None,
        indexed_variables: None,
        evaluate_name: None,
        memory_reference: None,
        presentation_hint: Some(VariablePresentationHint { attributes: vec!["readOnly"] }),
    }
}

/// The child of this name, the last of several.
pub(crate) fn child_named(stop: &Stop, handle: &Handle, name: &str) -> Result<Value, String> {
    let missing = || format!("there is no variable {name:?} here");
    match handle {
        Handle::Frame(_) => Err("that is a frame".into()),
        Handle::Scope(frame, kind) => {
            let all = stop.variables(*frame, *kind).map_err(|error| error.to_string())?;
            let found = all.into_iter().rfind(|found| found.name == name);
            found.map(|found| found.value).ok_or_else(missing)
        }
        Handle::Value { value, .. } => {
            let index = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            let index = index.and_then(|index| index.parse::<u64>().ok()).filter(|_| value.is_indexed());
            let children = match index {
                Some(index) => value.children(index, 1),
                None => value.children(0, MOST_CHILDREN),
            };
            let found = children.into_iter().rfind(|found| found.name == name);
            found.map(|found| found.value).ok_or_else(missing)
        }
    }
}
