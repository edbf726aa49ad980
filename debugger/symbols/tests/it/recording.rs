//! Machines written down while a fixture ran (`fixtures/*.state`), replayed as [`Machine`]s.
//!
//! Each line is a word and its values: `stop NAME` begins one; `frame FUNCTION PC`, innermost first,
//! is followed by the `local`s and `operand`s of that frame; then `global`s and the 16-byte rows of
//! `memory` that are not zero.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use wasmdbg_symbols::StackFrame;
use wasmdbg_symbols::{Machine, ModulePc, Symbols, Unreadable, WasmValue};

pub fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

pub fn bytes(name: &str) -> Arc<[u8]> {
    std::fs::read(fixture(name)).unwrap_or_else(|e| panic!("{name}: {e}")).into()
}

pub fn symbols(name: &str) -> Symbols {
    Symbols::new(bytes(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The line of a fixture's source on which a marker stands.
pub fn line_of(source: &str, marker: &str) -> u32 {
    let text = std::fs::read_to_string(fixture(source)).unwrap();
    let at = text.lines().position(|line| line.contains(marker));
    at.unwrap_or_else(|| panic!("no `{marker}` in {source}")) as u32 + 1
}

#[derive(Default)]
pub struct RecordedFrame {
    pub function: u32,
    pub pc: u32,
    pub locals: Vec<WasmValue>,
    pub operands: Vec<WasmValue>,
}

#[derive(Default)]
pub struct Stop {
    pub name: String,
    pub frames: Vec<RecordedFrame>,
    pub globals: Vec<WasmValue>,
    memory: HashMap<u64, [u8; 16]>,
}

/// One frame of a stop.
pub struct At<'s> {
    pub stop: &'s Stop,
    pub frame: &'s RecordedFrame,
    stack_pointer: Option<u32>,
}

impl Stop {
    pub fn all(state: &str) -> Vec<Stop> {
        let text = std::fs::read_to_string(fixture(state)).unwrap_or_else(|e| panic!("{state}: {e}"));
        let mut stops: Vec<Stop> = Vec::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            if words[0] == "stop" {
                stops.push(Stop { name: words[1].into(), ..Stop::default() });
                continue;
            }
            let stop = stops.last_mut().expect("a stop first");
            match words[0] {
                "frame" => stop.frames.push(RecordedFrame {
                    function: words[1].parse().unwrap(),
                    pc: words[2].parse().unwrap(),
                    ..RecordedFrame::default()
                }),
                "local" => stop.frames.last_mut().unwrap().locals.push(value(&words)),
                "operand" => stop.frames.last_mut().unwrap().operands.push(value(&words)),
                "global" => stop.globals.push(value(&words)),
                "memory" => {
                    let byte = |at: usize| u8::from_str_radix(&words[2][2 * at..2 * at + 2], 16).unwrap();
                    stop.memory.insert(words[1].parse().unwrap(), std::array::from_fn(byte));
                }
                word => panic!("{state}: `{word}`"),
            }
        }
        stops
    }

    /// The physical frames, each with the stack pointer that the symbols recover for it.
    pub fn machines<'s>(&'s self, symbols: &Symbols) -> Vec<At<'s>> {
        let locals: Vec<_> = self
            .frames
            .iter()
            .map(|frame| {
                move |index: u32| match frame.locals.get(index as usize) {
                    Some(WasmValue::I32(value)) => Some(*value),
                    _ => None,
                }
            })
            .collect();
        let frames: Vec<_> = self
            .frames
            .iter()
            .zip(&locals)
            .map(|(frame, local)| StackFrame { function: frame.function, pc: ModulePc(frame.pc), local })
            .collect();
        let global = match self.globals[0] {
            WasmValue::I32(value) => Some(value),
            _ => None,
        };
        let pointers = symbols.stack_pointers(global, &frames);
        let machine = |(frame, stack_pointer)| At { stop: self, frame, stack_pointer };
        self.frames.iter().zip(pointers).map(machine).collect()
    }
}

impl At<'_> {
    /// The pc to look this frame up with.
    pub fn pc(&self) -> ModulePc {
        let pc = ModulePc(self.frame.pc);
        if std::ptr::eq(self.frame, &raw const self.stop.frames[0]) { pc } else { pc.before_return() }
    }
}

fn value(words: &[&str]) -> WasmValue {
    let number = || words[2].parse::<u64>().unwrap();
    match words[1] {
        "i32" => WasmValue::I32(number() as u32),
        "i64" => WasmValue::I64(number()),
        "f32" => WasmValue::F32(number() as u32),
        "f64" => WasmValue::F64(number()),
        other => panic!("a {other}"),
    }
}

fn nth(values: &[WasmValue], index: u32, what: &str) -> Result<WasmValue, Unreadable> {
    values.get(index as usize).copied().ok_or_else(|| Unreadable(format!("no {what} {index}")))
}

impl Machine for At<'_> {
    fn local(&self, index: u32) -> Result<WasmValue, Unreadable> {
        nth(&self.frame.locals, index, "local")
    }

    fn operand(&self, index: u32) -> Result<WasmValue, Unreadable> {
        nth(&self.frame.operands, index, "operand")
    }

    fn global(&self, index: u32) -> Result<WasmValue, Unreadable> {
        nth(&self.stop.globals, index, "global")
    }

    fn stack_pointer(&self) -> Result<u32, Unreadable> {
        self.stack_pointer.ok_or_else(|| Unreadable("the stack pointer of this frame is unknown".into()))
    }

    fn memory(&self, address: u64, len: usize) -> Result<Vec<u8>, Unreadable> {
        if address + len as u64 > 0x20_0000 {
            return Err(Unreadable("outside the memory".into()));
        }
        let byte = |at: u64| self.stop.memory.get(&(at / 16 * 16)).map_or(0, |row| row[(at % 16) as usize]);
        Ok((address..address + len as u64).map(byte).collect())
    }
}
