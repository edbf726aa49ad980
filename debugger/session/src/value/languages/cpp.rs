//! Values of C and C++: characters and C strings, and the library types of libc++ that everybody uses,
//! shown as gdb's printers would. Containers that are not a row are in `cpp_containers`.

use wasmdbg_symbols::{Encoding, Type, TypeId, TypeKind};

use super::cpp_containers;
use super::view::View;
use crate::value::layout::argument_at;
use crate::value::place::Place;
use crate::value::state::ValueState;
use crate::value::tree::{Elements, PointerStyle, Shape, Value};

/// Bytes of a C string looked at for its end.
const MOST_TEXT: u64 = 4096;

/// The view of C and C++.
pub(super) struct Cpp;

impl View for Cpp {
    fn shape(&self, value: &Value, ty: &Type) -> Option<Shape> {
        match &ty.kind {
            TypeKind::Pointer { target: Some(target), .. } if is_char(value, *target) => c_string(value, ty),
            TypeKind::Array { element: Some(element), .. } if is_char(value, *element) => {
                char_array(value, ty)
            }
            TypeKind::Record { .. } => library_type(value, ty),
            _ => None,
        }
    }

    fn label(&self, _: &Type) -> String {
        String::new()
    }

    fn type_name(&self, name: &str) -> String {
        short_type_name(name)
    }
}

/// Plain `char`; `signed char` and `unsigned char` are numbers (`int8_t`, `uint8_t`).
fn is_char(value: &Value, ty: TypeId) -> bool {
    value.type_of(ty).is_some_and(|ty| {
        &*ty.name == "char"
            && matches!(ty.kind, TypeKind::Base(Encoding::SignedChar | Encoding::UnsignedChar))
    })
}

/// `char *`: the text up to its zero byte; without one in sight only the pointer.
fn c_string(value: &Value, ty: &Type) -> Option<Shape> {
    let TypeKind::Pointer { kind: wasmdbg_symbols::PointerKind::Pointer, .. } = ty.kind else { return None };
    let address = match value.unsigned() {
        Ok(address) if address != 0 => address,
        _ => return None,
    };
    let bytes = value.target()?.read_up_to(address, MOST_TEXT).ok()?;
    let length = bytes.iter().position(|byte| *byte == 0)? as u64;
    Some(Shape::Text { place: Place::Memory(address), length })
}

fn char_array(value: &Value, ty: &Type) -> Option<Shape> {
    let bytes = value.read(ty.size?.min(MOST_TEXT)).ok()?;
    let length = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()) as u64;
    Some(Shape::Text { place: value.place().clone(), length })
}

/// The name of a type of the standard library without its namespace and arguments.
fn library_name(ty: &Type) -> Option<&str> {
    let path = ty.name.split('<').next()?;
    // `std::__2` is an inline namespace: the number is libc++'s ABI.
    let name = path.strip_prefix("std::")?;
    Some(name.rsplit("::").next().unwrap_or(name))
}

fn library_type(value: &Value, ty: &Type) -> Option<Shape> {
    match library_name(ty)? {
        "basic_string" => string(value, ty),
        "basic_string_view" => {
            let element = argument_at(ty, 0)?;
            let (address, _) = value.field("__data_")?.first_pointer()?;
            let length = value.field("__size_")?.unsigned();
            Some(Shape::or_missing(text_or_row(value, address.map(Place::Memory), length, element)))
        }
        "vector" => vector(value, ty),
        "array" => value.field("__elems_").map(Shape::Wrapper),
        "optional" => {
            let engaged = value.find("__engaged_")?.unsigned();
            let inner = value.find("__val_")?;
            Some(Shape::or_missing(engaged.map(|engaged| match engaged {
                0 => Shape::Opaque("nullopt".into()),
                _ => Shape::Wrapper(inner),
            })))
        }
        "unique_ptr" | "shared_ptr" => {
            let (address, target) = value.find("__ptr_")?.first_pointer()?;
            Some(Shape::or_missing(address.map(|address| {
                let pointee = target.filter(|_| address != 0).and_then(|ty| value.pointee(address, ty));
                Shape::Pointer { address, pointee, style: PointerStyle::Owning }
            })))
        }
        "map" | "multimap" => cpp_containers::tree(value, true),
        "set" | "multiset" => cpp_containers::tree(value, false),
        "unordered_map" | "unordered_multimap" => cpp_containers::hash_table(value, true),
        "unordered_set" | "unordered_multiset" => cpp_containers::hash_table(value, false),
        "list" => cpp_containers::list(value),
        "atomic" => value.find("__a_value").map(Shape::Wrapper),
        _ => None,
    }
}

