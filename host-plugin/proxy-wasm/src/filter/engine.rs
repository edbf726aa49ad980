//! The engine of the fast lane and the ticker that drives its epochs. Knows no filter.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use wasmtime::{Config, Engine, OptLevel, WasmBacktraceDetails};

/// How often a running callback looks at its CPU clock.
const EPOCH: Duration = Duration::from_millis(10);

/// The guest's stack when the thread has room for it; wasmtime's own default.
const WASM_STACK: usize = 512 << 10;
/// What the proxy's own frames and the host functions keep of a thread's stack.
const HOST_STACK: usize = 256 << 10;
/// Below this a guest cannot do anything useful.
const MIN_WASM_STACK: usize = 64 << 10;

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A deep recursion of a guest would crash the process instead of ending in a trap.
    #[error(
        "the proxy's threads have {stack} bytes of stack, filters need at least {}: raise the stack size of its threads",
        HOST_STACK + MIN_WASM_STACK
    )]
    Stack {
        /// Bytes.
        stack: usize,
    },
    /// wasmtime refused the configuration.
    #[error("wasmtime: {0}")]
    Wasmtime(#[from] wasmtime::Error),
}

/// Compiles and runs the modules of the fast lane.
pub(crate) struct FastEngine {
    engine: Engine,
    ticker: Arc<Ticker>,
}

impl FastEngine {
    /// `thread_stack`: stack size in bytes of the threads that will run guests. `native`: for debuggers of
    /// the whole process, see `debug.native` of the settings.
    pub(crate) fn new(thread_stack: usize, native: bool) -> Result<Self, EngineError> {
        let mut config = Config::new();
        base(&mut config);
        config.max_wasm_stack(wasm_stack(thread_stack)?).cranelift_opt_level(OptLevel::Speed);
        if native {
            // In optimised code variables show wrong values.
            config.debug_info(true).cranelift_opt_level(OptLevel::None);
        }
        let engine = Engine::new(&config)?;
        let ticker = Arc::new(Ticker::default());
        Ok(Self { engine, ticker })
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Epochs pass as long as any of these is alive.
    pub(crate) fn ticking(&self) -> Ticking {
        self.ticker.start(&self.engine);
        Ticking(Arc::clone(&self.ticker))
    }
}

/// What the engines of both lanes have in common.
pub(crate) fn base(config: &mut Config) {
    config
        .epoch_interruption(true)
        // The default reads an environment variable of the proxy and, if it is set, DWARF at a trap.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable);
}

fn wasm_stack(thread_stack: usize) -> Result<usize, EngineError> {
    let room = thread_stack.saturating_sub(HOST_STACK);
    if room < MIN_WASM_STACK {
        return Err(EngineError::Stack { stack: thread_stack });
    }
    Ok(room.min(WASM_STACK))
}

/// Increments the engine's epoch while virtual machines exist.
#[derive(Default)]
struct Ticker {
    state: Mutex<TickerState>,
    more: Condvar,
}

#[derive(Default)]
struct TickerState {
    running: bool,
    users: usize,
}

impl Ticker {
    fn start(self: &Arc<Self>, engine: &Engine) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.users += 1;
        if state.running {
            self.more.notify_one();
            return;
        }
        let engine = engine.weak();
        let ticker = Arc::downgrade(self);
        // A std thread: it calls nothing of the proxy. Without it no budget would hold, so the next
        // virtual machine tries again.
        state.running = thread::Builder::new()
            .name(String::from("[WASM_EPOCH]"))
            .stack_size(64 << 10)
            .spawn(move || {
                while let Some(engine) = engine.upgrade()
                    && Self::wait(&ticker)
                {
                    engine.increment_epoch();
                }
            })
            .is_ok();
    }

    /// Waits for the next epoch; false when the engine is gone.
    fn wait(ticker: &Weak<Self>) -> bool {
        let Some(ticker) = ticker.upgrade() else { return false };
        let mut state = ticker.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.users == 0 {
            // With a time-out, so that a dropped engine ends the thread.
            let waited = ticker.more.wait_timeout(state, Duration::from_secs(1));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            drop(state);
        } else {
            drop(state);
            drop(ticker);
            thread::sleep(EPOCH);
        }
        true
    }
}

/// Keeps the epochs passing.
pub(crate) struct Ticking(Arc<Ticker>);

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).users -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guest_gets_what_the_thread_can_spare() {
        assert_eq!(wasm_stack(1 << 20).ok(), Some(512 << 10));
        assert_eq!(wasm_stack(512 << 10).ok(), Some(256 << 10));
        assert!(wasm_stack(256 << 10).is_err_and(|e| e.to_string().contains("raise the stack size")));
    }
}
