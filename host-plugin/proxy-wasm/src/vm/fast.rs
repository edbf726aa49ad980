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
use crate::vm::contexts::Overdue;
use crate::vm::entry::{Callback, Entry, NO_CONTEXT, ROOT_CONTEXT};
use crate::vm::start::{StartError, accept_start, is_clean_exit, start_sequence};
use crate::vm::state::VmState;
use crate::vm::trap::Death;

/// See the module.
pub struct FastVm {
    store: Store<VmState>,
    callbacks: Callbacks,
    dead: bool,
    _ticking: Ticking,
}

impl FastVm {
    /// Instantiates and configures one. Takes as long as the filter wants, up to its start budget: never
    /// on an event thread.
    pub(crate) fn start(core: &Arc<FilterCore>, module: &InstancePre<VmState>) -> Result<Self, StartError> {
        let ticking = core.runtime.fast.ticking();
        let mut store = Store::new(core.runtime.fast.engine(), VmState::new(Arc::clone(core)));
        store.limiter(|state| &mut state.limit);
        store.epoch_deadline_callback(|mut store| {
            store.data_mut().budget.check()?;
            Ok(UpdateDeadline::Continue(1))
        });
        store.data_mut().budget.start(core.start_timeout);
        store.set_epoch_deadline(1);
        let instantiated = catch_unwind(AssertUnwindSafe(|| module.instantiate(&mut store)));
        let instance = match instantiated {
            Ok(Ok(instance)) => instance,
            Ok(Err(error)) => return Err(StartError::Instantiate(store.data().death(&error).message)),
            Err(panic) => return Err(StartError::Instantiate(Death::of_panic(&*panic).message)),
        };
        let callbacks = Callbacks::resolve(&mut store, &instance)?;
        core.counters.vms.fetch_add(1, Relaxed);
        let mut vm = Self { store, callbacks, dead: false, _ticking: ticking };
        for entry in start_sequence(core, &vm.callbacks).into_iter().flatten() {
            let result = vm.enter(entry).map_err(|death| StartError::Died(entry.export(), death.message))?;
            vm.store.data_mut().finish(entry, result);
            accept_start(entry, result)?;
        }
        core.counters.vms_started.fetch_add(1, Relaxed);
        Ok(vm)
    }

    /// Whether [`FastVm::call`] with such a callback would run anything.
    pub fn has(&self, callback: Callback) -> bool {
        self.callbacks.has(Entry::Stream { context: NO_CONTEXT, callback, size: 0 })
    }

    /// It trapped, or a fault of the host has ended it. It serves nobody any more: drop it and take another one.
    #[inline]
    pub fn is_dead(&self) -> bool {
        self.dead
    }

    /// How often [`FastVm::tick`] shall be called; `None`: never. Can change with every entry.
    pub fn tick_period(&self) -> Option<Duration> {
        self.store.data().tick_period
    }

    /// `proxy_on_context_create` for a transaction. The action is Continue unless the filter answered at
    /// once or died.
    pub fn create_context(&mut self, transaction: Box<dyn Transaction>) -> (ContextId, Outcome) {
        let state = self.store.data_mut();
        state.core.counters.contexts.fetch_add(1, Relaxed);
        let context = state.contexts.add(transaction);
        let entry = Entry::ContextCreate { context, parent: ROOT_CONTEXT };
        (context, self.guarded(entry, |vm| vm.run(entry)))
    }

    /// A callback of a transaction.
    pub fn call(&mut self, context: ContextId, callback: Callback) -> Outcome {
        let entry = Entry::Stream { context, callback, size: 0 };
        self.guarded(entry, |vm| vm.call_stream(context, callback))
    }

    fn call_stream(&mut self, context: ContextId, callback: Callback) -> Outcome {
        let state = self.store.data_mut();
        let Some(transaction) = state.contexts.transaction_of(context) else {
            return Outcome { action: Action::Failed, effects: Vec::new() };
        };
        let size = transaction.header_count(callback.sized_by()).unwrap_or(0);
        self.run(Entry::Stream { context, callback, size })
    }

    /// The transaction is over: `proxy_on_done`, `proxy_on_log`, `proxy_on_delete`. Action Pause when the
    /// filter is not done yet; an effect Continue for this context says when it is. Until then the
    /// transaction must stay alive.
    pub fn end(&mut self, context: ContextId) -> Outcome {
        self.guarded(Entry::Done { context }, |vm| vm.end_stream(context))
    }

