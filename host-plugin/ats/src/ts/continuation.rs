//! Continuations: how the server calls the plugin.
//!
//! All calls come through one trampoline per kind of handler. It keeps panics inside: the handler is
//! told and applies the fail policy. Re-enabling a transaction runs the next hooks before it returns,
//! so a hook's handler returns what follows and the trampoline does it, with nothing borrowed.

use std::any::Any;
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use super::EventThread;
use super::access::Access;
use super::parked::{Event, Next, Visit};
use crate::sys::{self, TSCont, api};

/// A hook of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    /// TS_HTTP_TXN_START_HOOK
    TxnStart,
    /// TS_HTTP_READ_REQUEST_HDR_HOOK
    ReadRequestHeaders,
    /// TS_HTTP_SEND_RESPONSE_HDR_HOOK
    SendResponseHeaders,
    /// TS_HTTP_TXN_CLOSE_HOOK
    TxnClose,
}

impl Hook {
    pub(super) fn id(self) -> c_int {
        match self {
            Self::TxnStart => sys::hook::TXN_START,
            Self::ReadRequestHeaders => sys::hook::READ_REQUEST_HDR,
            Self::SendResponseHeaders => sys::hook::SEND_RESPONSE_HDR,
            Self::TxnClose => sys::hook::TXN_CLOSE,
        }
    }

    fn of_event(event: c_int) -> Option<Self> {
        match event {
            sys::event::HTTP_TXN_START => Some(Self::TxnStart),
            sys::event::HTTP_READ_REQUEST_HDR => Some(Self::ReadRequestHeaders),
            sys::event::HTTP_SEND_RESPONSE_HDR => Some(Self::SendResponseHeaders),
            sys::event::HTTP_TXN_CLOSE => Some(Self::TxnClose),
            _ => None,
        }
    }
}

impl Hook {
    /// With which event a transaction goes on when nobody can say any more what its filters want: it does not
    /// pass them unseen.
    fn last_resort(self) -> Option<Event> {
        match self {
            Self::TxnStart | Self::TxnClose => Some(Event::Continue),
            Self::ReadRequestHeaders | Self::SendResponseHeaders => Some(Event::Error),
        }
    }
}

/// What the plugin does in a hook. Static: the continuation has no data, and no mutex.
pub(crate) trait HookHandler: 'static {
    /// Handles `hook`.
    fn handle(hook: Hook, visit: Visit<'_>) -> Next<'_>;

    /// [`HookHandler::handle`] panicked before it had parked the transaction.
    fn panicked<'hook>(hook: Hook, visit: Visit<'hook>, reason: &str) -> Next<'hook>;
}

/// A continuation that calls `H`, for hooks of all transactions or of one.
#[derive(Debug)]
pub(crate) struct HookContinuation(NonNull<sys::ContTag>);

// SAFETY: it has no mutex and no data; the server calls it on any thread.
unsafe impl Send for HookContinuation {}
// SAFETY: as above.
unsafe impl Sync for HookContinuation {}

impl HookContinuation {
    /// Makes one; it is never destroyed. None when the server cannot.
    pub(crate) fn new<H: HookHandler>() -> Option<Self> {
        // SAFETY: the trampoline has the C signature; no mutex, so that transactions of different
        // threads do not wait for each other.
        NonNull::new(unsafe { (api().TSContCreate)(hook_trampoline::<H>, std::ptr::null_mut()) }).map(Self)
    }

    pub(super) fn as_ptr(&self) -> TSCont {
        self.0.as_ptr()
    }

    /// Calls it at `hook` of every transaction.
    pub(crate) fn add_global(&self, hook: Hook) {
        // SAFETY: the continuation is never destroyed.
        unsafe { (api().TSHttpHookAdd)(hook.id(), self.0.as_ptr()) };
    }

    /// Calls it at `hook` of this transaction.
    pub(crate) fn add(&self, access: &mut Access<'_>, hook: Hook) {
        // SAFETY: as `add_global`; the transaction is valid while it is accessed.
        unsafe { (api().TSHttpTxnHookAdd)(access.as_ptr(), hook.id(), self.0.as_ptr()) };
    }
}

