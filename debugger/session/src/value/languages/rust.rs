//! Rust's values: references, boxes and the types of `core`, `alloc` and `std` that everybody uses, as
//! `Debug` would write them. Containers are in `rust_containers`.

use wasmdbg_symbols::{Type, TypeKind};

use super::rust_containers;
use super::view::View;
use crate::value::layout::argument;
use crate::value::place::Place;
use crate::value::state::ValueState;
use crate::value::tree::{Elements, PointerStyle, Shape, Value, Variable, VariableKind};

/// The view of Rust.
pub(super) struct Rust;

impl View for Rust {
    fn shape(&self, value: &Value, ty: &Type) -> Option<Shape> {
        match &ty.kind {
            TypeKind::Pointer { target, .. } => thin_pointer(value, ty, *target),
            TypeKind::Record { members, .. } => {
                let has = |name| members.iter().any(|member| member.name.as_deref() == Some(name));
                if has("data_ptr") && has("length") { fat_pointer(value, ty) } else { known(value, ty) }
            }
            _ => None,
        }
    }

    fn label(&self, ty: &Type) -> String {
        let short = ty.short.split('<').next().unwrap_or_default();
        if short.starts_with(['(', '{', '&', '*', '[']) { String::new() } else { short.to_owned() }
    }

    fn type_name(&self, name: &str) -> String {
        short_type_name(name)
    }
}

/// `&T` and `Box<T>` show what they point to; raw pointers their address.
fn thin_pointer(value: &Value, ty: &Type, target: Option<wasmdbg_symbols::TypeId>) -> Option<Shape> {
    if !(ty.name.starts_with('&') || ty.name.starts_with("alloc::boxed::Box<")) {
        return None;
    }
    Some(Shape::or_missing(value.unsigned().map(|address| {
        let pointee = target.filter(|_| address != 0).and_then(|ty| value.pointee(address, ty));
        Shape::Pointer { address, pointee, style: PointerStyle::Owning }
    })))
}

/// `&str`, `&[T]`, `Box<[T]>`, `*const [T]`: a pointer and a length.
fn fat_pointer(value: &Value, ty: &Type) -> Option<Shape> {
    let pointer = value.field("data_ptr")?;
    let length = value.field("length")?.unsigned();
    let TypeKind::Pointer { target: Some(element), .. } = pointer.resolved()?.kind else { return None };
    let is_text = ["str", "str>", "str, alloc::alloc::Global>"].iter().any(|end| ty.name.ends_with(end));
    Some(Shape::or_missing(row(value, pointer.unsigned(), length, element, is_text)))
}

/// Elements behind each other at an address, or a text.
fn row(
    value: &Value,
    address: Result<u64, ValueState>,
    length: Result<u64, ValueState>,
    element: wasmdbg_symbols::TypeId,
    is_text: bool,
) -> Result<Shape, ValueState> {
    let (place, length) = (Place::Memory(address?), length?);
    if is_text {
        return Ok(Shape::Text { place, length });
    }
    let stride = value.size_of(element).ok_or_else(|| ValueState::unreadable("its elements have no size"))?;
    Ok(Shape::Sequence(Elements::Row { of: value.clone(), place, element: Some(element), stride, length }))
}

