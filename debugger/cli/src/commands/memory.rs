//! `x`: bytes of linear memory.

use std::fmt::Write as _;

use super::command::{Command, Flow, Words};
use crate::debugger::Selection;
use crate::failure::{Failure, fail};
use crate::terminal::console::Console;

pub(crate) const EXAMINE: Command = Command {
    name: "x",
    aliases: &["examine"],
    usage: "[/COUNT FORMAT SIZE] ADDRESS",
    summary: "show linear memory: x/16xb text.data_ptr, x/4dw 0x100000, x/s text.data_ptr",
    details: "\
FORMAT: x, d, u, t (binary), o, c, s (text up to a zero byte). SIZE: b, h, w, g for 1, 2, 4, 8 bytes. ADDRESS is an
expression; of a variable that is no number or pointer it is the variable's own address.",
    words: Words::Variable,
    repeats: false,
    run: |debugger, arguments| examine(&debugger.selection, &mut debugger.console, arguments),
};

/// Longest text of `x/s`, and most units at once.
const LIMIT: u32 = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layout {
    count: u32,
    format: char,
    size: u32,
}

fn examine(selection: &Selection, console: &mut Console, arguments: &str) -> Result<Flow, Failure> {
    let (layout, expression) = parse(arguments)?;
    let selected = selection.get()?;
    let value = selected.stop.evaluate(selected.frame, expression)?;
    let address =
        value.as_integer().and_then(|number| u64::try_from(number).ok()).or_else(|| value.address());
    let Some(address) = address else {
        fail!("{expression:?} is no address and lies nowhere in linear memory: it is {}", value.summary())
    };
    let text = if layout.format == 's' {
        let mut text = String::new();
        let mut next = address;
        for _ in 0..layout.count {
            let bytes = selected.stop.read_memory(next, LIMIT)?;
            let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
            let _ = writeln!(text, "{next:#010x}: \"{}\"", bytes[..end].escape_ascii());
            next += end as u64 + 1;
        }
        text
    } else {
        let bytes = selected.stop.read_memory(address, layout.count * layout.size)?;
        dump(address, &bytes, layout)
    };
    console.say(text.trim_end());
    Ok(Flow::Next)
}

fn parse(arguments: &str) -> Result<(Layout, &str), Failure> {
    let mut layout = Layout { count: 1, format: 'x', size: 4 };
    let mut expression = arguments;
    if let Some(rest) = arguments.strip_prefix('/') {
        let (letters, behind) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        expression = behind;
        let digits = letters.find(|c: char| !c.is_ascii_digit()).unwrap_or(letters.len());
        if digits > 0 {
            layout.count = match letters[..digits].parse() {
                Ok(count) if (1..=LIMIT).contains(&count) => count,
                _ => fail!("give a count from 1 to {LIMIT}, not {}", &letters[..digits]),
            };
        }
        let mut sized = false;
        for letter in letters[digits..].chars() {
            match letter {
                'b' => (layout.size, sized) = (1, true),
                'h' => (layout.size, sized) = (2, true),
                'w' => (layout.size, sized) = (4, true),
                'g' => (layout.size, sized) = (8, true),
                'x' | 'd' | 'u' | 't' | 'o' | 'c' | 's' => layout.format = letter,
                _ => fail!(
                    "/{letters} is no layout: give a count, a format (x d u t o c s) and a size (b h w g)"
                ),
            }
        }
        if layout.format == 'c' && !sized {
            layout.size = 1;
        }
    }
    let expression = expression.trim();
    if expression.is_empty() {
        fail!("`x` needs an address, as in x/16xb text.data_ptr");
    }
    Ok((layout, expression))
}

/// Units in lines of 16 bytes with their addresses; a rest at the memory's end is left out.
fn dump(address: u64, bytes: &[u8], layout: Layout) -> String {
    let size = layout.size as usize;
    let mut text = String::new();
    for (index, line) in bytes.chunks(16).enumerate() {
        let _ = write!(text, "{:#010x}:", address + 16 * index as u64);
        for unit in line.chunks_exact(size) {
            let _ = write!(text, "  {}", show(unit, layout.format));
        }
        text.push('\n');
    }
    text
}

/// A little-endian unit in its format.
fn show(unit: &[u8], format: char) -> String {
    let number = unit.iter().rev().fold(0_u64, |number, &byte| number << 8 | u64::from(byte));
    let bits = unit.len() * 8;
    let signed = (number << (64 - bits)).cast_signed() >> (64 - bits);
    match format {
        'd' => signed.to_string(),
        'u' => number.to_string(),
        't' => format!("{number:0bits$b}"),
        'o' => format!("0{number:o}"),
        'c' => format!("{signed} '{}'", unit[..1].escape_ascii()),
        _ => format!("0x{number:0width$x}", width = bits / 4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_gdbs() {
        let parsed = |text| {
            parse(text).map(|(layout, rest)| (layout.count, layout.format, layout.size, rest)).unwrap()
        };
        assert_eq!(parsed("0x100"), (1, 'x', 4, "0x100"));
        assert_eq!(parsed("/16xb text.ptr"), (16, 'x', 1, "text.ptr"));
        assert_eq!(parsed("/8c a"), (8, 'c', 1, "a"));
        assert_eq!(parsed("/2dg a"), (2, 'd', 8, "a"));
        for wrong in ["", "/4xb", "/0x a", "/9999x a", "/q a"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn units_are_little_endian() {
        let layout = |format, size| Layout { count: 1, format, size };
        assert_eq!(
            dump(256, &[1, 0, 0, 0, 255, 255, 255, 255], layout('x', 4)),
            "0x00000100:  0x00000001  0xffffffff\n"
        );
        assert_eq!(dump(0, &[0xfe, 0xff], layout('d', 2)), "0x00000000:  -2\n");
        assert_eq!(dump(0, b"a\n", layout('c', 1)), "0x00000000:  97 'a'  10 '\\n'\n");
        assert_eq!(show(&[5], 't'), "00000101");
        assert_eq!(show(&[255; 8], 'u'), u64::MAX.to_string());
        let two_lines = dump(0, &[0; 20], layout('x', 1));
        assert_eq!(two_lines.lines().nth(1).unwrap(), "0x00000010:  0x00  0x00  0x00  0x00");
    }
}
