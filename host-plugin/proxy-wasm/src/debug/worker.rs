//! A slot's thread: starts the virtual machine, serves one transaction after the other and the ticks in
//! between, makes a new machine after a trap, and ends when the slot is no longer wanted.
//!
//! The proxy hears of a callback's outcome as the last thing: it may hand the next one over at once.
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use wasmdbg_control::transactions::TransactionEnded;
use wasmdbg_control::{ContextId, Event};

use super::lane::{DebugLane, Note, SlotCode};
use super::slot::{Activity, EffectSink, Ending, Job, Reply, Slot};
use super::vm::DebugVm;
use crate::outcome::{Action, Effect, Outcome};
use crate::vm::entry::Callback;
use crate::vm::lifecycle::Machine;
use crate::vm::mailbox::Letter;

/// See the module.
pub(crate) struct Worker {
    lane: Arc<DebugLane>,
    slot: Arc<Slot>,
    code: Arc<SlotCode>,
    jobs: Receiver<Job>,
    vm: Option<DebugVm>,
    bound: Option<Transaction>,
}

/// The bound transaction.
struct Transaction {
    /// None when its machine died, or none could be made.
    context: Option<ContextId>,
    effects: EffectSink,
    /// What `proxy_on_context_create` decided already.
    decided: Option<Action>,
    /// It is over, and the filter is not done with it.
    ending: Option<Farewell>,
}

struct Farewell {
    ending: Ending,
    done: Reply,
}

impl Worker {
    /// The body of the slot's thread.
    pub(crate) fn run(lane: Arc<DebugLane>, slot: Arc<Slot>, code: Arc<SlotCode>, jobs: Receiver<Job>) {
        let id = slot.id;
        {
            let (lane, slot) = (Arc::clone(&lane), Arc::clone(&slot));
            let mut worker = Self { lane, slot, code, jobs, vm: None, bound: None };
            // What panics below the guest is caught there; this catches faults of the slot itself, so that
            // no transaction waits for a thread that is gone.
            if catch_unwind(AssertUnwindSafe(|| worker.serve())).is_err() {
                worker
                    .lane
                    .warn(&worker.slot, "a debug slot's thread panicked: this is a fault of the plugin");
                worker.vm = None;
                worker.refuse_all();
            }
        }
        drop(slot);
        lane.note(Note::Gone(id));
    }

