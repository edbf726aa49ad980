//! Truncated, foreign and corrupt input: errors, never a panic, never a hang.

use std::sync::Arc;

use wasmdbg_symbols::{Machine, ModuleError, ModulePc, Symbols, Unreadable, WasmValue};

use crate::recording::bytes;

/// Answers everything with the same number.
struct Anything;

impl Machine for Anything {
    fn local(&self, _: u32) -> Result<WasmValue, Unreadable> {
        Ok(WasmValue::I32(1024))
    }
    fn operand(&self, _: u32) -> Result<WasmValue, Unreadable> {
        Ok(WasmValue::I64(7))
    }
    fn global(&self, _: u32) -> Result<WasmValue, Unreadable> {
        Ok(WasmValue::F64(7))
    }
    fn stack_pointer(&self) -> Result<u32, Unreadable> {
        Ok(65536)
    }
    fn memory(&self, _: u64, len: usize) -> Result<Vec<u8>, Unreadable> {
        Ok(vec![0; len.min(1 << 16)])
    }
}

/// Asks a module all there is to ask.
pub fn ask_everything(symbols: &Symbols) {
    let _ = symbols.units();
    let _ = symbols.function_names();
    for file in symbols.source_files() {
        let _ = symbols.break_line(&file, 40, None);
        let _ = symbols.break_columns(&file, 1..=60);
    }
    for name in ["run", "twice", "Wrapper::take"] {
        let _ = symbols.break_function(name);
    }
    let _ = symbols.find_statics("counter", None);
    let _ = symbols.find_type("Option<u32>", None);
    for function in symbols.module().functions() {
        let _ = symbols.stack_use(function.index);
        let _ = symbols.after_prologue(function.index);
        for start in symbols.statement_starts(function.index) {
            ask_at(symbols, start.pc);
        }
        ask_at(symbols, function.first_instruction);
    }
}

fn ask_at(symbols: &Symbols, pc: ModulePc) {
    for frame in symbols.frames(pc) {
        let Some(instance) = frame.instance else { continue };
        let _ = symbols.instance(instance);
        let _ = symbols.statement(pc, instance);
        for variable in symbols.variables(instance, pc).unwrap_or_default() {
            let location = symbols.locate(&variable, pc, &Anything);
            let _ = location.bytes(8, &Anything);
            let _ = symbols.describe_location(&variable, pc);
            let Some(ty) = variable.ty else { continue };
            let _ = symbols.type_of(ty);
            let _ = symbols.resolved_type(ty);
            let _ = symbols.complete(ty);
        }
    }
    let _ = symbols.statics(pc);
}

/// Numbers that look random and are the same in each run (xorshift).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }
}

#[test]
fn what_is_no_module_says_what_it_is() {
    let open = |bytes: &[u8]| Symbols::new(bytes.into()).unwrap_err();
    assert_eq!(open(b""), ModuleError::NotWasm);
    assert_eq!(open(b"\x7fELF"), ModuleError::NotWasm);
    assert!(matches!(open(b"\0asm"), ModuleError::Truncated { .. }));
    assert_eq!(open(b"\0asm\x02\0\0\0"), ModuleError::Version(2));
    assert_eq!(open(b"\0asm\x0d\0\x01\0"), ModuleError::Component);
    assert!(Symbols::new(b"\0asm\x01\0\0\0"[..].into()).is_ok(), "the empty module");
}

#[test]
fn a_module_cut_anywhere_is_an_error_or_a_shorter_module() {
    let whole = bytes("rust.O2.v4.wasm");
    let mut errors = 0;
    for len in 0..whole.len() {
        match Symbols::new(whole[..len].into()) {
            // A cut between two sections leaves a module.
            Ok(symbols) => ask_everything(&symbols),
            Err(ModuleError::Truncated { .. } | ModuleError::NotWasm | ModuleError::Malformed { .. }) => {
                errors += 1
            }
            Err(other) => panic!("cut at {len}: {other}"),
        }
    }
    assert!(errors > whole.len() - 30, "{errors} of {}", whole.len());
}

#[test]
fn corrupt_debug_info_never_panics_or_hangs() {
    for name in ["c.O0.v4.wasm", "c.O2.v5.wasm", "rust.O2.v5.wasm", "rust.O0.v4.wasm"] {
        let whole = bytes(name);
        let module = Symbols::new(whole.clone()).unwrap();
        let targets: Vec<_> = module
            .module()
            .custom_sections()
            .iter()
            .filter(|s| s.name.starts_with(".debug_") || s.name == "name")
            .map(|s| s.range.clone())
            .collect();
        let mut dice = Dice::new(0x5eed_0000 + name.len() as u64);
        for _ in 0..150 {
            let mut broken = whole.to_vec();
            for _ in 0..=dice.roll(4) {
                let range = &targets[dice.roll(targets.len())];
                let at = range.start + dice.roll(range.len());
                broken[at] = match dice.roll(4) {
                    0 => 0xff,
                    1 => 0,
                    2 => broken[at] ^ (1 << dice.roll(8)),
                    _ => dice.roll(256) as u8,
                };
            }
            ask_everything(&Symbols::new(broken.into()).expect("the module itself is whole"));
        }
    }
}

#[test]
fn a_broken_unit_leaves_names_and_pcs_and_says_what_is_wrong() {
    let whole = bytes("c.O0.v4.wasm");
    let range = Symbols::new(whole.clone())
        .unwrap()
        .module()
        .custom_sections()
        .iter()
        .find(|s| s.name == ".debug_abbrev")
        .unwrap()
        .range
        .clone();
    let mut broken = whole.to_vec();
    broken[range].fill(0xff);
    let symbols = Symbols::new(broken.into()).unwrap();
    let place = symbols.break_function("records").unwrap().places.remove(0);
    assert_eq!((&*place.name, place.position), ("records", None), "by the name section");
    assert_eq!(symbols.frames(place.pc).len(), 1);
    let problem = symbols.units().remove(0).problem.expect("a problem");
    assert!(problem.to_string().starts_with("bad debug info at .debug_info+0x0: "), "{problem}");
}

#[test]
fn symbols_are_shared_between_threads() {
    let symbols = Arc::new(Symbols::new(bytes("rust.O0.v5.wasm")).unwrap());
    let ask = |symbols: Arc<Symbols>| {
        std::thread::spawn(move || {
            let places = symbols.break_function("take").unwrap().places;
            ask_everything(&symbols);
            places
        })
    };
    let threads: Vec<_> = (0..4).map(|_| ask(symbols.clone())).collect();
    let all: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    assert!(all.iter().all(|places| *places == all[0]));
}
