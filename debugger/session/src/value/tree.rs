//! A value is a type and a place, and what it is, its [`Shape`], is read when it is looked at: a tree that
//! reads itself, and owns nothing of how.

use std::fmt;
use std::sync::{Arc, OnceLock};

use wasmdbg_symbols as symbols;

use super::place::Place;
use super::scalar::Scalar;
use super::state::ValueState;
use crate::target::Target;

/// A named value.
#[derive(Debug, Clone)]
pub struct Variable {
    /// `token`, `[3]`, `__0`, `*ptr`.
    pub name: String,
    /// What it is.
    pub kind: VariableKind,
    /// Its value.
    pub value: Value,
}

/// What a [`Variable`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VariableKind {
    /// A parameter.
    Argument,
    /// A local variable.
    Local,
    /// A variable of static storage.
    Static,
    /// A member of a struct, tuple, enum variant or union.
    Field,
    /// An element of an array, slice, vector or map.
    Element,
    /// What a pointer or reference points to.
    Pointee,
    /// A raw Wasm local, operand or global.
    Wasm,
    /// A header field, a property or a setting of the filter.
    Stream,
}

/// A value of the stopped program. Cheap to clone; children are read when asked for.
#[derive(Clone)]
pub struct Value {
    inner: Arc<Inner>,
}

struct Inner {
    /// Where it comes from; `None` for what an expression computed.
    origin: Option<Origin>,
    /// The declared type, typedefs and qualifiers kept.
    declared: Option<Arc<symbols::Type>>,
    /// [`Value::type_name`].
    type_name: String,
    language: symbols::Language,
    place: Place,
    /// Bit fields: first bit behind the place's first byte, and width.
    bits: Option<(u64, u64)>,
    /// How many pointers and wrappers in a row lead here, without a record between them.
    inside: u32,
    shape: OnceLock<Shape>,
}

/// What a value of the program shares with its parts.
#[derive(Clone)]
struct Origin {
    /// Where memory and types come from.
    target: Arc<Target>,
    views: &'static dyn Views,
}

/// How the languages see their values. They stand above the values they know: a value is given their views
/// where it comes from, and hands them on to its parts.
pub(crate) trait Views: Sync {
    /// What the value is; asked once, when somebody looks.
    fn shape(&self, value: &Value) -> Shape;

    /// A type's name as the language writes it.
    fn type_name(&self, ty: &symbols::Type) -> String;
}

/// More pointers and wrappers in a row than any type has. Broken debug info can have a reference to
/// itself, and a guest a pointer that points at itself: whoever follows them ends here.
const MOST_INSIDE: u32 = 32;

impl Value {
    /// A value of the program at a place. Debug info may lack its type.
    pub(crate) fn new(
        target: &Arc<Target>,
        views: &'static dyn Views,
        ty: Option<symbols::TypeId>,
        place: Place,
    ) -> Self {
        Self::of(Origin { target: Arc::clone(target), views }, ty, place, None)
    }

    /// A part of this value, or what it points to: of the same memory and types. What an expression computed
    /// has none.
    pub(crate) fn part(
        &self,
        ty: Option<symbols::TypeId>,
        place: Place,
        bits: Option<(u64, u64)>,
    ) -> Option<Self> {
        self.inner.origin.clone().map(|origin| Self::of(origin, ty, place, bits))
    }

