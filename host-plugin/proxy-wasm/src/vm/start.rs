//! How a virtual machine starts: the order of the ABI, and what may go wrong. Enters nothing itself.

use std::any::Any;
use std::io;

use crate::filter::core::FilterCore;
use crate::vm::callbacks::{Callbacks, WrongType};
use crate::vm::entry::{Entry, NO_CONTEXT, ROOT_CONTEXT};
use crate::vm::trap::{Death, Stop};

/// What a virtual machine goes through before it serves, in order.
pub(crate) fn start_sequence(core: &FilterCore, callbacks: &Callbacks) -> [Option<Entry>; 5] {
    let (first, second) = if callbacks.has(Entry::Initialize) {
        (Some(Entry::Initialize), Some(Entry::Main { count: 0, arguments_at: 0 }))
    } else {
        (Some(Entry::Start), None)
    };
    let size = |text: &str| u32::try_from(text.len()).unwrap_or(u32::MAX);
    [
        first,
        second,
        Some(Entry::ContextCreate { context: ROOT_CONTEXT, parent: NO_CONTEXT }),
        Some(Entry::VmStart { size: size(&core.config.vm_configuration) }),
        Some(Entry::Configure { size: size(&core.config.configuration) }),
    ]
}

/// Whether the start goes on after `entry` returned `result`.
pub(crate) fn accept_start(entry: Entry, result: i32) -> Result<(), StartError> {
    match entry {
        Entry::VmStart { .. } | Entry::Configure { .. } if result == 0 => {
            Err(StartError::Refused(entry.export()))
        }
        _ => Ok(()),
    }
}

/// Why a virtual machine cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// `proxy_on_vm_start` or `proxy_on_configure` returned false.
    #[error("{0} returned false: the filter refuses its configuration")]
    Refused(&'static str),
    /// An export cannot be called.
    #[error(transparent)]
    Export(#[from] WrongType),
    /// It trapped, or ran over its budget.
    #[error("{0}: {1}")]
    Died(&'static str, String),
    /// It could not be instantiated.
    #[error("the module could not be instantiated: {0}")]
    Instantiate(String),
    /// Nothing would hold its budgets.
    #[error(
        "no thread for the budgets of filters ({0}): raise the limit of the proxy's threads (pids.max, TasksMax)"
    )]
    Epochs(io::Error),
}

impl StartError {
    /// A panic of the host has ended it.
    pub(crate) fn of_panic(panic: &(dyn Any + Send)) -> Self {
        Self::Instantiate(Death::of_panic(panic).message)
    }
}

/// A command module's `_start` or `main` may end in `proc_exit(0)`: that is a return.
pub(crate) fn is_clean_exit(entry: Entry, error: &wasmtime::Error) -> bool {
    matches!(entry, Entry::Start | Entry::Main { .. })
        && matches!(error.downcast_ref::<Stop>(), Some(Stop::Exit(0)))
}
