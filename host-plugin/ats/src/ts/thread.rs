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
    name: String,
    body: Body,
}

thread_local! {
    /// The thread was made by [`spawn`].
    static SPAWNED: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread may have the server schedule something: others would crash it.
pub(crate) fn is_server_thread() -> bool {
    SPAWNED.get() || EventThread::current().is_some()
}

/// Starts a thread named `name` that may call the server's functions (`TSThreadCreate`). It is never waited
/// for and never destroyed: the server's object of a thread keeps its descriptor even then.
///
/// The event system must run: not before the PORTS_READY event. Without a free descriptor the server ends the
/// process.
///
/// # Errors
/// The server made no thread.
pub(crate) fn spawn(name: &str, body: Body) -> Result<(), String> {
    let data = Box::into_raw(Box::new(Start { name: name.to_owned(), body })).cast::<c_void>();
    // SAFETY: `run` has the C signature and takes over `data`.
    let thread: TSThread = unsafe { (api().TSThreadCreate)(run, data) };
    if thread.is_null() {
        // SAFETY: no thread was made, so nobody else has the box.
        drop(unsafe { Box::from_raw(data.cast::<Start>()) });
        return Err("TSThreadCreate made no thread".to_owned());
    }
    Ok(())
}

/// Names the calling thread; 15 bytes show.
pub(crate) fn name_thread(name: &str) {
    let short: String = name.chars().filter(|c| c.is_ascii() && *c != '\0').take(15).collect();
    let short = CString::new(short).unwrap_or_default();
    // SAFETY: the name ends with a zero byte and has at most 15 bytes before it.
    unsafe { libc::pthread_setname_np(libc::pthread_self(), short.as_ptr()) };
}

unsafe extern "C" fn run(data: *mut c_void) -> *mut c_void {
    // SAFETY: `data` is the box that `spawn` leaked for this one call.
    let start = unsafe { Box::from_raw(data.cast::<Start>()) };
    let Start { name, body } = *start;
    SPAWNED.set(true);
    name_thread(&name);
    if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)) {
        super::error(&format!("thread {name} ended by a panic: {}", super::reason(&panic)));
    }
    std::ptr::null_mut()
}
