//! The virtual machines of one event thread at work: entered by transactions and by their own clock, one of each filter;
//! and how they come there. A transaction waits for one. Filters that have something to do without requests have one
//! from the start ([`super::walk`]), and again when it has died.

use std::cell::RefCell;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use wasmdbg_proxy_wasm::filter::RETRY;
use wasmdbg_proxy_wasm::{Action, Effect, FastVm, Filter, Outcome, Unavailable};

use super::chain::Index;
use super::clock::Clock;
use super::errands;
use super::worker::{Desk, FastContext, Generation, Worker, borrow, here, threads, unpark};
use super::{Flow, Wake, release};
use crate::plugin::plugin;
use crate::ts::{self, EventThread, TimerHandler};

/// How long one event of a clock works on what is due; the rest has the next one.
const SLICE: Duration = Duration::from_millis(1);

impl Desk {
    /// Takes the virtual machine out, or one from the filter's stock.
    fn take(&mut self, index: Index) -> Option<Box<FastVm>> {
        if let Some(vm) = self.vm.take() {
            return Some(vm);
        }
        let mut vm = plugin()?.filters.get(index)?.take_vm()?;
        own(index, &mut vm);
        self.generation.0 = self.generation.0.wrapping_add(1);
        Some(Box::new(vm))
    }

    /// Whether a virtual machine of `filter` may be here: that of a service is on one thread alone.
    fn may_have(&mut self, filter: &Filter) -> bool {
        if !filter.is_service() {
            return true;
        }
        self.claimed = self.claimed || filter.claim();
        self.claimed
    }

    /// A virtual machine comes here to stay.
    fn seat(&mut self, index: Index, mut vm: FastVm) {
        own(index, &mut vm);
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
            Clock::arm::<Due>(&mut self.clock, index, due);
        }
    }
}

/// This thread owns `vm` from now on, and looks at what others send to it.
fn own(index: Index, vm: &mut FastVm) {
    let Some(home) = EventThread::current() else { return };
    vm.owned(move || errands::post(home, Box::new(move || on_letter(index))));
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
            died(self.index);
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
        died(self.index);
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

/// The transaction of a context is over without its callbacks: after a fault of ours.
pub(crate) fn lose(index: Index, context: FastContext) {
    drop(unpark(index, context));
    enter(index, Some(context.generation), |vm, _| {
        vm.lose(context.context);
        ((), Outcome { action: Action::Continue, effects: Vec::new() })
    });
}

/// The event of a clock.
struct Due;

impl TimerHandler for Due {
    fn fired(key: u64) {
        on_time(key as Index);
        release::run();
    }
}

/// The clock of a filter has fired: does what is due, if it is time and a virtual machine is there, and keeps what that
/// did to transactions for [`release::run`].
fn on_time(index: Index) {
    let taken = borrow(|worker| {
        let desk = worker.desk(index);
        let now = desk.clock.as_mut()?.fired(Instant::now())?;
        Some((desk.vm.take()?, desk.generation, now))
    });
    if let Some((vm, generation, now)) = taken {
        do_due(index, vm, generation, now);
    }
}

/// Something has been sent to the virtual machine of a filter on this thread, unless that has died meanwhile.
fn on_letter(index: Index) {
    let taken = borrow(|worker| {
        let desk = worker.desk(index);
        Some((desk.vm.take()?, desk.generation))
    });
    if let Some((vm, generation)) = taken {
        do_due(index, vm, generation, Instant::now());
        release::run();
    }
}

/// Does what is due at `now` and keeps what that did to transactions for [`release::run`].
fn do_due(index: Index, vm: Box<FastVm>, generation: Generation, now: Instant) {
    let mut taken = Taken { worker: here(), index, generation, vm: Some(vm) };
    let effects = taken.vm.as_deref_mut().map(|vm| pass_time(vm, now)).unwrap_or_default();
    // This starts the timer for what is next.
    taken.put_back();
    release::decided(index, generation, effects);
}

/// Does what is due at `now`, for one slice.
fn pass_time(vm: &mut FastVm, now: Instant) -> Vec<Effect> {
    let (began, mut effects) = (Instant::now(), Vec::new());
    while let Some(more) = vm.pass_time(now) {
        effects.extend(more);
        if began.elapsed() > SLICE {
            break;
        }
    }
    effects
}

/// Sees to a virtual machine on this thread for each filter that has something to do without requests.
pub(super) fn seat_all() {
    let filters = plugin().map_or(0, |plugin| plugin.filters.len());
    (0..filters).for_each(keep_seated);
}

/// Sees to a virtual machine of a filter on this thread, if it has something to do without requests and none is here.
fn keep_seated(index: Index) {
    let Some(filter) = filter(index).filter(|filter| filter.runs_by_itself()) else { return };
    let ask = borrow(|worker| {
        let desk = worker.desk(index);
        desk.may_have(filter) && desk.vm.is_none() && !std::mem::replace(&mut desk.asked, true)
    });
    if ask {
        ask_for(index, filter);
    }
}

/// The virtual machine of a filter on this thread has died. Nothing is borrowed.
#[cold]
fn died(index: Index) {
    let Some(filter) = filter(index) else { return };
    if filter.is_service() {
        if borrow(|worker| worker.desk(index).claimed) {
            filter.service_died();
        } else {
            // It has just shown that it is one.
            filter.drop_spares();
            threads().into_iter().for_each(|thread| ts::post(thread, Box::new(move || give_up_spare(index))));
        }
    }
    seat_later(index);
}

/// Sees to a virtual machine as [`keep_seated`] does, some time after one was lost or could not be made.
fn seat_later(index: Index) {
    let Some(here) = EventThread::current() else { return };
    if filter(index).is_some_and(Filter::runs_by_itself) {
        let wait = i64::try_from(RETRY.as_millis()).unwrap_or(i64::MAX);
        ts::post_after(here, wait, Box::new(move || keep_seated(index)));
    }
}

/// A filter is a service: its virtual machine on this thread becomes the one of the process, or goes. One that still
/// has a stream, as it was created when others were refused, stays until it dies; no further stream comes to it.
fn give_up_spare(index: Index) {
    let Some(filter) = filter(index).filter(|filter| filter.is_service()) else { return };
    // Dropped after the borrow has ended.
    let _spare = borrow(|worker| {
        let desk = worker.desk(index);
        let spare = desk.vm.as_ref().is_some_and(|vm| vm.is_idle()) && !desk.may_have(filter);
        if spare { desk.vm.take() } else { None }
    });
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
            Ok(vm) if filter(index).is_none_or(|filter| !desk.may_have(filter)) => unneeded = Some(vm),
            Ok(vm) => desk.seat(index, vm),
            Err(_) => {}
        }
        (std::mem::take(&mut desk.waiting), unneeded)
    });
    if let (Some(vm), Some(filter)) = (unneeded, filter(index)) {
        filter.return_vm(vm);
    }
    if !there {
        seat_later(index);
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
