//! What one event thread owns: its transactions, a virtual machine of the fast lane for each filter, the
//! clock of what that does of itself, and who waits, for a virtual machine or for a filter.
//!
//! Thread-local and without locks. Nothing here is borrowed while a guest runs or a transaction is
//! re-enabled: a virtual machine is taken out, used, and put back. Lets no transaction go on itself: see
//! [`crate::flow::release`].

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rustc_hash::FxBuildHasher;
use wasmdbg_control::ContextId;
use wasmdbg_proxy_wasm::FastVm;

use super::Flow;
use super::chain::Index;
use super::clock::Clock;
use crate::ts::{EventThread, Txn};

/// Names one virtual machine of a filter on this thread: contexts of an earlier one are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Generation(pub(super) u32);

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
    pub(super) generation: Generation,
    /// A virtual machine has been asked for.
    pub(super) asked: bool,
    pub(super) waiting: Vec<Arc<Flow>>,
    pub(super) clock: Option<Clock>,
    /// The virtual machine of the filter, which is a service, is on this thread.
    pub(super) claimed: bool,
}

thread_local! {
    /// Event threads end with the process: without a destructor each access is a load.
    static WORKER: Cell<Option<&'static RefCell<Worker>>> = const { Cell::new(None) };
}

/// All threads that have a worker.
static THREADS: Mutex<Vec<EventThread>> = Mutex::new(Vec::new());

/// All event threads that can have a virtual machine.
pub(super) fn threads() -> Vec<EventThread> {
    THREADS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// This thread's worker.
#[inline]
pub(super) fn here() -> &'static RefCell<Worker> {
    WORKER.get().unwrap_or_else(make)
}

#[cold]
fn make() -> &'static RefCell<Worker> {
    let made: &'static RefCell<Worker> = Box::leak(Box::default());
    WORKER.set(Some(made));
    if let Some(thread) = EventThread::current() {
        THREADS.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
    }
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

/// The flow that is parked for a context, if one is: it is parked no more, whatever the filter does.
pub(crate) fn unpark(index: Index, context: FastContext) -> Option<Arc<Flow>> {
    borrow(|worker| worker.parked.remove(&(index, context)))
}