    fn of(origin: Origin, ty: Option<symbols::TypeId>, place: Place, bits: Option<(u64, u64)>) -> Self {
        let read = ty.zip(origin.target.symbols()).map(|(id, symbols)| symbols.type_of(id));
        let (declared, place) = match read {
            Some(Ok(ty)) => (Some(ty), place),
            Some(Err(broken)) => (None, Place::Missing(broken.into())),
            None => (None, place),
        };
        let language = declared.as_ref().map_or(symbols::Language::Other, |ty| ty.language);
        let type_name = declared.as_ref().map_or(String::new(), |ty| origin.views.type_name(ty));
        let inner = Inner {
            origin: Some(origin),
            declared,
            type_name,
            language,
            place,
            bits,
            inside: 0,
            shape: OnceLock::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// A value that is not of the program: a literal, the result of an operator, a raw Wasm value.
    pub(crate) fn computed(type_name: &str, language: symbols::Language, shape: Shape) -> Self {
        let place = match &shape {
            Shape::Missing(state) => Place::Missing(state.clone()),
            _ => Place::Missing(ValueState::unreadable("it has no place in memory")),
        };
        let inner = Inner {
            origin: None,
            declared: None,
            type_name: type_name.to_owned(),
            language,
            place,
            bits: None,
            inside: 0,
            shape: OnceLock::from(shape),
        };
        Self { inner: Arc::new(inner) }
    }

    /// An integer that is of no program.
    pub(crate) fn integer(value: i128, language: symbols::Language) -> Self {
        Self::computed("", language, Shape::Scalar(Scalar::Integer { value, bits: 128, signed: true }))
    }

    /// A text that is of no program.
    pub(crate) fn of_text(text: &str, language: symbols::Language) -> Self {
        let length = text.len() as u64;
        Self::computed("", language, Shape::Text { place: Place::whole(text.as_bytes()), length })
    }

    /// A truth value that is of no program.
    pub(crate) fn bool(value: bool, language: symbols::Language) -> Self {
        Self::computed("bool", language, Shape::Scalar(Scalar::Bool(value)))
    }

    /// A value that is not there.
    pub(crate) fn missing(type_name: &str, state: ValueState) -> Self {
        Self::computed(type_name, symbols::Language::Other, Shape::Missing(state))
    }

    /// The same, to be read anew: after memory was written.
    #[must_use]
    pub fn refreshed(&self) -> Self {
        self.anew(self.inner.inside)
    }

    /// The same, not read yet, with so many pointers and wrappers in front.
    fn anew(&self, inside: u32) -> Self {
        let Inner { origin: Some(origin), declared, type_name, language, place, bits, .. } = &*self.inner
        else {
            return self.clone();
        };
        let inner = Inner {
            origin: Some(origin.clone()),
            declared: declared.clone(),
            type_name: type_name.clone(),
            language: *language,
            place: place.clone(),
            bits: *bits,
            inside,
            shape: OnceLock::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Whether it could be read.
    pub fn state(&self) -> &ValueState {
        match self.shape() {
            Shape::Missing(state) => state,
            _ => &ValueState::Available,
        }
    }

    /// The type's name as the language writes it; empty when unknown.
    pub fn type_name(&self) -> &str {
        &self.inner.type_name
    }

    /// Where it lies in linear memory, if it does; of a C++ reference: where what it means lies.
    pub fn address(&self) -> Option<u64> {
        match self.shape() {
            Shape::Wrapper(inner) => inner.address(),
            _ => self.inner.place.address(),
        }
    }

    /// Its size in bytes, if known.
    pub fn byte_size(&self) -> Option<u64> {
        self.resolved().and_then(|ty| ty.size)
    }

    /// It as an integer, if it is one (or a pointer, an enumerator, a bool, a character).
    pub fn as_integer(&self) -> Option<i128> {
        match self.shape() {
            Shape::Scalar(scalar) => scalar.as_integer(),
            Shape::Enumerator { value, .. } => Some(*value),
            Shape::Pointer { address, .. } => Some(i128::from(*address)),
            Shape::Wrapper(inner) => inner.as_integer(),
            _ => None,
        }
    }

    /// The bytes as they lie in memory, `None` where they are not known.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        self.read(self.byte_size()?).ok()
    }

    /// The text that an expression made.
    pub(crate) fn text(&self) -> Option<String> {
        let Shape::Text { place, length } = self.shape() else { return None };
        let bytes = place.read(self.target().map(Arc::as_ref), *length).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    pub(crate) fn shape(&self) -> &Shape {
        self.inner.shape.get_or_init(|| {
            let inside = self.inner.inside + 1;
            // What an expression computed has its shape from the start.
            let Some(origin) = &self.inner.origin else {
                return Shape::Missing(ValueState::unreadable("it is of nothing"));
            };
            match origin.views.shape(self) {
                Shape::Wrapper(_) | Shape::Pointer { pointee: Some(_), .. } if inside > MOST_INSIDE => {
                    Shape::Missing(ValueState::unreadable("it leads to itself"))
                }
                Shape::Wrapper(inner) => Shape::Wrapper(inner.anew(inside)),
                Shape::Pointer { address, pointee: Some(pointee), style } => {
                    Shape::Pointer { address, pointee: Some(pointee.anew(inside)), style }
                }
                shape => shape,
            }
        })
    }

    pub(crate) fn language(&self) -> symbols::Language {
        self.inner.language
    }

    pub(crate) fn place(&self) -> &Place {
        &self.inner.place
    }

    pub(crate) fn target(&self) -> Option<&Arc<Target>> {
        self.inner.origin.as_ref().map(|origin| &origin.target)
    }

    pub(crate) fn bits(&self) -> Option<(u64, u64)> {
        self.inner.bits
    }

    /// The declared type, typedefs and qualifiers kept.
    pub(crate) fn declared(&self) -> Option<&Arc<symbols::Type>> {
        self.inner.declared.as_ref()
    }

    /// The type behind typedefs and qualifiers.
    pub(crate) fn resolved(&self) -> Option<Arc<symbols::Type>> {
        let symbols = self.target()?.symbols()?;
        let declared = self.declared()?;
        let found = match &declared.kind {
            symbols::TypeKind::Alias { .. } => symbols.resolved_type(declared.id).ok().flatten()?,
            _ => Arc::clone(declared),
        };
        match &found.kind {
            symbols::TypeKind::Record { declaration: true, .. } => {
                let complete = symbols.complete(found.id).ok()?;
                symbols.type_of(complete).ok()
            }
            _ => Some(found),
        }
    }

    /// The first `size` bytes of the place.
    pub(crate) fn read(&self, size: u64) -> Result<Vec<u8>, ValueState> {
        self.place().read(self.target().map(Arc::as_ref), size)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Value").field("type", &self.type_name()).field("place", self.place()).finish()
    }
}

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

impl Shape {
    /// What was read, or why it was not.
    pub(crate) fn or_missing(shape: Result<Self, ValueState>) -> Self {
        shape.unwrap_or_else(Self::Missing)
    }
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
        element: Option<symbols::TypeId>,
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
                if index >= *length {
                    return None;
                }
                of.part(*element, place.at(index.wrapping_mul(*stride)), None)
            }
            Self::Listed { values, .. } => values.get(usize::try_from(index).ok()?).cloned(),
        }
    }
}
