//! A virtual machine of the fast lane: runs callbacks on the calling thread, without a lock. One event
//! thread owns it after it has started; it never waits for anything.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use wasmdbg_control::ContextId;
use wasmtime::{InstancePre, Store, UpdateDeadline};

use crate::embedder::Transaction;
use crate::filter::core::FilterCore;
use crate::filter::engine::Ticking;
use crate::outcome::{Action, Effect, Outcome};
use crate::vm::callbacks::Callbacks;
use crate::vm::entry::{Callback, Entry, NO_CONTEXT, ROOT_CONTEXT};
use crate::vm::lifecycle::Machine;
use crate::vm::mailbox::Letter;
use crate::vm::start::{StartError, is_clean_exit, start_sequence};
use crate::vm::state::VmState;
use crate::vm::trap::Death;

/// See the module.
pub struct FastVm {
    store: Store<VmState>,
    callbacks: Callbacks,
    ticking: Ticking,
}

impl FastVm {
    /// Instantiates and configures one. Takes as long as the filter wants, up to its start budget: never
    /// on an event thread.
    pub(crate) fn start(core: &Arc<FilterCore>, module: &InstancePre<VmState>) -> Result<Self, StartError> {
        let ticking = core.runtime.fast.ticking().map_err(StartError::Epochs)?;
        let mut store = Store::new(core.runtime.fast.engine(), VmState::new(Arc::clone(core)));
        store.limiter(|state| &mut state.limit);
        let epochs = ticking.clone();
        store.epoch_deadline_callback(move |mut store| {
            let state = store.data_mut();
            state.long.get_or_insert_with(|| epochs.stay());
            state.budget.check()?;
            Ok(UpdateDeadline::Continue(1))
        });
        store.data_mut().budget.start(core.start_timeout);
        store.set_epoch_deadline(1);
        ticking.entered();
        let instantiated = catch_unwind(AssertUnwindSafe(|| module.instantiate(&mut store)));
        store.data_mut().long = None;
        let instance = match instantiated {
            Ok(Ok(instance)) => instance,
            Ok(Err(error)) => return Err(StartError::Instantiate(store.data().death(&error).message)),
            Err(panic) => return Err(StartError::of_panic(&*panic)),
        };
        let callbacks = Callbacks::resolve(&mut store, &instance)?;
        core.counters.vms.fetch_add(1, Relaxed);
        let mut vm = Self { store, callbacks, ticking };
        let sequence = start_sequence(core, &vm.callbacks);
        vm.configure(sequence)?;
        core.counters.vms_started.fetch_add(1, Relaxed);
        if vm.tick_period().is_some() || vm.store.data().listens {
            core.unprompted.store(true, Relaxed);
        }
        Ok(vm)
    }

    /// Whether [`FastVm::call`] with such a callback would run anything.
    pub fn has(&self, callback: Callback) -> bool {
        self.callbacks.has(Entry::Stream { context: NO_CONTEXT, callback, size: 0 })
    }

    /// It trapped, or a fault of the host has ended it. It serves nobody any more: drop it and take another one.
    #[inline]
    pub fn is_dead(&self) -> bool {
        self.store.data().dead
    }

    /// How often it ticks; `None`: never. Can change with every entry.
    pub fn tick_period(&self) -> Option<Duration> {
        self.store.data().mailbox.period()
    }

    /// `proxy_on_context_create` for a transaction. The action is Continue unless the filter answered at
    /// once or died.
    pub fn create_context(&mut self, transaction: Box<dyn Transaction>) -> (ContextId, Outcome) {
        Machine::create_context(self, transaction)
    }

    /// A callback of a transaction.
    pub fn call(&mut self, context: ContextId, callback: Callback) -> Outcome {
        Machine::call(self, context, callback)
    }

    /// The transaction is over: `proxy_on_done`, `proxy_on_log`, `proxy_on_delete`. Action Pause when the
    /// filter is not done yet; an effect Continue for this context says when it is. Until then the
    /// transaction must stay alive.
    pub fn end(&mut self, context: ContextId) -> Outcome {
        Machine::end(self, context)
    }

