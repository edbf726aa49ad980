//! A tree into a value: names, fields, indexes, pointers. Arithmetic is in `operators`.

use std::sync::Arc;

use wasmdbg_control::stop::Context;
use wasmdbg_symbols::Language;

use super::operators;
use super::parser::{Expression, Node, Unary};
use crate::error::EvalError;
use crate::frames::scope;
use crate::frames::{ScopeKind, Scoped};
use crate::target::Target;
use crate::value::{PointerStyle, Scalar, Shape, Value, ValueState};

/// Pointers that a field access goes through by itself (`&&Box<T>`).
const MOST_POINTERS: u32 = 8;

/// The value of a tree in a frame.
pub(crate) fn evaluate(
    target: &Arc<Target>,
    scoped: &Scoped,
    expression: &Expression,
) -> Result<Value, EvalError> {
    Evaluator { target, scoped }.value(expression)
}

struct Evaluator<'a> {
    target: &'a Arc<Target>,
    scoped: &'a Scoped,
}

impl Evaluator<'_> {
    fn value(&self, expression: &Expression) -> Result<Value, EvalError> {
        let fail = |message: String| EvalError { position: expression.position, message };
        let computed = |ty: &str, shape| Ok(Value::computed(ty, self.scoped.language, shape));
        match &expression.node {
            Node::Name(name) => self.name(name).map_err(fail),
            Node::Special(name) => self.special(name).map_err(fail),
            Node::Integer(number) => Ok(Value::integer(i128::from(*number), self.scoped.language)),
            Node::Float(value) => computed("", Shape::Scalar(Scalar::Float { value: *value, single: false })),
            Node::Bool(value) => Ok(Value::bool(*value, self.scoped.language)),
            Node::Char(c) => computed("char", Shape::Scalar(Scalar::Char(u32::from(*c)))),
            Node::Text(text) => Ok(Value::of_text(text, self.scoped.language)),
            Node::Field { base, name } => {
                let base = self.value(base)?;
                let found = field(&base, name, MOST_POINTERS).or_else(|| missing(&base));
                found.ok_or_else(|| fail(no_field(&base, name)))
            }
            Node::Index { base, index } if let Node::Special(name) = &base.node => {
                self.entry(name, &self.value(index)?).map_err(fail)
            }
            Node::Index { base, index } => {
                let (base, index) = (self.value(base)?, self.value(index)?);
                element(&base, &index, MOST_POINTERS).map_err(fail)
            }
            Node::Unary { operator: Unary::Dereference, operand } => {
                dereference(&self.value(operand)?).map_err(fail)
            }
            Node::Unary { operator: Unary::AddressOf, operand } => {
                address_of(&self.value(operand)?).map_err(fail)
            }
            Node::Unary { operator, operand } => {
                operators::unary(*operator, &self.value(operand)?, self.scoped.language).map_err(fail)
            }
            Node::Binary { operator, left, right } => {
                let left = self.value(left)?;
                let right = || self.value(right);
                operators::binary(*operator, &left, right, self.scoped.language, expression.position)
            }
        }
    }

    /// What is not of the program but of the transaction.
    fn special(&self, name: &str) -> Result<Value, String> {
        match (name, &self.target.info().context) {
            ("txn", Context::Stream { transaction, .. }) => {
                Ok(Value::integer(i128::from(transaction.0), self.scoped.language))
            }
            ("txn", Context::Root { .. }) => Err("no transaction runs: this is a root context".into()),
            ("method", Context::Stream { method, .. }) => Ok(Value::of_text(method, self.scoped.language)),
            ("path", Context::Stream { path, .. }) => Ok(Value::of_text(path, self.scoped.language)),
            _ => {
                let entries = self.entries(name)?.into_iter();
                let language = self.scoped.language;
                let entries: Vec<_> =
                    entries.map(|(key, value)| (Value::of_text(&key, language), value)).collect();
                let length = entries.len() as u64;
                Ok(Value::computed("", language, Shape::Map { entries, length }))
            }
        }
    }

    /// `$req`, `$resp`, `$prop`, `$filter`, by name.
    fn entries(&self, name: &str) -> Result<Vec<(String, Value)>, String> {
        let kind = match name {
            "req" => ScopeKind::RequestHeaders,
            "resp" => ScopeKind::ResponseHeaders,
            "prop" => ScopeKind::Properties,
            "filter" => ScopeKind::Filter,
            _ => {
                return Err(format!(
                    "there is no `${name}`: there are $txn, $method, $path, $req[\"name\"], $resp[\"name\"], \
                     $prop[\"a.path\"] and $filter[\"name\"]"
                ));
            }
        };
        scope::entries(self.target, kind).map_err(|why| why.to_string())
    }

    /// `$req["name"]`, whatever the case of its letters. Nothing, not an error, when there is none: a
    /// condition is asked for every request, and most have no such header. Fields that repeat are joined by
    /// commas.
    fn entry(&self, name: &str, key: &Value) -> Result<Value, String> {
        let key =
            key.text().ok_or_else(|| format!("${name} wants a name in quotes, as in ${name}[\"name\"]"))?;
        let entries = self.entries(name)?;
        let mut found: Vec<_> = entries
            .into_iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(&key))
            .map(|(_, value)| value)
            .collect();
        if found.is_empty() {
            let asked = if name == "prop" { self.target.property(&key) } else { Ok(None) };
            return Ok(match asked.map_err(|why| why.to_string())? {
                Some(property) => scope::property_value(&property),
                None => Value::missing("", ValueState::Absent),
            });
        }
        if found.len() == 1 {
            return Ok(found.remove(0));
        }
        let texts: Vec<_> = found.iter().filter_map(Value::text).collect();
        Ok(Value::of_text(&texts.join(","), self.scoped.language))
    }

    fn name(&self, name: &str) -> Result<Value, String> {
        let found = scope::resolve(self.target, self.scoped, name).map_err(|error| error.to_string())?;
        found.ok_or_else(|| {
            if self.scoped.instance.is_none() {
                return format!(
                    "no variable `{name}`: {} has no debug info; compile it with -g (Rust: `debug = true`)",
                    self.scoped.frame.function
                );
            }
            let head: String = name.chars().take(2).collect();
            let names = scope::names(self.target, self.scoped);
            let near: Vec<_> = names
                .iter()
                .filter(|known| known.contains(name) || known.starts_with(&head))
                .take(3)
                .cloned()
                .collect();
            let hint =
                if near.is_empty() { String::new() } else { format!("; did you mean {}", near.join(" or ")) };
            format!("no variable `{name}` in {}{hint}", self.scoped.frame.function)
        })
    }
}

