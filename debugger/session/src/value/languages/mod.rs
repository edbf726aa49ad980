//! What values are, in the way of their language: its own view of the types it knows, the plain shape of
//! the debug info for all others.

mod cpp;
mod cpp_containers;
mod plain;
mod rust;
mod rust_containers;
mod view;

use std::sync::Arc;

use wasmdbg_symbols::{Language, Type, TypeId};

use self::view::View;
use super::place::Place;
use super::state::ValueState;
use super::tree::{Shape, Value, Views};
use crate::target::Target;

/// A value of the program at a place, read as its language reads it. Debug info may lack its type.
pub(crate) fn value(target: &Arc<Target>, ty: Option<TypeId>, place: Place) -> Value {
    Value::new(target, &Languages, ty, place)
}

/// All languages.
struct Languages;

impl Views for Languages {
    fn shape(&self, value: &Value) -> Shape {
        if let Place::Missing(state) = value.place() {
            return Shape::Missing(state.clone());
        }
        let Some(ty) = value.resolved() else {
            return match value.declared() {
                Some(ty) => Shape::Opaque(format!("<{}>", ty.name)),
                None => Shape::Missing(ValueState::unreadable("the debug info gives it no type")),
            };
        };
        let view = view(ty.language);
        view.shape(value, &ty).unwrap_or_else(|| plain::shape(value, &ty, view))
    }

    fn type_name(&self, ty: &Type) -> String {
        view(ty.language).type_name(&ty.name)
    }
}

fn view(language: Language) -> &'static dyn View {
    match language {
        Language::Rust => &rust::Rust,
        Language::C | Language::Cpp => &cpp::Cpp,
        _ => &view::Plain,
    }
}
