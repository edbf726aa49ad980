//! Code as text: the opcodes of a function in the words of the text format. Owns mnemonics; knows no
//! source and no names but those of functions.

use std::fmt::Debug;

use wasmparser::{BinaryReader, Operator, OperatorsReader};

use crate::symbols::Symbols;
use wasmdbg_code_address::PcRange;

/// One opcode of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Its bytes in the module.
    pub range: PcRange,
    /// `local.get 3`, `call 17 ;; judge`.
    pub text: String,
}

impl Symbols {
    /// The opcodes of function `index`, in order; empty for an import. Behind an opcode that cannot be
    /// decoded nothing follows: its own text says so.
    #[must_use]
    pub fn disassemble(&self, index: u32) -> Vec<Instruction> {
        let Some(function) = self.module().function(index) else { return Vec::new() };
        let start = function.first_instruction.0 as usize;
        let bytes = &self.module().bytes()[start..function.body.end.0 as usize];
        let mut reader = OperatorsReader::new(BinaryReader::new(bytes, start));
        let mut instructions = Vec::new();
        let mut depth = 0usize;
        while !reader.eof() {
            let pc = reader.original_position();
            let (text, end) = match reader.read() {
                Ok(operator) => {
                    if matches!(operator, Operator::End | Operator::Else) {
                        depth = depth.saturating_sub(1);
                    }
                    let text = format!("{:width$}{}", "", self.text(&operator), width = depth.min(20) * 2);
                    if opens(&operator) {
                        depth += 1;
                    }
                    (text, reader.original_position())
                }
                Err(error) => (format!("(not decoded: {})", error.message()), start + bytes.len()),
            };
            let range = PcRange::of_bytes(pc..end);
            let last = end >= start + bytes.len();
            instructions.push(Instruction { range, text });
            if last {
                break;
            }
        }
        instructions
    }

    fn text(&self, operator: &Operator<'_>) -> String {
        let text = words(operator);
        match operator {
            Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                format!("{text} ;; {}", self.function_name(*function_index).short)
            }
            Operator::GlobalGet { global_index } | Operator::GlobalSet { global_index } => self
                .module()
                .global_name(*global_index)
                .map_or(text.clone(), |name| format!("{text} ;; {name}")),
            _ => text,
        }
    }
}

fn opens(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::Block { .. }
            | Operator::Loop { .. }
            | Operator::If { .. }
            | Operator::Else
            | Operator::TryTable { .. }
    )
}

/// Mnemonic and immediates.
fn words(operator: &Operator<'_>) -> String {
    macro_rules! define {
        ($( @$proposal:ident $op:ident $({ $($arg:ident: $argty:ty),* })? => $visit:ident ($($rest:tt)*) )*) => {
            match operator {
                $(Operator::$op $({ $($arg),* })? => {
                    #[allow(unused_mut)]
                    let mut text = mnemonic(stringify!($visit));
                    $($(push_immediate(&mut text, $arg);)*)?
                    text
                })*
                other => format!("{other:?}"),
            }
        };
    }
    wasmparser::for_each_operator!(define)
}

/// `visit_i32_load8_s` is `i32.load8_s`: the first part is set off by a dot if it names a type or a kind
/// of thing.
fn mnemonic(visit: &str) -> String {
    let name = visit.strip_prefix("visit_").unwrap_or(visit);
    let heads = [
        "i32", "i64", "f32", "f64", "v128", "i8x16", "i16x8", "i32x4", "i64x2", "f32x4", "f64x2", "local",
        "global", "memory", "table", "ref", "data", "elem", "struct", "array", "i31", "any", "extern",
    ];
    match name.split_once('_') {
        Some((head, rest)) if heads.contains(&head) => {
            let (rest, atomic) = rest.strip_prefix("atomic_").map_or((rest, false), |rest| (rest, true));
            // The width of a read-modify-write is a part of its own: `i32.atomic.rmw8.add_u`.
            let rest = match rest.split_once('_') {
                Some((width, operation)) if atomic && width.starts_with("rmw") => {
                    format!("{width}.{operation}")
                }
                _ => rest.to_owned(),
            };
            format!("{head}.{}{rest}", if atomic { "atomic." } else { "" })
        }
        _ => name.to_owned(),
    }
}

fn push_immediate(text: &mut String, immediate: &dyn Debug) {
    let shown = format!("{immediate:?}");
    let shown = match shown.as_str() {
        memory if memory.starts_with("MemArg") => {
            let offset = field(memory, "offset: ").unwrap_or("0");
            let align = field(memory, "align: ").and_then(|align| align.parse::<u32>().ok()).unwrap_or(0);
            let offset = if offset == "0" { String::new() } else { format!("offset={offset} ") };
            format!("{offset}align={}", 1u64 << align.min(16))
        }
        "Empty" => return,
        block if block.starts_with("Type(") => {
            format!("(result {})", block.trim_start_matches("Type(").trim_end_matches(')').to_lowercase())
        }
        // Floats keep their bits: no NaN is lost.
        float if float.starts_with("Ieee32(") => {
            float_text(float, |bits| f32::from_bits(bits as u32).to_string())
        }
        float if float.starts_with("Ieee64(") => float_text(float, |bits| f64::from_bits(bits).to_string()),
        other => other.to_owned(),
    };
    text.push(' ');
    text.push_str(&shown);
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let from = text.find(name)? + name.len();
    let rest = &text[from..];
    Some(&rest[..rest.find([',', ' ', '}']).unwrap_or(rest.len())])
}

fn float_text(debug: &str, show: impl Fn(u64) -> String) -> String {
    let bits = debug.trim_end_matches(')').rsplit('(').next().and_then(|bits| bits.parse().ok());
    bits.map_or_else(|| debug.to_owned(), show)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opcodes_in_the_words_of_the_text_format() {
        let module = r#"(module
            (import "env" "log" (func $log (param i32)))
            (global $sp (mut i32) (i32.const 9))
            (memory 1)
            (func $twice (param i32) (result i32)
                block
                    local.get 0
                    br_if 0
                    unreachable
                end
                global.get $sp
                call $log
                local.get 0
                i32.load8_u offset=4
                i64.const -5
                i32.wrap_i64
                i32.add
                f64.const 1.5
                drop))"#;
        let symbols = Symbols::new(wat::parse_str(module).expect("a module").into()).expect("symbols");
        let code = symbols.disassemble(1);
        let text: Vec<&str> = code.iter().map(|instruction| instruction.text.as_str()).collect();
        assert_eq!(
            text,
            [
                "block",
                "  local.get 0",
                "  br_if 0",
                "  unreachable",
                "end",
                "global.get 0 ;; sp",
                "call 0 ;; log",
                "local.get 0",
                "i32.load8_u offset=4 align=1",
                "i64.const -5",
                "i32.wrap_i64",
                "i32.add",
                "f64.const 1.5",
                "drop",
                "end",
            ]
        );
        let pairs = code.windows(2);
        assert!(pairs.clone().all(|pair| pair[0].range.end == pair[1].range.start), "without a gap");
        assert_eq!(symbols.disassemble(0), [], "an import has no code");
    }

    #[test]
    fn atomics_and_vectors_have_their_dots() {
        assert_eq!(mnemonic("visit_i32_atomic_rmw8_add_u"), "i32.atomic.rmw8.add_u");
        assert_eq!(mnemonic("visit_i8x16_splat"), "i8x16.splat");
        assert_eq!(mnemonic("visit_call_indirect"), "call_indirect");
        assert_eq!(mnemonic("visit_memory_grow"), "memory.grow");
    }
}
