//! The engine of the debug lane: its configuration, its epochs, and one compile after the other. It
//! exists while a session does; nothing here knows sessions.
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wasmdbg_control::ModuleHash;
use wasmtime::{Config, Engine, Module, OptLevel};

use super::cache::{Cache, CacheError};
use super::layout::{self, Layout};
use super::process::be_nice;

/// How often a running callback looks at its budget. An interrupt does not wait for it.
const EPOCH: Duration = Duration::from_millis(50);
/// The guest's stack: frames compiled for debugging are larger than others.
const WASM_STACK: usize = 1 << 20;
/// With room for host functions and the debug handler, which run on it too.
const STACK: usize = 3 << 20;

/// A module compiled for debugging.
#[derive(Debug)]
pub(crate) struct DebugModule {
    pub(crate) module: Module,
    pub(crate) layout: Layout,
    /// How long it took.
    pub(crate) took: Duration,
    /// It came from the disk cache.
    pub(crate) cached: bool,
}

impl DebugModule {
    /// Bytes of the code image: each slot has a copy.
    pub(crate) fn image_size(&self) -> u64 {
        let range = self.module.image_range();
        (range.end.addr() - range.start.addr()) as u64
    }
}

/// Why a module has no debug lane.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum CompileError {
    /// wasmtime says no.
    #[error("the module cannot be compiled for debugging: {0}")]
    Module(String),
    /// No thread could be made.
    #[error("no thread to compile on: {0}")]
    Thread(String),
}

/// See the module.
pub(crate) struct DebugEngine {
    engine: Engine,
    cache_folder: Option<PathBuf>,
    /// Compiles give way to everything else.
    background: bool,
    /// Dropping it ends the ticker.
    ticking: Option<mpsc::Sender<()>>,
    ticker: Option<JoinHandle<()>>,
    compilers: std::sync::Mutex<Vec<JoinHandle<()>>>,
}

/// Told by the compiling thread; called once.
pub(crate) type Compiled = Box<dyn FnOnce(Result<DebugModule, CompileError>, Option<String>) + Send>;

impl DebugEngine {
    /// # Errors
    /// wasmtime refuses this machine.
    pub(crate) fn new(cache_folder: Option<PathBuf>, background: bool) -> wasmtime::Result<Self> {
        let engine = Engine::new(&config())?;
        let (ticking, stop) = mpsc::channel::<()>();
        let weak = engine.weak();
        // A std thread: it calls nothing of the proxy. Without it no budget would hold.
        let ticker = std::thread::Builder::new()
            .name(String::from("[WASMDBG_EPOCH]"))
            .stack_size(64 << 10)
            .spawn(move || {
            while stop.recv_timeout(EPOCH) == Err(mpsc::RecvTimeoutError::Timeout) {
                match weak.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => break,
                }
            }
        })?;
        Ok(Self {
            engine,
            cache_folder,
            background,
            ticking: Some(ticking),
            ticker: Some(ticker),
            compilers: std::sync::Mutex::default(),
        })
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Compiles `bytes` on a thread of its own, or takes the code from the disk cache. `done`
    /// gets the module, and what was wrong with the cache.
    pub(crate) fn compile(&self, hash: ModuleHash, bytes: Arc<[u8]>, done: Compiled) {
        let engine = self.engine.clone();
        let (folder, background) = (self.cache_folder.clone(), self.background);
        let done = Arc::new(std::sync::Mutex::new(Some(done)));
        let tell = {
            let done = Arc::clone(&done);
            move |result, warning| {
                let done = done.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(done) = done {
                    done(result, warning);
                }
            }
        };
        let body = {
            let tell = tell.clone();
            move || {
                if background {
                    be_nice();
                }
                let started = Instant::now();
                let (built, warning) = build(&engine, hash, &bytes, folder);
                // Nothing of it may stay when this thread is about to be waited for.
                drop((engine, bytes));
                tell(built.map(|module| DebugModule { took: started.elapsed(), ..module }), warning);
            }
        };
        // Deep recursion in cranelift is bounded by the module's nesting, 2 MiB is what std gives.
        match std::thread::Builder::new().name(String::from("[WASMDBG_COMP]")).spawn(body) {
            Ok(thread) => self.compilers.lock().unwrap_or_else(PoisonError::into_inner).push(thread),
            Err(error) => tell(Err(CompileError::Thread(error.to_string())), None),
        }
    }
}

impl Drop for DebugEngine {
    /// Waits for its threads: a compile under way runs to its end, which wasmtime cannot cut short.
    fn drop(&mut self) {
        self.ticking = None;
        let compilers = std::mem::take(self.compilers.get_mut().unwrap_or_else(PoisonError::into_inner));
        for thread in compilers.into_iter().chain(self.ticker.take()) {
            // A panic there has been printed by std; there is nothing to add.
            let _ = thread.join();
        }
    }
}

/// The module, and what was wrong with the cache.
fn build(
    engine: &Engine,
    hash: ModuleHash,
    bytes: &[u8],
    folder: Option<PathBuf>,
) -> (Result<DebugModule, CompileError>, Option<String>) {
    let made = |module, layout, cached| DebugModule { module, layout, took: Duration::ZERO, cached };
    let layout = match Layout::of(bytes) {
        Ok(layout) => layout,
        Err(error) => return (Err(CompileError::Module(error.to_string())), None),
    };
    let cache = folder.map(|folder| Cache::new(folder, engine));
    let mut warning = None;
    if let Some(cache) = &cache {
        match cache.load(engine, hash) {
            Ok(module) => return (Ok(made(module, layout, true)), None),
            Err(CacheError::Absent) => {}
            Err(error) => warning = Some(error.to_string()),
        }
    }
    let compiled = layout::strip(bytes)
        .map_err(|error| error.to_string())
        .and_then(|stripped| Module::new(engine, stripped).map_err(|error| format!("{error:#}")));
    let module = match compiled {
        Ok(module) => module,
        Err(error) => return (Err(CompileError::Module(error)), warning),
    };
    if let Some(cache) = &cache
        && let Err(error) = cache.store(&module, hash)
    {
        warning.get_or_insert_with(|| error.to_string());
    }
    (Ok(made(module, layout, false)), warning)
}

fn config() -> Config {
    let mut config = Config::new();
    crate::filter::engine::base(&mut config);
    config
        .guest_debug(true)
        .cranelift_opt_level(OptLevel::Speed)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(STACK);
    // The address map and the symbols stay, as wasmtime has them by default: a profiler names the code by
    // them. Each store copies them: 7 % of the image.
    config
}
