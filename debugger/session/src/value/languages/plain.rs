//! What a value is by its debug info alone: what every language falls back to.

use std::sync::Arc;

use wasmdbg_symbols::{
    Encoding, Enumerator, Member, PointerKind, RecordKind, Type, TypeId, TypeKind, VariantPart,
};

use super::view::View;
use crate::value::scalar::Scalar;
use crate::value::state::ValueState;
use crate::value::tree::{Elements, PointerStyle, Shape, Value, Variable, VariableKind};

/// The shape that the debug info gives.
pub(super) fn shape(value: &Value, ty: &Type, view: &dyn View) -> Shape {
    match &ty.kind {
        TypeKind::Base(encoding) => {
            let encoding = match encoding {
                // `int8_t` and `uint8_t`: only plain `char` is a character.
                Encoding::SignedChar if &*ty.name != "char" => Encoding::Signed,
                Encoding::UnsignedChar if &*ty.name != "char" => Encoding::Unsigned,
                encoding => *encoding,
            };
            let decode = |bytes: Vec<u8>| Scalar::decode(encoding, &bytes, value.bits()).map(Shape::Scalar);
            Shape::or_missing(value.read(ty.size.unwrap_or(0)).and_then(decode))
        }
        TypeKind::Pointer { kind, target } => Shape::or_missing(pointer(value, *kind, *target)),
        TypeKind::Enum { values, .. } => {
            Shape::or_missing(value.unsigned().map(|raw| enumerator(values, raw, ty.size.unwrap_or(8))))
        }
        TypeKind::Array { element, lengths } => array(value, *element, lengths),
        TypeKind::Record { members, bases, variants, kind, .. } => match variants {
            Some(part) => Shape::or_missing(variant(value, part)),
            None => record(value, ty, bases, members, *kind, view),
        },
        TypeKind::Alias { .. } => Shape::Opaque(format!("<{}>", ty.name)),
        TypeKind::Function { .. } => Shape::Opaque("<code>".into()),
        TypeKind::Other(tag) => Shape::Opaque(format!("<{tag}>")),
    }
}

/// The enumerator whose number `raw` is, in `size` bytes: the debug info has it with or without its sign.
fn enumerator(values: &[Enumerator], raw: u64, size: u64) -> Shape {
    let unused = 64 - size.clamp(1, 8) as u32 * 8;
    let signed = i128::from((raw << unused).cast_signed() >> unused);
    let found = values.iter().find(|known| known.value == signed || known.value == i128::from(raw));
    let name = found.map(|known| Arc::clone(&known.name));
    Shape::Enumerator { name, value: found.map_or(signed, |known| known.value) }
}

fn pointer(value: &Value, kind: PointerKind, target: Option<TypeId>) -> Result<Shape, ValueState> {
    let address = value.unsigned()?;
    let pointee = target.filter(|_| address != 0).and_then(|ty| value.pointee(address, ty));
    let pointee = pointee
        .filter(|pointee| pointee.resolved().is_some_and(|ty| !matches!(ty.kind, TypeKind::Function { .. })));
    match (kind, pointee) {
        (PointerKind::Reference | PointerKind::RvalueReference, Some(pointee)) => Ok(Shape::Wrapper(pointee)),
        (_, pointee) => Ok(Shape::Pointer { address, pointee, style: PointerStyle::Raw }),
    }
}

fn array(value: &Value, element: Option<TypeId>, lengths: &[Option<u64>]) -> Shape {
    let Some(size) = element.and_then(|element| value.size_of(element)) else {
        return Shape::Opaque("<array of unknown elements>".into());
    };
    // Several dimensions are shown as one row: C's `int [2][3]` is six ints behind each other.
    let Some(length) = lengths.iter().try_fold(1u64, |product, length| product.checked_mul((*length)?))
    else {
        return Shape::Opaque("<array of unknown length>".into());
    };
    Shape::Sequence(Elements::Row {
        of: value.clone(),
        place: value.place().clone(),
        element,
        stride: size,
        length,
    })
}

