//! A program that embeds wasmtime, for the profiler's tests: it knows nothing of profilers and sets no flag
//! for them. Calls two callbacks of the first module and one of the second, round after round, until its
//! standard input ends.
//!
//!     embedder FIRST.wasm SECOND.wasm [reload]
//!
//! With `reload` only one module is there at a time: each is loaded, called for some 300 ms, and
//! unloaded, in turn, so that their code comes to lie at the same address.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wasmtime::{Engine, Instance, Module, Result, Store, TypedFunc};

type Callback = TypedFunc<(u32, u32, u32), u32>;

fn main() -> Result<()> {
    let mut paths: Vec<_> = std::env::args_os().skip(1).collect();
    let reload = paths.pop_if(|last| last == "reload").is_some();
    let engine = Engine::default();
    let ended = Arc::new(AtomicBool::new(false));
    let end = Arc::clone(&ended);
    let mut loaded = if reload { None } else { Some(load(&engine, &paths)?) };
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        end.store(true, Ordering::Relaxed);
    });
    println!("ready");
    std::io::stdout().flush()?;
    let mut turn = 0;
    while !ended.load(Ordering::Relaxed) {
        if let Some((store, callbacks)) = &mut loaded {
            call(store, callbacks)?;
            continue;
        }
        let (mut store, callbacks) = load(&engine, &paths[turn % paths.len()..][..1])?;
        // Rounds of the two modules take 4 and 1 parts of time: both get the same.
        for _ in 0..if turn % 2 == 0 { 500 } else { 2000 } {
            call(&mut store, &callbacks)?;
        }
        turn += 1;
    }
    Ok(())
}

fn load(engine: &Engine, paths: &[OsString]) -> Result<(Store<()>, Vec<Callback>)> {
    let mut store = Store::new(engine, ());
    let mut callbacks = Vec::new();
    for path in paths {
        let module = Module::new(engine, std::fs::read(path)?)?;
        let instance = Instance::new(&mut store, &module, &[])?;
        for name in ["proxy_on_request_headers", "proxy_on_response_headers"] {
            callbacks.extend(instance.get_typed_func(&mut store, name).ok());
        }
    }
    Ok((store, callbacks))
}

fn call(store: &mut Store<()>, callbacks: &[Callback]) -> Result<()> {
    callbacks.iter().try_for_each(|callback| callback.call(&mut *store, (1, 0, 1)).map(drop))
}
