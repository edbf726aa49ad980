//! What one event thread owns: its transactions, a virtual machine of the fast lane for each filter, the
//! clock of what that does of itself, and who waits, for a virtual machine or for a filter.
//!
//! Thread-local and without locks. Nothing here is borrowed while a guest runs or a transaction is
//! re-enabled: a virtual machine is taken out, used, and put back. Lets no transaction go on itself: see
//! [`crate::flow::release`].

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use rustc_hash::FxBuildHasher;
use wasmdbg_control::ContextId;
use wasmdbg_proxy_wasm::{Action, Effect, FastVm, Outcome};

use super::chain::Index;
use super::clock::Clock;
use super::{Flow, release, seats};
use crate::plugin::plugin;
use crate::ts::Txn;

/// Names one virtual machine of a filter on this thread: contexts of an earlier one are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Generation(u32);

/// A context of this thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FastContext {
    pub(crate) generation: Generation,
    pub(crate) context: ContextId,
}

#[derive(Default)]
pub(super) struct Worker {
    desks: Vec<Desk>,
    /// The transactions whose home this thread is.
    flows: HashMap<Txn, Arc<Flow>, FxBuildHasher>,
    /// Transactions that a filter parked.
    parked: HashMap<(Index, FastContext), Arc<Flow>>,
}

/// One filter's place on this thread.
#[derive(Default)]
pub(super) struct Desk {
    pub(super) vm: Option<Box<FastVm>>,
    generation: Generation,
    /// A virtual machine has been asked for.
    pub(super) asked: bool,
    pub(super) waiting: Vec<Arc<Flow>>,
    clock: Option<Clock>,
}

thread_local! {
    /// Event threads end with the process: without a destructor each access is a load.
    static WORKER: Cell<Option<&'static RefCell<Worker>>> = const { Cell::new(None) };
}

/// This thread's worker.
#[inline]
fn here() -> &'static RefCell<Worker> {
    WORKER.get().unwrap_or_else(make)
}

#[cold]
fn make() -> &'static RefCell<Worker> {
    let made: &'static RefCell<Worker> = Box::leak(Box::default());
    WORKER.set(Some(made));
    made
}

/// Does `work` with this thread's worker. Nothing of a filter or of the server runs in there.
#[inline]
pub(super) fn borrow<T>(work: impl FnOnce(&mut Worker) -> T) -> T {
    work(&mut here().borrow_mut())
}

impl Worker {
    #[inline]
    pub(super) fn desk(&mut self, index: Index) -> &mut Desk {
        if self.desks.len() <= index {
            self.grow(index);
        }
        &mut self.desks[index]
    }

    #[cold]
    fn grow(&mut self, index: Index) {
        self.desks.resize_with(index + 1, Desk::default);
    }
}

impl Desk {
    /// Takes the virtual machine out, or one from the filter's stock.
    fn take(&mut self, index: Index) -> Option<Box<FastVm>> {
        if let Some(vm) = self.vm.take() {
            return Some(vm);
        }
        let vm = plugin()?.filters.get(index)?.take_vm()?;
        self.generation.0 = self.generation.0.wrapping_add(1);
        Some(Box::new(vm))
    }

    /// A virtual machine comes here to stay.
    pub(super) fn seat(&mut self, index: Index, vm: FastVm) {
        self.arm(index, &vm);
        self.vm = Some(Box::new(vm));
        self.generation.0 = self.generation.0.wrapping_add(1);
    }

    /// Starts the timer for what `vm` will have to do.
    #[inline(always)]
    fn arm(&mut self, index: Index, vm: &FastVm) {
        // Most have nothing: this is looked at after every callback.
        if vm.is_due_ever() {
            self.start_timer(index, vm);
        }
    }

    fn start_timer(&mut self, index: Index, vm: &FastVm) {
        if let Some(due) = vm.next_due() {
            Clock::arm(&mut self.clock, index, due);
        }
    }
}

/// A virtual machine that is out of its desk. Put back after its work; dropped with it, while a panic
/// unwinds, it is used no more.
struct Taken {
    worker: &'static RefCell<Worker>,
    index: Index,
    generation: Generation,
    vm: Option<Box<FastVm>>,
}

