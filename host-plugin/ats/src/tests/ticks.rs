//! Virtual machines of filters that have something to do without requests: on which threads they are, and when they
//! come back.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Barrier, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{LOGGING, counters, filter};
use crate::double::{EventLoop, Transaction, plugin, serve, serve_with};
use crate::flow::{errands, walk};
use crate::ts::{self, EventThread};

/// Logs `done` in each tick.
const TICKING: &str = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0))
    (func (export "proxy_on_tick") (param i32) (call $log (i32.const 8) (i32.const 4)))"#;

/// Logs `done` in its first tick and traps in the second one.
const DYING: &str = r#"(func (export "proxy_on_tick") (param i32)
    (if (global.get $go) (then unreachable))
    (global.set $go (i32.const 1))
    (call $log (i32.const 8) (i32.const 4)))"#;

/// Asks in each request for ticks a second earlier than in the one before, first in eleven days.
const SHORTENING: &str = r#"(global $period (mut i32) (i32.const 1000000000))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (global.set $period (i32.sub (global.get $period) (i32.const 1000)))
        (drop (call $tick (global.get $period)))
        (i32.const 0))"#;

/// As the server does when its threads for tasks are there.
fn tasks_are_ready() {
    ts::post_task(Box::new(walk::begin));
}

#[test]
fn a_filter_ticks_on_every_event_thread_before_any_request() {
    let thread = serve(&[("logging", &filter(LOGGING), true), ("ticking", &filter(TICKING), true)], "");
    // More than a first round reaches.
    let (plugin, count) = (plugin(), 20);
    let made = Arc::new(Barrier::new(count + 1));
    let others = (0..count).map(|_| {
        let made = Arc::clone(&made);
        std::thread::spawn(move || {
            let thread = EventLoop::new(plugin);
            made.wait();
            thread.run(|| thread.logged("ticking: done") > 1);
        })
    });
    let others: Vec<_> = others.collect();
    made.wait();
    tasks_are_ready();
    thread.run(|| thread.logged("ticking: done") > 1 && others.iter().all(|other| other.is_finished()));
    others.into_iter().for_each(|other| other.join().unwrap());
    assert_eq!((counters(0).vms_started, counters(0).contexts), (1, 0), "the other one waits in its stock");
    assert!(counters(1).vms_started > count as u64, "{:?}", counters(1));
    assert_eq!(counters(1).contexts, 0);
    // The first request meets the virtual machine that has ticked.
    let before = counters(1).vms_started;
    assert!(Transaction::start(false).is_over());
    assert_eq!((counters(1).vms_started, counters(1).contexts), (before, 1));
}

#[test]
fn a_filter_that_does_nothing_by_itself_costs_its_threads_nothing() {
    let thread = serve(&[("logging", &filter(LOGGING), true)], "");
    walk::begin();
    assert!(!thread.run_one(), "no event has come");
}

#[test]
fn a_virtual_machine_that_dies_in_a_tick_is_replaced_without_a_request() {
    let thread = serve(&[("dying", &filter(DYING), true)], "");
    tasks_are_ready();
    thread.run(|| thread.logged("dying: done") == 3);
    assert_eq!((counters(0).traps, counters(0).contexts), (2, 0));
}

#[test]
fn a_filter_that_wants_its_tick_earlier_and_earlier_does_not_fill_the_server_with_events() {
    let thread = serve(&[("shortening", &filter(SHORTENING), true)], "");
    for _ in 0..100 {
        assert!(Transaction::start(false).is_over());
    }
    let pending = thread.later(Duration::ZERO);
    assert!(pending <= 2, "{pending} events");
}

#[test]
fn what_a_thread_of_ours_wants_of_an_event_thread_another_one_asks_for() {
    let thread = serve(&[("logging", &filter(LOGGING), true)], "");
    let home = EventThread::current().unwrap();
    let done = Arc::<AtomicBool>::default();
    let work = Arc::clone(&done);
    let ours = std::thread::spawn(move || errands::post(home, Box::new(move || work.store(true, SeqCst))));
    ours.join().unwrap();
    assert!(!thread.run_one(), "the server crashes when such a thread asks");
    errands::run();
    thread.run(|| done.load(SeqCst));
    let work = Arc::clone(&done);
    errands::post(home, Box::new(move || work.store(false, SeqCst)));
    thread.run(|| !done.load(SeqCst));
}