unsafe extern "C" fn hook_trampoline<H: HookHandler>(
    _cont: TSCont,
    event: c_int,
    data: *mut c_void,
) -> c_int {
    let (Some(hook), Some(txn)) = (Hook::of_event(event), NonNull::new(data.cast())) else { return 0 };
    let parked = Cell::new(false);
    // SAFETY: the server calls a hook with the transaction's mutex held and lets the transaction stand until
    // it is re-enabled. There is a second one only when the first has ended without deciding what follows.
    let visit = || unsafe { Visit::new(txn, &parked) };
    let event = match catch_unwind(AssertUnwindSafe(|| H::handle(hook, visit()))) {
        Ok(next) => next.event(),
        // Whoever has got the right to let it go on will use it.
        Err(panic) if parked.get() => {
            super::error(&format!("a panic in {hook:?}, of a parked transaction: {}", reason(&panic)));
            None
        }
        Err(panic) => {
            let reason = reason(&panic);
            catch_unwind(AssertUnwindSafe(|| H::panicked(hook, visit(), &reason).event()))
                .unwrap_or_else(|_| if parked.get() { None } else { hook.last_resort() })
        }
    };
    // Last statement: this may run the transaction's next hooks, and end it, before it returns.
    if let Some(event) = event {
        // SAFETY: it stands in this hook, and nobody has the right to let it go on but its end.
        unsafe { (api().TSHttpTxnReenable)(txn.as_ptr(), event.number()) };
    }
    0
}

/// A time in the server's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    /// It accepts connections, and its event system runs.
    PortsReady,
    /// [`post_task`] has threads. Before or after [`Lifecycle::PortsReady`].
    TaskThreadsReady,
    /// It ends in an orderly way.
    Shutdown,
}

impl Lifecycle {
    fn id(self) -> c_int {
        match self {
            Self::PortsReady => sys::hook::LIFECYCLE_PORTS_READY,
            Self::TaskThreadsReady => sys::hook::LIFECYCLE_TASK_THREADS_READY,
            Self::Shutdown => sys::hook::LIFECYCLE_SHUTDOWN,
        }
    }
}

/// Calls `handler` at `time`.
pub(crate) fn lifecycle_hook(time: Lifecycle, handler: fn()) {
    let data = Box::into_raw(Box::new(handler)).cast::<c_void>();
    // SAFETY: the trampoline has the C signature. Version 10 can die when the mutex of such a continuation is held by
    // others: without a mutex there is none to hold. The task threads lock it themselves, some versions without a look
    // whether it is there; nobody else has this one.
    unsafe {
        let mutex = match time {
            Lifecycle::TaskThreadsReady => (api().TSMutexCreate)(),
            Lifecycle::PortsReady | Lifecycle::Shutdown => std::ptr::null_mut(),
        };
        let continuation = (api().TSContCreate)(lifecycle_trampoline, mutex);
        (api().TSContDataSet)(continuation, data);
        (api().TSLifecycleHookAdd)(time.id(), continuation);
    }
}

unsafe extern "C" fn lifecycle_trampoline(cont: TSCont, _event: c_int, _data: *mut c_void) -> c_int {
    // SAFETY: the data was set in `lifecycle_hook` and is never freed.
    let handler = unsafe { (api().TSContDataGet)(cont).cast::<fn()>().as_ref() };
    if let Some(Err(panic)) = handler.map(catch_unwind) {
        super::error(&format!("a panic in a lifecycle hook: {}", reason(&panic)));
    }
    0
}

/// Work for another thread of the server.
pub(crate) type Work = Box<dyn FnOnce() + Send>;

/// Runs `work` on `thread` soon. The caller is an event thread or one of [`super::spawn`] and holds
/// no lock of ours.
pub(crate) fn post(thread: EventThread, work: Work) {
    post_after(thread, 0, work);
}

