//! How virtual machines come to event threads: for transactions that wait for one, and without any for filters that
//! have something to do by themselves. Those have one on every event thread from the start, and again when it has died.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use wasmdbg_proxy_wasm::{FastVm, Filter, Unavailable};

use super::chain::Index;
use super::worker::borrow;
use super::{Flow, Wake, release};
use crate::plugin::plugin;
use crate::ts::{self, EventThread};

/// Pieces of work in a round of a [`Walk`] beside two for each thread that is known.
const MORE: usize = 16;

/// A virtual machine that died of itself, or could not start, is replaced after this time, unless a transaction
/// wants one before.
const RETRY: Duration = Duration::from_secs(1);

/// Seats virtual machines of filters that have something to do without requests on all event threads. On one of the
/// server's threads for tasks.
pub(crate) fn begin() {
    let Some(plugin) = plugin() else { return };
    if plugin.filters.iter().any(|filter| filter.runs_by_itself()) {
        Arc::new(Walk::default()).round();
    }
}

/// A walk over all event threads, which the server lists nowhere. It gives work to them one after the other, and to
/// others that ask meanwhile: so a round is longer than the threads that are known, and the last one finds no new.
#[derive(Default)]
struct Walk {
    known: Mutex<Vec<EventThread>>,
    /// Pieces of work of this round that are to come.
    coming: AtomicUsize,
}

impl Walk {
    fn known(&self) -> MutexGuard<'_, Vec<EventThread>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Not on an event thread: the server would give it all of the work.
    fn round(self: Arc<Self>) {
        let known = self.known().len();
        let pieces = 2 * known + MORE;
        self.coming.store(pieces, Ordering::Release);
        for _ in 0..pieces {
            let walk = Arc::clone(&self);
            ts::post_in_turn(Box::new(move || walk.visit(known)));
        }
    }

    /// On an event thread. `before`: so many were known when the round began.
    fn visit(self: Arc<Self>, before: usize) {
        if let Some(here) = EventThread::current() {
            let new = {
                let mut known = self.known();
                let new = !known.contains(&here);
                if new {
                    known.push(here);
                }
                new
            };
            if new {
                seat_all();
            }
        }
        let last = self.coming.fetch_sub(1, Ordering::AcqRel) == 1;
        if last && self.known().len() > before {
            ts::post_task(Box::new(move || self.round()));
        }
    }
}

/// Sees to a virtual machine on this thread for each filter that has something to do without requests.
fn seat_all() {
    let filters = plugin().map_or(0, |plugin| plugin.filters.len());
    (0..filters).for_each(keep_seated);
}

/// Sees to a virtual machine of a filter on this thread, if it has something to do without requests and none is here.
fn keep_seated(index: Index) {
    let Some(filter) = filter(index).filter(|filter| filter.runs_by_itself()) else { return };
    let ask = borrow(|worker| {
        let desk = worker.desk(index);
        desk.vm.is_none() && !std::mem::replace(&mut desk.asked, true)
    });
    if ask {
        ask_for(index, filter);
    }
}

/// The virtual machine of a filter on this thread has died, or none could be made. Nothing is borrowed.
#[cold]
pub(super) fn seat_again(index: Index) {
    let Some(here) = EventThread::current() else { return };
    if filter(index).is_some_and(Filter::runs_by_itself) {
        let wait = i64::try_from(RETRY.as_millis()).unwrap_or(i64::MAX);
        ts::post_after(here, wait, Box::new(move || keep_seated(index)));
    }
}

/// `flow` waits for a virtual machine of a filter, at most the filter's start timeout.
pub(super) fn wait(index: Index, flow: Arc<Flow>) {
    let Some(plugin) = plugin() else { return };
    let Some(home) = EventThread::current() else { return };
    let ask = borrow(|worker| {
        let desk = worker.desk(index);
        desk.waiting.push(Arc::clone(&flow));
        !std::mem::replace(&mut desk.asked, true)
    });
    let timeout = i64::try_from(plugin.start_timeout.as_millis()).unwrap_or(i64::MAX);
    // Most are served in time and gone by then.
    let waiter = Arc::downgrade(&flow);
    ts::post_after(home, timeout, Box::new(move || give_up(index, &waiter)));
    if let Some(filter) = filter(index).filter(|_| ask) {
        ask_for(index, filter);
    }
}

fn filter(index: Index) -> Option<&'static Filter> {
    plugin()?.filters.get(index).map(AsRef::as_ref)
}

fn ask_for(index: Index, filter: &Filter) {
    let Some(home) = EventThread::current() else { return };
    // Called on the thread that built it, one of the server's.
    filter.when_ready(Box::new(move |made| ts::post(home, Box::new(move || seat(index, made)))));
}

/// A virtual machine that was asked for has come, or will not.
fn seat(index: Index, made: Result<FastVm, Unavailable>) {
    let there = made.is_ok();
    let (waiting, unneeded) = borrow(|worker| {
        let desk = worker.desk(index);
        desk.asked = false;
        let mut unneeded = None;
        match made {
            // Another one was found in the stock meanwhile.
            Ok(vm) if desk.vm.is_some() => unneeded = Some(vm),
            Ok(vm) => desk.seat(index, vm),
            Err(_) => {}
        }
        (std::mem::take(&mut desk.waiting), unneeded)
    });
    if let (Some(vm), Some(filter)) = (unneeded, filter(index)) {
        filter.return_vm(vm);
    }
    if !there {
        seat_again(index);
    }
    release::wake_all(waiting, &Wake::Machine { index, there });
}

/// The start timeout of one transaction has passed.
fn give_up(index: Index, waiter: &Weak<Flow>) {
    let waited = borrow(|worker| {
        let waiting = &mut worker.desk(index).waiting;
        let place = waiting.iter().position(|flow| std::ptr::eq(Arc::as_ptr(flow), waiter.as_ptr()));
        place.map(|place| waiting.swap_remove(place))
    });
    if let Some(flow) = waited {
        release::wake(flow, Wake::Machine { index, there: false });
    }
}
