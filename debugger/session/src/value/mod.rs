//! Values as a front end shows them: a tree that is read when it is looked at.
//!
//! A [`Value`] is a type and a place. Its [`shape::Shape`] says what it is (a scalar, a text, a
//! sequence, a record), once, in the way of its language; `render` makes text of a shape. Nothing here
//! evaluates DWARF locations or knows frames.

mod assign;
mod languages;
mod layout;
mod place;
mod render;
mod scalar;
mod shape;

use std::fmt;
use std::sync::{Arc, OnceLock};

use wasmdbg_symbols as symbols;

pub(crate) use assign::{encode, is_enumerator};
pub(crate) use place::Place;
pub(crate) use scalar::Scalar;
pub(crate) use shape::{PointerStyle, Shape};

use crate::target::Target;
use render::Limits;

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

/// Whether a value could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueState {
    /// It is there.
    Available,
    /// There is none: a header that the request does not have.
    Absent,
    /// The compiler did not keep it at this pc.
    OptimizedOut,
    /// It cannot be read, and why. A wrong value is worse than none.
    Unreadable(String),
}

impl ValueState {
    pub(crate) fn unreadable(why: impl Into<String>) -> Self {
        Self::Unreadable(why.into())
    }
}

impl fmt::Display for ValueState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Available => Ok(()),
            Self::Absent => f.write_str("<none>"),
            Self::OptimizedOut => f.write_str("<optimized out>"),
            Self::Unreadable(why) => write!(f, "<unreadable: {why}>"),
        }
    }
}

impl From<symbols::Unreadable> for ValueState {
    fn from(why: symbols::Unreadable) -> Self {
        Self::Unreadable(why.0)
    }
}

impl From<symbols::DebugInfoError> for ValueState {
    fn from(why: symbols::DebugInfoError) -> Self {
        Self::Unreadable(why.to_string())
    }
}

/// How integers are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// As the language writes them.
    #[default]
    Natural,
    /// Hexadecimal.
    Hex,
    /// Binary.
    Binary,
    /// Octal.
    Octal,
    /// Unsigned decimal.
    Unsigned,
}

/// A value of the stopped program. Cheap to clone; children are read when asked for.
#[derive(Clone)]
pub struct Value {
    inner: Arc<Inner>,
}

struct Inner {
    /// Where memory and types come from; `None` for what an expression computed.
    target: Option<Arc<Target>>,
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

/// More pointers and wrappers in a row than any type has. Broken debug info can have a reference to
/// itself, and a guest a pointer that points at itself: whoever follows them ends here.
const MOST_INSIDE: u32 = 32;

impl Value {
    /// A value of a type at a place.
    pub(crate) fn typed(target: &Arc<Target>, ty: symbols::TypeId, place: Place) -> Self {
        Self::member_of(target, Some(ty), place, None)
    }

    /// Like [`Value::typed`], for debug info that may lack the type and for bit fields.
    pub(crate) fn member_of(
        target: &Arc<Target>,
        ty: Option<symbols::TypeId>,
        place: Place,
        bits: Option<(u64, u64)>,
    ) -> Self {
        let read = ty.zip(target.symbols()).map(|(id, symbols)| symbols.type_of(id));
        let (declared, place) = match read {
            Some(Ok(ty)) => (Some(ty), place),
            Some(Err(broken)) => (None, Place::Missing(broken.into())),
            None => (None, place),
        };
        let language = declared.as_ref().map_or(symbols::Language::Other, |ty| ty.language);
        let type_name =
            declared.as_ref().map_or(String::new(), |ty| shape::view(language).type_name(&ty.name));
        let target = Some(Arc::clone(target));
        let shape = OnceLock::new();
        Self {
            inner: Arc::new(Inner { target, declared, type_name, language, place, bits, inside: 0, shape }),
        }
    }

    /// A value that is not of the program: a literal, the result of an operator, a raw Wasm value.
    pub(crate) fn computed(type_name: &str, language: symbols::Language, shape: Shape) -> Self {
        let place = match &shape {
            Shape::Missing(state) => Place::Missing(state.clone()),
            _ => Place::Missing(ValueState::unreadable("it has no place in memory")),
        };
        let inner = Inner {
            target: None,
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
        let Inner { target: Some(target), declared, type_name, language, place, bits, .. } = &*self.inner
        else {
            return self.clone();
        };
        let inner = Inner {
            target: Some(Arc::clone(target)),
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

    /// One line in the style of the language: `Prime(17)`, `"text"`, `(1, 2)`, `<optimized out>`.
    pub fn summary(&self) -> String {
        self.formatted(Format::Natural)
    }

    /// [`Value::summary`] with integers in `format`.
    pub fn formatted(&self, format: Format) -> String {
        render::text(self, format, Limits::SUMMARY)
    }

    /// All of it for `print`: nested, elements cut after 200 and texts after 4096 bytes.
    pub fn display(&self, format: Format) -> String {
        render::text(self, format, Limits::DISPLAY)
    }

    /// How many children there are.
    pub fn child_count(&self) -> u64 {
        self.shape().child_count()
    }

    /// Whether the children are elements (indexed and many) and not fields.
    pub fn is_indexed(&self) -> bool {
        matches!(self.shape(), Shape::Sequence(_))
    }

    /// Children `first ..`, at most `count`.
    pub fn children(&self, first: u64, count: u64) -> Vec<Variable> {
        self.shape().children(first, count)
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
            match shape::shape_of(self) {
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
        self.inner.target.as_ref()
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

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary())
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Value").field("type", &self.type_name()).field("place", self.place()).finish()
    }
}
