//! What a value opens to: the fields, elements, entries or pointee that a front end shows below it.

use wasmdbg_symbols::TypeKind;

use super::tree::{Shape, Value, Variable, VariableKind};

impl Value {
    /// How many children there are.
    pub fn child_count(&self) -> u64 {
        match self.shape() {
            Shape::Record { fields, .. } => fields.len() as u64,
            Shape::Sequence(elements) => elements.length(),
            Shape::Map { length, .. } => *length,
            Shape::Wrapper(inner) => inner.child_count(),
            Shape::Pointer { pointee: Some(pointee), .. } => match opened(pointee) {
                Some(inner) => inner.child_count(),
                None => 1,
            },
            _ => 0,
        }
    }

    /// Whether the children are elements (indexed and many) and not fields.
    pub fn is_indexed(&self) -> bool {
        matches!(self.shape(), Shape::Sequence(_))
    }

    /// Children `first ..`, at most `count`.
    pub fn children(&self, first: u64, count: u64) -> Vec<Variable> {
        let skip = usize::try_from(first).unwrap_or(usize::MAX);
        let take = usize::try_from(count).unwrap_or(usize::MAX);
        match self.shape() {
            Shape::Record { fields, .. } => fields.iter().skip(skip).take(take).cloned().collect(),
            Shape::Sequence(elements) => {
                let last = first.saturating_add(count).min(elements.length());
                let one = |index| {
                    let value = elements.get(index)?;
                    Some(Variable { name: format!("[{index}]"), kind: VariableKind::Element, value })
                };
                (first..last).map_while(one).collect()
            }
            Shape::Map { entries, .. } => {
                let one = |(key, value): &(Value, Value)| Variable {
                    name: format!("[{}]", key.summary()),
                    kind: VariableKind::Element,
                    value: value.clone(),
                };
                entries.iter().skip(skip).take(take).map(one).collect()
            }
            Shape::Wrapper(inner) => inner.children(first, count),
            Shape::Pointer { pointee: Some(pointee), .. } => match opened(pointee) {
                Some(inner) => inner.children(first, count),
                None if first == 0 && count > 0 => {
                    vec![Variable { name: "*".into(), kind: VariableKind::Pointee, value: pointee.clone() }]
                }
                None => Vec::new(),
            },
            _ => Vec::new(),
        }
    }
}

/// The pointee when its fields are to be shown in the pointer's place. Decided by the type alone:
/// whether a row can be opened must not cost a read.
fn opened(pointee: &Value) -> Option<&Value> {
    let ty = pointee.resolved()?;
    matches!(ty.kind, TypeKind::Record { .. }).then_some(pointee)
}