/// A Rust enum (or another variant record): the variant that the discriminant selects.
fn variant(value: &Value, part: &VariantPart) -> Result<Shape, ValueState> {
    let found = match &part.discriminant {
        Some(member) => {
            let size = member.ty.and_then(|ty| value.size_of(ty)).filter(|size| (1..=16).contains(size));
            let size = size.ok_or_else(|| ValueState::unreadable("its discriminant has no size"))?;
            let bytes = value.member(member).read(size)?;
            let discriminant = bytes.iter().rev().fold(0u128, |value, byte| value << 8 | u128::from(*byte));
            let unknown =
                || ValueState::unreadable(format!("no variant has the discriminant {discriminant}"));
            part.select(discriminant).ok_or_else(unknown)?
        }
        None => part.variants.first().ok_or_else(|| ValueState::unreadable("it has no variants"))?,
    };
    let label = found.member.name.as_deref().unwrap_or_default().to_owned();
    let payload = value.member(&found.member);
    let fields = payload.resolved().map_or_else(Vec::new, |ty| match &ty.kind {
        TypeKind::Record { members, .. } => fields(&payload, &[], members),
        _ => Vec::new(),
    });
    Ok(Shape::Record { label, tuple: is_tuple(&fields), fields })
}

fn record(
    value: &Value,
    ty: &Type,
    bases: &[Member],
    members: &[Member],
    kind: RecordKind,
    view: &dyn View,
) -> Shape {
    let fields = fields(value, bases, members);
    let label = if kind == RecordKind::Union { String::new() } else { view.label(ty) };
    Shape::Record { label, tuple: is_tuple(&fields), fields }
}

/// Anonymous records in anonymous records that are opened.
const MOST_ANONYMOUS: u32 = 4;

/// Members of anonymous records that are opened, of all in one record. Broken debug info can have a record
/// that contains itself many times.
const MOST_OPENED: usize = 1000;

/// Base classes first, each under its type's name; anonymous unions and structs are opened.
fn fields(value: &Value, bases: &[Member], members: &[Member]) -> Vec<Variable> {
    let mut opened = Opened { fields: Vec::new(), left: MOST_OPENED };
    opened.add(value, bases, members, 0);
    opened.fields
}

/// The fields of a record so far, and how many members of anonymous records there may still be.
struct Opened {
    fields: Vec<Variable>,
    left: usize,
}

impl Opened {
    fn add(&mut self, value: &Value, bases: &[Member], members: &[Member], level: u32) {
        for base in bases {
            let value = value.member(base);
            let name = value.resolved().map_or_else(|| "<base>".into(), |ty| ty.short.to_string());
            self.fields.push(Variable { name, kind: VariableKind::Field, value });
        }
        for member in members.iter().filter(|member| !member.is_static) {
            let inner = value.member(member);
            let name = match &member.name {
                Some(name) => name.to_string(),
                None => match inner.resolved().as_deref().map(|ty| &ty.kind) {
                    Some(TypeKind::Record { bases, members, .. }) => {
                        let left = self.left.checked_sub(bases.len() + members.len());
                        if let Some(left) = left.filter(|_| level < MOST_ANONYMOUS) {
                            self.left = left;
                            self.add(&inner, bases, members, level + 1);
                            continue;
                        }
                        "<anonymous>".into()
                    }
                    _ => continue,
                },
            };
            self.fields.push(Variable { name, kind: VariableKind::Field, value: inner });
        }
    }
}

/// Whether the fields are those of a Rust tuple: `__0`, `__1`, …
fn is_tuple(fields: &[Variable]) -> bool {
    !fields.is_empty() && fields.iter().enumerate().all(|(index, field)| field.name == format!("__{index}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_enumerator_can_be_negative() {
        let known = |name: &str, value| Enumerator { name: name.into(), value };
        let values = [known("BLUE", -1), known("GREEN", 5), known("HIGH", 0xf0)];
        let shown = |raw, size| match enumerator(&values, raw, size) {
            Shape::Enumerator { name, value } => (name.as_deref().map(str::to_owned), value),
            _ => panic!("no enumerator"),
        };
        assert_eq!(shown(0xffff_ffff, 4), (Some("BLUE".into()), -1));
        assert_eq!(shown(0xff, 1), (Some("BLUE".into()), -1));
        assert_eq!(shown(5, 4), (Some("GREEN".into()), 5));
        assert_eq!(shown(0xf0, 1), (Some("HIGH".into()), 0xf0), "its type has no sign");
        assert_eq!(shown(0xffff_fffe, 4), (None, -2));
    }
}