impl Taken {
    #[inline]
    fn put_back(mut self) {
        let Some(vm) = self.vm.take() else { return };
        if vm.is_dead() {
            // With nothing borrowed, as it is dropped.
            seats::seat_again(self.index);
            return;
        }
        let mut worker = self.worker.borrow_mut();
        let desk = worker.desk(self.index);
        desk.arm(self.index, &vm);
        desk.vm = Some(vm);
    }
}

impl Drop for Taken {
    #[inline]
    fn drop(&mut self) {
        if let Some(vm) = self.vm.take() {
            self.retire(vm);
        }
    }
}

impl Taken {
    #[cold]
    fn retire(&self, mut vm: Box<FastVm>) {
        release::decided(self.index, self.generation, vm.retire());
        release::run_later();
        seats::seat_again(self.index);
    }
}

/// Runs `work` on this thread's virtual machine of a filter and keeps what it did to other
/// transactions for [`release::run`]. None when there is none now; see [`wait`].
///
/// `generation`: only on this one; a context of another one has none.
pub(crate) fn enter<T>(
    index: Index,
    generation: Option<Generation>,
    work: impl FnOnce(&mut FastVm, Generation) -> (T, Outcome),
) -> Option<(T, Action)> {
    let here = here();
    let (vm, current) = {
        let mut worker = here.borrow_mut();
        let desk = worker.desk(index);
        if generation.is_some_and(|wanted| wanted != desk.generation || desk.vm.is_none()) {
            return None;
        }
        (desk.take(index)?, desk.generation)
    };
    let mut taken = Taken { worker: here, index, generation: current, vm: Some(vm) };
    let vm = taken.vm.as_deref_mut()?;
    let (result, Outcome { action, effects }) = work(vm, current);
    taken.put_back();
    release::decided(index, current, effects);
    Some((result, action))
}

/// Keeps the flow of a transaction whose home is this thread, until [`forget`].
pub(crate) fn keep(txn: Txn, flow: Arc<Flow>) {
    // Dropped after the borrow has ended: one that was kept for an earlier transaction of this address.
    let _stale = borrow(|worker| worker.flows.insert(txn, flow));
}

/// The flow of a transaction whose home is this thread.
pub(crate) fn flow(txn: Txn) -> Option<Arc<Flow>> {
    borrow(|worker| worker.flows.get(&txn).cloned())
}

/// The transaction is over.
pub(crate) fn forget(txn: Txn) {
    let _flow = borrow(|worker| worker.flows.remove(&txn));
}

/// A filter has parked `flow` in a callback of `context`.
pub(crate) fn park(index: Index, context: FastContext, flow: Arc<Flow>) {
    borrow(|worker| worker.parked.insert((index, context), flow));
}

/// The transaction of a context is over without its callbacks: after a fault of ours.
pub(crate) fn lose(index: Index, context: FastContext) {
    drop(unpark(index, context));
    enter(index, Some(context.generation), |vm, _| {
        vm.lose(context.context);
        ((), Outcome { action: Action::Continue, effects: Vec::new() })
    });
}

/// The flow that is parked for a context, if one is: it is parked no more, whatever the filter does.
pub(crate) fn unpark(index: Index, context: FastContext) -> Option<Arc<Flow>> {
    borrow(|worker| worker.parked.remove(&(index, context)))
}

/// The clock of a filter has fired: does `work` on its virtual machine, if it is time and one is there, and keeps what
/// that did to transactions for [`release::run`].
pub(super) fn on_time(index: Index, work: fn(&mut FastVm, Instant) -> Vec<Effect>) {
    let taken = borrow(|worker| {
        let desk = worker.desk(index);
        let now = desk.clock.as_mut()?.fired(Instant::now())?;
        Some((desk.vm.take()?, desk.generation, now))
    });
    let Some((vm, generation, now)) = taken else { return };
    let mut taken = Taken { worker: here(), index, generation, vm: Some(vm) };
    let effects = taken.vm.as_deref_mut().map(|vm| work(vm, now)).unwrap_or_default();
    // This starts the timer for what is next.
    taken.put_back();
    release::decided(index, generation, effects);
}
