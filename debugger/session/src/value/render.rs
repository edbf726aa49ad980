//! Shapes into text, in the style of the value's language, cut to a size a person reads.

use std::fmt;

use wasmdbg_symbols::Language;

use super::place::Place;
use super::scalar::{Format, quoted};
use super::state::ValueState;
use super::tree::{Elements, PointerStyle, Shape, Value, Variable};

impl Value {
    /// One line in the style of the language: `Prime(17)`, `"text"`, `(1, 2)`, `<optimized out>`.
    pub fn summary(&self) -> String {
        self.formatted(Format::Natural)
    }

    /// [`Value::summary`] with integers in `format`.
    pub fn formatted(&self, format: Format) -> String {
        text(self, format, Limits::SUMMARY)
    }

    /// All of it for `print`: nested, elements cut after 200 and texts after 4096 bytes.
    pub fn display(&self, format: Format) -> String {
        text(self, format, Limits::DISPLAY)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary())
    }
}

/// How much of a value is shown.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Records within records.
    depth: u32,
    /// Elements of a sequence, fields of a record.
    elements: u64,
    /// Bytes of a text.
    text: u64,
    /// Bytes in all; what comes later is `…`.
    total: usize,
}

impl Limits {
    const SUMMARY: Self = Self { depth: 3, elements: 8, text: 256, total: 400 };
    const DISPLAY: Self = Self { depth: 8, elements: 200, text: 4096, total: 64 * 1024 };
}

/// Fields of all records of one text together, most of which are not shown: broken debug info can have
/// records of many records of many fields.
const MOST_FIELDS: usize = 100_000;

/// The text of a value.
fn text(value: &Value, format: Format, limits: Limits) -> String {
    let mut writer = Writer { out: String::new(), format, limits, fields: 0 };
    writer.value(value, limits.depth);
    writer.out
}

struct Writer {
    out: String,
    format: Format,
    limits: Limits,
    /// Of all records so far, shown or not.
    fields: usize,
}

impl Writer {
    fn value(&mut self, value: &Value, depth: u32) {
        let rust = value.language() == Language::Rust;
        match value.shape() {
            Shape::Missing(state) => self.out.push_str(&state.to_string()),
            Shape::Scalar(scalar) => self.out.push_str(&scalar.text(self.format)),
            Shape::Enumerator { name: Some(name), .. } => self.out.push_str(name),
            Shape::Enumerator { name: None, value } => {
                self.out.push_str(&format!("<no enumerator is {value}>"))
            }
            Shape::Pointer { address, pointee, style } => {
                self.pointer(*address, pointee.as_ref(), *style, depth)
            }
            Shape::Text { place, length } => self.text(value, place, *length),
            Shape::Sequence(elements) => self.sequence(elements, rust, depth),
            Shape::Map { entries, length } => self.map(entries, *length, rust, depth),
            Shape::Record { label, tuple, fields } => self.record(label, *tuple, fields, rust, depth),
            Shape::Wrapper(inner) => self.value(inner, depth),
            Shape::Opaque(text) => self.out.push_str(text),
        }
    }

    fn pointer(&mut self, address: u64, pointee: Option<&Value>, style: PointerStyle, depth: u32) {
        match (style, pointee) {
            (PointerStyle::Owning, Some(pointee)) if depth > 0 => self.value(pointee, depth),
            (PointerStyle::Owning, Some(_)) => self.out.push('…'),
            _ => self.out.push_str(&format!("{address:#x}")),
        }
    }

    fn text(&mut self, value: &Value, place: &Place, length: u64) {
        match place.read(value.target().map(std::sync::Arc::as_ref), length.min(self.limits.text)) {
            Err(state) => self.out.push_str(&state.to_string()),
            Ok(mut bytes) if length > self.limits.text => {
                cut_to_characters(&mut bytes);
                self.out.push_str(&format!("{}… ({length} bytes)", quoted(&bytes)));
            }
            Ok(bytes) => self.out.push_str(&quoted(&bytes)),
        }
    }