/// A field by name: of the record as shown, of what a pointer points to, or as the debug info has it.
fn field(value: &Value, name: &str, pointers: u32) -> Option<Value> {
    let found = match value.shape() {
        Shape::Record { fields, .. } => {
            let numbered = name.starts_with(|c: char| c.is_ascii_digit()).then(|| format!("__{name}"));
            let wanted = numbered.as_deref().unwrap_or(name);
            fields.iter().find(|field| field.name == wanted).map(|field| field.value.clone())
        }
        Shape::Pointer { pointee: Some(inner), .. } | Shape::Wrapper(inner) if pointers > 0 => {
            field(inner, name, pointers - 1)
        }
        _ => None,
    };
    found.or_else(|| value.field(name))
}

/// A part of a value that is not there is not there either.
fn missing(base: &Value) -> Option<Value> {
    match base.shape() {
        Shape::Missing(state) => Some(Value::missing("", state.clone())),
        Shape::Pointer { pointee: Some(inner), .. } | Shape::Wrapper(inner) => missing(inner),
        _ => None,
    }
}

fn no_field(base: &Value, name: &str) -> String {
    let mut shown = base;
    loop {
        match shown.shape() {
            Shape::Pointer { address: 0, .. } => return "its base is a null pointer".into(),
            Shape::Pointer { pointee: Some(inner), .. } | Shape::Wrapper(inner) => shown = inner,
            Shape::Record { fields, .. } if !fields.is_empty() => {
                let names: Vec<_> = fields
                    .iter()
                    .take(12)
                    .map(|field| field.name.strip_prefix("__").unwrap_or(&field.name))
                    .collect();
                return format!("`{}` has no field `{name}`; it has {}", shown.type_name(), names.join(", "));
            }
            _ => return format!("`{}` has no field `{name}`", shown.type_name()),
        }
    }
}

