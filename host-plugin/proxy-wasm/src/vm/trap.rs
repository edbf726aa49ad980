//! What is known of a callback that died. Recorded where it happened, in microseconds; source lines are
//! found later, by the agent. Reads no DWARF.

use std::any::Any;
use std::fmt;
use std::time::Duration;

use wasmdbg_control::{FilterId, ModuleHash, ModulePc, TransactionId};
use wasmtime::{Trap, WasmBacktrace};

/// A callback ended in a trap, a panic of the host, or over a limit. Its virtual machine is retired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrapReport {
    /// The filter.
    pub filter: FilterId,
    /// Its name.
    pub filter_name: String,
    /// Export name of the callback: `proxy_on_request_headers`.
    pub callback: &'static str,
    /// Whose; none for the root context.
    pub transaction: Option<TransactionId>,
    /// What kind of end it was.
    pub kind: TrapKind,
    /// In words, without source lines.
    pub message: String,
    /// Innermost first, at most 20.
    pub frames: Vec<TrapFrame>,
}

/// What kind of end it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrapKind {
    /// An instruction of the guest: `unreachable`, a bad address, a division by zero.
    Guest,
    /// Over `limits.cpu_per_callback`.
    Cpu,
    /// The guest's stack is exhausted.
    Stack,
    /// The guest died after `limits.memory` had refused it more.
    Memory,
    /// The guest called `proc_exit`.
    Exit,
    /// The host panicked, in a host function or beside the guest: a fault of ours.
    Panic,
}

/// One activation of a function of the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrapFrame {
    /// The module.
    pub module: ModuleHash,
    /// Index in the module's function index space (imports first).
    pub function: u32,
    /// Offset in the `.wasm` file of the opcode that runs; in outer frames of the call itself (not the
    /// opcode behind it): look it up as it is. None when wasmtime kept no position for it.
    pub pc: Option<ModulePc>,
}

impl fmt::Display for TrapReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.callback, self.message)?;
        for frame in &self.frames {
            write!(f, "; function {}", frame.function)?;
            if let Some(pc) = frame.pc {
                write!(f, " at {pc}")?;
            }
        }
        Ok(())
    }
}

/// Ends a callback from inside a host function or an epoch check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    #[error("it used more than its {} ms of CPU time", .0.as_millis())]
    Cpu(Duration),
    #[error("the guest called proc_exit({0})")]
    Exit(i32),
    #[error("the module's memory is not exported as \"memory\"")]
    NoMemory,
}

/// What ended a callback, before anybody is told whose it was.
pub(crate) struct Death {
    pub(crate) kind: TrapKind,
    pub(crate) message: String,
    pub(crate) frames: Vec<TrapFrame>,
}

impl Death {
    /// `refused`: the bytes of memory that the limit allows, if it has refused more.
    pub(crate) fn of_error(error: &wasmtime::Error, module: ModuleHash, refused: Option<u64>) -> Self {
        let (mut kind, mut message) = if let Some(stop) = error.downcast_ref::<Stop>() {
            let kind = match stop {
                Stop::Cpu(_) => TrapKind::Cpu,
                Stop::Exit(_) => TrapKind::Exit,
                Stop::NoMemory => TrapKind::Guest,
            };
            (kind, stop.to_string())
        } else if let Some(trap) = error.downcast_ref::<Trap>() {
            let kind = if *trap == Trap::StackOverflow { TrapKind::Stack } else { TrapKind::Guest };
            (kind, trap.to_string())
        } else {
            (TrapKind::Guest, error.root_cause().to_string())
        };
        if let (TrapKind::Guest, Some(limit)) = (kind, refused) {
            kind = TrapKind::Memory;
            message = format!("{message}, after it was refused more than its {} MB of memory", limit >> 20);
        }
        let frames = error.downcast_ref::<WasmBacktrace>().map_or_else(Vec::new, |backtrace| {
            let frame = |frame: &wasmtime::FrameInfo| TrapFrame {
                module,
                function: frame.func_index(),
                pc: frame.module_offset().map(ModulePc::at),
            };
            backtrace.frames().iter().map(frame).collect()
        });
        Self { kind, message, frames }
    }

    /// For a virtual machine that died earlier; never reported.
    pub(crate) fn before() -> Self {
        Self { kind: TrapKind::Guest, message: String::from("it is dead already"), frames: Vec::new() }
    }

    pub(crate) fn of_panic(panic: &(dyn Any + Send)) -> Self {
        let text = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        let message = format!("the host panicked, this is a fault of the plugin: {text}");
        Self { kind: TrapKind::Panic, message, frames: Vec::new() }
    }
}
