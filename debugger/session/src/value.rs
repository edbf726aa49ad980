//! Values as a front end shows them: a tree that is read when it is looked at.

use std::fmt;

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
}

/// What a [`Scope`] holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScopeKind {
    /// Parameters.
    Arguments,
    /// Locals of the blocks around the pc, innermost first; a shadowed name is listed once more.
    Locals,
    /// Variables of static storage of the frame's compile unit.
    Statics,
    /// The function's Wasm locals by index.
    WasmLocals,
    /// The module's Wasm globals by index.
    WasmGlobals,
}

/// A group of variables of a frame; its variables are read on request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// For a person: `Arguments`.
    pub name: String,
    /// What it holds; give it to [`crate::Stop::variables`].
    pub kind: ScopeKind,
    /// Reading it may be slow.
    pub expensive: bool,
}

/// Whether a value could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueState {
    /// It is there.
    Available,
    /// The compiler did not keep it at this pc.
    OptimizedOut,
    /// It cannot be read, and why. A wrong value is worse than none.
    Unreadable(String),
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
#[derive(Debug, Clone)]
pub struct Value {
    state: ValueState,
}

impl Value {
    /// Whether it could be read.
    pub fn state(&self) -> &ValueState {
        &self.state
    }

    /// The type's name as the language writes it; empty when unknown.
    pub fn type_name(&self) -> &str {
        unimplemented!()
    }

    /// One line in the style of the language: `Prime(17)`, `"text"`, `(1, 2)`, `<optimized out>`.
    pub fn summary(&self) -> String {
        self.formatted(Format::Natural)
    }

    /// [`Value::summary`] with integers in `format`.
    pub fn formatted(&self, format: Format) -> String {
        let _ = format;
        unimplemented!()
    }

    /// All of it for `print`: nested, elements cut after 200 and texts after 4096 bytes.
    pub fn display(&self, format: Format) -> String {
        let _ = format;
        unimplemented!()
    }

    /// How many children there are.
    pub fn child_count(&self) -> u64 {
        unimplemented!()
    }

    /// Whether the children are elements (indexed and many) and not fields.
    pub fn is_indexed(&self) -> bool {
        unimplemented!()
    }

    /// Children `first ..`, at most `count`.
    pub fn children(&self, first: u64, count: u64) -> Vec<Variable> {
        let _ = (first, count);
        unimplemented!()
    }

    /// Where it lies in linear memory, if it does.
    pub fn address(&self) -> Option<u64> {
        unimplemented!()
    }

    /// Its size in bytes, if known.
    pub fn byte_size(&self) -> Option<u64> {
        unimplemented!()
    }

    /// It as an integer, if it is one (or a pointer, an enumerator, a bool, a character).
    pub fn as_integer(&self) -> Option<i128> {
        unimplemented!()
    }

    /// The bytes as they lie in memory, `None` where they are not known.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        unimplemented!()
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary())
    }
}
