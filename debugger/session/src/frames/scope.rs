//! The variables of a frame by scope, each with its value; what a name means in a frame. Owns the rule
//! for variables that exist in the code but hold nothing yet.

use std::sync::Arc;

use wasmdbg_control::stop::Context;
use wasmdbg_control::stream::{Field, Property};
use wasmdbg_symbols::{self as symbols, Language, Symbols, Unreadable};

use super::frame::Scoped;
use crate::error::Error;
use crate::target::{Activation, Target, wasm_value};
use crate::value::{self, Place, Scalar, Shape, Value, ValueState, Variable, VariableKind};

/// What a [`Scope`] holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScopeKind {
    /// Parameters.
    Arguments,
    /// Locals of the blocks around the pc, outer blocks first; a name that hides another one is listed
    /// behind it.
    Locals,
    /// Variables of static storage of the frame's compile unit.
    Statics,
    /// The function's Wasm locals by index.
    WasmLocals,
    /// The module's Wasm globals by index.
    WasmGlobals,
    /// Header fields of the request, pseudo-headers first.
    RequestHeaders,
    /// Header fields of the response.
    ResponseHeaders,
    /// Properties of the transaction, by their path with dots.
    Properties,
    /// The filter's settings.
    Filter,
}

/// A group of variables of a frame; its variables are read on request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// For a person: `Arguments`.
    pub name: String,
    /// What it holds; give it to [`crate::Stop::variables`].
    pub kind: ScopeKind,
    /// Reading it may be slow.
    pub expensive: bool,
}

/// The scopes of a frame.
pub(crate) fn scopes(target: &Target, scoped: &Scoped) -> Vec<Scope> {
    let scope = |name: &str, kind, expensive| Scope { name: name.into(), kind, expensive };
    let mut scopes = Vec::new();
    if scoped.instance.is_some() {
        scopes.push(scope("Arguments", ScopeKind::Arguments, false));
        scopes.push(scope("Locals", ScopeKind::Locals, false));
        scopes.push(scope("Statics", ScopeKind::Statics, true));
    }
    if let Context::Stream { .. } = target.info().context {
        scopes.push(scope("Request headers", ScopeKind::RequestHeaders, true));
        scopes.push(scope("Response headers", ScopeKind::ResponseHeaders, true));
        scopes.push(scope("Properties", ScopeKind::Properties, true));
    }
    scopes.push(scope("Filter", ScopeKind::Filter, true));
    scopes.push(scope("Wasm locals", ScopeKind::WasmLocals, true));
    scopes.push(scope("Wasm globals", ScopeKind::WasmGlobals, true));
    scopes
}

/// The variables of one scope of a frame.
pub(crate) fn variables(
    target: &Arc<Target>,
    scoped: &Scoped,
    kind: ScopeKind,
) -> Result<Vec<Variable>, Error> {
    match kind {
        ScopeKind::Arguments => of_function(target, scoped, symbols::VariableKind::Argument),
        ScopeKind::Locals => of_function(target, scoped, symbols::VariableKind::Local),
        ScopeKind::Statics => statics(target, scoped),
        ScopeKind::WasmLocals => wasm_locals(target, scoped),
        ScopeKind::WasmGlobals => wasm_globals(target),
        ScopeKind::RequestHeaders
        | ScopeKind::ResponseHeaders
        | ScopeKind::Properties
        | ScopeKind::Filter => stream(target, kind),
    }
}

/// What belongs to the transaction or the filter; nothing where it is not there in this phase.
fn stream(target: &Target, kind: ScopeKind) -> Result<Vec<Variable>, Error> {
    let found = entries(target, kind).map_err(|why| Error::Invalid(why.to_string()))?;
    let variable = |(name, value)| Variable { name, kind: VariableKind::Stream, value };
    Ok(found.into_iter().map(variable).collect())
}

/// The same by name.
pub(crate) fn entries(target: &Target, kind: ScopeKind) -> Result<Vec<(String, Value)>, Unreadable> {
    let state = target.stream()?;
    let texts = |fields: &[Field]| -> Vec<(String, Value)> {
        let of = |(name, text): &Field| (name.clone(), Value::of_text(text, Language::Other));
        fields.iter().map(of).collect()
    };
    Ok(match kind {
        ScopeKind::RequestHeaders => texts(state.request_headers.as_deref().unwrap_or_default()),
        ScopeKind::ResponseHeaders => texts(state.response_headers.as_deref().unwrap_or_default()),
        ScopeKind::Filter => texts(&state.filter),
        ScopeKind::Properties => {
            let value = |(name, property): &(String, Property)| (name.clone(), property_value(property));
            state.properties.iter().map(value).collect()
        }
        _ => Vec::new(),
    })
}

/// A property as a value.
pub(crate) fn property_value(property: &Property) -> Value {
    match property {
        Property::Text(text) => Value::of_text(text, Language::Other),
        Property::Integer(value) => Value::integer(i128::from(*value), Language::Other),
        Property::Bool(value) => Value::bool(*value, Language::Other),
    }
}