    /// The calling thread owns it from now on. When `wake` is called, on any thread of the host that runs filters and
    /// with no lock held, [`FastVm::pass_time`] has something to do: soon, and not before it returns.
    pub fn owned(&mut self, wake: impl Fn() + Send + Sync + 'static) {
        self.store.data_mut().owned(Arc::new(wake), false);
    }

    /// It has no contexts of streams.
    pub fn is_idle(&self) -> bool {
        self.store.data().contexts.is_empty()
    }

    /// The transaction is over without callbacks, after a fault of the host: its context goes.
    pub fn lose(&mut self, context: ContextId) {
        let state = self.store.data_mut();
        if state.contexts.is_alive(context) {
            state.contexts.remove(context);
            state.core.counters.lost(1);
            state.count_paused();
        }
    }

    /// `letter` waits for its turn to be delivered to the root context. False: it is left out, because 1,024 wait.
    #[must_use]
    pub fn post(&mut self, letter: Letter) -> bool {
        self.store.data_mut().mailbox.post(letter, Instant::now())
    }

    /// The host panicked while it had this virtual machine: nobody knows what state it is in. Ends it as a
    /// trap does, and says what that does to its contexts.
    pub fn retire(&mut self) -> Vec<Effect> {
        let state = self.store.data_mut();
        if !state.dead {
            state.dead = true;
            state.core.counters.traps.fetch_add(1, Relaxed);
        }
        self.failed(NO_CONTEXT).effects
    }

    /// When [`FastVm::pass_time`] has something to do; `None`: nothing waits. Can change with every entry.
    pub fn next_due(&self) -> Option<Instant> {
        self.store.data().next_due()
    }

    /// Whether [`FastVm::next_due`] has something.
    #[inline]
    pub fn is_due_ever(&self) -> bool {
        self.store.data().is_due_ever()
    }

    /// Does one thing whose time has come at `now`, and says what it did to transactions. Either ends a context that
    /// has waited for the filter as long as `limits.pause` and `limits.done` let it: the filter sees the end of the
    /// stream, and the last effect says what follows, Failed for a transaction that was paused, Continue for one that
    /// is over. Or delivers what waits for the root context: a tick. `None`: nothing is due.
    pub fn pass_time(&mut self, now: Instant) -> Option<Vec<Effect>> {
        Machine::pass_time(self, now)
    }
}

impl FastVm {
    #[cold]
    fn died(&mut self, entry: Entry, death: Death) -> Box<Death> {
        let state = self.store.data_mut();
        state.died(entry, &death);
        // Only here: in a debugger's virtual machine a trap may be the user's doing.
        if let Entry::ContextCreate { parent: ROOT_CONTEXT, .. } = entry {
            state.core.stream_refused(death.kind);
        }
        Box::new(death)
    }
}

impl Machine for FastVm {
    #[inline]
    fn state(&mut self) -> &mut VmState {
        self.store.data_mut()
    }

    fn enter(&mut self, entry: Entry) -> Result<(i32, Action), Box<Death>> {
        let state = self.store.data_mut();
        if state.dead {
            return Err(Box::new(Death::before()));
        }
        // Also for a callback that is not there: what follows is for its context, not for the last one's.
        state.begin(entry);
        self.store.set_epoch_deadline(1);
        self.ticking.entered();
        let (store, callbacks) = (&mut self.store, &self.callbacks);
        let called = catch_unwind(AssertUnwindSafe(|| callbacks.call(store, entry)));
        self.store.data_mut().long = None;
        let result = match called {
            Ok(Ok(result)) => result,
            Ok(Err(error)) if is_clean_exit(entry, &error) => 0,
            Ok(Err(error)) => return Err(self.died(entry, self.store.data().death(&error))),
            Err(panic) => return Err(self.died(entry, Death::of_panic(&*panic))),
        };
        Ok((result, self.store.data_mut().finish(entry, result)))
    }
}

impl Drop for FastVm {
    fn drop(&mut self) {
        let counters = &self.store.data().core.counters;
        counters.vms.fetch_sub(1, Relaxed);
    }
}
