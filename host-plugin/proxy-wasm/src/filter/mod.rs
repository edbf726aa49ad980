//! A filter of the proxy's configuration: its module, compiled once, and the virtual machines that are
//! ready to serve. A filter that cannot be loaded exists too, says why, and its fail policy applies.

pub(crate) mod core;
pub(crate) mod engine;
mod log_rate;
mod proposals;
mod role;
pub(crate) mod runtime;
mod stock;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

use wasmdbg_control::filters::{FilterInfo, FilterState};
use wasmdbg_control::text::{SHOWN, cut};
use wasmdbg_control::{FilterId, ModuleHash};
use wasmtime::{InstancePre, Module};

pub use self::core::Counters;
use self::core::FilterCore;
pub use self::engine::{EngineError, EpochThread};
pub use self::runtime::Runtime;
use self::stock::Stock;
pub use self::stock::{RETRY, Unavailable, Waiter};
use crate::abi::linker::{LinkError, link};
use crate::abi::table::Lane;
use crate::abi::version::AbiVersion;
use crate::config::{FilterConfig, Limits};
use crate::embedder::Level;
use crate::shared::metrics::Metric;
use crate::vm::callbacks::never_called;
use crate::vm::entry::{Callback, Wants};
use crate::vm::fast::FastVm;
use crate::vm::mailbox::Letter;
use crate::vm::start::StartError;
use crate::vm::state::VmState;

/// Virtual machines that are ready beside those in use.
const SPARE: usize = 1;