    fn sequence(&mut self, elements: &Elements, rust: bool, depth: u32) {
        let (open, close) = if rust { ("[", "]") } else { ("{", "}") };
        let length = elements.length();
        if depth == 0 && length > 0 {
            self.out.push_str(&format!("{open}…{close}"));
            return;
        }
        self.out.push_str(open);
        let mut shown = 0;
        while let Some(element) = self.next(shown).and_then(|index| elements.get(index)) {
            if shown > 0 {
                self.out.push_str(", ");
            }
            self.value(&element, depth - 1);
            shown += 1;
            // All of memory can be one element's reason: once is enough.
            if matches!(element.state(), ValueState::Unreadable(_)) {
                break;
            }
        }
        self.rest(shown, length);
        self.out.push_str(close);
    }

    fn map(&mut self, entries: &[(Value, Value)], length: u64, rust: bool, depth: u32) {
        if depth == 0 && length > 0 {
            self.out.push_str("{…}");
            return;
        }
        self.out.push('{');
        let mut shown = 0;
        while let Some((key, value)) = self.next(shown).and_then(|index| entries.get(index as usize)) {
            if shown > 0 {
                self.out.push_str(", ");
            }
            self.value(key, depth - 1);
            self.out.push_str(if rust { ": " } else { " = " });
            self.value(value, depth - 1);
            shown += 1;
        }
        self.rest(shown, length);
        self.out.push('}');
    }

    fn record(&mut self, label: &str, tuple: bool, fields: &[Variable], rust: bool, depth: u32) {
        self.out.push_str(label);
        self.fields = self.fields.saturating_add(fields.len());
        if fields.is_empty() {
            if label.is_empty() {
                self.out.push_str(if rust { "()" } else { "{}" });
            }
            return;
        }
        let (open, close) = match (tuple, label.is_empty()) {
            (true, _) => ("(", ")"),
            (false, true) => ("{", "}"),
            (false, false) => (" {", "}"),
        };
        let pad = if rust && !tuple { " " } else { "" };
        if depth == 0 {
            self.out.push_str(&format!("{open}…{close}"));
            return;
        }
        self.out.push_str(open);
        self.out.push_str(pad);
        let mut shown = 0;
        while let Some(field) = self.next(shown).and_then(|index| fields.get(index as usize)) {
            if shown > 0 {
                self.out.push_str(", ");
            }
            if !tuple {
                self.out.push_str(&field.name);
                self.out.push_str(if rust { ": " } else { " = " });
            }
            self.value(&field.value, depth - 1);
            shown += 1;
        }
        self.rest(shown, fields.len() as u64);
        self.out.push_str(pad);
        self.out.push_str(close);
    }

    /// The index to show next, unless enough is shown.
    fn next(&self, shown: u64) -> Option<u64> {
        let enough = self.out.len() >= self.limits.total || self.fields >= MOST_FIELDS;
        (shown < self.limits.elements && !enough).then_some(shown)
    }

    fn rest(&mut self, shown: u64, length: u64) {
        if shown < length {
            let comma = if shown > 0 { ", " } else { "" };
            self.out.push_str(&format!("{comma}… {} more", length - shown));
        }
    }
}

/// Takes away a character that the cut went through.
fn cut_to_characters(bytes: &mut Vec<u8>) {
    if let Err(error) = std::str::from_utf8(bytes)
        && error.error_len().is_none()
    {
        bytes.truncate(error.valid_up_to());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = format!("a{}", "é".repeat(200));
        // 256 bytes of it end within an `é`.
        let shown = format!("\"a{}\"… (401 bytes)", "é".repeat(127));
        assert_eq!(Value::of_text(&text, Language::Rust).summary(), shown);
        let whole = "é".repeat(128);
        assert_eq!(Value::of_text(&whole, Language::Rust).summary(), format!("\"{whole}\""), "256 bytes");
    }
}
