//! Names in a stack, and source positions. Owns how they look; resolves nothing.

use std::sync::Arc;

/// What a name stands for; decides its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LabelKind {
    /// A thread.
    Thread,
    /// Something to say about the stack.
    Note,
    /// A filter.
    Filter,
    /// A function of a filter that the host calls: a callback.
    Callback,
    /// A function of a module.
    Wasm,
    /// One that was inlined.
    Inlined,
    /// A line of a module's source.
    Line,
    /// wasmtime's own code around a module's.
    Trampoline,
    /// Code of the host.
    Host,
    /// The kernel.
    Kernel,
}

/// A name in a stack.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Label {
    /// What it stands for.
    pub kind: LabelKind,
    /// The name.
    pub text: Arc<str>,
}

impl Label {
    /// A name without the characters that separate names in folded stacks.
    #[must_use]
    pub fn new(kind: LabelKind, text: &str) -> Self {
        Self { kind, text: printable(text).replace(';', ":").into() }
    }

    /// This function at a line.
    #[must_use]
    pub fn at(&self, place: &Place) -> Self {
        Self::new(self.kind, &format!("{} {}", self.text, place.text()))
    }

    /// Whether it is a function of a module.
    #[must_use]
    pub fn is_wasm(&self) -> bool {
        matches!(self.kind, LabelKind::Callback | LabelKind::Wasm | LabelKind::Inlined)
    }
}

/// A source position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// As the compiler wrote it.
    pub path: Arc<str>,
    /// From 1.
    pub line: u32,
    /// The instruction itself has no line; this is one near it.
    pub approximate: bool,
}

impl Place {
    /// `src/lib.rs:120`; `~src/lib.rs:120` when approximate.
    #[must_use]
    pub fn text(&self) -> String {
        let about = if self.approximate { "~" } else { "" };
        format!("{about}{}:{}", short(&self.path), self.line)
    }

    /// A frame of its own.
    #[must_use]
    pub fn label(&self) -> Label {
        Label::new(LabelKind::Line, &self.text())
    }
}

/// A text on one line, of characters that XML may have.
pub(super) fn printable(text: &str) -> String {
    let shown = |c: char| match c {
        '\u{fffe}' | '\u{ffff}' => char::REPLACEMENT_CHARACTER,
        c if c.is_control() => ' ',
        c => c,
    };
    text.chars().map(shown).collect()
}

/// The last two parts of a path: enough to tell files apart at a glance.
fn short(path: &str) -> &str {
    let mut slashes = path.rmatch_indices('/').map(|(at, _)| at);
    match (slashes.next(), slashes.next()) {
        (Some(_), Some(second)) => &path[second + 1..],
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_shortened_to_two_parts() {
        assert_eq!(short("/home/x/examples/rust-token/src/lib.rs"), "src/lib.rs");
        assert_eq!(short("src/lib.rs"), "src/lib.rs");
        assert_eq!(short("lib.rs"), "lib.rs");
    }

    #[test]
    fn names_cannot_break_a_folded_stack() {
        assert_eq!(&*Label::new(LabelKind::Host, "a;b\nc").text, "a:b c");
        assert_eq!(&*Label::new(LabelKind::Host, "a\u{ffff}b\u{1b}").text, "a\u{fffd}b ");
    }
}
