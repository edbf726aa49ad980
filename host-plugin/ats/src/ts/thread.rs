//! Threads: the server's event threads, and those that the plugin makes.

use std::cell::Cell;
use std::ffi::{CString, c_void};
use std::ptr::NonNull;

use crate::sys::{EventThreadTag, TSThread, api};

/// An event thread; event threads live as long as the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct EventThread(NonNull<EventThreadTag>);

// SAFETY: the pointer is only ever handed back to the server, which takes it on any thread.
unsafe impl Send for EventThread {}
// SAFETY: as above.
unsafe impl Sync for EventThread {}

impl EventThread {
    /// The thread that asks (`TSEventThreadSelf`); none on other threads.
    pub(crate) fn current() -> Option<Self> {
        // SAFETY: no argument.
        NonNull::new(unsafe { (api().TSEventThreadSelf)() }).map(Self)
    }

    pub(super) fn as_ptr(self) -> *mut EventThreadTag {
        self.0.as_ptr()
    }
}

type Body = Box<dyn FnOnce() + Send>;

struct Start {
    name: CString,
    body: Body,
}

/// A thread that may call the server's functions (`TSThreadCreate`).
pub(crate) struct Thread(NonNull<crate::sys::ThreadTag>);

// SAFETY: the handle is only waited for and destroyed, by its one owner, on any thread of the server.
unsafe impl Send for Thread {}

thread_local! {
    /// The thread was made by [`spawn`].
    static SPAWNED: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread may have the server schedule something: others would crash it.
pub(crate) fn is_server_thread() -> bool {
    SPAWNED.get() || EventThread::current().is_some()
}

/// Starts a thread named `name` (15 bytes show).
///
/// The event system must run: not before the PORTS_READY event.
///
/// # Errors
/// The server made no thread.
pub(crate) fn spawn(name: &str, body: Body) -> Result<Thread, String> {
    let short: String = name.chars().filter(|c| c.is_ascii() && *c != '\0').take(15).collect();
    let start = Box::new(Start { name: CString::new(short).unwrap_or_default(), body });
    let data = Box::into_raw(start).cast::<c_void>();
    // SAFETY: `run` has the C signature and takes over `data`.
    let thread: TSThread = unsafe { (api().TSThreadCreate)(run, data) };
    NonNull::new(thread).map(Thread).ok_or_else(|| {
        // SAFETY: no thread was made, so nobody else has the box.
        drop(unsafe { Box::from_raw(data.cast::<Start>()) });
        "TSThreadCreate made no thread".to_owned()
    })
}

impl Thread {
    /// Waits for the thread's end and frees it (`TSThreadWait`, `TSThreadDestroy`).
    pub(crate) fn join(self) {
        // SAFETY: the handle came from TSThreadCreate and is used here for the last time.
        unsafe {
            (api().TSThreadWait)(self.0.as_ptr());
            (api().TSThreadDestroy)(self.0.as_ptr());
        }
    }
}

unsafe extern "C" fn run(data: *mut c_void) -> *mut c_void {
    // SAFETY: `data` is the box that `spawn` leaked for this one call.
    let start = unsafe { Box::from_raw(data.cast::<Start>()) };
    let Start { name, body } = *start;
    SPAWNED.set(true);
    // SAFETY: the name ends with a zero byte and has at most 15 bytes.
    unsafe { libc::pthread_setname_np(libc::pthread_self(), name.as_ptr()) };
    if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)) {
        super::error(&format!(
            "thread {} ended by a panic: {}",
            name.to_string_lossy(),
            super::continuation::reason(&panic)
        ));
    }
    std::ptr::null_mut()
}