/// libc++'s string keeps short texts in itself. `__is_long_` is a bit field since LLVM 14, wherever the
/// ABI puts it; before, it was the lowest bit of the short size's byte.
fn string(value: &Value, ty: &Type) -> Option<Shape> {
    let element = argument_at(ty, 0)?;
    let short = value.find("__s")?;
    let long = value.find("__l")?;
    let (is_long, short_length) = match short.field("__is_long_") {
        Some(bit) => (bit.unsigned(), short.find("__size_")?.unsigned()),
        None => {
            let byte = short.find("__size_")?.unsigned();
            (byte.clone().map(|byte| byte & 1), byte.map(|byte| byte >> 1))
        }
    };
    let shape = || match is_long? {
        0 => {
            let data = short.field("__data_").ok_or_else(|| ValueState::unreadable("an unknown layout"))?;
            text_or_row(value, Ok(data.place().clone()), short_length, element)
        }
        _ => {
            let unknown = || ValueState::unreadable("an unknown layout");
            let (address, _) =
                long.field("__data_").and_then(|data| data.first_pointer()).ok_or_else(unknown)?;
            let length = long.field("__size_").ok_or_else(unknown)?.unsigned();
            text_or_row(value, address.map(Place::Memory), length, element)
        }
    };
    Some(Shape::or_missing(shape()))
}

/// Elements of one byte are a text, wider ones (`u16string`) a row.
fn text_or_row(
    value: &Value,
    place: Result<Place, ValueState>,
    length: Result<u64, ValueState>,
    element: TypeId,
) -> Result<Shape, ValueState> {
    let (place, length) = (place?, length?);
    match value.size_of(element) {
        Some(1) => Ok(Shape::Text { place, length }),
        Some(stride) => Ok(Shape::Sequence(Elements::Row {
            of: value.clone(),
            place,
            element: Some(element),
            stride,
            length,
        })),
        None => Err(ValueState::unreadable("its elements have no size")),
    }
}

fn vector(value: &Value, ty: &Type) -> Option<Shape> {
    let element = argument_at(ty, 0)?;
    let (begin, _) = value.field("__begin_")?.first_pointer()?;
    // `vector<bool>` packs bits and counts them: its fields are shown as they are.
    let (end, _) = value.field("__end_")?.first_pointer()?;
    let stride = value.size_of(element)?;
    let row = || {
        let (begin, end) = (begin?, end?);
        let bytes = end.checked_sub(begin).filter(|bytes| stride > 0 && bytes % stride == 0);
        let bytes =
            bytes.ok_or_else(|| ValueState::unreadable("its end is not a whole element behind its begin"))?;
        let (place, length) = (Place::Memory(begin), bytes / stride);
        Ok(Shape::Sequence(Elements::Row {
            of: value.clone(),
            place,
            element: Some(element),
            stride,
            length,
        }))
    };
    Some(Shape::or_missing(row()))
}

/// Default arguments of templates, by the words they begin with.
const DEFAULTS: [&str; 6] = [
    ", std::allocator<",
    ", std::char_traits<",
    ", std::less<",
    ", std::hash<",
    ", std::equal_to<",
    ", std::default_delete<",
];

/// A type's name as in the source: `std::string`, `std::vector<int>`.
fn short_type_name(name: &str) -> String {
    let mut text = name.replace("std::__2::", "std::").replace("std::__1::", "std::");
    for default in DEFAULTS {
        while let Some(start) = text.find(default) {
            let open = start + default.len();
            let Some(end) = closing(&text[open..]) else { break };
            text.replace_range(start..open + end + 1, "");
        }
    }
    let text = text.replace(" >", ">");
    text.replace("std::basic_string_view<char>", "std::string_view")
        .replace("std::basic_string<char>", "std::string")
}

/// Where the angle bracket closes that was opened before `text`.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 1;
    for (at, c) in text.char_indices() {
        match c {
            '<' => depth += 1,
            '>' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_names_lose_what_nobody_writes() {
        for (long, short) in [
            (
                "std::__2::basic_string<char, std::__2::char_traits<char>, std::__2::allocator<char> >",
                "std::string",
            ),
            ("std::__2::vector<Point, std::__2::allocator<Point> >", "std::vector<Point>"),
            (
                "std::__2::map<unsigned int, Request, std::__2::less<unsigned int>, \
                 std::__2::allocator<std::__2::pair<const unsigned int, Request> > >",
                "std::map<unsigned int, Request>",
            ),
            ("const Point *", "const Point *"),
        ] {
            assert_eq!(short_type_name(long), short);
        }
    }
}
