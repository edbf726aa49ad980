//! What the host can call in a module: the callbacks, typed and looked up once per virtual machine.
//! Knows the names and types of the ABI; decides nothing.

use wasmdbg_control::ContextId;
use wasmtime::{AsContextMut, Instance, Memory, Module, Store, TypedFunc, WasmParams, WasmResults};

use crate::outcome::Callback;
use crate::vm::contexts::{NO_CONTEXT, ROOT_CONTEXT};
use crate::vm::start::StartError;
use crate::vm::state::VmState;

/// One entry into the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// `_initialize`
    Initialize,
    /// `_start`, of a module that has no `_initialize`.
    Start,
    /// `main`, of a module that has an `_initialize`.
    Main,
    /// `proxy_on_context_create`
    ContextCreate {
        /// The new context.
        context: ContextId,
        /// The root context, or 0 when that is the one created.
        parent: ContextId,
    },
    /// `proxy_on_vm_start`
    VmStart {
        /// Bytes of `vmConfig.configuration`.
        size: u32,
    },
    /// `proxy_on_configure`
    Configure {
        /// Bytes of `configuration`.
        size: u32,
    },
    /// `proxy_on_tick`
    Tick,
    /// A callback of a transaction.
    Stream {
        /// Its context.
        context: ContextId,
        /// Which.
        callback: Callback,
        /// Number of header fields.
        count: u32,
    },
    /// `proxy_on_done`
    Done {
        /// The stream context.
        context: ContextId,
    },
    /// `proxy_on_log`
    Log {
        /// The stream context.
        context: ContextId,
    },
    /// `proxy_on_delete`
    Delete {
        /// The stream context.
        context: ContextId,
    },
}

impl Entry {
    /// Name of the export.
    #[must_use]
    pub(crate) fn export(self) -> &'static str {
        match self {
            Self::Initialize => "_initialize",
            Self::Start => "_start",
            Self::Main => "main",
            Self::ContextCreate { .. } => "proxy_on_context_create",
            Self::VmStart { .. } => "proxy_on_vm_start",
            Self::Configure { .. } => "proxy_on_configure",
            Self::Tick => "proxy_on_tick",
            Self::Stream { callback, .. } => callback.export(),
            Self::Done { .. } => "proxy_on_done",
            Self::Log { .. } => "proxy_on_log",
            Self::Delete { .. } => "proxy_on_delete",
        }
    }

    /// For whom it is made.
    #[must_use]
    pub(crate) fn context(self) -> ContextId {
        match self {
            Self::Initialize | Self::Start | Self::Main => NO_CONTEXT,
            Self::VmStart { .. } | Self::Configure { .. } | Self::Tick => ROOT_CONTEXT,
            Self::ContextCreate { context, .. }
            | Self::Stream { context, .. }
            | Self::Done { context }
            | Self::Log { context }
            | Self::Delete { context } => context,
        }
    }

    /// Part of a virtual machine's start, never on an event thread.
    pub(crate) fn is_start(self) -> bool {
        match self {
            Self::Initialize | Self::Start | Self::Main => true,
            Self::VmStart { .. } | Self::Configure { .. } => true,
            Self::ContextCreate { context, .. } => context == ROOT_CONTEXT,
            _ => false,
        }
    }

    /// Whether the export returns something.
    pub(crate) fn has_result(self) -> bool {
        matches!(
            self,
            Self::Main
                | Self::VmStart { .. }
                | Self::Configure { .. }
                | Self::Stream { .. }
                | Self::Done { .. }
        )
    }

    /// What counts as its result when the module does not export it.
    pub(crate) fn default_result(self) -> i32 {
        match self {
            Self::VmStart { .. } | Self::Configure { .. } | Self::Done { .. } => 1,
            _ => 0,
        }
    }
}

/// The callbacks of the ABI that this host calls.
const CALLED: [&str; 9] = [
    "proxy_on_context_create",
    "proxy_on_vm_start",
    "proxy_on_configure",
    "proxy_on_tick",
    "proxy_on_request_headers",
    "proxy_on_response_headers",
    "proxy_on_done",
    "proxy_on_log",
    "proxy_on_delete",
];