    fn serve(&mut self) {
        if !self.start() {
            self.refuse_all();
            return;
        }
        loop {
            let received = match self.vm.as_ref().and_then(DebugVm::next_due) {
                None => self.jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => self.jobs.recv_timeout(due.saturating_duration_since(Instant::now())),
            };
            match received {
                Ok(job) => self.serve_job(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.pass_time();
            if self.bound.is_none() && self.slot.is_closing() && self.close() {
                break;
            }
            if self.vm.as_ref().is_none_or(DebugVm::is_dead) && !self.start() {
                self.refuse_all();
                return;
            }
        }
    }

    /// A new virtual machine. The old one goes first: its memory is undefined.
    fn start(&mut self) -> bool {
        self.vm = None;
        self.slot.lock().ready = false;
        match DebugVm::start(&self.lane, &self.slot, &self.code) {
            Ok(vm) => {
                self.vm = Some(vm);
                self.slot.lock().ready = true;
                self.lane.note(Note::Ready);
                true
            }
            Err(error) => {
                self.lane.slot_failed(&self.slot, error.to_string());
                false
            }
        }
    }

    /// Nobody can be bound to this slot once this has said true.
    fn close(&mut self) -> bool {
        // Claims look at `closing` under the same lock that they bind under.
        let _tables = self.lane.tables();
        self.slot.lock().bound.is_none()
    }

    fn serve_job(&mut self, job: Job) {
        match job {
            Job::Bind { transaction, effects } => {
                if let Some(info) = self.slot.transaction() {
                    self.lane.tell(&Event::TransactionStarted(info));
                }
                let Some(vm) = &mut self.vm else { return };
                if let Some(bound) = &mut self.slot.lock().bound {
                    bound.entered = true;
                }
                self.code.core.counters.debug_contexts.fetch_add(1, Ordering::Relaxed);
                let (context, outcome) = vm.create_context(transaction);
                let decided = Some(outcome.action).filter(|action| *action != Action::Continue);
                let context = Some(context).filter(|_| !vm.is_dead());
                self.bound = Some(Transaction { context, effects, decided, ending: None });
                self.deliver(outcome.effects);
            }
            Job::Call { callback, done } => self.call(callback, done),
            Job::Post { letter, done } => self.post(letter, done),
            Job::End { ending, done } => self.end(ending, done),
            Job::Look => {
                if let Some(vm) = &mut self.vm {
                    vm.look();
                }
            }
        }
    }

    fn call(&mut self, callback: Callback, done: Reply) {
        let (context, decided) = match &mut self.bound {
            Some(bound) => (bound.context, bound.decided.take()),
            None => (None, None),
        };
        let action = match (decided, context, &mut self.vm) {
            (Some(action), ..) => action,
            (None, Some(context), Some(vm)) => {
                let Outcome { action, effects } = vm.call(context, callback);
                self.deliver(effects);
                action
            }
            _ => Action::Failed,
        };
        if action == Action::Failed
            && let Some(bound) = &mut self.bound
        {
            bound.context = None;
        }
        self.set_activity(match action {
            Action::Pause => Activity::Paused(callback.export()),
            _ => Activity::Proxy,
        });
        done.send(action);
    }

    /// What happened to the bound transaction in another entry than its own callback.
    fn deliver(&mut self, effects: Vec<Effect>) {
        for Effect { context, stream, action } in effects {
            let Some(bound) = &mut self.bound else { return };
            if bound.context != Some(context) {
                continue;
            }
            if bound.ending.is_some() {
                self.farewell();
                continue;
            }
            if action == Action::Failed {
                bound.context = None;
            }
            self.set_activity(Activity::Proxy);
            if let Some(bound) = &mut self.bound {
                (bound.effects)(stream, action);
            }
        }
    }

    fn end(&mut self, ending: Ending, done: Reply) {
        let context = self.bound.as_ref().and_then(|bound| bound.context);
        let action = match (context, &mut self.vm) {
            (Some(context), Some(vm)) => vm.end(context).action,
            _ => Action::Continue,
        };
        match &mut self.bound {
            Some(bound) => {
                bound.ending = Some(Farewell { ending, done });
                if action != Action::Pause {
                    self.farewell();
                }
            }
            None => {
                self.announce(ending);
                done.send(Action::Continue);
            }
        }
    }

    /// The bound transaction is over and the filter is done with it.
    fn farewell(&mut self) {
        let Some(Transaction { ending: Some(farewell), .. }) = self.bound.take() else { return };
        self.announce(farewell.ending);
        farewell.done.send(Action::Continue);
    }

    /// Ticks that were missed while a callback ran or stood are one.
    fn pass_time(&mut self) {
        let now = Instant::now();
        while let Some(effects) = self.vm.as_mut().and_then(|vm| vm.pass_time(now)) {
            self.deliver(effects);
        }
    }

    /// Delivers what waits for the root context, and this last.
    fn post(&mut self, letter: Letter, done: Reply) {
        let posted = self.vm.as_mut().is_some_and(|vm| vm.state().mailbox.post(letter, Instant::now()));
        self.pass_time();
        let lives = self.vm.as_ref().is_some_and(|vm| !vm.is_dead());
        done.send(if posted && lives { Action::Continue } else { Action::Failed });
    }

    fn set_activity(&self, activity: Activity) {
        if let Some(bound) = &mut self.slot.lock().bound {
            bound.activity = activity;
        }
    }

    /// There is no machine: the bound transaction goes by the fail policy until it ends.
    fn refuse_all(&mut self) {
        self.slot.closing.store(true, Ordering::Release);
        if let Some(bound) = &mut self.bound
            && bound.ending.is_none()
        {
            // It may be parked, and nothing else would decide about it.
            (bound.effects)(None, Action::Failed);
        }
        self.farewell();
        while !self.close() {
            match self.jobs.recv() {
                Ok(job) => refuse(&self.lane, &self.slot, job),
                Err(_) => return,
            }
        }
    }

    fn announce(&self, ending: Ending) {
        announce(&self.lane, &self.slot, ending);
    }
}

/// Answers a job of a slot that has no virtual machine.
pub(crate) fn refuse(lane: &DebugLane, slot: &Slot, job: Job) {
    match job {
        Job::End { ending, done } => {
            announce(lane, slot, ending);
            done.send(Action::Continue);
        }
        // Dropped, they answer themselves.
        Job::Bind { .. } | Job::Call { .. } | Job::Post { .. } => {}
        Job::Look => drop(std::mem::take(&mut slot.lock().planting)),
    }
}

fn announce(lane: &DebugLane, slot: &Slot, ending: Ending) {
    let bound = slot.lock().bound.take();
    if let Some(bound) = bound {
        lane.tell(&Event::TransactionEnded(TransactionEnded {
            id: bound.transaction,
            filter: slot.filter,
            status: ending.status,
            aborted: ending.aborted,
        }));
    }
}
