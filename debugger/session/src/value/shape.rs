//! What a value is, read once: the plain shape of its DWARF type, unless its language knows the type
//! better. Owns the children of every shape; makes no text.

use std::sync::Arc;

use wasmdbg_symbols::{
    Encoding, Language, Member, PointerKind, RecordKind, Type, TypeId, TypeKind, VariantPart,
};

use super::{Place, Scalar, Value, ValueState, Variable, VariableKind};

/// What a value is.
pub(crate) enum Shape {
    /// Not there, and why.
    Missing(ValueState),
    /// A number, truth value or character.
    Scalar(Scalar),
    /// A value of an enumeration; no name when none has this number.
    Enumerator { name: Option<Arc<str>>, value: i128 },
    /// A pointer; no pointee when it is null or points to void or code.
    Pointer { address: u64, pointee: Option<Value>, style: PointerStyle },
    /// Characters in a row, UTF-8 or bytes; read when shown.
    Text {
        place: Place,
        /// In bytes.
        length: u64,
    },
    /// Elements by index.
    Sequence(Elements),
    /// Keys and values; `length` can be more than were collected.
    Map { entries: Vec<(Value, Value)>, length: u64 },
    /// Named fields (or a tuple's).
    Record {
        /// In front of the fields, as Rust does: `Some`, `Settings`; may be empty.
        label: String,
        /// Fields have no names worth showing.
        tuple: bool,
        fields: Vec<Variable>,
    },
    /// Nothing of its own: a C++ reference, `NonNull`, `Cell`.
    Wrapper(Value),
    /// Only a text: a function, a shape nobody knows.
    Opaque(String),
}

/// What a pointer is to its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PointerStyle {
    /// An address first.
    Raw,
    /// What it points to counts: `&T`, `Box<T>`, `unique_ptr`.
    Owning,
}

/// The elements of a sequence.
pub(crate) enum Elements {
    /// One behind the other.
    Row {
        of: Value,
        place: Place,
        element: Option<TypeId>,
        /// Size of one in bytes.
        stride: u64,
        length: u64,
    },
    /// Collected one by one; `length` can be more than were collected.
    Listed { values: Vec<Value>, length: u64 },
}

impl Elements {
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Row { length, .. } | Self::Listed { length, .. } => *length,
        }
    }

    /// Element `index`; `None` at the end or beyond what was collected.
    pub(crate) fn get(&self, index: u64) -> Option<Value> {
        match self {
            Self::Row { of, place, element, stride, length } => {
                let target = of.target().filter(|_| index < *length)?;
                Some(Value::member_of(target, *element, place.at(index.wrapping_mul(*stride)), None))
            }
            Self::Listed { values, .. } => values.get(usize::try_from(index).ok()?).cloned(),
        }
    }
}

/// What a language knows of its values.
pub(crate) trait View: Sync {
    /// The shape of a type it knows better than its debug info does; `None`: the plain one.
    fn shape(&self, value: &Value, ty: &Type) -> Option<Shape>;

    /// What stands in front of the fields of a plain record.
    fn label(&self, ty: &Type) -> String;

    /// A type's name as people write it.
    fn type_name(&self, name: &str) -> String;
}

/// The view for values of a language.
pub(crate) fn view(language: Language) -> &'static dyn View {
    match language {
        Language::Rust => &super::languages::rust::Rust,
        Language::C | Language::Cpp => &super::languages::cpp::Cpp,
        _ => &Plain,
    }
}

/// A language without known types: what the debug info says.
struct Plain;

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

pub(crate) fn shape_of(value: &Value) -> Shape {
    if let Place::Missing(state) = value.place() {
        return Shape::Missing(state.clone());
    }
    let Some(ty) = value.resolved() else {
        return match value.declared() {
            Some(ty) => Shape::Opaque(format!("<{}>", ty.name)),
            None => Shape::Missing(ValueState::unreadable("the debug info gives it no type")),
        };
    };
    view(ty.language).shape(value, &ty).unwrap_or_else(|| plain(value, &ty))
}

