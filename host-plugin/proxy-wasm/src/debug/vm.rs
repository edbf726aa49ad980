//! A virtual machine of the debug lane: the same filter, linked and started as on the fast lane, entered
//! on a stack of its own with a debug handler. Lives on one slot's thread.
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use wasmdbg_control::Event;
use wasmdbg_control::stop::{CallbackEnded, CallbackOutcome, Context};
use wasmdbg_control::text::{SHOWN, cut};
use wasmdbg_control::transactions::LogLine;
use wasmtime::{AsContextMut, Store, UpdateDeadline};

use super::block_on::block_on;
use super::handler::Handler;
use super::lane::{DebugLane, SlotCode};
use super::slot::{Job, Running, Slot};
use crate::embedder::Level;
use crate::outcome::Action;
use crate::vm::callbacks::Callbacks;
use crate::vm::entry::{Entry, NO_CONTEXT, ROOT_CONTEXT};
use crate::vm::lifecycle::Machine;
use crate::vm::start::{StartError, is_clean_exit, start_sequence};
use crate::vm::state::{LogListener, VmState};
use crate::vm::trap::Death;

/// What `_initialize` to `proxy_on_configure` may take at least, each: on the fast lane a thread that
/// nobody waits for does it.
const START: Duration = Duration::from_secs(60);
/// A logged line is cut here for clients.
const LOG_LINE: usize = 8 << 10;

/// See the module.
pub(crate) struct DebugVm {
    store: Store<VmState>,
    callbacks: Callbacks,
    handler: Handler,
    lane: Arc<DebugLane>,
    slot: Arc<Slot>,
    /// Bytes of its copy of the code.
    image: u64,
}

impl DebugVm {
    /// Instantiates and configures one. Breakpoints stand before its first opcode runs.
    pub(crate) fn start(
        lane: &Arc<DebugLane>,
        slot: &Arc<Slot>,
        code: &SlotCode,
    ) -> Result<Self, StartError> {
        let mut store = Store::new(&code.engine, VmState::new(Arc::clone(&code.core)));
        store.limiter(|state| &mut state.limit);
        let handler = Handler::new(Arc::clone(lane), Arc::clone(slot), Arc::clone(&code.module));
        let budget = handler.clone();
        store.epoch_deadline_callback(move |_| {
            budget.check_budget()?;
            Ok(UpdateDeadline::Continue(1))
        });
        store.set_debug_handler(handler.clone());
        store.set_epoch_deadline(1);
        let budget = handler.clone();
        store.data_mut().budget.debug = Some(Box::new(move || budget.check_budget()));
        store.data_mut().listener = Some(listener(Arc::clone(lane), Arc::clone(slot)));
        // Whatever an earlier virtual machine of this slot had planted is gone with it.
        slot.poke();
        handler.look(store.as_context_mut());
        handler.begin(None, START);
        slot.lock().running = Some(Running { context: Context::Root { id: NO_CONTEXT }, callback: "_start" });
        let instantiated =
            catch_unwind(AssertUnwindSafe(|| block_on(code.instance.instantiate_async(&mut store))));
        slot.lock().running = None;
        handler.end(store.as_context_mut());
        let instance = match instantiated {
            Ok(Ok(instance)) => instance,
            Ok(Err(error)) => return Err(StartError::Instantiate(store.data().death(&error).message)),
            Err(panic) => return Err(StartError::of_panic(&*panic)),
        };
        let callbacks = Callbacks::resolve(&mut store, &instance)?;
        let mut vm = Self {
            store,
            callbacks,
            handler,
            lane: Arc::clone(lane),
            slot: Arc::clone(slot),
            image: code.module.image_size(),
        };
        let sequence = start_sequence(&code.core, &vm.callbacks);
        vm.configure(sequence)?;
        let thread = Arc::clone(slot);
        // A message must not wait for a debugger that holds another one.
        vm.store.data_mut().owned(Arc::new(move || thread.send(Job::Look)), true);
        vm.count_memory();
        Ok(vm)
    }

