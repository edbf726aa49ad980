//! A program that embeds wasmtime, for the profiler's tests: it knows nothing of profilers and sets no flag
//! for them. Calls two callbacks of the first module and one of the second, round after round, until its
//! standard input ends.
//!
//!     embedder FIRST.wasm SECOND.wasm

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wasmtime::{Engine, Instance, Module, Result, Store, TypedFunc};

type Callback = TypedFunc<(u32, u32, u32), u32>;

fn main() -> Result<()> {
    let paths: Vec<_> = std::env::args_os().skip(1).collect();
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let mut callbacks: Vec<Callback> = Vec::new();
    for path in &paths {
        let module = Module::new(&engine, std::fs::read(path)?)?;
        let instance = Instance::new(&mut store, &module, &[])?;
        for name in ["proxy_on_request_headers", "proxy_on_response_headers"] {
            callbacks.extend(instance.get_typed_func(&mut store, name).ok());
        }
    }
    let ended = Arc::new(AtomicBool::new(false));
    let end = Arc::clone(&ended);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        end.store(true, Ordering::Relaxed);
    });
    println!("ready");
    std::io::stdout().flush()?;
    while !ended.load(Ordering::Relaxed) {
        for callback in &callbacks {
            callback.call(&mut store, (1, 0, 1))?;
        }
    }
    Ok(())
}
