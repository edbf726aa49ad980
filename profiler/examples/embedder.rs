//! A program that embeds wasmtime, for the profiler's tests: it knows nothing of profilers and sets no flag
//! for them. Calls two callbacks of the first module and one of the second equally often until its standard
//! input ends; their order is shuffled, so that nothing that happens at a fixed rate can keep step with them.
//!
//!     embedder FIRST.wasm SECOND.wasm [reload|protected|nameless]
//!
//! With `reload` only one module is there at a time: each is loaded, called for some 300 ms, and
//! unloaded, in turn, so that their code comes to lie at the same address. With `protected` the kernel keeps
//! others of its user out, as of a process that has changed its user. With `nameless` the code has no symbols.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use wasmtime::{Caller, Config, Engine, Extern, Linker, Module, Result, Store, TypedFunc};

type Callback = TypedFunc<(u32, u32, u32), u32>;

fn main() -> Result<()> {
    let mut paths: Vec<_> = std::env::args_os().skip(1).collect();
    let reload = paths.pop_if(|last| last == "reload").is_some();
    if paths.pop_if(|last| last == "protected").is_some() {
        nix::sys::prctl::set_dumpable(false)?;
    }
    let mut config = Config::new();
    config.debug_symbols(paths.pop_if(|last| last == "nameless").is_none());
    let engine = Engine::new(&config)?;
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
    let mut order = Order(0x9e37_79b9_7f4a_7c15);
    while !ended.load(Ordering::Relaxed) {
        if let Some((store, callbacks)) = &mut loaded {
            call(store, callbacks, &mut order)?;
            continue;
        }
        let (mut store, callbacks) = load(&engine, &paths[turn % paths.len()..][..1])?;
        // Rounds of the two modules take 4 and 1 parts of time: both get the same.
        for _ in 0..if turn % 2 == 0 { 50 } else { 200 } {
            call(&mut store, &callbacks, &mut order)?;
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
        // Go's runtime imports WASI. It starts with a host that answers 0 to everything but what time it is.
        let mut linker = Linker::new(engine);
        linker.func_wrap("wasi_snapshot_preview1", "clock_time_get", clock)?;
        linker.define_unknown_imports_as_default_values(&mut store, &module)?;
        let instance = linker.instantiate(&mut store, &module)?;
        if let Ok(initialize) = instance.get_typed_func::<(), ()>(&mut store, "_initialize") {
            initialize.call(&mut store, ())?;
        }
        for name in ["proxy_on_request_headers", "proxy_on_response_headers"] {
            callbacks.extend(instance.get_typed_func(&mut store, name).ok());
        }
    }
    Ok((store, callbacks))
}

/// WASI's clock, in nanoseconds since 1970.
fn clock(mut caller: Caller<'_, ()>, _clock: u32, _precision: u64, at: u32) -> Result<u32> {
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else { return Ok(EINVAL) };
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let nanoseconds = now.as_nanos() as u64;
    memory.write(&mut caller, at as usize, &nanoseconds.to_le_bytes())?;
    Ok(0)
}

const EINVAL: u32 = 28;

/// Calls of each callback in a round.
const CALLS: usize = 10;

fn call(store: &mut Store<()>, callbacks: &[Callback], order: &mut Order) -> Result<()> {
    let mut round: Vec<_> = callbacks.iter().cycle().take(callbacks.len() * CALLS).collect();
    order.shuffle(&mut round);
    round.into_iter().try_for_each(|callback| callback.call(&mut *store, (1, 0, 1)).map(drop))
}

/// A generator of numbers (xorshift).
struct Order(u64);

impl Order {
    fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            list.swap(last, (self.0 % (last as u64 + 1)) as usize);
        }
    }
}
