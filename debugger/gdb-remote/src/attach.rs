//! The session with the proxy, and the modules that run there.

use std::sync::Arc;
use std::time::Duration;

use wasmdbg_control::client::CallError;
use wasmdbg_control::filters::{ListFilters, MAX_MODULE, ReadModule};
use wasmdbg_control::rules::Rule;
use wasmdbg_control::session::{Attach, AttachedFilter};
use wasmdbg_control::{Client, Events, ModuleHash};

/// Compiling a large module for debugging on one thread at nice 19, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(600);

/// How long the proxy may take for what it answers at once.
const AT_ONCE: Duration = Duration::from_secs(10);

/// Bytes of a module in one request.
const CHUNK: u32 = 512 << 10;

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The proxy says no, or is gone.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A module would take all memory.
    #[error("the module of filter {filter} is too large: more than 1 GB")]
    TooLarge {
        /// The filter's name.
        filter: String,
    },
    /// A module ended early.
    #[error("the module of filter {filter} was not read whole: {read} of {size} bytes; attach again")]
    Short {
        /// The filter's name.
        filter: String,
        /// Bytes that came.
        read: u64,
        /// Bytes that it has.
        size: u64,
    },
}

/// A module of the session.
#[derive(Debug, Clone)]
pub(crate) struct Module {
    pub(crate) hash: ModuleHash,
    pub(crate) name: String,
    pub(crate) bytes: Arc<[u8]>,
}

/// A session, to be served to LLDB.
#[derive(Debug)]
pub struct Attached {
    pub(crate) client: Client,
    pub(crate) events: Events,
    pub(crate) modules: Vec<Module>,
    reply: wasmdbg_control::session::Attached,
}

impl Attached {
    /// Attaches and reads the modules. `client` and `events` are the halves of a greeted connection.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub fn new(client: Client, events: Events, request: Attach) -> Result<Self, AttachError> {
        // A proxy that answers nothing is given up before a compile would be.
        client.call_within(ListFilters {}, AT_ONCE)?;
        let reply = client.call_within(request, PATIENCE)?;
        let mut modules: Vec<Module> = Vec::new();
        for filter in &reply.filters {
            if modules.iter().all(|known| known.hash != filter.module) {
                modules.push(read(&client, filter)?);
            }
        }
        Ok(Self { client, events, modules, reply })
    }

    /// Which transactions can stop.
    pub fn rules(&self) -> &[Rule] {
        &self.reply.rules
    }

    /// The filters that are debugged.
    pub fn filters(&self) -> &[AttachedFilter] {
        &self.reply.filters
    }

    /// How long a stop may last without a sign of life.
    pub fn deadline(&self) -> Duration {
        Duration::from_millis(self.reply.deadline_ms)
    }
}

fn read(client: &Client, filter: &AttachedFilter) -> Result<Module, AttachError> {
    let mut bytes = Vec::new();
    loop {
        let offset = bytes.len() as u64;
        let part = client.call(ReadModule { module: filter.module, offset, length: CHUNK })?;
        let read = offset + part.data.len() as u64;
        if read.max(part.size) > MAX_MODULE {
            return Err(AttachError::TooLarge { filter: filter.name.clone() });
        }
        if part.data.is_empty() && read < part.size {
            return Err(AttachError::Short { filter: filter.name.clone(), read, size: part.size });
        }
        bytes.extend(part.data);
        if read >= part.size {
            return Ok(Module { hash: filter.module, name: filter.name.clone(), bytes: bytes.into() });
        }
    }
}
