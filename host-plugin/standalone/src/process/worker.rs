//! What one thread owns: a virtual machine of the fast lane, its clock, the transactions that
//! the filter parked there, and the connections to the upstream.
//!
//! Everything runs on that thread. Nothing here is borrowed while a guest runs: the virtual machine is
//! taken out, used, and put back.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};
use wasmdbg_control::ContextId;
use wasmdbg_proxy_wasm::debug::Ending;
use wasmdbg_proxy_wasm::filter::RETRY;
use wasmdbg_proxy_wasm::{Action, FastVm, Outcome};

use super::context::{FilterContext, Generation};
use super::shared::Shared;
use crate::upstream::Pool;

/// See the module.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pool: Option<Rc<Pool>>,
    vm: RefCell<Option<FastVm>>,
    generation: Cell<u32>,
    parked: RefCell<HashMap<(Generation, ContextId), oneshot::Sender<Action>>>,
    /// When the virtual machine is looked at that may have something to do of itself.
    due: Cell<Option<Instant>>,
    /// The virtual machine of the filter, which is a service, is on this thread.
    claimed: Cell<bool>,
    ends: mpsc::UnboundedSender<(FilterContext, Ending)>,
    /// Other threads have sent something to the virtual machine.
    letters: mpsc::UnboundedSender<()>,
    this: std::rc::Weak<Self>,
}

impl Worker {
    /// Inside the thread's task set.
    pub(crate) fn new(shared: Arc<Shared>) -> Rc<Self> {
        let (ends, mut ended) = mpsc::unbounded_channel::<(FilterContext, Ending)>();
        let (letters, mut arrived) = mpsc::unbounded_channel();
        let pool = shared.upstream.clone().map(Pool::new);
        let worker = Rc::new_cyclic(|this| Self {
            shared,
            pool,
            vm: RefCell::default(),
            generation: Cell::new(0),
            parked: RefCell::default(),
            due: Cell::new(None),
            claimed: Cell::new(false),
            ends,
            letters,
            this: this.clone(),
        });
        let this = Rc::downgrade(&worker);
        tokio::task::spawn_local(async move {
            while arrived.recv().await.is_some() {
                let Some(worker) = this.upgrade() else { return };
                worker.pass_time();
            }
        });
        let (this, mut turned) = (Rc::downgrade(&worker), worker.shared.turned.subscribe());
        tokio::task::spawn_local(async move {
            while turned.changed().await.is_ok() {
                let Some(worker) = this.upgrade() else { return };
                worker.give_up_spare();
            }
        });
        let this = Rc::downgrade(&worker);
        tokio::task::spawn_local(async move {
            while let Some((context, ending)) = ended.recv().await {
                let Some(worker) = this.upgrade() else { return };
                // One that is not done must not hold up the others.
                tokio::task::spawn_local(async move { worker.end(context, ending).await });
            }
        });
        worker
    }

    /// A transaction is over whose end nobody waits for.
    pub(crate) fn end_later(&self, context: FilterContext, ending: Ending) {
        // The thread is at its end, and its virtual machine with it.
        let _ = self.ends.send((context, ending));
    }

    /// Ends a context: done, log, delete.
    pub(crate) async fn end(&self, context: FilterContext, ending: Ending) {
        match context {
            FilterContext::None => {}
            FilterContext::Fast(generation, context) => {
                let ended = self.enter(Some(generation), |vm| ((), vm.end(context)));
                if let Some((_, (), Action::Pause)) = ended {
                    self.park(generation, context).await;
                }
            }
            FilterContext::Debug(debugged) => debugged.end(ending).await,
        }
    }

    /// The filter starts before the first request, unless it starts in a debugger: on one thread, and on every one if
    /// it has something to do without requests. Why it does not is told with the request.
    pub(crate) async fn begin(&self) {
        if self.shared.lane.any_session() {
            return;
        }
        if !self.shared.filter.is_service() {
            self.shared.started.get_or_init(|| async { drop(self.acquire().await) }).await;
        }
        self.keep_seated().await;
    }

    /// Whether a virtual machine of the filter may be here: that of a service is on one thread alone.
    fn may_have(&self) -> bool {
        let filter = &self.shared.filter;
        if !filter.is_service() {
            return true;
        }
        self.claimed.set(self.claimed.get() || filter.claim());
        self.claimed.get()
    }

    /// Makes sure that there is a virtual machine of a filter that has something to do without requests.
    async fn keep_seated(&self) {
        if self.shared.filter.runs_by_itself() && self.may_have() && self.acquire().await.is_err() {
            self.seat_later();
        }
    }

    /// The virtual machine has died.
    fn died(&self) {
        let filter = &self.shared.filter;
        if filter.is_service() && self.claimed.get() {
            filter.service_died();
        } else if filter.is_service() {
            // It has just shown that it is one.
            filter.drop_spares();
            self.shared.turned.send_replace(());
        }
        self.seat_later();
    }