/// The callbacks that a module exports and this host never calls, in the order of the module.
pub(crate) fn never_called(module: &Module) -> Vec<&str> {
    // The allocator has the name of a callback.
    let called = |name: &str| CALLED.contains(&name) || name == "proxy_on_memory_allocate";
    let names = module.exports().map(|export| export.name());
    names.filter(|name| name.starts_with("proxy_on_") && !called(name)).collect()
}

/// Calls an export of either lane, if there is one.
macro_rules! enter {
    ($function:expr, $store:expr, $arguments:expr, $absent:expr, sync) => {
        match &$function {
            Some(function) => function.call($store, $arguments).map(i32::returned),
            None => Ok($absent),
        }
    };
    ($function:expr, $store:expr, $arguments:expr, $absent:expr, wait) => {
        match &$function {
            Some(function) => function.call_async($store, $arguments).await.map(i32::returned),
            None => Ok($absent),
        }
    };
}

/// The arguments of every callback, once for both lanes.
macro_rules! dispatch {
    ($exports:expr, $store:expr, $entry:expr, $lane:tt) => {{
        let id = |context: ContextId| context.0.cast_signed();
        let absent = $entry.default_result();
        match $entry {
            Entry::Initialize => enter!($exports.initialize, $store, (), absent, $lane),
            Entry::Start => enter!($exports.start, $store, (), absent, $lane),
            Entry::Main => enter!($exports.main, $store, (0, 0), absent, $lane),
            Entry::ContextCreate { context, parent } => {
                enter!($exports.context_create, $store, (id(context), id(parent)), absent, $lane)
            }
            Entry::VmStart { size } => {
                let arguments = (id(ROOT_CONTEXT), size.cast_signed());
                enter!($exports.vm_start, $store, arguments, absent, $lane)
            }
            Entry::Configure { size } => {
                let arguments = (id(ROOT_CONTEXT), size.cast_signed());
                enter!($exports.configure, $store, arguments, absent, $lane)
            }
            Entry::Tick => enter!($exports.tick, $store, id(ROOT_CONTEXT), absent, $lane),
            Entry::Stream { context, callback, count } => match callback {
                Callback::RequestHeaders { end_of_stream } => {
                    let arguments = (id(context), count.cast_signed(), i32::from(end_of_stream));
                    enter!($exports.request_headers, $store, arguments, absent, $lane)
                }
                Callback::ResponseHeaders { end_of_stream } => {
                    let arguments = (id(context), count.cast_signed(), i32::from(end_of_stream));
                    enter!($exports.response_headers, $store, arguments, absent, $lane)
                }
            },
            Entry::Done { context } => enter!($exports.done, $store, id(context), absent, $lane),
            Entry::Log { context } => enter!($exports.log, $store, id(context), absent, $lane),
            Entry::Delete { context } => enter!($exports.delete, $store, id(context), absent, $lane),
        }
    }};
}
/// A callback's result as a number; 0 for those that return nothing.
trait Returned<T> {
    fn returned(result: T) -> Self;
}

impl Returned<()> for i32 {
    fn returned((): ()) -> Self {
        0
    }
}

impl Returned<i32> for i32 {
    fn returned(result: i32) -> Self {
        result
    }
}

type Nullary = TypedFunc<(), ()>;
type One = TypedFunc<i32, ()>;

/// The callbacks that a module exports and its filter may use.
pub(crate) struct Exports {
    pub(crate) initialize: Option<Nullary>,
    start: Option<Nullary>,
    main: Option<TypedFunc<(i32, i32), i32>>,
    context_create: Option<TypedFunc<(i32, i32), ()>>,
    vm_start: Option<TypedFunc<(i32, i32), i32>>,
    configure: Option<TypedFunc<(i32, i32), i32>>,
    tick: Option<One>,
    request_headers: Option<TypedFunc<(i32, i32, i32), i32>>,
    response_headers: Option<TypedFunc<(i32, i32, i32), i32>>,
    done: Option<TypedFunc<i32, i32>>,
    log: Option<One>,
    delete: Option<One>,
}