fn of_function(
    target: &Arc<Target>,
    scoped: &Scoped,
    kind: symbols::VariableKind,
) -> Result<Vec<Variable>, Error> {
    let (Some(symbols), Some(instance)) = (target.symbols(), scoped.instance) else { return Ok(Vec::new()) };
    let found =
        symbols.variables(instance, scoped.lookup).map_err(|broken| Error::Symbols(broken.to_string()))?;
    let reader = Reader::new(target, symbols, scoped)?;
    let of_kind = |variable: &&symbols::Variable| {
        (variable.kind == symbols::VariableKind::Argument) == (kind == symbols::VariableKind::Argument)
    };
    Ok(found.iter().filter(of_kind).filter_map(|variable| reader.in_scope(variable)).collect())
}

fn statics(target: &Arc<Target>, scoped: &Scoped) -> Result<Vec<Variable>, Error> {
    let Some(symbols) = target.symbols() else { return Ok(Vec::new()) };
    let found = symbols.statics(scoped.lookup).map_err(|broken| Error::Symbols(broken.to_string()))?;
    let reader = Reader::new(target, symbols, scoped)?;
    Ok(found.iter().map(|variable| reader.read(variable)).collect())
}

/// What `name` means in a frame: the innermost local, an argument, a static of the frame's unit, one of
/// any unit. `None`: nothing.
pub(crate) fn resolve(target: &Arc<Target>, scoped: &Scoped, name: &str) -> Result<Option<Value>, Error> {
    let Some(symbols) = target.symbols() else { return Ok(None) };
    let reader = Reader::new(target, symbols, scoped)?;
    let found = named(symbols, scoped, name)?;
    let mut values = found.iter().filter_map(|variable| match variable.kind {
        symbols::VariableKind::Static => Some(reader.read(variable)),
        _ => reader.in_scope(variable),
    });
    Ok(values.next().map(|variable| variable.value))
}

/// A variable's location as DWARF has it.
pub(crate) fn describe_location(
    target: &Arc<Target>,
    scoped: &Scoped,
    name: &str,
) -> Result<Option<String>, Error> {
    let Some(symbols) = target.symbols() else { return Ok(None) };
    let found = named(symbols, scoped, name)?;
    Ok(found.first().map(|variable| symbols.describe_location(variable, scoped.lookup)))
}

/// The variables that `name` can mean, the likeliest first.
fn named(symbols: &Symbols, scoped: &Scoped, name: &str) -> Result<Vec<symbols::Variable>, Error> {
    let mut found = match scoped.instance {
        Some(instance) => symbols.variables(instance, scoped.lookup),
        None => Ok(Vec::new()),
    }
    .map_err(|broken| Error::Symbols(broken.to_string()))?;
    found.retain(|variable| &*variable.name == name);
    // The deepest block wins, and in one block the latest: Rust's `let x = f(x)`.
    found.sort_by_key(|variable| variable.depth);
    found.reverse();
    found.extend(symbols.find_statics(name, Some(scoped.lookup)));
    Ok(found)
}

/// Names that [`resolve`] knows without a path, for messages and completion.
pub(crate) fn names(target: &Arc<Target>, scoped: &Scoped) -> Vec<String> {
    let (Some(symbols), Some(instance)) = (target.symbols(), scoped.instance) else { return Vec::new() };
    let mut names: Vec<String> = symbols.variables(instance, scoped.lookup).map_or_else(
        |_| Vec::new(),
        |found| found.iter().map(|variable| variable.name.to_string()).collect(),
    );
    names.sort();
    names.dedup();
    names
}

/// Reads variables of one frame.
struct Reader<'a> {
    target: &'a Arc<Target>,
    symbols: &'a Symbols,
    scoped: &'a Scoped,
    frame: wasmdbg_control::stop::Frame,
}

impl<'a> Reader<'a> {
    fn new(target: &'a Arc<Target>, symbols: &'a Symbols, scoped: &'a Scoped) -> Result<Self, Error> {
        let index = scoped.frame.activation;
        let frame = target.activation(index)?.ok_or(Error::NoFrame { wanted: index, outermost: index })?;
        Ok(Self { target, symbols, scoped, frame })
    }

    /// The variable, unless its declaration is still ahead.
    fn in_scope(&self, variable: &symbols::Variable) -> Option<Variable> {
        let name = variable.name.to_string();
        match self.declaration(variable) {
            Declaration::Behind => Some(self.read(variable)),
            Declaration::Here => {
                let state = ValueState::unreadable("its declaration is on the line that runs now");
                let value = Value::missing(&self.type_name(variable), state);
                Some(Variable { name, kind: kind(variable.kind), value })
            }
            Declaration::Ahead => None,
        }
    }

