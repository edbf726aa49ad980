//! The engine of the fast lane and the ticker that drives its epochs. Knows no filter.

use std::io;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, fence};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::{Config, Engine, EngineWeak, OptLevel, WasmBacktraceDetails};

use super::proposals;

/// How often a running callback looks at its CPU clock.
const EPOCH: Duration = Duration::from_millis(10);

/// The stack of the thread that lets epochs pass, in bytes.
const TICKER_STACK: usize = 64 << 10;

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

    /// For a virtual machine: epochs pass while its guest runs.
    ///
    /// # Errors
    /// There is no thread that lets them pass.
    pub(crate) fn ticking(&self) -> io::Result<Ticking> {
        self.ticker.start(&self.engine, TICKER_STACK)?;
        Ok(Ticking(Arc::clone(&self.ticker)))
    }

    pub(crate) fn epoch_thread(&self) -> EpochThread {
        let Pulse { state, wakes, .. } = &*self.ticker.pulse;
        EpochThread { sleeps: state.load(Acquire) == ASLEEP, wakes: wakes.load(Relaxed) }
    }
}

/// What the engines of both lanes have in common.
pub(crate) fn base(config: &mut Config) {
    proposals::configure(config);
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

/// Increments the engine's epoch while guests run, on a thread of its own. The thread ends with it.
#[derive(Default)]
struct Ticker {
    pulse: Arc<Pulse>,
    /// The thread is there.
    running: Mutex<bool>,
}

/// What the thread and those that enter guests tell each other.
#[derive(Default)]
struct Pulse {
    state: AtomicU8,
    /// Entries that have seen an epoch pass and are not over.
    long: AtomicUsize,
    /// How often the thread has woken up.
    wakes: AtomicU64,
    thread: OnceLock<Thread>,
}

/// Guests have been entered since the last epoch, or this is the beginning.
const ACTIVE: u8 = 0;
/// None has since the thread looked.
const QUIET: u8 = 1;
/// The thread sleeps until it is woken.
const ASLEEP: u8 = 2;
/// The thread is to end.
const ENDED: u8 = 3;

/// After so many epochs without an entry the thread sleeps.
const IDLE: u32 = 10;

impl Ticker {
    /// Starts the thread if it is not there. `stack`: its size in bytes.
    fn start(&self, engine: &Engine, stack: usize) -> io::Result<()> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if *running {
            return Ok(());
        }
        let (engine, pulse) = (engine.weak(), Arc::clone(&self.pulse));
        // A std thread: it calls nothing of the proxy. Without it no budget would hold: the virtual machine
        // does not start, and the next one tries again.
        let made = thread::Builder::new()
            .name(String::from("[WASM_EPOCH]"))
            .stack_size(stack)
            .spawn(move || pulse.beat(&engine))?;
        *running = true;
        // Set once, as it is started once.
        let _ = self.pulse.thread.set(made.thread().clone());
        Ok(())
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.pulse.change(ENDED);
    }
}

impl Pulse {
    /// The thread's life.
    fn beat(&self, engine: &EngineWeak) {
        let mut idle = 0;
        while self.state.load(Acquire) != ENDED {
            thread::sleep(EPOCH);
            self.wakes.fetch_add(1, Relaxed);
            let Some(engine) = engine.upgrade() else { return };
            let active = self.state.compare_exchange(ACTIVE, QUIET, AcqRel, Acquire).is_ok();
            // After the look: an entry that this look has seen, or an earlier one, sees an epoch pass.
            engine.increment_epoch();
            drop(engine);
            idle = if active { 0 } else { idle + 1 };
            if idle >= IDLE && self.long.load(Acquire) == 0 {
                self.sleep();
                idle = 0;
            }
        }
    }

    /// Until somebody enters a guest; not at all when somebody has just now.
    fn sleep(&self) {
        if self.state.compare_exchange(QUIET, ASLEEP, AcqRel, Acquire).is_ok() {
            while self.state.load(Acquire) == ASLEEP {
                thread::park();
                self.wakes.fetch_add(1, Relaxed);
            }
        }
    }

    #[cold]
    fn change(&self, state: u8) {
        if self.state.swap(state, AcqRel) == ASLEEP
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }
}

/// A virtual machine's way to have epochs pass while its guest runs.
///
/// An entry sets its deadline to the next epoch, and then calls [`Ticking::entered`]: a load in most cases.
/// If that finds that others have been here since the thread looked, the thread's next look is still to come,
/// and an epoch after it; so the deadline is reached before the thread can sleep. At the deadline the guest
/// calls [`Ticking::stay`], and the thread does not sleep until the entry is over.
#[derive(Clone)]
pub(crate) struct Ticking(Arc<Ticker>);

impl Ticking {
    /// The guest is about to be entered; its deadline is set.
    #[inline]
    pub(crate) fn entered(&self) {
        // The epoch that the deadline is counted from was read before this.
        fence(Acquire);
        if self.0.pulse.state.load(Acquire) != ACTIVE {
            self.0.pulse.change(ACTIVE);
        }
    }

    /// An epoch has passed in the guest: more do until the guard goes, at the end of the entry.
    pub(crate) fn stay(&self) -> LongEntry {
        let pulse = Arc::clone(&self.0.pulse);
        pulse.long.fetch_add(1, AcqRel);
        // The thread counts before it sleeps: it has this one in its count, or is woken.
        pulse.change(ACTIVE);
        LongEntry(pulse)
    }
}

/// An entry that takes longer than an epoch.
pub(crate) struct LongEntry(Arc<Pulse>);

impl Drop for LongEntry {
    fn drop(&mut self) {
        self.0.long.fetch_sub(1, AcqRel);
    }
}

/// What the thread that lets epochs pass is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochThread {
    /// It sleeps, because no guest has run for a while.
    pub sleeps: bool,
    /// How often it has woken up.
    pub wakes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_thread_for_epochs_nothing_starts_until_there_is_one() {
        let engine = FastEngine::new(1 << 20, false).unwrap();
        // More than there are addresses.
        assert!(engine.ticker.start(engine.engine(), 1 << 47).is_err());
        assert!(engine.ticking().is_ok());
    }

    #[test]
    fn the_guest_gets_what_the_thread_can_spare() {
        assert_eq!(wasm_stack(1 << 20).ok(), Some(512 << 10));
        assert_eq!(wasm_stack(512 << 10).ok(), Some(256 << 10));
        assert!(wasm_stack(256 << 10).is_err_and(|e| e.to_string().contains("raise the stack size")));
    }
}
