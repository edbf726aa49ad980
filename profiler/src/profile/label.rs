//! Names in a stack, and source positions. Owns how they look; resolves nothing.

use std::collections::HashMap;
use std::sync::Arc;

use rustc_hash::FxBuildHasher;

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

impl LabelKind {
    /// Whether it is a function of a module.
    #[must_use]
    pub fn is_wasm(self) -> bool {
        matches!(self, Self::Callback | Self::Wasm | Self::Inlined)
    }
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

    /// Whether it is a function of a module.
    #[must_use]
    pub fn is_wasm(&self) -> bool {
        self.kind.is_wasm()
    }
}

/// Names by number.
#[derive(Debug, Clone, Default)]
pub struct Labels {
    list: Vec<Label>,
    /// By the text as it was given.
    numbers: HashMap<LabelKind, HashMap<Arc<str>, u32, FxBuildHasher>, FxBuildHasher>,
    places: HashMap<Place, u32, FxBuildHasher>,
}

impl Labels {
    /// The number of a name.
    pub fn number(&mut self, kind: LabelKind, text: &str) -> u32 {
        let known = self.numbers.entry(kind).or_default();
        if let Some(number) = known.get(text) {
            return *number;
        }
        let label = Label::new(kind, text);
        let next = self.list.len() as u32;
        let number = *known.entry(Arc::clone(&label.text)).or_insert(next);
        if *label.text != *text {
            known.insert(text.into(), number);
        }
        if number == next {
            self.list.push(label);
        }
        number
    }

    /// The number of a source position.
    pub fn place(&mut self, place: &Place) -> u32 {
        if let Some(number) = self.places.get(place) {
            return *number;
        }
        let number = self.number(LabelKind::Line, &place.text());
        self.places.insert(place.clone(), number);
        number
    }

    /// The number of a function at a line.
    pub fn function_at(&mut self, function: u32, place: &Place) -> u32 {
        let label = self.get(function);
        let (kind, text) = (label.kind, format!("{} {}", label.text, place.text()));
        self.number(kind, &text)
    }

    /// A label by its number.
    #[must_use]
    pub fn get(&self, number: u32) -> &Label {
        &self.list[number as usize]
    }

    /// All labels.
    pub fn iter(&self) -> impl Iterator<Item = &Label> {
        self.list.iter()
    }
}

/// A source position.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
    fn one_name_has_one_number() {
        let mut labels = Labels::default();
        let first = labels.number(LabelKind::Host, "a;b");
        assert_eq!(labels.number(LabelKind::Host, "a:b"), first);
        assert_eq!(labels.number(LabelKind::Host, "a;b"), first);
        assert_ne!(labels.number(LabelKind::Wasm, "a:b"), first);
        let place = Place { path: "x/src/lib.rs".into(), line: 7, approximate: true };
        let line = labels.place(&place);
        assert_eq!((labels.place(&place), &*labels.get(line).text), (line, "~src/lib.rs:7"));
        let at = labels.function_at(first, &place);
        assert_eq!(&*labels.get(at).text, "a:b ~src/lib.rs:7");
    }

    #[test]
    fn names_cannot_break_a_folded_stack() {
        assert_eq!(&*Label::new(LabelKind::Host, "a;b\nc").text, "a:b c");
        assert_eq!(&*Label::new(LabelKind::Host, "a\u{ffff}b\u{1b}").text, "a\u{fffd}b ");
    }
}