/// As [`post`], in `milliseconds`.
pub(crate) fn post_after(thread: EventThread, milliseconds: i64, work: Work) {
    let continuation = work_continuation(work);
    // SAFETY: the continuation is new, so nobody holds its mutex, which scheduling takes.
    unsafe { (api().TSContScheduleOnThread)(continuation, milliseconds, thread.as_ptr()) };
}

/// Runs `work` on an event thread soon: the server takes them one after the other, for all who ask, when the caller is
/// none of them itself. Caller as in [`post`].
pub(crate) fn post_in_turn(work: Work) {
    let continuation = work_continuation(work);
    // SAFETY: as in `post_after`.
    unsafe { (api().TSContScheduleOnPool)(continuation, 0, sys::TS_THREAD_POOL_NET) };
}

/// Runs `work` on one of the server's threads for what can take long. Caller as in [`post`].
pub(crate) fn post_task(work: Work) {
    let continuation = work_continuation(work);
    // SAFETY: as in `post_after`.
    unsafe { (api().TSContScheduleOnPool)(continuation, 0, sys::TS_THREAD_POOL_TASK) };
}

/// Each piece of work has a continuation of its own: scheduling waits for the continuation's mutex,
/// which would be held while earlier work runs.
fn work_continuation(work: Work) -> TSCont {
    let data = Box::into_raw(Box::new(work)).cast::<c_void>();
    // SAFETY: the trampoline has the C signature and takes over `data`.
    unsafe {
        let continuation = (api().TSContCreate)(work_trampoline, (api().TSMutexCreate)());
        (api().TSContDataSet)(continuation, data);
        continuation
    }
}

unsafe extern "C" fn work_trampoline(cont: TSCont, _event: c_int, _data: *mut c_void) -> c_int {
    // SAFETY: the data is the box that `post` leaked for this one call, and the continuation is
    // used for the last time.
    let work = unsafe {
        let data = (api().TSContDataGet)(cont);
        (api().TSContDestroy)(cont);
        *Box::from_raw(data.cast::<Work>())
    };
    if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
        super::error(&format!("a panic in work for an event thread: {}", reason(&panic)));
    }
    0
}

/// What a [`Timer`] does when it fires.
pub(crate) trait TimerHandler: 'static {
    /// Called on the timer's thread; `key` is the one it was made with.
    fn fired(key: u64);
}

/// A continuation that fires on its home thread; it lives as long as the process.
#[derive(Debug)]
pub(crate) struct Timer {
    continuation: NonNull<sys::ContTag>,
    home: EventThread,
}

impl Timer {
    /// A timer of the calling event thread; none on another thread.
    pub(crate) fn new<H: TimerHandler>(key: u64) -> Option<Self> {
        let home = EventThread::current()?;
        // SAFETY: the trampoline has the C signature; the mutex is taken on the home thread only.
        let continuation = unsafe { (api().TSContCreate)(timer_trampoline::<H>, (api().TSMutexCreate)()) };
        let continuation = NonNull::new(continuation)?;
        // SAFETY: just made. The key is carried in the pointer's bits and never followed.
        unsafe { (api().TSContDataSet)(continuation.as_ptr(), key as usize as *mut c_void) };
        Some(Self { continuation, home })
    }

    /// Fires once in `milliseconds`.
    pub(crate) fn start(&self, milliseconds: u32) {
        // SAFETY: the continuation is never destroyed; its mutex is taken on this thread only.
        unsafe {
            (api().TSContScheduleOnThread)(
                self.continuation.as_ptr(),
                i64::from(milliseconds),
                self.home.as_ptr(),
            )
        };
    }
}

unsafe extern "C" fn timer_trampoline<H: TimerHandler>(
    cont: TSCont,
    _event: c_int,
    _data: *mut c_void,
) -> c_int {
    // SAFETY: set in `Timer::new`.
    let key = unsafe { (api().TSContDataGet)(cont) } as usize as u64;
    if let Err(panic) = catch_unwind(|| H::fired(key)) {
        super::error(&format!("a panic in a timer: {}", reason(&panic)));
    }
    0
}

/// The message of a panic.
pub(crate) fn reason(panic: &Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