    fn read(&self, variable: &symbols::Variable) -> Variable {
        let index = self.scoped.frame.activation;
        let machine = Activation { target: self.target, index, frame: &self.frame };
        let location = self.symbols.locate(variable, self.scoped.lookup, &machine);
        let size =
            variable.ty.and_then(|ty| self.symbols.resolved_type(ty).ok().flatten()).and_then(|ty| ty.size);
        let place = Place::new(&location, size, &machine);
        let value = value::value(self.target, variable.ty, place);
        let name =
            if variable.kind == symbols::VariableKind::Static { &variable.full_name } else { &variable.name };
        Variable { name: name.to_string(), kind: kind(variable.kind), value }
    }

    fn type_name(&self, variable: &symbols::Variable) -> String {
        let missing = Place::Missing(ValueState::OptimizedOut);
        value::value(self.target, variable.ty, missing).type_name().to_owned()
    }

    /// Where the frame stands to the variable's declaration. In C and C++ the variables of a block are
    /// all in scope from its start and hold garbage until their declaration has run; Rust's scopes
    /// begin behind the declaration.
    fn declaration(&self, variable: &symbols::Variable) -> Declaration {
        let (Some(position), Some(declared)) = (&self.scoped.frame.position, &variable.declared) else {
            return Declaration::Behind;
        };
        if !matches!(self.scoped.language, Language::C | Language::Cpp)
            || variable.kind != symbols::VariableKind::Local
            || *declared.path != *position.file
            || declared.line < position.line
        {
            return Declaration::Behind;
        }
        if declared.line > position.line {
            return Declaration::Ahead;
        }
        // A `for` comes back to its line with its variable set: only in front of the first code of the
        // line it is certain that the variable is not.
        let innermost = self.scoped.frame.activation == 0;
        let starts = self.symbols.statement_starts(self.scoped.function);
        let first = starts
            .iter()
            .filter(|start| start.instance == self.scoped.instance && start.position.line == declared.line)
            .map(|start| start.pc)
            .min();
        match first {
            Some(first) if innermost && self.scoped.lookup > first => Declaration::Behind,
            _ => Declaration::Here,
        }
    }
}

enum Declaration {
    Behind,
    Here,
    Ahead,
}

fn kind(kind: symbols::VariableKind) -> VariableKind {
    match kind {
        symbols::VariableKind::Argument => VariableKind::Argument,
        symbols::VariableKind::Local => VariableKind::Local,
        symbols::VariableKind::Static => VariableKind::Static,
    }
}

fn wasm_locals(target: &Arc<Target>, scoped: &Scoped) -> Result<Vec<Variable>, Error> {
    let index = scoped.frame.activation;
    let frame = target.activation(index)?.ok_or(Error::NoFrame { wanted: index, outermost: index })?;
    let name = |local: u32| {
        let named = target.symbols().and_then(|symbols| symbols.module().local_name(frame.function, local));
        named.map_or_else(|| format!("local{local}"), |name| format!("local{local} ({name})"))
    };
    Ok(frame
        .locals
        .iter()
        .enumerate()
        .map(|(index, value)| wasm_variable(name(index as u32), value))
        .collect())
}

fn wasm_globals(target: &Arc<Target>) -> Result<Vec<Variable>, Error> {
    let globals = target.globals().map_err(|why| Error::Invalid(why.to_string()))?;
    let name = |global: u32| {
        let named = target.symbols().and_then(|symbols| symbols.module().global_name(global));
        named.map_or_else(|| format!("global{global}"), |name| format!("global{global} ({name})"))
    };
    Ok(globals.iter().enumerate().map(|(index, value)| wasm_variable(name(index as u32), value)).collect())
}

fn wasm_variable(name: String, value: &wasmdbg_control::state::Value) -> Variable {
    use wasmdbg_symbols::WasmValue;
    let integer = |value: i128, bits| Scalar::Integer { value, bits, signed: true };
    let (ty, shape) = match wasm_value(value) {
        Ok(WasmValue::I32(bits)) => ("i32", Shape::Scalar(integer(i128::from(bits.cast_signed()), 32))),
        Ok(WasmValue::I64(bits)) => ("i64", Shape::Scalar(integer(i128::from(bits.cast_signed()), 64))),
        Ok(WasmValue::F32(bits)) => {
            let value = f64::from(f32::from_bits(bits));
            ("f32", Shape::Scalar(Scalar::Float { value, single: true }))
        }
        Ok(WasmValue::F64(bits)) => {
            ("f64", Shape::Scalar(Scalar::Float { value: f64::from_bits(bits), single: false }))
        }
        Ok(WasmValue::V128(bytes)) => {
            ("v128", Shape::Opaque(format!("{:#034x}", u128::from_le_bytes(bytes))))
        }
        Err(why) => ("", Shape::Missing(why.into())),
    };
    Variable { name, kind: VariableKind::Wasm, value: Value::computed(ty, Language::Other, shape) }
}