    /// It trapped: its memory is undefined.
    pub(crate) fn is_dead(&self) -> bool {
        self.store.data().dead
    }

    /// Looks at what sessions want.
    pub(crate) fn look(&mut self) {
        self.handler.look(self.store.as_context_mut());
    }

    /// As [`crate::FastVm::next_due`].
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.store.data().next_due()
    }

    /// No entry is under way any more.
    fn ran(&self) {
        let mut state = self.slot.lock();
        state.running = None;
        state.interrupt = None;
    }

    fn context_of(&self, entry: Entry) -> Context {
        let id = entry.context();
        let state = self.slot.lock();
        match &state.bound {
            Some(bound) if id != NO_CONTEXT && id != ROOT_CONTEXT => Context::Stream {
                id,
                transaction: bound.transaction,
                method: bound.facts.shown_method(),
                path: bound.facts.shown_path(),
            },
            _ => Context::Root { id },
        }
    }

    fn count_memory(&self) {
        self.slot.memory.store(self.image + self.store.data().limit.granted(), Relaxed);
    }
}

impl Machine for DebugVm {
    fn state(&mut self) -> &mut VmState {
        self.store.data_mut()
    }

    fn panicked(&mut self) {
        self.ran();
    }

    fn enter(&mut self, entry: Entry) -> Result<(i32, Action), Box<Death>> {
        if self.store.data().dead {
            return Err(Box::new(Death::before()));
        }
        if !self.callbacks.has(entry) {
            let state = self.store.data_mut();
            state.begin(entry);
            let result = entry.default_result();
            return Ok((result, state.finish(entry, result)));
        }
        self.look();
        self.store.data_mut().begin(entry);
        let limits = self.store.data().core.limits;
        self.handler.begin(Some(entry), if entry.is_start() { START } else { limits.cpu_per_callback });
        let context = self.context_of(entry);
        self.slot.lock().running = Some(Running { context: context.clone(), callback: entry.export() });
        self.store.set_epoch_deadline(1);
        let (store, callbacks) = (&mut self.store, &self.callbacks);
        let ended = catch_unwind(AssertUnwindSafe(|| block_on(callbacks.call_async(store, entry))));
        let trapped_at = self.handler.end(self.store.as_context_mut());
        let result = match ended {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(error)) if is_clean_exit(entry, &error) => Ok(0),
            Ok(Err(error)) => Err(Death { frames: trapped_at, ..self.store.data().death(&error) }),
            Err(panic) => Err(Death { frames: trapped_at, ..Death::of_panic(&*panic) }),
        };
        let result = match result {
            Ok(result) => Ok((result, self.store.data_mut().finish(entry, result))),
            Err(death) => {
                self.store.data_mut().died(entry, &death);
                Err(Box::new(death))
            }
        };
        self.ran();
        self.count_memory();
        let outcome = outcome_of(entry, &result);
        let callback = entry.export().to_owned();
        self.lane.tell(&Event::CallbackEnded(CallbackEnded {
            slot: self.slot.id,
            context,
            callback,
            outcome,
        }));
        result
    }
}

fn outcome_of(entry: Entry, result: &Result<(i32, Action), Box<Death>>) -> CallbackOutcome {
    match result {
        Ok((value, action)) => CallbackOutcome::Returned {
            value: entry.has_result().then_some(*value),
            local_response: match action {
                Action::Respond(response) => Some(response.status),
                _ => None,
            },
        },
        Err(death) => CallbackOutcome::Trapped { message: cut(&death.message, SHOWN).into_owned() },
    }
}

/// Shows what the guest logs to clients.
fn listener(lane: Arc<DebugLane>, slot: Arc<Slot>) -> LogListener {
    Box::new(move |level, transaction, text| {
        let level = match level {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
            Level::Critical => "critical",
        };
        let message = text[..text.floor_char_boundary(LOG_LINE)].to_owned();
        let line = LogLine { filter: slot.filter, transaction, level: level.to_owned(), message };
        lane.tell(&Event::Log(line));
    })
}