impl Exports {
    /// Looks all of them up, and puts memory and allocator where host functions find them.
    pub(crate) fn resolve(store: &mut Store<VmState>, instance: &Instance) -> Result<Self, StartError> {
        let mut lookup = Lookup { instance, store };
        let exports = Self {
            initialize: lookup.function("_initialize")?,
            start: lookup.function("_start")?,
            main: lookup.function("main")?,
            context_create: lookup.callback("proxy_on_context_create")?,
            vm_start: lookup.callback("proxy_on_vm_start")?,
            configure: lookup.callback("proxy_on_configure")?,
            tick: lookup.callback("proxy_on_tick")?,
            request_headers: lookup.callback("proxy_on_request_headers")?,
            response_headers: lookup.callback("proxy_on_response_headers")?,
            done: lookup.callback("proxy_on_done")?,
            log: lookup.callback("proxy_on_log")?,
            delete: lookup.callback("proxy_on_delete")?,
        };
        let allocate = match lookup.function("proxy_on_memory_allocate")? {
            Some(function) => Some(function),
            None => lookup.function("malloc")?,
        };
        let memory: Option<Memory> = instance.get_memory(&mut *store, "memory");
        let state = store.data_mut();
        state.allocate = allocate;
        state.memory = memory;
        Ok(exports)
    }

    /// Whether calling `entry` would run anything.
    pub(crate) fn has(&self, entry: Entry) -> bool {
        match entry {
            Entry::Initialize => self.initialize.is_some(),
            Entry::Start => self.start.is_some(),
            Entry::Main => self.main.is_some(),
            Entry::ContextCreate { .. } => self.context_create.is_some(),
            Entry::VmStart { .. } => self.vm_start.is_some(),
            Entry::Configure { .. } => self.configure.is_some(),
            Entry::Tick => self.tick.is_some(),
            Entry::Stream { callback, .. } => self.has_callback(callback),
            Entry::Done { .. } => self.done.is_some(),
            Entry::Log { .. } => self.log.is_some(),
            Entry::Delete { .. } => self.delete.is_some(),
        }
    }

    pub(crate) fn has_callback(&self, callback: Callback) -> bool {
        match callback {
            Callback::RequestHeaders { .. } => self.request_headers.is_some(),
            Callback::ResponseHeaders { .. } => self.response_headers.is_some(),
        }
    }

    /// Enters the guest on the calling thread's stack. Without such an export:
    /// [`Entry::default_result`].
    pub(crate) fn call(
        &self,
        mut store: impl AsContextMut<Data = VmState>,
        entry: Entry,
    ) -> wasmtime::Result<i32> {
        dispatch!(self, &mut store, entry, sync)
    }

    /// As [`Exports::call`], on a stack of its own, for stores with a debug handler.
    pub(crate) async fn call_async(
        &self,
        mut store: impl AsContextMut<Data = VmState>,
        entry: Entry,
    ) -> wasmtime::Result<i32> {
        dispatch!(self, &mut store, entry, wait)
    }
}

struct Lookup<'a> {
    instance: &'a Instance,
    store: &'a mut Store<VmState>,
}

impl Lookup<'_> {
    fn function<P: WasmParams, R: WasmResults>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<TypedFunc<P, R>>, StartError> {
        let Some(function) = self.instance.get_func(&mut *self.store, name) else { return Ok(None) };
        let typed = function.typed(&*self.store);
        typed.map(Some).map_err(|error| StartError::Export(name, error))
    }

    /// A callback that the filter's capabilities may forbid.
    fn callback<P: WasmParams, R: WasmResults>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<TypedFunc<P, R>>, StartError> {
        let allowed = self.store.data().core.config.capabilities.as_ref();
        if allowed.is_some_and(|names| !names.contains(name)) {
            return Ok(None);
        }
        self.function(name)
    }
}
