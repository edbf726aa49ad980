//! Bytes of base types into numbers and characters, and these into text. Knows no records.

use std::fmt::Write as _;

use wasmdbg_symbols::Encoding;

use super::state::ValueState;

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

/// A number, a truth value or a character.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scalar {
    /// `bits` wide; `value` has its sign.
    Integer {
        value: i128,
        bits: u32,
        signed: bool,
    },
    /// Single or double precision; a single one keeps its shortest text.
    Float {
        value: f64,
        single: bool,
    },
    Bool(bool),
    /// A Unicode scalar value (Rust `char`, `char32_t`) or code unit.
    Char(u32),
    /// C `char`.
    CChar {
        value: i128,
    },
    /// `()`.
    Unit,
}

impl Scalar {
    /// Decodes little-endian bytes, a bit field first cut out of them.
    pub(crate) fn decode(
        encoding: Encoding,
        bytes: &[u8],
        field: Option<(u64, u64)>,
    ) -> Result<Self, ValueState> {
        let mut value = bytes.iter().rev().take(16).fold(0u128, |value, byte| value << 8 | u128::from(*byte));
        let mut bits = (bytes.len() as u32 * 8).min(128);
        if let Some((first, width)) = field {
            let width = width.clamp(1, 64) as u32;
            value = (value >> first.min(127)) & ((1 << width) - 1);
            bits = width;
        }
        Ok(match encoding {
            Encoding::Signed => Self::Integer { value: sign_extend(value, bits), bits, signed: true },
            Encoding::Unsigned => Self::Integer { value: value.cast_signed(), bits, signed: false },
            Encoding::Bool => match value {
                0 => Self::Bool(false),
                1 => Self::Bool(true),
                other => return Err(ValueState::unreadable(format!("{other} is neither false nor true"))),
            },
            Encoding::Float => match *bytes {
                [a, b, c, d] => {
                    Self::Float { value: f64::from(f32::from_le_bytes([a, b, c, d])), single: true }
                }
                [a, b, c, d, e, f, g, h] => {
                    Self::Float { value: f64::from_le_bytes([a, b, c, d, e, f, g, h]), single: false }
                }
                _ => return Err(ValueState::unreadable(format!("a float of {} bytes", bytes.len()))),
            },
            Encoding::Utf => Self::Char(value as u32),
            Encoding::SignedChar => Self::CChar { value: sign_extend(value, bits) },
            Encoding::UnsignedChar => Self::CChar { value: value.cast_signed() },
            Encoding::Unit => Self::Unit,
            Encoding::Other(number) => {
                return Err(ValueState::unreadable(format!("an unknown encoding (DW_ATE {number:#x})")));
            }
        })
    }

    pub(crate) fn as_integer(self) -> Option<i128> {
        match self {
            Self::Integer { value, .. } | Self::CChar { value } => Some(value),
            Self::Bool(value) => Some(i128::from(value)),
            Self::Char(value) => Some(i128::from(value)),
            Self::Float { .. } | Self::Unit => None,
        }
    }

    /// As Rust and C both write it.
    pub(crate) fn text(self, format: Format) -> String {
        match self {
            Self::Integer { value, bits, signed } => integer(value, bits, signed, format),
            Self::Float { value, single } => float(value, single),
            Self::Bool(value) => value.to_string(),
            Self::Char(code) => match char::from_u32(code) {
                Some(c) => format!("{c:?}"),
                None => format!("<invalid: {code:#x} is no character>"),
            },
            Self::CChar { value } if format != Format::Natural => integer(value, 8, true, format),
            Self::CChar { value } => c_char(value as u8),
            Self::Unit => "()".into(),
        }
    }
}

fn sign_extend(value: u128, bits: u32) -> i128 {
    let shift = 128 - bits.clamp(1, 128);
    (value << shift).cast_signed() >> shift
}

fn integer(value: i128, bits: u32, signed: bool, format: Format) -> String {
    let mask = if bits >= 128 { u128::MAX } else { (1 << bits) - 1 };
    let raw = value.cast_unsigned() & mask;
    match format {
        Format::Natural if signed => value.to_string(),
        Format::Natural => raw.to_string(),
        Format::Hex => format!("{raw:#x}"),
        Format::Binary => format!("{raw:#b}"),
        Format::Octal => format!("{raw:#o}"),
        Format::Unsigned => raw.to_string(),
    }
}

fn float(value: f64, single: bool) -> String {
    if single { format!("{:?}", value as f32) } else { format!("{value:?}") }
}

/// `'a'`, `'\n'`, `'\177'`, as gdb shows a C character.
fn c_char(byte: u8) -> String {
    match byte {
        b'\'' => "'\\''".into(),
        b'\\' => "'\\\\'".into(),
        b'\n' => "'\\n'".into(),
        b'\t' => "'\\t'".into(),
        b'\r' => "'\\r'".into(),
        0x20..=0x7e => format!("'{}'", byte as char),
        _ => format!("'\\{byte:03o}'"),
    }
}

/// A quoted text: UTF-8 as it is, anything else as `\xNN`.
pub(crate) fn quoted(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\'' => out.push('\''),
                c => out.extend(c.escape_debug()),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn natural(encoding: Encoding, bytes: &[u8]) -> String {
        Scalar::decode(encoding, bytes, None).map_or_else(|why| why.to_string(), |s| s.text(Format::Natural))
    }

    #[test]
    fn numbers_have_their_sign_and_width() {
        assert_eq!(natural(Encoding::Signed, &[0xff]), "-1");
        assert_eq!(natural(Encoding::Unsigned, &[0xff]), "255");
        assert_eq!(natural(Encoding::Signed, &[0; 16]), "0");
        assert_eq!(natural(Encoding::Signed, &[0xff; 16]), "-1");
        assert_eq!(natural(Encoding::Float, &0.1f32.to_le_bytes()), "0.1");
        assert_eq!(natural(Encoding::Bool, &[2]), "<unreadable: 2 is neither false nor true>");
        let minus_two = Scalar::decode(Encoding::Signed, &[0xfe, 0xff], None).unwrap();
        assert_eq!(minus_two.text(Format::Hex), "0xfffe");
        assert_eq!(minus_two.text(Format::Unsigned), "65534");
    }

    #[test]
    fn bit_fields_are_cut_out() {
        let field =
            |encoding, first, width| Scalar::decode(encoding, &[0b1011_0101], Some((first, width))).unwrap();
        assert_eq!(field(Encoding::Unsigned, 0, 1).as_integer(), Some(1));
        assert_eq!(field(Encoding::Unsigned, 1, 7).as_integer(), Some(0b101_1010));
        assert_eq!(field(Encoding::Signed, 4, 4).as_integer(), Some(-5));
    }

    #[test]
    fn characters_are_quoted_as_the_language_does() {
        assert_eq!(natural(Encoding::Utf, &[0xe9, 0, 0, 0]), "'é'");
        assert_eq!(natural(Encoding::Utf, &[0, 0xd8, 0, 0]), "<invalid: 0xd800 is no character>");
        assert_eq!(natural(Encoding::SignedChar, b"a"), "'a'");
        assert_eq!(natural(Encoding::SignedChar, &[0x80]), "'\\200'");
        assert_eq!(quoted(b"a\"\n\xff\xc3\xa9'"), "\"a\\\"\\n\\xff\u{e9}'\"");
    }
}
