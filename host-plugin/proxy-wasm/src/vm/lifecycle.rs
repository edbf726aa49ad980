//! The life of contexts in a virtual machine, the same in both lanes: created, called, ended, overdue, lost. A
//! lane says how the guest is entered, and nothing else.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use wasmdbg_control::ContextId;

use super::contexts::Overdue;
use super::entry::{Callback, Entry, ROOT_CONTEXT};
use super::start::{StartError, accept_start};
use super::state::VmState;
use super::trap::Death;
use crate::embedder::Transaction;
use crate::outcome::{Action, Effect, Outcome};

/// A virtual machine of either lane.
pub(crate) trait Machine: Sized {
    /// What host functions work on.
    fn state(&mut self) -> &mut VmState;

    /// Enters the guest: its result, and what it means for the context it was entered for. What the module does
    /// not export has its default result.
    ///
    /// # Errors
    /// The guest died now, which is reported here and retires the virtual machine, or before.
    fn enter(&mut self, entry: Entry) -> Result<(i32, Action), Box<Death>>;

    /// A panic has ended what was under way, in the guest or beside it.
    fn panicked(&mut self) {}

    /// What a new one goes through before it serves.
    ///
    /// # Errors
    /// It died, or the filter refuses its configuration.
    fn configure(&mut self, sequence: [Option<Entry>; 5]) -> Result<(), StartError> {
        for entry in sequence.into_iter().flatten() {
            let (result, _) =
                self.enter(entry).map_err(|death| StartError::Died(entry.export(), death.message))?;
            accept_start(entry, result)?;
        }
        Ok(())
    }

    /// `proxy_on_context_create` for a transaction.
    fn create_context(&mut self, transaction: Box<dyn Transaction>) -> (ContextId, Outcome) {
        let state = self.state();
        state.core.counters.contexts.fetch_add(1, Relaxed);
        let context = state.contexts.add(transaction);
        let outcome = self.call_any(Entry::ContextCreate { context, parent: ROOT_CONTEXT });
        if outcome.action != Action::Failed {
            self.state().core.role.stream_created();
        }
        (context, outcome)
    }

    /// A callback of a transaction.
    fn call(&mut self, context: ContextId, callback: Callback) -> Outcome {
        self.guarded(Entry::Stream { context, callback, size: 0 }, |vm| {
            let Some(transaction) = vm.state().contexts.transaction_of(context) else {
                return Outcome { action: Action::Failed, effects: Vec::new() };
            };
            let headers = transaction.headers(callback.sized_by());
            let size = headers.and_then(|headers| headers.count()).unwrap_or(0);
            vm.run(Entry::Stream { context, callback, size })
        })
    }

    /// A callback whose arguments are known: one of the root context.
    fn call_any(&mut self, entry: Entry) -> Outcome {
        self.guarded(entry, |vm| vm.run(entry))
    }

    /// The transaction is over: done, log, delete. Action Pause when the filter is not done yet; an effect
    /// Continue says when it is.
    fn end(&mut self, context: ContextId) -> Outcome {
        self.guarded(Entry::Done { context }, |vm| {
            if !vm.state().contexts.closing(context) {
                return Outcome { action: Action::Continue, effects: Vec::new() };
            }
            let Ok((result, _)) = vm.enter(Entry::Done { context }) else { return vm.failed(context) };
            let mut action = Action::Continue;
            if result == 0 {
                vm.state().contexts.ending(context);
                action = Action::Pause;
            } else if vm.log_and_delete(context).is_err() {
                return vm.failed(context);
            }
            vm.settle(action, context)
        })
    }

    /// Does one thing whose time has come at `now`; see [`FastVm::pass_time`](super::FastVm::pass_time).
    fn pass_time(&mut self, now: Instant) -> Option<Vec<Effect>> {
        self.state().collect(now);
        self.expire(now).or_else(|| self.deliver(now).map(|outcome| outcome.effects))
    }

    /// Delivers the letter whose turn it is. `None`: none waits. The action says only whether the virtual machine died.
    fn deliver(&mut self, now: Instant) -> Option<Outcome> {
        let letter = self.state().mailbox.take(now)?;
        let entry = letter.entry();
        self.state().begin_letter(letter);
        let outcome = self.call_any(entry);
        self.state().end_letter();
        Some(outcome)
    }

    /// Ends one context that has waited for the filter too long. The last effect says what follows for it, Failed for a
    /// transaction that was paused, Continue for one that is over; those before it are of others.
    fn expire(&mut self, now: Instant) -> Option<Vec<Effect>> {
        let (context, overdue) = self.state().overdue(now)?;
        let Outcome { action, mut effects } = self.guarded(Entry::Done { context }, |vm| {
            let mut action = Action::Continue;
            if overdue == Overdue::Pause {
                // Whether it is done or not.
                if vm.enter(Entry::Done { context }).is_err() {
                    return vm.failed(context);
                }
                action = Action::Failed;
            }
            if vm.log_and_delete(context).is_err() {
                return vm.failed(context);
            }
            vm.settle(action, context)
        });
        effects.push(Effect { context, stream: None, action });
        Some(effects)
    }

    /// Does `work` for `entry`, also what the host does beside the guest. A panic there leaves nobody knows
    /// what: it ends the virtual machine, as one below the guest does.
    fn guarded(&mut self, entry: Entry, work: impl FnOnce(&mut Self) -> Outcome) -> Outcome {
        match catch_unwind(AssertUnwindSafe(|| work(self))) {
            Ok(outcome) => outcome,
            Err(panic) => {
                self.panicked();
                self.state().died(entry, &Death::of_panic(&*panic));
                self.failed(entry.context())
            }
        }
    }

    /// One entry and everything that follows from it.
    fn run(&mut self, entry: Entry) -> Outcome {
        match self.enter(entry) {
            Ok((_, action)) => self.settle(action, entry.context()),
            Err(_) => self.failed(entry.context()),
        }
    }

    /// Ends the contexts that `proxy_done` was called for, and collects what happened to others than
    /// `called`.
    fn settle(&mut self, action: Action, called: ContextId) -> Outcome {
        while let Some(context) = self.state().contexts.next_ended() {
            if self.log_and_delete(context).is_err() {
                return self.failed(called);
            }
            self.state().contexts.push_effect(context, Action::Continue);
        }
        let state = self.state();
        state.count_paused();
        Outcome { action, effects: state.contexts.take_effects() }
    }

    fn log_and_delete(&mut self, context: ContextId) -> Result<(), Box<Death>> {
        self.enter(Entry::Log { context })?;
        self.enter(Entry::Delete { context })?;
        self.state().contexts.remove(context);
        Ok(())
    }

    /// The virtual machine is gone, and so are its contexts; `called` is told by the outcome's action.
    fn failed(&mut self, called: ContextId) -> Outcome {
        let state = self.state();
        let outcome = state.fail(called);
        state.count_paused();
        outcome
    }
}
