//! Whether a filter sees streams, or is a service: a filter that does its work in ticks and the like, has one virtual
//! machine in the process, and no contexts of streams.
//!
//! Its file may say which (`http`), or its module, which has no callback for a stream. Else it shows: a root context
//! without contexts of streams traps when it is asked for the first ones, as those of SDKs do. A filter that must run
//! (`fail_open: false`) is never taken for a service because it traps.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering, Ordering::Relaxed};

use wasmtime::Module;

use crate::vm::trap::TrapKind;

/// So many first streams must be refused, with none that is not: one alone may be bad luck, or somebody's intent.
const REFUSALS: u32 = 3;

const UNKNOWN: u8 = 0;
const HTTP: u8 = 1;
const SERVICE: u8 = 2;

/// See the module.
#[derive(Debug)]
pub(crate) struct Role {
    known: AtomicU8,
    refused: AtomicU32,
    /// A thread of the host has the one virtual machine of the service.
    claimed: AtomicBool,
}

/// What follows from a refused stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Nothing: it is no sign of a service.
    Nothing,
    /// It looks like a service, and is not taken for one.
    Doubt,
    /// It is a service from now on.
    Service,
}

impl Role {
    /// `http`: what its file says.
    pub(crate) fn new(http: Option<bool>) -> Self {
        let known = match http {
            None => UNKNOWN,
            Some(true) => HTTP,
            Some(false) => SERVICE,
        };
        Self { known: AtomicU8::new(known), refused: AtomicU32::new(0), claimed: AtomicBool::new(false) }
    }

    #[inline]
    pub(crate) fn is_service(&self) -> bool {
        self.known.load(Relaxed) == SERVICE
    }

    /// Whether it has become `role`, of which nothing was known.
    fn become_known(&self, role: u8) -> bool {
        self.known.compare_exchange(UNKNOWN, role, Relaxed, Relaxed).is_ok()
    }

    /// Its module is there. Whether that has made it a service.
    pub(crate) fn has_module(&self, module: &Module) -> bool {
        !sees_streams(module) && self.become_known(SERVICE)
    }

    /// It has got a context for a stream.
    #[inline]
    pub(crate) fn stream_created(&self) {
        if self.known.load(Relaxed) == UNKNOWN {
            self.become_known(HTTP);
        }
    }

    /// It died when it was to get a context for a stream.
    #[cold]
    pub(crate) fn stream_refused(&self, kind: TrapKind, fail_open: bool) -> Refused {
        // A limit, or a fault of the host, says nothing of the filter's intent.
        let own = matches!(kind, TrapKind::Guest | TrapKind::Exit);
        if !own || self.known.load(Relaxed) != UNKNOWN {
            return Refused::Nothing;
        }
        if !fail_open {
            return Refused::Doubt;
        }
        let count = self.refused.fetch_add(1, Relaxed) + 1;
        if count >= REFUSALS && self.become_known(SERVICE) { Refused::Service } else { Refused::Nothing }
    }

    /// Whether the caller is the one thread that shall have the virtual machine of the service.
    pub(crate) fn claim(&self) -> bool {
        !self.claimed.swap(true, Ordering::AcqRel)
    }

    /// The thread that had it ends.
    pub(crate) fn give_up_claim(&self) {
        self.claimed.store(false, Ordering::Release);
    }
}

/// The callbacks that are never called for a stream, those of the ABI that this host does not call among them. The root
/// context is created too.
const OF_ROOT: [&str; 12] = [
    "proxy_on_memory_allocate",
    "proxy_on_context_create",
    "proxy_on_vm_start",
    "proxy_on_configure",
    "proxy_on_tick",
    "proxy_on_queue_ready",
    "proxy_on_http_call_response",
    "proxy_on_grpc_receive_initial_metadata",
    "proxy_on_grpc_receive",
    "proxy_on_grpc_receive_trailing_metadata",
    "proxy_on_grpc_close",
    "proxy_on_foreign_function",
];

/// What can be done to a stream while its context is created, with no callback after that.
const ACTS_ON_STREAMS: [&str; 9] = [
    "proxy_send_local_response",
    "proxy_close_stream",
    "proxy_continue_stream",
    "proxy_set_property",
    "proxy_set_header_map_pairs",
    "proxy_add_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_remove_header_map_value",
    "proxy_set_buffer_bytes",
];

/// Whether a module can do anything with streams.
fn sees_streams(module: &Module) -> bool {
    let creates = module.get_export("proxy_on_context_create").is_some();
    let acts = || module.imports().any(|import| ACTS_ON_STREAMS.contains(&import.name()));
    let callback = |name: &str| name.starts_with("proxy_on_") && !OF_ROOT.contains(&name);
    module.exports().any(|export| callback(export.name())) || creates && acts()
}