    /// The filter is a service: its virtual machine on this thread becomes the one of the process, or goes. One that
    /// still has a stream stays until it dies; no further stream comes to it.
    fn give_up_spare(&self) {
        let spare = self.vm.borrow().as_ref().is_some_and(FastVm::is_idle) && !self.may_have();
        if spare {
            let spare = self.vm.borrow_mut().take();
            drop(spare);
        }
    }

    /// Sees to a virtual machine some time after one was lost or could not be made.
    fn seat_later(&self) {
        if !self.shared.filter.runs_by_itself() {
            return;
        }
        let this = self.this.clone();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(RETRY).await;
            if let Some(worker) = this.upgrade() {
                worker.keep_seated().await;
            }
        });
    }

    /// Makes sure that there is a virtual machine.
    ///
    /// # Errors
    /// None could be made in time.
    pub(crate) async fn acquire(&self) -> Result<(), String> {
        if self.vm.borrow().is_some() {
            return Ok(());
        }
        let (sender, receiver) = oneshot::channel();
        self.shared.filter.when_ready(Box::new(move |made| {
            // Too late: the next one is made anew.
            let _ = sender.send(made);
        }));
        let patience = self.shared.runtime.settings().start_timeout;
        let mut made = match tokio::time::timeout(patience, receiver).await {
            Ok(Ok(made)) => made.map_err(|error| error.to_string())?,
            Ok(Err(_)) => return Err("the filter is gone".into()),
            Err(_) => return Err(format!("the filter has not started within {} s", patience.as_secs_f64())),
        };
        // Another transaction was faster, or has shown that the filter is a service.
        if self.vm.borrow().is_some() || !self.may_have() {
            self.shared.filter.return_vm(made);
            return Ok(());
        }
        let letters = self.letters.clone();
        // The thread is at its end, and its virtual machine with it.
        made.owned(move || _ = letters.send(()));
        let due = made.next_due();
        self.generation.set(self.generation.get().wrapping_add(1));
        *self.vm.borrow_mut() = Some(made);
        if let Some(due) = due {
            self.look_at(due);
        }
        Ok(())
    }

    /// Runs `work` on the virtual machine and tells parked transactions what it did to them. `generation`:
    /// only on this one. None when there is none.
    pub(crate) fn enter<T>(
        &self,
        generation: Option<Generation>,
        work: impl FnOnce(&mut FastVm) -> (T, Outcome),
    ) -> Option<(Generation, T, Action)> {
        let current = Generation(self.generation.get());
        if generation.is_some_and(|wanted| wanted != current) {
            return None;
        }
        let mut vm = self.vm.borrow_mut().take()?;
        let (value, Outcome { action, effects }) = work(&mut vm);
        if !vm.is_dead() {
            let due = vm.next_due();
            *self.vm.borrow_mut() = Some(vm);
            if let Some(due) = due {
                self.look_at(due);
            }
        } else {
            self.died();
        }
        for effect in effects {
            let parked = self.parked.borrow_mut().remove(&(current, effect.context));
            if let Some(parked) = parked {
                // A transaction whose client is gone does not wait any more.
                let _ = parked.send(effect.action);
            }
        }
        Some((current, value, action))
    }

    /// Waits until something else than a callback of it decides about a parked context.
    pub(crate) async fn park(&self, generation: Generation, context: ContextId) -> Action {
        let (sender, receiver) = oneshot::channel();
        self.parked.borrow_mut().insert((generation, context), sender);
        // A client that goes takes its transaction along.
        let _parked = Parked { worker: self, key: (generation, context) };
        receiver.await.unwrap_or(Action::Failed)
    }

    /// Has the virtual machine do what it has to do of itself at `due`.
    fn look_at(&self, due: Instant) {
        if self.due.get().is_some_and(|before| before <= due) {
            return;
        }
        self.due.set(Some(due));
        let this = self.this.clone();
        tokio::task::spawn_local(async move {
            tokio::time::sleep_until(due.into()).await;
            let Some(worker) = this.upgrade() else { return };
            // Else an earlier one came, which has asked for the next one.
            if worker.due.get() == Some(due) {
                worker.due.set(None);
                worker.pass_time();
            }
        });
    }

    /// Does one thing that the virtual machine has to do of itself, if one is due; this asks for the next one.
    fn pass_time(&self) {
        self.enter(None, |vm| {
            let effects = vm.pass_time(Instant::now()).unwrap_or_default();
            ((), Outcome { action: Action::Continue, effects })
        });
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.claimed.get() {
            self.shared.filter.give_up_claim();
        }
    }
}

/// A transaction that waits to be told.
struct Parked<'a> {
    worker: &'a Worker,
    key: (Generation, ContextId),
}

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        self.worker.parked.borrow_mut().remove(&self.key);
    }
}