/// Further event threads of the calling one's plugin, and that one.
struct Threads {
    loops: Vec<&'static EventLoop>,
    over: Arc<AtomicBool>,
    others: Vec<JoinHandle<()>>,
}

impl Threads {
    fn start(this: &'static EventLoop, others: usize) -> Self {
        let (plugin, over) = (plugin(), Arc::<AtomicBool>::default());
        let (made, loops) = mpsc::channel();
        let one = |_| {
            let (over, made) = (Arc::clone(&over), made.clone());
            std::thread::spawn(move || {
                let thread = EventLoop::new(plugin);
                made.send(thread).unwrap();
                thread.run(|| over.load(SeqCst));
            })
        };
        let handles = (0..others).map(one).collect();
        let loops = [this].into_iter().chain(loops.iter().take(others)).collect();
        Self { loops, over, others: handles }
    }

    /// How often each has ticked.
    fn ticks(&self) -> Vec<usize> {
        self.loops.iter().map(|thread| thread.logged("ticking: done")).collect()
    }

    /// On how many threads the filter has ticked.
    fn ticking(&self) -> usize {
        self.ticks().into_iter().filter(|ticks| *ticks > 0).count()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.over.store(true, SeqCst);
        for thread in self.others.drain(..) {
            let ended = thread.join();
            // What failed here says more.
            if !std::thread::panicking() {
                ended.unwrap();
            }
        }
    }
}

#[test]
fn a_service_is_on_one_thread_and_no_request_meets_it() {
    let thread = serve_with("  http: false\n", &[("ticking", &filter(TICKING), false)], "");
    let threads = Threads::start(thread, 3);
    tasks_are_ready();
    thread.run(|| {
        assert!(Transaction::start(false).is_over(), "requests wait for nothing");
        threads.ticks().iter().any(|ticks| *ticks > 50)
    });
    assert_eq!(threads.ticking(), 1, "{:?}", threads.ticks());
    assert_eq!((counters(0).contexts, counters(0).vms, counters(0).vms_started), (0, 1, 1));
}

/// Its root context has no contexts of streams.
const REFUSING_STREAMS: &str = r#"(func (export "proxy_on_context_create") (param i32 i32)
        (if (local.get 1) (then unreachable)))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0))
    (func (export "proxy_on_tick") (param i32) (call $log (i32.const 8) (i32.const 4)))"#;

#[test]
fn a_filter_that_refuses_its_first_streams_keeps_one_of_its_virtual_machines() {
    let thread = serve(&[("ticking", &filter(REFUSING_STREAMS), true)], "");
    let threads = Threads::start(thread, 2);
    tasks_are_ready();
    thread.run(|| threads.ticking() == 3);
    let refused: Vec<_> = (0..3)
        .map(|_| {
            let transaction = Transaction::start(false);
            thread.run(|| transaction.is_over());
            transaction.answer()
        })
        .collect();
    assert_eq!(refused, [None, None, None], "by the fail policy");
    thread.run(|| counters(0).vms == 1);
    let before = threads.ticks();
    thread.run(|| {
        assert!(Transaction::start(false).is_over());
        threads.ticks().iter().zip(&before).any(|(now, before)| *now > before + 50)
    });
    let went_on = threads.ticks().iter().zip(&before).filter(|(now, before)| **now > **before + 10).count();
    assert_eq!(went_on, 1, "{before:?} {:?}", threads.ticks());
    assert_eq!((counters(0).vms, counters(0).traps, counters(0).contexts), (1, 3, 3));
}

#[test]
fn a_filter_that_must_run_is_no_service_because_it_traps() {
    let thread = serve(&[("ticking", &filter(REFUSING_STREAMS), false)], "");
    tasks_are_ready();
    for _ in 0..5 {
        let transaction = Transaction::start(false);
        thread.run(|| transaction.is_over());
        assert_eq!(transaction.answer().map(|answer| answer.0), Some(503));
    }
    assert_eq!(thread.logged("write http: false into its file"), 1, "{:?}", thread.log());
    assert_eq!(counters(0).traps, 5);
}

#[test]
fn a_service_that_dies_is_replaced_and_says_so() {
    let thread = serve_with("  http: false\n", &[("dying", &filter(DYING), false)], "");
    tasks_are_ready();
    thread.run(|| thread.logged("dying: done") == 2);
    assert_eq!(thread.logged("the virtual machine of this service has died"), 1, "{:?}", thread.log());
    assert!(Transaction::start(false).is_over());
    assert_eq!((counters(0).traps, counters(0).contexts), (1, 0));
}