fn known(value: &Value, ty: &Type) -> Option<Shape> {
    let path = ty.name.split('<').next().unwrap_or_default();
    match path {
        "alloc::string::String" => Some(Shape::or_missing(vec_row(&value.field("vec")?, true)?)),
        "alloc::vec::Vec" => Some(Shape::or_missing(vec_row(value, false)?)),
        "std::path::PathBuf" | "std::ffi::os_str::OsString" => {
            let vec = value.find_of_type("alloc::vec::Vec<u8", 5)?;
            Some(Shape::or_missing(vec_row(&vec, true)?))
        }
        "alloc::rc::Rc" | "alloc::sync::Arc" => counted(value),
        "core::cell::RefCell" => {
            let inner = value.field("value")?.field("value")?;
            let borrow = value.field("borrow")?;
            let field = |name: &str, value| Variable { name: name.into(), kind: VariableKind::Field, value };
            let fields = vec![field("value", inner), field("borrow", borrow)];
            Some(Shape::Record { label: "RefCell".into(), tuple: false, fields })
        }
        "core::cell::Cell"
        | "core::cell::UnsafeCell"
        | "core::cell::SyncUnsafeCell"
        | "core::mem::manually_drop::ManuallyDrop"
        | "core::mem::maybe_dangling::MaybeDangling"
        | "core::mem::maybe_uninit::MaybeUninit"
        | "core::num::nonzero::NonZero"
        | "core::ptr::non_null::NonNull"
        | "core::ptr::unique::Unique" => sole_field(value, ty).map(Shape::Wrapper),
        "alloc::collections::vec_deque::VecDeque" => rust_containers::vec_deque(value, ty),
        "std::collections::hash::map::HashMap" | "hashbrown::map::HashMap" => {
            rust_containers::hash_map(value)
        }
        "std::collections::hash::set::HashSet" | "hashbrown::set::HashSet" => {
            rust_containers::hash_set(value)
        }
        "alloc::collections::btree::map::BTreeMap" => rust_containers::btree_map(value),
        "alloc::collections::btree::set::BTreeSet" => rust_containers::btree_set(value),
        path if path.starts_with("core::num::nonzero::") || path.starts_with("core::num::niche_types::") => {
            sole_field(value, ty).map(Shape::Wrapper)
        }
        _ => None,
    }
}

/// The elements of a `Vec`: its pointer is some records deep, and how deep depends on the release.
fn vec_row(vec: &Value, is_text: bool) -> Option<Result<Shape, ValueState>> {
    let element = argument(&*vec.resolved()?, "T")?;
    let (address, _) = vec.field("buf")?.first_pointer()?;
    let length = vec.field("len")?.unsigned();
    Some(row(vec, address, length, element, is_text))
}

/// `Rc` and `Arc`: what is behind the counters.
fn counted(value: &Value) -> Option<Shape> {
    let (address, inner) = value.field("ptr")?.first_pointer()?;
    let address = match address {
        Ok(address) => address,
        Err(state) => return Some(Shape::Missing(state)),
    };
    let inner = value.pointee(address, inner?)?;
    let pointee = inner.field("value").or_else(|| inner.field("data"))?;
    Some(Shape::Pointer { address, pointee: Some(pointee), style: PointerStyle::Owning })
}

/// The one field that takes room; the others are markers.
fn sole_field(value: &Value, ty: &Type) -> Option<Value> {
    let TypeKind::Record { members, .. } = &ty.kind else { return None };
    let takes_room = |member: &&wasmdbg_symbols::Member| {
        !member.is_static && member.ty.and_then(|ty| value.size_of(ty)).is_some_and(|size| size > 0)
    };
    let mut fields = members.iter().filter(takes_room);
    let first = fields.next()?;
    Some(value.member(first))
}

/// A type's name as in the source: the standard library's paths and default arguments left out.
fn short_type_name(name: &str) -> String {
    let mut text = name.to_owned();
    for default in [", alloc::alloc::Global", ", std::hash::random::RandomState"] {
        text = text.replace(default, "");
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let word = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
        let (path, behind) = rest.split_at(word);
        let of_std = ["core::", "alloc::", "std::"].iter().any(|krate| path.starts_with(krate));
        out.push_str(if of_std { path.rsplit("::").next().unwrap_or(path) } else { path });
        let mut chars = behind.chars();
        out.extend(chars.next());
        rest = chars.as_str();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_names_lose_what_nobody_writes() {
        for (long, short) in [
            ("alloc::vec::Vec<u8, alloc::alloc::Global>", "Vec<u8>"),
            ("&mut rust_token::TokenFilter", "&mut rust_token::TokenFilter"),
            ("core::option::Option<&str>", "Option<&str>"),
            ("(alloc::string::String, u32)", "(String, u32)"),
            (
                "std::collections::hash::map::HashMap<u32, alloc::boxed::Box<dyn app::Api, alloc::alloc::Global>, \
                 std::hash::random::RandomState>",
                "HashMap<u32, Box<dyn app::Api>>",
            ),
        ] {
            assert_eq!(short_type_name(long), short);
        }
    }
}
