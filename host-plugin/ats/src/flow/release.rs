//! Parked transactions that may go on, in the order in which that was decided.
//!
//! The only place that lets them go. `TSHttpTxnReenable` on the home thread runs the transaction's next
//! hooks before it returns, and what these run may decide about more transactions: so a hook only puts
//! them into the thread's queue, and the outermost caller alone takes from it. The stack is as deep with
//! one transaction as with thousands.
//!
//! The outermost caller takes a slice of the queue; an event of this thread goes on with the rest, and the
//! server serves its connections in between.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmdbg_proxy_wasm::{Action, Effect, StreamType};

use super::chain::Index;
use super::worker::{self, FastContext, Generation};
use super::{Flow, Wake};
use crate::plugin::plugin;
use crate::ts::{self, Timer, TimerHandler};

/// At most so many transactions go on in one slice.
const SLICE: usize = 64;
/// A slice ends with the transaction that goes on after this time.
const SLICE_TIME: Duration = Duration::from_millis(1);
/// Milliseconds from one slice to the next. Not 0: the server handles all events that are due at once, and
/// those that they set, before it looks at its connections.
const PAUSE: u32 = 1;

/// What may go on.
enum Ready {
    /// A callback decided about a context; its transaction is parked, or has gone on already.
    Context(Index, FastContext, Option<StreamType>, Action),
    /// What a flow waits for has come.
    Flow(Arc<Flow>, Wake),
    /// A panic of ours before it is known which transaction goes on.
    #[cfg(test)]
    Fault,
}

impl Ready {
    /// A panic of ours ends here: it is not one of the transaction in whose hook the queue goes on, and the
    /// others go on after it.
    fn go_on(self) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.wake())) {
            ts::error(&format!(
                "a fault of this plugin, please report it: a panic while transactions go on: {}",
                ts::reason(&panic)
            ));
        }
    }

    fn wake(self) {
        match self {
            Self::Context(index, context, stream, action) => {
                // A context that is lost without being parked is noticed at its next callback.
                if let Some(flow) = worker::unpark(index, context) {
                    flow.wake(Wake::Decided(index, stream, action));
                }
            }
            Self::Flow(flow, wake) => flow.wake(wake),
            #[cfg(test)]
            Self::Fault => panic!("a fault of ours"),
        }
    }
}

/// One thread's.
#[derive(Default)]
struct Queue {
    ready: RefCell<VecDeque<Ready>>,
    /// A slice is under way further up the stack.
    running: Cell<bool>,
    /// An event is on its way that runs the next slice.
    scheduled: Cell<bool>,
    timer: OnceCell<Timer>,
}

thread_local! {
    /// As the worker: event threads end with the process.
    static QUEUE: Cell<Option<&'static Queue>> = const { Cell::new(None) };
}

#[inline]
fn here() -> &'static Queue {
    QUEUE.get().unwrap_or_else(make)
}

#[cold]
fn make() -> &'static Queue {
    let made: &'static Queue = Box::leak(Box::default());
    QUEUE.set(Some(made));
    made
}

/// What callbacks of one virtual machine did to others of its contexts. They go on with the next [`run`]:
/// called while nothing else may happen.
#[inline]
pub(crate) fn decided(index: Index, generation: Generation, effects: Vec<Effect>) {
    if !effects.is_empty() {
        queue(index, generation, effects);
    }
}

#[cold]
fn queue(index: Index, generation: Generation, effects: Vec<Effect>) {
    let ready = effects.into_iter().map(|Effect { context, stream, action }| {
        Ready::Context(index, FastContext { generation, context }, stream, action)
    });
    here().ready.borrow_mut().extend(ready);
}

/// What `flow` waits for has come. It goes on after those that came before it, at once if it can; called
/// as the last thing, with nothing borrowed.
pub(crate) fn wake(flow: Arc<Flow>, wake: Wake) {
    here().ready.borrow_mut().push_back(Ready::Flow(flow, wake));
    run();
}

/// As [`wake`], for all of them.
pub(crate) fn wake_all(flows: Vec<Arc<Flow>>, wake: &Wake) {
    here().ready.borrow_mut().extend(flows.into_iter().map(|flow| Ready::Flow(flow, wake.clone())));
    run();
}

/// A panic of ours comes next.
#[cfg(test)]
pub(crate) fn fault() {
    here().ready.borrow_mut().push_back(Ready::Fault);
}

/// Lets a slice of the queue go on. Returns at once in a hook that such a transaction runs, and while the
/// next slice has its event. Called with nothing borrowed and while no virtual machine of this thread runs.
#[inline]
pub(crate) fn run() {
    let queue = here();
    if !queue.ready.borrow().is_empty() && !queue.running.get() && !queue.scheduled.get() {
        queue.slice();
    }
}

/// Lets the queue go on in an event of its own: for a panic that unwinds.
pub(crate) fn run_later() {
    here().schedule();
}

impl Queue {
    fn slice(&'static self) {
        let _running = Running::begin(self);
        let _measuring = plugin().map(|plugin| plugin.runtime.releases().measure());
        let began = Instant::now();
        for _ in 0..SLICE {
            let Some(ready) = self.pop() else { return };
            ready.go_on();
            if began.elapsed() >= SLICE_TIME {
                return;
            }
        }
    }

    fn pop(&self) -> Option<Ready> {
        self.ready.borrow_mut().pop_front()
    }

    /// Sees to the next slice, unless somebody does or nothing is left.
    fn schedule(&self) {
        if self.ready.borrow().is_empty() || self.running.get() || self.scheduled.get() {
            return;
        }
        if self.timer.get().is_none()
            && let Some(timer) = Timer::new::<Slice>(0)
        {
            // Set once, on the queue's own thread.
            let _ = self.timer.set(timer);
        }
        // Without one the next hook or event of this thread goes on with the queue.
        if let Some(timer) = self.timer.get() {
            self.scheduled.set(true);
            timer.start(PAUSE);
        }
    }
}

/// While a slice is under way, also while a panic unwinds.
struct Running(&'static Queue);

impl Running {
    fn begin(queue: &'static Queue) -> Self {
        queue.running.set(true);
        Self(queue)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.set(false);
        self.0.schedule();
    }
}

/// The event of the next slice.
struct Slice;

impl TimerHandler for Slice {
    fn fired(_key: u64) {
        here().scheduled.set(false);
        run();
    }
}