fn element(base: &Value, index: &Value, pointers: u32) -> Result<Value, String> {
    match base.shape() {
        Shape::Missing(state) => Ok(Value::missing("", state.clone())),
        Shape::Sequence(elements) => {
            let number = number(index)?;
            let found = u64::try_from(number).ok().and_then(|number| elements.get(number));
            found.ok_or_else(|| {
                format!("index {number} is out of range: it has {} elements", elements.length())
            })
        }
        Shape::Map { entries, length } => {
            let found = entries.iter().find(|(key, _)| operators::equal(key, index));
            let hint = if entries.len() as u64 == *length { "" } else { " among those that were read" };
            found
                .map(|(_, value)| value.clone())
                .ok_or_else(|| format!("it has no key {}{hint}", index.summary()))
        }
        Shape::Text { place, length } => {
            let number = number(index)?;
            let at = u64::try_from(number).ok().filter(|at| at < length);
            let at = at.ok_or_else(|| format!("index {number} is out of range: it has {length} bytes"))?;
            let read =
                place.at(at).read(base.target().map(Arc::as_ref), 1).map_err(|state| state.to_string())?;
            Ok(Value::integer(read.first().copied().map_or(0, i128::from), base.language()))
        }
        Shape::Pointer { pointee: Some(pointee), style: PointerStyle::Raw, .. } => {
            let number = number(index)?;
            let size = pointee.byte_size().ok_or("what it points to has no size")?;
            let by = number.checked_mul(i128::from(size)).ok_or("the index is too large")?;
            let address = pointee.address().map(i128::from).and_then(|address| address.checked_add(by));
            let address = address
                .and_then(|address| u64::try_from(address).ok())
                .ok_or("the address is out of range")?;
            let ty = pointee.declared().ok_or("what it points to has no type")?;
            pointee.pointee(address, ty.id).ok_or_else(|| "what it points to has no type".into())
        }
        Shape::Pointer { pointee: Some(inner), .. } | Shape::Wrapper(inner) if pointers > 0 => {
            element(inner, index, pointers - 1)
        }
        _ => Err(format!("`{}` has no elements", base.type_name())),
    }
}

fn number(index: &Value) -> Result<i128, String> {
    index.as_integer().ok_or_else(|| match index.state() {
        ValueState::Available => format!("{} is no index", index.summary()),
        state => format!("the index is {state}"),
    })
}

fn dereference(value: &Value) -> Result<Value, String> {
    match value.shape() {
        Shape::Missing(state) => Ok(Value::missing("", state.clone())),
        Shape::Pointer { pointee: Some(pointee), .. } => Ok(pointee.clone()),
        Shape::Pointer { address: 0, .. } => Err("it is a null pointer".into()),
        Shape::Pointer { .. } => Err("what it points to has no type".into()),
        Shape::Wrapper(inner) if !matches!(inner.shape(), Shape::Wrapper(_)) => {
            dereference(inner).or_else(|_| Ok(inner.clone()))
        }
        // A `char *` is shown as text; it still is a pointer.
        Shape::Text { place, .. } if place.address().is_some() && value.address() != place.address() => {
            let (_, target) = value.first_pointer().ok_or("it is no pointer")?;
            let pointee = target.zip(place.address()).and_then(|(ty, address)| value.pointee(address, ty));
            pointee.ok_or_else(|| "what it points to has no type".into())
        }
        _ => Err(format!("`{}` is no pointer", value.type_name())),
    }
}

fn address_of(value: &Value) -> Result<Value, String> {
    let address = value.address().ok_or("it is not in memory: it has no address")?;
    let name = match value.language() {
        Language::Rust => format!("*const {}", value.type_name()),
        _ => format!("{} *", value.type_name()),
    };
    let shape = Shape::Pointer { address, pointee: Some(value.clone()), style: PointerStyle::Raw };
    Ok(Value::computed(&name, value.language(), shape))
}
