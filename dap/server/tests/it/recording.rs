//! A machine that was written down while a fixture ran (`debugger/symbols/tests/fixtures/*.state`), as a proxy
//! would report it: frames, globals and memory of each place where it stopped.

use std::collections::HashMap;
use std::path::PathBuf;

use wasmdbg_control::ModulePc;
use wasmdbg_control::state::Value;
use wasmdbg_control::stop::Frame;

use crate::client::repository;

/// Bytes in a row of memory.
const ROW: u64 = 16;

/// One stop.
#[derive(Debug, Clone, Default)]
pub(crate) struct Machine {
    name: String,
    pub(crate) frames: Vec<Frame>,
    pub(crate) globals: Vec<Value>,
    memory: HashMap<u64, u8>,
}

impl Machine {
    /// The first stop of this name in a recording.
    pub(crate) fn recorded(state: &str, name: &str) -> Self {
        let text = std::fs::read_to_string(fixture(state)).expect("a recording");
        let mut stops: Vec<Self> = Vec::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            if words[0] == "stop" {
                stops.push(Self { name: words[1].into(), ..Self::default() });
                continue;
            }
            stops.last_mut().expect("a stop first").add(&words);
        }
        stops.into_iter().find(|stop| stop.name == name).expect("the stop")
    }

    fn add(&mut self, words: &[&str]) {
        let number = |at: usize| words[at].parse::<u64>().expect("a number");
        match words[0] {
            "frame" => self.frames.push(Frame {
                function: number(1) as u32,
                pc: ModulePc(number(2) as u32),
                locals: Vec::new(),
                operands: Vec::new(),
            }),
            "local" => self.frames.last_mut().expect("a frame").locals.push(value(words)),
            "operand" => self.frames.last_mut().expect("a frame").operands.push(value(words)),
            "global" => self.globals.push(value(words)),
            _ => {
                for at in 0..ROW {
                    let digits = &words[2][2 * at as usize..2 * at as usize + 2];
                    let byte = u8::from_str_radix(digits, 16).expect("a byte");
                    self.memory.insert(number(1) + at, byte);
                }
            }
        }
    }

    /// What is not written down is zero.
    pub(crate) fn read(&self, address: u64, length: u32) -> Vec<u8> {
        (address..address + u64::from(length)).map(|at| self.memory.get(&at).copied().unwrap_or(0)).collect()
    }

    pub(crate) fn write(&mut self, address: u64, bytes: &[u8]) {
        self.memory.extend((address..).zip(bytes.iter().copied()));
    }
}

fn value(words: &[&str]) -> Value {
    let number = words[2].parse::<u64>().expect("a number");
    match words[1] {
        "i32" => Value::I32((number as u32).cast_signed()),
        "i64" => Value::I64(number.cast_signed()),
        "f32" => Value::F32(number as u32),
        _ => Value::F64(number),
    }
}

/// A file of the symbols' fixtures.
pub(crate) fn fixture(name: &str) -> PathBuf {
    repository().join("debugger/symbols/tests/fixtures").join(name)
}
