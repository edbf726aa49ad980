//! Text that others have chosen, on its way to a log, a list or a terminal.

use std::borrow::Cow;
use std::time::Duration;

/// Characters that are kept of the name that a client gives itself ([`crate::session::Hello`]).
pub const CLIENT_NAME: usize = 100;

/// Characters that are kept of a text that requests or filters choose (a path, a reason) when it is one of
/// several in a message.
pub const SHOWN: usize = 1000;

/// At most `most` characters of `text`; `…` follows when there are more.
#[must_use]
pub fn cut(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// `text` with its control characters shown and not obeyed (`\n`, `\r`, `\u{1b}`), so that it stays on its
/// line and cannot pretend to be another one. Tabs stay.
#[must_use]
pub fn escaped(text: &str) -> Cow<'_, str> {
    // U+2028 and U+2029 end a line for some readers.
    let obeyed = |c: char| c.is_control() && c != '\t' || matches!(c, '\u{2028}' | '\u{2029}');
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if obeyed(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// A number of seconds as people say it, to a tenth: `5`, `0.1`.
pub(crate) fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_shows() {
        assert!(matches!(cut("übel", 4), Cow::Borrowed("übel")));
        assert_eq!(cut("übel", 1), "ü…");
    }

    #[test]
    fn control_characters_are_shown() {
        assert!(matches!(escaped("größe\t1"), Cow::Borrowed("größe\t1")));
        assert_eq!(
            escaped("a\r\nb\0\u{1b}[2J\u{7f}\u{9b}\u{2028}"),
            r"a\r\nb\u{0}\u{1b}[2J\u{7f}\u{9b}\u{2028}"
        );
    }
}
