//! How a word of an expression could go on.

use std::sync::Arc;

use wasmdbg_session::{Stop, Value};

use crate::protocol::{Answer, Body, CompletionItem, CompletionsArguments, CompletionsBody};
use crate::requests::console;
use crate::transport::client::Client;

/// What expressions know beside the program's variables.
const SPECIALS: [&str; 7] = ["$req", "$resp", "$prop", "$filter", "$txn", "$method", "$path"];

/// `place`: the frame whose names they are, if one is looked at.
pub(crate) fn completions(
    place: Option<(Arc<Stop>, u32)>,
    client: &Client,
    arguments: &CompletionsArguments,
) -> Answer {
    let line = arguments.line.map_or(0, |line| client.line_in(line).map_or(0, |line| line as usize - 1));
    let text = arguments.text.lines().nth(line).unwrap_or_default();
    let column = client.column_in(arguments.column).map_or(0, |column| column as usize - 1);
    let before: String = String::from_utf16_lossy(&text.encode_utf16().take(column).collect::<Vec<_>>());
    let word = before
        .rfind(|c: char| !is_word(c))
        .map_or(before.as_str(), |at| &before[at + before[at..].chars().next().map_or(1, char::len_utf8)..]);
    let head = &before[..before.len() - word.len()];
    let mut found: Vec<(String, &'static str)> = match base_of(head) {
        Some(base) => {
            let value = place.and_then(|(stop, frame)| stop.evaluate(frame, base).ok());
            value.map_or_else(Vec::new, |value| fields(&value))
        }
        None => {
            let names = place.and_then(|(stop, frame)| stop.names(frame).ok()).unwrap_or_default();
            let commands = console::names().filter(|_| head.trim().is_empty());
            names
                .into_iter()
                .chain(SPECIALS.map(str::to_owned))
                .map(|name| (name, "variable"))
                .chain(commands.map(|name| (name.to_owned(), "keyword")))
                .collect()
        }
    };
    found.retain(|(name, _)| name.starts_with(word));
    found.sort();
    found.dedup();
    let units = |text: &str| text.encode_utf16().count() as i64;
    let start = units(head) + i64::from(client.features.columns_start_at1);
    let length = units(word);
    let targets =
        found.into_iter().map(|(label, kind)| CompletionItem { label, kind, start, length }).collect();
    Ok(Some(Body::from(CompletionsBody { targets })))
}

/// Names of the fields of a value, through pointers.
fn fields(value: &Value) -> Vec<(String, &'static str)> {
    let mut children = value.children(0, 200);
    for _ in 0..4 {
        match children.as_slice() {
            [one] if one.name == "*" => children = one.value.children(0, 200),
            _ => break,
        }
    }
    let names = children.into_iter().filter(|child| !child.name.starts_with('['));
    names.map(|child| (child.name.strip_prefix("__").unwrap_or(&child.name).to_owned(), "field")).collect()
}

/// The expression whose field is being written: `a.b` of `x + a.b.`.
fn base_of(head: &str) -> Option<&str> {
    let base = head.strip_suffix('.').or_else(|| head.strip_suffix("->"))?;
    let mut depth = 0;
    let start = base.rfind(|c: char| {
        match c {
            ']' | ')' => depth += 1,
            '[' | '(' if depth > 0 => {
                depth -= 1;
                return false;
            }
            _ => {}
        }
        depth == 0 && !is_word(c) && !matches!(c, '.' | ':' | ']' | ')')
    });
    let from = start.map_or(0, |at| at + base[at..].chars().next().map_or(1, char::len_utf8));
    Some(&base[from..]).filter(|base| !base.is_empty())
}

/// A character of a name.
pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_before_the_dot() {
        assert_eq!(base_of("a."), Some("a"));
        assert_eq!(base_of("x + self.settings."), Some("self.settings"));
        assert_eq!(base_of("f == v[i + 1].b->"), Some("v[i + 1].b"));
        assert_eq!(base_of("-(*p)."), Some("(*p)"));
        assert_eq!(base_of("a + "), None);
        assert_eq!(base_of("."), None);
    }
}
