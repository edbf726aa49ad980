//! This process as the host of filters: its log and its threads.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use wasmdbg_control::TransactionId;
use wasmdbg_proxy_wasm::{Embedder, Level, ThreadHandle};

use crate::report::{Happening, Report};

/// Stack of every thread that runs callbacks.
pub(crate) const STACK: usize = 2 << 20;

/// See the module.
pub(crate) struct Process {
    pub(crate) report: Arc<dyn Report>,
}

impl Embedder for Process {
    fn host_name(&self) -> String {
        concat!("wasmdbg's own proxy ", env!("CARGO_PKG_VERSION")).to_owned()
    }

    fn log(&self, level: Level, filter: &str, transaction: Option<TransactionId>, message: &str) {
        let (source, message) = (filter.to_owned(), message.to_owned());
        self.report.take(Happening::Log { source, level, transaction, message });
    }

    fn log_level(&self) -> Level {
        Level::Trace
    }

    /// Its user waits for the compile, and nobody else is served.
    fn compiles_in_background(&self) -> bool {
        false
    }

    fn task(&self, body: Box<dyn FnOnce() + Send>) {
        if let Err(error) = thread::Builder::new().name("[WASM_TASK]".into()).stack_size(STACK).spawn(body) {
            let message = format!("no thread for a virtual machine: {error}");
            self.log(Level::Error, "wasmdbg", None, &message);
        }
    }

    fn spawn(&self, name: &str, body: Box<dyn FnOnce() + Send>) -> Result<Box<dyn ThreadHandle>, String> {
        let thread = thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(body);
        thread.map(|thread| Box::new(Joined(thread)) as Box<dyn ThreadHandle>).map_err(|e| e.to_string())
    }
}

struct Joined(JoinHandle<()>);

impl ThreadHandle for Joined {
    fn join(self: Box<Self>) {
        // A slot catches its panics itself.
        let _ = self.0.join();
    }
}
