//! Event threads, what is scheduled on them, and the other threads of the server.

use std::cell::Cell;
use std::collections::VecDeque;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::transactions::Transaction;
use super::{PATIENCE, enter_plugin, plugin};
use crate::plugin::Plugin;
use crate::sys::{self, TSCont, TSEventFunc, TSThreadFunc};

thread_local! {
    static CURRENT: Cell<Option<&'static EventLoop>> = const { Cell::new(None) };
    /// Calls of TSHttpTxnReenable for parked transactions, and all that follows.
    static REENABLED: Cell<usize> = const { Cell::new(0) };
    /// Mutexes of transactions that this thread has locked and not yet unlocked.
    static LOCKED: Cell<usize> = const { Cell::new(0) };
}

/// The event threads of all plugins, by the address of the plugin.
static THREADS: Mutex<Vec<(usize, &'static EventLoop)>> = Mutex::new(Vec::new());
/// Whose turn it is among those of a plugin.
static TURN: AtomicUsize = AtomicUsize::new(0);

/// An event thread.
pub(crate) struct EventLoop {
    events: Mutex<VecDeque<Event>>,
    /// Lines that were logged on it.
    log: Mutex<Vec<String>>,
    /// Work for other threads is not done.
    pub(crate) holds_tasks: AtomicBool,
    /// The server makes no further threads for the plugin.
    pub(crate) exhausted: AtomicBool,
    /// Where hooks are handled.
    pub(super) hooks: Mutex<Vec<(c_int, Pointer<Continuation>)>>,
    /// The lowest address of a frame that re-enabled a transaction.
    deepest: Mutex<usize>,
}

struct Event {
    due: Instant,
    work: Work,
}

enum Work {
    Call(Pointer<Continuation>),
    Reenable(&'static Transaction, c_int),
}

pub(super) struct Pointer<T>(*mut T);

impl<T> Clone for Pointer<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Pointer<T> {}

// SAFETY: continuations are leaked, and called by one thread at a time; the data of a thread is its own.
unsafe impl<T> Send for Pointer<T> {}

pub(super) struct Continuation {
    handler: TSEventFunc,
    data: Cell<*mut c_void>,
}

impl EventLoop {
    /// Makes the calling thread one, with the plugin of another.
    pub(crate) fn new(plugin: Option<&'static Plugin>) -> &'static Self {
        let made: &'static Self = Box::leak(Box::new(Self {
            events: Mutex::default(),
            log: Mutex::default(),
            holds_tasks: AtomicBool::new(false),
            exhausted: AtomicBool::new(false),
            hooks: Mutex::default(),
            deepest: Mutex::new(usize::MAX),
        }));
        CURRENT.set(Some(made));
        if let Some(plugin) = plugin {
            made.serve(plugin);
        }
        made
    }

    /// It is one of this plugin.
    pub(super) fn serve(&'static self, plugin: &'static Plugin) {
        enter_plugin(Some(plugin));
        THREADS.lock().unwrap().push((std::ptr::from_ref(plugin).addr(), self));
    }

    /// As the server chooses one for work that any of them can do: the calling thread, if it is one.
    fn in_turn() -> &'static Self {
        if let Some(this) = Self::this() {
            return this;
        }
        let plugin = std::ptr::from_ref(plugin().expect("it is a thread of a plugin")).addr();
        let threads = THREADS.lock().unwrap();
        let own: Vec<_> = threads.iter().filter(|(other, _)| *other == plugin).collect();
        own[TURN.fetch_add(1, Ordering::Relaxed) % own.len()].1
    }

    /// Handles events until `done` says so. How many transactions went on in one event at most.
    pub(crate) fn run(&self, done: impl Fn() -> bool) -> usize {
        let until = Instant::now() + PATIENCE;
        let mut most = 0;
        while !done() {
            let before = REENABLED.get();
            if !self.run_one() {
                std::thread::sleep(Duration::from_millis(1));
            }
            most = most.max(REENABLED.get() - before);
            assert!(Instant::now() < until, "it never happens; the log: {:#?}", self.log());
        }
        most
    }

    /// Handles the first event that is due; whether there was one.
    pub(crate) fn run_one(&self) -> bool {
        let event = {
            let mut events = self.events.lock().unwrap();
            let now = Instant::now();
            let due = events.iter().position(|event| event.due <= now);
            due.and_then(|place| events.remove(place))
        };
        event.map(|event| event.work.run()).is_some()
    }

    /// Bytes of stack from here to the frame that re-enabled a transaction furthest down since the last call.
    pub(crate) fn depth(&self) -> usize {
        let here = 0_u8;
        let deepest = std::mem::replace(&mut *self.deepest.lock().unwrap(), usize::MAX);
        (&raw const here).addr().saturating_sub(deepest)
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// How many lines of its log contain `text`.
    pub(crate) fn logged(&self, text: &str) -> usize {
        self.log().iter().filter(|line| line.contains(text)).count()
    }

    /// How many of its events are for a time after `wait`.
    pub(crate) fn later(&self, wait: Duration) -> usize {
        let then = Instant::now() + wait;
        self.events.lock().unwrap().iter().filter(|event| event.due > then).count()
    }

    fn push(&self, milliseconds: i64, work: Work) {
        let due = Instant::now() + Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0));
        self.events.lock().unwrap().push_back(Event { due, work });
    }

    pub(super) fn this() -> Option<&'static Self> {
        CURRENT.get()
    }

    /// As the server does with a transaction whose home this is.
    pub(super) fn reenable(&'static self, transaction: &'static Transaction, event: c_int) {
        if !Self::this().is_some_and(|thread| std::ptr::eq(thread, self)) {
            self.push(0, Work::Reenable(transaction, event));
            return;
        }
        let here = 0_u8;
        let mut deepest = self.deepest.lock().unwrap();
        *deepest = (&raw const here).addr().min(*deepest);
        drop(deepest);
        // Its own next hooks nest; it counts once.
        if transaction.at() == super::At::Request {
            REENABLED.set(REENABLED.get() + 1);
        }
        transaction.go_on(event);
    }
}