/// Why a filter is inactive.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The module cannot be read.
    #[error("cannot read {0}: {1}")]
    Read(String, std::io::Error),
    /// Not a module at all.
    #[error("{0} is not a Wasm module: it does not begin with \\0asm")]
    NotWasm(String),
    /// Truncated, invalid, or of a kind that is not supported.
    #[error("{0} is not a valid Wasm module: {1}")]
    Invalid(String, String),
    /// It uses what this host has off.
    #[error("{0} does not run here: {1}")]
    Proposal(String, String),
    /// Built for no version of the ABI, or for another one.
    #[error("{0}")]
    Abi(String),
    /// The memory is not where the ABI has it.
    #[error("the module exports no memory named \"memory\"")]
    NoMemory,
    /// See there.
    #[error("{0}")]
    Link(#[from] LinkError),
    /// See there.
    #[error("{0}")]
    Start(#[from] StartError),
}

impl LoadError {
    /// Why a module is not one that runs here.
    fn of_module(path: String, error: &wasmtime::Error, bytes: &[u8]) -> Self {
        match proposals::needed(bytes) {
            Some(needed) => Self::Proposal(path, needed),
            None => Self::Invalid(path, format!("{error:#}")),
        }
    }
}

/// See the module.
pub struct Filter {
    core: Arc<FilterCore>,
    bytes: Arc<[u8]>,
    program: Result<Program, String>,
    stock: Stock,
    this: Weak<Self>,
}

/// A module that can run.
struct Program {
    instance: InstancePre<VmState>,
    wants: Wants,
}

impl Filter {
    /// Reads and compiles the module, and starts `vms` virtual machines on the calling thread. Never
    /// fails: see [`Filter::inactive_reason`]. `vms`: one per event thread and a spare.
    pub fn load(runtime: &Arc<Runtime>, id: FilterId, config: FilterConfig, vms: usize) -> Arc<Self> {
        Self::read(runtime, id, config, vms.max(1))
    }

    /// As [`Filter::load`], but nothing of the filter runs yet: the first virtual machine of the fast lane
    /// is made when somebody asks for one. For hosts whose filter starts in a debugger.
    pub fn prepare(runtime: &Arc<Runtime>, id: FilterId, config: FilterConfig) -> Arc<Self> {
        Self::read(runtime, id, config, 0)
    }

    fn read(runtime: &Arc<Runtime>, id: FilterId, config: FilterConfig, vms: usize) -> Arc<Self> {
        let path = config.module_path.display().to_string();
        let read = fs::read(&config.module_path).map_err(|error| LoadError::Read(path, error));
        let (bytes, missing) = match read {
            Ok(bytes) => (bytes, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let hash = ModuleHash::of(&bytes);
        let core = Arc::new(FilterCore::new(Arc::clone(runtime), id, config, hash));
        let program = match missing {
            Some(error) => Err(error),
            None => Program::new(&core, &bytes),
        };
        let service = core.role.is_service();
        // Where nothing shall run yet, nothing is made ahead either.
        let stock = Stock::new(if vms == 0 || service { 0 } else { SPARE });
        let program = program.and_then(|program| {
            for _ in 0..if service { vms.min(1) } else { vms } {
                stock.add(FastVm::start(&core, &program.instance)?);
            }
            Ok(program)
        });
        Self::finish(core, bytes, program.map_err(|error| error.to_string()), stock)
    }

    /// A filter that the host cannot run at all: its file is wrong, or the host lacks something.
    pub fn inactive(runtime: &Arc<Runtime>, id: FilterId, config: FilterConfig, reason: String) -> Arc<Self> {
        let hash = ModuleHash::of(&[]);
        let core = Arc::new(FilterCore::new(Arc::clone(runtime), id, config, hash));
        Self::finish(core, Vec::new(), Err(reason), Stock::new(SPARE))
    }

    fn finish(
        core: Arc<FilterCore>,
        bytes: Vec<u8>,
        program: Result<Program, String>,
        stock: Stock,
    ) -> Arc<Self> {
        if let Err(reason) = &program {
            let policy = if core.config.fail_open { "transactions pass" } else { "transactions get 503" };
            core.log(Level::Error, None, &format!("inactive, {policy}: {reason}"));
        }
        Arc::new_cyclic(|this| Self { core, bytes: bytes.into(), program, stock, this: this.clone() })
    }

    /// Its id in this process.
    pub fn id(&self) -> FilterId {
        self.core.id
    }

    /// What its file says.
    pub fn config(&self) -> &FilterConfig {
        &self.core.config
    }

    /// SHA-256 of the module.
    pub fn module(&self) -> ModuleHash {
        self.core.module
    }

    /// The bytes of the module; empty when the file could not be read.
    pub fn module_bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// The code of the fast lane; none when it does not run.
    pub(crate) fn compiled(&self) -> Option<&Module> {
        self.program.as_ref().ok().map(|program| program.instance.module())
    }

    /// Why it does not run; `None` when it does.
    pub fn inactive_reason(&self) -> Option<&str> {
        self.program.as_ref().err().map(String::as_str)
    }

    /// What it has done so far.
    pub fn counters(&self) -> &Counters {
        &self.core.counters
    }

    /// The module has this callback of transactions, and may be called there.
    pub fn wants(&self, callback: Callback) -> bool {
        !self.is_service() && self.program.as_ref().is_ok_and(|program| program.wants.has(callback))
    }

    /// The metrics that its virtual machines have defined, from the one at `place` on, in that order. A new one wakes
    /// the agent.
    pub fn metrics(&self, place: usize) -> Vec<Arc<Metric>> {
        self.core.metrics.from(place)
    }

    /// What it may use.
    pub fn limits(&self) -> &Limits {
        &self.core.limits
    }

    /// Writes to the host's log under the filter's name, the same message only once.
    pub fn log_once(&self, level: Level, message: &str) {
        self.core.log_once(level, message);
    }

    /// The module has the callback of this letter, and may be called there.
    pub fn wants_letter(&self, letter: &Letter) -> bool {
        self.program
            .as_ref()
            .is_ok_and(|program| is_wanted(&self.core, program.instance.module(), letter.entry().export()))
    }

    /// [`Filter::wants`] the request's header.
    pub fn wants_request_headers(&self) -> bool {
        self.wants(Callback::RequestHeaders { end_of_stream: false })
    }

    /// [`Filter::wants`] the response's header.
    pub fn wants_response_headers(&self) -> bool {
        self.wants(Callback::ResponseHeaders { end_of_stream: false })
    }

    /// It has something to do without requests: it wants ticks from its configuration on, or is a service. A host
    /// gives each of its event threads a virtual machine of such a filter at once, of a service the one thread that
    /// [`Filter::claim`]s it; and a new one, after [`RETRY`], for each that has died.
    pub fn runs_by_itself(&self) -> bool {
        self.program.is_ok() && (self.is_service() || self.core.unprompted.load(Relaxed))
    }

    /// It is a service: streams go on without it, and it has one virtual machine in the process. A filter may show only
    /// at the first requests that it is one, when a virtual machine has died of them: then the host calls
    /// [`Filter::drop_spares`], and its threads give up the virtual machines that they have.
    #[inline]
    pub fn is_service(&self) -> bool {
        self.core.role.is_service()
    }

    /// Whether the calling thread is the one that has the virtual machine of a service from now on.
    pub fn claim(&self) -> bool {
        self.core.role.claim()
    }

    /// The thread that has the virtual machine of a service ends.
    pub fn give_up_claim(&self) {
        self.core.role.give_up_claim();
    }

    /// The virtual machine of a service has died: says so.
    pub fn service_died(&self) {
        let text = format!(
            "the virtual machine of this service has died, and its state with it: the next one starts in {RETRY:?}"
        );
        self.core.log(Level::Warn, None, &text);
    }

    /// Virtual machines are made only for who waits for one from now on. Those that are ready go.
    pub fn drop_spares(&self) {
        let spares = self.stock.close();
        if !spares.is_empty() {
            self.core.runtime.embedder.task(Box::new(move || drop(spares)));
        }
    }

    /// As the control protocol shows it.
    pub fn info(&self) -> FilterInfo {
        let config = &self.core.config;
        FilterInfo {
            id: self.core.id,
            name: config.name.clone(),
            root_id: config.root_id.clone(),
            vm_id: config.vm_id.clone(),
            module_path: config.module_path.display().to_string(),
            module: (!self.bytes.is_empty()).then_some(self.core.module),
            module_size: self.bytes.len() as u64,
            state: match &self.program {
                Ok(_) => FilterState::Active,
                Err(reason) => FilterState::Inactive { reason: cut(reason, SHOWN).into_owned() },
            },
            fail_open: config.fail_open,
            service: self.is_service(),
            counters: self.core.counters.snapshot(),
        }
    }

    /// A virtual machine, if one is ready. Never blocks; more are made on a task thread.
    pub fn take_vm(&self) -> Option<FastVm> {
        let (vm, missing) = self.stock.take();
        self.build(missing);
        vm
    }

    /// Hands a virtual machine to `waiter`: at once if one is ready, else when one is made. The caller
    /// keeps the time (`start_timeout`): a virtual machine that comes too late is good for the next one.
    pub fn when_ready(&self, waiter: Waiter) {
        if self.program.is_err() {
            waiter(Err(Unavailable::Inactive));
            return;
        }
        let missing = self.stock.wait(waiter);
        self.build(missing);
    }

    /// Gives back one that nobody needs.
    pub fn return_vm(&self, vm: FastVm) {
        if !vm.is_dead() && !self.is_service() {
            self.stock.add(vm);
        }
    }

    /// What virtual machines of either lane share.
    pub(crate) fn core(&self) -> &Arc<FilterCore> {
        &self.core
    }

    fn build(&self, count: usize) {
        for _ in 0..count {
            let this = Weak::clone(&self.this);
            self.core.runtime.embedder.task(Box::new(move || {
                let Some(filter) = this.upgrade() else { return };
                let Ok(program) = &filter.program else { return };
                let start = AssertUnwindSafe(|| FastVm::start(&filter.core, &program.instance));
                let built = catch_unwind(start).unwrap_or_else(|panic| Err(StartError::of_panic(&*panic)));
                if let Err(error) = &built {
                    filter.core.log(Level::Error, None, &format!("no virtual machine: {error}"));
                }
                let missing = filter.stock.built(built);
                filter.build(missing);
            }));
        }
    }
}

impl Program {
    fn new(core: &FilterCore, bytes: &[u8]) -> Result<Self, LoadError> {
        let path = || core.config.module_path.display().to_string();
        if !bytes.starts_with(b"\0asm") {
            return Err(LoadError::NotWasm(path()));
        }
        let engine = core.runtime.fast.engine();
        let module = Module::from_binary(engine, bytes)
            .map_err(|error| LoadError::of_module(path(), &error, bytes))?;
        let version = AbiVersion::of(&module).map_err(LoadError::Abi)?;
        core.version.get_or_init(|| version);
        if !matches!(module.get_export("memory"), Some(wasmtime::ExternType::Memory(_))) {
            return Err(LoadError::NoMemory);
        }
        let instance = link(engine, &module, core, Lane::Fast)?;
        let never = never_called(&module);
        if !never.is_empty() {
            let text = format!("it exports callbacks that this host does not call: {}", never.join(", "));
            core.log(Level::Warn, None, &text);
        }
        if core.role.has_module(&module) {
            core.log(Level::Info, None, "its module has no callback for HTTP: requests go on without it");
        }
        let wants = Wants::new(|name| is_wanted(core, &module, name));
        Ok(Self { wants, instance })
    }
}

/// The module exports `name`, and its filter's capabilities allow it.
fn is_wanted(core: &FilterCore, module: &Module, name: &str) -> bool {
    let allowed = core.config.capabilities.as_ref().is_none_or(|names| names.contains(name));
    allowed && module.get_export(name).is_some()
}