    fn end_stream(&mut self, context: ContextId) -> Outcome {
        if !self.store.data_mut().contexts.closing(context) {
            return Outcome { action: Action::Continue, effects: Vec::new() };
        }
        let done = Entry::Done { context };
        let result = match self.enter(done) {
            Ok(result) => result,
            Err(_) => return self.failed(context),
        };
        self.store.data_mut().finish(done, result);
        let mut action = Action::Continue;
        if result == 0 {
            self.store.data_mut().contexts.ending(context);
            action = Action::Pause;
        } else if self.log_and_delete(context).is_err() {
            return self.failed(context);
        }
        self.settle(action, context)
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

    /// `proxy_on_tick`. The action says only whether the virtual machine died.
    pub fn tick(&mut self) -> Outcome {
        self.guarded(Entry::Tick, |vm| vm.run(Entry::Tick))
    }

    /// The host panicked while it had this virtual machine: nobody knows what state it is in. Ends it as a
    /// trap does, and says what that does to its contexts.
    pub fn retire(&mut self) -> Vec<Effect> {
        if !self.dead {
            self.dead = true;
            self.store.data().core.counters.traps.fetch_add(1, Relaxed);
        }
        self.failed(NO_CONTEXT).effects
    }

    /// Does `work` for `entry`, also what the host does beside the guest. A panic there leaves nobody knows
    /// what: it ends the virtual machine, as one below the guest does.
    fn guarded(&mut self, entry: Entry, work: impl FnOnce(&mut Self) -> Outcome) -> Outcome {
        match catch_unwind(AssertUnwindSafe(|| work(self))) {
            Ok(outcome) => outcome,
            Err(panic) => {
                self.dead = true;
                self.store.data_mut().report(entry, &Death::of_panic(&*panic));
                self.failed(entry.context())
            }
        }
    }

    /// When [`FastVm::expire`] has something to do; `None`: no context waits for the filter, or for ever.
    /// Can change with every entry.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.store.data().contexts.next_deadline()
    }

    /// Whether [`FastVm::tick_period`] or [`FastVm::next_deadline`] has something.
    #[inline]
    pub fn wants_timers(&self) -> bool {
        let state = self.store.data();
        state.tick_period.is_some() || state.contexts.waits()
    }

    /// Ends one context that has waited for the filter as long as `limits.pause` and `limits.done` let it:
    /// the filter sees the end of the stream. The last effect says what follows for it, Failed for a
    /// transaction that was paused, Continue for one that is over; those before it are of others. `None`:
    /// none is overdue at `now`.
    pub fn expire(&mut self, now: Instant) -> Option<Vec<Effect>> {
        let (context, overdue) = self.store.data_mut().overdue(now)?;
        let entry = Entry::Done { context };
        let Outcome { action, mut effects } = self.guarded(entry, |vm| vm.end_overdue(context, overdue));
        effects.push(Effect { context, action });
        Some(effects)
    }

    fn end_overdue(&mut self, context: ContextId, overdue: Overdue) -> Outcome {
        let mut action = Action::Continue;
        if overdue == Overdue::Pause {
            let done = Entry::Done { context };
            // Whether it is done or not.
            let Ok(result) = self.enter(done) else { return self.failed(context) };
            self.store.data_mut().finish(done, result);
            action = Action::Failed;
        }
        if self.log_and_delete(context).is_err() {
            return self.failed(context);
        }
        self.settle(action, context)
    }

    /// One entry and everything that follows from it.
    fn run(&mut self, entry: Entry) -> Outcome {
        match self.enter(entry) {
            Ok(result) => {
                let action = self.store.data_mut().finish(entry, result);
                self.settle(action, entry.context())
            }
            Err(_) => self.failed(entry.context()),
        }
    }

    /// Ends the contexts that `proxy_done` was called for, and collects what happened to others than
    /// `called`.
    fn settle(&mut self, action: Action, called: ContextId) -> Outcome {
        while let Some(context) = self.store.data_mut().contexts.next_ended() {
            if self.log_and_delete(context).is_err() {
                return self.failed(called);
            }
            self.store.data_mut().contexts.push_effect(context, Action::Continue);
        }
        let state = self.store.data_mut();
        state.count_paused();
        Outcome { action, effects: state.contexts.take_effects() }
    }

    fn log_and_delete(&mut self, context: ContextId) -> Result<(), Death> {
        for entry in [Entry::Log { context }, Entry::Delete { context }] {
            let result = self.enter(entry)?;
            self.store.data_mut().finish(entry, result);
        }
        self.store.data_mut().contexts.remove(context);
        Ok(())
    }

    /// The virtual machine is gone, and so are its contexts; `called` is told by the outcome's action.
    fn failed(&mut self, called: ContextId) -> Outcome {
        let state = self.store.data_mut();
        let outcome = state.fail(called);
        state.count_paused();
        outcome
    }

    /// Enters the guest. An error retires the virtual machine; it is reported here.
    fn enter(&mut self, entry: Entry) -> Result<i32, Death> {
        if self.dead {
            return Err(Death::before());
        }
        // Also for a callback that is not there: what follows is for its context, not for the last one's.
        self.store.data_mut().begin(entry);
        if !self.callbacks.has(entry) {
            return Ok(entry.default_result());
        }
        self.store.set_epoch_deadline(1);
        let (store, callbacks) = (&mut self.store, &self.callbacks);
        let death = match catch_unwind(AssertUnwindSafe(|| callbacks.call(store, entry))) {
            Ok(Ok(result)) => return Ok(result),
            Ok(Err(error)) if is_clean_exit(entry, &error) => return Ok(0),
            Ok(Err(error)) => self.store.data().death(&error),
            Err(panic) => Death::of_panic(&*panic),
        };
        self.dead = true;
        self.store.data_mut().report(entry, &death);
        Err(death)
    }
}

impl Drop for FastVm {
    fn drop(&mut self) {
        let counters = &self.store.data().core.counters;
        counters.vms.fetch_sub(1, Relaxed);
    }
}
