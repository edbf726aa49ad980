//! `print`: the value of an expression.

use wasmdbg_session::Format;

use super::command::{Command, Flow, Words};
use crate::debugger::Selection;
use crate::failure::{Failure, fail};
use crate::terminal::console::{Console, Paint, harmless};

pub(crate) const PRINT: Command = Command {
    name: "print",
    aliases: &["p", "inspect"],
    usage: "[/FORMAT] EXPRESSION",
    summary: "show a value: print token, print self.settings, print *self, print/x flags",
    details: "\
EXPRESSION: names, fields, indexes, *, ->, &, numbers, arithmetic and comparisons. FORMAT of integers: x, t (binary),
o, u, d. It calls nothing in the filter and changes nothing.",
    words: Words::Variable,
    repeats: false,
    run: |debugger, arguments| print(&debugger.selection, &mut debugger.console, arguments),
};

fn print(selection: &Selection, console: &mut Console, arguments: &str) -> Result<Flow, Failure> {
    let (format, expression) = split_format(arguments)?;
    if expression.is_empty() {
        fail!("`print` needs an expression, such as a variable's name: `locals` lists them");
    }
    let selected = selection.get()?;
    let value = selected.stop.evaluate(selected.frame, expression)?;
    let shown = value.display(format);
    let name = console.paint(Paint::Name, expression);
    console.say(&format!("{name} = {}", harmless(&shown)));
    Ok(Flow::Next)
}

/// Takes `/x` off the front.
fn split_format(arguments: &str) -> Result<(Format, &str), Failure> {
    let Some(rest) = arguments.strip_prefix('/') else { return Ok((Format::Natural, arguments)) };
    let (letter, expression) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let format = match letter {
        "x" => Format::Hex,
        "t" => Format::Binary,
        "o" => Format::Octal,
        "u" => Format::Unsigned,
        "d" | "" => Format::Natural,
        _ => fail!("/{letter} is no format: give /x, /t, /o, /u or /d"),
    };
    Ok((format, expression.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_stands_in_front() {
        assert_eq!(split_format("/x a + 1").unwrap(), (Format::Hex, "a + 1"));
        assert_eq!(split_format("a / b").unwrap(), (Format::Natural, "a / b"));
        assert!(split_format("/q a").unwrap_err().to_string().contains("/x, /t"));
    }
}
