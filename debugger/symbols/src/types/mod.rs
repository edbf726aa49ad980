//! Owns the type graph. Types name each other by [`TypeId`] and are read one at a time, so cycles
//! cost nothing. Never reads memory.

mod find;
mod read;

use std::sync::Arc;

use crate::ids::TypeId;
use crate::language::Language;

/// A type, one level deep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Type {
    /// Its id.
    pub id: TypeId,
    /// Name with namespaces and generic arguments (`alloc::vec::Vec<u8, alloc::alloc::Global>`); made
    /// up for types without one (`*const u8`, `int [4]`).
    pub name: Arc<str>,
    /// Name without namespaces (`Vec<u8, alloc::alloc::Global>`).
    pub short: Arc<str>,
    /// Size in bytes, where it has one.
    pub size: Option<u64>,
    /// Its shape.
    pub kind: TypeKind,
    /// Language of its unit.
    pub language: Language,
}

/// The shape of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypeKind {
    /// A scalar.
    Base(Encoding),
    /// A pointer or reference; `None` is void.
    Pointer {
        /// Which.
        kind: PointerKind,
        /// What it points to.
        target: Option<TypeId>,
    },
    /// A struct, class, union, tuple or Rust enum.
    Record {
        /// Which.
        kind: RecordKind,
        /// Fields, by offset as declared.
        members: Vec<Member>,
        /// Base classes, as members without a name.
        bases: Vec<Member>,
        /// The variants of a Rust enum.
        variants: Option<VariantPart>,
        /// Generic arguments: name and type.
        arguments: Vec<(Arc<str>, TypeId)>,
        /// Only declared in this unit; [`crate::Symbols::complete`] looks for the full one.
        declaration: bool,
    },
    /// A C-like enumeration (C, C++, Zig, and Rust enums without data).
    Enum {
        /// The integer type beneath it.
        base: Option<TypeId>,
        /// Names and values.
        values: Vec<Enumerator>,
    },
    /// An array.
    Array {
        /// Type of an element.
        element: Option<TypeId>,
        /// Length of each dimension, outermost first; `None` when unknown.
        lengths: Vec<Option<u64>>,
    },
    /// Another name for, or a qualified form of, a type; `None` is void.
    Alias {
        /// `typedef`, `const`, `volatile`, `restrict` or `atomic`.
        how: &'static str,
        /// The type meant.
        target: Option<TypeId>,
    },
    /// Code.
    Function {
        /// What it returns.
        result: Option<TypeId>,
        /// Its parameters.
        parameters: Vec<TypeId>,
    },
    /// A pointer to a class member, or a shape this crate does not know: the DWARF tag's name.
    Other(String),
}

/// How the bytes of a base type are to be read (DW_AT_encoding).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Two's complement.
    Signed,
    /// Unsigned.
    Unsigned,
    /// IEEE float.
    Float,
    /// 0 or 1.
    Bool,
    /// Unicode scalar or code unit (Rust `char`, `char16_t`).
    Utf,
    /// C `char`, signed.
    SignedChar,
    /// C `char`, unsigned.
    UnsignedChar,
    /// Size 0: Rust `()`.
    Unit,
    /// Other; the DW_ATE number.
    Other(u8),
}

/// What a pointer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PointerKind {
    /// A pointer.
    Pointer,
    /// `&`.
    Reference,
    /// `&&`.
    RvalueReference,
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// struct.
    Struct,
    /// class.
    Class,
    /// union.
    Union,
}

/// A field or base class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name; `None` for anonymous unions and base classes.
    pub name: Option<Arc<str>>,
    /// Its type.
    pub ty: Option<TypeId>,
    /// Offset in bytes.
    pub offset: u64,
    /// For a bit field: first bit behind `offset` (counted from the least significant) and width.
    pub bits: Option<(u64, u64)>,
    /// Made by the compiler.
    pub artificial: bool,
    /// For static members: the value is elsewhere.
    pub is_static: bool,
}

/// The variants of a Rust enum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariantPart {
    /// Where the discriminant is; `None` when there is one variant only.
    pub discriminant: Option<Member>,
    /// The variants, in declaration order.
    pub variants: Vec<Variant>,
}

/// One variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Discriminant values, as bits of the discriminant's size; empty for the one that holds all other
    /// values (the dataful variant of a niche).
    pub values: Vec<std::ops::RangeInclusive<u128>>,
    /// Its payload: a field whose name and type are the variant's.
    pub member: Member,
}

/// One value of an enumeration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enumerator {
    /// Its name.
    pub name: Arc<str>,
    /// Its value; negative for signed types.
    pub value: i128,
}

impl VariantPart {
    /// The variant that a discriminant selects.
    #[must_use]
    pub fn select(&self, discriminant: u128) -> Option<&Variant> {
        let named = self.variants.iter().find(|v| v.values.iter().any(|r| r.contains(&discriminant)));
        named.or_else(|| self.variants.iter().find(|v| v.values.is_empty()))
    }
}
