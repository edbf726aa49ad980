//! The server as the host of filters: its log and its threads.

mod kept;

use std::thread;

use wasmdbg_control::TransactionId;
use wasmdbg_proxy_wasm::{Embedder, Level, ThreadHandle};

use self::kept::KeptThreads;
use crate::ts;

/// Stack of a thread that builds virtual machines when the server's own threads cannot: guests run
/// there with the same limit as on event threads.
const TASK_STACK: usize = 2 << 20;

/// See the module.
#[derive(Debug)]
pub(crate) struct Server {
    version: String,
    threads: KeptThreads,
}

impl Server {
    /// `version` as the server tells it.
    pub(crate) fn new(version: String) -> Self {
        Self { version, threads: KeptThreads::new(ts::spawn) }
    }
}

impl Embedder for Server {
    fn host_name(&self) -> String {
        format!("Apache Traffic Server {}", self.version)
    }

    fn log(&self, level: Level, filter: &str, transaction: Option<TransactionId>, message: &str) {
        let print = match level {
            Level::Trace | Level::Debug | Level::Info => ts::note,
            Level::Warn => ts::warning,
            Level::Error | Level::Critical => ts::error,
        };
        let whose = transaction.map(|id| format!(" #{id}")).unwrap_or_default();
        print(&format!("{filter}{whose}: {message}"));
    }

    fn task(&self, body: Box<dyn FnOnce() + Send>) {
        if ts::is_server_thread() {
            ts::post_task(body);
            return;
        }
        // Other threads must not schedule on the server's. This happens at start-up only.
        let thread = thread::Builder::new().name("[WASMDBG_TASK]".into()).stack_size(TASK_STACK);
        if let Err(error) = thread.spawn(body) {
            ts::error(&format!("no thread for a virtual machine: {error}"));
        }
    }

    fn spawn(&self, name: &str, body: Box<dyn FnOnce() + Send>) -> Result<Box<dyn ThreadHandle>, String> {
        Ok(Box::new(self.threads.run(name, body)?))
    }
}
