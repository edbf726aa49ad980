//! What a language has to say of its values.

use wasmdbg_symbols::Type;

use crate::value::tree::{Shape, Value};

/// Elements collected of a container that has no index; more is not looked at, only counted.
pub(super) const MOST_COLLECTED: u64 = 1000;

/// What a language knows of its values.
pub(super) trait View: Sync {
    /// The shape of a type it knows better than its debug info does; `None`: the plain one.
    fn shape(&self, value: &Value, ty: &Type) -> Option<Shape>;

    /// What stands in front of the fields of a plain record.
    fn label(&self, ty: &Type) -> String;

    /// A type's name as people write it.
    fn type_name(&self, name: &str) -> String;
}

/// A language without known types: what the debug info says.
pub(super) struct Plain;

impl View for Plain {
    fn shape(&self, _: &Value, _: &Type) -> Option<Shape> {
        None
    }

    fn label(&self, _: &Type) -> String {
        String::new()
    }

    fn type_name(&self, name: &str) -> String {
        name.to_owned()
    }
}