/// The shape that the debug info gives.
pub(crate) fn plain(value: &Value, ty: &Type) -> Shape {
    match &ty.kind {
        TypeKind::Base(encoding) => {
            let encoding = match encoding {
                // `int8_t` and `uint8_t`: only plain `char` is a character.
                Encoding::SignedChar if &*ty.name != "char" => Encoding::Signed,
                Encoding::UnsignedChar if &*ty.name != "char" => Encoding::Unsigned,
                encoding => *encoding,
            };
            let decode = |bytes: Vec<u8>| Scalar::decode(encoding, &bytes, value.bits()).map(Shape::Scalar);
            or_missing(value.read(ty.size.unwrap_or(0)).and_then(decode))
        }
        TypeKind::Pointer { kind, target } => or_missing(pointer(value, *kind, *target)),
        TypeKind::Enum { values, .. } => or_missing(value.unsigned().map(|raw| {
            let bits = ty.size.unwrap_or(8).clamp(1, 8) as u32 * 8;
            let signed = i128::from((raw << (64 - bits)).cast_signed() >> (64 - bits));
            let found = values.iter().find(|v| v.value == signed || v.value == i128::from(raw));
            let name = found.map(|v| Arc::clone(&v.name));
            Shape::Enumerator { name, value: found.map_or(signed, |v| v.value) }
        })),
        TypeKind::Array { element, lengths } => array(value, *element, lengths),
        TypeKind::Record { members, bases, variants, kind, .. } => match variants {
            Some(part) => or_missing(variant(value, part)),
            None => record(value, ty, bases, members, *kind),
        },
        TypeKind::Alias { .. } => Shape::Opaque(format!("<{}>", ty.name)),
        TypeKind::Function { .. } => Shape::Opaque("<code>".into()),
        TypeKind::Other(tag) => Shape::Opaque(format!("<{tag}>")),
    }
}

pub(crate) fn or_missing(shape: Result<Shape, ValueState>) -> Shape {
    shape.unwrap_or_else(Shape::Missing)
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

fn record(value: &Value, ty: &Type, bases: &[Member], members: &[Member], kind: RecordKind) -> Shape {
    let fields = fields(value, bases, members);
    let label = if kind == RecordKind::Union { String::new() } else { view(ty.language).label(ty) };
    Shape::Record { label, tuple: is_tuple(&fields), fields }
}

/// Anonymous records in anonymous records that are opened.
const MOST_ANONYMOUS: u32 = 4;

/// Members of anonymous records that are opened, of all in one record. Broken debug info can have a record
/// that contains itself many times.
const MOST_OPENED: usize = 1000;

/// Base classes first, each under its type's name; anonymous unions and structs are opened.
pub(crate) fn fields(value: &Value, bases: &[Member], members: &[Member]) -> Vec<Variable> {
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

impl Shape {
    pub(crate) fn child_count(&self) -> u64 {
        match self {
            Self::Record { fields, .. } => fields.len() as u64,
            Self::Sequence(elements) => elements.length(),
            Self::Map { length, .. } => *length,
            Self::Wrapper(inner) => inner.child_count(),
            Self::Pointer { pointee: Some(pointee), .. } => match opened(pointee) {
                Some(inner) => inner.child_count(),
                None => 1,
            },
            _ => 0,
        }
    }

    pub(crate) fn children(&self, first: u64, count: u64) -> Vec<Variable> {
        let skip = usize::try_from(first).unwrap_or(usize::MAX);
        let take = usize::try_from(count).unwrap_or(usize::MAX);
        match self {
            Self::Record { fields, .. } => fields.iter().skip(skip).take(take).cloned().collect(),
            Self::Sequence(elements) => {
                let last = first.saturating_add(count).min(elements.length());
                let one = |index| {
                    let value = elements.get(index)?;
                    Some(Variable { name: format!("[{index}]"), kind: VariableKind::Element, value })
                };
                (first..last).map_while(one).collect()
            }
            Self::Map { entries, .. } => {
                let one = |(key, value): &(Value, Value)| Variable {
                    name: format!("[{}]", key.summary()),
                    kind: VariableKind::Element,
                    value: value.clone(),
                };
                entries.iter().skip(skip).take(take).map(one).collect()
            }
            Self::Wrapper(inner) => inner.children(first, count),
            Self::Pointer { pointee: Some(pointee), .. } => match opened(pointee) {
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
