//! Code around a pc as a front end lists it: opcodes with their source lines. Owns the walk over function
//! borders; the words are of `wasmdbg-symbols`.

use wasmdbg_symbols::{Instruction, ModulePc, Symbols};

use crate::source::Position;

/// One opcode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeLine {
    /// Offset in the `.wasm` file.
    pub pc: ModulePc,
    /// Its encoding.
    pub bytes: Vec<u8>,
    /// Mnemonic and immediates, indented by nesting.
    pub text: String,
    /// The function's name, at its first opcode.
    pub function: Option<String>,
    /// The source position, with inlining the innermost one.
    pub position: Option<Position>,
}

/// `count` opcodes of a module, the first being `offset` opcodes from the one at `pc` (or behind it, when `pc`
/// is between opcodes). What lies before the first or behind the last function is `None`.
pub(crate) fn disassemble(
    symbols: &Symbols,
    pc: ModulePc,
    offset: i64,
    count: usize,
) -> Vec<Option<CodeLine>> {
    let mut walk = Walk { symbols, current: None };
    let start = walk.locate(pc);
    (0..count).map(|index| walk.line(start, offset.saturating_add(index as i64))).collect()
}

/// A place in the code: a function by its number among those with a body, and an opcode in it.
#[derive(Clone, Copy)]
struct Place {
    function: i64,
    opcode: i64,
}

struct Walk<'a> {
    symbols: &'a Symbols,
    /// The function that was decoded last.
    current: Option<(i64, Vec<Instruction>)>,
}

impl Walk<'_> {
    fn opcodes(&mut self, function: i64) -> Option<&[Instruction]> {
        let known =
            usize::try_from(function).ok().and_then(|at| self.symbols.module().functions().get(at))?;
        if self.current.as_ref().is_none_or(|(number, _)| *number != function) {
            self.current = Some((function, self.symbols.disassemble(known.index)));
        }
        self.current.as_ref().map(|(_, code)| code.as_slice())
    }

    /// The opcode at `pc`, or the next one.
    fn locate(&mut self, pc: ModulePc) -> Place {
        let functions = self.symbols.module().functions();
        let function = functions.partition_point(|function| function.body.end <= pc) as i64;
        let opcode =
            self.opcodes(function).map_or(0, |code| code.partition_point(|one| one.range.start < pc));
        Place { function, opcode: opcode as i64 }
    }

    /// The opcode `by` opcodes from `place`.
    fn line(&mut self, place: Place, by: i64) -> Option<CodeLine> {
        let Place { mut function, opcode } = place;
        let mut opcode = opcode.checked_add(by)?;
        while opcode < 0 {
            function -= 1;
            opcode += self.opcodes(function)?.len() as i64;
        }
        loop {
            let length = self.opcodes(function)?.len() as i64;
            if opcode < length {
                break;
            }
            opcode -= length;
            function += 1;
        }
        let found = self.opcodes(function)?.get(opcode as usize)?.clone();
        let index = self.symbols.module().functions()[function as usize].index;
        Some(CodeLine {
            pc: found.range.start,
            bytes: self.symbols.module().bytes()[found.range.bytes()].to_vec(),
            text: found.text,
            function: (opcode == 0).then(|| self.symbols.function_name(index).full.to_string()),
            position: self.symbols.position(found.range.start).as_ref().map(Position::from),
        })
    }
}