impl Work {
    fn run(self) {
        match self {
            Self::Call(continuation) => continuation.call(2, std::ptr::null_mut()),
            Self::Reenable(transaction, event) => transaction.go_on(event),
        }
    }
}

impl Pointer<Continuation> {
    pub(super) fn of(cont: TSCont) -> Self {
        Self(cont.cast())
    }

    pub(super) fn call(self, event: c_int, data: *mut c_void) {
        // SAFETY: continuations are leaked.
        unsafe { ((*self.0).handler)(self.0.cast(), event, data) };
    }
}

/// How many mutexes the calling thread has locked.
pub(crate) fn locked() -> usize {
    LOCKED.get()
}

unsafe extern "C" fn create(handler: TSEventFunc, _mutex: sys::TSMutex) -> TSCont {
    Box::into_raw(Box::new(Continuation { handler, data: Cell::new(std::ptr::null_mut()) })).cast()
}

unsafe extern "C" fn destroy(_cont: TSCont) {}

unsafe extern "C" fn set_data(cont: TSCont, data: *mut c_void) {
    // SAFETY: continuations are leaked.
    unsafe { (*cont.cast::<Continuation>()).data.set(data) };
}

unsafe extern "C" fn get_data(cont: TSCont) -> *mut c_void {
    // SAFETY: continuations are leaked.
    unsafe { (*cont.cast::<Continuation>()).data.get() }
}

unsafe extern "C" fn mutex_of(_cont: TSCont) -> sys::TSMutex {
    std::ptr::dangling_mut::<u8>().cast()
}

unsafe extern "C" fn create_mutex() -> sys::TSMutex {
    std::ptr::dangling_mut::<u8>().cast()
}

unsafe extern "C" fn lock(_mutex: sys::TSMutex) {
    LOCKED.set(LOCKED.get() + 1);
}

unsafe extern "C" fn unlock(_mutex: sys::TSMutex) {
    LOCKED.set(LOCKED.get() - 1);
}

unsafe extern "C" fn schedule(cont: TSCont, milliseconds: i64, thread: sys::TSEventThread) -> sys::TSAction {
    // SAFETY: event threads are leaked.
    let thread = unsafe { thread.cast::<EventLoop>().as_ref() }.unwrap();
    thread.push(milliseconds, Work::Call(Pointer::of(cont)));
    std::ptr::null_mut()
}

unsafe extern "C" fn schedule_in_pool(cont: TSCont, milliseconds: i64, pool: c_int) -> sys::TSAction {
    let work = Work::Call(Pointer::of(cont));
    if pool == sys::TS_THREAD_POOL_NET {
        EventLoop::in_turn().push(milliseconds, work);
    } else if EventLoop::this().is_none_or(|thread| !thread.holds_tasks.load(Ordering::Relaxed)) {
        let plugin = plugin();
        std::thread::spawn(move || {
            enter_plugin(plugin);
            work.run();
        });
    }
    std::ptr::null_mut()
}

unsafe extern "C" fn create_thread(body: TSThreadFunc, data: *mut c_void) -> sys::TSThread {
    let data = Pointer(data);
    std::thread::spawn(move || {
        let data = data;
        // SAFETY: by the caller.
        unsafe { body(data.0) };
    });
    std::ptr::dangling_mut::<u8>().cast()
}

unsafe extern "C" fn version() -> *const c_char {
    c"9.2.9".as_ptr()
}

unsafe extern "C" fn current() -> sys::TSEventThread {
    EventLoop::this().map_or(std::ptr::null_mut(), |this| std::ptr::from_ref(this).cast_mut().cast())
}

/// Of the three printers, whose format is always one text. They are called with the convention of variadic
/// functions, which is that of others for two pointers.
unsafe extern "C" fn print(_format: *const c_char, text: *const c_char) {
    // SAFETY: by the caller.
    let line = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
    if let Some(thread) = EventLoop::this() {
        thread.log.lock().unwrap().push(line);
    }
}

pub(super) fn find(name: &str) -> Option<*mut c_void> {
    Some(match name {
        "TSContCreate" => create as *mut c_void,
        "TSContDestroy" => destroy as *mut c_void,
        "TSContDataSet" => set_data as *mut c_void,
        "TSContDataGet" => get_data as *mut c_void,
        "TSContMutexGet" => mutex_of as *mut c_void,
        "TSMutexCreate" => create_mutex as *mut c_void,
        "TSMutexLock" => lock as *mut c_void,
        "TSMutexUnlock" => unlock as *mut c_void,
        "TSContScheduleOnThread" => schedule as *mut c_void,
        "TSContScheduleOnPool" => schedule_in_pool as *mut c_void,
        "TSThreadCreate" => create_thread as *mut c_void,
        "TSEventThreadSelf" => current as *mut c_void,
        "TSTrafficServerVersionGet" => version as *mut c_void,
        "TSError" | "TSWarning" | "TSNote" => print as *mut c_void,
        _ => return None,
    })
}
